/* SPDX-License-Identifier: BSD-3-Clause */
/* The entry points of this room. Nothing else of it is used elsewhere. */
#ifndef PC_ENGINE_ENGINE_H
#define PC_ENGINE_ENGINE_H

/* Role "nursery": descriptor 3 leads to the parent. Returns the exit code. */
int nursery_main(void);

/* Role "engine": an engine with an interpreter of its own, started by a nursery that forks none
 * (--no-nursery). Descriptors 3 and up are what engine/spawn.h says. */
int engine_main(void);

/* The Python that engines embed, "3.11.2". */
const char *engine_python_version(void);

#endif
