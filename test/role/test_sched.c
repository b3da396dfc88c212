/* SPDX-License-Identifier: BSD-3-Clause */
/* The scheduler and its peers: work gets through, and whoever breaks the rules harms nobody. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/pcluster.h"
#include "lib/proto.h"
#include "lib/proto_task.h"
#include "stage.h"

static struct pc_client *open_client(struct stage *stage, enum pc_transport transport)
{
    struct pc_client *client;
    struct pc_err err;
    char *text = pc_connfile_print(&stage->client);
    struct pc_connect how = {.json = text, .transport = transport, .timeout_ms = STAGE_LIMIT_MS};
    if (pc_client_open(&client, &how, &err))
        fail_msg("%s", err.text);
    free(text);
    return client;
}

/* Fails to open; returns the error's code. */
static enum pc_errc open_fails(const struct pc_connfile *file, enum pc_transport transport,
                               struct pc_err *err)
{
    struct pc_client *client;
    char *text = pc_connfile_print(file);
    struct pc_connect how = {.json = text, .transport = transport, .timeout_ms = STAGE_LIMIT_MS};
    assert_int_equal(pc_client_open(&client, &how, err), -1);
    free(text);
    return err->code;
}

static struct pc_call *submit(struct pc_client *client, const uint32_t *target, const char *source)
{
    struct pc_call *call;
    struct pc_err err;
    struct pc_bytes part = {source, strlen(source)};
    struct pc_request request = {.kind = PC_KIND_EXECUTE,
                                 .is_balanced = !target,
                                 .targets = target,
                                 .target_count = target ? 1 : 0,
                                 .parts = &part,
                                 .part_count = 1};
    if (pc_submit(client, &request, &call, &err))
        fail_msg("%s", err.text);
    return call;
}

static void wait_for(struct pc_client *client, struct pc_call *call)
{
    struct pc_err err;
    while (pc_wait(client, &call, 1, STAGE_LIMIT_MS, &err))
        if (err.code != PC_E_INTERRUPTED)
            fail_msg("%s", err.text);
}

static void expect_part(struct pc_call *call, const char *text)
{
    void *data;
    size_t size;
    assert_int_equal(pc_call_part(call, 0, &data, &size), 0);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(data, text, size);
}

static void expect_error(struct pc_call *call, const char *ename, const char *within)
{
    void *data;
    size_t size;
    assert_int_equal(pc_call_status(call), PC_STATUS_FAILED);
    assert_int_equal(pc_call_part(call, 0, &data, &size), 0);
    pc_json *json = pc_json_parse(data, size, NULL);
    assert_string_equal(pc_json_str_or(json, "ename", ""), ename);
    if (!strstr(pc_json_str_or(json, "evalue", ""), within))
        fail_msg("'%s' does not contain '%s'", pc_json_str_or(json, "evalue", ""), within);
    pc_json_free(json);
}

