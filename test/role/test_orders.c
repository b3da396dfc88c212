/* SPDX-License-Identifier: BSD-3-Clause */
/* Orders of clients about engines: what the scheduler makes of them, and who hears of it. */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "lib/proto.h"
#include "play.h"

#define FAR_HOME "00000000000000000000000000000002"

/* A client by hand: its questions don't wait for their answers. */
struct asker {
    struct pc_sock sock;
    uint64_t session;
};

static void asker_open(struct stage *stage, struct asker *asker)
{
    struct pc_msg *welcome;
    stage_connect(stage, &asker->sock, &stage->client, PC_TRANSPORT_UNIX,
                  "\"role\":\"client\",\"pid\":1,\"host\":\"h\"", &welcome);
    pc_json *json = pc_json_of_msg(welcome, NULL);
    assert_int_equal(pc_json_get_u64(json, "session", &asker->session, NULL), 0);
    pc_json_free(json);
    pc_msg_unref(welcome);
}

static void ask(struct asker *asker, const char *text)
{
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_QUERY, text, strlen(text));
    msg->head.session = asker->session;
    msg->head.sequence = 1;
    assert_int_equal(pc_sock_send(&asker->sock, msg, NULL), 0);
    pc_msg_unref(msg);
}

static pc_json *await_json(struct pc_sock *sock, uint8_t type)
{
    struct pc_msg *msg = stage_await(sock, type);
    pc_json *json = pc_json_of_msg(msg, NULL);
    assert_non_null(json);
    pc_msg_unref(msg);
    return json;
}

static void expect_reply(struct asker *asker, int64_t count, size_t gone)
{
    pc_json *reply = await_json(&asker->sock, PC_MSG_REPLY);
    assert_true(pc_json_bool_or(reply, "ok", false));
    assert_int_equal(pc_json_i64_or(reply, "count", -1), count);
    assert_int_equal(pc_json_count(pc_json_member(reply, "gone")), gone);
    pc_json_free(reply);
}

static void expect_refusal(struct asker *asker, const char *text)
{
    pc_json *reply = await_json(&asker->sock, PC_MSG_REPLY);
    assert_false(pc_json_bool_or(reply, "ok", true));
    if (!strstr(pc_json_str_or(reply, "error", ""), text))
        fail_msg("no '%s' in '%s'", text, pc_json_str_or(reply, "error", ""));
    pc_json_free(reply);
}

static void expect_uuid(const pc_json *order, const struct fake_engine *engine)
{
    const pc_json *uuids = pc_json_member(order, "uuids");
    assert_int_equal(pc_json_count(uuids), 1);
    assert_string_equal(pc_json_text(pc_json_first(uuids)), engine->uuid);
}

static void expect_end_in(struct pc_sock *home, const struct fake_engine *engine, bool replace,
                          int64_t grace_ms)
{
    pc_json *order = await_json(home, PC_MSG_END);
    expect_uuid(order, engine);
    assert_int_equal(pc_json_bool_or(order, "replace", !replace), replace);
    assert_int_equal(pc_json_i64_or(order, "grace_ms", -1), grace_ms);
    pc_json_free(order);
}

static void expect_end(struct pc_sock *home, const struct fake_engine *engine, bool replace)
{
    expect_end_in(home, engine, replace, 700);
}

static void expect_shutdown(struct fake_engine *engine)
{
    pc_json *told = await_json(&engine->control, PC_MSG_SHUTDOWN);
    assert_int_equal(pc_json_i64_or(told, "grace_ms", -1), 700);
    pc_json_free(told);
}

static void want_fewer(struct pc_sock *home, int64_t count)
{
    pc_json *body = pc_json_object();
    pc_json_put_i64(body, "count", count);
    pc_json_put_i64(body, "grace_ms", 700);
    struct pc_msg *msg = pc_json_msg(PC_MSG_END, body);
    assert_int_equal(pc_sock_send(home, msg, NULL), 0);
    pc_msg_unref(msg);
}

