/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Engines: how they register, and how they come back after their connection broke.
 *
 *   ASKING --hub gave an id--> HALF --work lane--> UP --it ended, see death.c--> LOST --> freed
 *
 * One whose lanes break while it is UP is away, and gets nothing: it may come back, see away.c.
 */
#include <string.h>

#include <utlist.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "sched/state.h"

#define HOST_MAX   255
#define PYTHON_MAX 15

struct engine *engine_find(struct sched *s, uint32_t id)
{
    struct engine *engine;
    HASH_FIND(hh_id, s->engines_by_id, &id, sizeof(id), engine);
    return engine;
}

struct engine *engine_named(struct sched *s, const pc_json *json)
{
    uint8_t uuid[SCHED_UUID_SIZE];
    struct engine *engine = NULL;
    if (pc_hex_decode(pc_json_str_or(json, "uuid", ""), uuid, sizeof(uuid)) == 0)
        HASH_FIND(hh_uuid, s->engines_by_uuid, uuid, sizeof(uuid), engine);
    return engine;
}

static void set_sender(struct peer *peer, enum pc_sender sender, struct engine *engine)
{
    peer->sender = sender;
    peer->conn.sock.wire.senders = sender;
    peer->engine = engine;
}

/* What an engine says of itself goes to the hub, to clients and into texts: it must be fit for
 * that. */
static bool is_presentable(const pc_json *hello)
{
    int64_t pid = pc_json_i64_or(hello, "pid", 0);
    const char *tags = pc_json_str_or(hello, "tags", "");
    return pid > 0 && pid <= INT32_MAX && strlen(pc_json_str_or(hello, "host", "")) <= HOST_MAX &&
           strlen(pc_json_str_or(hello, "python", "")) <= PYTHON_MAX &&
           pc_tags_are_valid(tags, strlen(tags));
}

static void take_home(struct engine *engine, const pc_json *hello)
{
    if (pc_hex_decode(pc_json_str_or(hello, "home", ""), engine->home, sizeof(engine->home)))
        memset(engine->home, 0, sizeof(engine->home));
}

/* Without id and state; `about` says what it is, with its uuid. */
static struct engine *engine_new(struct sched *s, const uint8_t uuid[SCHED_UUID_SIZE],
                                 const pc_json *about)
{
    struct engine *engine = pc_xcalloc(1, sizeof(*engine));
    engine->sched = s;
    engine->id = PC_NO_ENGINE;
    engine->heard_ms = world_now_ms(s);
    engine->work_line.is_told_apart = true;
    memcpy(engine->uuid, uuid, sizeof(engine->uuid));
    snprintf(engine->tags, sizeof(engine->tags), "%s", pc_json_str_or(about, "tags", ""));
    pc_buf_init(&engine->acks, 0);
    uv_timer_init(&s->loop, &engine->exit_timer);
    engine->exit_timer.data = engine;
    engine->about = pc_json_object();
    pc_json_put_i64(engine->about, "pid", pc_json_i64_or(about, "pid", 0));
    pc_json_put_str(engine->about, "host", pc_json_str_or(about, "host", ""));
    pc_json_put_str(engine->about, "python", pc_json_str_or(about, "python", ""));
    pc_json_put_str(engine->about, "uuid", pc_json_str_or(about, "uuid", ""));
    pc_json_put_str(engine->about, "tags", engine->tags);
    HASH_ADD(hh_uuid, s->engines_by_uuid, uuid, sizeof(engine->uuid), engine);
    return engine;
}

static void set_id(struct engine *engine, uint32_t id)
{
    engine->id = id;
    pc_json_put_i64(engine->about, "id", id);
    HASH_ADD(hh_id, engine->sched->engines_by_id, id, sizeof(engine->id), engine);
}

bool engine_inherit(struct sched *s, const pc_json *about)
{
    uint8_t uuid[SCHED_UUID_SIZE];
    struct pc_err err;
    uint32_t id;
    if (!is_presentable(about) || pc_json_get_u32(about, "id", &id, &err) || engine_find(s, id) ||
        engine_named(s, about) ||
        pc_hex_decode(pc_json_str_or(about, "uuid", ""), uuid, sizeof(uuid)))
        return false;
    struct engine *engine = engine_new(s, uuid, about);
    set_id(engine, id);
    engine->state = ENGINE_UP;
    engine->is_unreported = true;
    away_engine(engine);
    queue_engine_up(engine);
    return true;
}

/* ---- coming back ------------------------------------------------------------------------ */

static void detach_lane(struct peer *peer)
{
    if (!peer)
        return;
    peer->engine = NULL;
    peer->conn.sock.wire.lifeline = NULL;
    pc_conn_end(&peer->conn);
}

void engine_detach(struct engine *engine)
{
    detach_lane(engine->control);
    detach_lane(engine->work);
    engine->control = engine->work = NULL;
}

