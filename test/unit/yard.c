/* SPDX-License-Identifier: BSD-3-Clause */
#include "yard.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/mem.h"

/* What one client was told; in the memory where its connection would be. */
struct told {
    uint64_t sequence;
    UT_hash_handle hh;
    char what[40];
};

struct ear {
    struct peer peer; /* first: client.peer */
    struct told *told;
};

/* The process of an engine; stays when the engine is gone, as one that was stopped does. */
struct puppet {
    uint32_t id;
    UT_hash_handle hh;
    struct peer *control, *work;
    int64_t end_ms;  /* when engine_finish is called; 0: not */
    bool is_stopped; /* by a signal: it answers nothing */
};

#define HOME 7 /* bytes of the uuid of their parent */

FILE *yard_log;

static void note(const char *what, uint32_t engine_id, const struct task *task)
{
    if (yard_log)
        fprintf(yard_log, "%s %u %llu %llu\n", what, engine_id,
                (unsigned long long)task->key.session, (unsigned long long)task->key.sequence);
}

/* ---- the world -------------------------------------------------------------------------- */

void world_run(struct engine *engine, const struct task *task)
{
    note("r", engine->id, task);
}

void world_acks(struct engine *engine)
{
    engine->acks.size = 0;
    engine->acked_bytes = 0;
}

void world_abort(struct engine *engine, const struct task *task, uint8_t flags)
{
    note("a", engine->id, task);
}

static struct yard *yard_of(struct sched *s)
{
    return (struct yard *)s; /* it is the first member */
}

bool world_has_hub(const struct sched *s)
{
    return false;
}

int64_t world_now_ms(struct sched *s)
{
    return yard_of(s)->now_ms;
}

void world_wake_at(struct sched *s, int64_t at_ms)
{
    yard_of(s)->wake_ms = at_ms;
}

void world_recall(struct engine *engine, uint32_t first)
{
    if (yard_log)
        fprintf(yard_log, "c %u %u\n", engine->id, engine->runs + 1 - first);
}

void world_check_ahead(struct sched *s, unsigned in_ms)
{
    yard_of(s)->look_ms = yard_of(s)->now_ms + in_ms;
}

static struct puppet *puppet_of(struct yard *yard, uint32_t id)
{
    struct puppet *puppet;
    HASH_FIND(hh, yard->puppets, &id, sizeof(id), puppet);
    return puppet;
}

void world_await_exit(struct engine *engine, unsigned in_ms)
{
    struct yard *yard = yard_of(engine->sched);
    struct puppet *puppet = puppet_of(yard, engine->id);
    if (!puppet->end_ms)
        puppet->end_ms = yard->now_ms + in_ms;
}

void world_check_coming(struct sched *s, unsigned in_ms)
{
    struct yard *yard = yard_of(s);
    if (!yard->coming_ms)
        yard->coming_ms = yard->now_ms + in_ms;
}

void world_kill(struct engine *engine, const char *why)
{
    if (yard_log)
        fprintf(yard_log, "k %u\n", engine->id);
    order_replacement(engine);
    engine_dismiss(engine, why, 0);
}

void world_reply(struct client *client, const struct pc_msg *to, pc_json *json)
{
    char *text = yard_log ? pc_json_print(json) : NULL;
    if (text)
        fprintf(yard_log, "q %s\n", text);
    free(text);
    pc_json_free(json);
}

void world_window(struct client *client, pc_json *json)
{
    pc_json_free(json);
}

