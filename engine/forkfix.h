/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * User code may fork. The child is a copy of an engine that must never act as one: it has none of
 * the engine's descriptors, writes its output to the plain descriptors 1 and 2, and when it comes
 * back from the call it leaves.
 */
#ifndef PC_ENGINE_FORKFIX_H
#define PC_ENGINE_FORKFIX_H

#include <stdbool.h>

/* Call once, in the engine. */
void eng_forkfix_install(void);
/* This descriptor is closed in every child that is forked without exec. At most 8. */
void eng_forkfix_guard(int fd);
/* True in a forked child, as far as fork() was used; see also getpid(). */
bool eng_forkfix_is_child(void);

#endif
