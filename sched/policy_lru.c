/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine that was used least recently, whatever it has to do; new ones first. */
#include "sched/policy.h"

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    return pool_used_before(pool_place(a)->load, pool_place(b)->load);
}

static struct place *pick(struct pool *pool)
{
    return pool_place(heap_first(&pool->places));
}

const struct policy policy_lru = {.name = "lru", .before = before, .pick = pick};
