/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The decoders of proto_task.h. The first byte of the input is the type of the message, the rest
 * its body. What a decoder takes, its encoder must give back byte for byte.
 */
#include "fuzz.h"

#include <string.h>

#include "lib/proto.h"
#include "lib/proto_record.h"
#include "lib/proto_task.h"

static void check_same(const struct pc_msg *msg, const void *body, size_t size)
{
    FUZZ_CHECK(size == msg->head.body_size && memcmp(body, msg->body, size) == 0);
}

static int decode_submit(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_submit_body body;
    struct pc_buf again;
    if (pc_submit_decode(msg, &body, err) < 0)
        return -1;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < body.target_count; i++)
        sum += pc_load_u32(body.targets + 4 * (size_t)i);
    FUZZ_CHECK(sum <= (uint64_t)body.target_count * UINT32_MAX);
    pc_buf_init(&again, msg->head.body_size);
    FUZZ_CHECK(pc_submit_encode(&again, &body) == 0);
    check_same(msg, again.data, again.size);
    pc_buf_fini(&again);
    return 0;
}

static int decode_run(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_run_body body;
    uint8_t again[PC_RUN_NAMED_SIZE];
    if (pc_run_decode(msg, &body, err) < 0)
        return -1;
    check_same(msg, again, pc_run_encode(again, &body));
    return 0;
}

static int decode_function(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_known known = {0};
    if (pc_function_decode(msg, &known, err) < 0)
        return -1;
    struct pc_msg *again = pc_function_msg(msg->parts[0].data, msg->parts[0].size);
    FUZZ_CHECK(again);
    check_same(msg, again->body, again->head.body_size);
    pc_msg_unref(again);
    return 0;
}

static int decode_result(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_result_body body;
    uint8_t again[PC_RESULT_BODY_SIZE];
    if (pc_result_decode(msg, &body, err) < 0)
        return -1;
    pc_result_encode(again, &body);
    check_same(msg, again, sizeof(again));
    return 0;
}

static int decode_stream(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_stream_body body;
    if (pc_stream_decode(msg, &body, err) < 0)
        return -1;
    struct pc_msg *again =
        pc_stream_new(body.stream, body.at, msg->parts[0].data, msg->parts[0].size);
    FUZZ_CHECK(again);
    again->body[1] = body.flags;
    check_same(msg, again->body, again->head.body_size);
    pc_msg_unref(again);
    return 0;
}

static int decode_credit(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_credit_body body;
    if (pc_credit_decode(msg, &body, err) < 0)
        return -1;
    struct pc_msg *again = pc_credit_new(&body);
    FUZZ_CHECK(again);
    check_same(msg, again->body, again->head.body_size);
    pc_msg_unref(again);
    return 0;
}

static int decode_abort(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_abort_body body;
    struct pc_buf again;
    if (pc_abort_decode(msg, &body, err) < 0)
        return -1;
    pc_buf_init(&again, msg->head.body_size);
    FUZZ_CHECK(pc_abort_encode(&again, &body) == 0);
    check_same(msg, again.data, again.size);
    pc_buf_fini(&again);
    return 0;
}

static int decode_recall(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_recall_body body;
    uint8_t again[PC_RECALL_SIZE];
    if (pc_recall_decode(msg, &body, err) < 0)
        return -1;
    pc_recall_encode(again, &body);
    check_same(msg, again, sizeof(again));
    return 0;
}

static int decode_held(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_held_body body;
    uint8_t again[PC_HELD_SIZE];
    if (pc_held_decode(msg, &body, err) < 0)
        return -1;
    pc_held_encode(again, &body);
    check_same(msg, again, sizeof(again));
    return 0;
}

static int decode_resumed(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_resumed_body body;
    if (pc_resumed_decode(msg, &body, err) < 0)
        return -1;
    struct pc_msg *again = pc_resumed_new(&body);
    check_same(msg, again->body, again->head.body_size);
    pc_msg_unref(again);
    return 0;
}

static void check_record(const uint8_t *at, size_t size, const struct pc_record *record)
{
    static struct pc_part parts[UINT16_MAX];
    struct pc_buf again;
    const uint8_t *from = record->part_bytes;
    for (uint16_t i = 0; i < record->part_count; i++) {
        parts[i].data = (uint8_t *)(uintptr_t)from;
        parts[i].size = pc_load_u32(record->part_sizes + 4 * (size_t)i);
        from += parts[i].size;
    }
    FUZZ_CHECK(from == record->part_bytes + record->part_bytes_size);
    pc_buf_init(&again, size);
    FUZZ_CHECK(pc_record_encode(&again, record, parts) == 0);
    FUZZ_CHECK(again.size == size && memcmp(at, again.data, size) == 0);
    pc_buf_fini(&again);
}

static int decode_records(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_reader reader;
    struct pc_record record;
    pc_reader_init(&reader, msg->body, msg->head.body_size);
    while (reader.left) {
        const uint8_t *at = reader.data;
        if (pc_record_decode(&reader, &record) < 0)
            return pc_err_set(err, PC_E_PROTOCOL, "malformed");
        check_record(at, (size_t)(reader.data - at), &record);
    }
    FUZZ_CHECK(pc_reader_done(&reader));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        uint8_t type;
        int (*decode)(const struct pc_msg *msg, struct pc_err *err);
    } decoders[] = {
        {PC_MSG_SUBMIT, decode_submit},
        {PC_MSG_RUN, decode_run},
        {PC_MSG_RESULT, decode_result},
        {PC_MSG_STREAM, decode_stream},
        {PC_MSG_OUTPUT_CREDIT, decode_credit},
        {PC_MSG_RECORDS, decode_records},
        {PC_MSG_ABORT, decode_abort},
        {PC_MSG_FUNCTION, decode_function},
        {PC_MSG_RECALL, decode_recall},
        {PC_MSG_ACCEPTED, pc_accepted_check},
        {PC_MSG_HELD, decode_held},
        {PC_MSG_RESUMED, decode_resumed},
    };
    if (size < 1 || size > PC_MIB)
        return 0;
    for (size_t i = 0; i < sizeof(decoders) / sizeof(decoders[0]); i++) {
        if (decoders[i].type != data[0])
            continue;
        struct pc_err err = {0};
        uint64_t part_size = 3;
        /* The body ends where its memory ends: one more byte read shows under a sanitizer. */
        struct pc_msg *msg = pc_msg_new(data[0], 0, &part_size,
                                        data[0] == PC_MSG_STREAM || data[0] == PC_MSG_FUNCTION);
        uint8_t *body = malloc(size - 1 ? size - 1 : 1);
        FUZZ_CHECK(msg && body);
        memcpy(body, data + 1, size - 1);
        if (msg->head.part_count)
            memcpy(msg->parts[0].data, "abc", 3);
        msg->body = body;
        msg->head.body_size = (uint32_t)(size - 1);
        if (decoders[i].decode(msg, &err) < 0)
            FUZZ_CHECK(err.code == PC_E_PROTOCOL && err.text[0]);
        free(body);
        pc_msg_unref(msg);
    }
    return 0;
}
