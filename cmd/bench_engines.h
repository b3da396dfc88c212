/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Engines without Python: a process that speaks for any number of them, and answers every task
 * with None at once. For measuring what the scheduler costs.
 */
#ifndef PC_CMD_BENCH_ENGINES_H
#define PC_CMD_BENCH_ENGINES_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/connfile.h"

/* Forks it; it ends with this process, or with the controller. `gate`: it answers nothing until a
 * byte can be read there; -1: it answers from the beginning. */
pid_t bench_engines_start(const struct pc_connfile *file, unsigned count,
                          enum pc_transport transport, int gate, struct pc_err *err);

#endif
