/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scheduler that was started again in place of one that was killed.
 *
 * The hub names the engines and the clients that there were. They come back by themselves: an
 * engine with the results that nobody has acknowledged and the task that it runs (HELD), a client
 * with what it has submitted and not heard of (RESUMED). What both speak of goes on. What no engine
 * knows has not begun, and is placed when the last engine has reported: not before, or it could
 * run twice. If one of them is gone for good, nobody knows what it had begun: then only those run
 * that may be tried again. See doc/decisions/0010.
 */
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "sched/state.h"

/* More results than an engine may keep. */
#define RESULTS_MAX (PC_RESULT_WINDOW / 256)

/* A result that an engine keeps, of a task that its client has not spoken of. Owned by
 * sched.claims. */
struct claim {
    struct task_key key;
    UT_hash_handle hh;
    struct engine *engine; /* NULL: gone */
    struct pc_msg *result;
};

static struct claim *claim_find(struct sched *s, const struct task_key *key)
{
    struct claim *claim;
    HASH_FIND(hh, s->claims, key, sizeof(*key), claim);
    return claim;
}

static void claim_free(struct sched *s, struct claim *claim)
{
    HASH_DEL(s->claims, claim);
    pc_msg_unref(claim->result);
    free(claim);
}

void again_fini(struct sched *s)
{
    struct claim *claim, *next;
    HASH_ITER (hh, s->claims, claim, next)
        claim_free(s, claim);
}

/* ---- what the hub knows ------------------------------------------------------------------ */

/* Clients come back within the grace time, like those that were cut off. */
static void inherit_client(struct sched *s, uint64_t session)
{
    struct client *client = client_of_past(s, session);
    if (client_is_there(client))
        return;
    client->is_returning = true;
    away_begin_client(s, client);
}

void again_ask(struct sched *s)
{
    if (!s->is_successor || s->has_heritage)
        return;
    pc_json *query = pc_json_object();
    pc_json_put_str(query, "query", "heritage");
    ledger_ask(s, pc_json_msg(PC_MSG_QUERY, query));
}

static void begin(struct sched *s, const pc_json *heritage)
{
    struct pc_err err;
    uint64_t session;
    const pc_json *rows = pc_json_member(heritage, "up");
    const pc_json *sessions = pc_json_member(heritage, "sessions");
    const pc_json *left = pc_json_member(heritage, "left");
    s->has_heritage = true;
    queue_hold(s);
    s->is_again = true;
    for (const pc_json *row = rows ? pc_json_first(rows) : NULL; row; row = pc_json_next(row))
        s->unreported += engine_inherit(s, row);
    for (const pc_json *row = sessions ? pc_json_first(sessions) : NULL; row;
         row = pc_json_next(row))
        if (pc_json_get_u64(row, "session", &session, &err) == 0)
            inherit_client(s, session);
    for (const pc_json *row = left ? pc_json_first(left) : NULL; row; row = pc_json_next(row))
        if (pc_json_get_u64(row, "session", &session, &err) == 0)
            client_of_past(s, session)->has_left = true;
    pc_info("in place of a scheduler that is gone: waiting for %u engines and %u clients",
            s->unreported, HASH_COUNT(s->clients));
    again_check(s);
}

bool again_answered(struct sched *s, const struct pc_msg *reply)
{
    bool is_wanted = s->is_successor && !s->has_heritage && !reply->head.session &&
                     reply->head.type == PC_MSG_REPLY;
    pc_json *json = is_wanted ? pc_json_of_msg(reply, NULL) : NULL;
    bool is_heritage = json && pc_json_member(json, "sessions");
    if (is_heritage)
        begin(s, json);
    pc_json_free(json);
    return is_heritage;
}

void again_settle(struct sched *s, uint64_t session)
{
    if (!s->is_successor)
        return;
    pc_json *query = pc_json_object();
    pc_json_put_str(query, "query", "settle");
    if (session)
        pc_json_put_u64(query, "session", session);
    records_flush(s);
    ledger_ask(s, pc_json_msg(PC_MSG_QUERY, query));
}

void again_settled(struct sched *s, const pc_json *reply)
{
    uint64_t session;
    if (pc_json_bool_or(reply, "more", false) &&
        pc_json_get_u64(reply, "session", &session, NULL) == 0)
        again_settle(s, session);
}

/* ---- giving a task back to its engine ----------------------------------------------------- */

