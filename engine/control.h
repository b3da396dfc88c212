/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control thread: a libuv loop with the control lane on it. It answers while user code holds
 * the GIL for an hour, sends output that the main thread has no time for, and ends the process
 * when the controller says so or is gone. It never touches Python.
 */
#ifndef PC_ENGINE_CONTROL_H
#define PC_ENGINE_CONTROL_H

#include <sys/types.h>

#include "engine/rejoin.h"
#include "engine/work.h"

struct eng_control {
    struct pc_sock sock; /* the control lane; the thread takes it over */
    struct eng_work *work;
    struct eng_membership *membership;
    int pipes[2];  /* as in outio.h */
    pid_t starter; /* the nursery */
};

/* Starts the thread, which blocks all signals. `control` must stay. */
void eng_control_start(struct eng_control *control);

/* Ends the process because the controller can't be reached any more. Any thread. */
_Noreturn void eng_control_lost(const struct eng_control *control, const char *why);

/* Exit codes of engines. */
#define ENG_EXIT_FAILED 1 /* could not start; stderr says why */
#define ENG_EXIT_LOST   4 /* the connection to the controller was lost */

#endif
