/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/children.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uthash.h>

#include "lib/mem.h"

struct eng_child {
    pid_t pid; /* of the process and of its group */
    char uuid[33];
    int stderr_fd;
    struct eng_tail *tail;
    UT_hash_handle hh, hh_uuid;
};

void eng_children_add(struct eng_children *children, const char *uuid,
                      const struct eng_spawned *spawned)
{
    struct eng_child *child = pc_xcalloc(1, sizeof(*child));
    child->pid = spawned->pid;
    child->stderr_fd = spawned->stderr_fd;
    child->tail = spawned->tail;
    snprintf(child->uuid, sizeof(child->uuid), "%s", uuid);
    HASH_ADD_INT(children->by_pid, pid, child);
    HASH_ADD(hh_uuid, children->by_uuid, uuid, strlen(child->uuid), child);
}

unsigned eng_children_count(const struct eng_children *children)
{
    return HASH_COUNT(children->by_pid);
}

/* What the engine itself did not read any more: the stack that faulthandler wrote, say. */
static void read_rest(struct eng_child *child)
{
    char data[4096];
    ssize_t got;
    eng_tail_rescue(child->tail);
    while ((got = read(child->stderr_fd, data, sizeof(data))) > 0)
        eng_tail_put(child->tail, data, (size_t)got);
}

static void finish(struct eng_children *children, struct eng_child *child, struct eng_exit *ended)
{
    read_rest(child);
    eng_tail_read(child->tail, ended->tail);
    ended->begun = child->tail->begun;
    memcpy(ended->uuid, child->uuid, sizeof(ended->uuid));
    HASH_DEL(children->by_pid, child);
    HASH_DELETE(hh_uuid, children->by_uuid, child);
    close(child->stderr_fd);
    eng_tail_free(child->tail);
    free(child);
}

bool eng_children_reap(struct eng_children *children, struct eng_exit *ended)
{
    for (;;) {
        siginfo_t info = {0};
        struct eng_child *child;
        int status;
        /* First only a look: as long as it isn't reaped its number is not used again. */
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return false;
        HASH_FIND_INT(children->by_pid, &info.si_pid, child);
        if (child)
            kill(-child->pid, SIGKILL);
        if (waitpid(info.si_pid, &status, 0) != info.si_pid || !child)
            continue; /* not one of ours: something that a preloaded module has started */
        ended->pid = child->pid;
        ended->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        ended->code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
        ended->is_oom = ended->signal == SIGKILL && eng_oom_take(&children->oom);
        finish(children, child, ended);
        return true;
    }
}

static void signal_group(const struct eng_child *child, int signal)
{
    kill(-child->pid, signal);
    kill(child->pid, signal); /* it may not lead its group yet */
}

void eng_children_signal(const struct eng_children *children, int signal)
{
    struct eng_child *child, *next;
    HASH_ITER (hh, children->by_pid, child, next)
        signal_group(child, signal);
}

bool eng_children_signal_one(const struct eng_children *children, const char *uuid, int signal,
                             bool with_group)
{
    struct eng_child *child;
    HASH_FIND(hh_uuid, children->by_uuid, uuid, strlen(uuid), child);
    if (!child)
        return false;
    if (with_group)
        signal_group(child, signal);
    else
        kill(child->pid, signal);
    return true;
}
