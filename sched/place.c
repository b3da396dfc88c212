/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a balanced task may run: on the engines that it was restricted to and on those that it
 * follows, but not where it failed before. And what happens when there is none, or none any more;
 * and whether a task that failed gets another chance.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "sched/state.h"

static bool suits(const struct more *more, uint32_t id)
{
    return !ids_has(&more->avoided, id) &&
           (more->follow.count == 0 || ids_has(&more->followed, id));
}

static struct group *find_group(struct sched *s, const struct more *more)
{
    const struct ids *from;
    if (!more)
        return group_get(s, true, NULL, 0, "");
    const char *tags = more->tags ? more->tags : "";
    if (more->targets.count)
        from = &more->targets;
    else if (more->follow.count)
        from = &more->followed;
    else
        return group_get(s, true, more->avoided.ids, more->avoided.count, tags);
    uint32_t *ids = pc_xcalloc(from->count + 1, sizeof(*ids));
    size_t count = 0;
    for (size_t i = 0; i < from->count; i++)
        if (suits(more, from->ids[i]))
            ids[count++] = from->ids[i];
    struct group *group = group_get(s, false, ids, count, tags);
    free(ids);
    return group;
}

static void fail_impossible(struct sched *s, struct task *task)
{
    const struct more *more = task->more;
    char text[PC_TAGS_MAX + 200] =
        "none of the engines that this task is restricted to is registered";
    if (more->follow.count)
        snprintf(text, sizeof(text),
                 "the engine of the task that this one follows is gone, or not allowed");
    else if (more->targets.count && more->tags)
        snprintf(text, sizeof(text),
                 "none of the engines that this task is restricted to has the tags '%s'",
                 more->tags);
    else if (more->tags)
        snprintf(text, sizeof(text),
                 "no engine has the tags '%s', and none ever had: start one with --tag, or give "
                 "the task a timeout to wait for it",
                 more->tags);
    task_fail(s, task, "ImpossibleDependency", text);
}

/* No engine is left on which it could run, and none will come. */
static void give_up(struct sched *s, struct task *task)
{
    struct more *more = task->more;
    if (more && more->is_unmet) {
        task_fail(s, task, "ImpossibleDependency",
                  "none of the engines meets the dependency that this task checks itself");
    } else if (more && more->avoided.count && more->may_repeat) {
        more->avoided.count = 0;
        place_task(s, task);
    } else if (more && more->last_error) {
        task_deliver(s, task, pc_msg_ref(more->last_error));
    } else {
        fail_impossible(s, task);
    }
}

/* Whether it waits in this group while nobody is in it. One that was tried before does not: it has
 * an error to tell. */
static bool may_wait(struct sched *s, const struct group *group, const struct more *more)
{
    if (!group_is_open(group) || (more && more->last_error))
        return false;
    return !*group->tags || more->deadline_ms || tagsets_include(s, group->tags);
}

void place_task(struct sched *s, struct task *task)
{
    struct more *more = task->more;
    task->group = find_group(s, more);
    if (task->group->members || may_wait(s, task->group, more)) {
        task_set_state(task, TASK_READY);
        queue_balanced(s, task);
        return;
    }
    group_put(task->group);
    task->group = NULL;
    if (!more || !more->follow.count || !deps_may_still_follow(more))
        give_up(s, task);
}

/* ---- another chance --------------------------------------------------------------------- */

bool place_may(const struct task *task, bool is_unmet)
{
    if (!task->is_balanced || task->is_aborted)
        return false;
    return is_unmet || (task->more && task->more->retries > 0);
}

void place_again(struct sched *s, struct task *task, struct pc_msg *error, bool is_unmet)
{
    struct more *more = more_of(task);
    more->retries -= !is_unmet;
    more->is_unmet = is_unmet;
    more->is_late = false;
    more->start_by_ms = 0;
    ids_add(&more->avoided, task->engine->id);
    pc_msg_unref(more->last_error);
    more->last_error = pc_msg_ref(error);
    /* The engine must have forgotten the result before the task comes again. */
    task->result_bytes = error->parts_bytes;
    if (task->state != TASK_LOST)
        task_acknowledge(task->engine, task);
    task->engine = NULL;
    group_put(task->group);
    task->group = NULL;
    task_set_state(task, TASK_WAITING);
    place_task(s, task);
}
