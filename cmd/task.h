/* SPDX-License-Identifier: BSD-3-Clause */
/* The subcommands of pcluster task. */
#ifndef PC_CMD_TASK_H
#define PC_CMD_TASK_H

#include "lib/pcluster.h"

int cmd_task_result(int argc, char **argv);
/* "0123456789abcdef_12"; -1: it is not the id of a task. */
int task_id_read(const char *text, struct pc_task_id *id);

/* The rows of options that say which cluster is meant. */
#define TASK_WHERE_ROWS(where)                                                                     \
    {0, "profile", OPTION_TEXT, &(where).profile, "NAME", "profile (default: default)"},           \
        {0,           "cluster-id",                                                                \
         OPTION_TEXT, &(where).cluster_id,                                                         \
         "ID",        "name of the cluster, when a profile has several"},                          \
    {                                                                                              \
        0, "file", OPTION_TEXT, &(where).file, "PATH",                                             \
            "connection file (default: pcluster-client.json of the profile)"                       \
    }

#endif
