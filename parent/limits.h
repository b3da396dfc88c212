/* SPDX-License-Identifier: BSD-3-Clause */
/* What the system allows this many engines. */
#ifndef PC_PARENT_LIMITS_H
#define PC_PARENT_LIMITS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

/* Raises the soft limit of open files to what the roles will need, and leaves it alone when it is
 * higher. *before is what it was: the one that user code is to see. -1 when the hard limit is too
 * low for that many engines. */
int parent_raise_limits(uint32_t engine_count, int64_t *before, struct pc_err *err);
/* Gives a role that runs the limit that we have now. */
void parent_pass_limits(pid_t pid);

#endif
