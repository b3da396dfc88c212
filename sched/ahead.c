/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Short tasks are sent ahead.
 *
 * With one task outstanding an engine waits for the wire after each: for a task of some
 * microseconds that is most of the time. So an engine whose last results took no time gets several,
 * whatever the limit is, and the more of them the shorter they were. Should one of them take
 * longer, those behind it are called back, and go where there is room: no task waits behind a long
 * one for more than some milliseconds.
 *
 * RUNs are numbered by both sides. A RECALL names the last ones, and the engine's second thread
 * answers which of them will not begin. Until then the engine gets nothing, so there is at most
 * one range of numbers under way.
 */
#include <utlist.h>

#include "sched/state.h"

unsigned ahead_limit(const struct engine *engine)
{
    unsigned hwm = engine->sched->hwm;
    bool is_quick = engine->quick_count >= SCHED_AHEAD_AFTER;
    return is_quick && hwm && hwm < engine->quick_limit ? engine->quick_limit : hwm;
}

/* Very short tasks go out several at a time: while the engine works on them another one could
 * hardly be woken up, and each wake-up costs more than they do. At most half of what it may have,
 * so that it never waits for the next portion. */
unsigned ahead_portion(const struct engine *engine)
{
    if (engine->quick_count < SCHED_AHEAD_AFTER)
        return 1;
    unsigned count = SCHED_AHEAD_WAKE_US / (engine->quick_us ? engine->quick_us : 1);
    unsigned most = ahead_limit(engine) / 2;
    return count < most ? count : most;
}

static bool has_too_many(const struct engine *engine)
{
    unsigned hwm = engine->sched->hwm;
    return hwm && engine->load.tasks > hwm;
}

static void unwatch(struct engine *engine)
{
    engine->is_ahead = false;
    DL_DELETE2(engine->sched->ahead, engine, ahead_prev, ahead_next);
}

void ahead_watch(struct engine *engine)
{
    struct sched *s = engine->sched;
    if (engine->is_ahead || !has_too_many(engine))
        return;
    if (!s->ahead)
        world_check_ahead(s, SCHED_AHEAD_RECALL_MS);
    engine->is_ahead = true;
    DL_APPEND2(s->ahead, engine, ahead_prev, ahead_next);
}

void ahead_assigned(struct engine *engine)
{
    if (engine->load.tasks == 1)
        engine->progress_ms = world_now_ms(engine->sched);
    ahead_watch(engine);
}

/* What is under way shall last equally long, whatever a task takes: results of shorter ones share
 * more of the wake-ups. */
static void set_limit(struct engine *engine, uint32_t took_us)
{
    uint32_t late_us = engine->quick_us - engine->quick_us / 8; /* the past counts less and less */
    engine->quick_us = took_us > late_us ? took_us : late_us;
    unsigned limit = SCHED_AHEAD * SCHED_AHEAD_US / (engine->quick_us ? engine->quick_us : 1);
    engine->quick_limit = limit < SCHED_AHEAD_MOST ? (uint8_t)limit : SCHED_AHEAD_MOST;
}

void ahead_measure(struct engine *engine, const struct pc_result_body *body)
{
    int64_t took_us = body->completed_us - body->started_us;
    bool is_quick = body->started_us > 0 && took_us >= 0 && took_us <= SCHED_AHEAD_US;
    if (!is_quick)
        engine->quick_count = 0;
    else if (engine->quick_count < SCHED_AHEAD_AFTER)
        engine->quick_count++;
    if (is_quick) {
        set_limit(engine, (uint32_t)took_us);
        engine->progress_ms = world_now_ms(engine->sched);
    }
    ahead_watch(engine); /* the next one may be slow */
}

static void recall(struct engine *engine, uint32_t first)
{
    engine->recalled = first;
    engine->is_recalling = true;
    world_recall(engine, first);
}

/* Of what it has not begun, as far as we know; NULL: none. Of an engine that was given thousands
 * too: looking through them, and sending them again, costs more than waiting for its turn. */
