/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks that the scheduler calls back, because one before them takes long. RUNs are numbered from
 * 1 by both sides, modulo 2^32. The second thread answers at once, while user code runs; the main
 * thread passes over what was called back.
 */
#ifndef PC_ENGINE_RECALL_H
#define PC_ENGINE_RECALL_H

#include <stdbool.h>

#include "lib/proto_task.h"

/* The number of the RUN that it has come to goes here, before it begins. */
void eng_recall_init(uint32_t *memory);
/* Main thread: comes to the next RUN. False: it was called back. */
bool eng_recall_begin(void);
/* Control thread: RUNs come from another scheduler from now on, and none was called back. Returns
 * the number of the last one that the main thread has come to. */
uint32_t eng_recall_restart(void);
/* Control thread: moves body->first up to what has not begun yet. */
void eng_recall(struct pc_recall_body *body);

#endif
