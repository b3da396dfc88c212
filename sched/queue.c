/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who runs what. Each engine has a queue of tasks addressed to it, which go first; balanced tasks
 * wait in the lanes of their group. An engine that can take a balanced task is free; while one is
 * free no task waits in any of its groups.
 */
#include <assert.h>

#include <utlist.h>

#include "sched/state.h"

/* ---- engines that can take a balanced task ----------------------------------------------- */

static bool can_take(const struct engine *engine)
{
    unsigned limit = ahead_limit(engine);
    return engine->state == ENGINE_UP && !engine->away.is_away &&
           (limit == 0 || engine->load.tasks < limit) && !engine->queue && !engine->is_recalling &&
           !engine->is_unreported;
}

/* After its load or its limit changed: puts it in its place in the pools. */
static void settle(struct engine *engine, bool has_more)
{
    bool was_free = engine->is_free;
    engine->is_free = can_take(engine);
    if (engine->is_free || was_free)
        groups_engine_changed(engine, was_free, has_more);
}

/* ---- steps ------------------------------------------------------------------------------ */

static void begin(struct task *task)
{
    task_set_state(task, TASK_RUNNING);
    timeouts_running(task->engine->sched, task);
}

void queue_note_start(struct sched *s, struct task *task, int change)
{
    if (!task->is_durable)
        return;
    task->starts += (uint32_t)change;
    begun_mark(&s->begun, task->key.session, task->key.sequence, task->starts);
}

static void assign(struct engine *engine, struct task *task)
{
    task->engine = engine;
    task_set_state(task, TASK_ASSIGNED);
    timeouts_clear(engine->sched, task);
    DL_APPEND(engine->running, task);
    if (engine->running == task)
        begin(task);
    engine->load.tasks++;
    engine->load.used = ++engine->sched->turn;
    task->run = ++engine->runs;
    ahead_assigned(engine);
    queue_note_start(engine->sched, task, 1);
    world_acks(engine);
    world_run(engine, task);
    records_started(engine->sched, task);
}

void queue_attach(struct engine *engine, struct task *task)
{
    DL_APPEND(engine->running, task);
    if (engine->running == task)
        begin(task);
    engine->load.tasks++;
    task->run = engine->runs;
    records_started(engine->sched, task);
}

static void assign_waiting(struct engine *engine)
{
    struct task *task;
    while (can_take(engine) && (task = groups_next_for(engine)) != NULL) {
        group_serve(task);
        assign(engine, task);
    }
}

/* ---- several decisions at once -------------------------------------------------------------- */

/* Between queue_hold and queue_release what happens happens at the same moment: who goes where is
 * decided at the end, when all is known that waits and all that is free. */
void queue_hold(struct sched *s)
{
    s->held++;
}

static void note_unmatched(struct group *group)
{
    if (group->is_unmatched)
        return;
    group->is_unmatched = true;
    group->users++;
    LL_PREPEND2(group->sched->unmatched, group, unmatched_next);
}

static bool can_match(const struct group *group)
{
    return heap_first(&group->waiting) && !pool_is_empty(&group->pool);
}

/* Orders those in which a task waits and an engine is free, now that their order is final. */
static void order_unmatched(struct sched *s)
{
    struct group *group;
    while ((group = s->unmatched) != NULL) {
        LL_DELETE2(s->unmatched, group, unmatched_next);
        group->is_unmatched = false;
        if (can_match(group))
            heap_insert(&s->matching, &group->turn);
        else
            group_put(group);
    }
}

void queue_release(struct sched *s)
{
    struct group *group;
    if (--s->held)
        return;
    order_unmatched(s);
    while ((group = groups_first(&s->matching)) != NULL) {
        if (can_match(group)) { /* another one may have taken its last engine */
            struct engine *engine = pool_pick(&group->pool);
            struct task *task = group_first(group);
            group_serve(task);
            assign(engine, task);
            settle(engine, true);
        }
        if (can_match(group)) {
            heap_moved(&s->matching, &group->turn);
        } else {
            heap_remove(&s->matching, &group->turn);
            group_put(group);
        }
    }
}

static void note_waiting(const struct engine *engine)
{
    struct member *member;
    DL_FOREACH2 (engine->members, member, engine_next)
        if (heap_first(&member->group->waiting))
            note_unmatched(member->group);
}

/* ---- what engines and tasks ask for --------------------------------------------------------- */

void queue_advance(struct engine *engine)
{
    unsigned before = engine->load.tasks;
    while (engine->state == ENGINE_UP && !engine->away.is_away && engine->queue &&
           !engine->is_recalling && engine->load.tasks < SCHED_DIRECT_AHEAD) {
        struct task *task = engine->queue;
        DL_DELETE(engine->queue, task);
        assign(engine, task);
    }
    if (engine->sched->held)
        note_waiting(engine);
    else
        assign_waiting(engine);
    if (engine->acks.size >= SCHED_ACK_COUNT * PC_ACK_SIZE ||
        engine->acked_bytes >= SCHED_ACK_BYTES)
        world_acks(engine);
    settle(engine, engine->load.tasks > before);
}

void queue_finished(struct task *task)
{
    struct engine *engine = task->engine;
    DL_DELETE(engine->running, task);
    timeouts_clear(engine->sched, task);
    engine->load.tasks--;
    if (engine->running && engine->running->state == TASK_ASSIGNED)
        begin(engine->running);
    if (engine->is_free) /* without a limit its place in the pools follows its load */
        settle(engine, false);
}

void queue_withdraw(struct task *task)
{
    struct engine *engine = task->engine;
    if (task->lane) {
        group_dequeue(task);
    } else {
        DL_DELETE(engine->queue, task);
        task->engine = NULL;
        queue_advance(engine);
    }
}

