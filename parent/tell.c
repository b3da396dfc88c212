/* SPDX-License-Identifier: BSD-3-Clause */
#include "parent/tell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/spawn.h"

#define TEXT_MAX 8192

/* On the pipe: kind, size of the text (2 bytes, both ends are the same machine), text. */
enum kind { KIND_PROGRESS = 'p', KIND_READY = 'r', KIND_FAILED = 'f' };

void parent_tell_init(struct parent_tell *tell, const char *command)
{
    *tell = (struct parent_tell){
        .command = command, .pipe_fd = -1, .is_terminal = isatty(STDERR_FILENO) == 1};
}

/* ---- showing ---------------------------------------------------------------------------- */

static void end_progress(struct parent_tell *tell)
{
    if (tell->shows_progress)
        fputs("\r\033[K", stderr);
    tell->shows_progress = false;
}

static void show(struct parent_tell *tell, enum kind kind, const char *text)
{
    if (kind == KIND_PROGRESS) {
        fprintf(stderr, "\r\033[K%s", text);
        tell->shows_progress = true;
    } else {
        end_progress(tell);
        if (kind == KIND_READY)
            printf("%s%s\n", tell->is_json ? "" : "ready: ", text);
        else
            fprintf(stderr, "pcluster %s: %s\n", tell->command, text);
    }
    fflush(stdout);
    fflush(stderr);
}

/* ---- through the pipe ------------------------------------------------------------------- */

static int put(int fd, enum kind kind, const char *text)
{
    char frame[3 + TEXT_MAX];
    size_t length = strnlen(text, TEXT_MAX);
    uint16_t size = (uint16_t)length;
    frame[0] = (char)kind;
    memcpy(frame + 1, &size, sizeof(size));
    memcpy(frame + 3, text, length);
    size_t done = 0;
    while (done < 3 + length) {
        ssize_t wrote = write(fd, frame + done, 3 + length - done);
        if (wrote < 0 && errno != EINTR)
            return -1;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

static int get_exactly(int fd, void *out, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(fd, (char *)out + done, size - done);
        if (got == 0 || (got < 0 && errno != EINTR))
            return -1;
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static int get(int fd, char *kind, char text[TEXT_MAX + 1])
{
    uint16_t size;
    if (get_exactly(fd, kind, 1) < 0 || get_exactly(fd, &size, sizeof(size)) < 0 ||
        size > TEXT_MAX || get_exactly(fd, text, size) < 0)
        return -1;
    text[size] = '\0';
    return 0;
}

static int tell_any(struct parent_tell *tell, enum kind kind, const char *text)
{
    if (tell->pipe_fd >= 0)
        return put(tell->pipe_fd, kind, text);
    show(tell, kind, text);
    return 0;
}

/* ---- telling ---------------------------------------------------------------------------- */

void parent_tell_progress(struct parent_tell *tell, const char *text)
{
    if (tell->is_terminal)
        tell_any(tell, KIND_PROGRESS, text);
}

static void close_pipe(struct parent_tell *tell)
{
    if (tell->pipe_fd >= 0)
        close(tell->pipe_fd);
    tell->pipe_fd = -1;
    tell->is_terminal = false;
}

bool parent_tell_is_in_log(const struct parent_tell *tell)
{
    struct stat out, log;
    return tell->pipe_fd < 0 && fstat(STDOUT_FILENO, &out) == 0 &&
           fstat(STDERR_FILENO, &log) == 0 && out.st_dev == log.st_dev && out.st_ino == log.st_ino;
}

int parent_tell_ready(struct parent_tell *tell, const char *text)
{
    int status = tell_any(tell, KIND_READY, text);
    close_pipe(tell);
    return status;
}

void parent_tell_failed(struct parent_tell *tell, const char *text)
{
    tell_any(tell, KIND_FAILED, text);
    close_pipe(tell);
}

/* ---- going to the background ------------------------------------------------------------ */

static int foreground(struct parent_tell *tell, int fd, const char *log_path)
{
    char kind, text[TEXT_MAX + 1];
    for (;;) {
        if (get(fd, &kind, text) < 0) {
            snprintf(text, sizeof(text),
                     "the process in the background ended without a word; see '%s'", log_path);
            kind = KIND_FAILED;
        }
        show(tell, (enum kind)kind, text);
        if (kind != KIND_PROGRESS)
            return kind == KIND_READY ? 0 : 1;
    }
}

static void use_descriptors(int log_fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
}

int parent_daemonize(struct parent_tell *tell, const char *log_path, int *exit_code,
                     struct pc_err *err)
{
    int fds[2];
    int log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return pc_err_sys(err, "can't write the log '%s'", log_path);
    if (pipe2(fds, O_CLOEXEC) < 0) {
        pc_err_sys(err, "can't go to the background");
        close(log_fd);
        return -1;
    }
    pid_t child = fork();
    if (child < 0) {
        pc_err_sys(err, "can't go to the background");
        close(fds[0]);
        close(fds[1]);
        close(log_fd);
        return -1;
    }
    if (child > 0) {
        close(fds[1]);
        close(log_fd);
        waitpid(child, NULL, 0);
        *exit_code = foreground(tell, fds[0], log_path);
        close(fds[0]);
        return 1;
    }
    /* Twice: the first leads the new session and ends, so that the second can never get a
     * terminal. */
    setsid();
    if (fork() != 0)
        _exit(0);
    signal(SIGHUP, SIG_IGN); /* there is no terminal that could hang up */
    use_descriptors(log_fd);
    /* Whoever started us may wait for the end of a pipe that we inherited. */
    pc_close_from(STDERR_FILENO + 1, &fds[1], 1);
    tell->pipe_fd = fds[1];
    return 0;
}
