/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Of two engines taken at random the one with less to do, where an engine is taken the more often
 * the less it has to do: in proportion to 1 / (1 + its tasks).
 *
 * The weights are kept as a Fenwick tree beside the pool's array, so that neither drawing nor a
 * change looks at all of them.
 */
#include <string.h>

#include "lib/mem.h"
#include "sched/policy.h"

#define WEIGHT_ONE (UINT64_C(1) << 32)

static uint64_t weight_of(const struct place *place)
{
    return WEIGHT_ONE / (1 + (uint64_t)place->load->tasks);
}

/* Adds to the weight at `index`; unsigned numbers wrap around, so that a difference may be
 * negative. */
static void add(struct pool *pool, size_t index, uint64_t difference)
{
    for (size_t i = index + 1; i <= pool->sums_capacity; i += i & -i)
        pool->sums[i - 1] += difference;
}

static uint64_t sum_below(const struct pool *pool, size_t index)
{
    uint64_t sum = 0;
    for (size_t i = index; i > 0; i -= i & -i)
        sum += pool->sums[i - 1];
    return sum;
}

/* Makes the weight at `index` what it should be; 0 for nobody. */
static void set(struct pool *pool, size_t index, const struct place *place)
{
    uint64_t old = sum_below(pool, index + 1) - sum_below(pool, index);
    add(pool, index, (place ? weight_of(place) : 0) - old);
}

static void grow(struct pool *pool)
{
    size_t capacity = pool->sums_capacity ? 2 * pool->sums_capacity : 16;
    pool->sums = pc_xrealloc(pool->sums, capacity, sizeof(*pool->sums));
    memset(pool->sums, 0, capacity * sizeof(*pool->sums));
    pool->sums_capacity = capacity;
    for (size_t i = 0; i < pool->places.count; i++)
        add(pool, i, weight_of(pool_place(pool->places.nodes[i])));
}

static void changed(struct pool *pool, struct place *place)
{
    if (pool->places.count > pool->sums_capacity)
        grow(pool);
    else
        set(pool, place->node.index, place);
}

/* The last one of the array is about to take its index. */
static void engine_down(struct pool *pool, struct place *place)
{
    size_t last = pool->places.count - 1;
    set(pool, place->node.index, pool_place(pool->places.nodes[last]));
    set(pool, last, NULL);
}

static struct place *draw(struct pool *pool)
{
    uint64_t left = pool_random(pool, sum_below(pool, pool->places.count));
    size_t index = 0; /* the capacity is a power of two: go down the tree */
    for (size_t step = pool->sums_capacity; step > 0; step /= 2)
        if (index + step <= pool->sums_capacity && pool->sums[index + step - 1] <= left) {
            index += step;
            left -= pool->sums[index - 1];
        }
    return pool_place(pool->places.nodes[index]);
}

static struct place *pick(struct pool *pool)
{
    struct place *one = draw(pool), *other = draw(pool);
    return other->load->tasks < one->load->tasks ? other : one;
}

const struct policy policy_weighted = {
    .name = "weighted",
    .before = pool_unordered,
    .pick = pick,
    .engine_up = changed,
    .engine_down = engine_down,
    .started = changed,
    .finished = changed,
};
