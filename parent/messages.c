/* SPDX-License-Identifier: BSD-3-Clause */
/* What the children say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/dispatch.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "parent/state.h"

/* ---- from any --------------------------------------------------------------------------- */

static int on_ready(void *role_of, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct parent *parent = role_of;
    struct parent_role *role = peer;
    struct pc_err why;
    bool was_ready = role->is_ready; /* it has taken new keys */
    role->is_ready = true;
    parent_service_pong(parent, role); /* it can't answer what the one before it was asked */
    pc_debug("the %s (pid %d) is ready", role->name, (int)role->pid);
    if (role == &parent->scheduler && parent->state == PARENT_STARTING &&
        parent_files_write(&parent->files, &why) < 0)
        parent_fail(parent, "%s", why.text);
    if (role == &parent->scheduler && !was_ready)
        parent_report_ends(parent);
    if (role == &parent->scheduler && parent->has_new_keys)
        parent_keys_hold(parent);
    if (role == &parent->nursery && parent->state <= PARENT_READY) {
        pc_json *body = pc_json_object();
        pc_json_put_i64(body, "count", parent->engines.wanted_count);
        parent_role_send(role, PC_MSG_SPAWN, body);
    }
    if (parent->state >= PARENT_STOPPING)
        parent_stop_step(parent);
    parent_check_ready(parent);
    return 0;
}

static int on_failed(void *role_of, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct parent *parent = role_of;
    struct parent_role *role = peer;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    free(role->failure);
    role->failure = pc_xstrdup(pc_json_str_or(body, "text", "it did not say why"));
    pc_json_free(body);
    if (parent->state == PARENT_STARTING)
        parent_fail(parent, "%s", role->failure);
    return 0;
}

static int on_pong(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    parent_service_pong(role, peer);
    return 0;
}

/* ---- from the scheduler ----------------------------------------------------------------- */

static int on_engines(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct parent *parent = role;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    int status = 0;
    const pc_json *up = pc_json_member(body, "up");
    const pc_json *down = pc_json_member(body, "down");
    const char *uuid;
    uint32_t id;
    for (const pc_json *row = up ? pc_json_first(up) : NULL; row && status == 0;
         row = pc_json_next(row)) {
        status = pc_json_get_str(row, "uuid", &uuid, err) < 0 ||
                         pc_json_get_u32(row, "id", &id, err) < 0 ||
                         parent_engines_up(&parent->engines, uuid, id, err) < 0
                     ? -1
                     : 0;
    }
    for (const pc_json *row = down ? pc_json_first(down) : NULL; row && status == 0;
         row = pc_json_next(row)) {
        status = pc_json_get_u32(row, "id", &id, err);
        if (status == 0)
            parent_engines_down(&parent->engines, id);
    }
    pc_json_free(body);
    parent_check_ready(parent);
    return status;
}

/* Who is there now, and who was lost. */
static pc_json *processes(const struct parent *parent)
{
    pc_json *reply = pc_json_object(), *pids = pc_json_object();
    pc_json_put_i64(pids, "parent", getpid());
    pc_json_put_i64(pids, "scheduler", parent->scheduler.pid);
    pc_json_put_i64(pids, "hub", parent->hub.pid);
    pc_json_put_i64(pids, "nursery", parent->nursery.pid);
    pc_json_put(reply, "pids", pids);
    parent_losses_json(&parent->losses, reply);
    pc_json_put_i64(reply, "engine_restarts", (int64_t)parent->restarts.done);
    return reply;
}

