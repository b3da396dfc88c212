/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/proto_task.h"

#include <string.h>

#include "lib/key.h"
#include "lib/proto.h"

static int malformed(const struct pc_msg *msg, struct pc_err *err)
{
    return pc_err_set(err, PC_E_PROTOCOL, "malformed body of %s", pc_msg_name(msg->head.type));
}

#define SUBMIT_FLAGS                                                                               \
    (PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS | PC_SUBMIT_RETRY_SAME | PC_SUBMIT_NAMED |             \
     PC_SUBMIT_DURABLE)

static bool kind_is_known(uint8_t kind)
{
    return kind >= PC_KIND_APPLY && kind <= PC_KIND_CLEAR;
}

static void put_needs(struct pc_buf *out, const struct pc_submit_needs *needs)
{
    pc_buf_put_u32(out, needs->rule);
    pc_buf_put_u32(out, needs->count);
    pc_buf_put(out, needs->tasks, (size_t)needs->count * PC_ACK_SIZE);
}

/* False: it is malformed. */
static bool get_needs(struct pc_reader *reader, struct pc_submit_needs *needs)
{
    uint32_t rule = pc_get_u32(reader);
    needs->rule = (uint8_t)rule;
    needs->count = pc_get_u32(reader);
    if (needs->count > PC_NEEDS_MAX ||
        (rule & ~(uint32_t)(PC_NEED_ALL | PC_NEED_SUCCESS | PC_NEED_FAILURE)) ||
        (needs->count && !(rule & (PC_NEED_SUCCESS | PC_NEED_FAILURE))))
        return false;
    needs->tasks = pc_get_bytes(reader, (size_t)needs->count * PC_ACK_SIZE);
    return true;
}

static bool get_options(struct pc_reader *reader, struct pc_submit_body *body)
{
    body->priority = (int32_t)pc_get_u32(reader);
    body->retries = pc_get_u32(reader);
    body->timeout_ms = pc_get_u32(reader);
    body->run_timeout_ms = pc_get_u32(reader);
    body->tags_size = pc_get_u16(reader);
    body->tags = (const char *)pc_get_bytes(reader, body->tags_size);
    if (!body->tags || !pc_tags_are_valid(body->tags, body->tags_size))
        return false;
    return get_needs(reader, &body->after) && get_needs(reader, &body->follow);
}

int pc_submit_encode(struct pc_buf *out, const struct pc_submit_body *body)
{
    pc_buf_put_u8(out, body->kind);
    pc_buf_put_u8(out, body->flags);
    pc_buf_put_u8(out, body->run_flags);
    pc_buf_put_u8(out, 0);
    pc_buf_put_u32(out, body->target_count);
    pc_buf_put(out, body->targets, (size_t)body->target_count * 4);
    pc_buf_put_u16(out, body->label_size);
    pc_buf_put(out, body->label, body->label_size);
    if (body->flags & PC_SUBMIT_OPTIONS) {
        pc_buf_put_u32(out, (uint32_t)body->priority);
        pc_buf_put_u32(out, body->retries);
        pc_buf_put_u32(out, body->timeout_ms);
        pc_buf_put_u32(out, body->run_timeout_ms);
        pc_buf_put_u16(out, body->tags_size);
        pc_buf_put(out, body->tags, body->tags_size);
        put_needs(out, &body->after);
        put_needs(out, &body->follow);
    }
    if (body->flags & PC_SUBMIT_NAMED)
        pc_buf_put(out, body->function, PC_FUNCTION_NAME_SIZE);
    return out->failed ? -1 : 0;
}

