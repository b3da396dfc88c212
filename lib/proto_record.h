/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RECORDS (scheduler to hub): what happened to tasks, one record after another.
 *
 * event u8 (enum pc_record_event), kind u8, status u8, flags u8 (PC_RECORD_*), engine_id u32,
 * session u64, sequence u64, time_us i64, bytes u64, body_size u32, part_count u16, zero u16; then
 * the body, the size u32 of each part, the parts.
 *
 * The body is, of SUBMITTED, that of a SUBMIT of this task alone; of ENDED, that of its RESULT. The
 * parts are those of the request and of the result. Large ones are not copied into the record: it
 * is then alone in its message, whose parts they are.
 */
#ifndef PC_LIB_PROTO_RECORD_H
#define PC_LIB_PROTO_RECORD_H

#include "lib/buf.h"
#include "lib/msg.h"

enum pc_record_event { PC_RECORD_SUBMITTED = 1, PC_RECORD_STARTED = 2, PC_RECORD_ENDED = 3 };

/* Without one of the first three the parts were left out, if there were any. */
#define PC_RECORD_INSIDE  0x01 /* the parts are in the record */
#define PC_RECORD_OUTSIDE 0x02 /* they are those of the message */
#define PC_RECORD_SAME    0x04 /* SUBMITTED: they are those of the record before, see SUBMIT */
#define PC_RECORD_KEEP    0x08 /* ENDED: acknowledge with RESULT_ACK once it is stored */
#define PC_RECORD_GAP     0x10 /* ENDED: some of its output was left out */
#define PC_RECORD_LATE    0x20 /* ENDED, once more: with the result, which was left out before */
#define PC_RECORD_DURABLE 0x40 /* SUBMITTED: answer with ACCEPTED when it is on disk, or can't be */

#define PC_RECORD_HEAD_SIZE 48
/* Parts of that many bytes together are put into the record. */
#define PC_RECORD_INSIDE_MAX 4096

struct pc_record {
    uint8_t event;
    uint8_t kind;
    uint8_t status;
    uint8_t flags;
    uint32_t engine_id;
    uint64_t session;
    uint64_t sequence;
    int64_t time_us;
    uint64_t bytes; /* of all parts, also when they were left out */
    uint32_t body_size;
    const uint8_t *body;
    uint16_t part_count;
    const uint8_t *part_sizes; /* little-endian u32s */
    const uint8_t *part_bytes; /* one part after another */
    size_t part_bytes_size;
};

/* `parts` has part_count entries; the record's own pointers to parts are not used. */
int pc_record_encode(struct pc_buf *out, const struct pc_record *record,
                     const struct pc_part *parts);
/* -1: it is malformed. */
int pc_record_decode(struct pc_reader *reader, struct pc_record *record);

#endif
