/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/kept.h"

#include <stdlib.h>
#include <string.h>

#include "hub/parts.h"
#include "lib/log.h"
#include "lib/proto.h"

/* Of put_numbers. */
#define NUMBERS_SIZE (8 * 8 + 4 + 3)

_Static_assert(HUB_KEPT_OUTPUT << PC_STREAM_TEXTS == HUB_KEPT_FUNCTION, "one flag for each text");

/* ---- writing ---------------------------------------------------------------------------- */

static bool is_small(const struct hub_task *task)
{
    bool is_printing = task->output && !hub_task_has_ended(task);
    return !is_printing && hub_task_payload(task) <= PC_RECORD_INSIDE_MAX;
}

unsigned hub_kept_flags(const struct hub_task *task, bool is_same)
{
    unsigned flags = 0;
    const struct hub_output *output = task->output;
    if (is_same)
        flags |= HUB_KEPT_SAME_REQUEST;
    else if (task->request)
        flags |= HUB_KEPT_REQUEST;
    flags |= task->result ? HUB_KEPT_RESULT : 0u;
    for (int i = 0; output && i < PC_STREAM_TEXTS; i++)
        flags |= output->live[i] || output->text[i] ? (unsigned)HUB_KEPT_OUTPUT << i : 0u;
    flags |= task->function ? HUB_KEPT_FUNCTION : 0u;
    flags |= task->has_gap ? HUB_KEPT_GAP : 0u;
    flags |= task->was_kept ? HUB_KEPT_DROPPED : 0u;
    flags |= task->has_engine_uuid ? HUB_KEPT_UUID : 0u;
    flags |= task->is_durable ? HUB_KEPT_DURABLE : 0u;
    flags |= task->is_orphan ? HUB_KEPT_ORPHAN : 0u;
    return flags | (is_small(task) ? 0u : HUB_KEPT_OUTSIDE);
}

static void put_numbers(struct pc_buf *out, const struct hub_task *task)
{
    pc_buf_put_u64(out, (uint64_t)task->submitted_us);
    pc_buf_put_u64(out, (uint64_t)task->started_us);
    pc_buf_put_u64(out, (uint64_t)task->completed_us);
    pc_buf_put_u64(out, (uint64_t)task->received_us);
    pc_buf_put_u64(out, task->request_bytes);
    pc_buf_put_u64(out, task->result_bytes);
    pc_buf_put_u64(out, task->resubmitted.session);
    pc_buf_put_u64(out, task->resubmitted.sequence);
    pc_buf_put_u32(out, task->engine_id);
    pc_buf_put_u8(out, task->kind);
    pc_buf_put_u8(out, task->status);
    pc_buf_put_u8(out, task->event);
}

static void put_parts(struct pc_buf *out, const struct pc_msg *msg)
{
    size_t size = hub_parts_size(msg);
    pc_buf_put_u32(out, (uint32_t)size);
    uint8_t *at = pc_buf_reserve(out, size);
    if (!at)
        return;
    hub_parts_put(at, msg);
    out->size += size;
}

static void put_payload(struct pc_buf *out, const struct hub_task *task, unsigned flags)
{
    if (flags & HUB_KEPT_REQUEST)
        put_parts(out, task->request);
    if (flags & HUB_KEPT_RESULT)
        put_parts(out, task->result);
    for (int i = 0; i < PC_STREAM_TEXTS; i++) {
        if (!(flags & (unsigned)HUB_KEPT_OUTPUT << i))
            continue;
        pc_buf_put_u32(out, (uint32_t)task->output->size[i]);
        pc_buf_put(out, task->output->text[i], task->output->size[i]);
    }
}

void hub_kept_put(struct pc_buf *out, const struct hub_task *task, unsigned flags)
{
    pc_buf_put_u64(out, task->key.session);
    pc_buf_put_u64(out, task->key.sequence);
    pc_buf_put_u64(out, task->number);
    pc_buf_put_u16(out, (uint16_t)flags);
    put_numbers(out, task);
    if (flags & HUB_KEPT_UUID)
        pc_buf_put(out, task->engine_uuid, HUB_UUID_SIZE);
    pc_buf_put_u32(out, task->body_size);
    pc_buf_put(out, task->body, task->body_size);
    if (!(flags & HUB_KEPT_OUTSIDE))
        put_payload(out, task, flags);
}

