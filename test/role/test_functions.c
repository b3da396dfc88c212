/* SPDX-License-Identifier: BSD-3-Clause */
/* Functions travel once: from a client to the scheduler, and from there to each engine. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/proto.h"
#include "lib/proto_task.h"
#include "play.h"

static struct pc_function *make(const char *pickle)
{
    struct pc_err err;
    struct pc_function *function = pc_function_new(pickle, strlen(pickle), &err);
    assert_non_null(function);
    return function;
}

static struct pc_call *apply(struct pc_client *client, struct pc_function *function,
                             const uint32_t *targets, size_t count)
{
    struct pc_call *call = NULL, *calls[8];
    struct pc_err err;
    struct pc_bytes part = {"arguments", 9};
    struct pc_request request = {.kind = PC_KIND_APPLY,
                                 .is_balanced = !targets,
                                 .targets = targets,
                                 .target_count = count,
                                 .function = function,
                                 .parts = &part,
                                 .part_count = 1};
    if (pc_submit(client, &request, targets ? calls : &call, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; targets && i < count; i++)
        pc_call_unref(calls[i]);
    return call;
}

/* The next message that is not about results. */
static struct pc_msg *receive(struct fake_engine *engine)
{
    struct pc_err err;
    for (;;) {
        struct pc_msg *msg = pc_sock_receive(&engine->work, STAGE_LIMIT_MS, &err);
        if (!msg)
            fail_msg("waiting for work: %s", err.text);
        if (msg->head.type != PC_MSG_RESULT_ACK)
            return msg;
        pc_msg_unref(msg);
    }
}

static void expect_function(struct fake_engine *engine, const char *pickle)
{
    struct pc_err err;
    struct pc_msg *msg = receive(engine);
    assert_int_equal(msg->head.type, PC_MSG_FUNCTION);
    struct pc_known known = {0};
    assert_int_equal(pc_function_decode(msg, &known, &err), 0);
    assert_int_equal(msg->parts[0].size, strlen(pickle));
    assert_memory_equal(msg->parts[0].data, pickle, strlen(pickle));
    pc_msg_unref(msg);
}

/* The next message is the task; it names this function and has the arguments only. */
static void expect_run(struct fake_engine *engine, const char *pickle)
{
    struct pc_err err;
    struct pc_run_body body;
    struct pc_msg *named = pc_function_msg(pickle, strlen(pickle));
    struct pc_msg *msg = receive(engine);
    assert_int_equal(msg->head.type, PC_MSG_RUN);
    assert_int_equal(pc_run_decode(msg, &body, &err), 0);
    assert_non_null(body.function);
    assert_memory_equal(body.function, named->body, PC_FUNCTION_NAME_SIZE);
    assert_int_equal(msg->head.part_count, 1);
    assert_memory_equal(msg->parts[0].data, "arguments", 9);
    fake_engine_answer(engine, msg, "value");
    pc_msg_unref(msg);
    pc_msg_unref(named);
}

static void each_engine_gets_it_once(void **state)
{
    struct stage stage;
    struct fake_engine one, two;
    stage_open(&stage, 3000);
    stage_engine(&stage, &one, PC_TRANSPORT_UNIX);
    stage_engine(&stage, &two, PC_TRANSPORT_TCP);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    struct pc_function *f = make("f"), *g = make("g");
    uint32_t both[] = {one.id, two.id};
    apply(client, f, &one.id, 1);
    expect_function(&one, "f");
    expect_run(&one, "f");
    apply(client, g, both, 2);
    apply(client, f, both, 2);
    expect_function(&one, "g");
    expect_run(&one, "g");
    expect_run(&one, "f");
    expect_function(&two, "g");
    expect_run(&two, "g");
    expect_function(&two, "f");
    expect_run(&two, "f");
    pc_client_close(client); /* an engine knows it whoever sends it */
    client = play_open(&stage, PC_TRANSPORT_TCP);
    apply(client, f, &two.id, 1);
    expect_run(&two, "f");
    pc_client_close(client);
    pc_function_unref(f);
    pc_function_unref(g);
    fake_engine_close(&one);
    fake_engine_close(&two);
    stage_close(&stage);
}

