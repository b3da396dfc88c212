/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A control group for each engine, with limits of its own (cgroups of the second version), below
 * the group that we are in. That one must have been delegated to us, as a service with Delegate=yes
 * is; we move to a group below it, because a group with limits for those below has no processes.
 *
 *     our group ─┬─ parent        this process, hub, scheduler, nursery
 *                ├─ engine-UUID   memory.max, cpu.max
 *                └─ ...
 */
#ifndef PC_PARENT_CGROUP_H
#define PC_PARENT_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

#define PARENT_CPU_MAX 1000000 /* per cent */

struct parent_cgroup {
    char path[512]; /* of our group; "": engines have no limits */
    int64_t memory_max, cpu_percent;
};

/* Limits of 0 are none; when both are, nothing is done. `path` NULL: the group that we are in. -1
 * with what is missing when there can be no limits, and how to get them. */
int parent_cgroup_init(struct parent_cgroup *cgroup, const char *path, int64_t memory_max,
                       int64_t cpu_percent, struct pc_err *err);
/* Puts the process of a new engine into a group of its own. */
int parent_cgroup_add(const struct parent_cgroup *cgroup, const char *uuid, pid_t pid,
                      struct pc_err *err);
/* Removes it. One that still has processes stays until the whole is removed. */
void parent_cgroup_remove(const struct parent_cgroup *cgroup, const char *uuid);

#endif
