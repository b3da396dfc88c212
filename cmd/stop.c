/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pcluster stop: asks the cluster to end, waits until its parent process has, and kills that one
 * when it takes too long: its children end with it.
 *
 * The pid comes from the kernel where possible: the socket was opened by the parent, and whoever
 * connects can ask who that was. A descriptor of that process, taken before the question, stays
 * right even if the pid is used again.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "lib/clock.h"
#include "lib/connfile.h"
#include "lib/profile.h"

#define KILLED_LIMIT_MS 3000

/* What is to be stopped, in the order in which we learn it. */
struct stopping {
    struct pc_client *client; /* NULL: it does not answer */
    struct pc_connfile file;
    const char *profile_dir; /* where the profile is, when it was named so */
    int parent_fd;           /* pidfd; -1: on another machine */
    long long engine_count;
};

/* ---- who is it -------------------------------------------------------------------------- */

/* The process that listens at `path`, 0 when there is none. */
static pid_t listener_pid(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t size = sizeof(peer);
    pid_t pid = 0;
    if (!path[0] || strlen(path) >= sizeof(address.sun_path))
        return 0;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid())
        pid = peer.pid;
    close(fd);
    return pid;
}

static int open_parent(const struct stopping *stopping, const pc_json *status)
{
    char here[256] = "";
    pid_t pid = listener_pid(stopping->file.unix_path);
    gethostname(here, sizeof(here) - 1);
    /* Without a Unix socket its word has to do, if the numbers mean the same processes here. */
    if (pid <= 0 && status && strcmp(pc_json_str_or(status, "host", ""), here) == 0)
        pid = (pid_t)pc_json_i64_or(pc_json_member(status, "pids"), "parent", 0);
    return pid > 1 ? pidfd_open(pid, 0) : -1;
}

/* ---- its end ---------------------------------------------------------------------------- */

static bool wait_process(int pidfd, int64_t limit_ms)
{
    int64_t until_ms = pc_clock_ms() + limit_ms;
    for (;;) {
        int64_t left_ms = until_ms - pc_clock_ms();
        struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
        if (poll(&poll_fd, 1, left_ms > 0 ? (int)left_ms : 0) > 0)
            return true;
        if (left_ms <= 0)
            return false;
    }
}

/* On another machine all we can see is the end of the connection. */
static bool wait_connection(struct pc_client *client, int64_t limit_ms)
{
    int64_t until_ms = pc_clock_ms() + limit_ms;
    while (pc_clock_ms() < until_ms) {
        struct pc_err err;
        if (pc_dispatch(client, 100, &err) < 0 && err.code != PC_E_INTERRUPTED)
            return true;
    }
    return false;
}

/* What a parent that was killed could not remove. */
static void remove_files(const struct stopping *stopping)
{
    struct pc_profile profile;
    char path[1024];
    if (stopping->file.unix_path[0])
        unlink(stopping->file.unix_path);
    unlink(stopping->file.path);
    if (pc_profile_resolve(&profile, stopping->file.profile, stopping->profile_dir, NULL) < 0)
        return;
    if (pc_profile_connfile(&profile, stopping->file.cluster_id, "engine", path, sizeof(path),
                            NULL) == 0)
        unlink(path);
    snprintf(path, sizeof(path), "%s/run/pcluster%s%s.lock", profile.dir,
             stopping->file.cluster_id[0] ? "-" : "", stopping->file.cluster_id);
    unlink(path);
}

static int say_stopped(const struct stopping *stopping, const char *how)
{
    const struct pc_connfile *file = &stopping->file;
    printf("stopped%s: cluster%s%s in profile '%s'", how, file->cluster_id[0] ? " " : "",
           file->cluster_id, file->profile);
    if (stopping->engine_count >= 0)
        printf(" (%lld engine%s)", stopping->engine_count, stopping->engine_count == 1 ? "" : "s");
    putchar('\n');
    return CMD_OK;
}

static int kill_parent(const struct stopping *stopping, const char *why)
{
    if (stopping->parent_fd < 0) {
        command_error("stop", "the cluster of '%s' %s, and its processes are not on this machine",
                      stopping->file.path, why);
        return CMD_FAILED;
    }
    pidfd_send_signal(stopping->parent_fd, SIGKILL, NULL, 0);
    if (!wait_process(stopping->parent_fd, KILLED_LIMIT_MS)) {
        command_error("stop", "the cluster of '%s' %s, and can't be killed", stopping->file.path,
                      why);
        return CMD_FAILED;
    }
    remove_files(stopping);
    return say_stopped(stopping, " by force");
}

/* Without an answer from the scheduler the parent may still stop it in order, or with force of its
 * own; when it does not either, it is killed. */
static int stop_by_signal(const struct stopping *stopping, int64_t limit_ms)
{
    if (stopping->parent_fd < 0 || pidfd_send_signal(stopping->parent_fd, SIGTERM, NULL, 0) < 0 ||
        !wait_process(stopping->parent_fd, limit_ms))
        return kill_parent(stopping, "does not answer");
    return say_stopped(stopping, ", although it did not answer");
}

