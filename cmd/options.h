/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of a subcommand as a table. The command line, its help and its error texts come from
 * it, and so do the configuration (settings.h) and the completion of shells (completion.c).
 */
#ifndef PC_CMD_OPTIONS_H
#define PC_CMD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

/* What the scheduler takes; see sched/policy.c. */
#define OPTIONS_SCHEMES "leastload lru plainrandom twobin weighted"
#define OPTIONS_LEVELS  "error warn info debug"
#define OPTIONS_HWM_MAX 1000000
/* See sched/window.c. */
#define OPTIONS_TASKS_MAX 100000000
#define OPTIONS_BYTES_MIN 4096
#define OPTIONS_BYTES_MAX (1L << 50)

enum option_kind {
    OPTION_SET,    /* value: bool *, becomes true */
    OPTION_CLEAR,  /* value: bool *, becomes false */
    OPTION_TEXT,   /* value: const char ** */
    OPTION_TAGS,   /* value: char[PC_TAGS_MAX + 1], to which it adds; may be given often */
    OPTION_NUMBER, /* value: long *, between min and max */
    OPTION_SIZE,   /* value: long *, bytes between min and max: "1000", "64K", "2G" */
    OPTION_CHOICE, /* value: const char **, one of `choices`, separated by blanks */
};

/* Where a value may come from besides the command line. */
enum option_reach {
    OPTION_SETTING,       /* files and the environment, if the command has settings at all */
    OPTION_NAMES_CLUSTER, /* the environment, for every command; it says which file is read */
    OPTION_LINE_ONLY,     /* nowhere: it is about this one run */
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
    enum option_reach reach;
};

/* Rows that several commands have: their values are members of a struct that each command has one
 * of, and are written OPTION_AT(struct name, member). */
struct option_group {
    const struct option_row *rows; /* ends with name NULL */
    void *base;
};
#define OPTION_AT(type, member) ((void *)offsetof(type, member))
#define OPTION_GROUPS_MAX       4

extern const struct option_row option_json_rows[]; /* --json; the base is a bool */

struct option_page {
    const char *command;                           /* "start" */
    const char *operands;                          /* for the usage line, "" when there are none */
    const char *about;                             /* what the command does, some lines */
    const struct option_row *rows;                 /* its own; ends with name NULL; may be NULL */
    struct option_group shared[OPTION_GROUPS_MAX]; /* they follow */
    const char *operand_choices; /* words that operands may be, separated by blanks; or NULL */
    int operand_min, operand_max;
    bool has_settings; /* values may also come from files and the environment */
};

/* Where the value of an option came from. */
enum option_source { OPTION_BY_DEFAULT, OPTION_FROM_FILE, OPTION_FROM_ENV, OPTION_FROM_LINE };

struct option_origin {
    enum option_source source;
    const char *file; /* where it was, and in which line; lives as long as the process */
    unsigned line;
};

#define OPTION_ROWS_MAX 60

/*
 * Reads argv (argv[0] is the subcommand). Returns the index of the first operand; or a negative
 * number when the command is over: help was shown, or an error was; *exit_code says which.
 */
int options_read(const struct option_page *page, int argc, char **argv, int *exit_code);

/* The same, for a visitor (see below): fills the rows of the page that it visits. */
int options_fill(const struct option_page *page, int argc, char **argv, int *exit_code);

/* Gives a row the value that `text` means, which must live as long as it is used. -1 with what is
 * wrong with it; `shown` begins that text. */
int option_take(const struct option_row *row, const char *text, const char *shown,
                struct pc_err *err);
/* The same without giving it. */
int option_check(const struct option_row *row, const char *text, const char *shown,
                 struct pc_err *err);
bool option_has_argument(const struct option_row *row);

/* Calls `visit` with the page of a command, whose `rows` are all of its rows and live as long as
 * that call. */
typedef void option_visit(const struct option_page *page, void *arg);
void options_visit(int (*run)(int argc, char **argv), option_visit *visit, void *arg);

/* "pcluster start: <text>" on stderr. */
void command_error(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
