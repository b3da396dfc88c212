/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Output: Python's streams, and the pipes behind the descriptors 1 and 2 (C's printf,
 * subprocesses), on their way to the client as STREAM messages on the work lane.
 *
 * Python's text is collected in a small buffer per stream and sent when that is full, a few
 * milliseconds after the first byte (by the control thread), or at the end of the task. The pipes
 * are read by the control thread, and emptied by the main thread at the end of a task: all output
 * of a task goes out before its result.
 *
 * At most PC_OUTPUT_WINDOW bytes are under way. Beyond that, whoever writes waits: print() here,
 * the others in their write to the pipe, which is not read meanwhile.
 */
#ifndef PC_ENGINE_OUTIO_H
#define PC_ENGINE_OUTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/lane.h"
#include "engine/tail.h"

/* Streams are numbered as in enum pc_stream. `pipes` are the read ends of what is on the
 * descriptors 1 and 2, non-blocking. Call once. */
void eng_out_init(struct eng_lane *lane, struct eng_tail *tail, const int pipes[2]);
/* In a forked child: there is nothing to send and nobody to send it. */
void eng_out_forget(void);

/* ---- any thread --- */

/* Only takes bytes that fit into the buffer while nobody else is here; never waits. False: use
 * eng_out_write. */
bool eng_out_try_write(int stream, const char *data, size_t size);
/* Also what the task displays, for which there is no buffer. Without the GIL: waits for room. True:
 * all was taken; false: a signal came, `*done` bytes were taken, go on with the rest after looking
 * at the signal. */
bool eng_out_write(int stream, const char *data, size_t size, size_t *done);
/* Without the GIL: sends what is in the buffer. False: as above. */
bool eng_out_flush(int stream);

/* Without the GIL: sends at most PC_DATA_MAX bytes as what the task has published. False: a signal
 * came before it was sent. */
bool eng_out_publish(const char *data, size_t size);
/* Grows with every task. */
uint64_t eng_out_task_number(void);

/* ---- main thread, without the GIL --- */

/* From now on output belongs to this task. */
void eng_out_begin(uint64_t session, uint64_t sequence);
/* Sends all output of the task, then its result. Waits for both. *is_queued is set, with the
 * lane's lock, when the result is on its way. */
void eng_out_end(struct pc_msg *result, bool *is_queued);

/* ---- control thread; these never wait --- */

/* Becomes readable when a buffer has waited long enough. */
int eng_out_timer_fd(void);
void eng_out_credit(uint64_t bytes);
/* With the lane's lock: only so many bytes are under way to the scheduler that there is now. */
void eng_out_restart(uint64_t bytes);

enum eng_out_state {
    ENG_OUT_IDLE,   /* all that was there is on its way */
    ENG_OUT_BUSY,   /* could not do all of it now: call again in a moment */
    ENG_OUT_WINDOW, /* there is more, and it needs credit */
};
/* Sends from the buffers and the pipes what can be sent. `pipe_ended[i]` is set when the other
 * end of a pipe is closed. */
enum eng_out_state eng_out_pump(bool pipe_ended[2]);

#endif