/* Out of where it waits. */
static void take_out(struct sched *s, struct task *task)
{
    if (task->lane)
        group_dequeue(task);
    else if (task->state == TASK_READY && task->engine)
        DL_DELETE(task->engine->queue, task);
    deps_forget(task);
    place_unwatch(s, task);
    timeouts_clear(s, task);
    task->is_held = false;
    if (task->state == TASK_WAITING)
        task_set_state(task, TASK_READY);
}

/* The engine has it, so that it is RUNNING there; `engine` NULL: it had. */
static void attach(struct sched *s, struct task *task, struct engine *engine)
{
    take_out(s, task);
    task->engine = engine;
    task_set_state(task, TASK_ASSIGNED);
    if (engine)
        queue_attach(engine, task);
    else
        task_set_state(task, TASK_RUNNING);
}

static int take_result(struct sched *s, struct task *task, struct engine *engine,
                       struct pc_msg *result, struct pc_err *err)
{
    attach(s, task, engine);
    if (engine)
        return task_result(engine, result, err);
    task_deliver(s, task, pc_msg_ref(result));
    return 0;
}

static void settle_claim(struct sched *s, struct claim *claim, struct task *task)
{
    struct pc_err err;
    if (take_result(s, task, claim->engine, claim->result, &err))
        pc_fatal(1, "a result can't be read twice: %s", err.text);
    claim_free(s, claim);
}

bool again_is_claimed(struct sched *s, const struct task_key *key)
{
    return s->claims && claim_find(s, key);
}

void again_claim(struct sched *s, struct task *task)
{
    settle_claim(s, claim_find(s, &task->key), task);
}

static struct client *owner_of(struct sched *s, uint64_t session)
{
    struct client *client = client_of_past(s, session);
    if (!client_is_there(client) && !client->tasks && !client->has_left)
        inherit_client(s, session); /* so young that the hub had not heard of it */
    return client;
}

/* ---- engines report ----------------------------------------------------------------------- */

int again_result(struct engine *engine, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = engine->sched;
    struct pc_result_body body;
    struct task_key key = {msg->head.session, msg->head.sequence};
    if (pc_result_decode(msg, &body, err))
        return -1;
    if (claim_find(s, &key) || engine->offered >= RESULTS_MAX)
        return pc_err_set(err, PC_E_PROTOCOL, "it offers too many results, or one twice");
    engine->offered++;
    struct task *task = task_find(s, key.session, key.sequence);
    if (task && task_is_over(task)) {
        engine_acknowledge(engine, &key, msg->parts_bytes);
        return 0;
    }
    if (task && task->state >= TASK_ASSIGNED)
        return pc_err_set(err, PC_E_PROTOCOL, "it offers a result of another engine's task");
    struct client *client = owner_of(s, key.session);
    if (!task && !client->is_returning)
        task = task_new_unknown(s, client, key.sequence);
    if (task)
        return take_result(s, task, engine, msg, err);
    struct claim *claim = pc_xcalloc(1, sizeof(*claim));
    claim->key = key;
    claim->engine = engine;
    claim->result = pc_msg_ref(msg);
    HASH_ADD(hh, s->claims, key, sizeof(claim->key), claim);
    return 0;
}

int again_held(struct engine *engine, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = engine->sched;
    struct pc_held_body body;
    if (pc_held_decode(msg, &body, err))
        return -1;
    if (!engine->is_unreported)
        return pc_err_set(err, PC_E_PROTOCOL, "HELD of an engine that was not asked");
    engine->runs = body.begun;
    if (body.count) {
        struct task *task = task_find(s, body.session, body.sequence);
        if (task && task->state >= TASK_ASSIGNED && !task_is_over(task))
            return pc_err_set(err, PC_E_PROTOCOL, "HELD names another engine's task");
        if (!task || task_is_over(task)) /* over: it was ended meanwhile, and what comes is late */
            task = task ? NULL : task_new_unknown(s, owner_of(s, body.session), body.sequence);
        if (task)
            attach(s, task, engine);
    }
    again_reported(engine);
    return 0;
}

void again_reported(struct engine *engine)
{
    struct sched *s = engine->sched;
    engine->is_unreported = false;
    away_end(s, &engine->away);
    pc_debug("engine %u has reported", engine->id);
    s->unreported--;
    again_check(s);
    queue_advance(engine);
}

void again_engine_gone(struct engine *engine)
{
    struct sched *s = engine->sched;
    struct claim *claim, *next;
    if (!s->is_successor)
        return;
    HASH_ITER (hh, s->claims, claim, next)
        if (claim->engine == engine)
            claim->engine = NULL;
    if (!engine->is_unreported)
        return;
    engine->is_unreported = false;
    s->lost_unreported++;
    s->unreported--;
    again_check(s);
}

