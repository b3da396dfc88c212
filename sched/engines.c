/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Engines: how they register, live and go.
 *
 *   ASKING --hub gave an id--> HALF --work lane--> UP --it ended--> LOST --> freed
 *
 * One whose lanes break while it is UP is away, and gets nothing: it may come back, see away.c. An
 * engine that is LOST waits a moment for the report of the process that started it: "killed by
 * signal 9" says more than "the connection broke". Then everything that it had fails with it.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "sched/state.h"

#define HOST_MAX   255
#define PYTHON_MAX 15
/* How long a host's report of a death may precede the end of the connections. */
#define REPORT_VALID_MS 1000

struct engine *engine_find(struct sched *s, uint32_t id)
{
    struct engine *engine;
    HASH_FIND(hh_id, s->engines_by_id, &id, sizeof(id), engine);
    return engine;
}

static struct engine *find_uuid(struct sched *s, const pc_json *json)
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

/* ---- coming back ------------------------------------------------------------------------ */

static void detach_lane(struct peer *peer)
{
    if (!peer)
        return;
    peer->engine = NULL;
    peer->conn.sock.wire.lifeline = NULL;
    pc_conn_end(&peer->conn);
}

/* One lane without the other is of no use: both come back. */
bool engine_cut(struct engine *engine)
{
    if (engine->state != ENGINE_UP)
        return false;
    away_engine(engine);
    if (engine->work) /* if it was its end, that had been sent before */
        pc_conn_read_rest(&engine->work->conn);
    detach_lane(engine->control);
    detach_lane(engine->work);
    engine->control = engine->work = NULL;
    if (engine->state == ENGINE_UP) /* else what it had sent ended it */
        queue_engine_away(engine);
    return true;
}

/* The engine that a HELLO means that goes on with one of its lanes; NULL: it was refused. */
static struct engine *returning(struct sched *s, struct peer *peer, const pc_json *hello)
{
    struct engine *engine = find_uuid(s, hello);
    if (engine && engine->state == ENGINE_UP && s->grace_ms &&
        token_is_right(s, TOKEN_ENGINE, engine->uuid, sizeof(engine->uuid), hello))
        return engine;
    hello_refuse(peer, "session", "a lane of an engine that was given up, or never was there");
    return NULL;
}

static void resume_lane(struct engine *engine, struct peer **lane, struct peer *peer,
                        struct pc_lifeline *lifeline, const pc_json *hello, enum pc_sender sender)
{
    struct pc_err err;
    uint64_t received;
    if (pc_json_get_u64(hello, "received", &received, &err) ||
        pc_lifeline_resume(lifeline, received, &err)) {
        hello_refuse(peer, "session", err.text);
        return;
    }
    *lane = peer;
    set_sender(peer, sender, engine);
    pc_json *welcome = pc_json_object();
    pc_json_put_i64(welcome, "engine_id", engine->id);
    pc_json_put_u64(welcome, "received", lifeline->received);
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
    away_end(s, &engine->away);
    engine->heard_ms = world_now_ms(s);
    pc_debug("engine %u is back ('%s')", engine->id, peer->name);
    queue_advance(engine);
}