void world_result(struct client *client, struct pc_msg *msg)
{
    struct ear *ear = (struct ear *)client->peer;
    struct told *told = pc_xcalloc(1, sizeof(*told)), *same;
    told->sequence = msg->head.sequence;
    HASH_FIND(hh, ear->told, &told->sequence, sizeof(told->sequence), same);
    assert_null(same); /* a task ends once */
    snprintf(told->what, sizeof(told->what), "%s", msg->body[0] == PC_STATUS_OK ? "ok" : "error");
    if (msg->body[0] == PC_STATUS_FAILED) {
        pc_json *json = pc_json_parse(msg->parts[0].data, msg->parts[0].size, NULL);
        snprintf(told->what, sizeof(told->what), "%s", pc_json_str_or(json, "ename", "?"));
        pc_json_free(json);
    }
    if (yard_log)
        fprintf(yard_log, "e %llu %llu %s\n", (unsigned long long)client->session,
                (unsigned long long)told->sequence, told->what);
    HASH_ADD(hh, ear->told, sequence, sizeof(told->sequence), told);
    pc_msg_unref(msg);
}

void records_init(struct sched *s)
{
}

void records_flush(struct sched *s)
{
}

void records_submitted(struct sched *s, const struct task *task, const struct pc_submit_body *body)
{
}

void records_started(struct sched *s, struct task *task)
{
}

void records_engine_gone(struct engine *engine)
{
}

void records_unread(struct sched *s, struct task *task)
{
}

void records_output(struct sched *s, struct pc_msg *output)
{
}

void records_ended(struct sched *s, const struct task *task, struct pc_msg *result, bool must_keep)
{
}

/* ---- the yard --------------------------------------------------------------------------- */

void yard_open(struct yard *yard, const char *scheme, unsigned hwm)
{
    struct sched *s = &yard->sched;
    memset(yard, 0, sizeof(*yard));
    assert_int_equal(uv_loop_init(&s->loop), 0);
    s->parent.is_closing = true; /* it gets nothing, and there is no hub */
    s->policy = policy_find(scheme);
    s->hwm = hwm;
    s->seed = 1;
    s->window_count = SCHED_WINDOW_COUNT;
    s->window_bytes = SCHED_WINDOW_BYTES;
    s->heartbeat_ms = YARD_HEARTBEAT_MS;
    memset(s->home.uuid, HOME, sizeof(s->home.uuid));
    DL_APPEND(s->homes, &s->home);
    yard->took_us = 1000000;
    yard->now_ms = 1;
    yard->beat_ms = YARD_HEARTBEAT_MS;
    groups_init(s);
    timeouts_init(s);
}

struct client *yard_client(struct yard *yard, uint64_t session)
{
    struct client *client = pc_xcalloc(1, sizeof(*client));
    struct ear *ear = pc_xcalloc(1, sizeof(*ear));
    ear->peer.conn.is_closing = true; /* what is no decision is not sent */
    client->session = session;
    client->peer = &ear->peer;
    client->window.told_count = yard->sched.window_count;
    client->window.told_bytes = yard->sched.window_bytes;
    HASH_ADD(hh, yard->sched.clients, session, sizeof(client->session), client);
    return client;
}

/* ---- engines ---------------------------------------------------------------------------- */

/* With a connection that nothing goes through. */
static struct peer *new_lane(struct yard *yard)
{
    struct peer *peer = pc_xcalloc(1, sizeof(*peer));
    peer->sched = &yard->sched;
    peer->conn.owner = peer;
    peer->conn.is_closing = true;
    return peer;
}

static void put_uuid(pc_json *json, uint32_t id)
{
    char uuid[2 * SCHED_UUID_SIZE + 1];
    snprintf(uuid, sizeof(uuid), "%032x", id);
    pc_json_put_str(json, "uuid", uuid);
}

struct engine *yard_engine(struct yard *yard)
{
    return yard_tagged_engine(yard, "");
}

