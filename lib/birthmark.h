/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether this is the process in which something was made, or one forked from it: on the hot path,
 * where asking the system for our pid each time would cost more than the rest of the check. */
#ifndef PC_LIB_BIRTHMARK_H
#define PC_LIB_BIRTHMARK_H

#include <stdbool.h>
#include <sys/types.h>

struct pc_birthmark {
    pid_t pid;
    volatile bool *page; /* empty in a forked child; NULL: the system has no such pages */
};

void pc_birthmark_init(struct pc_birthmark *mark);
void pc_birthmark_fini(struct pc_birthmark *mark);
/* Async-signal-safe. */
bool pc_birthmark_is_here(const struct pc_birthmark *mark);

#endif
