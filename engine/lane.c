/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/lane.h"

#include <sys/socket.h>

#include "lib/log.h"

void eng_lane_init(struct eng_lane *lane, struct pc_sock *sock)
{
    lane->sock = *sock;
    *sock = (struct pc_sock){.fd = -1};
    lane->is_broken = false;
    pthread_mutex_init(&lane->lock, NULL);
}

void eng_lane_forget(struct eng_lane *lane)
{
    pthread_mutex_init(&lane->lock, NULL);
    lane->is_broken = true;
}

void eng_lane_queue(struct eng_lane *lane, struct pc_msg *msg)
{
    if (lane->is_broken)
        return;
    if (!msg || pc_wire_send(&lane->sock.wire, msg))
        pc_fatal(1, "out of memory while sending");
}

bool eng_lane_flush(struct eng_lane *lane, bool may_wait)
{
    struct pc_err err;
    while (!lane->is_broken) {
        int all = pc_sock_flush(&lane->sock, may_wait ? 0 : MSG_DONTWAIT, &err);
        if (all >= 0)
            return all > 0;
        if (err.code == PC_E_INTERRUPTED)
            continue; /* half a message must not stay behind */
        pc_debug("the work lane broke: %s", err.text);
        lane->is_broken = true;
    }
    return true;
}
