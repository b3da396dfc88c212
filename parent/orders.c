/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Orders about single engines while the cluster runs: more of them, the end of some, a signal.
 *
 * They come from clients, and from the scheduler when it had to give an engine up; on a machine
 * without a controller they come over the connection to it. Only the nursery starts and signals
 * processes, because only the one who reaps them knows that a pid is still theirs.
 */
#include <signal.h>
#include <stdlib.h>

#include <utlist.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "parent/limits.h"
#include "parent/state.h"

#define GRACE_DEFAULT_MS 2000
#define GRACE_MAX_MS     86400000
#define LEAVE_MS         300 /* beyond its grace, for an engine that leaves by itself */
#define FORCE_AFTER_MS   400 /* from SIGTERM to SIGKILL, and again */

/* ---- answers ---------------------------------------------------------------------------- */

static void answer(struct parent *parent, uint64_t session, uint64_t sequence, pc_json *reply)
{
    struct pc_msg *msg = pc_json_msg(PC_MSG_REPLY, reply);
    msg->head.session = session;
    msg->head.sequence = sequence;
    if (parent->scheduler.has_conn)
        pc_conn_send(&parent->scheduler.conn, msg);
    else
        pc_msg_unref(msg);
}

void parent_reply(struct parent *parent, uint64_t session, uint64_t sequence, pc_json *reply)
{
    pc_json_put_bool(reply, "ok", true);
    answer(parent, session, sequence, reply);
}

void parent_refuse(struct parent *parent, uint64_t session, uint64_t sequence, const char *why)
{
    pc_json *reply = pc_json_object();
    pc_json_put_bool(reply, "ok", false);
    pc_json_put_str(reply, "error", why);
    answer(parent, session, sequence, reply);
}

/* ---- more engines ----------------------------------------------------------------------- */

/* A nursery that is only starting is told how many when it is ready. */
int parent_spawn(struct parent *parent, uint32_t count, struct pc_err *err)
{
    struct parent_role *nursery = &parent->nursery;
    if (nursery->has_conn && nursery->is_ready) {
        pc_json *body = pc_json_object();
        pc_json_put_i64(body, "count", count);
        parent_role_send(nursery, PC_MSG_SPAWN, body);
    } else if (!parent_role_exists(nursery) &&
               !uv_is_active((uv_handle_t *)&nursery->restart_timer)) {
        return parent_start_nursery(parent, err);
    }
    return 0;
}

static int check_count(struct parent *parent, uint32_t count, struct pc_err *err)
{
    uint32_t wanted = parent->engines.wanted_count;
    int64_t ignored;
    if (parent->state >= PARENT_STOPPING)
        return pc_err_set(err, PC_E_INVALID, "the cluster is stopping");
    if (count == 0 || count > PARENT_ENGINES_MAX - wanted)
        return pc_err_set(err, PC_E_INVALID,
                          "can't start %u engines: there are %u, and from 1 to %u in all are "
                          "possible",
                          count, wanted, PARENT_ENGINES_MAX);
    if (parent_raise_limits(wanted + count, &ignored, err) < 0)
        return -1;
    if (parent->scheduler.pid > 0)
        parent_pass_limits(parent->scheduler.pid);
    return 0;
}

int parent_start_engines(struct parent *parent, uint32_t count, const struct pc_msg *query,
                         struct pc_err *err)
{
    if (check_count(parent, count, err) < 0 || parent_spawn(parent, count, err) < 0)
        return -1;
    parent->engines.wanted_count += count;
    pc_info("starting %u more engine%s", count, count == 1 ? "" : "s");
    struct parent_order *order = pc_xcalloc(1, sizeof(*order));
    order->count = order->left = count;
    if (query) {
        order->session = query->head.session;
        order->sequence = query->head.sequence;
    }
    DL_APPEND(parent->starts, order);
    return 0;
}

static void end_order(struct parent *parent, struct parent_order *order, const char *error)
{
    DL_DELETE(parent->starts, order);
    if (error && order->session) {
        parent_refuse(parent, order->session, order->sequence, error);
    } else if (order->session) {
        pc_json *reply = pc_json_object();
        pc_json_put_i64(reply, "count", order->count);
        parent_reply(parent, order->session, order->sequence, reply);
    }
    free(order);
}

/* Orders are counted off in turn: which engine is whose does not matter. */
void parent_engine_spawned(struct parent *parent)
{
    struct parent_order *order = parent->starts;
    if (order && --order->left == 0)
        end_order(parent, order, NULL);
}

void parent_starts_failed(struct parent *parent, const char *why)
{
    struct parent_order *order, *next;
    DL_FOREACH_SAFE (parent->starts, order, next) {
        parent->engines.wanted_count -= order->left;
        end_order(parent, order, why);
    }
}

