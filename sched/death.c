/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How engines go: they are told to, their process ends, their connection breaks, or they fall
 * silent.
 *
 * An engine that is LOST waits a moment for the report of the process that started it: "killed by
 * signal 9" says more than "the connection broke". Then everything that it had fails with it.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sched/state.h"

/* How long a host's report of a death may precede the end of the connections. */
#define REPORT_VALID_MS 1000

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

/* Results that came before the end. */
static void take_rest(struct engine *engine)
{
    if (engine->work)
        pc_conn_read_rest(&engine->work->conn);
}

/* First everybody learns that it is gone, then its tasks fail. */
void engine_finish(struct engine *engine)
{
    struct sched *s = engine->sched;
    if (uv_is_closing((uv_handle_t *)&engine->exit_timer))
        return;
    take_rest(engine);
    if (uv_is_closing((uv_handle_t *)&engine->exit_timer))
        return;
    engine_detach(engine);
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

/* Of the end of one that was ended there will be a report, which counts for its tasks. */
static unsigned report_limit_ms(const struct engine *engine)
{
    if (engine->sched->is_stopping)
        return 0;
    return engine->is_killed ? SCHED_KILL_WAIT_MS : SCHED_EXIT_WAIT_MS;
}

void engine_lane_lost(struct engine *engine, const char *why)
{
    struct sched *s = engine->sched;
    if (uv_is_closing((uv_handle_t *)&engine->exit_timer))
        return;
    bool is_first = engine->state != ENGINE_LOST;
    if (is_first) {
        if (engine->has_exited && world_now_ms(s) - engine->reported_ms > REPORT_VALID_MS) {
            engine->has_exited = false; /* a host's report that was not true */
            if (!engine->is_killed)
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
        world_await_exit(engine, report_limit_ms(engine));
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
 * an engine's key, and no more: what it says explains the end of one of its engines, but ends
 * none. */
void engine_exited(struct sched *s, struct pc_msg *msg, const struct home *from)
{
    bool is_parent = from == &s->home;
    char text[1200];
    struct pc_err err;
    pc_json *report = pc_json_of_msg(msg, &err);
    struct engine *engine = report ? engine_named(s, report) : NULL;
    if (engine && (is_parent || memcmp(engine->home, from->uuid, sizeof(engine->home)) == 0)) {
        describe_exit(report, text, sizeof(text));
        engine->has_exited = true;
        engine->knows_begun = pc_json_get_u32(report, "begun", &engine->begun, &err) == 0;
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
    ahead_leaving(engine);
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "reason", why);
    pc_json_put_i64(json, "grace_ms", grace_ms);
    engine_tell(engine, pc_json_msg(PC_MSG_SHUTDOWN, json));
}

/* ---- who does not answer ------------------------------------------------------------------ */

/* Nobody listens to it any more. Its process is killed, and then it is known what it had begun:
 * only that is lost. */
static void give_up(struct engine *engine, const char *what)
{
    if (!engine->is_killed) { /* else it is known already what becomes of it */
        engine_set_why(engine, what);
        engine->is_killed = true;
        order_replacement(engine);
    }
    take_rest(engine);
    if (engine->state == ENGINE_LOST) /* what it had sent ended it */
        return;
    engine_detach(engine);
    away_end(engine->sched, &engine->away);
    if (engine->has_exited || !order_kill(engine)) {
        engine_finish(engine);
        return;
    }
    engine->state = ENGINE_LOST;
    queue_engine_down(engine);
    world_await_exit(engine, SCHED_KILL_WAIT_MS);
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
            give_up(engine, text);
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
    give_up(engine, text);
}

void engine_set_left(struct engine *engine)
{
    if (!engine->is_killed) /* else it is known already what becomes of it */
        engine_set_why(engine, "was ended with its host, which has left");
}