static int take_query(struct parent *parent, const pc_json *question, const struct pc_msg *msg,
                      struct pc_err *why)
{
    const char *name = "";
    uint32_t count;
    if (pc_json_get_str(question, "query", &name, why) < 0)
        return -1;
    if (strcmp(name, "shutdown") == 0) {
        pc_json *reply = pc_json_object();
        pc_json_put_i64(reply, "pid", getpid());
        parent_reply(parent, msg->head.session, msg->head.sequence, reply);
        parent_stop(parent, "a client asked for it");
        return 0;
    }
    if (strcmp(name, "processes") == 0) {
        parent_reply(parent, msg->head.session, msg->head.sequence, processes(parent));
        return 0;
    }
    if (strcmp(name, "start_engines") == 0)
        return pc_json_get_u32(question, "count", &count, why) < 0
                   ? -1
                   : parent_start_engines(parent, count, msg, why);
    return pc_err_set(why, PC_E_INVALID, "unknown query '%.60s'", name);
}

/* What only the parent can answer, or do. */
static int on_query(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct parent *parent = role;
    struct pc_err why;
    pc_json *question = pc_json_of_msg(msg, &why);
    if (!question || take_query(parent, question, msg, &why) < 0)
        parent_refuse(parent, msg->head.session, msg->head.sequence, why.text);
    pc_json_free(question);
    return 0;
}

/* To the parent of engines on another machine; nobody waits for an answer. */
static int on_spawn(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_err why;
    uint32_t count;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    int status = pc_json_get_u32(body, "count", &count, err);
    pc_json_free(body);
    if (status == 0 && parent_start_engines(role, count, NULL, &why) < 0)
        pc_error("a client asked for %u more engines: %s", count, why.text);
    return status;
}

static int on_end(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    pc_json *body = pc_json_of_msg(msg, err);
    int status = body ? parent_end_some(role, body, err) : -1;
    pc_json_free(body);
    return status;
}

static int on_signal(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    parent_signal_some(role, msg);
    return 0;
}

/* Only a controller elsewhere says these. */
static int on_shutdown(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct parent *parent = role;
    struct parent_role *scheduler = peer;
    if (!scheduler->is_remote)
        return pc_err_set(err, PC_E_PROTOCOL, "it may not stop its parent");
    scheduler->has_told = true;
    if (parent->state == PARENT_STARTING) {
        parent_fail(parent, "the controller at %s is stopping", parent->address);
        return 0;
    }
    pc_warn("the controller at %s stops: its engines end here, too", parent->address);
    parent_stop(parent, "the controller stops");
    return 0;
}

/* ---- from the nursery ------------------------------------------------------------------- */

/* One that can't be limited runs all the same: somebody may wait for it. */
static void limit_engine(struct parent *parent, const char *uuid, pid_t pid)
{
    struct pc_err err;
    if (parent_cgroup_add(&parent->cgroup, uuid, pid, &err) < 0)
        pc_warn("an engine (pid %d) runs without limits: %s", (int)pid, err.text);
}

static int on_spawned(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct parent *parent = role;
    const char *uuid;
    uint32_t pid;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    int status = -1;
    int64_t missing = pc_json_i64_or(body, "missing", 0);
    if (missing > 0 && missing <= UINT32_MAX) {
        parent_engines_missing(parent, (uint32_t)missing, pc_json_str_or(body, "text", "?"));
        status = 0;
    } else if (pc_json_get_str(body, "uuid", &uuid, err) == 0 &&
               pc_json_get_u32(body, "pid", &pid, err) == 0) {
        status = parent_engines_spawned(&parent->engines, uuid, pid, err);
        if (status == 0)
            limit_engine(parent, uuid, (pid_t)pid);
        parent_engine_spawned(parent);
    }
    pc_json_free(body);
    parent_check_ready(parent);
    return status;
}

