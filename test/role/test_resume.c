/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections that break: clients go on where they were, or learn at once that they can't. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "cable.h"
#include "lib/proto.h"
#include "lib/proto_record.h"
#include "lib/proto_task.h"
#include "play.h"

#define LONG_MS  600000 /* a test that waited for it would fail */
#define SHORT_MS 300
#define FAR_HOME "00000000000000000000000000000002"

/* The client's connection goes through the cable, the engine's does not. */
struct scene {
    struct stage stage;
    struct cable cable;
    struct fake_engine engine;
    struct pc_client *client;
};

static void open_scene(struct scene *scene, int grace_ms)
{
    stage_open_patient(&scene->stage, 3000, grace_ms);
    cable_open(&scene->cable, scene->stage.client.unix_path);
    stage_engine(&scene->stage, &scene->engine, PC_TRANSPORT_UNIX);
    scene->engine.took_us = 1000;
    snprintf(scene->stage.client.unix_path, sizeof(scene->stage.client.unix_path), "%s",
             scene->cable.path);
    scene->client = play_open(&scene->stage, PC_TRANSPORT_UNIX);
}

static void close_scene(struct scene *scene)
{
    pc_client_close(scene->client);
    cable_close(&scene->cable);
    fake_engine_close(&scene->engine);
    stage_close(&scene->stage);
}

static struct pc_call *submit(struct scene *scene, const char *source)
{
    return play_submit(scene->client, &scene->engine.id, source);
}

static struct pc_msg *next_run(struct scene *scene, const char *source)
{
    struct pc_msg *run = stage_await(&scene->engine.work, PC_MSG_RUN);
    assert_int_equal(run->parts[0].size, strlen(source));
    assert_memory_equal(run->parts[0].data, source, strlen(source));
    return run;
}

static void answer(struct scene *scene, const char *source)
{
    struct pc_msg *run = next_run(scene, source);
    fake_engine_answer(&scene->engine, run, source);
    pc_msg_unref(run);
}

static void expect(struct scene *scene, struct pc_call *call, const char *value)
{
    play_wait(scene->client, call);
    assert_int_equal(pc_call_status(call), PC_STATUS_OK);
    play_expect_part(call, value);
    pc_call_unref(call);
}

static void ask(struct scene *scene)
{
    char *reply;
    struct pc_err err;
    if (pc_query(scene->client, "{\"query\":\"sched\"}", STAGE_LIMIT_MS, &reply, &err))
        fail_msg("%s", err.text);
    assert_non_null(strstr(reply, "\"ok\":true"));
    free(reply);
}

static void calls_go_on(void **state)
{
    struct scene scene;
    open_scene(&scene, LONG_MS);
    for (unsigned i = 1; i <= 3; i++) {
        struct pc_call *before = submit(&scene, "before");
        struct pc_msg *run = next_run(&scene, "before");
        cable_cut(&scene.cable);
        fake_engine_answer(&scene.engine, run, "before");
        pc_msg_unref(run);
        expect(&scene, before, "before");
        struct pc_call *after = submit(&scene, "after");
        answer(&scene, "after");
        expect(&scene, after, "after");
    }
    cable_await(&scene.cable, 4);
    close_scene(&scene);
}

static void calls_go_on_after_new_keys(void **state)
{
    struct scene scene;
    open_scene(&scene, LONG_MS);
    for (int i = 0; i < 3; i++) {
        struct pc_call *call = submit(&scene, "before");
        stage_new_keys(&scene.stage, 0);
        cable_cut(&scene.cable);
        answer(&scene, "before");
        expect(&scene, call, "before");
    }
    close_scene(&scene);
}

static void what_did_not_arrive_is_sent_again(void **state)
{
    struct scene scene;
    open_scene(&scene, LONG_MS);
    cable_freeze(&scene.cable, 0, true);
    struct pc_call *calls[] = {submit(&scene, "one"), submit(&scene, "two")};
    cable_cut(&scene.cable);
    cable_freeze(&scene.cable, 0, false);
    struct pc_call *third = submit(&scene, "three");
    ask(&scene); /* somebody has to connect again */
    answer(&scene, "one");
    answer(&scene, "two");
    answer(&scene, "three");
    expect(&scene, calls[0], "one");
    expect(&scene, calls[1], "two");
    expect(&scene, third, "three");
    close_scene(&scene);
}

