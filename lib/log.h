/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines of the roles: time, role, level, lower-case sentence. One event, one line, on stderr,
 * or in the journal when that is what stderr is.
 * libpcluster.so never calls these.
 */
#ifndef PC_LIB_LOG_H
#define PC_LIB_LOG_H

#include <stdint.h>

#include "lib/err.h"
#include "lib/json.h"

enum pc_log_level { PC_LOG_ERROR, PC_LOG_WARN, PC_LOG_INFO, PC_LOG_DEBUG };

/* `role` must stay valid: it is printed with every line ("hub", "scheduler", "engine 3"). */
void pc_log_init(const char *role, enum pc_log_level level);
void pc_log_set_level(enum pc_log_level level);

/* "error", "warn", "info", "debug" -> level; -1 for anything else. */
int pc_log_level_parse(const char *name);
const char *pc_log_level_name(enum pc_log_level level);

/* Of a CONFIG that came when the role was configured already: only the level may change. */
int pc_log_level_change(const pc_json *config, struct pc_err *err);

void pc_log(enum pc_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a line about an engine, and about what it runs: in the journal these are fields. */
struct pc_log_subject {
    uint32_t engine_id;         /* PC_NO_ENGINE: none */
    uint64_t session, sequence; /* of the task; sequence 0: none */
};
void pc_log_about(enum pc_log_level level, const struct pc_log_subject *subject, const char *format,
                  ...) __attribute__((format(printf, 3, 4)));

#define pc_error(...) pc_log(PC_LOG_ERROR, __VA_ARGS__)
#define pc_warn(...)  pc_log(PC_LOG_WARN, __VA_ARGS__)
#define pc_info(...)  pc_log(PC_LOG_INFO, __VA_ARGS__)
#define pc_debug(...) pc_log(PC_LOG_DEBUG, __VA_ARGS__)

/* For lines that a stranger can cause: at most PC_LOG_BURST of a kind in PC_LOG_PERIOD_MS, and then
 * one that says how many were left out. Zero-initialise. */
#define PC_LOG_BURST     20
#define PC_LOG_PERIOD_MS 10000
struct pc_log_limit {
    int64_t begun_ms;
    unsigned count;
};
void pc_warn_limited(struct pc_log_limit *limit, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Logs at level error and ends the process with `exit_code`, without running exit handlers. */
_Noreturn void pc_fatal(int exit_code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
