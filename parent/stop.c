/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end, in order: the scheduler tells clients and engines, and the nursery sees its engines off;
 * when it is done the scheduler is told again, and ends when the hub has all; then the hub, which
 * nobody has anything to tell any more. Whoever takes too long is killed.
 */
#include <stdio.h>

#include "lib/log.h"
#include "parent/state.h"

#define GRACE_MS       2000 /* for engines to leave by themselves */
#define START_GRACE_MS 200  /* when there never was a cluster */
#define FORCE_AFTER_MS 1000 /* after the grace */
#define ROUNDS_MAX     3
#define HUB_LIMIT_MS   10000 /* for the hub to be told, to take in and to write it, each */

static void tell_role(struct parent_role *role, const char *reason, int grace_ms)
{
    if (!role->has_conn || role->is_told)
        return;
    role->is_told = true;
    pc_json *body = pc_json_object();
    pc_json_put_str(body, "reason", reason);
    if (role->is_remote) {
        parent_role_send(role, PC_MSG_GOODBYE, body);
        pc_conn_end(&role->conn);
        return;
    }
    pc_json_put_i64(body, "grace_ms", grace_ms);
    parent_role_send(role, PC_MSG_SHUTDOWN, body);
}

/* A controller elsewhere goes on. It tells our engines to leave, so that they finish what they do,
 * and others get the rest; when they have left it hears that we have. */
static void take_leave(struct parent *parent, int grace_ms)
{
    pc_json *body = pc_json_object();
    pc_json_put_i64(body, "count", UINT32_MAX);
    pc_json_put_i64(body, "grace_ms", grace_ms);
    pc_json_put_str(body, "reason", "was ended with its host, which leaves");
    parent_role_send(&parent->scheduler, PC_MSG_END, body);
}

static void force_role(struct parent_role *role)
{
    if (role->pid > 0) {
        pc_warn("the %s (pid %d) does not end: killing it", role->name, (int)role->pid);
        parent_role_kill(role);
    } else if (role->is_remote && !role->is_told) {
        tell_role(role, "has left", 0);
    } else if (role->has_conn) {
        pc_conn_close(&role->conn);
    }
}

/* One after the other: each may have something to tell the next. */
static void force(struct parent *parent)
{
    bool has_nursery = parent_role_exists(&parent->nursery);
    bool has_scheduler = parent_role_exists(&parent->scheduler);
    parent_end_engines(parent, "the cluster was stopped");
    force_role(&parent->nursery);
    if (!has_nursery || parent->is_hurried || !parent_role_exists(&parent->hub))
        force_role(&parent->scheduler);
    if ((!has_nursery && !has_scheduler) || parent->is_hurried)
        force_role(&parent->hub);
}

static void on_limit(uv_timer_t *timer)
{
    struct parent *parent = timer->data;
    force(parent);
    if (++parent->stop_rounds < ROUNDS_MAX)
        return;
    pc_error("giving up on processes that can't be killed");
    parent->exit_code = 1;
    parent->state = PARENT_ENDED;
}

void parent_stop_now(struct parent *parent)
{
    parent->is_hurried = true;
    uv_timer_start(&parent->stop_timer, on_limit, 0, FORCE_AFTER_MS);
}

/* It may have much to write, and that is not in vain: the others have left. */
static void wait_for_hub(struct parent *parent)
{
    if (parent->is_hurried)
        return;
    parent->stop_rounds = 0;
    uv_timer_start(&parent->stop_timer, on_limit, HUB_LIMIT_MS, FORCE_AFTER_MS);
}

void parent_stop_with_hub(struct parent *parent)
{
    struct pc_err err;
    if (parent_start_hub(parent, &err) < 0)
        pc_error("%s", err.text);
}

void parent_stop(struct parent *parent, const char *reason)
{
    if (parent->state >= PARENT_STOPPING)
        return;
    struct parent_role *scheduler = &parent->scheduler;
    bool is_ready = parent->state == PARENT_READY;
    int grace_ms = is_ready ? GRACE_MS : START_GRACE_MS;
    bool takes_leave =
        is_ready && scheduler->is_remote && scheduler->has_conn && !scheduler->has_told;
    if (scheduler->is_remote && !scheduler->has_told && !takes_leave)
        grace_ms = 0; /* nobody tells our engines */
    pc_info("stopping: %s", reason);
    parent_service_tell(&parent->service, "STOPPING=1\nSTATUS=stopping: %s", reason);
    parent->state = PARENT_STOPPING;
    if (uv_is_active((uv_handle_t *)&parent->hub.restart_timer))
        parent_stop_with_hub(parent);
    uv_timer_stop(&parent->hub.restart_timer);
    uv_timer_stop(&parent->scheduler.restart_timer);
    uv_timer_stop(&parent->nursery.restart_timer);
    parent_restarts_stop(parent);
    uv_timer_stop(&parent->start_timer);
    uv_timer_stop(&parent->rejoin.timer);
    uv_timer_stop(&parent->end_timer);
    parent_starts_failed(parent, "the cluster is stopping");
    if (takes_leave)
        take_leave(parent, grace_ms);
    else
        tell_role(scheduler, reason, grace_ms);
    if (parent->nursery.is_ready)
        tell_role(&parent->nursery, reason, grace_ms);
    else /* it has no engine to see off, and may be importing for minutes */
        parent_role_kill(&parent->nursery);
    uv_timer_start(&parent->stop_timer, on_limit, (uint64_t)(grace_ms + FORCE_AFTER_MS),
                   FORCE_AFTER_MS);
    parent_stop_step(parent);
}

/* It may have much to tell the hub, and needs us as long as that may have to be started again. */
static void leave_scheduler(struct parent *parent)
{
    struct parent_role *scheduler = &parent->scheduler;
    if (!scheduler->has_conn || scheduler->conn.is_ending)
        return;
    if (scheduler->is_remote) {
        tell_role(scheduler, "has left", 0);
    } else if (!parent_role_exists(&parent->hub)) {
        pc_conn_end(&scheduler->conn);
    } else if (!parent->is_leaving) {
        parent->is_leaving = true;
        parent_role_send(scheduler, PC_MSG_SHUTDOWN, pc_json_object());
        wait_for_hub(parent);
    }
}

void parent_stop_step(struct parent *parent)
{
    if (parent_role_exists(&parent->nursery))
        return;
    /* A hub that is just coming back is waited for: the scheduler has something to tell it. */
    if (parent_role_exists(&parent->hub) && !parent->hub.is_ready) {
        wait_for_hub(parent);
        return;
    }
    if (parent_role_exists(&parent->scheduler)) {
        leave_scheduler(parent);
    } else if (parent_role_exists(&parent->hub)) {
        if (!parent->hub.is_told)
            wait_for_hub(parent);
        tell_role(&parent->hub, "the scheduler is gone", 0);
    } else {
        parent->state = PARENT_ENDED;
    }
}
