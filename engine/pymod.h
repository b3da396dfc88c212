/* SPDX-License-Identifier: BSD-3-Clause */
/* The module `pcluster_engine`: what our Python modules call in C, and what user code may ask. */
#ifndef PC_ENGINE_PYMOD_H
#define PC_ENGINE_PYMOD_H

#include <stdint.h>

/* Makes the module importable. -1 with an exception set. */
int eng_pymod_register(void);
/* Sets `engine_id` and `engine_uuid` in it, and replaces sys.stdout and sys.stderr. Call once,
 * in the engine, when eng_out_init has been called. */
void eng_pymod_start(uint32_t engine_id, const char *uuid);

#endif