/* It registers, and the hub answers. */
struct engine *yard_tagged_engine(struct yard *yard, const char *tags)
{
    struct sched *s = &yard->sched;
    struct puppet *puppet = pc_xcalloc(1, sizeof(*puppet));
    char home[2 * SCHED_UUID_SIZE + 1];
    pc_hex_encode(s->home.uuid, sizeof(s->home.uuid), home);
    puppet->id = yard->next_id++;
    puppet->control = new_lane(yard);
    puppet->work = new_lane(yard);
    HASH_ADD(hh, yard->puppets, id, sizeof(puppet->id), puppet);
    pc_json *hello = pc_json_object(), *answer = pc_json_object();
    put_uuid(hello, puppet->id);
    put_uuid(answer, puppet->id);
    pc_json_put_i64(answer, "id", puppet->id);
    pc_json_put_i64(hello, "pid", 1000 + puppet->id);
    pc_json_put_str(hello, "tags", tags);
    pc_json_put_str(hello, "home", home);
    engine_hello_control(s, puppet->control, hello);
    struct pc_msg *msg = pc_json_msg(PC_MSG_ENGINE_ID, answer);
    engine_got_id(s, msg);
    pc_msg_unref(msg);
    struct engine *engine = engine_find(s, puppet->id);
    token_put(s, TOKEN_ENGINE, engine->uuid, sizeof(engine->uuid), hello);
    engine_hello_work(s, puppet->work, hello);
    pc_json_free(hello);
    assert_int_equal(engine->state, ENGINE_UP);
    return engine;
}

void yard_break(struct yard *yard, uint32_t id, const char *why)
{
    struct puppet *puppet = puppet_of(yard, id);
    peer_detach(puppet->work, why);
    peer_detach(puppet->control, why);
}

void yard_report(struct yard *yard, uint32_t id, bool is_replaced)
{
    yard_report_begun(yard, id, is_replaced, 1);
}

/* The number of the last of so many tasks of this engine. */
static uint32_t last_of(const struct engine *engine, uint32_t count)
{
    uint32_t number = engine->runs;
    const struct task *task;
    DL_FOREACH (engine->running, task) {
        if (count-- == 0)
            return task->run - 1;
        number = task->run;
    }
    return number;
}

void yard_report_begun(struct yard *yard, uint32_t id, bool is_replaced, uint32_t begun)
{
    pc_json *report = pc_json_object();
    if (begun != YARD_UNKNOWN)
        pc_json_put_i64(report, "begun", last_of(engine_find(&yard->sched, id), begun));
    put_uuid(report, id);
    pc_json_put_i64(report, "signal", 9);
    pc_json_put_bool(report, "replaced", is_replaced);
    struct pc_msg *msg = pc_json_msg(PC_MSG_EXITED, report);
    engine_exited(&yard->sched, msg, &yard->sched.home);
    pc_msg_unref(msg);
}

static void finish(struct yard *yard, uint32_t id)
{
    engine_finish(engine_find(&yard->sched, id));
    uv_run(&yard->sched.loop, UV_RUN_NOWAIT); /* frees it */
}

void yard_lose(struct yard *yard, uint32_t id, const char *why)
{
    yard_break(yard, id, why);
    finish(yard, id);
}

void yard_exit(struct yard *yard, uint32_t id)
{
    yard_report(yard, id, false);
    finish(yard, id);
}

bool yard_has_known(struct yard *yard, uint32_t id)
{
    return puppet_of(yard, id) != NULL;
}

bool yard_is_stopped(struct yard *yard, uint32_t id)
{
    return puppet_of(yard, id)->is_stopped;
}

void yard_stop(struct yard *yard, uint32_t id, bool is_stopped)
{
    puppet_of(yard, id)->is_stopped = is_stopped;
}

uint64_t yard_running(struct yard *yard, uint32_t id)
{
    struct engine *engine = engine_find(&yard->sched, id);
    return engine->running ? engine->running->key.sequence : 0;
}

size_t yard_load(struct yard *yard, uint32_t id)
{
    return engine_find(&yard->sched, id)->load.tasks;
}

bool yard_try_submit(struct yard *yard, struct client *client, uint64_t sequence,
                     const struct pc_submit_body *body)
{
    struct pc_buf buf;
    struct pc_err err;
    pc_buf_init(&buf, 0);
    assert_int_equal(pc_submit_encode(&buf, body), 0);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_SUBMIT, buf.data, buf.size);
    msg->head.session = client->session;
    msg->head.sequence = sequence;
    int failed = client_submit(&yard->sched, client, msg, &err);
    pc_msg_unref(msg);
    pc_buf_fini(&buf);
    return !failed;
}

