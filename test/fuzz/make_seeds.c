/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the seeds: make_seeds test/fuzz/seeds. To be run by hand when a message is added or its
 * body changes; what it wrote is kept in the tree. Every run writes the same bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "keys.h"
#include "lib/connfile.h"
#include "lib/key.h"
#include "lib/preamble.h"
#include "lib/proto.h"
#include "lib/proto_record.h"
#include "lib/proto_task.h"
#include "lib/wire.h"

#define HEX16 "00112233445566778899aabbccddeeff"
#define HEX32 HEX16 HEX16

static const char *root;

/* ---- files ------------------------------------------------------------------------------- */

static void write_seed(const char *target, const char *name, const void *data, size_t size)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", root, target);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/%s/%s", root, target, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

/* A byte, then the data. */
static void write_prefixed(const char *target, const char *name, uint8_t prefix, const void *data,
                           size_t size)
{
    struct pc_buf buf;
    pc_buf_init(&buf, 0);
    pc_buf_put_u8(&buf, prefix);
    pc_buf_put(&buf, data, size);
    write_seed(target, name, buf.data, buf.size);
    pc_buf_fini(&buf);
}

/* ---- one message of each type ------------------------------------------------------------ */

static const struct {
    uint8_t type;
    const char *body;
} json_messages[] = {
    {PC_MSG_WINDOW, "{\"window_count\":1000,\"window_bytes\":67108864}"},
    {PC_MSG_HELLO, "{\"role\":\"engine\",\"lane\":\"work\",\"public_key\":\"" HEX32
                   "\",\"pid\":42,\"host\":\"h\",\"python\":\"3.11\",\"uuid\":\"" HEX16
                   "\",\"engine_id\":3,\"token\":\"" HEX16 "\"}"},
    {PC_MSG_WELCOME,
     "{\"cluster_id\":\"\",\"instance\":\"" HEX16
     "\",\"profile\":\"default\",\"session\":\"0000000000000001\",\"token\":\"" HEX16
     "\",\"controller_pid\":41,\"window_count\":1000,\"window_bytes\":67108864}"},
    {PC_MSG_REFUSED, "{\"code\":\"role\",\"text\":\"this is an engine's key\"}"},
    {PC_MSG_GOODBYE, "{\"reason\":\"closed\"}"},
    {PC_MSG_ENGINES,
     "{\"full\":true,\"up\":[{\"id\":0,\"pid\":43,\"host\":\"h\",\"python\":\"3.11\","
     "\"uuid\":\"" HEX16 "\"}],\"down\":[{\"id\":7,\"reason\":\"signal 9\"}]}"},
    {PC_MSG_ENGINE_UP, "{\"uuid\":\"" HEX16 "\",\"pid\":43,\"host\":\"h\",\"python\":\"3.11\"}"},
    {PC_MSG_ENGINE_ID, "{\"id\":0}"},
    {PC_MSG_ENGINE_DOWN, "{\"id\":0,\"reason\":\"signal 9\"}"},
    {PC_MSG_CLIENT_UP, "{\"session\":\"0000000000000001\",\"pid\":44,\"host\":\"h\"}"},
    {PC_MSG_CLIENT_DOWN, "{\"session\":\"0000000000000001\"}"},
    {PC_MSG_PING, ""},
    {PC_MSG_RECEIVED, ""},
    {PC_MSG_PONG, ""},
    {PC_MSG_QUERY, "{\"query\":\"status\"}"},
    {PC_MSG_REPLY, "{\"ok\":false,\"error\":\"unknown query\"}"},
    {PC_MSG_CONFIG, "{\"cluster_id\":\"\",\"instance\":\"" HEX16
                    "\",\"profile\":\"default\",\"controller_private\":\"" HEX32
                    "\",\"client_public\":\"" HEX32 "\",\"engine_public\":\"" HEX32
                    "\",\"log_level\":\"info\",\"heartbeat_ms\":3000,\"controller_pid\":41,"
                    "\"has_unix\":true,\"has_tcp\":true}"},
    {PC_MSG_READY, "{}"},
    {PC_MSG_SPAWN, "{\"count\":4}"},
    {PC_MSG_SPAWNED, "{\"pid\":43,\"uuid\":\"" HEX16 "\"}"},
    {PC_MSG_EXITED, "{\"pid\":43,\"uuid\":\"" HEX16
                    "\",\"signal\":11,\"code\":0,\"tail\":\"Segmentation fault\\n\"}"},
    {PC_MSG_SHUTDOWN, "{\"reason\":\"stop\",\"grace_ms\":2000}"},
    {PC_MSG_FAILED, "{\"text\":\"no module named 'nump'\"}"},
    {PC_MSG_END, "{\"uuids\":[\"" HEX16 "\"],\"grace_ms\":2000,\"replace\":true}"},
    {PC_MSG_LINK, "{\"to\":\"hub\",\"pid\":45}"},
    {PC_MSG_SNAPSHOT, "{\"recorded\":7,\"next_number\":3,\"next_id\":1,\"engines\":[]}"},
    {PC_MSG_KEPT, "\1\1\1\1\1\1\1\1"},
    {PC_MSG_RECORDED, "\1\2\3\4\5\6\7\1"},
    {PC_MSG_SIGNAL, "{\"uuids\":[\"" HEX16 "\"],\"signal\":2,\"group\":false}"},
};

