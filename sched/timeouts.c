/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Limits of time: until a task starts, while it runs, and for what was told to end. One heap of
 * deadlines, one timer. A task has one deadline at a time, because it waits or runs.
 */
#include <stdio.h>

#include "sched/state.h"

static struct more *more_at(const struct heap_node *node)
{
    return (struct more *)((char *)(uintptr_t)node - offsetof(struct more, deadline_node));
}

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    return more_at(a)->deadline_ms < more_at(b)->deadline_ms;
}

void timeouts_init(struct sched *s)
{
    heap_init(&s->deadlines, before);
}

void timeouts_fini(struct sched *s)
{
    heap_fini(&s->deadlines);
}

static void wake_for_first(struct sched *s)
{
    struct heap_node *first = heap_first(&s->deadlines);
    if (first)
        world_wake_at(s, more_at(first)->deadline_ms);
}

void timeouts_clear(struct sched *s, struct task *task)
{
    struct more *more = task->more;
    if (!more || !more->deadline_ms)
        return;
    heap_remove(&s->deadlines, &more->deadline_node);
    more->deadline_ms = 0; /* the timer may come for nothing */
}

static void set_at(struct sched *s, struct task *task, int64_t at_ms)
{
    struct more *more = more_of(task);
    timeouts_clear(s, task);
    more->deadline_ms = at_ms;
    heap_insert(&s->deadlines, &more->deadline_node);
    if (heap_first(&s->deadlines) == &more->deadline_node)
        wake_for_first(s);
}

static void timeouts_set(struct sched *s, struct task *task, uint32_t in_ms)
{
    set_at(s, task, world_now_ms(s) + in_ms);
}

void timeouts_start_by(struct sched *s, struct task *task, uint32_t in_ms)
{
    timeouts_set(s, task, in_ms);
    task->more->start_by_ms = task->more->deadline_ms;
}

void timeouts_again(struct sched *s, struct task *task)
{
    struct more *more = task->more;
    if (more && more->start_by_ms)
        set_at(s, task, more->start_by_ms);
}

void timeouts_running(struct sched *s, struct task *task)
{
    if (!task->more)
        return;
    task->more->is_told = task->more->is_late = false;
    if (task->more->run_timeout_ms)
        timeouts_set(s, task, task->more->run_timeout_ms);
}

void timeouts_told(struct sched *s, struct task *task)
{
    timeouts_set(s, task, SCHED_INTERRUPT_GRACE_MS);
    task->more->is_told = true;
}

/* It was not started in time. */
static void expire_waiting(struct sched *s, struct task *task)
{
    if (task->state == TASK_READY)
        queue_withdraw(task);
    task_fail(s, task, "TaskTimeout", "no engine could take the task within its timeout");
}

/* It runs too long: it is told so, and when that does not help its engine has to go. */
static void expire_running(struct sched *s, struct task *task)
{
    struct more *more = task->more;
    char text[128];
    if (!more->is_told) {
        more->is_late = true;
        world_abort(task->engine, task, PC_ABORT_INTERRUPT);
        timeouts_told(s, task);
        return;
    }
    snprintf(text, sizeof(text),
             "was ended: a task on it went on for %d s after it had been interrupted",
             SCHED_INTERRUPT_GRACE_MS / 1000);
    world_kill(task->engine, text);
}

void timeouts_expire(struct sched *s)
{
    struct heap_node *first;
    while ((first = heap_first(&s->deadlines)) != NULL) {
        struct task *task = more_at(first)->task;
        if (task->more->deadline_ms > world_now_ms(s))
            break;
        timeouts_clear(s, task);
        if (task->state == TASK_WAITING || task->state == TASK_READY)
            expire_waiting(s, task);
        else
            expire_running(s, task);
    }
    wake_for_first(s);
}