static void results_that_did_not_arrive_are_sent_again(void **state)
{
    struct scene scene;
    open_scene(&scene, LONG_MS);
    struct pc_call *call = submit(&scene, "value");
    cable_freeze(&scene.cable, 1, true);
    answer(&scene, "value");
    /* The scheduler has sent it: the records go with a beat. */
    pc_msg_unref(stage_await(&scene.stage.hub, PC_MSG_RECORDS));
    cable_cut(&scene.cable);
    cable_freeze(&scene.cable, 1, false);
    expect(&scene, call, "value");
    /* And its acknowledgement arrives, with the next call. */
    call = submit(&scene, "next");
    pc_msg_unref(stage_await(&scene.engine.work, PC_MSG_RESULT_ACK));
    answer(&scene, "next");
    expect(&scene, call, "next");
    close_scene(&scene);
}

static void send_output(struct scene *scene, const struct pc_msg *run, const char *text)
{
    struct pc_msg *msg = pc_stream_new(PC_STREAM_STDOUT, 0, text, strlen(text));
    msg->head.session = run->head.session;
    msg->head.sequence = run->head.sequence;
    assert_int_equal(pc_sock_send(&scene->engine.work, msg, NULL), 0);
    pc_msg_unref(msg);
}

static void output_comes_once(void **state)
{
    struct scene scene;
    char piece[32], *output, *expected = calloc(1, 100000);
    size_t size;
    open_scene(&scene, LONG_MS);
    struct pc_call *call = submit(&scene, "print");
    struct pc_msg *run = next_run(&scene, "print");
    for (int i = 0; i < 500; i++) {
        snprintf(piece, sizeof(piece), "line %d\n", i);
        strcat(expected, piece);
        send_output(&scene, run, piece);
        if (i % 50 == 17) {
            cable_cut(&scene.cable);
            struct pc_err err;
            pc_dispatch(scene.client, 20, &err);
        }
    }
    fake_engine_answer(&scene.engine, run, "done");
    pc_msg_unref(run);
    play_wait(scene.client, call);
    assert_int_equal(pc_call_output(call, PC_STREAM_STDOUT, &output, &size), 0);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(output, expected, size);
    free(output);
    free(expected);
    pc_call_unref(call);
    close_scene(&scene);
}

static void a_question_is_answered(void **state)
{
    struct scene scene;
    open_scene(&scene, LONG_MS);
    cable_cut(&scene.cable);
    ask(&scene);
    close_scene(&scene);
}

static void expect_lost(struct scene *scene, struct pc_call *call, const char *within)
{
    struct pc_err err;
    play_wait(scene->client, call);
    play_expect_error(call, "ConnectionLost", within);
    pc_call_unref(call);
    assert_int_equal(pc_client_check(scene->client, &err), -1);
    assert_int_equal(err.code, PC_E_LOST);
}

static void silence_is_endured_for_the_grace_time(void **state)
{
    struct scene scene;
    open_scene(&scene, SHORT_MS);
    struct pc_call *call = submit(&scene, "value");
    pc_msg_unref(next_run(&scene, "value"));
    cable_silence(&scene.cable, true);
    cable_cut(&scene.cable);
    expect_lost(&scene, call, "did not come back within 0.3 s");
    cable_await(&scene.cable, 2);
    close_scene(&scene);
}

static void an_address_that_vanished_ends_it(void **state)
{
    struct scene scene;
    open_scene(&scene, LONG_MS);
    struct pc_call *call = submit(&scene, "value");
    cable_close(&scene.cable);
    expect_lost(&scene, call, "nobody listens");
    char to[512];
    snprintf(to, sizeof(to), "%s", scene.cable.to);
    cable_open(&scene.cable, to);
    close_scene(&scene);
}