/* ---- registering ------------------------------------------------------------------------ */

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
    if (find_uuid(s, hello)) {
        hello_refuse(peer, "protocol", "an engine with this uuid is registered already");
        return;
    }
    struct engine *engine = pc_xcalloc(1, sizeof(*engine));
    engine->sched = s;
    engine->id = PC_NO_ENGINE;
    engine->state = ENGINE_ASKING;
    engine->control = peer;
    engine->heard_ms = world_now_ms(s);
    engine->work_line.is_told_apart = true;
    memcpy(engine->uuid, uuid, sizeof(uuid));
    snprintf(engine->tags, sizeof(engine->tags), "%s", pc_json_str_or(hello, "tags", ""));
    if (pc_hex_decode(pc_json_str_or(hello, "home", ""), engine->home, sizeof(engine->home)))
        memset(engine->home, 0, sizeof(engine->home));
    pc_buf_init(&engine->acks, 0);
    uv_timer_init(&s->loop, &engine->exit_timer);
    engine->exit_timer.data = engine;
    engine->about = pc_json_object();
    pc_json_put_i64(engine->about, "pid", pc_json_i64_or(hello, "pid", 0));
    pc_json_put_str(engine->about, "host", pc_json_str_or(hello, "host", ""));
    pc_json_put_str(engine->about, "python", pc_json_str_or(hello, "python", ""));
    pc_json_put_str(engine->about, "uuid", pc_json_str_or(hello, "uuid", ""));
    pc_json_put_str(engine->about, "tags", engine->tags);
    set_sender(peer, PC_FROM_CONTROL, engine);
    HASH_ADD(hh_uuid, s->engines_by_uuid, uuid, sizeof(engine->uuid), engine);
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
    struct engine *engine = json ? find_uuid(s, json) : NULL;
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
        engine->id = id;
        engine->state = ENGINE_HALF;
        pc_json_put_i64(engine->about, "id", id);
        HASH_ADD(hh_id, s->engines_by_id, id, sizeof(engine->id), engine);
        pc_json *welcome = pc_json_object();
        pc_json_put_i64(welcome, "engine_id", id);
        token_put(s, TOKEN_ENGINE, engine->uuid, sizeof(engine->uuid), welcome);
        pc_json_put_i64(welcome, "heartbeat_ms", s->heartbeat_ms);
        pc_json_put_i64(welcome, "grace_ms", s->grace_ms);
        pc_conn_send(&engine->control->conn, pc_json_msg(PC_MSG_WELCOME, welcome));
        if (s->grace_ms)
            engine->control->conn.sock.wire.lifeline = &engine->control_line;
    }
    pc_json_free(json);
}

