/* SPDX-License-Identifier: BSD-3-Clause */
/* Starting a role: this program is its own role, which looks around and reports. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/spawn.h"

#define LIMIT_MS 20000

/* What a role finds, as text through its descriptor 3. */
static int report_role(void)
{
    char text[512], null[64] = "";
    int used = 0, death_signal = 0;
    sigset_t mask;
    struct sigaction action;
    bool is_default = true, is_open = true;
    for (int fd = 0; fd < 64; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            used += snprintf(text + used, sizeof(text) - (size_t)used, "%d ", fd);
    ssize_t ignored = readlink("/proc/self/fd/0", null, sizeof(null) - 1);
    (void)ignored;
    prctl(PR_GET_PDEATHSIG, &death_signal);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            is_default = false;
        if (sigismember(&mask, number) == 1)
            is_open = false;
    }
    used += snprintf(text + used, sizeof(text) - (size_t)used, "null=%d leads=%d death=%d ",
                     strcmp(null, "/dev/null") == 0, getsid(0) == getpid(), death_signal);
    used += snprintf(text + used, sizeof(text) - (size_t)used, "default=%d open=%d", is_default,
                     is_open);
    if (write(PC_ROLE_FD, text, (size_t)used) != used)
        return 1;
    return 7;
}

/* Stays until the other side goes. */
static int wait_role(void)
{
    if (write(PC_ROLE_FD, "x", 1) != 1)
        return 1;
    /* Not by reading: the byte that ends the middle one would be taken from it. */
    for (;;)
        pause();
}

/* Starts a role that waits and dies: what does the role do then? */
static int middle_role(void)
{
    int fds[] = {PC_ROLE_FD};
    struct pc_err err;
    char byte;
    if (pc_spawn_role("wait", SIGKILL, fds, 1, &err) < 0 || read(PC_ROLE_FD, &byte, 1) != 1)
        return 1;
    return 0;
}

static void read_text(int fd, char *text, size_t size)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&polled, 1, LIMIT_MS), 1);
    ssize_t got = read(fd, text, size - 1);
    assert_true(got >= 0);
    text[got] = '\0';
}

static void expect_exit(pid_t pid, int code)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

/* ---- tests ------------------------------------------------------------------------------ */

static void a_role_has_its_descriptors_and_no_other(void **state)
{
    int pair[2], more[2];
    char text[600];
    struct pc_err err;
    assert_int_equal(pc_socketpair(pair, &err), 0);
    assert_int_equal(pc_socketpair(more, &err), 0);
    int stray = fcntl(STDERR_FILENO, F_DUPFD, 40); /* not close-on-exec */
    signal(SIGUSR1, SIG_IGN);
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    int fds[] = {pair[1], more[0], -1, more[1]};
    pid_t pid = pc_spawn_role("report", SIGTERM, fds, 4, &err);
    assert_true(pid > 0);
    read_text(pair[0], text, sizeof(text));
    assert_string_equal(text, "0 1 2 3 4 6 null=1 leads=1 death=15 default=1 open=1");
    expect_exit(pid, 7);
    sigprocmask(SIG_SETMASK, &before, NULL);
    signal(SIGUSR1, SIG_DFL);
    close(stray);
    for (int i = 0; i < 2; i++) {
        close(pair[i]);
        close(more[i]);
    }
}

/* The numbers it is to have are taken by each other. */
static void descriptors_may_be_crossed(void **state)
{
    int pair[2], more[2];
    char text[600];
    struct pc_err err;
    pc_close_from(3, NULL, 0);
    assert_int_equal(pc_socketpair(more, &err), 0); /* 3 and 4 */
    assert_int_equal(pc_socketpair(pair, &err), 0); /* 5 and 6 */
    int fds[] = {pair[0], more[0], more[1]};
    pid_t pid = pc_spawn_role("report", SIGKILL, fds, 3, &err);
    assert_true(pid > 0);
    read_text(pair[1], text, sizeof(text));
    assert_string_equal(text, "0 1 2 3 4 5 null=1 leads=1 death=9 default=1 open=1");
    expect_exit(pid, 7);
    pc_close_from(3, NULL, 0);
}

