/* SPDX-License-Identifier: BSD-3-Clause */
/* The scheduler and its peers: work gets through, and whoever breaks the rules harms nobody. */
#include "unit.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/proto.h"
#include "lib/proto_record.h"
#include "lib/proto_task.h"
#include "play.h"

static void work_goes_there_and_back(void **state)
{
    static const enum pc_transport transports[] = {PC_TRANSPORT_UNIX, PC_TRANSPORT_TCP};
    for (int i = 0; i < 2; i++) {
        struct stage stage;
        struct fake_engine engine;
        struct pc_engine *list;
        size_t count;
        struct pc_err err;
        stage_open(&stage, 3000);
        stage_engine(&stage, &engine, transports[i]);
        struct pc_client *client = play_open(&stage, transports[i]);
        assert_int_equal(pc_client_engines(client, &list, &count, &err), 0);
        assert_int_equal(count, 1);
        assert_int_equal(list[0].id, engine.id);
        assert_string_equal(list[0].python, "3.11");
        pc_engines_free(list);
        for (int balanced = 0; balanced < 2; balanced++) {
            struct pc_call *call = play_submit(client, balanced ? NULL : &engine.id, "x");
            struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
            struct pc_run_body body;
            assert_int_equal(pc_run_decode(run, &body, &err), 0);
            assert_int_equal(body.kind, PC_KIND_EXECUTE);
            assert_memory_equal(run->parts[0].data, "x", 1);
            fake_engine_answer(&engine, run, "value");
            pc_msg_unref(run);
            play_wait(client, call);
            struct pc_result result;
            assert_int_equal(pc_call_result(call, &result), 0);
            assert_int_equal(result.status, PC_STATUS_OK);
            assert_int_equal(result.engine_id, engine.id);
            assert_true(result.submitted_us > 0 && result.received_us >= result.submitted_us);
            play_expect_part(call, "value");
            pc_call_unref(call);
        }
        pc_client_close(client);
        fake_engine_close(&engine);
        stage_close(&stage);
    }
}

/* An engine may forget a result only when the client has it. */
static void results_are_acknowledged(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *first = play_submit(client, &engine.id, "a");
    struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
    uint64_t sequence = run->head.sequence;
    fake_engine_answer(&engine, run, "A");
    pc_msg_unref(run);
    play_wait(client, first);
    struct pc_call *second = play_submit(client, &engine.id, "b");
    struct pc_msg *ack = stage_await(&engine.work, PC_MSG_RESULT_ACK);
    assert_int_equal(ack->head.body_size, PC_ACK_SIZE);
    assert_true(pc_load_u64(ack->body) == pc_call_session(first));
    assert_true(pc_load_u64(ack->body + 8) == sequence);
    pc_msg_unref(ack);
    run = stage_await(&engine.work, PC_MSG_RUN);
    pc_client_close(client); /* the result of a client that is gone is acknowledged at once */
    fake_engine_answer(&engine, run, "B");
    pc_msg_unref(run);
    pc_call_unref(first);
    pc_call_unref(second);
    play_check(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void a_killed_engine_fails_its_calls(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    struct pc_engine *list;
    size_t count;
    struct pc_err err;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *running = play_submit(client, &engine.id, "a");
    struct pc_call *queued = play_submit(client, &engine.id, "b");
    pc_msg_unref(stage_await(&engine.work, PC_MSG_RUN));
    stage_exited(&stage, &engine, SIGKILL, true, "its last words\n");
    fake_engine_close(&engine);
    play_wait(client, running);
    play_wait(client, queued);
    play_expect_error(running, "EngineError", "killed by signal 9 (SIGKILL)");
    play_expect_error(running, "EngineError", "because memory ran out");
    play_expect_error(running, "EngineError", "its last words");
    play_expect_error(queued, "EngineError", "engine 0 (pid 4711 on here)");
    assert_int_equal(pc_client_engines(client, &list, &count, &err), 0);
    assert_int_equal(count, 0);
    pc_engines_free(list);
    struct pc_call *late = play_submit(client, &engine.id, "c");
    play_wait(client, late);
    play_expect_error(late, "EngineError", "not registered");
    pc_call_unref(running);
    pc_call_unref(queued);
    pc_call_unref(late);
    pc_client_close(client);
    stage_close(&stage);
}

/* The connection breaks and nobody reports why: the calls fail all the same. */
static void a_vanished_engine_fails_its_calls(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_TCP);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_TCP);
    struct pc_call *call = play_submit(client, &engine.id, "a");
    pc_msg_unref(stage_await(&engine.work, PC_MSG_RUN));
    fake_engine_close(&engine);
    play_wait(client, call);
    play_expect_error(call, "EngineError", "lost its connection: the other side closed");
    pc_call_unref(call);
    pc_client_close(client);
    stage_close(&stage);
}

