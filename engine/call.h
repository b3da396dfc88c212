/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apply: the callable of a message, its arguments, the call. The hot path of the engine, so it is
 * in C. Functions that were sent by value are known by name and loaded once where that is right,
 * see doc/decisions/0004.
 */
#ifndef PC_ENGINE_CALL_H
#define PC_ENGINE_CALL_H

#include "engine/py.h"

#include "lib/msg.h"

void eng_call_init(void); /* call once */

/* A FUNCTION came. Call with the GIL. */
int eng_call_learn(struct pc_msg *msg, struct pc_err *err);
/* A RUN names this function, whether it will be called or not. */
int eng_call_use(const uint8_t *name, struct pc_err *err);

/* Calls the function of this name, or part 0 when there is none. Then parts: pickled (args,
 * kwargs); buffers. A new reference to what it returned, or NULL with an exception. */
PyObject *eng_call(struct pc_msg *run, const uint8_t *name);
/* Forgets the functions that it knows by name. */
void eng_call_forget(void);
/* Has functions loaded anew when they are called next. */
void eng_call_clear(void);

#endif
