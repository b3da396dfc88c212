/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Abort and interrupt of exactly one task.
 *
 * A task that has not begun is put on a list, and the main thread skips it. In the one that runs
 * KeyboardInterrupt is raised: by a real-time signal of our own, which also ends blocking system
 * calls, so that it does not matter what the task does with SIGINT; and, should the task have
 * taken that signal, too, by a pending call, which Python makes when its lock changes hands next:
 * a loop that takes every signal and never waits is not reached. Both look whether the task that
 * was meant still runs, and whichever comes first takes the request.
 */
#ifndef PC_ENGINE_INTR_H
#define PC_ENGINE_INTR_H

#include <stdbool.h>
#include <stdint.h>

/* On the main thread, with the GIL, in the process that will run tasks. */
void eng_intr_init(void);

/* Main thread: this task begins now. False: it was aborted, and must not run. */
bool eng_intr_begin(uint64_t session, uint64_t sequence);
/* Main thread: what runs now is no task any more. */
void eng_intr_end(void);
/* Main thread: its result was acknowledged; nothing can be wanted from it any more. */
void eng_intr_forget(uint64_t session, uint64_t sequence);

/* Control thread. */
void eng_intr_abort(uint64_t session, uint64_t sequence, bool may_interrupt);
/* False: no request is open. True: the signal was sent once more; call again soon. A signal that
 * comes when Python has just looked, and before a system call, does not end that. */
bool eng_intr_insist(void);

#endif