/* ---- one cluster ------------------------------------------------------------------------ */

static int find_file(struct pc_connfile *file, const struct ask_where *where, struct pc_err *err)
{
    struct pc_profile profile;
    char path[1024];
    if (where->file)
        return pc_connfile_read(file, where->file, err);
    if (pc_profile_resolve(&profile, where->profile, where->profile_dir, err) < 0 ||
        pc_profile_connfile(&profile, where->cluster_id ? where->cluster_id : "", "client", path,
                            sizeof(path), err) < 0)
        return -1;
    return pc_connfile_read(file, path, err);
}

static int ask_limit_ms(int64_t limit_ms)
{
    return limit_ms / 2 < ASK_TIMEOUT_MS ? (int)(limit_ms / 2) : ASK_TIMEOUT_MS;
}

static int stop_orderly(struct stopping *stopping, int64_t limit_ms)
{
    struct pc_err err;
    pc_json *status = ask_query(stopping->client, "{\"query\":\"status\",\"memory\":false}",
                                ask_limit_ms(limit_ms), &err);
    stopping->engine_count =
        status ? (long long)ask_count_up(pc_json_member(status, "engines")) : -1;
    stopping->parent_fd = open_parent(stopping, status);
    pc_json_free(status);
    pc_json *reply =
        ask_query(stopping->client, "{\"query\":\"shutdown\"}", ask_limit_ms(limit_ms), &err);
    pc_json_free(reply);
    /* A connection that broke instead of an answer: somebody else stops it at this moment. */
    if (!reply && err.code != PC_E_LOST)
        return kill_parent(stopping, "does not take the order to stop");
    bool has_ended = stopping->parent_fd >= 0 ? wait_process(stopping->parent_fd, limit_ms)
                                              : wait_connection(stopping->client, limit_ms);
    return has_ended ? say_stopped(stopping, "") : kill_parent(stopping, "did not end in time");
}

static int stop_one(const struct ask_where *where, int64_t limit_ms)
{
    struct stopping stopping = {
        .profile_dir = where->profile_dir, .parent_fd = -1, .engine_count = -1};
    struct pc_err err, file_err;
    int exit_code;
    /* Of the limit, at most half is for finding out that nobody answers. */
    struct ask_where limited = *where;
    limited.timeout_ms = ask_limit_ms(limit_ms);
    int opened = ask_connect(&stopping.client, &limited, &err);
    bool has_file = find_file(&stopping.file, where, &file_err) == 0;
    if (opened == 0 && has_file) {
        exit_code = stop_orderly(&stopping, limit_ms);
    } else if (opened < 0 && has_file && err.code == PC_E_TIMEOUT) {
        stopping.parent_fd = open_parent(&stopping, NULL);
        exit_code = stop_by_signal(&stopping, limit_ms);
    } else {
        exit_code = ask_error("stop", opened < 0 ? &err : &file_err);
    }
    pc_client_close(stopping.client);
    if (stopping.parent_fd >= 0)
        close(stopping.parent_fd);
    pc_connfile_wipe(&stopping.file);
    return exit_code;
}

/* ---- all of them ------------------------------------------------------------------------ */

struct all {
    int64_t limit_ms;
    size_t stopped_count;
    int worst;
};

static int stop_next(const struct pc_profile *profile, const char *cluster_id, const char *path,
                     void *arg)
{
    struct all *all = arg;
    struct ask_where where = {.file = path};
    struct pc_client *client;
    struct pc_err err;
    /* Files of clusters that are gone are not worth a word here. */
    if (ask_connect(&client, &where, &err) == 0)
        pc_client_close(client);
    else if (ask_is_nothing(&err))
        return 0;
    int exit_code = stop_one(&where, all->limit_ms);
    if (exit_code == CMD_OK)
        all->stopped_count++;
    else if (exit_code == CMD_FAILED)
        all->worst = CMD_FAILED;
    return 0;
}

static int stop_all(int64_t limit_ms)
{
    struct all all = {.limit_ms = limit_ms, .worst = CMD_OK};
    struct pc_err err;
    if (pc_profile_each(stop_next, &all, &err) < 0)
        return ask_error("stop", &err);
    if (all.worst != CMD_OK || all.stopped_count > 0)
        return all.worst;
    command_error("stop", "no cluster runs");
    return CMD_NOTHING;
}

int cmd_stop(int argc, char **argv)
{
    struct ask_where where = {0};
    bool want_all = false;
    long timeout_s = 10;
    const struct option_row rows[] = {
        {0, "all", OPTION_SET, &want_all, NULL, "stop the clusters of all profiles"},
        {0, "timeout", OPTION_NUMBER, &timeout_s, "SECONDS",
         "after that long, kill it (default: 10)", .min = 1, .max = 86400},
        {0},
    };
    const struct option_page page = {
        .command = "stop",
        .operands = "",
        .about = "Stops a cluster: in order, then by force.",
        .rows = rows,
        .shared = {{ask_name_rows, &where}, {ask_file_rows, &where}},
    };
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    return want_all ? stop_all(timeout_s * 1000) : stop_one(&where, timeout_s * 1000);
}
