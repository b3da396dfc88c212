/* SPDX-License-Identifier: BSD-3-Clause */
/* Any engine. */
#include "sched/policy.h"

const struct policy policy_plainrandom = {
    .name = "plainrandom", .before = pool_unordered, .pick = pool_any};
