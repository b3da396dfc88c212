/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a balanced task may run: on the engines that it was restricted to and on those that it
 * follows, but not where it failed before or found that they don't suit it. And what happens when
 * there is none, or none any more; and whether a task that failed gets another chance.
 *
 * A task that waits for others and may run on some engines only is watched meanwhile: when the last
 * of them goes it ends at once, not when what it waits for has ended. Looking at all that are
 * watched is for the death of an engine, never for the end of a task.
 */
#include <stdio.h>
#include <stdlib.h>

#include <utlist.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "sched/state.h"

static bool suits(const struct more *more, uint32_t id)
{
    return !ids_has(&more->avoided, id) && !ids_has(&more->unsuited, id) &&
           (more->follow.count == 0 || ids_has(&more->followed, id));
}

/* All but those where it was in vain. */
static struct group *find_open_group(struct sched *s, const struct more *more, const char *tags)
{
    size_t count = 0;
    uint32_t *ids = pc_xcalloc(more->avoided.count + more->unsuited.count + 1, sizeof(*ids));
    for (size_t i = 0; i < more->avoided.count; i++)
        ids[count++] = more->avoided.ids[i];
    for (size_t i = 0; i < more->unsuited.count; i++)
        ids[count++] = more->unsuited.ids[i];
    struct group *group = group_get(s, true, ids, count, tags);
    free(ids);
    return group;
}

static struct group *find_group(struct sched *s, const struct more *more)
{
    if (!more)
        return group_get(s, true, NULL, 0, "");
    const char *tags = more->tags ? more->tags : "";
    if (!more->targets.count && !more->follow.count)
        return find_open_group(s, more, tags);
    const struct ids *from = more->targets.count ? &more->targets : &more->followed;
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
    if (more && more->avoided.count && more->may_repeat) {
        more->avoided.count = 0;
        place_task(s, task);
    } else if (more && more->last_error) {
        task_deliver(s, task, pc_msg_ref(more->last_error));
    } else if (more && more->unsuited.count) {
        task_fail(s, task, "ImpossibleDependency",
                  "none of the engines meets the dependency that this task checks itself");
    } else {
        fail_impossible(s, task);
    }
}

/* One that was tried before has an error to tell: it waits only when it is known that somebody
 * comes, and when there is nobody with whom it may be repeated. */
bool place_may_wait(struct sched *s, const struct group *group, const struct more *more)
{
    if (!group_is_open(group))
        return false;
    if (more_was_tried(more))
        return !(more->may_repeat && more->avoided.count) && coming_include(s, group->tags);
    return !*group->tags || more->deadline_ms || tagsets_include(s, group->tags);
}

bool place_has_moved(struct sched *s, struct task *task)
{
    struct more *more = task->more;
    if (!more || !more->has_moved)
        return false;
    more->has_moved = false;
    struct group *group = find_group(s, more);
    bool is_other = group != task->group;
    group_put(group);
    return is_other;
}

/* Whether none of the engines on which it may run is left, whatever else it waits for. */
static bool is_hopeless(struct sched *s, const struct more *more)
{
    bool follow_is_known = more->follow.count && !deps_place_is_open(more);
    const struct ids *from = more->targets.count ? &more->targets : &more->followed;
    if (!more->targets.count && !follow_is_known)
        return false;
    for (size_t i = 0; i < from->count; i++) {
        uint32_t id = from->ids[i];
        const struct engine *engine = engine_find(s, id);
        if (engine && engine->state == ENGINE_UP && !ids_has(&more->avoided, id) &&
            !ids_has(&more->unsuited, id) && (!follow_is_known || ids_has(&more->followed, id)) &&
            pc_tags_include(engine->tags, more->tags ? more->tags : ""))
            return false;
    }
    return true;
}

void place_watch(struct sched *s, struct task *task)
{
    struct more *more = task->more;
    if (is_hopeless(s, more)) {
        give_up(s, task);
    } else if (!more->is_watched && (more->targets.count || more->follow.count)) {
        more->is_watched = true;
        DL_APPEND2(s->watched, more, watched_prev, watched_next);
    }
}

void place_unwatch(struct sched *s, struct task *task)
{
    struct more *more = task->more;
    if (!more || !more->is_watched)
        return;
    more->is_watched = false;
    DL_DELETE2(s->watched, more, watched_prev, watched_next);
}

void place_engine_gone(struct sched *s)
{
    struct more *more, *next;
    /* What depends on those that end may be the next one here: it is told afterwards. */
    bool was_settling = s->is_settling;
    s->is_settling = true;
    DL_FOREACH_SAFE2 (s->watched, more, next, watched_next)
        if (is_hopeless(s, more))
            give_up(s, more->task);
    s->is_settling = was_settling;
    deps_run(s);
}

void place_task(struct sched *s, struct task *task)
{
    struct more *more = task->more;
    place_unwatch(s, task);
    if (more)
        more->has_moved = false;
    task->group = find_group(s, more);
    if (task->group->members || place_may_wait(s, task->group, more)) {
        task_set_state(task, TASK_READY);
        queue_balanced(s, task);
        return;
    }
    group_put(task->group);
    task->group = NULL;
    if (more && more->follow.count && deps_place_is_open(more))
        place_watch(s, task);
    else
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
    more->is_late = false;
    more->start_by_ms = 0;
    if (is_unmet) {
        ids_add(&more->unsuited, task->engine->id);
        queue_note_start(s, task, -1);
    } else {
        more->retries--;
        ids_add(&more->avoided, task->engine->id);
        pc_msg_unref(more->last_error);
        more->last_error = pc_msg_ref(error);
    }
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