/* ---- clients come back -------------------------------------------------------------------- */

/* It does not wait for this result, or has left: the hub gets it all the same. */
static void settle_rest(struct sched *s, struct client *client)
{
    struct claim *claim, *next;
    HASH_ITER (hh, s->claims, claim, next)
        if (claim->key.session == client->session)
            settle_claim(s, claim, task_new_unknown(s, client, claim->key.sequence));
}

void again_client_lost(struct sched *s, struct client *client)
{
    if (!client->is_returning)
        return;
    client->is_returning = false;
    settle_rest(s, client);
    again_settle(s, client->session);
}

bool again_defers(const struct task *task)
{
    return !task->request && task->client->is_returning;
}

void again_defer(struct task *task, struct pc_msg *result)
{
    struct engine *engine = task->engine;
    struct sched *s = engine->sched;
    struct claim *claim = pc_xcalloc(1, sizeof(*claim));
    claim->key = task->key;
    claim->engine = engine;
    claim->result = pc_msg_ref(result);
    queue_finished(task);
    task_forget(s, task);
    HASH_ADD(hh, s->claims, key, sizeof(claim->key), claim);
}

/* Nobody can run it, unless an engine does already. */
static void take_lost(struct sched *s, struct client *client, uint64_t sequence)
{
    struct task_key key = {client->session, sequence};
    if (!task_find(s, key.session, key.sequence) && !claim_find(s, &key))
        task_new_unknown(s, client, sequence);
}

/* ---- all have reported -------------------------------------------------------------------- */

/* Of those that wait for an engine now. */
static void doubt(struct sched *s, struct task *task)
{
    if (!task->is_repeated || !task->is_balanced || task->state != TASK_READY || s->is_again)
        return;
    task->is_repeated = false;
    if (!s->lost_unreported)
        return;
    if (task->more && task->more->retries > 0) {
        task->more->retries--;
        return;
    }
    take_out(s, task);
    task_fail(s, task, "EngineError",
              "the scheduler and an engine were lost at the same time: whether the task had begun "
              "there is not known, and it has no retries left to run again");
}

/* Of which nothing but the name has come, and no engine has it. */
static void end_if_lost(struct sched *s, struct task *task)
{
    if (task->request || task->state != TASK_WAITING)
        return;
    take_out(s, task);
    task_fail(s, task, "ConnectionLost",
              "the scheduler was started again; the call had not begun, and is too large to be "
              "kept by its client: submit it again");
}

void again_place(struct sched *s, struct task *task, const struct pc_submit_body *body)
{
    if (!task->is_repeated) {
        client_place(s, task, body);
        return;
    }
    queue_hold(s); /* that it is not given to an engine at once */
    client_place(s, task, body);
    doubt(s, task);
    queue_release(s);
}

static void settle_client(struct sched *s, struct client *client)
{
    struct task *task, *next;
    DL_FOREACH_SAFE2 (client->tasks, task, next, client_next) {
        end_if_lost(s, task);
        doubt(s, task);
    }
    if (client->has_returned)
        again_settle(s, client->session);
    client->has_left = false;
    client_check(s, client);
}

void again_check(struct sched *s)
{
    struct client *client, *next;
    if (s->unreported || !s->is_again)
        return;
    s->is_again = false;
    if (s->lost_unreported)
        pc_warn("%u engines were lost with the scheduler: tasks that may have begun there are "
                "not begun again, unless they have retries",
                s->lost_unreported);
    HASH_ITER (hh, s->clients, client, next)
        settle_client(s, client);
    durable_ask(s);
    queue_release(s);
}

int again_resumed(struct sched *s, struct client *client, const struct pc_msg *msg,
                  struct pc_err *err)
{
    struct pc_resumed_body body;
    if (pc_resumed_decode(msg, &body, err))
        return -1;
    if (!client->is_returning)
        return pc_err_set(err, PC_E_PROTOCOL, "RESUMED of a client that was not asked");
    for (uint32_t i = 0; i < body.count; i++)
        take_lost(s, client, pc_load_u64(body.sequences + 8 * (size_t)i));
    if (!body.is_last)
        return 0;
    client->is_returning = false;
    client->has_returned = true;
    settle_rest(s, client);
    if (!s->is_again)
        settle_client(s, client);
    return 0;
}
