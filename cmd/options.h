/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of a subcommand as a table; help and error texts come from it, too. */
#ifndef PC_CMD_OPTIONS_H
#define PC_CMD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* What the scheduler takes; see sched/policy.c. */
#define OPTIONS_SCHEMES "leastload lru plainrandom twobin weighted"
#define OPTIONS_HWM_MAX 1000000

enum option_kind {
    OPTION_SET,    /* value: bool *, becomes true */
    OPTION_CLEAR,  /* value: bool *, becomes false */
    OPTION_TEXT,   /* value: const char ** */
    OPTION_TAGS,   /* value: char[PC_TAGS_MAX + 1], to which it adds; may be given often */
    OPTION_NUMBER, /* value: long *, between min and max */
    OPTION_CHOICE, /* value: const char **, one of `choices`, separated by blanks */
};

struct option_row {
    char letter; /* 0: only the long name */
    const char *name;
    enum option_kind kind;
    void *value;
    const char *arg; /* what help calls the argument */
    const char *help;
    long min, max;
    const char *choices;
};

struct option_page {
    const char *command;           /* "start" */
    const char *operands;          /* for the usage line, "" when there are none */
    const char *about;             /* what the command does, some lines */
    const struct option_row *rows; /* ends with name NULL */
    int operand_min, operand_max;
};

/*
 * Reads argv (argv[0] is the subcommand). Returns the index of the first operand; or a negative
 * number when the command is over: help was shown, or an error was; *exit_code says which.
 */
int options_read(const struct option_page *page, int argc, char **argv, int *exit_code);

/* "pcluster start: <text>" on stderr. */
void command_error(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