/* One lane without the other is of no use: both come back. */
bool engine_cut(struct engine *engine)
{
    if (engine->state != ENGINE_UP)
        return false;
    if (!engine->is_unreported && home_has_left(engine)) { /* else its home may not be back */
        engine_set_left(engine);
        return false;
    }
    away_engine(engine);
    if (engine->work) /* if it was its end, that had been sent before */
        pc_conn_read_rest(&engine->work->conn);
    engine_detach(engine);
    if (engine->state == ENGINE_UP) /* else what it had sent ended it */
        queue_engine_away(engine);
    return true;
}

/* The engine that a HELLO means that goes on with one of its lanes; NULL: it was refused. */
static struct engine *returning(struct sched *s, struct peer *peer, const pc_json *hello)
{
    struct engine *engine = engine_named(s, hello);
    if (engine && engine->state == ENGINE_UP && s->grace_ms &&
        token_is_right(s, TOKEN_ENGINE, engine->uuid, sizeof(engine->uuid), hello))
        return engine;
    hello_refuse(peer, "session", "a lane of an engine that was given up, or never was there");
    return NULL;
}

/* It has to be told that this is another scheduler, until something came of it that it knows. */
static bool is_new_to(const struct engine *engine)
{
    return engine->is_unreported && engine->work_line.received == 0;
}

static void resume_lane(struct engine *engine, struct peer **lane, struct peer *peer,
                        struct pc_lifeline *lifeline, const pc_json *hello, enum pc_sender sender)
{
    struct pc_err err;
    uint64_t received;
    bool is_new = is_new_to(engine);
    if (is_new && (lifeline->received || lifeline->arrived))
        pc_lifeline_restart(lifeline); /* it had begun to go on, and broke off */
    if (is_new)
        ;
    else if (pc_json_get_u64(hello, "received", &received, &err) ||
             pc_lifeline_resume(lifeline, received, &err)) {
        hello_refuse(peer, "session", err.text);
        return;
    }
    *lane = peer;
    set_sender(peer, sender, engine);
    pc_json *welcome = pc_json_object();
    pc_json_put_i64(welcome, "engine_id", engine->id);
    pc_json_put_u64(welcome, "received", lifeline->received);
    pc_json_put_bool(welcome, "new", is_new);
    pc_conn_send(&peer->conn, pc_json_msg(PC_MSG_WELCOME, welcome));
    peer->conn.sock.wire.lifeline = lifeline;
    if (pc_wire_resume(&peer->conn.sock.wire))
        pc_fatal(1, "out of memory");
}

static void resume_control(struct sched *s, struct peer *peer, const pc_json *hello)
{
    struct engine *engine = returning(s, peer, hello);
    if (!engine)
        return;
    engine_cut(engine); /* the engine knows better that what there is is of no use */
    if (engine->is_unreported)
        take_home(engine, hello);
    engine->heard_ms = world_now_ms(s);
    resume_lane(engine, &engine->control, peer, &engine->control_line, hello, PC_FROM_CONTROL);
}

static void resume_work(struct sched *s, struct peer *peer, const pc_json *hello)
{
    struct engine *engine = returning(s, peer, hello);
    if (engine && (!engine->away.is_away || !engine->control || engine->work)) {
        /* The control lane that came before may just have broken: it tries both again. */
        hello_refuse(peer, "busy", "a work lane without the control lane before it");
        return;
    }
    if (engine)
        resume_lane(engine, &engine->work, peer, &engine->work_line, hello, PC_FROM_WORK);
    if (!engine || engine->work != peer)
        return;
    if (engine->is_unreported) { /* it is back when it has said what it has */
        engine->heard_ms = world_now_ms(s);
        return;
    }
    away_end(s, &engine->away);
    engine->heard_ms = world_now_ms(s);
    pc_debug("engine %u is back ('%s')", engine->id, peer->name);
    queue_advance(engine);
}

/* ---- registering ------------------------------------------------------------------------ */

static void welcome_control(struct engine *engine)
{
    struct sched *s = engine->sched;
    pc_json *welcome = pc_json_object();
    pc_json_put_i64(welcome, "engine_id", engine->id);
    token_put(s, TOKEN_ENGINE, engine->uuid, sizeof(engine->uuid), welcome);
    pc_json_put_i64(welcome, "heartbeat_ms", s->heartbeat_ms);
    pc_json_put_i64(welcome, "grace_ms", s->grace_ms);
    pc_conn_send(&engine->control->conn, pc_json_msg(PC_MSG_WELCOME, welcome));
    if (s->grace_ms)
        engine->control->conn.sock.wire.lifeline = &engine->control_line;
}