static void another_cluster_ends_it(void **state)
{
    struct scene scene;
    struct stage other;
    open_scene(&scene, LONG_MS);
    stage_open(&other, 3000);
    struct pc_call *call = submit(&scene, "value");
    cable_lead_to(&scene.cable, other.client.unix_path);
    cable_cut(&scene.cable);
    expect_lost(&scene, call, "another cluster answers");
    close_scene(&scene);
    stage_close(&other);
}

static void a_controller_that_says_goodbye_ends_it(void **state)
{
    struct scene scene;
    open_scene(&scene, LONG_MS);
    struct pc_call *call = submit(&scene, "value");
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "reason", "enough for today");
    pc_json_put_i64(json, "grace_ms", 10000);
    struct pc_msg *msg = pc_json_msg(PC_MSG_SHUTDOWN, json);
    assert_int_equal(pc_sock_send(&scene.stage.parent, msg, NULL), 0);
    pc_msg_unref(msg);
    expect_lost(&scene, call, "enough for today");
    close_scene(&scene);
}

/* Its memory is the caller's, who has it back when pc_submit returns. */
static void a_large_request_that_did_not_arrive_fails(void **state)
{
    struct scene scene;
    char *source = malloc(100001);
    open_scene(&scene, LONG_MS);
    memset(source, 'x', 100000);
    source[100000] = '\0';
    cable_freeze(&scene.cable, 0, true);
    struct pc_call *call = submit(&scene, source);
    memset(source, 'y', 100000);
    cable_cut(&scene.cable);
    cable_freeze(&scene.cable, 0, false);
    play_wait(scene.client, call);
    play_expect_error(call, "ConnectionLost", "submit it again");
    pc_call_unref(call);
    call = submit(&scene, "next");
    answer(&scene, "next");
    expect(&scene, call, "next");
    free(source);
    close_scene(&scene);
}

/* ---- the scheduler's side --------------------------------------------------------------- */

static void await_client_down(struct scene *scene)
{
    pc_msg_unref(stage_await(&scene->stage.hub, PC_MSG_CLIENT_DOWN));
}

/* The result of a client that is away goes to the hub at once; it is given up after its time. */
static void who_stays_away_is_given_up(void **state)
{
    struct scene scene;
    open_scene(&scene, SHORT_MS);
    struct pc_call *call = submit(&scene, "value");
    struct pc_msg *run = next_run(&scene, "value");
    cable_silence(&scene.cable, true);
    cable_cut(&scene.cable);
    await_client_down(&scene);
    fake_engine_answer(&scene.engine, run, "value");
    pc_msg_unref(run);
    for (bool is_kept = false; !is_kept;) {
        struct pc_msg *msg = stage_await(&scene.stage.hub, PC_MSG_RECORDS);
        struct pc_reader reader;
        struct pc_record record;
        pc_reader_init(&reader, msg->body, msg->head.body_size);
        while (reader.left) {
            assert_int_equal(pc_record_decode(&reader, &record), 0);
            is_kept |= record.event == PC_RECORD_ENDED && record.flags & PC_RECORD_KEEP;
        }
        pc_msg_unref(msg);
    }
    expect_lost(&scene, call, "did not come back");
    cable_silence(&scene.cable, false);
    play_check(&scene.stage, &scene.engine);
    close_scene(&scene);
}

static struct pc_credit_body next_credit(struct scene *scene)
{
    struct pc_credit_body body;
    struct pc_msg *msg = stage_await(&scene->engine.control, PC_MSG_OUTPUT_CREDIT);
    assert_int_equal(pc_credit_decode(msg, &body, NULL), 0);
    pc_msg_unref(msg);
    return body;
}

/* An engine reads its work lane when its task has ended. Until then it learns on the other one what
 * came, also while it may send nothing because the client reads nothing. */
