/* SPDX-License-Identifier: BSD-3-Clause */
#include "parent/python.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"

#define ANSWER_LIMIT_MS 10000
#define EMBEDDED        "cpython " PC_EMBED_PYTHON

/* The first file of that name in $PATH that can be run; NULL when there is none. */
static const char *search_path(const char *name, char *found, size_t size)
{
    const char *list = getenv("PATH");
    while (list && *list) {
        size_t length = strcspn(list, ":");
        int used = snprintf(found, size, "%.*s/%s", (int)length, list, name);
        if (length > 0 && used > 0 && (size_t)used < size && access(found, X_OK) == 0)
            return found;
        list += length + (list[length] == ':');
    }
    return NULL;
}

/* Absolute, but with links unresolved: a virtual environment is found beside the link. */
static int make_path(const char *given, char *path, size_t size, struct pc_err *err)
{
    char found[1024];
    char folder[1024] = "";
    struct stat status;
    const char *tail = stat(given, &status) == 0 && S_ISDIR(status.st_mode) ? "/bin/python" : "";
    if (!strchr(given, '/') && !*tail)
        given = search_path(given, found, sizeof(found)) ? found : given;
    if (given[0] != '/' && (!getcwd(folder, sizeof(folder) - 1) || !strcat(folder, "/")))
        return pc_err_sys(err, "can't find out the current folder");
    if ((size_t)snprintf(path, size, "%s%s%s", folder, given, tail) >= size)
        return pc_err_set(err, PC_E_INVALID, "the path of Python is too long: '%s'", given);
    return 0;
}

static _Noreturn void run_python(const char *path, pid_t parent, int answer_fd)
{
    static const char script[] = "import sys; print(sys.implementation.name, "
                                 "'%d.%d' % sys.version_info[:2], flush=True)";
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it may hang, and its parent may be killed */
    if (getppid() != parent)
        _exit(127);
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(answer_fd, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    execl(path, path, "-I", "-S", "-c", script, (char *)NULL);
    _exit(127);
}

/* Reads what the child prints until it closes the pipe; stops at the limit. */
static void read_answer(int fd, char *answer, size_t size)
{
    size_t used = 0;
    int64_t until = pc_clock_ms() + ANSWER_LIMIT_MS;
    for (;;) {
        int64_t left = until - pc_clock_ms();
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        if (left <= 0 || used + 1 >= size)
            break;
        if (poll(&poll_fd, 1, (int)left) <= 0)
            continue;
        ssize_t got = read(fd, answer + used, size - 1 - used);
        if (got == 0 || (got < 0 && errno != EINTR))
            break;
        used += got > 0 ? (size_t)got : 0;
    }
    answer[used] = '\0';
    answer[strcspn(answer, "\r\n")] = '\0';
}

static int ask_version(const char *path, char *answer, size_t size, struct pc_err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return pc_err_sys(err, "can't ask '%s' for its version", path);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        run_python(path, parent, fds[1]);
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return pc_err_sys(err, "can't ask '%s' for its version", path);
    }
    read_answer(fds[0], answer, size);
    close(fds[0]);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return 0;
}

/* The virtual environment that pcluster is installed in, as in $ENV/bin/pcluster; "" if in none. */
static void find_own_environment(char *path, size_t size)
{
    char exe[1024], marker[1100];
    ssize_t length = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    exe[length < 0 ? 0 : length] = '\0';
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(exe, '/');
        if (slash)
            *slash = '\0';
    }
    snprintf(marker, sizeof(marker), "%s/pyvenv.cfg", exe);
    snprintf(path, size, "%s", access(marker, R_OK) == 0 ? exe : "");
}

int parent_choose_python(const char *option, char *path, size_t size, struct pc_err *err)
{
    char own[1024], chosen[1200], answer[64];
    char source[1100] = "--python";
    find_own_environment(own, sizeof(own));
    const char *environment = *own ? own : getenv("VIRTUAL_ENV");
    if (!option && (!environment || !*environment)) {
        path[0] = '\0';
        return 0;
    }
    if (!option && *own)
        snprintf(source, sizeof(source), "where this pcluster is installed");
    else if (!option)
        snprintf(source, sizeof(source), "VIRTUAL_ENV=%s", environment);
    if (make_path(option ? option : environment, chosen, sizeof(chosen), err) < 0)
        return -1;
    if (access(chosen, X_OK) < 0)
        return pc_err_sys(err, "there is no Python at '%s' (%s)", chosen, source);
    if (ask_version(chosen, answer, sizeof(answer), err) < 0)
        return -1;
    if (!strchr(answer, ' '))
        return pc_err_set(err, PC_E_INVALID, "'%s' (%s) is no Python: it does not run a script",
                          chosen, source);
    if (strcmp(answer, EMBEDDED) != 0)
        return pc_err_set(err, PC_E_INVALID,
                          "'%s' (%s) is %s, and the engines of this pcluster embed %s: both must "
                          "have the same minor version",
                          chosen, source, answer, EMBEDDED);
    if ((size_t)snprintf(path, size, "%s", chosen) >= size)
        return pc_err_set(err, PC_E_INVALID, "the path of Python is too long: '%s'", chosen);
    return 0;
}
