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

/* More deaths of nurseries than this within a minute, and something is wrong with more than one
 * of them. */
#define NURSERY_DEATHS_MAX 5

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
        parent_role_send(&parent->scheduler, PC_MSG_EXITED, body);
        parent_engines_exited(&parent->engines, engine);
    }
}

static void on_respawn(uv_timer_t *timer)
{
    struct parent *parent = timer->data;
    struct pc_err err;
    if (parent->state == PARENT_READY && parent_start_nursery(parent, &err) < 0)
        parent_fail(parent, "%s", err.text);
}

static void nursery_gone(struct parent *parent)
{
    char death[512];
    parent_role_death(&parent->nursery, death, sizeof(death));
    parent_end_engines(parent, death);
    parent_starts_failed(parent, death);
    if (parent->engines.wanted_count == 0) {
        pc_warn("%s; it had no engines", death);
        return;
    }
    int64_t now_ms = pc_clock_ms();
    if (now_ms - parent->nursery_deaths_since_ms > 60000) {
        parent->nursery_deaths_since_ms = now_ms;
        parent->nursery_deaths = 0;
    }
    if (++parent->nursery_deaths > NURSERY_DEATHS_MAX) {
        parent_fail(parent, "%s: that is the %dth within a minute", death, parent->nursery_deaths);
        return;
    }
    uint64_t pause_ms = parent->nursery_deaths == 1 ? 0 : UINT64_C(100) << parent->nursery_deaths;
    pc_warn("%s; starting another, and %u engines", death, parent->engines.wanted_count);
    uv_timer_start(&parent->respawn_timer, on_respawn, pause_ms, 0);
}

/* ---- any -------------------------------------------------------------------------------- */

void parent_role_gone(struct parent_role *role)
{
    struct parent *parent = role->parent;
    char death[512];
    if (parent->state >= PARENT_STOPPING) {
        if (role == &parent->nursery)
            parent_end_engines(parent, "the cluster was stopped");
        parent_stop_step(parent);
        return;
    }
    if (role->is_remote) {
        parent_fail(parent, "the connection to the controller at %s is lost", parent->address);
        return;
    }
    if (role == &parent->nursery && parent->state == PARENT_READY) {
        nursery_gone(parent);
        return;
    }
    parent_role_death(role, death, sizeof(death));
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
