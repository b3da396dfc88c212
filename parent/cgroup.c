/* SPDX-License-Identifier: BSD-3-Clause */
#include "parent/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT      "/sys/fs/cgroup"
#define PATH_SIZE 640
/* Of cpu.max: what an engine may use in each period. */
#define PERIOD_US 100000

#define HOW_TO_GET_ONE                                                                             \
    "limits of engines need a delegated control group: run pcluster as a service with "            \
    "Delegate=yes, or with 'systemd-run --user --scope -p Delegate=yes pcluster start ...'"

/* ---- files of a group ------------------------------------------------------------------- */

static int write_file(const char *folder, const char *name, const char *text, struct pc_err *err)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return pc_err_sys(err, "can't write '%s'", path);
    ssize_t written = write(fd, text, strlen(text));
    if (written < 0)
        pc_err_sys(err, "can't write '%s' to '%s'", text, path);
    close(fd);
    return written < 0 ? -1 : 0;
}

/* -1: it is not there. */
static int read_file(const char *folder, const char *name, char *text, size_t size)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got < 0 ? -1 : 0;
}

static int make_group(const char *path, struct pc_err *err)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return pc_err_sys(err, "can't make the control group '%s'", path);
    return 0;
}

/* A word of a text whose words are separated by blanks. */
static bool has_word(const char *text, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += size)
        if ((at == text || at[-1] == ' ') && (at[size] == ' ' || at[size] == '\n' || !at[size]))
            return true;
    return false;
}

/* ---- our own ---------------------------------------------------------------------------- */

/* "0::/user.slice/x" of /proc/self/cgroup; the other lines are of the first version. */
static int find_own(char *path, size_t size, struct pc_err *err)
{
    char text[4096];
    read_file("/proc/self", "cgroup", text, sizeof(text));
    char *line = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
    line = line ? strchr(line, '/') : NULL;
    if (line)
        line[strcspn(line, "\n")] = '\0';
    if (!line || snprintf(path, size, ROOT "%s", strcmp(line, "/") ? line : "") >= (int)size)
        return pc_err_set(err, PC_E_INVALID, "this process is in no control group of version 2; %s",
                          HOW_TO_GET_ONE);
    return 0;
}

static int check_controllers(const struct parent_cgroup *cgroup, struct pc_err *err)
{
    char there[256];
    if (read_file(cgroup->path, "cgroup.controllers", there, sizeof(there)) < 0)
        return pc_err_set(err, PC_E_INVALID, "'%s' is no control group of version 2; %s",
                          cgroup->path, HOW_TO_GET_ONE);
    const char *missing = cgroup->memory_max && !has_word(there, "memory") ? "memory"
                          : cgroup->cpu_percent && !has_word(there, "cpu") ? "cpu"
                                                                           : NULL;
    if (missing)
        return pc_err_set(err, PC_E_INVALID, "the control group '%s' has no controller '%s'; %s",
                          cgroup->path, missing, HOW_TO_GET_ONE);
    return 0;
}

/* To the group below, and the controllers on for its siblings. */
static int settle(const struct parent_cgroup *cgroup, struct pc_err *err)
{
    char path[PATH_SIZE], pid[32], controllers[32];
    snprintf(path, sizeof(path), "%s/parent", cgroup->path);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    snprintf(controllers, sizeof(controllers), "%s%s", cgroup->memory_max ? "+memory " : "",
             cgroup->cpu_percent ? "+cpu" : "");
    if (make_group(path, err) < 0 || write_file(path, "cgroup.procs", pid, err) < 0 ||
        write_file(cgroup->path, "cgroup.subtree_control", controllers, err) < 0) {
        struct pc_err why = *err;
        return pc_err_set(err, PC_E_INVALID, "%.250s; %s", why.text, HOW_TO_GET_ONE);
    }
    return 0;
}

int parent_cgroup_init(struct parent_cgroup *cgroup, const char *path, int64_t memory_max,
                       int64_t cpu_percent, struct pc_err *err)
{
    struct parent_cgroup got = {.memory_max = memory_max, .cpu_percent = cpu_percent};
    *cgroup = (struct parent_cgroup){0};
    if (!memory_max && !cpu_percent)
        return 0;
    if (path)
        snprintf(got.path, sizeof(got.path), "%s", path);
    else if (find_own(got.path, sizeof(got.path), err) < 0)
        return -1;
    if (check_controllers(&got, err) < 0 || settle(&got, err) < 0)
        return -1;
    *cgroup = got;
    return 0;
}

/* ---- those of engines ------------------------------------------------------------------- */

static void group_of(const struct parent_cgroup *cgroup, const char *uuid, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/engine-%s", cgroup->path, uuid);
}

int parent_cgroup_add(const struct parent_cgroup *cgroup, const char *uuid, pid_t pid,
                      struct pc_err *err)
{
    char path[PATH_SIZE], text[64];
    if (!cgroup->path[0])
        return 0;
    group_of(cgroup, uuid, path);
    if (make_group(path, err) < 0)
        return -1;
    snprintf(text, sizeof(text), "%" PRId64, cgroup->memory_max);
    if (cgroup->memory_max && write_file(path, "memory.max", text, err) < 0)
        return -1;
    snprintf(text, sizeof(text), "%" PRId64 " %d", cgroup->cpu_percent * (PERIOD_US / 100),
             PERIOD_US);
    if (cgroup->cpu_percent && write_file(path, "cpu.max", text, err) < 0)
        return -1;
    snprintf(text, sizeof(text), "%d", (int)pid);
    return write_file(path, "cgroup.procs", text, err);
}

void parent_cgroup_remove(const struct parent_cgroup *cgroup, const char *uuid)
{
    char path[PATH_SIZE];
    if (!cgroup->path[0])
        return;
    group_of(cgroup, uuid, path);
    rmdir(path);
}