static void open_host(struct stage *stage, struct pc_sock *host)
{
    struct pc_msg *welcome;
    stage_connect(stage, host, &stage->engine, PC_TRANSPORT_UNIX,
                  "\"role\":\"host\",\"pid\":7,\"host\":\"far\",\"uuid\":\"" FAR_HOME "\"",
                  &welcome);
    pc_msg_unref(welcome);
}

/* It may finish what it does, gets nothing more, and what it did not do fails saying so. */
static void a_stopped_engine_finishes_its_task(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    struct asker asker;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *running = play_submit(client, &engine.id, "a");
    struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
    struct pc_call *ahead = play_submit(client, &engine.id, "b");
    pc_msg_unref(stage_await(&engine.work, PC_MSG_RUN));
    asker_open(&stage, &asker);
    ask(&asker, "{\"query\":\"stop_engines\",\"ids\":[0,5,\"0\"],\"grace_ms\":700}");
    expect_reply(&asker, 1, 2);
    expect_end(&stage.parent, &engine, false);
    expect_shutdown(&engine);
    struct pc_call *late = play_submit(client, &engine.id, "c");
    play_wait(client, late);
    play_expect_error(late, "EngineError", "not registered");
    fake_engine_answer(&engine, run, "A");
    pc_msg_unref(run);
    play_wait(client, running);
    play_expect_part(running, "A");
    stage_exited(&stage, &engine, 0, false, "");
    fake_engine_close(&engine);
    play_wait(client, ahead);
    play_expect_error(ahead, "EngineError", "was stopped: a client asked for it");
    pc_call_unref(running);
    pc_call_unref(ahead);
    pc_call_unref(late);
    pc_client_close(client);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

/* One that does not answer is ended and replaced, but not one that a client had stopped. */
static void a_stalled_engine_is_replaced(void **state)
{
    struct stage stage;
    struct fake_engine stopped, stalled;
    struct asker asker;
    stage_open(&stage, 50);
    stage_engine(&stage, &stopped, PC_TRANSPORT_UNIX);
    asker_open(&stage, &asker);
    ask(&asker, "{\"query\":\"stop_engines\",\"ids\":[0],\"grace_ms\":700}");
    expect_end(&stage.parent, &stopped, false);
    stage_await_end(&stopped.work);
    stage_engine(&stage, &stalled, PC_TRANSPORT_UNIX);
    expect_end_in(&stage.parent, &stalled, true, 0);
    pc_json *order = await_json(&stage.parent, PC_MSG_SIGNAL);
    expect_uuid(order, &stalled);
    assert_int_equal(pc_json_i64_or(order, "signal", -1), SIGKILL);
    pc_json_free(order);
    stage_await_end(&stalled.work);
    fake_engine_close(&stopped);
    fake_engine_close(&stalled);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

/* END of a home without names: those that have nothing to do go first, then the youngest. */
static void a_home_wants_fewer(void **state)
{
    struct stage stage;
    struct fake_engine engines[3];
    struct pc_sock host;
    stage_open(&stage, 3000);
    open_host(&stage, &host);
    for (int i = 0; i < 3; i++)
        stage_engine(&stage, &engines[i], PC_TRANSPORT_UNIX);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_UNIX);
    struct pc_call *running = play_submit(client, &engines[2].id, "a");
    struct pc_msg *run = stage_await(&engines[2].work, PC_MSG_RUN);
    want_fewer(&host, 3); /* of its own, and it has none */
    want_fewer(&stage.parent, 2);
    pc_json *order = await_json(&stage.parent, PC_MSG_END);
    const pc_json *uuids = pc_json_member(order, "uuids");
    assert_int_equal(pc_json_count(uuids), 2);
    assert_string_equal(pc_json_text(pc_json_first(uuids)), engines[1].uuid);
    assert_string_equal(pc_json_text(pc_json_next(pc_json_first(uuids))), engines[0].uuid);
    assert_false(pc_json_bool_or(order, "replace", true));
    pc_json_free(order);
    expect_shutdown(&engines[0]);
    expect_shutdown(&engines[1]);
    fake_engine_answer(&engines[2], run, "A");
    pc_msg_unref(run);
    play_wait(client, running);
    play_expect_part(running, "A");
    pc_call_unref(running);
    pc_client_close(client);
    for (int i = 0; i < 3; i++)
        fake_engine_close(&engines[i]);
    pc_sock_close(&host);
    stage_close(&stage);
}

static void each_home_hears_of_its_own(void **state)
{
    struct stage stage;
    struct fake_engine near, far;
    struct asker asker;
    struct pc_sock host;
    stage_open(&stage, 3000);
    open_host(&stage, &host);
    stage_engine(&stage, &near, PC_TRANSPORT_UNIX);
    stage.home = FAR_HOME;
    stage_engine(&stage, &far, PC_TRANSPORT_UNIX);
    asker_open(&stage, &asker);
    ask(&asker, "{\"query\":\"signal_engines\",\"ids\":[0,1],\"signal\":10}");
    expect_reply(&asker, 2, 0);
    struct pc_sock *homes[] = {&stage.parent, &host};
    const struct fake_engine *engines[] = {&near, &far};
    for (int i = 0; i < 2; i++) {
        pc_json *order = await_json(homes[i], PC_MSG_SIGNAL);
        expect_uuid(order, engines[i]);
        assert_int_equal(pc_json_i64_or(order, "signal", -1), 10);
        pc_json_free(order);
    }
    ask(&asker, "{\"query\":\"restart_engines\",\"ids\":[1],\"grace_ms\":700}");
    expect_reply(&asker, 1, 0);
    expect_end(&host, &far, true);
    expect_shutdown(&far);
    fake_engine_close(&near);
    fake_engine_close(&far);
    pc_sock_close(&host);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

static void homes_are_listed_while_they_are_there(void **state)
{
    struct stage stage;
    struct fake_engine far;
    struct asker asker;
    struct pc_sock host;
    stage_open(&stage, 3000);
    open_host(&stage, &host);
    stage.home = FAR_HOME;
    stage_engine(&stage, &far, PC_TRANSPORT_UNIX);
    asker_open(&stage, &asker);
    ask(&asker, "{\"query\":\"hosts\"}");
    pc_json *reply = await_json(&asker.sock, PC_MSG_REPLY);
    const pc_json *rows = pc_json_member(reply, "hosts");
    assert_int_equal(pc_json_count(rows), 2);
    const pc_json *ours = pc_json_item(rows, 0), *other = pc_json_item(rows, 1);
    assert_string_equal(pc_json_str_or(ours, "uuid", ""), STAGE_HOME);
    assert_int_equal(pc_json_count(pc_json_member(ours, "engines")), 0);
    assert_string_equal(pc_json_str_or(other, "host", ""), "far");
    assert_int_equal(pc_json_i64_or(other, "pid", 0), 7);
    assert_int_equal(pc_json_count(pc_json_member(other, "engines")), 1);
    pc_json_free(reply);
    pc_sock_close(&host);
    /* Nobody could signal its engines any more. The scheduler learns that in its own time. */
    bool was_sent = true;
    while (was_sent) {
        ask(&asker, "{\"query\":\"signal_engines\",\"ids\":[0],\"signal\":10}");
        reply = await_json(&asker.sock, PC_MSG_REPLY);
        was_sent = pc_json_i64_or(reply, "count", -1) == 1;
        pc_json_free(reply);
    }
    fake_engine_close(&far);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

/* One that was told much and had nothing to say. */
static void a_host_says_what_has_come(void **state)
{
    struct stage stage;
    struct asker asker;
    struct pc_sock host;
    stage_open_patient(&stage, 3000, 10000);
    open_host(&stage, &host);
    asker_open(&stage, &asker);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECEIVED, NULL, 0);
    assert_int_equal(pc_sock_send(&host, msg, NULL), 0);
    pc_msg_unref(msg);
    ask(&asker, "{\"query\":\"start_engines\",\"count\":1,\"host\":\"far\"}");
    pc_json_free(await_json(&host, PC_MSG_SPAWN));
    expect_reply(&asker, 1, 0);
    pc_sock_close(&host);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

static void engines_are_started_where_they_are_wanted(void **state)
{
    struct stage stage;
    struct asker asker;
    struct pc_sock host;
    stage_open(&stage, 3000);
    open_host(&stage, &host);
    asker_open(&stage, &asker);
    ask(&asker, "{\"query\":\"start_engines\",\"count\":3}");
    struct pc_msg *query = stage_await(&stage.parent, PC_MSG_QUERY);
    assert_true(query->head.session == asker.session && query->head.sequence == 1);
    pc_msg_unref(query);
    ask(&asker, "{\"query\":\"start_engines\",\"count\":3,\"host\":\"far\"}");
    pc_json *order = await_json(&host, PC_MSG_SPAWN);
    assert_int_equal(pc_json_i64_or(order, "count", -1), 3);
    pc_json_free(order);
    expect_reply(&asker, 3, 0);
    ask(&asker, "{\"query\":\"start_engines\",\"count\":3,\"host\":\"farther\"}");
    expect_refusal(&asker, "from host 'farther'");
    pc_sock_close(&host);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

static void orders_that_make_no_sense_are_refused(void **state)
{
    static const struct {
        const char *query, *text;
    } bad[] = {
        {"{\"query\":\"signal_engines\",\"ids\":[0],\"signal\":0}", "no signal 0"},
        {"{\"query\":\"signal_engines\",\"ids\":[0],\"signal\":65}", "no signal 65"},
        {"{\"query\":\"signal_engines\",\"ids\":[0]}", "signal"},
        {"{\"query\":\"stop_engines\",\"ids\":[0],\"grace_ms\":-1}", "grace"},
        {"{\"query\":\"start_engines\",\"host\":\"far\"}", "count"},
    };
    struct stage stage;
    struct fake_engine engine;
    struct asker asker;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    asker_open(&stage, &asker);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ask(&asker, bad[i].query);
        expect_refusal(&asker, bad[i].text);
    }
    ask(&asker, "{\"query\":\"stop_engines\",\"ids\":[-1,1e300,null,true,[0],{}]}");
    expect_reply(&asker, 0, 6);
    ask(&asker, "{\"query\":\"stop_engines\",\"ids\":7}");
    expect_reply(&asker, 0, 0);
    play_check(&stage, &engine);
    fake_engine_close(&engine);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

/* Two hosts of one uuid: neither could be told from the other. */
static void a_host_has_a_uuid_of_its_own(void **state)
{
    static const char *const fields[] = {
        "\"role\":\"host\",\"pid\":7,\"host\":\"far\",\"uuid\":\"" STAGE_HOME "\"",
        "\"role\":\"host\",\"pid\":7,\"host\":\"far\""};
    struct stage stage;
    struct pc_err err;
    stage_open(&stage, 3000);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        struct pc_sock host;
        assert_int_equal(
            pc_sock_connect(&host, &stage.engine, PC_TRANSPORT_UNIX, STAGE_LIMIT_MS, NULL, 0, &err),
            0);
        char *hello = stage_hello(&stage.engine, fields[i]);
        assert_null(pc_sock_hello(&host, hello, STAGE_LIMIT_MS, &err));
        assert_non_null(strstr(err.text, "uuid"));
        free(hello);
        pc_sock_close(&host);
    }
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stopped_engine_finishes_its_task),
        cmocka_unit_test(a_stalled_engine_is_replaced),
        cmocka_unit_test(a_home_wants_fewer),
        cmocka_unit_test(each_home_hears_of_its_own),
        cmocka_unit_test(homes_are_listed_while_they_are_there),
        cmocka_unit_test(a_host_says_what_has_come),
        cmocka_unit_test(engines_are_started_where_they_are_wanted),
        cmocka_unit_test(orders_that_make_no_sense_are_refused),
        cmocka_unit_test(a_host_has_a_uuid_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