static void a_role_dies_with_its_parent(void **state)
{
    int pair[2];
    struct pc_err err;
    struct pollfd polled;
    char byte;
    assert_int_equal(pc_socketpair(pair, &err), 0);
    int fds[] = {pair[1]};
    pid_t middle = pc_spawn_role("middle", SIGKILL, fds, 1, &err);
    assert_true(middle > 0);
    close(pair[1]);
    /* The waiting role wrote a byte; the middle one read its own end's, ours. */
    assert_int_equal(write(pair[0], "x", 1), 1);
    expect_exit(middle, 0);
    /* End of file: the last process that had the other end is gone. */
    do {
        polled = (struct pollfd){.fd = pair[0], .events = POLLIN};
        assert_int_equal(poll(&polled, 1, LIMIT_MS), 1);
    } while (read(pair[0], &byte, 1) == 1);
    close(pair[0]);
}

static void too_many_descriptors_are_refused(void **state)
{
    int fds[PC_ROLE_FDS_MAX + 1] = {0};
    struct pc_err err;
    assert_int_equal(pc_spawn_role("report", SIGKILL, fds, PC_ROLE_FDS_MAX + 1, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
}

static void close_from_keeps_what_it_is_told(void **state)
{
    for (int fd = 30; fd < 40; fd++)
        assert_int_equal(dup2(STDERR_FILENO, fd), fd);
    int keep[] = {36, 32, -1, 31};
    pc_close_from(30, keep, 4);
    for (int fd = 30; fd < 40; fd++)
        assert_int_equal(fcntl(fd, F_GETFD) >= 0, fd == 31 || fd == 32 || fd == 36);
    pc_close_from(30, NULL, 0);
    assert_int_equal(fcntl(31, F_GETFD), -1);
}

static void closed_standard_descriptors_are_opened(void **state)
{
    pid_t pid = fork();
    if (pid == 0) {
        close(STDIN_FILENO);
        close(STDERR_FILENO);
        pc_open_standard();
        bool is_open = fcntl(STDIN_FILENO, F_GETFD) >= 0 && fcntl(STDERR_FILENO, F_GETFD) >= 0;
        _exit(is_open ? 0 : 1);
    }
    expect_exit(pid, 0);
}

static void the_title_is_shown(void **state)
{
    char shown[4096] = "";
    pc_title_set("pcluster: test");
    FILE *file = fopen("/proc/self/cmdline", "r");
    assert_non_null(file);
    assert_true(fread(shown, 1, sizeof(shown) - 1, file) > 0);
    fclose(file);
    assert_string_equal(shown, "pcluster: test");
    assert_non_null(getenv("PATH")); /* the environment has moved */
}

/* In a process of its own: dispositions and limits stay with it. */
static void errors_of_files_kill_nobody(void **state)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        char path[] = "/tmp/pc-spawn-XXXXXX";
        int pipe_fds[2], file = mkstemp(path);
        unlink(path);
        pc_ignore_signals_of_files();
        if (file < 0 || pipe(pipe_fds) < 0 || setrlimit(RLIMIT_FSIZE, &(struct rlimit){0, 0}) < 0)
            _exit(1);
        close(pipe_fds[0]);
        _exit(write(file, "x", 1) == -1 && errno == EFBIG && write(pipe_fds[1], "x", 1) == -1 &&
                      errno == EPIPE
                  ? 0
                  : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*main)(void);
    } roles[] = {{"report", report_role}, {"wait", wait_role}, {"middle", middle_role}};
    for (size_t i = 0; argc == 3 && i < sizeof(roles) / sizeof(roles[0]); i++)
        if (strcmp(argv[2], roles[i].name) == 0)
            return roles[i].main();
    pc_title_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_role_has_its_descriptors_and_no_other),
        cmocka_unit_test(descriptors_may_be_crossed),
        cmocka_unit_test(a_role_dies_with_its_parent),
        cmocka_unit_test(too_many_descriptors_are_refused),
        cmocka_unit_test(close_from_keeps_what_it_is_told),
        cmocka_unit_test(closed_standard_descriptors_are_opened),
        cmocka_unit_test(the_title_is_shown),
        cmocka_unit_test(errors_of_files_kill_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
