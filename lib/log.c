/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/journal.h"

static const char *log_role = "pcluster";
static enum pc_log_level log_level = PC_LOG_INFO;
static bool is_journal; /* what stderr is */

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void pc_log_init(const char *role, enum pc_log_level level)
{
    log_role = role;
    log_level = level;
    is_journal = pc_journal_is_stream(STDERR_FILENO, getenv("JOURNAL_STREAM"));
}

void pc_log_set_level(enum pc_log_level level)
{
    log_level = level;
}

int pc_log_level_parse(const char *name)
{
    for (int i = 0; i < (int)(sizeof(level_names) / sizeof(level_names[0])); i++)
        if (name && strcmp(name, level_names[i]) == 0)
            return i;
    return -1;
}

const char *pc_log_level_name(enum pc_log_level level)
{
    return level_names[level];
}

int pc_log_level_change(const pc_json *config, struct pc_err *err)
{
    const char *name;
    if (pc_json_get_str(config, "log_level", &name, err) < 0)
        return -1;
    int level = pc_log_level_parse(name);
    if (level < 0)
        return pc_err_set(err, PC_E_PROTOCOL, "'%.40s' is no log level", name);
    log_level = (enum pc_log_level)level;
    return 0;
}

/* With its level and fields; false: not possible. No descriptor is kept, which in an engine user
 * code could close and use for something else. */
static bool to_journal(enum pc_log_level level, const struct pc_log_subject *subject,
                       const char *format, va_list args)
{
    static const int priorities[] = {3, 4, 6, 7};
    char text[2048];
    va_list again;
    int fd = is_journal ? pc_journal_open(PC_JOURNAL_SOCKET) : -1;
    if (fd < 0)
        return false;
    va_copy(again, args);
    vsnprintf(text, sizeof(text), format, again);
    va_end(again);
    int status = pc_journal_send(fd, priorities[level], log_role, subject, text);
    close(fd);
    return status == 0;
}

static void log_line(enum pc_log_level level, const struct pc_log_subject *subject,
                     const char *format, va_list args)
{
    char line[2048];
    if (to_journal(level, subject, format, args))
        return;
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    size_t used = strftime(line, sizeof(line), "%Y-%m-%d %H:%M:%S", &local);
    int head = snprintf(line + used, sizeof(line) - used, ".%03ld %s %s: ", now.tv_nsec / 1000000,
                        log_role, level_names[level]);
    used += (size_t)head;
    int text = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
    used += (size_t)text;
    if (used > sizeof(line) - 2)
        used = sizeof(line) - 2;
    /* A peer's text must not be able to forge a second line. */
    for (size_t i = 0; i < used; i++)
        if ((unsigned char)line[i] < ' ' && line[i] != '\t')
            line[i] = ' ';
    line[used] = '\n';
    /* One write, so that lines of several processes don't mix. A full or closed sink loses it. */
    ssize_t ignored = write(STDERR_FILENO, line, used + 1);
    (void)ignored;
}

void pc_log(enum pc_log_level level, const char *format, ...)
{
    if (level > log_level)
        return;
    int saved = errno;
    va_list args;
    va_start(args, format);
    log_line(level, NULL, format, args);
    va_end(args);
    errno = saved;
}

void pc_log_about(enum pc_log_level level, const struct pc_log_subject *subject, const char *format,
                  ...)
{
    if (level > log_level)
        return;
    int saved = errno;
    va_list args;
    va_start(args, format);
    log_line(level, subject, format, args);
    va_end(args);
    errno = saved;
}

void pc_warn_limited(struct pc_log_limit *limit, const char *format, ...)
{
    int64_t now_ms = pc_clock_ms();
    if (!limit->begun_ms || now_ms - limit->begun_ms > PC_LOG_PERIOD_MS) {
        if (limit->count > PC_LOG_BURST)
            pc_warn("%u more such lines were left out", limit->count - PC_LOG_BURST);
        limit->begun_ms = now_ms;
        limit->count = 0;
    }
    if (++limit->count > PC_LOG_BURST || log_level < PC_LOG_WARN)
        return;
    va_list args;
    va_start(args, format);
    log_line(PC_LOG_WARN, NULL, format, args);
    va_end(args);
}

void pc_fatal(int exit_code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(PC_LOG_ERROR, NULL, format, args);
    va_end(args);
    _exit(exit_code);
}