void engine_hello_work(struct sched *s, struct peer *peer, const pc_json *hello)
{
    struct engine *engine = find_uuid(s, hello);
    if (pc_json_member(hello, "received")) {
        resume_work(s, peer, hello);
        return;
    }
    if (!engine || engine->state != ENGINE_HALF || engine->work ||
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

/* ---- going ------------------------------------------------------------------------------ */

static void on_timer_closed(uv_handle_t *handle)
{
    struct engine *engine = handle->data;
    pc_json_free(engine->about);
    pc_buf_fini(&engine->acks);
    pc_known_fini(&engine->functions);
    pc_lifeline_fini(&engine->control_line);
    pc_lifeline_fini(&engine->work_line);
    free(engine);
}

static void tell_down(struct engine *engine)
{
    struct sched *s = engine->sched;
    pc_json *down = pc_json_object();
    pc_json_put_i64(down, "id", engine->id);
    pc_json_put_str(down, "reason", engine->why);
    ledger_tell(s, pc_json_msg(PC_MSG_ENGINE_DOWN, pc_json_copy(down)));
    pc_json *news = pc_json_object(), *list = pc_json_array();
    pc_json_append(list, down);
    pc_json_put_bool(news, "full", false);
    pc_json_put(news, "down", list);
    clients_tell_engines(s, news);
}

/* With what it ran. */
static void log_loss(const struct engine *engine)
{
    struct pc_log_subject subject = {.engine_id = engine->id};
    if (engine->running) {
        subject.session = engine->running->key.session;
        subject.sequence = engine->running->key.sequence;
    }
    pc_log_about(engine->is_dismissed ? PC_LOG_INFO : PC_LOG_WARN, &subject, "lost %s",
                 engine->why);
}

/* First everybody learns that it is gone, then its tasks fail. */
void engine_finish(struct engine *engine)
{
    struct sched *s = engine->sched;
    if (uv_is_closing((uv_handle_t *)&engine->exit_timer))
        return;
    if (engine->work) /* results that came before the end */
        pc_conn_read_rest(&engine->work->conn);
    if (uv_is_closing((uv_handle_t *)&engine->exit_timer))
        return;
    detach_lane(engine->control);
    detach_lane(engine->work);
    engine->control = engine->work = NULL;
    away_end(s, &engine->away);
    engine->state = ENGINE_LOST;
    output_engine_gone(engine);
    if (engine->id != PC_NO_ENGINE) {
        if (!s->is_stopping)
            log_loss(engine);
        HASH_DELETE(hh_id, s->engines_by_id, engine);
        tell_down(engine);
    }
    queue_engine_gone(engine);
    HASH_DELETE(hh_uuid, s->engines_by_uuid, engine);
    uv_close((uv_handle_t *)&engine->exit_timer, on_timer_closed);
}

/* "engine 3 (pid 4711 on host) <what>" */
void engine_set_why(struct engine *engine, const char *what)
{
    snprintf(engine->why, sizeof(engine->why), "engine %u (pid %lld on %s) %s", engine->id,
             (long long)pc_json_i64_or(engine->about, "pid", 0),
             pc_json_str_or(engine->about, "host", "?"), what);
}

void engine_lane_lost(struct engine *engine, const char *why)
{
    struct sched *s = engine->sched;
    if (uv_is_closing((uv_handle_t *)&engine->exit_timer))
        return;
    bool is_first = engine->state != ENGINE_LOST;
    if (is_first) {
        if (engine->has_exited && !engine->is_killed &&
            world_now_ms(s) - engine->reported_ms > REPORT_VALID_MS) {
            engine->has_exited = false; /* a host's report that was not true */
            engine->why[0] = '\0';
        }
        if (!engine->why[0])
            engine_set_why(engine, why);
        engine->state = ENGINE_LOST;
        queue_engine_down(engine);
    }
    if (engine->has_exited && !engine->control && !engine->work)
        engine_finish(engine);
    else if (is_first)
        world_await_exit(engine, s->is_stopping ? 0 : SCHED_EXIT_WAIT_MS);
}

/* "was killed by signal 9 (SIGKILL)", "exited with code 3", and its last words. */
static void describe_exit(const pc_json *report, char *text, size_t size)
{
    int signal_number = (int)pc_json_i64_or(report, "signal", 0);
    const char *tail = pc_json_str_or(report, "tail", "");
    const char *name = signal_number ? sigabbrev_np(signal_number) : NULL;
    int used;
    if (signal_number)
        used = snprintf(
            text, size, "was killed by signal %d (SIG%s)%s", signal_number, name ? name : "?",
            pc_json_bool_or(report, "oom", false) ? ", by the kernel because memory ran out" : "");
    else
        used = snprintf(text, size, "exited with code %d", (int)pc_json_i64_or(report, "code", 0));
    size_t length = strlen(tail);
    while (length && (tail[length - 1] == '\n' || tail[length - 1] == ' '))
        length--;
    size_t room = size - (size_t)used - 64;
    if (length) /* the end of it says most */
        snprintf(text + used, size - (size_t)used, "; its last lines were:\n%s%.*s",
                 length > room ? "..." : "", (int)(length > room ? room : length),
                 tail + (length > room ? length - room : 0));
}

/* EXITED: how a process ended, from the one that reaped it. The parent is believed. A host holds
 * an engine's key, and no more: what it says explains the end of an engine, but ends none. */
void engine_exited(struct sched *s, struct pc_msg *msg, bool is_parent)
{
    char text[1200];
    struct pc_err err;
    pc_json *report = pc_json_of_msg(msg, &err);
    struct engine *engine = report ? find_uuid(s, report) : NULL;
    if (engine) {
        describe_exit(report, text, sizeof(text));
        engine->has_exited = true;
        engine->reported_ms = world_now_ms(s);
        if (!engine->is_killed)
            engine_set_why(engine, text);
        if (pc_json_bool_or(report, "replaced", false))
            coming_expect(engine);
        if (!is_parent && engine->state != ENGINE_LOST && !engine->away.is_away)
            goto out; /* its connections break now, or the report is forgotten */
        /* What it had sent before is still in its lanes: they end by themselves, and soon. */
        if (!engine->control && !engine->work)
            engine_finish(engine);
        else
            world_await_exit(engine, SCHED_EXIT_WAIT_MS);
        if (engine->state != ENGINE_LOST) {
            engine->state = ENGINE_LOST;
            queue_engine_down(engine);
        }
    }
out:
    pc_json_free(report);
}

void engine_dismiss(struct engine *engine, const char *why, int64_t grace_ms)
{
    if (engine->is_killed || engine->state != ENGINE_UP)
        return;
    engine_set_why(engine, why);
    engine->is_killed = true;
    engine->state = ENGINE_LEAVING;
    queue_engine_down(engine);
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "reason", why);
    pc_json_put_i64(json, "grace_ms", grace_ms);
    engine_tell(engine, pc_json_msg(PC_MSG_SHUTDOWN, json));
}

/* ---- beats ------------------------------------------------------------------------------ */

/* Once per period: asks those that have been silent, gives up those that stay so. */
void engines_beat(struct sched *s)
{
    struct engine *engine, *next;
    int64_t now = world_now_ms(s);
    int64_t limit = (int64_t)s->heartbeat_ms * SCHED_BEATS_MISSED;
    char text[96];
    /* A beat that comes late means that we were stopped or starved, and have not read yet what the
     * engines said meanwhile. */
    bool was_away = now - s->beat_ms > 2 * (int64_t)s->heartbeat_ms;
    s->beat_ms = now;
    queue_hold(s); /* what one of them had must not go to the next */
    HASH_ITER (hh_uuid, s->engines_by_uuid, engine, next) {
        if (engine->state == ENGINE_LOST || !engine->control)
            continue;
        int64_t silent = now - engine->heard_ms;
        if (was_away && silent > (int64_t)s->heartbeat_ms)
            engine->heard_ms = now - s->heartbeat_ms;
        if (!was_away && silent > limit) {
            snprintf(text, sizeof(text), "has not answered for %lld s: stopped, or cut off",
                     (long long)silent / 1000);
            if (!engine->is_killed) { /* else it is known already what becomes of it */
                engine_set_why(engine, text);
                order_replacement(engine);
            }
            engine_finish(engine);
        } else if (silent + s->heartbeat_ms / 2 >= (int64_t)s->heartbeat_ms) {
            /* It has been idle: its buffers are better off elsewhere. */
            pc_wire_trim(&engine->control->conn.sock.wire);
            if (engine->work)
                pc_wire_trim(&engine->work->conn.sock.wire);
            pc_conn_send_body(&engine->control->conn, PC_MSG_PING, NULL, 0);
        }
    }
    queue_release(s);
}

void engines_shutdown(struct sched *s, const struct pc_msg *shutdown)
{
    struct engine *engine, *next;
    HASH_ITER (hh_uuid, s->engines_by_uuid, engine, next) {
        if (engine->control)
            pc_conn_send_body(&engine->control->conn, PC_MSG_SHUTDOWN, shutdown->body,
                              shutdown->head.body_size);
    }
}

/* At the end of the scheduler, without a word. */
void engines_drop(struct sched *s)
{
    struct engine *engine, *next;
    HASH_ITER (hh_uuid, s->engines_by_uuid, engine, next) {
        if (!engine->why[0])
            engine_set_why(engine, "was given up: the cluster was stopped");
        engine_finish(engine);
    }
}

void engine_stayed_away(struct engine *engine)
{
    char text[96];
    snprintf(text, sizeof(text), "lost its connection, and did not come back within %.3g s",
             engine->sched->grace_ms / 1e3);
    if (!engine->is_killed) {
        engine_set_why(engine, text);
        order_replacement(engine);
    }
    engine_finish(engine);
}
