/* SPDX-License-Identifier: BSD-3-Clause */
/* The subcommands of pcluster task. */
#ifndef PC_CMD_TASK_H
#define PC_CMD_TASK_H

#include "lib/pcluster.h"

int cmd_task_result(int argc, char **argv);
/* "0123456789abcdef_12"; -1: it is not the id of a task. */
int task_id_read(const char *text, struct pc_task_id *id);

#endif
