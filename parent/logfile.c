/* SPDX-License-Identifier: BSD-3-Clause */
#include "parent/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "parent/state.h"

#define PERIOD_MS 1000
#define PATH_SIZE (sizeof(((struct parent *)0)->log_path) + 16)

/* Up to the end, as far as it is written by then. */
static int copy(int from, int to, struct pc_err *err)
{
    for (;;) {
        ssize_t got = sendfile(to, from, NULL, 1 << 20);
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return pc_err_sys(err, "can't copy the log");
    }
}

/* Moves what is in the file to `old`. */
static int empty(int fd, const char *path, const char *old, struct pc_err *err)
{
    int status = -1;
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from < 0 || to < 0)
        pc_err_sys(err, "can't write '%s'", old);
    else
        status = copy(from, to, err);
    /* Also when it could not be copied, for want of space: the limit is a promise. */
    if (ftruncate(fd, 0) < 0 && status == 0)
        status = pc_err_sys(err, "can't empty the log '%s'", path);
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return status;
}

static bool is_same(int fd, const char *path, int64_t *size)
{
    struct stat open_one, named;
    if (fstat(fd, &open_one) < 0 || !S_ISREG(open_one.st_mode) || stat(path, &named) < 0)
        return false;
    *size = open_one.st_size;
    return open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

int parent_log_turn(int fd, const char *path, int64_t max_bytes, long files, struct pc_err *err)
{
    char old[PATH_SIZE], older[PATH_SIZE];
    int64_t size;
    if (!is_same(fd, path, &size) || size <= max_bytes)
        return 0;
    for (long i = files; i > 1; i--) {
        snprintf(old, sizeof(old), "%s.%ld", path, i - 1);
        snprintf(older, sizeof(older), "%s.%ld", path, i);
        if (rename(old, older) < 0 && errno != ENOENT)
            pc_warn("can't rename '%s': it will be overwritten", old);
    }
    snprintf(old, sizeof(old), files > 0 ? "%s.1" : "/dev/null", path);
    return empty(fd, path, old, err) < 0 ? -1 : 1;
}

static void on_look(uv_timer_t *timer)
{
    struct parent *parent = timer->data;
    const struct parent_options *options = parent->options;
    struct pc_err err;
    if (parent_log_turn(STDERR_FILENO, parent->log_path, options->log_max_bytes, options->log_files,
                        &err) < 0)
        pc_error("%s", err.text);
}

void parent_log_watch(struct parent *parent)
{
    if (!parent->log_path[0] || parent->options->log_max_bytes == 0)
        return;
    uv_timer_init(&parent->loop, &parent->log_timer);
    parent->log_timer.data = parent;
    uv_timer_start(&parent->log_timer, on_look, 0, PERIOD_MS);
}
