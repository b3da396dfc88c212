/* SPDX-License-Identifier: BSD-3-Clause */
/* Of two engines taken at random the one that was used less recently. */
#include "sched/policy.h"

static struct place *pick(struct pool *pool)
{
    struct place *one = pool_any(pool), *other = pool_any(pool);
    return other->load->used < one->load->used ? other : one;
}

const struct policy policy_twobin = {.name = "twobin", .before = pool_unordered, .pick = pick};
