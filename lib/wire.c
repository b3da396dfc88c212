/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/wire.h"

#include <stdlib.h>

#include "lib/key.h"

void pc_wire_init(struct pc_wire *wire, uint32_t senders)
{
    *wire = (struct pc_wire){.senders = senders};
    pc_buf_init(&wire->sealed, 0);
}

int pc_wire_encrypt(struct pc_wire *wire, struct pc_cipher *send, struct pc_cipher *receive)
{
    struct pc_cipher *mine = aligned_alloc(_Alignof(struct pc_cipher), 2 * sizeof(*mine));
    if (mine) {
        mine[0] = *send;
        mine[1] = *receive;
        wire->send_cipher = &mine[0];
        wire->receive_cipher = &mine[1];
        wire->is_encrypted = true;
    }
    pc_cipher_wipe(send);
    pc_cipher_wipe(receive);
    return mine ? 0 : -1;
}

void pc_wire_fini(struct pc_wire *wire)
{
    if (wire->send_cipher) {
        pc_cipher_wipe(wire->send_cipher);
        pc_cipher_wipe(wire->receive_cipher);
        free(wire->send_cipher);
    }
    pc_wire_drop_queue(wire);
    free(wire->out_spare);
    free(wire->in);
    free(wire->sizes);
    pc_msg_unref(wire->partial);
    pc_buf_fini(&wire->sealed);
    pc_wire_init(wire, 0);
}

void pc_wire_trim(struct pc_wire *wire)
{
    if (wire->in_start == wire->in_end && wire->plain_start == wire->plain_end) {
        free(wire->in);
        wire->in = NULL;
        wire->in_start = wire->in_end = wire->in_capacity = 0;
        wire->plain_start = wire->plain_end = 0;
    }
    if (wire->sealed_done == wire->sealed.size) {
        pc_buf_fini(&wire->sealed);
        wire->sealed_done = 0;
    }
    free(wire->out_spare);
    wire->out_spare = NULL;
}
