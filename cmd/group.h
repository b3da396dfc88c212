/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that have commands of their own: `pcluster task list`. */
#ifndef PC_CMD_GROUP_H
#define PC_CMD_GROUP_H

#include "cmd/cmd.h"

struct group {
    const char *name;                    /* "task" */
    const char *about;                   /* one line */
    const struct cmd *commands;          /* ends with name NULL */
    int (*plain)(int argc, char **argv); /* what it does without one of them; NULL: nothing */
};

/* Runs the one that argv[1] names, or shows help. Returns its exit code. */
int group_run(const struct group *group, int argc, char **argv);

#endif
