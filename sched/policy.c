/* SPDX-License-Identifier: BSD-3-Clause */
#include "sched/policy.h"

#include <stdlib.h>
#include <string.h>

static const struct policy *const policies[] = {
    &policy_leastload, &policy_lru, &policy_plainrandom, &policy_twobin, &policy_weighted,
};

const struct policy *policy_find(const char *name)
{
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
        if (strcmp(policies[i]->name, name) == 0)
            return policies[i];
    return NULL;
}

void pool_init(struct pool *pool, const struct policy *policy, uint64_t seed)
{
    *pool = (struct pool){.policy = policy, .random = seed};
    heap_init(&pool->places, policy->before);
}

void pool_fini(struct pool *pool)
{
    heap_fini(&pool->places);
    free(pool->sums);
}

void pool_engine_up(struct pool *pool, struct place *place)
{
    heap_insert(&pool->places, &place->node);
    if (pool->policy->engine_up)
        pool->policy->engine_up(pool, place);
}

void pool_engine_down(struct pool *pool, struct place *place)
{
    if (pool->policy->engine_down)
        pool->policy->engine_down(pool, place);
    heap_remove(&pool->places, &place->node);
}

void pool_started(struct pool *pool, struct place *place)
{
    heap_moved(&pool->places, &place->node);
    if (pool->policy->started)
        pool->policy->started(pool, place);
}

void pool_finished(struct pool *pool, struct place *place)
{
    heap_moved(&pool->places, &place->node);
    if (pool->policy->finished)
        pool->policy->finished(pool, place);
}

bool pool_is_empty(const struct pool *pool)
{
    return pool->places.count == 0;
}

struct engine *pool_pick(struct pool *pool)
{
    return pool_is_empty(pool) ? NULL : pool->policy->pick(pool)->engine;
}

bool pool_used_before(const struct load *a, const struct load *b)
{
    return a->used != b->used ? a->used < b->used : a->id < b->id;
}

bool pool_unordered(const struct heap_node *a, const struct heap_node *b)
{
    return false;
}

struct place *pool_place(const struct heap_node *node)
{
    return (struct place *)((char *)(uintptr_t)node - offsetof(struct place, node));
}

/* SplitMix64: small, fast, and good enough to spread work. */
uint64_t pool_random(struct pool *pool, uint64_t limit)
{
    uint64_t z = pool->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % limit;
}

struct place *pool_any(struct pool *pool)
{
    return pool_place(pool->places.nodes[pool_random(pool, pool->places.count)]);
}
