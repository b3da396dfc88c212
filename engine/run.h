/* SPDX-License-Identifier: BSD-3-Clause */
/* One task: from its message to the message with its result. All with the GIL, main thread. */
#ifndef PC_ENGINE_RUN_H
#define PC_ENGINE_RUN_H

#include "engine/py.h"

#include "lib/msg.h"

/* Looks up what running needs. Call once, in the engine. */
void eng_run_init(uint32_t engine_id, const char *uuid);

struct eng_outcome {
    struct pc_msg *msg; /* RESULT; the caller's */
    PyObject *owner;    /* keeps the memory of large parts; NULL: the message has its own */
};

/* Runs user code, unless it was aborted. Whatever it does, there is an outcome. A child that it
 * forked and that comes back from it ends in here. -1: the message breaks the protocol. */
int eng_run_task(struct pc_msg *run, bool may_run, struct eng_outcome *outcome, struct pc_err *err);
/* Passes over one that was called back: but for what it says of functions it never came. */
int eng_run_pass(struct pc_msg *run, struct pc_err *err);

#endif