void queue_direct(struct sched *s, struct task *task, struct engine *engine)
{
    task->engine = engine;
    DL_APPEND(engine->queue, task);
    queue_advance(engine);
}

void queue_balanced(struct sched *s, struct task *task)
{
    struct engine *engine = s->held ? NULL : group_pick(task->group);
    if (engine) {
        assign(engine, task);
        settle(engine, true);
        return;
    }
    group_enqueue(task->group, task);
    if (s->held)
        note_unmatched(task->group);
}

void queue_set_hwm(struct sched *s, unsigned hwm)
{
    struct engine *engine, *next;
    s->hwm = hwm;
    queue_hold(s);
    HASH_ITER (hh_id, s->engines_by_id, engine, next)
        if (engine->state == ENGINE_UP) {
            ahead_watch(engine);
            queue_advance(engine);
        }
    queue_release(s);
}

/* ---- engines come and go ----------------------------------------------------------------- */

void queue_engine_up(struct engine *engine)
{
    tagsets_add(engine->sched, engine->tags);
    coming_engine_up(engine);
    groups_engine_up(engine);
    queue_advance(engine);
}

void queue_recall(struct task *task)
{
    queue_withdraw(task);
    group_put(task->group);
    task->group = NULL;
    task_set_state(task, TASK_WAITING);
}

/* Its group is no longer the right one, or nobody is left in it and nobody may come: it looks for
 * another one, or ends. */
static void check_group(struct sched *s, struct task *task)
{
    if (!place_has_moved(s, task) &&
        (task->group->members || place_may_wait(s, task->group, task->more)))
        return;
    queue_recall(task);
    place_task(s, task);
}

static void check_stranded(struct sched *s, struct group *group)
{
    struct lane *lane, *next_lane;
    struct task *task, *next;
    if (group->members)
        return;
    group->users++; /* it must outlive its tasks for a moment */
    /* What depends on those that end may be the next one here: it is told afterwards. */
    bool was_settling = s->is_settling;
    s->is_settling = true;
    HASH_ITER (hh, group->lanes, lane, next_lane)
        for (task = lane->tasks; task; task = next) {
            next = task->next;
            check_group(s, task);
            if (!next)
                break; /* the lane may be gone */
        }
    s->is_settling = was_settling;
    group_put(group);
    deps_run(s);
}

void queue_check_stranded(struct sched *s)
{
    struct group *group, *next;
    queue_hold(s);
    for (group = s->groups; group; group = next) {
        group->users++;
        check_stranded(s, group);
        next = group->hh.next;
        group_put(group);
    }
    queue_release(s);
}

void queue_engine_away(struct engine *engine)
{
    settle(engine, false);
}

void queue_engine_down(struct engine *engine)
{
    struct sched *s = engine->sched;
    struct member *member;
    queue_hold(s);
    settle(engine, false);
    while ((member = engine->members) != NULL) {
        struct group *group = member->group;
        group->users++;
        group_leave(member);
        check_stranded(s, group);
        group_put(group);
    }
    place_engine_gone(s);
    queue_release(s);
}

void queue_take_back(struct task *task)
{
    struct engine *engine = task->engine;
    struct sched *s = engine->sched;
    DL_DELETE(engine->running, task);
    timeouts_clear(s, task);
    engine->load.tasks--;
    if (task->is_aborted) {
        task_fail(s, task, "TaskAborted", "the task was aborted before it started");
        return;
    }
    queue_note_start(s, task, -1);
    task_set_state(task, TASK_WAITING);
    task_set_state(task, TASK_READY);
    if (!task->is_balanced) {
        DL_PREPEND(engine->queue, task);
        return;
    }
    task->engine = NULL;
    group_enqueue_first(task->group, task);
    note_unmatched(task->group);
    timeouts_again(s, task);
    check_group(s, task);
}

/* Its engine has ended, and had not come to it: others can run it. The first one may be what the
 * engine died of, by its size for example: it must not go on and on and end them all. */
static bool is_spared(const struct engine *engine, struct task *task)
{
    if (!task->is_balanced || (int32_t)(task->run - engine->begun) <= 0)
        return false;
    if (task != engine->running || engine->is_dismissed)
        return true;
    bool was_spared = task->was_spared;
    task->was_spared = true;
    return !was_spared;
}

static void spare_unbegun(struct engine *engine)
{
    struct task *task, *before;
    for (task = engine->running ? engine->running->prev : NULL; task; task = before) {
        before = task == engine->running ? NULL : task->prev;
        if (is_spared(engine, task))
            queue_take_back(task);
    }
}

/* Everything that was on this engine fails, saying why. */
void queue_engine_gone(struct engine *engine)
{
    struct sched *s = engine->sched;
    struct task *task, *next;
    queue_hold(s);
    coming_engine_gone(engine);
    queue_engine_down(engine);
    ahead_engine_gone(engine);
    again_engine_gone(engine);
    records_engine_gone(engine);
    if (engine->has_exited && engine->knows_begun)
        spare_unbegun(engine);
    while ((task = engine->running) != NULL) {
        queue_finished(task);
        task_lost(engine, task);
    }
    while ((task = engine->queue) != NULL) {
        DL_DELETE(engine->queue, task);
        task_fail(s, task, "EngineError", engine->why);
    }
    /* The results that it delivered need no acknowledgement any more. */
    DL_FOREACH_SAFE (engine->delivered, task, next) {
        DL_DELETE(engine->delivered, task);
        task->engine = NULL;
    }
    queue_release(s);
}