/* A task that waits has its function, whatever its client sends or does meanwhile. */
static void waiting_tasks_keep_theirs(void **state)
{
    enum { COUNT = 3 * PC_KNOWN_COUNT_MAX };
    struct stage stage;
    struct fake_engine engine;
    char name[16];
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    engine.took_us = 1000;
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "function %d", i);
        struct pc_function *function = make(name);
        pc_call_unref(apply(client, function, NULL, 0));
        pc_function_unref(function);
    }
    pc_client_close(client);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "function %d", i);
        expect_function(&engine, name);
        expect_run(&engine, name);
    }
    play_check(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

/* When its engine is lost a task goes to another one, and its function with it. */
static void another_attempt_brings_it_along(void **state)
{
    struct stage stage;
    struct fake_engine first, second;
    struct pc_err err;
    stage_open(&stage, 3000);
    stage_engine(&stage, &first, PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    struct pc_function *f = make("f");
    struct pc_bytes part = {"arguments", 9};
    struct pc_task_options options = {.retries = 1};
    struct pc_request request = {.kind = PC_KIND_APPLY,
                                 .is_balanced = true,
                                 .options = &options,
                                 .function = f,
                                 .parts = &part,
                                 .part_count = 1};
    struct pc_call *call;
    assert_int_equal(pc_submit(client, &request, &call, &err), 0);
    pc_function_unref(f);
    expect_function(&first, "f");
    pc_msg_unref(stage_await(&first.work, PC_MSG_RUN));
    stage_engine(&stage, &second, PC_TRANSPORT_UNIX);
    fake_engine_close(&first);
    expect_function(&second, "f");
    expect_run(&second, "f");
    play_wait(client, call);
    assert_int_equal(pc_call_status(call), PC_STATUS_OK);
    pc_call_unref(call);
    pc_client_close(client);
    fake_engine_close(&second);
    stage_close(&stage);
}

static void wrong_uses_are_refused_here(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    struct pc_err err;
    struct pc_call *call;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    struct pc_function *f = make("f");
    struct pc_request request = {
        .kind = PC_KIND_EXECUTE, .targets = &engine.id, .target_count = 1, .function = f};
    assert_int_equal(pc_submit(client, &request, &call, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    pc_function_unref(f);
    assert_null(pc_function_new("x", PC_FUNCTION_BYTES_MAX + 1, &err));
    assert_int_equal(err.code, PC_E_INVALID);
    pc_client_close(client);
    play_check(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void send_submit(struct pc_sock *sock, uint64_t session, uint32_t engine,
                        const uint8_t *name)
{
    uint8_t target[4];
    struct pc_buf buf;
    pc_buf_init(&buf, 0);
    pc_store_u32(target, engine);
    struct pc_submit_body body = {.kind = PC_KIND_APPLY,
                                  .flags = PC_SUBMIT_NAMED,
                                  .target_count = 1,
                                  .targets = target,
                                  .function = name};
    pc_submit_encode(&buf, &body);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_SUBMIT, buf.data, buf.size);
    msg->head.session = session;
    msg->head.sequence = 1;
    pc_sock_send(sock, msg, NULL);
    pc_msg_unref(msg);
    pc_buf_fini(&buf);
}

static void clients_that_break_the_rules_are_dropped(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 4; i++) {
        struct pc_sock sock;
        struct pc_msg *welcome;
        uint64_t session;
        stage_connect(&stage, &sock, &stage.client, PC_TRANSPORT_UNIX,
                      "\"role\":\"client\",\"pid\":1,\"host\":\"h\"", &welcome);
        pc_json *json = pc_json_of_msg(welcome, NULL);
        assert_int_equal(pc_json_get_u64(json, "session", &session, NULL), 0);
        pc_json_free(json);
        pc_msg_unref(welcome);
        struct pc_msg *msg = pc_function_msg("pickle", 6);
        switch (i) {
        case 0: /* it has sent none of this name */
            send_submit(&sock, session, engine.id, msg->body);
            break;
        case 1: /* a name that is not its own: it would be another client's function */
            msg->parts[0].data[0] ^= 1;
            break;
        case 2: /* twice */
            pc_sock_send(&sock, msg, NULL);
            break;
        case 3: /* without a part */
            msg->head.part_count = 0;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_engine_gets_it_once),
        cmocka_unit_test(waiting_tasks_keep_theirs),
        cmocka_unit_test(another_attempt_brings_it_along),
        cmocka_unit_test(wrong_uses_are_refused_here),
        cmocka_unit_test(clients_that_break_the_rules_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
