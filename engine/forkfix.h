/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * User code may fork. The child is a copy of an engine that must never act as one: it has none of
 * the engine's descriptors, writes its output to the plain descriptors 1 and 2, and when it comes
 * back from the user code it leaves. That code runs in many places besides the call: pickling,
 * describing an error, releasing a value, handlers of signals.
 */
#ifndef PC_ENGINE_FORKFIX_H
#define PC_ENGINE_FORKFIX_H

#include <stdbool.h>

/* Call once, in the engine. */
void eng_forkfix_install(void);
/* This descriptor is closed in every child that is forked without exec. At most 8. */
void eng_forkfix_guard(int fd);
/* It is another one now. */
void eng_forkfix_replace(int before, int now);
/* True in a forked child, however it was made. */
bool eng_forkfix_is_child(void);
/* Ends the process when it is such a child. For every way back from user code, and before what
 * only the engine may do: taking a task, sending, ending its process group. */
void eng_forkfix_leave(void);

#endif