struct pc_msg *hub_kept_msg(const struct hub_task *task, unsigned flags)
{
    void *data[HUB_KEPT_PARTS] = {NULL};
    size_t sizes[HUB_KEPT_PARTS] = {0};
    uint64_t part_sizes[HUB_KEPT_PARTS];
    struct pc_buf body;
    if (flags & HUB_KEPT_REQUEST)
        data[0] = hub_parts_pack(task->request, &sizes[0]);
    if (flags & HUB_KEPT_RESULT)
        data[1] = hub_parts_pack(task->result, &sizes[1]);
    for (uint8_t i = 0; i < PC_STREAM_TEXTS; i++)
        data[2 + i] = hub_task_output(task, i, &sizes[2 + i]);
    for (int i = 0; i < HUB_KEPT_PARTS; i++)
        part_sizes[i] = sizes[i];
    pc_buf_init(&body, 0);
    hub_kept_put(&body, task, flags);
    struct pc_msg *msg = pc_msg_new(PC_MSG_KEPT, body.size, part_sizes, HUB_KEPT_PARTS);
    if (!msg || body.failed)
        pc_fatal(1, "out of memory");
    memcpy(msg->body, body.data, body.size);
    pc_buf_fini(&body);
    for (int i = 0; i < HUB_KEPT_PARTS; i++) {
        if (sizes[i])
            memcpy(msg->parts[i].data, data[i], sizes[i]);
        free(data[i]);
    }
    return msg;
}

/* ---- reading ---------------------------------------------------------------------------- */

static int get_payload(struct pc_reader *reader, const struct pc_msg *msg, struct hub_kept *kept)
{
    memset(kept->parts, 0, sizeof(kept->parts));
    if (kept->flags & HUB_KEPT_OUTSIDE) {
        if (msg->head.part_count != HUB_KEPT_PARTS || reader->left)
            return -1;
        memcpy(kept->parts, msg->parts, sizeof(kept->parts));
        return 0;
    }
    for (int i = 0; i < HUB_KEPT_PARTS; i++) {
        if (!(kept->flags & 1u << i))
            continue;
        kept->parts[i].size = pc_get_u32(reader);
        kept->parts[i].data =
            (uint8_t *)(uintptr_t)pc_get_bytes(reader, (size_t)kept->parts[i].size);
    }
    return reader->failed ? -1 : 0;
}

int hub_kept_get(struct pc_reader *reader, const struct pc_msg *msg, struct hub_kept *kept)
{
    kept->key.session = pc_get_u64(reader);
    kept->key.sequence = pc_get_u64(reader);
    kept->number = pc_get_u64(reader);
    kept->flags = pc_get_u16(reader);
    const uint8_t *numbers = pc_get_bytes(reader, NUMBERS_SIZE);
    kept->uuid = kept->flags & HUB_KEPT_UUID ? pc_get_bytes(reader, HUB_UUID_SIZE) : NULL;
    kept->body_size = pc_get_u32(reader);
    kept->body = pc_get_bytes(reader, kept->body_size);
    if (reader->failed)
        return -1;
    pc_reader_init(&kept->numbers, numbers, NUMBERS_SIZE);
    return get_payload(reader, msg, kept);
}

void hub_kept_take_numbers(const struct hub_kept *kept, struct hub_task *task)
{
    struct pc_reader reader = kept->numbers;
    task->submitted_us = (int64_t)pc_get_u64(&reader);
    task->started_us = (int64_t)pc_get_u64(&reader);
    task->completed_us = (int64_t)pc_get_u64(&reader);
    task->received_us = (int64_t)pc_get_u64(&reader);
    task->request_bytes = pc_get_u64(&reader);
    task->result_bytes = pc_get_u64(&reader);
    task->resubmitted.session = pc_get_u64(&reader);
    task->resubmitted.sequence = pc_get_u64(&reader);
    task->engine_id = pc_get_u32(&reader);
    task->kind = pc_get_u8(&reader);
    task->status = pc_get_u8(&reader);
    task->event = pc_get_u8(&reader);
}
