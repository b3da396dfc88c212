/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/control.h"
#include "engine/py.h"
#include "lib/proto.h"
#include "lib/sock.h"
#include "lib/spawn.h"

static struct rlimit given_limit; /* of open files, for the engines */

void eng_spawn_raise_limit(int64_t soft)
{
    struct rlimit raised;
    if (getrlimit(RLIMIT_NOFILE, &given_limit) < 0)
        return;
    raised = given_limit;
    raised.rlim_cur = raised.rlim_max;
    setrlimit(RLIMIT_NOFILE, &raised);
    if (soft > 0 && (rlim_t)soft < given_limit.rlim_cur) /* the parent has raised it before us */
        given_limit.rlim_cur = (rlim_t)soft;
}

void eng_spawn_restore_limit(int64_t soft)
{
    struct rlimit limit;
    if (soft <= 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = (rlim_t)soft < limit.rlim_max ? (rlim_t)soft : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- what both ways need ---------------------------------------------------------------- */

/* The pipes behind 1 and 2. What the engine reads doesn't block; what user code writes does. */
static int make_pipes(struct eng_setup *setup, struct pc_err *err)
{
    int out[2], error[2];
    if (pipe2(out, O_CLOEXEC) < 0)
        return pc_err_sys(err, "can't make a pipe for an engine");
    if (pipe2(error, O_CLOEXEC) < 0) {
        pc_err_sys(err, "can't make a pipe for an engine");
        close(out[0]);
        close(out[1]);
        return -1;
    }
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(error[0], F_SETFL, O_NONBLOCK);
    setup->out_read = out[0];
    setup->out_write = out[1];
    setup->err_read = error[0];
    setup->err_write = error[1];
    return 0;
}

/* On the nursery's side. The read end of stderr stays, for what the engine can't read any more. */
static void close_pipes(struct eng_setup *setup, bool is_spawned)
{
    close(setup->out_read);
    close(setup->out_write);
    close(setup->err_write);
    if (!is_spawned)
        close(setup->err_read);
}

static int spawn_failed(int reason, struct pc_err *err)
{
    return pc_err_set(err, PC_E_SYSTEM, "can't start another engine: %s%s", strerror(reason),
                      reason == EAGAIN ? "; look at the limits of processes (ulimit -u, and "
                                         "pids.max of the cgroup)"
                                       : "");
}

/* ---- a fork of this process ------------------------------------------------------------- */

static _Noreturn void live_as_fork(struct eng_setup *setup)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != setup->starter) /* it died before it could matter */
        _exit(ENG_EXIT_LOST);
    setsid();
    eng_take_descriptors(setup);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    eng_spawn_restore_limit((int64_t)given_limit.rlim_cur);
    eng_tail_keep_only(setup->tail);
    eng_py_reseed();
    eng_live(setup);
}

int eng_spawn_fork(const struct eng_config *config, const char *uuid, struct eng_spawned *spawned,
                   struct pc_err *err)
{
    struct eng_setup setup = {.config = config, .starter = getpid(), .tail = eng_tail_new()};
    snprintf(setup.uuid, sizeof(setup.uuid), "%s", uuid);
    if (!setup.tail)
        return pc_err_set(err, PC_E_MEMORY, "no memory for another engine");
    if (make_pipes(&setup, err) < 0) {
        eng_tail_free(setup.tail);
        return -1;
    }
    pid_t pid = eng_py_fork();
    int reason = errno;
    if (pid == 0)
        live_as_fork(&setup);
    close_pipes(&setup, pid > 0);
    if (pid < 0) {
        eng_tail_free(setup.tail);
        return spawn_failed(reason, err);
    }
    *spawned = (struct eng_spawned){.pid = pid, .stderr_fd = setup.err_read, .tail = setup.tail};
    return 0;
}

/* ---- this executable anew --------------------------------------------------------------- */

static int send_config(int fd, const pc_json *config_json, const char *uuid, struct pc_err *err)
{
    struct pc_sock sock;
    pc_json *json = pc_json_copy(config_json);
    pc_json_put_str(json, ENG_CONFIG_UUID, uuid);
    pc_json_put_i64(json, ENG_CONFIG_FILES, (int64_t)given_limit.rlim_cur);
    struct pc_msg *msg = pc_json_msg(PC_MSG_CONFIG, json);
    pc_sock_init(&sock, fd, 0);
    int failed = pc_sock_send(&sock, msg, err);
    pc_msg_unref(msg);
    pc_sock_close(&sock);
    return failed;
}

int eng_spawn_anew(const pc_json *config_json, const char *uuid, struct eng_spawned *spawned,
                   struct pc_err *err)
{
    struct eng_setup setup;
    struct eng_tail *tail;
    int pair[2], tail_fd = -1;
    pid_t pid = -1;
    if (make_pipes(&setup, err) < 0)
        return -1;
    if (pc_socketpair(pair, err) < 0) {
        close_pipes(&setup, false);
        return -1;
    }
    tail = eng_tail_new_shared(&tail_fd);
    if (tail) {
        int fds[] = {pair[1],        setup.out_read,  setup.out_write,
                     setup.err_read, setup.err_write, tail_fd};
        pid = pc_spawn_role("engine", SIGKILL, fds, ENG_SPAWN_END - ENG_SPAWN_CONFIG, err);
        close(tail_fd);
    } else {
        pc_err_sys(err, "no memory for another engine");
    }
    close(pair[1]);
    close_pipes(&setup, pid > 0);
    if (pid < 0) {
        close(pair[0]);
        if (tail)
            eng_tail_free(tail);
        return -1;
    }
    *spawned = (struct eng_spawned){.pid = pid, .stderr_fd = setup.err_read, .tail = tail};
    /* An engine that ended already is reported like any other. */
    send_config(pair[0], config_json, uuid, NULL);
    return 0;
}