static void an_engine_learns_what_came_while_it_works(void **state)
{
    struct scene scene;
    struct pc_credit_body body;
    uint64_t rounds = 0;
    open_scene(&scene, LONG_MS);
    struct pc_call *call = submit(&scene, "print");
    struct pc_msg *run = next_run(&scene, "print");
    cable_silence(&scene.cable, true);
    cable_cut(&scene.cable);
    do {
        for (int i = 0; i < 64; i++)
            send_output(&scene, run, "x");
        body = next_credit(&scene);
        assert_int_equal(body.came, ++rounds * 64);
        assert_true(rounds * 64 < PC_OUTPUT_WINDOW);
    } while (body.bytes);
    cable_silence(&scene.cable, false);
    cable_cut(&scene.cable);
    fake_engine_answer(&scene.engine, run, "done");
    pc_msg_unref(run);
    expect(&scene, call, "done");
    call = submit(&scene, "next");
    run = next_run(&scene, "next");
    assert_int_equal(run->head.received, 0);
    fake_engine_answer(&scene.engine, run, "next");
    pc_msg_unref(run);
    expect(&scene, call, "next");
    close_scene(&scene);
}

/* Says HELLO for a session; the answer's type. */
static uint8_t try_resume(struct scene *scene, struct pc_sock *sock, const char *session,
                          const char *token, const char *received)
{
    char fields[320];
    struct pc_err err;
    snprintf(fields, sizeof(fields),
             "\"role\":\"client\",\"session\":\"%s\",\"token\":\"%s\",\"received\":\"%s\"", session,
             token, received);
    char *hello = stage_hello(&scene->stage.client, fields);
    if (pc_sock_connect(sock, &scene->stage.client, PC_TRANSPORT_TCP, STAGE_LIMIT_MS, NULL, 0,
                        &err))
        fail_msg("%s", err.text);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_HELLO, hello, strlen(hello));
    assert_int_equal(pc_sock_send(sock, msg, NULL), 0);
    pc_msg_unref(msg);
    free(hello);
    msg = pc_sock_receive(sock, STAGE_LIMIT_MS, &err);
    if (!msg)
        fail_msg("%s", err.text);
    uint8_t type = msg->head.type;
    pc_msg_unref(msg);
    return type;
}

static void a_session_is_its_owners(void **state)
{
    static const struct {
        const char *session, *token, *received;
    } tries[] = {
        {"s", "t", "0"},
        {"s", "00000000000000000000000000000000", "0000000000000000"},
        {"s", "", "0000000000000000"},
        {"0000000000000001", "t", "0000000000000000"},
        {"s", "t", "ffffffffffffffff"},
        {"s", "t", "0000000000000009"},
        {"s", "t", ""},
        {"", "t", "0000000000000000"},
    };
    struct scene scene;
    struct pc_sock owner, thief, again;
    struct pc_msg *welcome;
    open_scene(&scene, LONG_MS);
    stage_connect(&scene.stage, &owner, &scene.stage.client, PC_TRANSPORT_TCP,
                  "\"role\":\"client\"", &welcome);
    pc_json *json = pc_json_of_msg(welcome, NULL);
    const char *session = pc_json_str_or(json, "session", ""),
               *token = pc_json_str_or(json, "token", "");
    pc_msg_unref(stage_await(&owner, PC_MSG_ENGINES));
    for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        assert_int_equal(
            try_resume(&scene, &thief, strcmp(tries[i].session, "s") ? tries[i].session : session,
                       strcmp(tries[i].token, "t") ? tries[i].token : token, tries[i].received),
            PC_MSG_REFUSED);
        stage_await_end(&thief);
        pc_sock_close(&thief);
    }
    /* The owner itself may come over another connection while the old one seems to be well. */
    assert_int_equal(try_resume(&scene, &again, session, token, "0000000000000000"),
                     PC_MSG_WELCOME);
    pc_msg_unref(stage_await(&again, PC_MSG_ENGINES)); /* it says that it has received nothing */
    stage_await_end(&owner);
    pc_sock_close(&owner);
    pc_sock_close(&again);
    pc_json_free(json);
    pc_msg_unref(welcome);
    close_scene(&scene);
}

/* ---- engines ---------------------------------------------------------------------------- */

