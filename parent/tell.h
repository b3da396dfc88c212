/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the user who typed the command is told: progress, ready, or why not. In the background that
 * user sits behind a pipe.
 */
#ifndef PC_PARENT_TELL_H
#define PC_PARENT_TELL_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

struct parent_tell {
    const char *command; /* "start" */
    int pipe_fd;         /* to the process in the foreground; -1: this is it */
    bool is_terminal;
    bool is_json;        /* what is said when ready is JSON */
    bool shows_progress; /* an unfinished line is on the terminal */
};

void parent_tell_init(struct parent_tell *tell, const char *command);
void parent_tell_progress(struct parent_tell *tell, const char *text);
/* What is said goes where the log goes: a terminal, the journal. */
bool parent_tell_is_in_log(const struct parent_tell *tell);
/* 0; -1 when nobody is there any more to be told. */
int parent_tell_ready(struct parent_tell *tell, const char *text);
void parent_tell_failed(struct parent_tell *tell, const char *text);

/*
 * Goes to the background. In the new process, which leads no terminal, returns 0 with
 * tell->pipe_fd set and the log file at `log_path` on descriptors 1 and 2. In the old one tells
 * the user what comes through the pipe, and returns 1 with *exit_code set. -1: error.
 */
int parent_daemonize(struct parent_tell *tell, const char *log_path, int *exit_code,
                     struct pc_err *err);

#endif