int pc_submit_decode(const struct pc_msg *msg, struct pc_submit_body *body, struct pc_err *err)
{
    struct pc_reader reader;
    struct pc_submit_body got = {0};
    pc_reader_init(&reader, msg->body, msg->head.body_size);
    got.kind = pc_get_u8(&reader);
    got.flags = pc_get_u8(&reader);
    got.run_flags = pc_get_u8(&reader);
    uint8_t zero = pc_get_u8(&reader);
    got.target_count = pc_get_u32(&reader);
    if (got.target_count > PC_TARGETS_MAX)
        return malformed(msg, err);
    got.targets = pc_get_bytes(&reader, (size_t)got.target_count * 4);
    got.label_size = pc_get_u16(&reader);
    got.label = (const char *)pc_get_bytes(&reader, got.label_size);
    bool is_balanced = got.flags & PC_SUBMIT_BALANCED;
    bool has_options = got.flags & PC_SUBMIT_OPTIONS;
    bool is_durable = got.flags & PC_SUBMIT_DURABLE;
    if (has_options && !get_options(&reader, &got))
        return malformed(msg, err);
    if (got.flags & PC_SUBMIT_NAMED)
        got.function = pc_get_bytes(&reader, PC_FUNCTION_NAME_SIZE);
    if (!pc_reader_done(&reader) || zero || !kind_is_known(got.kind) ||
        (got.flags & ~SUBMIT_FLAGS) || got.label_size > PC_LABEL_MAX ||
        (!is_balanced && got.target_count == 0) || (has_options && !is_balanced) ||
        (got.flags & PC_SUBMIT_RETRY_SAME && !has_options) ||
        (is_durable && (!is_balanced || got.target_count)) ||
        (got.flags & PC_SUBMIT_NAMED && got.kind != PC_KIND_APPLY))
        return malformed(msg, err);
    *body = got;
    return 0;
}

size_t pc_run_encode(uint8_t out[PC_RUN_NAMED_SIZE], const struct pc_run_body *body)
{
    memset(out, 0, PC_RUN_BODY_SIZE);
    out[0] = body->kind;
    out[1] = body->run_flags;
    if (!body->function)
        return PC_RUN_BODY_SIZE;
    memcpy(out + PC_RUN_BODY_SIZE, body->function, PC_FUNCTION_NAME_SIZE);
    return PC_RUN_NAMED_SIZE;
}

int pc_run_decode(const struct pc_msg *msg, struct pc_run_body *body, struct pc_err *err)
{
    bool is_named = msg->head.body_size == PC_RUN_NAMED_SIZE;
    if ((!is_named && msg->head.body_size != PC_RUN_BODY_SIZE) || !kind_is_known(msg->body[0]) ||
        (is_named && msg->body[0] != PC_KIND_APPLY) || pc_load_u16(msg->body + 2) != 0 ||
        pc_load_u32(msg->body + 4) != 0)
        return malformed(msg, err);
    *body = (struct pc_run_body){.kind = msg->body[0],
                                 .run_flags = msg->body[1],
                                 .function = is_named ? msg->body + PC_RUN_BODY_SIZE : NULL};
    return 0;
}

struct pc_msg *pc_function_msg(const void *data, size_t size)
{
    uint64_t part_size = size;
    struct pc_msg *msg = pc_msg_new(PC_MSG_FUNCTION, PC_FUNCTION_NAME_SIZE, &part_size, 1);
    if (!msg)
        return NULL;
    pc_hash(data, size, msg->body);
    if (size)
        memcpy(msg->parts[0].data, data, size);
    return msg;
}

int pc_function_decode(const struct pc_msg *msg, const struct pc_known *known, struct pc_err *err)
{
    uint8_t name[PC_FUNCTION_NAME_SIZE];
    if (msg->head.body_size != PC_FUNCTION_NAME_SIZE || msg->head.part_count != 1)
        return malformed(msg, err);
    const struct pc_part *part = &msg->parts[0];
    if (part->size > PC_FUNCTION_MAX)
        return pc_err_set(err, PC_E_PROTOCOL, "FUNCTION of %llu bytes; at most %llu are possible",
                          (unsigned long long)part->size, (unsigned long long)PC_FUNCTION_MAX);
    if (pc_known_find(known, msg->body))
        return pc_err_set(err, PC_E_PROTOCOL, "FUNCTION that was sent before");
    pc_hash(part->data, part->size, name);
    if (memcmp(name, msg->body, sizeof(name)) != 0)
        return pc_err_set(err, PC_E_PROTOCOL, "FUNCTION under a name that is not its own");
    return 0;
}

