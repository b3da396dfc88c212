/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the kernel has killed processes because memory ran out. It says so only as a number that
 * grows: in our cgroup, else for the whole machine. A SIGKILL that comes with a larger number was
 * most likely that.
 */
#ifndef PC_ENGINE_OOM_H
#define PC_ENGINE_OOM_H

#include <stdbool.h>
#include <stdint.h>

struct eng_oom {
    char path[512]; /* where the number is; "": the kernel does not tell */
    uint64_t seen;
};

/* Finds the number; what happened before does not count. The arguments are "/proc/self/cgroup",
 * "/sys/fs/cgroup" and "/proc/vmstat" but in tests. */
void eng_oom_init(struct eng_oom *oom, const char *cgroup, const char *root, const char *vmstat);
/* The same for all that is below a control group of version 2; -1 when it does not tell. */
int eng_oom_below(struct eng_oom *oom, const char *folder);
/* For a process that SIGKILL ended: true once for each kill since. */
bool eng_oom_take(struct eng_oom *oom);

#endif
