/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --end-with: a program that starts a cluster for itself may be killed before it can stop it. A
 * descriptor of its process says when that has happened, whatever it forked and left open.
 * Likewise, in the background, the command that waits until we are ready may be ended before.
 */
#include <errno.h>
#include <sys/pidfd.h>

#include "lib/log.h"
#include "parent/state.h"

int parent_lifetime_find(struct parent *parent, struct pc_err *err)
{
    int64_t pid = parent->options->end_with;
    if (pid == 0)
        return 0;
    parent->end_with_fd = pidfd_open((pid_t)pid, 0);
    if (parent->end_with_fd < 0 && errno == ESRCH)
        return pc_err_set(err, PC_E_INVALID,
                          "the process %lld, which this was to end with, is not there",
                          (long long)pid);
    if (parent->end_with_fd < 0)
        return pc_err_sys(err, "can't watch the process %lld", (long long)pid);
    return 0;
}

static void on_ended(uv_poll_t *poll, int status, int events)
{
    struct parent *parent = poll->data;
    char reason[64];
    snprintf(reason, sizeof(reason), "process %lld has ended",
             (long long)parent->options->end_with);
    uv_poll_stop(poll);
    if (parent->state == PARENT_STARTING)
        parent_fail(parent, "%s", reason);
    else
        parent_stop(parent, reason);
}

/* Nobody reads from the pipe any more, which is an error of its other end. */
static void on_command_ended(uv_poll_t *poll, int status, int events)
{
    struct parent *parent = poll->data;
    static const char why[] = "the command that started this cluster was ended meanwhile";
    uv_poll_stop(poll);
    if (parent->state != PARENT_STARTING)
        return;
    pc_warn("%s", why); /* there is nobody to be told */
    parent_fail(parent, "%s", why);
}

static int watch_command(struct parent *parent, struct pc_err *err)
{
    if (parent->tell.pipe_fd < 0)
        return 0;
    if (uv_poll_init(&parent->loop, &parent->on_command, parent->tell.pipe_fd) < 0)
        return pc_err_set(err, PC_E_SYSTEM, "can't watch the command in the foreground");
    parent->on_command.data = parent;
    uv_poll_start(&parent->on_command, UV_DISCONNECT, on_command_ended);
    return 0;
}

void parent_lifetime_tell(struct parent *parent)
{
    if (parent->on_command.data)
        uv_poll_stop(&parent->on_command);
}

int parent_lifetime_watch(struct parent *parent, struct pc_err *err)
{
    if (watch_command(parent, err) < 0)
        return -1;
    if (parent->end_with_fd < 0)
        return 0;
    if (uv_poll_init(&parent->loop, &parent->on_end_with, parent->end_with_fd) < 0)
        return pc_err_set(err, PC_E_SYSTEM, "can't watch the process %lld",
                          (long long)parent->options->end_with);
    parent->on_end_with.data = parent;
    uv_poll_start(&parent->on_end_with, UV_READABLE, on_ended);
    return 0;
}
