/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the commands that start something share: start, controller and engine. Each is a page made
 * of these groups of options; a new option of theirs is one row in launch.c.
 */
#ifndef PC_CMD_LAUNCH_H
#define PC_CMD_LAUNCH_H

#include "cmd/ask.h"
#include "cmd/options.h"
#include "lib/tags.h"
#include "parent/parent.h"

/* Where the values of the options go. Initialised by LAUNCH_DEFAULTS. */
struct launch {
    struct parent_options options;
    struct ask_where where; /* of which the file is not used */
    long engine_count, port, hwm, heartbeat_ms, grace_ms, end_with, max_tasks, max_bytes;
    long log_max_bytes;
    long engine_memory_max, engine_cpu;
    bool keep_keys; /* looked at when the settings are read again */
    char tags[PC_TAGS_MAX + 1];
};

#define LAUNCH_DEFAULTS                                                                            \
    {                                                                                              \
        .options = {.use_nursery = true,                                                           \
                    .log_files = 3,                                                                \
                    .store = {.tasks = 100000, .bytes = 256L << 20, .keep_bytes = 64L << 10}},     \
        .engine_count = 1, .hwm = 1, .heartbeat_ms = 3000, .grace_ms = 10000,                      \
        .max_tasks = 1000000, .max_bytes = 1L << 30, .log_max_bytes = 16L << 20                    \
    }

extern const struct option_row
    launch_engine_rows[]; /* of who starts engines, but for their number */
extern const struct option_row launch_controller_rows[]; /* of who starts a controller */
extern const struct option_row launch_rows[];            /* of everyone */

/* Reads the command line and runs the parent; `run` is the command itself, for SIGHUP. Returns its
 * exit code. */
int launch(struct launch *launch, const struct option_page *page, int (*run)(int argc, char **argv),
           int argc, char **argv);

#endif
