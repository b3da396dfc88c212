/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/preamble.h"

#include <string.h>

#include "lib/buf.h"

static const uint8_t magic[8] = {'P', 'C', 'L', 'U', 'S', 'T', 'E', 'R'};

void pc_preamble_encode(const struct pc_preamble *preamble, uint8_t out[PC_PREAMBLE_SIZE])
{
    memset(out, 0, PC_PREAMBLE_SIZE);
    memcpy(out, magic, sizeof(magic));
    pc_store_u16(out + 8, preamble->version);
    out[10] = preamble->suite_or_answer;
    memcpy(out + 16, preamble->instance, PC_INSTANCE_SIZE);
}

int pc_preamble_decode(const uint8_t in[PC_PREAMBLE_SIZE], struct pc_preamble *preamble)
{
    static const uint8_t zeros[5];
    if (memcmp(in, magic, sizeof(magic)) != 0 || memcmp(in + 11, zeros, sizeof(zeros)) != 0)
        return -1;
    preamble->version = pc_load_u16(in + 8);
    preamble->suite_or_answer = in[10];
    memcpy(preamble->instance, in + 16, PC_INSTANCE_SIZE);
    return 0;
}
