/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a shell offers while a command line is typed. The scripts are written from the tables of
 * options, so that they know of every option as soon as the command does.
 */
#ifndef PC_CMD_COMPLETION_H
#define PC_CMD_COMPLETION_H

#include "cmd/options.h"

/* What an argument can be. */
enum completion {
    COMPLETION_NONE,     /* anything: nothing is offered */
    COMPLETION_WORDS,    /* one of a list */
    COMPLETION_FILES,    /* a path */
    COMPLETION_PROFILES, /* these four are asked for when they are wanted: what there is then */
    COMPLETION_CLUSTERS,
    COMPLETION_ENGINES,
    COMPLETION_TASKS,
};

/* Of an option, and of the operands of a command. *words is set for COMPLETION_WORDS. */
enum completion completion_of_row(const struct option_row *row, const char **words);
enum completion completion_of_operands(const struct option_page *page, const char **words);
/* "profiles" ...; NULL for those that need no question. */
const char *completion_question(enum completion completion);

void completion_bash(void);
void completion_zsh(void);

#endif
