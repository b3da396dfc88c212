/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/proto_record.h"

#include <string.h>

static void put_head(uint8_t out[PC_RECORD_HEAD_SIZE], const struct pc_record *record)
{
    out[0] = record->event;
    out[1] = record->kind;
    out[2] = record->status;
    out[3] = record->flags;
    pc_store_u32(out + 4, record->engine_id);
    pc_store_u64(out + 8, record->session);
    pc_store_u64(out + 16, record->sequence);
    pc_store_u64(out + 24, (uint64_t)record->time_us);
    pc_store_u64(out + 32, record->bytes);
    pc_store_u32(out + 40, record->body_size);
    pc_store_u16(out + 44, record->part_count);
    pc_store_u16(out + 46, 0);
}

int pc_record_encode(struct pc_buf *out, const struct pc_record *record,
                     const struct pc_part *parts)
{
    size_t size = PC_RECORD_HEAD_SIZE + record->body_size + (size_t)record->part_count * 4;
    for (uint16_t i = 0; i < record->part_count; i++)
        size += parts[i].size;
    uint8_t *at = pc_buf_reserve(out, size);
    if (!at)
        return -1;
    put_head(at, record);
    at += PC_RECORD_HEAD_SIZE;
    if (record->body_size)
        memcpy(at, record->body, record->body_size);
    at += record->body_size;
    for (uint16_t i = 0; i < record->part_count; i++, at += 4)
        pc_store_u32(at, (uint32_t)parts[i].size);
    for (uint16_t i = 0; i < record->part_count; i++) {
        if (parts[i].size)
            memcpy(at, parts[i].data, parts[i].size);
        at += parts[i].size;
    }
    out->size += size;
    return 0;
}

static bool flags_fit(const struct pc_record *record)
{
    unsigned where = record->flags & (PC_RECORD_INSIDE | PC_RECORD_OUTSIDE | PC_RECORD_SAME);
    unsigned allowed = 0;
    if (record->event == PC_RECORD_SUBMITTED)
        allowed = PC_RECORD_INSIDE | PC_RECORD_OUTSIDE | PC_RECORD_SAME | PC_RECORD_DURABLE;
    else if (record->event == PC_RECORD_ENDED)
        allowed =
            PC_RECORD_INSIDE | PC_RECORD_OUTSIDE | PC_RECORD_KEEP | PC_RECORD_GAP | PC_RECORD_LATE;
    return !(record->flags & ~allowed) && !(where & (where - 1)) &&
           (!record->part_count || where == PC_RECORD_INSIDE);
}

int pc_record_decode(struct pc_reader *reader, struct pc_record *record)
{
    const uint8_t *head = pc_get_bytes(reader, PC_RECORD_HEAD_SIZE);
    if (!head)
        return -1;
    struct pc_record got = {
        .event = head[0],
        .kind = head[1],
        .status = head[2],
        .flags = head[3],
        .engine_id = pc_load_u32(head + 4),
        .session = pc_load_u64(head + 8),
        .sequence = pc_load_u64(head + 16),
        .time_us = (int64_t)pc_load_u64(head + 24),
        .bytes = pc_load_u64(head + 32),
        .body_size = pc_load_u32(head + 40),
        .part_count = pc_load_u16(head + 44),
    };
    uint16_t zero = pc_load_u16(head + 46);
    got.body = pc_get_bytes(reader, got.body_size);
    got.part_sizes = pc_get_bytes(reader, (size_t)got.part_count * 4);
    if (reader->failed || zero || got.event < PC_RECORD_SUBMITTED || got.event > PC_RECORD_ENDED ||
        !flags_fit(&got))
        return -1;
    for (uint16_t i = 0; i < got.part_count; i++)
        got.part_bytes_size += pc_load_u32(got.part_sizes + 4 * (size_t)i);
    got.part_bytes = pc_get_bytes(reader, got.part_bytes_size);
    if (reader->failed)
        return -1;
    *record = got;
    return 0;
}