void pc_result_encode(uint8_t out[PC_RESULT_BODY_SIZE], const struct pc_result_body *body)
{
    memset(out, 0, PC_RESULT_BODY_SIZE);
    out[0] = body->status;
    out[1] = body->flags;
    pc_store_u64(out + 8, (uint64_t)body->submitted_us);
    pc_store_u64(out + 16, (uint64_t)body->started_us);
    pc_store_u64(out + 24, (uint64_t)body->completed_us);
}

int pc_result_decode(const struct pc_msg *msg, struct pc_result_body *body, struct pc_err *err)
{
    struct pc_reader reader;
    pc_reader_init(&reader, msg->body, msg->head.body_size);
    struct pc_result_body got = {0};
    uint8_t status = got.status = pc_get_u8(&reader);
    uint8_t flags = got.flags = pc_get_u8(&reader);
    const uint8_t *zero = pc_get_bytes(&reader, 6);
    got.submitted_us = (int64_t)pc_get_u64(&reader);
    got.started_us = (int64_t)pc_get_u64(&reader);
    got.completed_us = (int64_t)pc_get_u64(&reader);
    static const uint8_t zeros[6];
    if (!pc_reader_done(&reader) || memcmp(zero, zeros, sizeof(zeros)) != 0 ||
        status < PC_STATUS_OK || status > PC_STATUS_FAILED ||
        (flags && (flags != PC_RESULT_UNMET || status != PC_STATUS_ERROR)))
        return malformed(msg, err);
    *body = got;
    return 0;
}

int pc_accepted_check(const struct pc_msg *msg, struct pc_err *err)
{
    bool is_refused = msg->head.part_count;
    if (!msg->head.body_size || msg->head.body_size % PC_ACK_SIZE ||
        (is_refused && msg->parts[0].size > PC_ACCEPTED_WHY_MAX))
        return malformed(msg, err);
    return 0;
}

struct pc_msg *pc_accepted_new(const void *pairs, size_t size, const char *why)
{
    uint64_t part_size = why ? strnlen(why, PC_ACCEPTED_WHY_MAX) : 0;
    struct pc_msg *msg = pc_msg_new(PC_MSG_ACCEPTED, (uint32_t)size, &part_size, why ? 1 : 0);
    if (!msg)
        return NULL;
    memcpy(msg->body, pairs, size);
    if (why)
        memcpy(msg->parts[0].data, why, part_size);
    return msg;
}

int pc_abort_encode(struct pc_buf *out, const struct pc_abort_body *body)
{
    static const uint8_t zeros[PC_ABORT_HEAD_SIZE - 1];
    pc_buf_put_u8(out, body->flags);
    pc_buf_put(out, zeros, sizeof(zeros));
    pc_buf_put(out, body->tasks, (size_t)body->count * PC_ACK_SIZE);
    return out->failed ? -1 : 0;
}

int pc_abort_decode(const struct pc_msg *msg, struct pc_abort_body *body, struct pc_err *err)
{
    static const uint8_t zeros[PC_ABORT_HEAD_SIZE - 1];
    size_t size = msg->head.body_size;
    if (size < PC_ABORT_HEAD_SIZE || (size - PC_ABORT_HEAD_SIZE) % PC_ACK_SIZE ||
        memcmp(msg->body + 1, zeros, sizeof(zeros)) != 0 ||
        (msg->body[0] & ~(PC_ABORT_INTERRUPT | PC_ABORT_KILL)) ||
        (size - PC_ABORT_HEAD_SIZE) / PC_ACK_SIZE > PC_ABORT_TASKS_MAX)
        return malformed(msg, err);
    *body = (struct pc_abort_body){
        .flags = msg->body[0],
        .count = (uint32_t)((size - PC_ABORT_HEAD_SIZE) / PC_ACK_SIZE),
        .tasks = msg->body + PC_ABORT_HEAD_SIZE,
    };
    return 0;
}

void pc_recall_encode(uint8_t out[PC_RECALL_SIZE], const struct pc_recall_body *body)
{
    pc_store_u32(out, body->first);
    pc_store_u32(out + 4, body->last);
}

int pc_recall_decode(const struct pc_msg *msg, struct pc_recall_body *body, struct pc_err *err)
{
    if (msg->head.body_size != PC_RECALL_SIZE)
        return malformed(msg, err);
    body->first = pc_load_u32(msg->body);
    body->last = pc_load_u32(msg->body + 4);
    return 0;
}