/* An engine that the test plays, which can lose its lanes and come back. */
struct returning {
    struct stage stage;
    struct fake_engine engine;
    struct pc_lifeline work; /* since it has returned */
    struct pc_client *client;
};

static void open_returning(struct returning *r, int grace_ms)
{
    *r = (struct returning){0};
    stage_open_patient(&r->stage, 3000, grace_ms);
    stage_engine(&r->stage, &r->engine, PC_TRANSPORT_UNIX);
    r->engine.took_us = 1000;
    r->client = play_open(&r->stage, PC_TRANSPORT_UNIX);
}

static void close_returning(struct returning *r)
{
    pc_client_close(r->client);
    fake_engine_close(&r->engine);
    pc_lifeline_fini(&r->work);
    stage_close(&r->stage);
}

/* A lane's HELLO; the type of the answer. */
static uint8_t say_hello(struct returning *r, struct pc_sock *sock, const char *fields)
{
    struct pc_err err;
    char *hello = stage_hello(&r->stage.engine, fields);
    if (pc_sock_connect(sock, &r->stage.engine, PC_TRANSPORT_UNIX, STAGE_LIMIT_MS, NULL, 0, &err))
        fail_msg("%s", err.text);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_HELLO, hello, strlen(hello));
    assert_int_equal(pc_sock_send(sock, msg, NULL), 0);
    pc_msg_unref(msg);
    free(hello);
    msg = pc_sock_receive(sock, STAGE_LIMIT_MS, &err);
    if (!msg)
        fail_msg("%s", err.text);
    uint8_t type = msg->head.type;
    pc_msg_unref(msg);
    return type;
}

static uint8_t lane_returns(struct returning *r, struct pc_sock *sock, const char *lane,
                            const char *token, unsigned received)
{
    char fields[320];
    snprintf(fields, sizeof(fields),
             "\"role\":\"engine\",\"lane\":\"%s\",\"uuid\":\"%s\",\"token\":\"%s\","
             "\"received\":\"%016x\"",
             lane, r->engine.uuid, token, received);
    return say_hello(r, sock, fields);
}

static void engine_returns(struct returning *r, unsigned work_received)
{
    assert_int_equal(lane_returns(r, &r->engine.control, "control", r->engine.token, 0),
                     PC_MSG_WELCOME);
    assert_int_equal(lane_returns(r, &r->engine.work, "work", r->engine.token, work_received),
                     PC_MSG_WELCOME);
    r->work.received = work_received;
    r->engine.work.wire.lifeline = &r->work;
}

/* The engine answers; and the client has it. */
static void answer_for(struct returning *r, struct pc_call *call, struct pc_msg *run,
                       const char *text)
{
    fake_engine_answer(&r->engine, run, text);
    pc_msg_unref(run);
    play_wait(r->client, call);
    play_expect_part(call, text);
    pc_call_unref(call);
}

static void an_engine_goes_on_with_its_task(void **state)
{
    struct returning r;
    open_returning(&r, LONG_MS);
    struct pc_call *call = play_submit(r.client, &r.engine.id, "value");
    struct pc_msg *run = stage_await(&r.engine.work, PC_MSG_RUN);
    fake_engine_close(&r.engine);
    struct pc_call *next = play_submit(r.client, NULL, "next"); /* waits for it */
    engine_returns(&r, 1);
    answer_for(&r, call, run, "value");
    run = stage_await(&r.engine.work, PC_MSG_RUN);
    answer_for(&r, next, run, "next");
    close_returning(&r);
}

static void an_engine_goes_on_after_new_keys(void **state)
{
    struct returning r;
    open_returning(&r, LONG_MS);
    struct pc_connfile before = r.stage.engine;
    stage_new_keys(&r.stage, 0);
    r.stage.engine = before; /* it has the key that it began with */
    fake_engine_close(&r.engine);
    engine_returns(&r, 0);
    struct pc_call *call = play_submit(r.client, &r.engine.id, "value");
    struct pc_msg *run = stage_await(&r.engine.work, PC_MSG_RUN);
    answer_for(&r, call, run, "value");
    close_returning(&r);
}

