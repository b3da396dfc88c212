/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which of the engines that can take a balanced task gets it.
 *
 * A pool is the set of engines that can take one now. A policy keeps the pool in an order of its
 * own and picks; it sees loads and times of use, nothing else, so that it can be tested alone. No
 * policy looks at every engine: each step costs at most the logarithm of their number.
 */
#ifndef PC_SCHED_POLICY_H
#define PC_SCHED_POLICY_H

#include <stdint.h>

#include "sched/heap.h"

struct engine;
struct pool;

/* Of one engine; seen by all of its places. */
struct load {
    unsigned tasks; /* outstanding */
    uint64_t used;  /* when it was last given one, as a number that only grows; 0: never */
    uint32_t id;    /* decides among those that were never used */
};

/* One engine in one pool. */
struct place {
    struct heap_node node;
    const struct load *load;
    struct engine *engine;
};

struct policy {
    const char *name;
    heap_before *before; /* order of the pool; see pool_unordered */
    /* One of those in the pool, which is not empty. It stays there. */
    struct place *(*pick)(struct pool *pool);
    /* It can take a task (again), it can't any more, its load has grown or shrunk while it is in
     * the pool. NULL: keeping the order is enough. */
    void (*engine_up)(struct pool *pool, struct place *place);
    void (*engine_down)(struct pool *pool, struct place *place);
    void (*started)(struct pool *pool, struct place *place);
    void (*finished)(struct pool *pool, struct place *place);
};

struct pool {
    const struct policy *policy;
    struct heap places;
    uint64_t random; /* state of the generator */
    uint64_t *sums;  /* policy_weighted: partial sums of weights */
    size_t sums_capacity;
};

extern const struct policy policy_leastload, policy_lru, policy_plainrandom, policy_twobin,
    policy_weighted;

/* NULL: there is none of that name. */
const struct policy *policy_find(const char *name);

void pool_init(struct pool *pool, const struct policy *policy, uint64_t seed);
void pool_fini(struct pool *pool);
void pool_engine_up(struct pool *pool, struct place *place);
void pool_engine_down(struct pool *pool, struct place *place);
void pool_started(struct pool *pool, struct place *place);
void pool_finished(struct pool *pool, struct place *place);
bool pool_is_empty(const struct pool *pool);
/* NULL: nobody can take a task. */
struct engine *pool_pick(struct pool *pool);

/* ---- for policies ---- */
/* Less recently used. */
bool pool_used_before(const struct load *a, const struct load *b);
/* The order of a pool that has none. */
bool pool_unordered(const struct heap_node *a, const struct heap_node *b);
struct place *pool_place(const struct heap_node *node);
/* Evenly from 0 to below `limit`, which is not 0. */
uint64_t pool_random(struct pool *pool, uint64_t limit);
struct place *pool_any(struct pool *pool);

#endif