static void a_silent_engine_is_given_up(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    stage_open(&stage, 50);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *call = play_submit(client, &engine.id, "a");
    pc_msg_unref(stage_await(&engine.control, PC_MSG_PING)); /* and no PONG */
    play_wait(client, call);
    play_expect_error(call, "EngineError", "has not answered");
    stage_await_end(&engine.work);
    pc_call_unref(call);
    pc_client_close(client);
    fake_engine_close(&engine);
    stage_close(&stage);
}

/* A scheduler that was stopped for a while has not read what engines said meanwhile: it gives them
 * another chance. That time passes is what is waited for here. */
static void a_stopped_scheduler_blames_nobody(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    stage_open(&stage, 100);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    assert_int_equal(kill(stage.pid, SIGSTOP), 0);
    int64_t until_ms = pc_clock_ms() + 1000; /* ten beats */
    while (pc_clock_ms() < until_ms)
        poll(NULL, 0, 50);
    assert_int_equal(kill(stage.pid, SIGCONT), 0);
    for (int i = 0; i < 3; i++) {
        struct pc_msg *pong = pc_msg_with_body(PC_MSG_PONG, NULL, 0);
        pc_msg_unref(stage_await(&engine.control, PC_MSG_PING));
        assert_int_equal(pc_sock_send(&engine.control, pong, NULL), 0);
        pc_msg_unref(pong);
    }
    play_check(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

/* A host has an engine's key, and no power over engines of others. */
static void a_host_ends_no_engine(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    struct pc_sock host;
    struct pc_msg *welcome;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    stage_connect(&stage, &host, &stage.engine, PC_TRANSPORT_UNIX,
                  "\"role\":\"host\",\"pid\":1,\"host\":\"h\","
                  "\"uuid\":\"000000000000000000000000000000ff\"",
                  &welcome);
    pc_msg_unref(welcome);
    pc_msg_unref(stage_await(&host, PC_MSG_ENGINES));
    struct pc_sock parent = stage.parent;
    stage.parent = host; /* the same words, from a host */
    stage_exited(&stage, &engine, SIGKILL, false, "forged");
    stage.parent = parent;
    play_check(&stage, &engine);
    play_check(&stage, &engine);
    pc_sock_close(&host);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void connect_client_raw(struct stage *stage, struct pc_sock *sock, uint64_t *session)
{
    struct pc_msg *welcome;
    stage_connect(stage, sock, &stage->client, PC_TRANSPORT_UNIX,
                  "\"role\":\"client\",\"pid\":1,\"host\":\"h\"", &welcome);
    pc_json *json = pc_json_of_msg(welcome, NULL);
    assert_int_equal(pc_json_get_u64(json, "session", session, NULL), 0);
    pc_json_free(json);
    pc_msg_unref(welcome);
}

static struct pc_msg *submit_msg(uint64_t session, uint64_t sequence, uint32_t target)
{
    struct pc_buf buf;
    uint8_t targets[4];
    pc_buf_init(&buf, 0);
    pc_store_u32(targets, target);
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE, .target_count = 1, .targets = targets};
    pc_submit_encode(&buf, &body);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_SUBMIT, buf.data, buf.size);
    msg->head.session = session;
    msg->head.sequence = sequence;
    pc_buf_fini(&buf);
    return msg;
}

static void clients_that_break_the_rules_are_dropped(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    uint8_t result[PC_RESULT_BODY_SIZE] = {PC_STATUS_OK};
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 6; i++) {
        struct pc_sock sock;
        uint64_t session;
        struct pc_msg *msg = NULL;
        connect_client_raw(&stage, &sock, &session);
        switch (i) {
        case 0: /* of another role */
            msg = pc_msg_with_body(PC_MSG_RESULT, result, sizeof(result));
            break;
        case 1: /* in a wrong state */
            msg = pc_msg_with_body(PC_MSG_HELLO, "{}", 2);
            break;
        case 2: /* for somebody else */
            msg = submit_msg(session + 1, 1, engine.id);
            break;
        case 3: /* a body that is no submission */
            msg = pc_msg_with_body(PC_MSG_SUBMIT, "nonsense", 8);
            msg->head.session = session;
            break;
        case 4: /* no JSON */
            msg = pc_msg_with_body(PC_MSG_QUERY, "{]", 2);
            break;
        case 5: /* the same number twice */
            msg = submit_msg(session, 7, engine.id);
            assert_int_equal(pc_sock_send(&sock, msg, NULL), 0);
            pc_msg_unref(stage_await(&engine.work, PC_MSG_RUN));
            break;
        }
        pc_sock_send(&sock, msg, NULL);
        pc_msg_unref(msg);
        stage_await_end(&sock);
        pc_sock_close(&sock);
    }
    play_check(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

/* Changes the limits, as a client. */
static void set_limits(struct stage *stage, const char *query)
{
    struct pc_client *client = play_open(stage, PC_TRANSPORT_UNIX);
    char *reply;
    struct pc_err err;
    assert_int_equal(pc_query(client, query, STAGE_LIMIT_MS, &reply, &err), 0);
    assert_non_null(strstr(reply, "\"ok\":true"));
    free(reply);
    pc_client_close(client);
}

static void clients_are_held_to_their_window(void **state)
{
    static const char *const limits[] = {
        "{\"query\":\"sched\",\"max_tasks\":2}",
        "{\"query\":\"sched\",\"max_tasks\":100,\"max_bytes\":4096}",
    };
    char *large = calloc(1, 4096);
    struct stage stage;
    struct fake_engine engine;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 2; i++) {
        struct pc_sock sock;
        uint64_t session, size = 4096;
        set_limits(&stage, limits[i]);
        connect_client_raw(&stage, &sock, &session);
        for (uint64_t sequence = 1; sequence <= 2 + (uint64_t)!i; sequence++) {
            struct pc_msg *msg = submit_msg(session, sequence, engine.id);
            struct pc_msg *with_part =
                pc_msg_new(PC_MSG_SUBMIT, msg->head.body_size, &size, (uint16_t)i);
            memcpy(with_part->body, msg->body, msg->head.body_size);
            with_part->head.session = session;
            with_part->head.sequence = sequence;
            if (i)
                memcpy(with_part->parts[0].data, large, size);
            assert_int_equal(pc_sock_send(&sock, with_part, NULL), 0);
            pc_msg_unref(msg);
            pc_msg_unref(with_part);
        }
        for (int run = 0; run < 2 - i; run++) /* the first ones were in order */
            pc_msg_unref(stage_await(&engine.work, PC_MSG_RUN));
        stage_await_end(&sock);
        pc_sock_close(&sock);
    }
    free(large);
    fake_engine_close(&engine);
    stage_close(&stage);
}

/* Of the client library: told of a change it keeps to it, and asks nevertheless. */
static void limits_may_change(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    struct pc_window window;
    struct pc_err err;
    struct pc_call *calls[3], *refused;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    assert_int_equal(pc_client_window(client, &window), 0);
    assert_int_equal(window.max_calls, 1000000);
    assert_int_equal(window.max_bytes, 1 << 30);
    for (int i = 0; i < 3; i++)
        calls[i] = play_submit(client, &engine.id, "x");
    set_limits(&stage, "{\"query\":\"sched\",\"max_tasks\":2}");
    while (window.max_calls != 2) {
        assert_true(pc_dispatch(client, STAGE_LIMIT_MS, &err) >= 0);
        pc_client_window(client, &window);
    }
    assert_int_equal(window.calls, 3);
    struct pc_bytes part = {.data = "x", .size = 1};
    struct pc_request request = {.kind = PC_KIND_EXECUTE,
                                 .targets = &engine.id,
                                 .target_count = 1,
                                 .parts = &part,
                                 .part_count = 1,
                                 .never_waits = true};
    assert_int_equal(pc_submit(client, &request, &refused, &err), -1);
    assert_int_equal(err.code, PC_E_FULL);
    assert_int_equal(pc_abort(client, calls + 2, 1, 0, &err), 0);
    set_limits(&stage, "{\"query\":\"sched\",\"max_tasks\":4}");
    request.never_waits = false; /* waits for the news */
    assert_int_equal(pc_submit(client, &request, &refused, &err), 0);
    pc_client_window(client, &window);
    assert_int_equal(window.calls, 4);
    assert_int_equal(window.max_calls, 4);
    for (int i = 0; i < 3; i++)
        pc_call_unref(calls[i]);
    pc_call_unref(refused);
    pc_client_close(client);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void engines_that_break_the_rules_are_dropped(void **state)
{
    struct stage stage;
    struct fake_engine good, bad;
    uint8_t result[PC_RESULT_BODY_SIZE] = {PC_STATUS_OK};
    uint8_t *lots = calloc(1, 2 * PC_OUTPUT_WINDOW + 1);
    stage_open(&stage, 3000);
    stage_engine(&stage, &good, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 4; i++) {
        struct pc_msg *msg = NULL;
        stage_engine(&stage, &bad, PC_TRANSPORT_UNIX);
        struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
        struct pc_call *call = play_submit(client, &bad.id, "a");
        pc_msg_unref(stage_await(&bad.work, PC_MSG_RUN));
        switch (i) {
        case 0: /* a result nobody asked for */
            msg = pc_msg_with_body(PC_MSG_RESULT, result, sizeof(result));
            break;
        case 1: /* work of its own: an engine's key cannot submit */
            msg = submit_msg(1, 1, bad.id);
            break;
        case 2: /* more output than its window */
            msg = pc_stream_new(PC_STREAM_STDOUT, 0, lots, 2 * PC_OUTPUT_WINDOW + 1);
            break;
        case 3: /* a stream that does not exist */
            msg = pc_stream_new(7, 0, "x", 1);
            break;
        }
        pc_sock_send(&bad.work, msg, NULL);
        pc_msg_unref(msg);
        stage_await_end(&bad.work);
        play_wait(client, call);
        play_expect_error(call, "EngineError", "engine");
        pc_call_unref(call);
        pc_client_close(client);
        fake_engine_close(&bad);
    }
    play_check(&stage, &good);
    fake_engine_close(&good);
    stage_close(&stage);
    free(lots);
}

/* Takes `output`. */
static void say_output(struct fake_engine *engine, const struct pc_msg *run, struct pc_msg *output)
{
    output->head.session = run->head.session;
    output->head.sequence = run->head.sequence;
    pc_sock_send(&engine->work, output, NULL);
    pc_msg_unref(output);
}

/* Output comes before the result, in order, and its window is given back. */
static void output_precedes_its_result(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    char line[PC_OUTPUT_WINDOW / 4];
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *call = play_submit(client, &engine.id, "a");
    struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
    memset(line, 'o', sizeof(line));
    struct pc_msg *out = pc_stream_new(PC_STREAM_STDOUT, 0, line, sizeof(line));
    say_output(&engine, run, out);
    say_output(&engine, run, pc_stream_new(PC_STREAM_DATA, 0, "data", 4));
    say_output(&engine, run, pc_stream_new(PC_STREAM_STDERR, 0, "oops\n", 5));
    say_output(&engine, run, pc_stream_new(PC_STREAM_DISPLAY, 0, "{}\n", 3));
    fake_engine_answer(&engine, run, "done");
    pc_msg_unref(run);
    play_wait(client, call);
    char *text;
    size_t size;
    pc_call_output(call, PC_STREAM_STDOUT, &text, &size);
    assert_int_equal(size, sizeof(line));
    free(text);
    pc_call_take_output(call, PC_STREAM_STDERR, &text, &size);
    assert_string_equal(text, "oops\n");
    free(text);
    pc_call_take_output(call, PC_STREAM_STDERR, &text, &size);
    assert_null(text);
    struct pc_msg *credit = stage_await(&engine.control, PC_MSG_OUTPUT_CREDIT);
    assert_true(pc_load_u64(credit->body) >= sizeof(line));
    pc_msg_unref(credit);
    for (uint8_t stream = 0; stream < PC_STREAM_TEXTS; stream++) { /* not what is published */
        struct pc_msg *kept = stage_await(&stage.hub, PC_MSG_STREAM);
        assert_int_equal(kept->body[0], stream);
        pc_msg_unref(kept);
    }
    pc_call_unref(call);
    pc_client_close(client);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void a_stopped_cluster_fails_what_is_pending(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    struct pc_err err;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *call = play_submit(client, &engine.id, "a");
    pc_msg_unref(stage_await(&engine.work, PC_MSG_RUN));
    const char *body = "{\"reason\":\"stopped for the test\",\"grace_ms\":5000}";
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_SHUTDOWN, body, strlen(body));
    assert_int_equal(pc_sock_send(&stage.parent, msg, NULL), 0);
    pc_msg_unref(msg);
    play_wait(client, call);
    play_expect_error(call, "ConnectionLost", "stopped for the test");
    assert_int_equal(pc_client_check(client, &err), -1);
    assert_int_equal(err.code, PC_E_LOST);
    pc_msg_unref(stage_await(&engine.control, PC_MSG_SHUTDOWN));
    pc_call_unref(call);
    pc_client_close(client);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void questions_are_passed_on(void **state)
{
    struct stage stage;
    struct pc_sock sock;
    uint64_t session;
    stage_open(&stage, 3000);
    connect_client_raw(&stage, &sock, &session);
    const char *questions[] = {"{\"query\":\"status\"}", "{\"query\":\"shutdown\"}"};
    struct pc_sock *who[] = {&stage.hub, &stage.parent};
    for (int i = 0; i < 2; i++) {
        struct pc_msg *msg = pc_msg_with_body(PC_MSG_QUERY, questions[i], strlen(questions[i]));
        msg->head.sequence = 40 + (uint64_t)i;
        assert_int_equal(pc_sock_send(&sock, msg, NULL), 0);
        pc_msg_unref(msg);
        struct pc_msg *question = stage_await(who[i], PC_MSG_QUERY);
        assert_true(question->head.session == session);
        assert_int_equal(question->head.sequence, 40 + i);
        struct pc_msg *reply = pc_msg_with_body(PC_MSG_REPLY, "{\"ok\":true}", 11);
        reply->head.session = question->head.session;
        reply->head.sequence = question->head.sequence;
        assert_int_equal(pc_sock_send(who[i], reply, NULL), 0);
        pc_msg_unref(reply);
        pc_msg_unref(question);
        reply = stage_await(&sock, PC_MSG_REPLY);
        assert_int_equal(reply->head.sequence, 40 + i);
        assert_memory_equal(reply->body, "{\"ok\":true}", 11);
        pc_msg_unref(reply);
    }
    pc_sock_close(&sock);
    stage_close(&stage);
}

/* How many tasks were started on this engine, say these records. */
static int count_started(const struct pc_msg *records, uint32_t engine_id)
{
    struct pc_reader reader;
    struct pc_record record;
    int count = 0;
    pc_reader_init(&reader, records->body, records->head.body_size);
    while (reader.left) {
        assert_int_equal(pc_record_decode(&reader, &record), 0);
        count += record.event == PC_RECORD_STARTED && record.engine_id == engine_id;
    }
    return count;
}

/* The starts of tasks are not recorded at once, but before anybody can ask for it. */
static void a_question_comes_after_what_happened(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    struct pc_sock sock;
    uint64_t session;
    struct pc_call *calls[3];
    struct pc_msg *runs[3];
    int started = 0;
    bool is_asked = false;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    connect_client_raw(&stage, &sock, &session);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 3; i++) {
        calls[i] = play_submit(client, &engine.id, "x");
        runs[i] = stage_await(&engine.work, PC_MSG_RUN);
    }
    struct pc_msg *question = pc_msg_with_body(PC_MSG_QUERY, "{\"query\":\"status\"}", 18);
    assert_int_equal(pc_sock_send(&sock, question, NULL), 0);
    pc_msg_unref(question);
    while (!is_asked) {
        struct pc_err err;
        struct pc_msg *msg = pc_sock_receive(&stage.hub, 10000, &err);
        assert_non_null(msg);
        if (msg->head.type == PC_MSG_RECORDS)
            started += count_started(msg, engine.id);
        is_asked = msg->head.type == PC_MSG_QUERY;
        pc_msg_unref(msg);
    }
    assert_int_equal(started, 3);
    for (int i = 0; i < 3; i++) {
        fake_engine_answer(&engine, runs[i], "1");
        pc_msg_unref(runs[i]);
        play_wait(client, calls[i]);
        pc_call_unref(calls[i]);
    }
    pc_client_close(client);
    pc_sock_close(&sock);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void abort_calls(struct pc_client *client, struct pc_call *const *calls, size_t count,
                        unsigned flags)
{
    struct pc_err err;
    if (pc_abort(client, calls, count, flags, &err))
        fail_msg("%s", err.text);
}

static void expect_order(struct fake_engine *engine, uint8_t flags, uint64_t sequence)
{
    struct pc_msg *order = stage_await(&engine->control, PC_MSG_ABORT);
    assert_int_equal(order->head.body_size, PC_ABORT_HEAD_SIZE + PC_ACK_SIZE);
    assert_int_equal(order->body[0], flags);
    assert_int_equal(pc_load_u64(order->body + PC_ABORT_HEAD_SIZE + 8), sequence);
    pc_msg_unref(order);
}

/* What waits ends before the answer; what an engine has is the engine's business. */
static void aborted_tasks_never_reach_an_engine(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    struct pc_call *calls[40];
    struct pc_err err;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 20; i++)
        calls[i] = play_submit(client, NULL, "balanced");
    for (int i = 20; i < 40; i++)
        calls[i] = play_submit(client, &engine.id, "direct");
    struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
    abort_calls(client, calls + 1, 19, 0);
    for (int i = 1; i < 20; i++)
        play_expect_error(calls[i], "TaskAborted", "before it started");
    abort_calls(client, calls, 40, 0);
    for (int i = 35; i < 40; i++) /* what was not sent ahead */
        play_expect_error(calls[i], "TaskAborted", "before it started");
    expect_order(&engine, 0, run->head.sequence);
    fake_engine_answer(&engine, run, "it ran");
    pc_msg_unref(run);
    play_wait(client, calls[0]);
    play_expect_part(calls[0], "it ran");
    assert_int_equal(pc_interrupt(client, &engine.id, 1, &err), 0);
    for (int i = 20; i < 35; i++)
        expect_order(&engine, 0, pc_call_sequence(calls[i]));
    expect_order(&engine, PC_ABORT_INTERRUPT, pc_call_sequence(calls[20]));
    for (int i = 0; i < 40; i++)
        pc_call_unref(calls[i]);
    pc_client_close(client);
    fake_engine_close(&engine);
    stage_close(&stage);
}

/* The scheduler answers itself, and what it is told holds from then on. */
static void the_scheme_is_changed_while_running(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    struct pc_err err;
    char *reply;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *calls[3];
    for (int i = 0; i < 3; i++)
        calls[i] = play_submit(client, NULL, "a");
    struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
    const char *query = "{\"query\":\"sched\",\"scheme\":\"twobin\",\"hwm\":2}";
    assert_int_equal(pc_query(client, query, STAGE_LIMIT_MS, &reply, &err), 0);
    assert_non_null(strstr(reply, "\"scheme\":\"twobin\""));
    assert_non_null(strstr(reply, "\"waiting\":1"));
    free(reply);
    struct pc_msg *ahead = stage_await(&engine.work, PC_MSG_RUN);
    query = "{\"query\":\"sched\",\"scheme\":\"pure\"}";
    assert_int_equal(pc_query(client, query, STAGE_LIMIT_MS, &reply, &err), 0);
    assert_non_null(strstr(reply, "there is no scheme 'pure'"));
    free(reply);
    fake_engine_answer(&engine, run, "1");
    fake_engine_answer(&engine, ahead, "2");
    pc_msg_unref(run);
    pc_msg_unref(ahead);
    run = stage_await(&engine.work, PC_MSG_RUN);
    fake_engine_answer(&engine, run, "3");
    pc_msg_unref(run);
    for (int i = 0; i < 3; i++) {
        play_wait(client, calls[i]);
        pc_call_unref(calls[i]);
    }
    pc_client_close(client);
    fake_engine_close(&engine);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_goes_there_and_back),
        cmocka_unit_test(results_are_acknowledged),
        cmocka_unit_test(a_killed_engine_fails_its_calls),
        cmocka_unit_test(a_vanished_engine_fails_its_calls),
        cmocka_unit_test(a_silent_engine_is_given_up),
        cmocka_unit_test(a_stopped_scheduler_blames_nobody),
        cmocka_unit_test(a_host_ends_no_engine),
        cmocka_unit_test(clients_that_break_the_rules_are_dropped),
        cmocka_unit_test(clients_are_held_to_their_window),
        cmocka_unit_test(limits_may_change),
        cmocka_unit_test(engines_that_break_the_rules_are_dropped),
        cmocka_unit_test(output_precedes_its_result),
        cmocka_unit_test(a_stopped_cluster_fails_what_is_pending),
        cmocka_unit_test(questions_are_passed_on),
        cmocka_unit_test(a_question_comes_after_what_happened),
        cmocka_unit_test(aborted_tasks_never_reach_an_engine),
        cmocka_unit_test(the_scheme_is_changed_while_running),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