void yard_submit(struct yard *yard, struct client *client, uint64_t sequence,
                 const struct pc_submit_body *body)
{
    assert_true(yard_try_submit(yard, client, sequence, body));
}

static struct pc_msg *new_result(const struct yard *yard, uint64_t session, uint64_t sequence,
                                 uint8_t status)
{
    struct pc_result_body body = {.status = status & 0x0f,
                                  .flags = status >> 4,
                                  .started_us = 1,
                                  .completed_us = 1 + yard->took_us};
    uint8_t bytes[PC_RESULT_BODY_SIZE];
    pc_result_encode(bytes, &body);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RESULT, bytes, sizeof(bytes));
    msg->head.session = session;
    msg->head.sequence = sequence;
    return msg;
}

void yard_answer(struct yard *yard, uint32_t id, uint8_t status)
{
    struct engine *engine = engine_find(&yard->sched, id);
    struct pc_err err;
    assert_non_null(engine->running);
    struct pc_msg *msg =
        new_result(yard, engine->running->key.session, engine->running->key.sequence, status);
    if (task_result(engine, msg, &err))
        fail_msg("%s", err.text);
    pc_msg_unref(msg);
}

void yard_answer_late(struct yard *yard, uint32_t id, uint64_t session, uint64_t sequence)
{
    struct peer *lane = puppet_of(yard, id)->work;
    peer_events.on_message(&lane->conn, new_result(yard, session, sequence, PC_STATUS_OK));
}

/* ---- time ------------------------------------------------------------------------------- */

/* The one that is to be finished first, unless it was already. */
static struct puppet *next_to_finish(struct yard *yard)
{
    struct puppet *first = NULL;
    for (struct puppet *puppet = yard->puppets; puppet; puppet = puppet->hh.next)
        if (puppet->end_ms && engine_find(&yard->sched, puppet->id) &&
            (!first || puppet->end_ms < first->end_ms))
            first = puppet;
    return first;
}

static void finish_due(struct yard *yard)
{
    finish(yard, next_to_finish(yard)->id);
}

/* Who is not stopped has answered the last PING. */
static void beat(struct yard *yard)
{
    struct engine *engine, *next;
    HASH_ITER (hh_id, yard->sched.engines_by_id, engine, next)
        if (!puppet_of(yard, engine->id)->is_stopped)
            engine->heard_ms = yard->now_ms;
    yard->beat_ms += YARD_HEARTBEAT_MS;
    engines_beat(&yard->sched);
    uv_run(&yard->sched.loop, UV_RUN_NOWAIT);
}

static void expire(struct yard *yard)
{
    yard->wake_ms = 0;
    timeouts_expire(&yard->sched);
}

static void check_coming(struct yard *yard)
{
    yard->coming_ms = 0;
    coming_check(&yard->sched);
}

static void look(struct yard *yard)
{
    yard->look_ms = 0;
    ahead_check(&yard->sched);
}

/* The first thing that is due until then happens, and it is noted when and what. */
static bool pass_one(struct yard *yard, int64_t until_ms)
{
    const struct puppet *puppet = next_to_finish(yard);
    const struct {
        int64_t at_ms;
        const char *what;
        void (*run)(struct yard *yard);
    } due[] = {
        {puppet ? puppet->end_ms : 0, "end", finish_due},
        {yard->wake_ms, "deadline", expire},
        {yard->look_ms, "look", look},
        {yard->coming_ms, "coming", check_coming},
        {yard->beat_ms, "beat", beat},
    };
    size_t first = 0;
    for (size_t i = 1; i < sizeof(due) / sizeof(due[0]); i++)
        if (due[i].at_ms && (!due[first].at_ms || due[i].at_ms < due[first].at_ms))
            first = i;
    if (due[first].at_ms > until_ms)
        return false;
    if (due[first].at_ms > yard->now_ms)
        yard->now_ms = due[first].at_ms;
    if (yard_log)
        fprintf(yard_log, "t %lld %s\n", (long long)yard->now_ms, due[first].what);
    due[first].run(yard);
    return true;
}

