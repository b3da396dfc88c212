/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Balanced tasks that may run on the same engines share a group: one queue, and one pool of the
 * engines that can take a task now. A task without restriction is in the group of all engines.
 *
 * Within a group the order is: higher priority first; among equals clients take turns; a client's
 * own tasks in the order of submission. So each client has a lane per priority, and the lanes are
 * a heap. An event costs what the number of lanes and engines costs in a heap, and the number of
 * groups that its engine is in; never the number of tasks.
 */
#ifndef PC_SCHED_GROUP_H
#define PC_SCHED_GROUP_H

#include <uthash.h>

#include "sched/policy.h"

struct sched;
struct task;

/* One engine in one group; in engine.members and group.members. */
struct member {
    struct place place; /* in group.pool while the engine can take a task */
    struct group *group;
    struct member *engine_next, *engine_prev;
    struct member *group_next, *group_prev;
};

struct lane_key {
    uint64_t session;
    int64_t priority;
};

/* Owned by group.lanes. */
struct lane {
    struct lane_key key;
    UT_hash_handle hh;
    struct heap_node node; /* in group.waiting while it has tasks */
    uint64_t turn;         /* smaller: earlier */
    struct task *tasks;
};

/* Owned by sched.groups. */
struct group {
    UT_hash_handle hh;
    struct sched *sched;
    struct pool pool;
    struct member *members;
    struct engine *last; /* that was picked, so often in a row; or NULL */
    unsigned last_count;
    struct lane *lanes, *last_lane; /* last_lane: that of the latest task, or NULL */
    struct heap waiting;            /* lanes with tasks */
    struct group *unmatched_next;   /* in sched.unmatched, ... */
    bool is_unmatched;
    struct heap_node turn; /* ... then in sched.matching */
    unsigned users;        /* tasks that name it; freed with the last */
    const char *tags;      /* in the key; "": any engine */
    const uint32_t *ids;   /* in the key, rising: of its engines, or of those it excludes */
    size_t id_count;
    size_t key_size;
    uint32_t key[]; /* is_open, words of tags, tags, ids */
};

/* The group of those of these engines (`ids` need no order), or of all but these when it is open,
 * that have all of the tags. Counts one user. */
struct group *group_get(struct sched *sched, bool is_open, const uint32_t *ids, size_t count,
                        const char *tags);
void group_put(struct group *group); /* NULL is fine */
bool group_is_open(const struct group *group);

void groups_init(struct sched *sched);
void groups_fini(struct sched *sched);
void groups_engine_up(struct engine *engine);
/* Its engine is gone; a group in which nobody is left keeps its tasks. Frees the member. */
void group_leave(struct member *member);
/* Its load has changed, or whether it can take a task: `was_free` says how it was before. */
void groups_engine_changed(struct engine *engine, bool was_free, bool has_more);
void groups_set_policy(struct sched *sched, const struct policy *policy);

void group_enqueue(struct group *group, struct task *task);
/* Before all of its lane: it had its turn. */
void group_enqueue_first(struct group *group, struct task *task);
void group_dequeue(struct task *task);
/* ... because an engine takes it: that was its lane's turn. */
void group_serve(struct task *task);
/* Of a group with tasks: the one whose turn it is. */
struct task *group_first(const struct group *group);
/* The engine that gets the next task; NULL: nobody can take one. */
struct engine *group_pick(struct group *group);
/* Of groups in this heap, sched.matching, all of which have tasks: the one whose first task is the
 * first of all; NULL when it is empty. */
struct group *groups_first(const struct heap *heap);
/* The task that this engine should take next; stays queued. NULL: none waits for it. */
struct task *groups_next_for(const struct engine *engine);

#endif