void parent_engines_missing(struct parent *parent, uint32_t count, const char *why)
{
    uint32_t before = parent->engines.wanted_count;
    if (parent->state == PARENT_STARTING) {
        parent_fail(parent, "%s", why);
        return;
    }
    pc_error("%u engines are missing: %s", count, why);
    parent_starts_failed(parent, why);
    uint32_t rest = count - (before - parent->engines.wanted_count); /* in place of others */
    if (rest <= count && rest <= parent->engines.wanted_count)
        parent->engines.wanted_count -= rest;
}

/* ---- the end of some -------------------------------------------------------------------- */

static void on_end_timer(uv_timer_t *timer);

static void wake_at(struct parent *parent, int64_t at_ms)
{
    int64_t left = at_ms - pc_clock_ms();
    uint64_t due = left > 0 ? (uint64_t)left : 0;
    if (!uv_is_active((uv_handle_t *)&parent->end_timer) ||
        uv_timer_get_due_in(&parent->end_timer) > due)
        uv_timer_start(&parent->end_timer, on_end_timer, due, 0);
}

static void send_signal(struct parent *parent, pc_json *uuids, int number)
{
    pc_json *body = pc_json_object();
    pc_json_put(body, "uuids", uuids);
    pc_json_put_i64(body, "signal", number);
    pc_json_put_bool(body, "group", true);
    parent_role_send(&parent->nursery, PC_MSG_SIGNAL, body);
}

/* Those whose time is up: the first time SIGTERM, then SIGKILL. */
static void on_end_timer(uv_timer_t *timer)
{
    struct parent *parent = timer->data;
    struct parent_engine *engine, *next;
    pc_json *to_term = pc_json_array(), *to_kill = pc_json_array();
    int64_t now_ms = pc_clock_ms();
    HASH_ITER (hh, parent->engines.by_uuid, engine, next) {
        if (!engine->is_ending || !engine->is_spawned)
            continue;
        if (engine->end_ms <= now_ms) {
            pc_info("the engine with pid %u does not leave: %s it", engine->pid,
                    engine->was_termed ? "killing" : "ending");
            pc_json_append_str(engine->was_termed ? to_kill : to_term, engine->uuid);
            engine->was_termed = true;
            engine->end_ms = now_ms + FORCE_AFTER_MS;
        }
        wake_at(parent, engine->end_ms);
    }
    send_signal(parent, to_term, SIGTERM);
    send_signal(parent, to_kill, SIGKILL);
}

static void end_one(struct parent *parent, struct parent_engine *engine, int64_t end_ms,
                    bool is_wanted)
{
    if (engine->is_wanted != is_wanted)
        parent->engines.wanted_count += is_wanted ? 1 : UINT32_MAX;
    engine->is_wanted = is_wanted;
    if (!engine->is_ending || end_ms < engine->end_ms)
        engine->end_ms = end_ms;
    engine->is_ending = true;
    wake_at(parent, engine->end_ms);
}

static bool spawn_another(struct parent *parent)
{
    struct pc_err err;
    if (parent_spawn(parent, 1, &err) == 0)
        return true;
    pc_error("can't replace an engine: %s", err.text);
    return false;
}

/* For one that was not told to leave see restart.c. */
bool parent_engine_ended(struct parent *parent, bool was_wanted)
{
    return parent->state < PARENT_STOPPING && was_wanted && spawn_another(parent);
}

int parent_end_some(struct parent *parent, const pc_json *order, struct pc_err *err)
{
    int64_t grace_ms = pc_json_i64_or(order, "grace_ms", GRACE_DEFAULT_MS);
    bool is_wanted = pc_json_bool_or(order, "replace", false);
    const pc_json *uuids = pc_json_member(order, "uuids");
    if (grace_ms < 0 || grace_ms > GRACE_MAX_MS)
        return pc_err_set(err, PC_E_PROTOCOL, "END with a grace of %lld ms", (long long)grace_ms);
    if (parent->state >= PARENT_STOPPING)
        return 0;
    int64_t end_ms = pc_clock_ms() + grace_ms + LEAVE_MS;
    for (const pc_json *row = uuids ? pc_json_first(uuids) : NULL; row; row = pc_json_next(row)) {
        const char *uuid = pc_json_text(row);
        struct parent_engine *engine = uuid ? parent_engines_find(&parent->engines, uuid) : NULL;
        if (engine && engine->is_spawned)
            end_one(parent, engine, end_ms, is_wanted);
        else if (uuid && is_wanted && parent_engines_lack(&parent->engines, uuid))
            spawn_another(parent);
    }
    parent_check_ready(parent);
    return 0;
}

/* ---- a signal --------------------------------------------------------------------------- */

void parent_signal_some(struct parent *parent, struct pc_msg *order)
{
    if (parent->nursery.has_conn)
        pc_conn_send(&parent->nursery.conn, pc_msg_ref(order));
}
