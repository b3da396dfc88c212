/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fixed frame header, and nothing else.
 *
 *   offset  size
 *        0     1  magic 'p'
 *        1     1  protocol version
 *        2     1  type (proto.h)
 *        3     1  flags, must be zero
 *        4     4  body size in bytes
 *        8     8  client session
 *       16     8  sequence: number of the task or question within its session
 *       24     4  engine id, PC_NO_ENGINE when it does not matter
 *       28     2  number of parts
 *       30     2  messages received so far, modulo 2^16: see lifeline.h
 *       32   8*n  size of each part in bytes
 *
 * then the body, then the parts. All integers little-endian.
 */
#ifndef PC_LIB_FRAME_H
#define PC_LIB_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define PC_FRAME_SIZE     32
#define PC_FRAME_MAGIC    'p'
#define PC_FRAME_RECEIVED 30 /* where that is */

struct pc_frame {
    uint8_t type;
    uint32_t body_size;
    uint64_t session;
    uint64_t sequence;
    uint32_t engine_id;
    uint16_t part_count;
    uint16_t received; /* set and used by the wire */
};

void pc_frame_encode(const struct pc_frame *frame, uint8_t out[PC_FRAME_SIZE]);
/* Checks everything that the header alone can show: magic, version, zero fields, a known type sent
 * by one of `senders`, sizes within that type's limits. -1 with PC_E_VERSION or PC_E_PROTOCOL. */
int pc_frame_decode(const uint8_t in[PC_FRAME_SIZE], uint32_t senders, struct pc_frame *frame,
                    struct pc_err *err);

#endif