/* The bytes of a message on the wire are appended to `out`; the reference is taken. */
static void put_message(struct pc_buf *out, struct pc_msg *msg)
{
    struct pc_wire wire;
    struct iovec vectors[16];
    int count;
    pc_wire_init(&wire, 0);
    msg->head.session = 1;
    msg->head.sequence = 2;
    if (pc_wire_send(&wire, msg) < 0)
        abort();
    while ((count = pc_wire_gather(&wire, vectors, 16)) > 0) {
        size_t written = 0;
        for (int i = 0; i < count; i++) {
            pc_buf_put(out, vectors[i].iov_base, vectors[i].iov_len);
            written += vectors[i].iov_len;
        }
        pc_wire_sent(&wire, written);
    }
    pc_wire_fini(&wire);
    pc_msg_unref(msg);
}

/* Named by the message, in lower case; also as what a peer with the key sends. */
static void write_message(struct pc_buf *all, struct pc_msg *msg)
{
    char name[64];
    struct pc_buf buf;
    snprintf(name, sizeof(name), "%s", pc_msg_name(msg->head.type));
    for (char *c = name; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    pc_buf_init(&buf, 0);
    put_message(&buf, msg);
    write_seed("frame", name, buf.data, buf.size);
    pc_buf_put(all, buf.data, buf.size);
    pc_buf_fini(&buf);
}

/* A message with a body for the task target, and with parts for the frame target. */
static void write_task(struct pc_buf *all, uint8_t type, const char *name, const void *body,
                       size_t size, const char *const *texts, uint16_t count)
{
    uint64_t sizes[8] = {0};
    for (uint16_t i = 0; i < count; i++)
        sizes[i] = strlen(texts[i]);
    struct pc_msg *msg = pc_msg_new(type, size, sizes, count);
    memcpy(msg->body, body, size);
    for (uint16_t i = 0; i < count; i++)
        memcpy(msg->parts[i].data, texts[i], sizes[i]);
    write_prefixed("task", name, type, body, size);
    write_message(all, msg);
}

static void write_submit(struct pc_buf *all)
{
    static const uint8_t targets[] = {0, 0, 0, 0, 7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};
    static const char *const parts[] = {"pickled function", "pickled arguments", ""};
    struct pc_submit_body direct = {.kind = PC_KIND_APPLY,
                                    .target_count = 3,
                                    .targets = targets,
                                    .label_size = 5,
                                    .label = "label"};
    struct pc_submit_body balanced = {
        .kind = PC_KIND_EXECUTE, .flags = PC_SUBMIT_BALANCED, .run_flags = PC_RUN_SILENT};
    struct pc_buf body;
    pc_buf_init(&body, 0);
    pc_submit_encode(&body, &direct);
    write_task(all, PC_MSG_SUBMIT, "submit", body.data, body.size, parts, 3);
    body.size = 0;
    pc_submit_encode(&body, &balanced);
    write_prefixed("task", "submit_balanced", PC_MSG_SUBMIT, body.data, body.size);
    static const uint8_t needed[2 * PC_ACK_SIZE] = {1, [8] = 1, [16] = 1, [24] = 2};
    struct pc_submit_body with_options = balanced;
    with_options.flags |= PC_SUBMIT_OPTIONS | PC_SUBMIT_RETRY_SAME;
    with_options.priority = -3;
    with_options.retries = 2;
    with_options.timeout_ms = 1000;
    with_options.run_timeout_ms = 60000;
    with_options.tags = "big,gpu";
    with_options.tags_size = 7;
    with_options.after = (struct pc_submit_needs){
        .rule = PC_NEED_ALL | PC_NEED_SUCCESS, .count = 2, .tasks = needed};
    with_options.follow =
        (struct pc_submit_needs){.rule = PC_NEED_FAILURE, .count = 1, .tasks = needed};
    struct pc_submit_body named = with_options;
    named.kind = PC_KIND_APPLY;
    named.flags |= PC_SUBMIT_NAMED;
    named.function = (const uint8_t *)"the name of a function: 32 bytes";
    body.size = 0;
    pc_submit_encode(&body, &named);
    write_prefixed("task", "submit_named", PC_MSG_SUBMIT, body.data, body.size);
    struct pc_submit_body durable = balanced;
    durable.flags |= PC_SUBMIT_DURABLE;
    body.size = 0;
    pc_submit_encode(&body, &durable);
    write_prefixed("task", "submit_durable", PC_MSG_SUBMIT, body.data, body.size);
    body.size = 0;
    pc_submit_encode(&body, &with_options);
    write_prefixed("task", "submit_options", PC_MSG_SUBMIT, body.data, body.size);
    pc_buf_fini(&body);
}

static void write_records(struct pc_buf *all)
{
    static uint8_t function[] = "pickled function", arguments[] = "pickled arguments";
    const struct pc_part parts[] = {{function, 16}, {arguments, 17}};
    struct pc_buf body, submit;
    pc_buf_init(&body, 0);
    pc_buf_init(&submit, 0);
    struct pc_submit_body fields = {
        .kind = PC_KIND_APPLY, .flags = PC_SUBMIT_BALANCED, .label_size = 5, .label = "label"};
    pc_submit_encode(&submit, &fields);
    struct pc_record record = {.event = PC_RECORD_SUBMITTED,
                               .kind = PC_KIND_APPLY,
                               .flags = PC_RECORD_INSIDE,
                               .engine_id = 3,
                               .session = 1,
                               .sequence = 2,
                               .time_us = 1763903571123456,
                               .bytes = 33,
                               .body = submit.data,
                               .body_size = (uint32_t)submit.size,
                               .part_count = 2};
    pc_record_encode(&body, &record, parts);
    record.flags = PC_RECORD_SAME | PC_RECORD_DURABLE;
    record.part_count = 0;
    pc_record_encode(&body, &record, NULL);
    record.event = PC_RECORD_STARTED;
    record.flags = 0;
    record.body_size = 0;
    pc_record_encode(&body, &record, NULL);
    record.event = PC_RECORD_ENDED;
    record.flags = PC_RECORD_OUTSIDE | PC_RECORD_KEEP | PC_RECORD_GAP;
    record.status = PC_STATUS_OK;
    pc_record_encode(&body, &record, NULL);
    write_task(all, PC_MSG_RECORDS, "records", body.data, body.size, NULL, 0);
    pc_buf_fini(&submit);
    pc_buf_fini(&body);
}

static void write_abort(struct pc_buf *all)
{
    uint8_t task[PC_ACK_SIZE];
    struct pc_buf body;
    pc_store_u64(task, 1);
    pc_store_u64(task + 8, 2);
    pc_buf_init(&body, 0);
    pc_abort_encode(
        &body, &(struct pc_abort_body){.flags = PC_ABORT_INTERRUPT, .count = 1, .tasks = task});
    write_task(all, PC_MSG_ABORT, "abort", body.data, body.size, NULL, 0);
    pc_buf_fini(&body);
}

static void write_function(struct pc_buf *all)
{
    struct pc_msg *msg = pc_function_msg("abc", 3); /* the part that the task target has */
    uint8_t run[PC_RUN_NAMED_SIZE];
    size_t size =
        pc_run_encode(run, &(struct pc_run_body){.kind = PC_KIND_APPLY, .function = msg->body});
    write_prefixed("task", "run_named", PC_MSG_RUN, run, size);
    write_prefixed("task", "function", PC_MSG_FUNCTION, msg->body, msg->head.body_size);
    write_message(all, msg);
}

static void write_recall(struct pc_buf *all)
{
    uint8_t body[PC_RECALL_SIZE];
    pc_recall_encode(body, &(struct pc_recall_body){.first = 3, .last = 8});
    write_task(all, PC_MSG_RECALL, "recall", body, sizeof(body), NULL, 0);
}

static void write_held(struct pc_buf *all)
{
    uint8_t body[PC_HELD_SIZE], resumed[PC_RESUMED_HEAD_SIZE + 16] = {1, [8] = 5, [16] = 9};
    pc_held_encode(
        body, &(struct pc_held_body){.begun = 7, .count = 1, .session = 0x1234, .sequence = 3});
    write_task(all, PC_MSG_HELD, "held", body, sizeof(body), NULL, 0);
    write_task(all, PC_MSG_RESUMED, "resumed", resumed, sizeof(resumed), NULL, 0);
}

static void write_binary_messages(struct pc_buf *all)
{
    static const char *const source[] = {"x = 1"}, *const value[] = {"pickled value", "buffer"};
    static const char *const output[] = {"Hello, World\n"};
    static const uint8_t stream[PC_STREAM_BODY_SIZE] = {PC_STREAM_STDERR};
    uint8_t run[PC_RUN_NAMED_SIZE], result[PC_RESULT_BODY_SIZE], numbers[PC_ACK_SIZE];
    write_submit(all);
    pc_run_encode(run, &(struct pc_run_body){.kind = PC_KIND_EXECUTE, .run_flags = PC_RUN_SILENT});
    write_task(all, PC_MSG_RUN, "run", run, PC_RUN_BODY_SIZE, source, 1);
    pc_result_encode(result, &(struct pc_result_body){.status = PC_STATUS_OK,
                                                      .submitted_us = 1763903571123456,
                                                      .started_us = 1763903571123556,
                                                      .completed_us = -1});
    write_task(all, PC_MSG_RESULT, "result", result, sizeof(result), value, 2);
    static const uint8_t published[PC_STREAM_BODY_SIZE] = {PC_STREAM_DATA};
    write_task(all, PC_MSG_STREAM, "stream_data", published, sizeof(published), output, 1);
    static const uint8_t shown[PC_STREAM_BODY_SIZE] = {PC_STREAM_DISPLAY};
    write_task(all, PC_MSG_STREAM, "stream_display", shown, sizeof(shown), output, 1);
    write_task(all, PC_MSG_STREAM, "stream", stream, sizeof(stream), output, 1);
    pc_store_u64(numbers, 1);
    pc_store_u64(numbers + 8, 2);
    write_task(all, PC_MSG_RESULT_ACK, "result_ack", numbers, PC_ACK_SIZE, NULL, 0);
    pc_store_u64(numbers, 65536);
    write_task(all, PC_MSG_OUTPUT_CREDIT, "output_credit", numbers, PC_CREDIT_SIZE, NULL, 0);
    static const char *const why[] = {"disk full"};
    pc_store_u64(numbers, 1);
    write_task(all, PC_MSG_ACCEPTED, "accepted", numbers, PC_ACK_SIZE, why, 1);
    write_records(all);
    write_abort(all);
    write_function(all);
    write_recall(all);
    write_held(all);
}

/* ---- streams that are more than one good message ------------------------------------------ */

static void write_large(void)
{
    struct pc_buf buf;
    uint64_t sizes[] = {20000, 0, 5000};
    struct pc_msg *msg = pc_msg_new(PC_MSG_RUN, PC_RUN_BODY_SIZE, sizes, 3);
    uint8_t body[PC_RUN_NAMED_SIZE];
    pc_run_encode(body, &(struct pc_run_body){.kind = PC_KIND_APPLY});
    memcpy(msg->body, body, PC_RUN_BODY_SIZE);
    for (size_t i = 0; i < 3; i++)
        memset(msg->parts[i].data, 'a' + (int)i, sizes[i]);
    pc_buf_init(&buf, 0);
    put_message(&buf, msg);
    write_seed("frame", "large_parts", buf.data, buf.size);
    write_prefixed("record", "large_parts", 3, buf.data, buf.size);
    pc_buf_fini(&buf);
}

/* Headers that claim much more than follows. */
static void write_hostile(void)
{
    struct pc_buf buf;
    uint8_t head[PC_FRAME_SIZE];
    struct pc_frame frame = {.type = PC_MSG_REPLY, .body_size = 64 * PC_MIB};
    pc_frame_encode(&frame, head);
    write_seed("frame", "hostile_body", head, sizeof(head));
    frame = (struct pc_frame){.type = PC_MSG_RESULT, .body_size = 32, .part_count = 2};
    static const uint64_t claims[][2] = {
        {PC_PARTS_BYTES_MAX - 1, 1}, {PC_PARTS_BYTES_MAX, 1}, {UINT64_MAX, UINT64_MAX}, {1, 1}};
    static const char *const names[] = {"hostile_parts_allowed", "hostile_parts_over",
                                        "hostile_parts_overflow", "hostile_nothing_follows"};
    for (size_t i = 0; i < 4; i++) {
        pc_buf_init(&buf, 0);
        pc_frame_encode(&frame, head);
        pc_buf_put(&buf, head, sizeof(head));
        pc_buf_put_u64(&buf, claims[i][0]);
        pc_buf_put_u64(&buf, claims[i][1]);
        pc_buf_put(&buf, "and a little of the body", 24);
        write_seed("frame", names[i], buf.data, buf.size);
        pc_buf_fini(&buf);
    }
    frame.part_count = PC_PARTS_MAX;
    pc_frame_encode(&frame, head);
    write_seed("frame", "hostile_part_count", head, sizeof(head));
}

static void write_records_layer(const struct pc_buf *all)
{
    write_prefixed("record", "stream", 1, all->data, all->size);
    write_prefixed("record", "changed", 2, all->data, 700);
    write_prefixed("record", "sent_back", 3, all->data, all->size);
    write_prefixed("record", "no_key", 0,
                   "\x14\x00"
                   "0123456789abcdefghij\x00\x00",
                   24);
    write_prefixed("record", "too_short", 0,
                   "\x0f\x00"
                   "0123456789abcdef",
                   18);
}

/* ---- the other targets -------------------------------------------------------------------- */

static void write_handshakes(void)
{
    static const char *const names[][2] = {{"aesgcm_1", "aesgcm_2"},
                                           {"chachapoly_1", "chachapoly_2"}};
    struct pc_keypair responder_key;
    pc_keypair_from_private(&responder_key, fuzz_responder_private);
    for (int i = 0; i < 2; i++) {
        enum pc_suite suite = i == 0 ? PC_SUITE_AESGCM : PC_SUITE_CHACHAPOLY;
        struct pc_handshake initiator, responder;
        uint8_t seed[PC_PREAMBLE_SIZE + PC_NOISE_MSG1_SIZE];
        struct pc_preamble preamble = {.version = PC_PROTOCOL_VERSION,
                                       .suite_or_answer = (uint8_t)suite};
        if (!pc_suite_available(suite)) {
            fprintf(stderr, "make_seeds: this processor can't make the seeds for AESGCM\n");
            exit(1);
        }
        memset(preamble.instance, 0x55, sizeof(preamble.instance));
        pc_preamble_encode(&preamble, seed);
        pc_handshake_init(&initiator, suite, true, seed, PC_PREAMBLE_SIZE, fuzz_initiator_private,
                          responder_key.public_key);
        pc_handshake_init(&responder, suite, false, seed, PC_PREAMBLE_SIZE, fuzz_responder_private,
                          NULL);
        pc_handshake_fix_ephemeral(&initiator, fuzz_initiator_ephemeral);
        pc_handshake_fix_ephemeral(&responder, fuzz_responder_ephemeral);
        pc_handshake_write(&initiator, NULL, 0, seed + PC_PREAMBLE_SIZE);
        write_seed("handshake", names[i][0], seed, PC_PREAMBLE_SIZE + PC_NOISE_MSG1_SIZE);
        pc_handshake_read(&responder, seed + PC_PREAMBLE_SIZE, PC_NOISE_MSG1_SIZE, NULL);
        pc_handshake_write(&responder, NULL, 0, seed + PC_PREAMBLE_SIZE);
        write_seed("handshake", names[i][1], seed, PC_PREAMBLE_SIZE + PC_NOISE_MSG2_SIZE);
    }
    uint8_t plain[PC_PREAMBLE_SIZE];
    pc_preamble_encode(&(struct pc_preamble){.version = PC_PROTOCOL_VERSION}, plain);
    write_seed("handshake", "plain", plain, sizeof(plain));
}

static void write_json(void)
{
    static const char *const texts[][2] = {
        {"values", "{\"a\": [1, -2.5e3, \"x\\u00e9\\ud83d\\ude00\\n\", true, null], \"b\": {}}"},
        {"numbers", "[0,-0,1e999,9007199254740993,0.1,1e-400,4294967296,123456789012345678901234]"},
        {"nul", "{\"role\":\"client\\u0000x\"}"},
        {"control", "{\"a\":\"\x01\"}"},
        {"not_utf8", "\"\xed\xa0\x80\""},
        {"open", "{\"1\":1,"},
        {"deep", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"},
        {"tail", "{} x"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        write_seed("json", texts[i][0], texts[i][1], strlen(texts[i][1]));
    struct pc_connfile file = {.role = "engine",
                               .profile = "default",
                               .host = "::1",
                               .port = 40001,
                               .unix_path = "/run/pcluster/x.sock",
                               .location = "host"};
    char *text = pc_connfile_print(&file);
    write_seed("json", "connection_file", text, strlen(text));
    free(text);
}

static void write_config(void)
{
    static const char *const texts[][2] = {
        {"settings", "# of this host\n\nengines = 4\n  log-level=info\t# while it is new\r\n"
                     "preload = numpy,scipy\npython = /opt/a#b/bin/python3"},
        {"twice", "port = 1\nport = 2\n"},
        {"no_value", "port = # none\n"},
        {"no_name", "= 4\n"},
        {"words", "engines four\n"},
        {"control", "engines = 4\x01\n"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        write_seed("config", texts[i][0], texts[i][1], strlen(texts[i][1]));
}

int main(int argc, char **argv)
{
    struct pc_buf all;
    if (argc != 2 || pc_noise_init() < 0) {
        fprintf(stderr, "usage: make_seeds FOLDER\n");
        return 2;
    }
    root = argv[1];
    mkdir(root, 0777);
    pc_buf_init(&all, 0);
    for (size_t i = 0; i < sizeof(json_messages) / sizeof(json_messages[0]); i++) {
        const char *body = json_messages[i].body;
        write_message(&all, pc_msg_with_body(json_messages[i].type, body, strlen(body)));
    }
    write_binary_messages(&all);
    write_seed("frame", "all_of_them", all.data, all.size);
    write_large();
    write_hostile();
    write_records_layer(&all);
    write_handshakes();
    write_json();
    write_config();
    pc_buf_fini(&all);
    return 0;
}
