/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- descriptors ------------------------------------------------------------------------ */

void pc_ignore_signals_of_files(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

int pc_socketpair(int fds[2], struct pc_err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return pc_err_sys(err, "can't make a pair of sockets");
    fds[0] = pair[0];
    fds[1] = pair[1];
    return 0;
}

static void close_between(unsigned first, unsigned last)
{
    if (first <= last)
        syscall(SYS_close_range, first, last, 0);
}

void pc_close_from(int first, const int *keep, int keep_count)
{
    unsigned begin = (unsigned)first;
    /* Closes the gap before the next kept number, as often as there is one. */
    for (;;) {
        unsigned next = UINT32_MAX;
        for (int i = 0; i < keep_count; i++)
            if (keep[i] >= 0 && (unsigned)keep[i] >= begin && (unsigned)keep[i] < next)
                next = (unsigned)keep[i];
        if (next == UINT32_MAX)
            break;
        if (next > begin)
            close_between(begin, next - 1);
        begin = next + 1;
    }
    close_between(begin, UINT32_MAX);
}

void pc_open_standard(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

/* ---- the child between fork and exec: async-signal-safe calls only ---------------------- */

static void child_fail(int error_fd, int error)
{
    ssize_t ignored = write(error_fd, &error, sizeof(error));
    (void)ignored;
    _exit(127);
}

static void child_signals(void)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &plain, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Puts fds[] on 3, 4, ...: first out of the way of those numbers, then into place. Returns where
 * the error pipe went, or -1. */
static int child_descriptors(const int *fds, int fd_count, int error_fd)
{
    int free_from = PC_ROLE_FD + fd_count;
    int moved[PC_ROLE_FDS_MAX];
    for (int i = 0; i < fd_count; i++) {
        moved[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, free_from);
        if (fds[i] >= 0 && moved[i] < 0)
            return -1;
    }
    error_fd = fcntl(error_fd, F_DUPFD_CLOEXEC, free_from);
    if (error_fd < 0)
        return -1;
    for (int i = 0; i < fd_count; i++) {
        if (moved[i] < 0)
            close(PC_ROLE_FD + i);
        else if (dup2(moved[i], PC_ROLE_FD + i) < 0)
            return -1;
    }
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        return -1;
    if (null != STDIN_FILENO)
        close(null);
    /* The error pipe must work until exec closes it. */
    syscall(SYS_close_range, (unsigned)free_from, UINT32_MAX, CLOSE_RANGE_CLOEXEC);
    return error_fd;
}

static _Noreturn void child_run(const char *role, int death_signal, pid_t parent, const int *fds,
                                int fd_count, int error_fd)
{
    /* Only now: the request does not survive a fork, and the parent may be gone already. */
    prctl(PR_SET_PDEATHSIG, death_signal);
    if (getppid() != parent)
        _exit(127);
    setsid();
    int moved = child_descriptors(fds, fd_count, error_fd);
    if (moved < 0)
        child_fail(error_fd, errno);
    child_signals();
    char *argv[] = {(char *)"pcluster", (char *)"--role", (char *)role, NULL};
    execv("/proc/self/exe", argv);
    child_fail(moved, errno);
    _exit(127);
}

pid_t pc_spawn_role(const char *role, int death_signal, const int *fds, int fd_count,
                    struct pc_err *err)
{
    int error_pipe[2];
    if (fd_count > PC_ROLE_FDS_MAX)
        return pc_err_set(err, PC_E_INVALID, "%d descriptors for the %s", fd_count, role);
    if (pipe2(error_pipe, O_CLOEXEC) < 0)
        return pc_err_sys(err, "can't start the %s: no pipe", role);
    pid_t parent = getpid();
    /* No handler of ours may run in the child before its dispositions are reset. */
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        child_run(role, death_signal, parent, fds, fd_count, error_pipe[1]);
    int fork_error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(error_pipe[1]);
    int exec_error = 0;
    ssize_t got = 0;
    if (pid > 0) {
        do
            got = read(error_pipe[0], &exec_error, sizeof(exec_error));
        while (got < 0 && errno == EINTR);
    }
    close(error_pipe[0]);
    if (pid < 0) {
        errno = fork_error;
        return pc_err_sys(err, "can't start the %s", role);
    }
    if (got == (ssize_t)sizeof(exec_error)) {
        waitpid(pid, NULL, 0);
        errno = exec_error;
        return pc_err_sys(err, "can't execute /proc/self/exe for the %s", role);
    }
    return pid;
}

/* ---- what ps shows ---------------------------------------------------------------------- */

/* The kernel shows the memory that held the arguments and, behind it, the environment. */
static char *title_area;
static size_t title_size;

static int copy_texts(char **from, char **to, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *copy = strdup(from[i]);
        if (!copy)
            return -1;
        to[i] = copy;
    }
    return 0;
}

void pc_title_init(int argc, char **argv)
{
    if (argc < 1)
        return;
    char *end = argv[0];
    for (int i = 0; i < argc; i++)
        if (argv[i] == end)
            end = argv[i] + strlen(argv[i]) + 1;
    size_t count = 0;
    bool env_follows = true;
    while (environ[count]) {
        env_follows = env_follows && environ[count] == end;
        if (env_follows)
            end = environ[count] + strlen(environ[count]) + 1;
        count++;
    }
    /* Both move to the heap, where they stay for the life of the process. */
    char **moved = calloc(count + 1, sizeof(*moved));
    if (!moved || copy_texts(environ, moved, count) < 0)
        return;
    char *area = argv[0];
    if (copy_texts(argv, argv, (size_t)argc) < 0)
        return;
    environ = moved;
    title_area = area;
    title_size = (size_t)(end - area);
}

void pc_title_set(const char *title)
{
    /* The short name would be "exe" after an exec of /proc/self/exe. */
    prctl(PR_SET_NAME, "pcluster");
    if (!title_area)
        return;
    memset(title_area, 0, title_size);
    size_t size = strlen(title);
    memcpy(title_area, title, size < title_size - 1 ? size : title_size - 1);
}
