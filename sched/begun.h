/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How often each durable task was given to an engine: a file of slots, which outlives everybody. It
 * is written before the task is sent, so that after the end of all processes nobody has to guess
 * whether a task has begun. The next hub reads it (hub/durable.c) and empties it.
 *
 * A slot has 24 bytes: session u64, sequence u64, count u64. It is taken when the task is accepted
 * and free for another one when the hub has the end of the task on disk.
 */
#ifndef PC_SCHED_BEGUN_H
#define PC_SCHED_BEGUN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/index.h"

#define BEGUN_SLOT_SIZE 24

struct begun {
    int fd;              /* -1: there is none */
    struct pc_index map; /* task to slot, as pointers: slot + 1 */
    struct pc_buf free;  /* u32 each */
    uint32_t end;        /* of the slots that were ever used */
    bool is_failing;
};

/* Takes a slot; so what is written to it later needs no room on the disk. */
int begun_reserve(struct begun *begun, uint64_t session, uint64_t sequence, struct pc_err *err);
/* It is given to an engine, for the `count`th time. */
void begun_mark(struct begun *begun, uint64_t session, uint64_t sequence, uint64_t count);
void begun_release(struct begun *begun, uint64_t session, uint64_t sequence);
void begun_fini(struct begun *begun);

#endif
