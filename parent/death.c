/* SPDX-License-Identifier: BSD-3-Clause */
/* What happens when a child is gone, and who else has to go then. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "parent/state.h"

/* More deaths of one role than this within a minute, and something is wrong with more than one
 * process. */
#define DEATHS_MAX 5

void parent_kill_group(uint32_t pid)
{
    if (pid > 1)
        kill(-(pid_t)pid, SIGKILL);
}

/* ---- a nursery -------------------------------------------------------------------------- */

void parent_end_engines(struct parent *parent, const char *why)
{
    struct parent_engine *engine, *next;
    HASH_ITER (hh, parent->engines.by_uuid, engine, next) {
        if (!engine->is_spawned)
            continue;
        /* Nobody else waits for it any more: the pid is still that of this engine. */
        parent_kill_group(engine->pid);
        kill((pid_t)engine->pid, SIGKILL);
        pc_json *body = pc_json_object();
        pc_json_put_i64(body, "pid", engine->pid);
        pc_json_put_str(body, "uuid", engine->uuid);
        pc_json_put_i64(body, "signal", SIGKILL);
        pc_json_put_i64(body, "code", 0);
        pc_json_put_str(body, "tail", why);
        if (parent->state < PARENT_STOPPING && engine->is_wanted) /* the next nursery starts it */
            pc_json_put_bool(body, "replaced", true);
        parent_engines_exited(&parent->engines, engine, true, body);
        parent_role_send(&parent->scheduler, PC_MSG_EXITED, body);
    }
}

void parent_report_ends(struct parent *parent)
{
    struct parent_engine *engine, *next;
    HASH_ITER (hh, parent->engines.by_uuid, engine, next)
        if (engine->report)
            parent_role_send(&parent->scheduler, PC_MSG_EXITED, pc_json_copy(engine->report));
}

/* ---- starting it again ------------------------------------------------------------------ */

static void on_restart(uv_timer_t *timer)
{
    struct parent_role *role = timer->data;
    struct parent *parent = role->parent;
    struct pc_err err;
    if (parent->state == PARENT_READY && role->restart(parent, &err) < 0)
        parent_fail(parent, "%s", err.text);
}

/* At once the first time, later after longer and longer pauses; too often, and the cluster ends. */
static void restart(struct parent_role *role, const char *death)
{
    struct parent *parent = role->parent;
    int64_t now_ms = pc_clock_ms();
    if (now_ms - role->deaths_since_ms > 60000) {
        role->deaths_since_ms = now_ms;
        role->death_count = 0;
    }
    if (++role->death_count > DEATHS_MAX) {
        parent_fail(parent, "%s: that is the %dth within a minute", death, role->death_count);
        return;
    }
    char more[32] = "";
    if (role == &parent->nursery)
        snprintf(more, sizeof(more), ", and %u engines", parent->engines.wanted_count);
    pc_warn("%s; starting another%s", death, more);
    uint64_t pause_ms = role->death_count == 1 ? 0 : UINT64_C(50) << role->death_count;
    uv_timer_start(&role->restart_timer, on_restart, pause_ms, 0);
}

/* ---- any -------------------------------------------------------------------------------- */

void parent_role_gone(struct parent_role *role)
{
    struct parent *parent = role->parent;
    char death[512];
    if (parent->state >= PARENT_STOPPING) {
        if (role == &parent->nursery)
            parent_end_engines(parent, "the cluster was stopped");
        if (role == &parent->hub && role->is_ready && !role->is_told &&
            role->death_count++ < DEATHS_MAX)
            parent_stop_with_hub(parent);
        parent_stop_step(parent);
        return;
    }
    if (role->is_remote && parent_rejoin_begin(parent))
        return;
    if (role->is_remote) {
        parent_fail(parent, "the connection to the controller at %s is lost", parent->address);
        return;
    }
    parent_role_death(role, death, sizeof(death));
    parent_losses_add(&parent->losses, role->name, role->last_pid, death);
    if (role == &parent->nursery && parent->state == PARENT_READY) {
        parent_end_engines(parent, death);
        parent_starts_failed(parent, death);
        parent_restarts_stop(parent); /* the next nursery starts all that are wanted */
        if (parent->engines.wanted_count == 0) {
            pc_warn("%s; it had no engines", death);
            return;
        }
    }
    if (parent->state == PARENT_READY && role->restart)
        restart(role, death);
    else
        parent_fail(parent, "%s", death);
}

void parent_reap(struct parent *parent)
{
    struct parent_role *roles[] = {&parent->scheduler, &parent->hub, &parent->nursery};
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return;
        for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
            if (roles[i]->pid == pid)
                parent_role_exited(roles[i], status);
    }
}
