/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only some tasks have: dependencies, restrictions, retries, limits of time. A plain task has
 * no such record and costs nothing for it.
 */
#ifndef PC_SCHED_MORE_H
#define PC_SCHED_MORE_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/heap.h"

struct task;

/* A task waits for another one. Owned by its waiter; in a list of what it waits for, or in
 * sched.due once that has ended and its waiter is to be looked at. */
struct edge {
    struct edge *next, *prev;
    struct edge **list; /* NULL: settled */
    struct task *waiter;
    bool is_follow;
};

/* Some of a task's dependencies, and how many of them ended in a way that counts (met) or in one
 * that does not (missed). */
struct needs {
    uint32_t count, met, missed;
    uint8_t rule; /* PC_NEED_* */
};

struct ids {
    uint32_t *ids;
    size_t count;
};

/* Owned by its task. */
struct more {
    struct task *task;
    struct heap_node deadline_node; /* in sched.deadlines while deadline_ms is not 0 */
    int64_t deadline_ms;
    int64_t start_by_ms; /* its deadline while it waits; 0: none, or it has begun */
    uint32_t run_timeout_ms, retries;
    bool may_repeat;           /* also on an engine where it failed */
    bool is_told;              /* it was interrupted and has its grace time now */
    bool is_late;              /* ... because it ran too long */
    bool is_watched;           /* see place.c */
    bool has_moved;            /* there are more engines to follow than when it was placed */
    struct pc_msg *last_error; /* of the last attempt that was one; NULL: none was */
    struct ids targets, followed;
    struct ids avoided;  /* where it failed */
    struct ids unsuited; /* where it found that they don't suit it */
    struct more *watched_next, *watched_prev;
    char *tags; /* that its engine must have; NULL: none */
    struct needs after, follow;
    struct edge *edges;
    size_t edge_count;
};

/* Whether it was on an engine already. NULL is fine. */
bool more_was_tried(const struct more *more);
/* False: it was there. */
bool ids_add(struct ids *ids, uint32_t id);
bool ids_has(const struct ids *ids, uint32_t id);

/* The record of a task; made when it has none. */
struct more *more_of(struct task *task);
void more_free(struct task *task);

#endif
