/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apply: the callable of a message, its arguments, the call. The hot path of the engine, so it is
 * in C, and callables that were sent by value are kept by the bytes of their pickle.
 */
#ifndef PC_ENGINE_CALL_H
#define PC_ENGINE_CALL_H

#include "engine/py.h"

#include "lib/msg.h"

void eng_call_init(void); /* call once */

/* Part 0: pickled callable; part 1: pickled (args, kwargs); then buffers. A new reference to what
 * the call returned, or NULL with an exception. */
PyObject *eng_call(struct pc_msg *run);
/* Forgets the callables that were kept. */
void eng_call_clear(void);

#endif
