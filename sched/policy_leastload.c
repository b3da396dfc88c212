/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine with the fewest tasks; among equals the one that was used least recently. */
#include "sched/policy.h"

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    const struct load *x = pool_place(a)->load, *y = pool_place(b)->load;
    return x->tasks != y->tasks ? x->tasks < y->tasks : pool_used_before(x, y);
}

static struct place *pick(struct pool *pool)
{
    return pool_place(heap_first(&pool->places));
}

const struct policy policy_leastload = {.name = "leastload", .before = before, .pick = pick};