static void a_task_that_did_not_arrive_is_sent_again(void **state)
{
    struct returning r;
    open_returning(&r, LONG_MS);
    struct pc_call *call = play_submit(r.client, &r.engine.id, "value");
    pc_msg_unref(stage_await(&r.engine.work, PC_MSG_RUN)); /* it did, but the engine says no */
    pc_sock_close(&r.engine.work);                         /* one lane is enough */
    stage_await_end(&r.engine.control);
    pc_sock_close(&r.engine.control);
    engine_returns(&r, 0);
    struct pc_msg *run = stage_await(&r.engine.work, PC_MSG_RUN);
    answer_for(&r, call, run, "value");
    close_returning(&r);
}

/* Before the scheduler has noticed that the old lanes are dead. */
static void an_engine_takes_its_own_place(void **state)
{
    struct returning r;
    open_returning(&r, LONG_MS);
    struct fake_engine before = r.engine;
    engine_returns(&r, 0);
    stage_await_end(&before.work);
    fake_engine_close(&before);
    play_check(&r.stage, &r.engine);
    close_returning(&r);
}

static void an_engine_that_stays_away_is_given_up(void **state)
{
    struct returning r;
    open_returning(&r, SHORT_MS);
    struct pc_call *call = play_submit(r.client, &r.engine.id, "value");
    pc_msg_unref(stage_await(&r.engine.work, PC_MSG_RUN));
    fake_engine_close(&r.engine);
    play_wait(r.client, call);
    play_expect_error(call, "EngineError", "did not come back within 0.3 s");
    pc_call_unref(call);
    /* It comes too late. */
    assert_int_equal(lane_returns(&r, &r.engine.control, "control", r.engine.token, 0),
                     PC_MSG_REFUSED);
    assert_int_equal(lane_returns(&r, &r.engine.work, "work", r.engine.token, 0), PC_MSG_REFUSED);
    close_returning(&r);
}

/* Nobody waits for one that is known to be dead. */
static void an_engine_that_died_is_not_waited_for(void **state)
{
    struct returning r;
    open_returning(&r, LONG_MS);
    struct pc_call *call = play_submit(r.client, &r.engine.id, "value");
    struct pc_msg *run = stage_await(&r.engine.work, PC_MSG_RUN);
    struct pc_call *second = play_submit(r.client, &r.engine.id, "second");
    fake_engine_answer(&r.engine, run, "value"); /* the last that it did */
    pc_msg_unref(run);
    fake_engine_close(&r.engine);
    stage_exited(&r.stage, &r.engine, 9, false, "");
    play_wait(r.client, call);
    play_expect_part(call, "value");
    play_wait(r.client, second);
    play_expect_error(second, "EngineError", "was killed by signal 9");
    pc_call_unref(call);
    pc_call_unref(second);
    assert_int_equal(lane_returns(&r, &r.engine.control, "control", r.engine.token, 0),
                     PC_MSG_REFUSED);
    pc_sock_init(&r.engine.work, -1, 0);
    close_returning(&r);
}

static void say_goodbye(struct pc_sock *host)
{
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "reason", "got SIGTERM");
    struct pc_msg *msg = pc_json_msg(PC_MSG_GOODBYE, json);
    assert_int_equal(pc_sock_send(host, msg, NULL), 0);
    pc_msg_unref(msg);
    stage_await_end(host);
    pc_sock_close(host);
}

