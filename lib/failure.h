/* SPDX-License-Identifier: BSD-3-Clause */
/* What stands in the place of a result when there is none. */
#ifndef PC_LIB_FAILURE_H
#define PC_LIB_FAILURE_H

#include "lib/msg.h"

/* A RESULT of status FAILED with an error of this name and text. NULL: out of memory. */
struct pc_msg *pc_failure_new(const char *ename, const char *text);

#endif