void yard_pass(struct yard *yard, int64_t ms)
{
    int64_t until_ms = yard->now_ms + ms;
    while (pass_one(yard, until_ms))
        ;
    yard->now_ms = until_ms;
}

void yard_recalled(struct yard *yard, uint32_t id, uint32_t begun)
{
    struct engine *engine = engine_find(&yard->sched, id);
    struct pc_recall_body body = {.first = engine->recalled + begun, .last = engine->runs};
    uint8_t bytes[PC_RECALL_SIZE];
    struct pc_err err;
    pc_recall_encode(bytes, &body);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECALL, bytes, sizeof(bytes));
    if (ahead_recalled(engine, msg, &err))
        fail_msg("%s", err.text);
    pc_msg_unref(msg);
}

static void abort_some(struct yard *yard, struct client *client, uint32_t engine_id,
                       const struct pc_abort_body *body)
{
    struct pc_buf buf;
    struct pc_err err;
    pc_buf_init(&buf, 0);
    pc_abort_encode(&buf, body);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_ABORT, buf.data, buf.size);
    msg->head.engine_id = engine_id;
    if (client_abort(&yard->sched, client, msg, &err))
        fail_msg("%s", err.text);
    pc_msg_unref(msg);
    pc_buf_fini(&buf);
}

void yard_abort(struct yard *yard, struct client *client, uint64_t sequence, uint8_t flags)
{
    uint8_t pair[PC_ACK_SIZE];
    pc_store_u64(pair, client->session);
    pc_store_u64(pair + 8, sequence);
    abort_some(yard, client, PC_NO_ENGINE,
               &(struct pc_abort_body){.flags = flags, .count = 1, .tasks = pair});
}

void yard_interrupt(struct yard *yard, struct client *client, uint32_t id)
{
    abort_some(yard, client, id, &(struct pc_abort_body){.flags = PC_ABORT_INTERRUPT});
}

void yard_query(struct yard *yard, struct client *client, const char *json)
{
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_QUERY, json, strlen(json));
    struct pc_err err;
    if (client_query(&yard->sched, client, msg, &err))
        fail_msg("%s", err.text);
    pc_msg_unref(msg);
}

const char *yard_outcome(const struct client *client, uint64_t sequence)
{
    struct ear *ear = (struct ear *)client->peer;
    struct told *told;
    HASH_FIND(hh, ear->told, &sequence, sizeof(sequence), told);
    return told ? told->what : NULL;
}

void yard_close(struct yard *yard)
{
    struct sched *s = &yard->sched;
    struct client *client, *next;
    struct told *told, *next_told;
    struct puppet *puppet, *next_puppet;
    s->is_stopping = true;
    engines_drop(s);
    tasks_drop(s);
    HASH_ITER (hh, s->clients, client, next) {
        struct ear *ear = (struct ear *)client->peer;
        assert_null(client->tasks);
        HASH_ITER (hh, ear->told, told, next_told) {
            HASH_DEL(ear->told, told);
            free(told);
        }
        HASH_DEL(s->clients, client);
        free(ear);
        free(client);
    }
    assert_int_equal(s->tasks.count, 0);
    assert_int_equal(s->ready_count, 0);
    groups_fini(s);
    timeouts_fini(s);
    past_fini(s);
    tagsets_fini(s);
    ledger_fini(s);
    coming_fini(s);
    HASH_ITER (hh, yard->puppets, puppet, next_puppet) {
        HASH_DEL(yard->puppets, puppet);
        free(puppet->control);
        free(puppet->work);
        free(puppet);
    }
    uv_run(&s->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
}