/* A host that is stopped ends its engines, in either order for us; an engine elsewhere stays. */
static void engines_whose_host_left_are_not_waited_for(void **state)
{
    for (int breaks_first = 0; breaks_first < 2; breaks_first++) {
        struct returning r;
        struct pc_sock host;
        struct pc_msg *welcome;
        struct fake_engine far;
        open_returning(&r, LONG_MS);
        stage_connect(&r.stage, &host, &r.stage.engine, PC_TRANSPORT_UNIX,
                      "\"role\":\"host\",\"pid\":7,\"host\":\"far\",\"uuid\":\"" FAR_HOME "\"",
                      &welcome);
        pc_msg_unref(welcome);
        r.stage.home = FAR_HOME;
        stage_engine(&r.stage, &far, PC_TRANSPORT_UNIX);
        struct pc_call *call = play_submit(r.client, &far.id, "value");
        pc_msg_unref(stage_await(&far.work, PC_MSG_RUN));
        if (!breaks_first)
            say_goodbye(&host);
        fake_engine_close(&far);
        if (breaks_first)
            say_goodbye(&host);
        play_wait(r.client, call);
        play_expect_error(call, "EngineError", "was ended with its host");
        pc_call_unref(call);
        fake_engine_close(&r.engine);
        engine_returns(&r, 0);
        play_check(&r.stage, &r.engine);
        close_returning(&r);
    }
}

static void an_engine_is_who_has_its_token(void **state)
{
    struct returning r;
    struct pc_sock thief;
    open_returning(&r, LONG_MS);
    assert_int_equal(lane_returns(&r, &thief, "control", "", 0), PC_MSG_REFUSED);
    pc_sock_close(&thief);
    assert_int_equal(lane_returns(&r, &thief, "control", "00000000000000000000000000000000", 0),
                     PC_MSG_REFUSED);
    pc_sock_close(&thief);
    assert_int_equal(lane_returns(&r, &thief, "work", r.engine.token, 0), PC_MSG_REFUSED);
    pc_sock_close(&thief);
    play_check(&r.stage, &r.engine);
    close_returning(&r);
}

/* Also while it is only coming. */
static void a_work_lane_has_its_token_from_the_control_lane(void **state)
{
    static const char *const tokens[] = {"", "\"token\":\"00000000000000000000000000000000\","};
    struct returning r;
    struct fake_engine coming;
    struct pc_sock thief;
    char fields[320];
    open_returning(&r, LONG_MS);
    stage_engine_control(&r.stage, &coming, PC_TRANSPORT_UNIX);
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        snprintf(fields, sizeof(fields),
                 "\"role\":\"engine\",\"lane\":\"work\",\"engine_id\":%u,%s\"uuid\":\"%s\"",
                 coming.id, tokens[i], coming.uuid);
        assert_int_equal(say_hello(&r, &thief, fields), PC_MSG_REFUSED);
        pc_sock_close(&thief);
    }
    stage_engine_work(&r.stage, &coming, PC_TRANSPORT_UNIX);
    play_check(&r.stage, &coming);
    fake_engine_close(&coming);
    close_returning(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_go_on),
        cmocka_unit_test(calls_go_on_after_new_keys),
        cmocka_unit_test(what_did_not_arrive_is_sent_again),
        cmocka_unit_test(results_that_did_not_arrive_are_sent_again),
        cmocka_unit_test(output_comes_once),
        cmocka_unit_test(a_question_is_answered),
        cmocka_unit_test(silence_is_endured_for_the_grace_time),
        cmocka_unit_test(an_address_that_vanished_ends_it),
        cmocka_unit_test(another_cluster_ends_it),
        cmocka_unit_test(a_controller_that_says_goodbye_ends_it),
        cmocka_unit_test(a_large_request_that_did_not_arrive_fails),
        cmocka_unit_test(an_engine_learns_what_came_while_it_works),
        cmocka_unit_test(who_stays_away_is_given_up),
        cmocka_unit_test(a_session_is_its_owners),
        cmocka_unit_test(an_engine_goes_on_with_its_task),
        cmocka_unit_test(an_engine_goes_on_after_new_keys),
        cmocka_unit_test(a_task_that_did_not_arrive_is_sent_again),
        cmocka_unit_test(an_engine_takes_its_own_place),
        cmocka_unit_test(an_engine_that_stays_away_is_given_up),
        cmocka_unit_test(an_engine_that_died_is_not_waited_for),
        cmocka_unit_test(engines_whose_host_left_are_not_waited_for),
        cmocka_unit_test(an_engine_is_who_has_its_token),
        cmocka_unit_test(a_work_lane_has_its_token_from_the_control_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