void engine_hello_control(struct sched *s, struct peer *peer, const pc_json *hello)
{
    uint8_t uuid[SCHED_UUID_SIZE];
    if (pc_json_member(hello, "received")) {
        resume_control(s, peer, hello);
        return;
    }
    if (!is_presentable(hello)) {
        hello_refuse(peer, "protocol",
                     "HELLO of an engine without a valid pid, host, python or tags");
        return;
    }
    if (pc_hex_decode(pc_json_str_or(hello, "uuid", ""), uuid, sizeof(uuid))) {
        hello_refuse(peer, "protocol", "HELLO of an engine without a valid uuid");
        return;
    }
    struct engine *known = engine_named(s, hello);
    if (known && is_new_to(known) && !known->control) {
        /* It was only registering when the earlier scheduler died: it has nothing to report. */
        known->control = peer;
        set_sender(peer, PC_FROM_CONTROL, known);
        take_home(known, hello);
        welcome_control(known);
        return;
    }
    if (known) {
        hello_refuse(peer, "protocol", "an engine with this uuid is registered already");
        return;
    }
    struct engine *engine = engine_new(s, uuid, hello);
    engine->state = ENGINE_ASKING;
    engine->control = peer;
    take_home(engine, hello);
    set_sender(peer, PC_FROM_CONTROL, engine);
    ledger_tell(s, pc_json_msg(PC_MSG_ENGINE_UP, pc_json_copy(engine->about)));
}

/* A hub that was started again may have known the answer, and not said it. */
void engines_ask_again(struct sched *s)
{
    struct engine *engine, *next;
    HASH_ITER (hh_uuid, s->engines_by_uuid, engine, next)
        if (engine->state == ENGINE_ASKING)
            ledger_tell(s, pc_json_msg(PC_MSG_ENGINE_UP, pc_json_copy(engine->about)));
}

/* The hub's answer: the id. */
void engine_got_id(struct sched *s, struct pc_msg *msg)
{
    struct pc_err err;
    uint32_t id;
    pc_json *json = pc_json_of_msg(msg, &err);
    struct engine *engine = json ? engine_named(s, json) : NULL;
    if (!json || pc_json_get_u32(json, "id", &id, &err)) {
        pc_error("bad ENGINE_ID from the hub: %s", err.text);
    } else if (engine && engine->id == id) {
        /* The hub was asked again, and it was not necessary. */
    } else if (!engine || engine->state != ENGINE_ASKING || !engine->control) {
        /* It went away in the meantime: give the id back as gone. */
        pc_json *down = pc_json_object();
        pc_json_put_i64(down, "id", id);
        pc_json_put_str(down, "reason", "it left before it was registered");
        ledger_tell(s, pc_json_msg(PC_MSG_ENGINE_DOWN, down));
    } else {
        set_id(engine, id);
        engine->state = ENGINE_HALF;
        welcome_control(engine);
    }
    pc_json_free(json);
}

void engine_hello_work(struct sched *s, struct peer *peer, const pc_json *hello)
{
    struct engine *engine = engine_named(s, hello);
    if (pc_json_member(hello, "received")) {
        resume_work(s, peer, hello);
        return;
    }
    bool was_registering = engine && is_new_to(engine) && engine->control;
    if (!engine || (engine->state != ENGINE_HALF && !was_registering) || engine->work ||
        !token_is_right(s, TOKEN_ENGINE, engine->uuid, sizeof(engine->uuid), hello)) {
        hello_refuse(peer, "protocol", "a work lane for an engine that is not registered");
        return;
    }
    engine->work = peer;
    engine->state = ENGINE_UP;
    set_sender(peer, PC_FROM_WORK, engine);
    pc_json *welcome = pc_json_object();
    pc_json_put_i64(welcome, "engine_id", engine->id);
    pc_conn_send(&peer->conn, pc_json_msg(PC_MSG_WELCOME, welcome));
    if (s->grace_ms)
        peer->conn.sock.wire.lifeline = &engine->work_line;
    pc_json *news = pc_json_object(), *up = pc_json_array();
    pc_json_append(up, pc_json_copy(engine->about));
    pc_json_put_bool(news, "full", false);
    pc_json_put(news, "up", up);
    clients_tell_engines(s, news);
    pc_debug("engine %u is up ('%s')", engine->id, peer->name);
    if (was_registering)
        again_reported(engine);
    else
        queue_engine_up(engine);
}

struct pc_msg *engines_list(struct sched *s)
{
    struct engine *engine, *next;
    pc_json *list = pc_json_object(), *up = pc_json_array();
    HASH_ITER (hh_id, s->engines_by_id, engine, next) {
        if (engine->state == ENGINE_UP)
            pc_json_append(up, pc_json_copy(engine->about));
    }
    pc_json_put_bool(list, "full", true);
    pc_json_put(list, "up", up);
    return pc_json_msg(PC_MSG_ENGINES, list);
}
