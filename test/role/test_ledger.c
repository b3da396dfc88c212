/* SPDX-License-Identifier: BSD-3-Clause */
/* A hub that is lost, comes back, or never listens; this test is the hub. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "lib/proto.h"
#include "lib/proto_record.h"
#include "lib/proto_task.h"
#include "play.h"
#include "stage.h"

static const char hello[] = "\"role\":\"client\",\"pid\":1,\"host\":\"h\",\"python\":\"3.11\"";

/* ---- a client without a library --------------------------------------------------------- */

struct asker {
    struct pc_sock sock;
    uint64_t session;
};

static void open_asker(struct stage *stage, struct asker *asker)
{
    struct pc_msg *welcome;
    stage_connect(stage, &asker->sock, &stage->client, PC_TRANSPORT_UNIX, hello, &welcome);
    pc_json *json = pc_json_of_msg(welcome, NULL);
    assert_int_equal(pc_json_get_u64(json, "session", &asker->session, NULL), 0);
    pc_json_free(json);
    pc_msg_unref(welcome);
}

static void ask(struct asker *asker, uint64_t sequence, const char *text)
{
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_QUERY, text, strlen(text));
    msg->head.sequence = sequence;
    assert_int_equal(pc_sock_send(&asker->sock, msg, NULL), 0);
    pc_msg_unref(msg);
}

/* ---- what the hub says ------------------------------------------------------------------ */

static void say(struct stage *stage, const struct asker *asker, uint64_t sequence,
                struct pc_msg *msg)
{
    msg->head.session = asker->session;
    msg->head.sequence = sequence;
    assert_int_equal(pc_sock_send(&stage->hub, msg, NULL), 0);
    pc_msg_unref(msg);
}

static void say_result(struct stage *stage, const struct asker *asker, uint64_t sequence)
{
    uint8_t body[PC_RESULT_BODY_SIZE];
    pc_result_encode(body, &(struct pc_result_body){.status = PC_STATUS_OK});
    say(stage, asker, sequence, pc_msg_with_body(PC_MSG_RESULT, body, sizeof(body)));
}

static void lose_hub(struct stage *stage)
{
    pc_sock_close(&stage->hub);
    stage_new_hub(stage);
}

/* The next message; it must be of this type. */
static struct pc_msg *next(struct stage *stage, uint8_t type)
{
    struct pc_err err;
    struct pc_msg *msg = pc_sock_receive(&stage->hub, STAGE_LIMIT_MS, &err);
    if (!msg)
        fail_msg("no %s: %s", pc_msg_name(type), err.text);
    assert_string_equal(pc_msg_name(msg->head.type), pc_msg_name(type));
    return msg;
}

static void pass(struct stage *stage, uint8_t type)
{
    pc_msg_unref(next(stage, type));
}

/* ---- tests ------------------------------------------------------------------------------ */

/* Nothing is sent before the hub has said what it has; then what it has not, in order. */
static void what_was_not_recorded_is_said_again(void **state)
{
    struct stage stage;
    struct asker asker;
    stage_open_quiet(&stage, 0);
    open_asker(&stage, &asker);
    pc_sock_close(&asker.sock);
    stage_hub_recorded(&stage, 0);
    pass(&stage, PC_MSG_CLIENT_UP);
    pass(&stage, PC_MSG_CLIENT_DOWN);
    lose_hub(&stage);
    stage_hub_recorded(&stage, 1);
    pass(&stage, PC_MSG_CLIENT_DOWN);
    stage_hub_recorded(&stage, 2);
    lose_hub(&stage);
    open_asker(&stage, &asker);
    stage_hub_recorded(&stage, 2);
    pass(&stage, PC_MSG_CLIENT_UP);
    lose_hub(&stage);
    stage_hub_recorded(&stage, 0); /* it has forgotten what it had: so be it */
    pass(&stage, PC_MSG_CLIENT_UP);
    pc_sock_close(&asker.sock);
    pass(&stage, PC_MSG_CLIENT_DOWN);
    stage_close(&stage);
}

static void shut_down(struct stage *stage)
{
    static const char body[] = "{\"reason\":\"the test ends\",\"grace_ms\":60000}";
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_SHUTDOWN, body, sizeof(body) - 1);
    assert_int_equal(pc_sock_send(&stage->parent, msg, NULL), 0);
    pc_msg_unref(msg);
}

