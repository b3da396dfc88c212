/* SPDX-License-Identifier: BSD-3-Clause */
#include "parent/limits.h"

#include <sys/resource.h>

/* The scheduler has two lanes per engine, the nursery two pipes; what else a role has open is
 * little. Clients share what is left: room for this many is asked for, and not insisted on. */
#define FILES_PER_ENGINE 2
#define FILES_FIXED      64
#define FILES_CLIENTS    4096

int parent_raise_limits(uint32_t engine_count, int64_t *before, struct pc_err *err)
{
    struct rlimit files;
    rlim_t needed = FILES_FIXED + (rlim_t)FILES_PER_ENGINE * engine_count;
    rlim_t wanted = needed + FILES_CLIENTS;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return pc_err_sys(err, "can't read the limit of open files");
    *before = files.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)files.rlim_cur;
    if (files.rlim_cur >= wanted)
        return 0;
    if (files.rlim_max < needed)
        return pc_err_set(err, PC_E_SYSTEM,
                          "%u engine%s need %ju open files, and the hard limit is %ju "
                          "(ulimit -Hn): raise it, or start fewer engines",
                          engine_count, engine_count == 1 ? "" : "s", (uintmax_t)needed,
                          (uintmax_t)files.rlim_max);
    files.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        return pc_err_sys(err, "can't raise the limit of open files to %ju",
                          (uintmax_t)files.rlim_cur);
    return 0;
}

void parent_pass_limits(pid_t pid)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        prlimit(pid, RLIMIT_NOFILE, &files, NULL);
}