static const struct task *first_aborted(const struct engine *engine)
{
    if (!engine->running || engine->load.tasks > SCHED_AHEAD_MOST + SCHED_DIRECT_AHEAD)
        return NULL;
    const struct task *task = engine->running->next;
    while (task && !task->is_aborted)
        task = task->next;
    return task;
}

/* Those behind it are called back with it, and sent again. */
void ahead_aborted(struct engine *engine)
{
    if (engine->state != ENGINE_UP || engine->is_recalling)
        return;
    const struct task *task = first_aborted(engine);
    if (!task)
        return;
    recall(engine, task->run);
    queue_advance(engine); /* until it has answered it gets nothing */
}

/* Of what it may not have begun, when that has any that others can run; NULL: none. */
static const struct task *first_movable(const struct engine *engine)
{
    const struct task *first = engine->running ? engine->running->next : NULL;
    for (const struct task *task = first; task; task = task->next)
        if (task->is_balanced)
            return first;
    return NULL;
}

void ahead_leaving(struct engine *engine)
{
    const struct task *task = engine->is_recalling ? NULL : first_movable(engine);
    if (task)
        recall(engine, task->run);
}

/* What it was not asked for yet, because it had not answered. */
static void recall_more(struct engine *engine)
{
    bool is_leaving = engine->state == ENGINE_LEAVING;
    const struct task *task = is_leaving ? first_movable(engine) : first_aborted(engine);
    if (task && (int32_t)(task->run - engine->recalled) < 0)
        recall(engine, task->run);
}

/* Its tasks beyond the limit: from the first of them to the last number, whatever of these was
 * called back before. */
static void call_back(struct engine *engine)
{
    unsigned count = engine->load.tasks - engine->sched->hwm;
    uint32_t first = engine->runs + 1;
    bool helps = false; /* what is addressed to this engine can't go elsewhere */
    const struct task *task = engine->running->prev;
    for (; count; count--, task = task->prev) {
        helps |= task->is_balanced;
        first = task->run;
    }
    engine->quick_count = 0;
    if (helps)
        recall(engine, first);
    queue_advance(engine);
}

void ahead_check(struct sched *s)
{
    struct engine *engine, *next;
    int64_t now = world_now_ms(s);
    DL_FOREACH_SAFE2 (s->ahead, engine, next, ahead_next) {
        bool is_slow = now - engine->progress_ms >= SCHED_AHEAD_RECALL_MS;
        bool has_any = has_too_many(engine) && engine->state == ENGINE_UP && !engine->is_recalling;
        if (has_any && !is_slow)
            continue;
        unwatch(engine);
        if (has_any)
            call_back(engine);
    }
    if (s->ahead)
        world_check_ahead(s, SCHED_AHEAD_RECALL_MS);
}

int ahead_recalled(struct engine *engine, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_recall_body body;
    if (pc_recall_decode(msg, &body, err))
        return -1;
    if (!engine->is_recalling || body.last != engine->runs ||
        body.first - engine->recalled > engine->runs + 1 - engine->recalled)
        return pc_err_set(err, PC_E_PROTOCOL, "RECALL of tasks that were not called back");
    if (engine->state != ENGINE_UP && engine->state != ENGINE_LEAVING)
        return 0;
    /* It must not get one of them again while we are at it. */
    struct task *last;
    queue_hold(engine->sched);
    while (engine->running &&
           (last = engine->running->prev)->run - body.first <= engine->runs - body.first &&
           body.first != engine->runs + 1)
        queue_take_back(last);
    engine->is_recalling = false;
    ahead_watch(engine); /* when some had begun, or it could not say yet */
    recall_more(engine);
    queue_advance(engine);
    queue_release(engine->sched);
    return 0;
}

void ahead_engine_gone(struct engine *engine)
{
    if (engine->is_ahead)
        unwatch(engine);
}