void pc_held_encode(uint8_t out[PC_HELD_SIZE], const struct pc_held_body *body)
{
    pc_store_u32(out, body->begun);
    pc_store_u32(out + 4, body->count);
    pc_store_u64(out + 8, body->session);
    pc_store_u64(out + 16, body->sequence);
}

int pc_held_decode(const struct pc_msg *msg, struct pc_held_body *body, struct pc_err *err)
{
    if (msg->head.body_size != PC_HELD_SIZE)
        return malformed(msg, err);
    *body = (struct pc_held_body){.begun = pc_load_u32(msg->body),
                                  .count = pc_load_u32(msg->body + 4),
                                  .session = pc_load_u64(msg->body + 8),
                                  .sequence = pc_load_u64(msg->body + 16)};
    bool is_empty = !body->session && !body->sequence;
    return body->count > 1 || (!body->count && !is_empty) ? malformed(msg, err) : 0;
}

int pc_resumed_decode(const struct pc_msg *msg, struct pc_resumed_body *body, struct pc_err *err)
{
    size_t size = msg->head.body_size;
    if (size < PC_RESUMED_HEAD_SIZE || size % 8 ||
        size > PC_RESUMED_HEAD_SIZE + 8 * PC_RESUMED_MAX || pc_load_u64(msg->body) > 1)
        return malformed(msg, err);
    *body = (struct pc_resumed_body){.is_last = msg->body[0],
                                     .count = (uint32_t)(size / 8 - 1),
                                     .sequences = msg->body + PC_RESUMED_HEAD_SIZE};
    return 0;
}

struct pc_msg *pc_resumed_new(const struct pc_resumed_body *body)
{
    struct pc_msg *msg =
        pc_msg_new(PC_MSG_RESUMED, PC_RESUMED_HEAD_SIZE + 8 * (size_t)body->count, NULL, 0);
    if (!msg)
        return NULL;
    pc_store_u64(msg->body, body->is_last);
    if (body->count)
        memcpy(msg->body + PC_RESUMED_HEAD_SIZE, body->sequences, 8 * (size_t)body->count);
    return msg;
}

int pc_stream_decode(const struct pc_msg *msg, struct pc_stream_body *body, struct pc_err *err)
{
    if (msg->head.body_size != PC_STREAM_BODY_SIZE || msg->head.part_count != 1)
        return malformed(msg, err);
    *body = (struct pc_stream_body){
        .stream = msg->body[0], .flags = msg->body[1], .at = pc_load_u64(msg->body + 8)};
    if (body->stream > PC_STREAM_DATA || body->flags & ~PC_STREAM_AGAIN ||
        pc_load_u16(msg->body + 2) || pc_load_u32(msg->body + 4) ||
        (body->stream == PC_STREAM_DATA && msg->parts_bytes > PC_DATA_MAX))
        return malformed(msg, err);
    return 0;
}

struct pc_msg *pc_stream_new(uint8_t stream, uint64_t at, const void *data, size_t size)
{
    uint64_t part_size = size;
    struct pc_msg *msg = pc_msg_new(PC_MSG_STREAM, PC_STREAM_BODY_SIZE, &part_size, 1);
    if (!msg)
        return NULL;
    memset(msg->body, 0, PC_STREAM_BODY_SIZE);
    msg->body[0] = stream;
    pc_store_u64(msg->body + 8, at);
    if (size)
        memcpy(msg->parts[0].data, data, size);
    return msg;
}

int pc_credit_decode(const struct pc_msg *msg, struct pc_credit_body *body, struct pc_err *err)
{
    if (msg->head.body_size != PC_CREDIT_SIZE)
        return malformed(msg, err);
    body->bytes = pc_load_u64(msg->body);
    body->came = pc_load_u64(msg->body + 8);
    return 0;
}

struct pc_msg *pc_credit_new(const struct pc_credit_body *body)
{
    uint8_t bytes[PC_CREDIT_SIZE];
    pc_store_u64(bytes, body->bytes);
    pc_store_u64(bytes + 8, body->came);
    return pc_msg_with_body(PC_MSG_OUTPUT_CREDIT, bytes, sizeof(bytes));
}