/* When it is to leave the hub dies: the next one is waited for, and hears the rest. */
static void a_scheduler_that_leaves_waits_for_the_next_hub(void **state)
{
    struct stage stage;
    struct asker asker;
    stage_open_quiet(&stage, 0);
    open_asker(&stage, &asker);
    stage_hub_recorded(&stage, 0);
    pass(&stage, PC_MSG_CLIENT_UP);
    shut_down(&stage);
    stage_await_end(&asker.sock);
    pass(&stage, PC_MSG_CLIENT_DOWN);
    shut_down(&stage); /* everybody else has left */
    lose_hub(&stage);
    stage_hub_recorded(&stage, 0);
    pass(&stage, PC_MSG_CLIENT_UP);
    pass(&stage, PC_MSG_CLIENT_DOWN);
    stage_hub_recorded(&stage, 2);
    stage_await_end(&stage.parent);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

/* A hub may know another scheduler's messages: this one counts from there. */
static void a_new_scheduler_counts_from_what_the_hub_has(void **state)
{
    struct stage stage;
    struct asker asker;
    stage_open_quiet(&stage, 0);
    open_asker(&stage, &asker);
    stage_hub_recorded(&stage, 1000);
    pass(&stage, PC_MSG_CLIENT_UP);
    pc_sock_close(&asker.sock);
    pass(&stage, PC_MSG_CLIENT_DOWN);
    lose_hub(&stage);
    stage_hub_recorded(&stage, 1001);
    pass(&stage, PC_MSG_CLIENT_DOWN);
    stage_close(&stage);
}

/* The old connection may still be there when the new one comes. */
static void the_connection_is_replaced(void **state)
{
    struct stage stage;
    struct asker asker;
    stage_open(&stage, 60000);
    struct pc_sock old = stage.hub;
    stage_new_hub(&stage);
    stage_await_end(&old);
    pc_sock_close(&old);
    stage_hub_recorded(&stage, 0);
    open_asker(&stage, &asker);
    pass(&stage, PC_MSG_CLIENT_UP);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

static void questions_are_asked_again(void **state)
{
    struct stage stage;
    struct asker asker;
    stage_open(&stage, 60000);
    open_asker(&stage, &asker);
    pass(&stage, PC_MSG_CLIENT_UP);
    ask(&asker, 5, "{\"query\":\"status\"}");
    ask(&asker, 6, "{\"query\":\"find\"}");
    pass(&stage, PC_MSG_QUERY);
    pass(&stage, PC_MSG_QUERY);
    say(&stage, &asker, 6, pc_msg_with_body(PC_MSG_REPLY, "{}", 2));
    pc_msg_unref(stage_await(&asker.sock, PC_MSG_REPLY));
    lose_hub(&stage);
    stage_hub_recorded(&stage, 1);
    struct pc_msg *again = next(&stage, PC_MSG_QUERY);
    assert_int_equal(again->head.sequence, 5);
    assert_true(again->head.session == asker.session);
    pc_msg_unref(again);
    say(&stage, &asker, 5, pc_msg_with_body(PC_MSG_REPLY, "{}", 2));
    say(&stage, &asker, 5, pc_msg_with_body(PC_MSG_REPLY, "[]", 2)); /* one answer is enough */
    ask(&asker, 7, "{\"query\":\"sched\"}");
    struct pc_msg *reply = stage_await(&asker.sock, PC_MSG_REPLY);
    assert_int_equal(reply->head.sequence, 5);
    pc_msg_unref(reply);
    reply = stage_await(&asker.sock, PC_MSG_REPLY);
    assert_int_equal(reply->head.sequence, 7);
    pc_msg_unref(reply);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

/* However much is asked: when nothing happens that is recorded, answers alone make room. */
static void questions_do_not_run_dry(void **state)
{
    static char question[200000];
    struct stage stage;
    struct asker asker;
    memset(question, ' ', sizeof(question) - 1);
    memcpy(question, "{\"query\":\"find\"}", 16);
    stage_open(&stage, 60000);
    open_asker(&stage, &asker);
    pass(&stage, PC_MSG_CLIENT_UP);
    stage_hub_recorded(&stage, 1);
    for (uint64_t i = 1; i <= 100; i++) {
        ask(&asker, i, question);
        pass(&stage, PC_MSG_QUERY);
        say(&stage, &asker, i, pc_msg_with_body(PC_MSG_REPLY, "{}", 2));
        pc_msg_unref(stage_await(&asker.sock, PC_MSG_REPLY));
    }
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

static void fetches_are_asked_again_one_by_one(void **state)
{
    struct stage stage;
    struct asker asker;
    stage_open(&stage, 60000);
    open_asker(&stage, &asker);
    pass(&stage, PC_MSG_CLIENT_UP);
    ask(&asker, 10, "{\"query\":\"fetch\",\"what\":\"result\",\"tasks\":[\"a\",\"b\",\"c\"]}");
    pass(&stage, PC_MSG_QUERY);
    say_result(&stage, &asker, 10);
    say(&stage, &asker, 11, pc_stream_new(PC_STREAM_STDOUT, 0, "12345", 5));
    say(&stage, &asker, 11, pc_stream_new(PC_STREAM_STDERR, 0, "67", 2));
    say(&stage, &asker, 11, pc_stream_new(PC_STREAM_DISPLAY, 0, "{}\n", 3));
    pc_msg_unref(stage_await(&asker.sock, PC_MSG_RESULT));
    for (int i = 0; i < PC_STREAM_TEXTS; i++)
        pc_msg_unref(stage_await(&asker.sock, PC_MSG_STREAM));
    lose_hub(&stage);
    stage_hub_recorded(&stage, 1);
    const char *tasks[] = {"b", "c"}, *seen[][PC_STREAM_TEXTS] = {{"5", "2", "3"}, {"0", "0", "0"}};
    for (int i = 0; i < 2; i++) {
        struct pc_msg *again = next(&stage, PC_MSG_QUERY);
        assert_int_equal(again->head.sequence, 11 + i);
        pc_json *json = pc_json_of_msg(again, NULL);
        assert_string_equal(pc_json_str_or(json, "query", ""), "fetch");
        assert_string_equal(pc_json_str_or(json, "what", ""), "result");
        const pc_json *list = pc_json_member(json, "tasks");
        assert_int_equal(pc_json_count(list), 1);
        assert_string_equal(pc_json_text(pc_json_first(list)), tasks[i]);
        for (int stream = 0; stream < PC_STREAM_TEXTS; stream++)
            assert_string_equal(
                pc_json_text(pc_json_item(pc_json_member(json, "seen"), (size_t)stream)),
                seen[i][stream]);
        pc_json_free(json);
        pc_msg_unref(again);
        say_result(&stage, &asker, 11 + (uint64_t)i);
        pc_msg_unref(stage_await(&asker.sock, PC_MSG_RESULT));
    }
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

#define FETCHED      500
#define RESULT_BYTES 100000

/* Answers for the tasks of one QUERY, if one comes in time; returns how many. */
static int answer_some(struct stage *stage, const struct asker *asker, int timeout_ms)
{
    struct pc_err err;
    uint8_t body[PC_RESULT_BODY_SIZE];
    uint64_t size = RESULT_BYTES;
    struct pc_msg *msg = pc_sock_receive(&stage->hub, timeout_ms, &err);
    if (!msg)
        return 0;
    pc_json *json = pc_json_of_msg(msg, NULL);
    int count = (int)pc_json_count(pc_json_member(json, "tasks"));
    pc_json_free(json);
    pc_result_encode(body, &(struct pc_result_body){.status = PC_STATUS_OK});
    for (int i = 0; i < count; i++) {
        struct pc_msg *result = pc_msg_new(PC_MSG_RESULT, sizeof(body), &size, 1);
        memcpy(result->body, body, sizeof(body));
        memset(result->parts[0].data, 'x', size);
        say(stage, asker, msg->head.sequence + (uint64_t)i, result);
    }
    pc_msg_unref(msg);
    return count;
}

/* It can ask for as much as it likes: what it does not take is not fetched. */
static void a_slow_client_costs_little(void **state)
{
    struct stage stage;
    struct asker asker;
    struct pc_err err;
    struct pc_buf text;
    int asked = 0, some;
    stage_open(&stage, 60000);
    open_asker(&stage, &asker);
    pass(&stage, PC_MSG_CLIENT_UP);
    pc_buf_init(&text, 0);
    static const char head[] = "{\"query\":\"fetch\",\"what\":\"result\",\"tasks\":[";
    pc_buf_put(&text, head, strlen(head));
    for (int i = 0; i < FETCHED; i++)
        pc_buf_put(&text, i ? ",\"a\"" : "\"a\"", i ? 4 : 3);
    pc_buf_put(&text, "]}", 3);
    ask(&asker, 10, (const char *)text.data);
    pc_buf_fini(&text);
    while ((some = answer_some(&stage, &asker, 300)) > 0)
        asked += some;
    assert_true(asked > 0 && asked < FETCHED / 5);
    for (int received = 0; received < FETCHED;) {
        asked += answer_some(&stage, &asker, 1);
        struct pc_msg *msg = pc_sock_receive(&asker.sock, 1, &err);
        received += msg && msg->head.type == PC_MSG_RESULT;
        pc_msg_unref(msg);
    }
    assert_int_equal(asked, FETCHED);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

/* Of tasks that have not ended the hub says so: others need not wait for them. */
static void what_has_not_ended_is_in_nobodys_way(void **state)
{
    struct stage stage;
    struct asker asker;
    stage_open(&stage, 60000);
    open_asker(&stage, &asker);
    pass(&stage, PC_MSG_CLIENT_UP);
    for (uint64_t i = 0; i < 100; i++) {
        ask(&asker, 10 + i, "{\"query\":\"fetch\",\"what\":\"result\",\"tasks\":[\"a\"]}");
        pass(&stage, PC_MSG_QUERY);
        say(&stage, &asker, 10 + i, pc_stream_new(PC_STREAM_STDOUT, 0, NULL, 0));
    }
    say_result(&stage, &asker, 109);
    struct pc_msg *msg = stage_await(&asker.sock, PC_MSG_RESULT);
    assert_int_equal(msg->head.sequence, 109);
    pc_msg_unref(msg);
    pc_sock_close(&asker.sock);
    stage_close(&stage);
}

/* An engine that has asked for its id gets one, and only one. */
static void engines_get_their_id(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    stage_open_quiet(&stage, 0);
    stage_hub_recorded(&stage, 0);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    assert_int_equal(engine.id, 0);
    lose_hub(&stage);
    stage_hub_recorded(&stage, 1);
    pass(&stage, PC_MSG_ENGINES); /* and no question for an id */
    play_check(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

/* ---- a hub that does not listen --------------------------------------------------------- */

static void run_tasks(struct stage *stage, struct fake_engine *engine, int count)
{
    struct pc_client *client = play_open(stage, PC_TRANSPORT_UNIX);
    char source[2001];
    memset(source, 'x', 2000);
    source[2000] = '\0';
    for (int i = 0; i < count; i++) {
        struct pc_call *call = play_submit(client, &engine->id, source);
        struct pc_msg *run = stage_await(&engine->work, PC_MSG_RUN);
        fake_engine_answer(engine, run, source);
        pc_msg_unref(run);
        play_wait(client, call);
        pc_call_unref(call);
    }
    pc_client_close(client);
}

static int64_t number(struct stage *stage, const char *name)
{
    struct asker asker;
    open_asker(stage, &asker);
    ask(&asker, 1, "{\"query\":\"sched\"}");
    struct pc_msg *reply = stage_await(&asker.sock, PC_MSG_REPLY);
    pc_json *json = pc_json_of_msg(reply, NULL);
    int64_t value = pc_json_i64_or(json, name, -1);
    pc_json_free(json);
    pc_msg_unref(reply);
    pc_sock_close(&asker.sock);
    return value;
}

/* What waits for it stays within the limit, whatever happens; it is told what is left. */
static void what_waits_is_bounded(void **state)
{
    enum { LIMIT = 400000, TASKS = 600 };
    struct stage stage;
    struct fake_engine engine;
    stage_open_quiet(&stage, LIMIT);
    stage_hub_recorded(&stage, 0);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    lose_hub(&stage);
    run_tasks(&stage, &engine, TASKS); /* 4 KB each */
    assert_in_range(number(&stage, "unrecorded_bytes"), 1, LIMIT + 100000);
    int64_t bodies = number(&stage, "lost_bodies"), records = number(&stage, "lost_records");
    assert_in_range(bodies, 1, 2 * TASKS);
    stage_hub_recorded(&stage, 1);
    int64_t seen = 0, full = 0;
    bool is_last = false;
    while (!is_last) {
        struct pc_msg *msg = stage_await(&stage.hub, PC_MSG_RECORDS);
        struct pc_reader reader;
        struct pc_record record;
        pc_reader_init(&reader, msg->body, msg->head.body_size);
        while (reader.left) {
            assert_int_equal(pc_record_decode(&reader, &record), 0);
            seen++;
            full += record.part_count > 0;
            is_last |= record.event == PC_RECORD_ENDED && record.sequence == TASKS;
        }
        pc_msg_unref(msg);
    }
    assert_in_range(seen + records, 2 * TASKS, 3 * TASKS); /* some starts are left out */
    assert_in_range(full, 1, 2 * TASKS - bodies);
    fake_engine_close(&engine);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_recorded_is_said_again),
        cmocka_unit_test(a_scheduler_that_leaves_waits_for_the_next_hub),
        cmocka_unit_test(a_new_scheduler_counts_from_what_the_hub_has),
        cmocka_unit_test(the_connection_is_replaced),
        cmocka_unit_test(questions_are_asked_again),
        cmocka_unit_test(questions_do_not_run_dry),
        cmocka_unit_test(fetches_are_asked_again_one_by_one),
        cmocka_unit_test(a_slow_client_costs_little),
        cmocka_unit_test(what_has_not_ended_is_in_nobodys_way),
        cmocka_unit_test(engines_get_their_id),
        cmocka_unit_test(what_waits_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
