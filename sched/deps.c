/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks that wait for tasks: `after` is about time, `follow` about place.
 *
 * Each dependency is an edge in the list of the task that it waits for. When that ends its edges
 * become due, and each settles one need of its waiter: the cost is the number of dependents. The
 * due ones are worked off in a loop, so that a chain of failures, however long, needs no stack.
 */
#include <stdlib.h>

#include <utlist.h>

#include "lib/mem.h"
#include "sched/state.h"

enum verdict { OPEN, MET, IMPOSSIBLE };

static enum verdict judge(const struct needs *needs)
{
    if (needs->count == 0)
        return MET;
    if (needs->rule & PC_NEED_ALL) {
        if (needs->missed)
            return IMPOSSIBLE;
        return needs->met == needs->count ? MET : OPEN;
    }
    if (needs->met)
        return MET;
    return needs->missed == needs->count ? IMPOSSIBLE : OPEN;
}

static void settle(struct more *more, bool is_follow, bool is_ok, uint32_t engine_id)
{
    struct needs *needs = is_follow ? &more->follow : &more->after;
    if (!(needs->rule & (is_ok ? PC_NEED_SUCCESS : PC_NEED_FAILURE))) {
        needs->missed++;
        return;
    }
    needs->met++;
    if (is_follow && engine_id != PC_NO_ENGINE)
        more->has_moved |= ids_add(&more->followed, engine_id);
}

bool deps_place_is_open(const struct more *more)
{
    const struct needs *follow = &more->follow;
    return follow->met + follow->missed < follow->count &&
           !(follow->rule & PC_NEED_ALL && more->followed.count);
}

/* Something that the task waits for has ended, or it was just submitted. */
void deps_advance(struct sched *s, struct task *task)
{
    struct more *more = task->more;
    enum verdict after = judge(&more->after), follow = judge(&more->follow);
    if (after == IMPOSSIBLE || follow == IMPOSSIBLE)
        task_fail(s, task, "ImpossibleDependency",
                  "a task that this one depends on has ended in another way than it needs");
    else if ((more->follow.rule & PC_NEED_ALL) && more->followed.count > 1)
        task_fail(s, task, "ImpossibleDependency",
                  "the tasks that this one follows ran on several engines");
    else if (after == MET && follow == MET)
        place_task(s, task);
    else
        place_watch(s, task);
}

/* ---- submitting ------------------------------------------------------------------------- */

/* -1: it names a task that is not known, or itself. */
static int add_edges(struct sched *s, struct task *task, const struct pc_submit_needs *body,
                     bool is_follow)
{
    struct more *more = task->more;
    struct needs *needs = is_follow ? &more->follow : &more->after;
    *needs = (struct needs){.count = body->count, .rule = body->rule};
    for (uint32_t i = 0; i < body->count; i++) {
        const uint8_t *pair = body->tasks + (size_t)i * PC_ACK_SIZE;
        struct task_key key = {pc_load_u64(pair), pc_load_u64(pair + 8)};
        struct task *source = task_find(s, key.session, key.sequence);
        struct edge *edge = &more->edges[more->edge_count++];
        bool is_ok;
        uint32_t engine_id;
        edge->waiter = task;
        edge->is_follow = is_follow;
        if (source == task)
            return -1;
        if (source && !task_is_over(source)) {
            edge->list = &source->dependents;
            DL_APPEND(source->dependents, edge);
        } else if (past_find(s, &key, &is_ok, &engine_id)) {
            settle(more, is_follow, is_ok, engine_id);
        } else if (task->is_repeated && !is_follow && key.session == task->key.session) {
            /* It was met before, or the earlier scheduler had ended this one. */
            needs->met++;
        } else {
            return -1;
        }
    }
    return 0;
}

void deps_submit(struct sched *s, struct task *task, const struct pc_submit_body *body)
{
    struct more *more = more_of(task);
    size_t count = (size_t)body->after.count + body->follow.count;
    if (count)
        more->edges = pc_xcalloc(count, sizeof(*more->edges));
    if (add_edges(s, task, &body->after, false) || add_edges(s, task, &body->follow, true))
        task_fail(s, task, "InvalidDependency",
                  "it depends on a task that the scheduler does not know (any more), or on itself");
    else
        deps_advance(s, task);
}

/* ---- ending ----------------------------------------------------------------------------- */

static void unlink_edge(struct edge *edge)
{
    DL_DELETE(*edge->list, edge);
    edge->list = NULL;
}

void deps_forget(struct task *task)
{
    for (size_t i = 0; task->more && i < task->more->edge_count; i++)
        if (task->more->edges[i].list)
            unlink_edge(&task->more->edges[i]);
}

void deps_ended(struct sched *s, struct task *task, bool is_ok)
{
    struct edge *edge;
    uint32_t engine_id = task->engine ? task->engine->id : PC_NO_ENGINE;
    /* All of them first: a waiter may have several edges to one task. */
    DL_FOREACH (task->dependents, edge) {
        edge->list = &s->due;
        settle(edge->waiter->more, edge->is_follow, is_ok, engine_id);
    }
    DL_CONCAT(s->due, task->dependents);
    task->dependents = NULL;
}

void deps_run(struct sched *s)
{
    if (s->is_settling || s->is_stopping)
        return;
    s->is_settling = true;
    queue_hold(s);
    while (s->due) {
        struct edge *edge = s->due;
        struct task *waiter = edge->waiter;
        unlink_edge(edge);
        /* One that is queued already may have got another engine to follow. */
        if (waiter->state == TASK_READY && place_has_moved(s, waiter))
            queue_recall(waiter);
        if (waiter->state == TASK_WAITING)
            deps_advance(s, waiter);
    }
    s->is_settling = false;
    queue_release(s);
}