/* One call there and back: the scheduler is well. */
static void check_works(struct stage *stage, struct fake_engine *engine)
{
    struct pc_client *client = open_client(stage, PC_TRANSPORT_UNIX);
    struct pc_call *call = submit(client, &engine->id, "1 + 1");
    struct pc_msg *run = stage_await(&engine->work, PC_MSG_RUN);
    fake_engine_answer(engine, run, "two");
    pc_msg_unref(run);
    wait_for(client, call);
    expect_part(call, "two");
    pc_call_unref(call);
    pc_client_close(client);
}

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
        struct pc_client *client = open_client(&stage, transports[i]);
        assert_int_equal(pc_client_engines(client, &list, &count, &err), 0);
        assert_int_equal(count, 1);
        assert_int_equal(list[0].id, engine.id);
        assert_string_equal(list[0].python, "3.11");
        pc_engines_free(list);
        for (int balanced = 0; balanced < 2; balanced++) {
            struct pc_call *call = submit(client, balanced ? NULL : &engine.id, "x");
            struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
            struct pc_run_body body;
            assert_int_equal(pc_run_decode(run, &body, &err), 0);
            assert_int_equal(body.kind, PC_KIND_EXECUTE);
            assert_memory_equal(run->parts[0].data, "x", 1);
            fake_engine_answer(&engine, run, "value");
            pc_msg_unref(run);
            wait_for(client, call);
            struct pc_result result;
            assert_int_equal(pc_call_result(call, &result), 0);
            assert_int_equal(result.status, PC_STATUS_OK);
            assert_int_equal(result.engine_id, engine.id);
            assert_true(result.submitted_us > 0 && result.received_us >= result.submitted_us);
            expect_part(call, "value");
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
    struct pc_client *client = open_client(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *first = submit(client, &engine.id, "a");
    struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
    uint64_t sequence = run->head.sequence;
    fake_engine_answer(&engine, run, "A");
    pc_msg_unref(run);
    wait_for(client, first);
    struct pc_call *second = submit(client, &engine.id, "b");
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
    check_works(&stage, &engine);
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
    struct pc_client *client = open_client(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *running = submit(client, &engine.id, "a");
    struct pc_call *queued = submit(client, &engine.id, "b");
    pc_msg_unref(stage_await(&engine.work, PC_MSG_RUN));
    stage_exited(&stage, &engine, SIGKILL, "its last words\n");
    fake_engine_close(&engine);
    wait_for(client, running);
    wait_for(client, queued);
    expect_error(running, "EngineError", "killed by signal 9 (SIGKILL)");
    expect_error(running, "EngineError", "its last words");
    expect_error(queued, "EngineError", "engine 0 (pid 4711 on here)");
    assert_int_equal(pc_client_engines(client, &list, &count, &err), 0);
    assert_int_equal(count, 0);
    pc_engines_free(list);
    struct pc_call *late = submit(client, &engine.id, "c");
    wait_for(client, late);
    expect_error(late, "EngineError", "not registered");
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
    struct pc_client *client = open_client(&stage, PC_TRANSPORT_TCP);
    struct pc_call *call = submit(client, &engine.id, "a");
    pc_msg_unref(stage_await(&engine.work, PC_MSG_RUN));
    fake_engine_close(&engine);
    wait_for(client, call);
    expect_error(call, "EngineError", "lost its connection: the other side closed");
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
    struct pc_client *client = open_client(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *call = submit(client, &engine.id, "a");
    pc_msg_unref(stage_await(&engine.control, PC_MSG_PING)); /* and no PONG */
    wait_for(client, call);
    expect_error(call, "EngineError", "has not answered");
    stage_await_end(&engine.work);
    pc_call_unref(call);
    pc_client_close(client);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void keys_and_roles_are_checked(void **state)
{
    static const enum pc_transport transports[] = {PC_TRANSPORT_UNIX, PC_TRANSPORT_TCP};
    struct stage stage;
    struct fake_engine engine;
    struct pc_err err;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 2; i++) {
        struct pc_connfile file = stage.client;
        pc_random(file.exec_key, sizeof(file.exec_key));
        assert_int_equal(open_fails(&file, transports[i], &err), PC_E_KEY);
        file = stage.client;
        memcpy(file.exec_key, stage.engine.exec_key, PC_KEY_SIZE);
        assert_int_equal(open_fails(&file, transports[i], &err), PC_E_ROLE);
        assert_non_null(strstr(err.text, "pcluster-client.json"));
        file = stage.client;
        file.instance[3] ^= 1;
        assert_int_equal(open_fails(&file, transports[i], &err), PC_E_CLUSTER);
        assert_int_equal(open_fails(&stage.engine, transports[i], &err), PC_E_ROLE);
    }
    struct pc_connfile file = stage.client;
    file.controller_key[5] ^= 1;
    assert_int_equal(open_fails(&file, PC_TRANSPORT_TCP, &err), PC_E_KEY);
    check_works(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static int raw_tcp(const struct stage *stage)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(stage->client.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Reads until the other side closes; returns how many bytes came. */
static size_t read_to_end(int fd)
{
    uint8_t bytes[512];
    size_t total = 0;
    struct timeval limit = {.tv_sec = STAGE_LIMIT_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n < 0 && errno == EAGAIN)
            fail_msg("the connection stayed open");
        if (n <= 0)
            return total;
        total += (size_t)n;
    }
}

static void strangers_are_dropped(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    uint8_t noise[600];
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 20; i++) { /* random bytes */
        int fd = raw_tcp(&stage);
        pc_random(noise, sizeof(noise));
        send(fd, noise, sizeof(noise), MSG_NOSIGNAL);
        assert_int_equal(read_to_end(fd), 0);
        close(fd);
    }
    struct pc_preamble preamble = {.version = 99, .suite_or_answer = PC_SUITE_CHACHAPOLY};
    memcpy(preamble.instance, stage.client.instance, PC_INSTANCE_SIZE);
    pc_preamble_encode(&preamble, noise);
    int fd = raw_tcp(&stage); /* another version: told so */
    send(fd, noise, PC_PREAMBLE_SIZE, MSG_NOSIGNAL);
    uint8_t answer[PC_PREAMBLE_SIZE];
    assert_int_equal(recv(fd, answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
    assert_int_equal(pc_preamble_decode(answer, &preamble), 0);
    assert_int_equal(preamble.suite_or_answer, PC_ANSWER_VERSION);
    assert_int_equal(preamble.version, PC_PROTOCOL_VERSION);
    assert_int_equal(read_to_end(fd), 0);
    close(fd);
    for (size_t cut = 1; cut < PC_PREAMBLE_SIZE; cut += 5) { /* half a preamble, then gone */
        fd = raw_tcp(&stage);
        send(fd, noise, cut, MSG_NOSIGNAL);
        close(fd);
    }
    check_works(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

/* Many connections that say nothing: the oldest go, and who has the key still gets in. */
static void idle_strangers_do_not_keep_others_out(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    int fds[400];
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 400; i++)
        fds[i] = raw_tcp(&stage);
    struct pc_client *client = open_client(&stage, PC_TRANSPORT_TCP);
    for (int i = 0; i < 100; i++)
        assert_int_equal(read_to_end(fds[i]), 0);
    pc_client_close(client);
    check_works(&stage, &engine);
    for (int i = 0; i < 400; i++)
        close(fds[i]);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void silence_ends_after_the_limit(void **state)
{
    struct stage stage;
    stage_open(&stage, 3000);
    int fd = raw_tcp(&stage);
    assert_int_equal(read_to_end(fd), 0);
    close(fd);
    stage_close(&stage);
}

/* Waits until the scheduler has noticed that others have gone. */
static void await_place(struct stage *stage)
{
    int64_t deadline_ms = pc_clock_ms() + STAGE_LIMIT_MS;
    struct pc_client *client;
    struct pc_err err;
    char *text = pc_connfile_print(&stage->client);
    struct pc_connect how = {.json = text, .timeout_ms = STAGE_LIMIT_MS};
    while (pc_client_open(&client, &how, &err)) {
        assert_int_equal(err.code, PC_E_REFUSED);
        assert_true(pc_clock_ms() < deadline_ms);
    }
    pc_client_close(client);
    free(text);
}

/* Without a free descriptor a newcomer is told so at once, and those inside go on. */
static void a_full_table_says_busy(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    struct pc_err err;
    struct pc_client *inside;
    struct rlimit limit = {.rlim_cur = 40, .rlim_max = 40};
    int fds[40];
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    inside = open_client(&stage, PC_TRANSPORT_UNIX);
    assert_int_equal(prlimit(stage.pid, RLIMIT_NOFILE, &limit, NULL), 0);
    for (int i = 0; i < 40; i++)
        fds[i] = raw_tcp(&stage);
    /* They are accepted in order: the last one is told, so the table is full. */
    uint8_t answer[PC_PREAMBLE_SIZE];
    assert_int_equal(recv(fds[39], answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
    assert_int_equal(answer[10], PC_ANSWER_BUSY);
    assert_int_equal(open_fails(&stage.client, PC_TRANSPORT_UNIX, &err), PC_E_REFUSED);
    assert_non_null(strstr(err.text, "open files"));
    struct pc_call *call = submit(inside, &engine.id, "x");
    struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
    fake_engine_answer(&engine, run, "still here");
    pc_msg_unref(run);
    wait_for(inside, call);
    expect_part(call, "still here");
    pc_call_unref(call);
    for (int i = 0; i < 40; i++)
        close(fds[i]);
    pc_client_close(inside);
    await_place(&stage);
    check_works(&stage, &engine);
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
    check_works(&stage, &engine);
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
        struct pc_client *client = open_client(&stage, PC_TRANSPORT_UNIX);
        struct pc_call *call = submit(client, &bad.id, "a");
        pc_msg_unref(stage_await(&bad.work, PC_MSG_RUN));
        switch (i) {
        case 0: /* a result nobody asked for */
            msg = pc_msg_with_body(PC_MSG_RESULT, result, sizeof(result));
            break;
        case 1: /* work of its own: an engine's key cannot submit */
            msg = submit_msg(1, 1, bad.id);
            break;
        case 2: /* more output than its window */
            msg = pc_stream_new(PC_STREAM_STDOUT, lots, 2 * PC_OUTPUT_WINDOW + 1);
            break;
        case 3: /* a stream that does not exist */
            msg = pc_stream_new(7, "x", 1);
            break;
        }
        pc_sock_send(&bad.work, msg, NULL);
        pc_msg_unref(msg);
        stage_await_end(&bad.work);
        wait_for(client, call);
        expect_error(call, "EngineError", "engine");
        pc_call_unref(call);
        pc_client_close(client);
        fake_engine_close(&bad);
    }
    check_works(&stage, &good);
    fake_engine_close(&good);
    stage_close(&stage);
    free(lots);
}

/* Output comes before the result, in order, and its window is given back. */
static void output_precedes_its_result(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    char line[PC_OUTPUT_WINDOW / 4];
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    struct pc_client *client = open_client(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *call = submit(client, &engine.id, "a");
    struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
    memset(line, 'o', sizeof(line));
    struct pc_msg *out = pc_stream_new(PC_STREAM_STDOUT, line, sizeof(line));
    struct pc_msg *err = pc_stream_new(PC_STREAM_STDERR, "oops\n", 5);
    out->head.session = err->head.session = run->head.session;
    out->head.sequence = err->head.sequence = run->head.sequence;
    pc_sock_send(&engine.work, out, NULL);
    pc_sock_send(&engine.work, err, NULL);
    pc_msg_unref(out);
    pc_msg_unref(err);
    fake_engine_answer(&engine, run, "done");
    pc_msg_unref(run);
    wait_for(client, call);
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
    struct pc_client *client = open_client(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *call = submit(client, &engine.id, "a");
    pc_msg_unref(stage_await(&engine.work, PC_MSG_RUN));
    const char *body = "{\"reason\":\"stopped for the test\",\"grace_ms\":5000}";
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_SHUTDOWN, body, strlen(body));
    assert_int_equal(pc_sock_send(&stage.parent, msg, NULL), 0);
    pc_msg_unref(msg);
    wait_for(client, call);
    expect_error(call, "ConnectionLost", "stopped for the test");
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
    struct pc_client *client = open_client(&stage, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 20; i++)
        calls[i] = submit(client, NULL, "balanced");
    for (int i = 20; i < 40; i++)
        calls[i] = submit(client, &engine.id, "direct");
    struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
    abort_calls(client, calls + 1, 19, 0);
    for (int i = 1; i < 20; i++)
        expect_error(calls[i], "TaskAborted", "before it started");
    abort_calls(client, calls, 40, 0);
    for (int i = 35; i < 40; i++) /* what was not sent ahead */
        expect_error(calls[i], "TaskAborted", "before it started");
    expect_order(&engine, 0, run->head.sequence);
    fake_engine_answer(&engine, run, "it ran");
    pc_msg_unref(run);
    wait_for(client, calls[0]);
    expect_part(calls[0], "it ran");
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
    struct pc_client *client = open_client(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *calls[3];
    for (int i = 0; i < 3; i++)
        calls[i] = submit(client, NULL, "a");
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
        wait_for(client, calls[i]);
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
        cmocka_unit_test(keys_and_roles_are_checked),
        cmocka_unit_test(strangers_are_dropped),
        cmocka_unit_test(idle_strangers_do_not_keep_others_out),
        cmocka_unit_test(silence_ends_after_the_limit),
        cmocka_unit_test(a_full_table_says_busy),
        cmocka_unit_test(clients_that_break_the_rules_are_dropped),
        cmocka_unit_test(engines_that_break_the_rules_are_dropped),
        cmocka_unit_test(output_precedes_its_result),
        cmocka_unit_test(a_stopped_cluster_fails_what_is_pending),
        cmocka_unit_test(questions_are_passed_on),
        cmocka_unit_test(aborted_tasks_never_reach_an_engine),
        cmocka_unit_test(the_scheme_is_changed_while_running),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