/* Says what became of an engine: to the user while starting, afterwards to the log. */
static void report_exit(struct parent *parent, const struct parent_engine *engine, int signal,
                        int code, const char *tail)
{
    char end[64], name[32] = "an engine";
    parent_end_text(signal, code, end, sizeof(end));
    if (engine->has_id)
        snprintf(name, sizeof(name), "engine %u", engine->id);
    size_t size = strlen(tail);
    while (size > 0 && tail[size - 1] == '\n')
        size--;
    struct pc_log_subject subject = {.engine_id = engine->has_id ? engine->id : PC_NO_ENGINE};
    if (!engine->is_ending && parent->state == PARENT_READY) {
        char why[160];
        snprintf(why, sizeof(why), "%s (pid %u) %s", name, engine->pid, end);
        parent_losses_add(&parent->losses, name, engine->pid, why);
    }
    if (engine->is_ending)
        pc_log_about(PC_LOG_INFO, &subject, "%s (pid %u) was told to leave: it %s", name,
                     engine->pid, end);
    else if (parent->state == PARENT_STARTING)
        parent_fail(parent, "%s (pid %u) %s before the cluster was ready%s%.*s", name, engine->pid,
                    end, size ? "; its last words:\n" : "", (int)size, tail);
    else if (parent->state == PARENT_READY) /* a scheduler of ours has warned already */
        pc_log_about(parent->options->with_controller ? PC_LOG_INFO : PC_LOG_WARN, &subject,
                     "%s (pid %u) %s%s%.*s", name, engine->pid, end,
                     size ? "; its last words: " : "", (int)size, tail);
    else
        pc_log_about(PC_LOG_DEBUG, &subject, "%s (pid %u) %s", name, engine->pid, end);
}

static int on_exited(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct parent *parent = role;
    const char *uuid;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    if (pc_json_get_str(body, "uuid", &uuid, err) < 0) {
        pc_json_free(body);
        return -1;
    }
    struct parent_engine *engine = parent_engines_find(&parent->engines, uuid);
    bool is_replaced = false;
    if (engine && engine->is_spawned) {
        bool was_ending = engine->is_ending, was_wanted = engine->is_wanted;
        /* The nursery has ended its process group before it reaped it; now the number may be
         * somebody else's. */
        int signal = (int)pc_json_i64_or(body, "signal", 0);
        int code = (int)pc_json_i64_or(body, "code", 0);
        report_exit(parent, engine, signal, code, pc_json_str_or(body, "tail", ""));
        parent_cgroup_remove(&parent->cgroup, engine->uuid);
        is_replaced = was_ending ? parent_engine_ended(parent, was_wanted)
                                 : parent_restart_engine(parent, signal || code);
        pc_json_put_bool(body, "replaced", is_replaced);
        parent_engines_exited(&parent->engines, engine, is_replaced, body);
    }
    /* The scheduler knows best which tasks that ends. */
    parent_role_send(&parent->scheduler, PC_MSG_EXITED, body);
    return 0;
}

static const struct pc_handler handlers[] = {
    {PC_MSG_READY, PC_FROM_SCHED | PC_FROM_HUB | PC_FROM_NURSERY, on_ready},
    {PC_MSG_FAILED, PC_FROM_SCHED | PC_FROM_HUB | PC_FROM_NURSERY, on_failed},
    {PC_MSG_PONG, PC_FROM_SCHED | PC_FROM_HUB, on_pong},
    {PC_MSG_ENGINES, PC_FROM_SCHED, on_engines},
    {PC_MSG_QUERY, PC_FROM_SCHED, on_query},
    {PC_MSG_SPAWN, PC_FROM_SCHED, on_spawn},
    {PC_MSG_END, PC_FROM_SCHED, on_end},
    {PC_MSG_SIGNAL, PC_FROM_SCHED, on_signal},
    {PC_MSG_SHUTDOWN, PC_FROM_SCHED, on_shutdown},
    {PC_MSG_GOODBYE, PC_FROM_SCHED, on_shutdown},
    {PC_MSG_SPAWNED, PC_FROM_NURSERY, on_spawned},
    {PC_MSG_EXITED, PC_FROM_NURSERY, on_exited},
    {0},
};

int parent_take_message(struct parent_role *role, struct pc_msg *msg, struct pc_err *err)
{
    return pc_dispatch_msg(handlers, role->sender, role->parent, role, msg, err);
}
