/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the hub was told, in memory that outlives it: two segments (memfds) that the parent holds.
 * A hub that was killed is started again, takes in what the journal has, and goes on.
 *
 * A segment is a head of 16 bytes and then a stream of frames as on a connection: a snapshot of
 * what there was when it was begun, and after it the messages of the scheduler as they came. When a
 * segment has grown to three times its snapshot the other one is begun with a fresh one. The head
 * has a number when the snapshot is complete; the segment with the larger number counts.
 *
 * Whatever follows the last whole frame was being written when the hub was killed: nobody was told
 * that it was recorded, so it comes again.
 */
#ifndef PC_HUB_JOURNAL_H
#define PC_HUB_JOURNAL_H

#include "lib/wire.h"

struct hub_journal {
    int fds[2];             /* -1: there is no journal */
    int active;             /* the segment that is written */
    uint64_t number;        /* of the latest complete one; 0: there was none */
    uint64_t size;          /* of the active one */
    uint64_t snapshot_size; /* of which the snapshot has that much */
    struct pc_wire wire;    /* what is not written yet */
    char trouble[200];      /* it can't be written, and is given up; "" */
};

void hub_journal_init(struct hub_journal *journal);
void hub_journal_fini(struct hub_journal *journal);
/* Takes over the descriptors of both segments; then replay. */
void hub_journal_open(struct hub_journal *journal, int first_fd, int second_fd);
bool hub_journal_exists(const struct hub_journal *journal);

/* Calls `take` with each whole message of the segment that counts, up to one that is malformed or
 * that `take` refuses (-1 with err); the journal goes on from there. Returns how many were taken,
 * 0 also when there is no segment yet. */
uint64_t hub_journal_replay(struct hub_journal *journal,
                            int (*take)(void *arg, struct pc_msg *msg, struct pc_err *err),
                            void *arg);

/* Begins the other segment; what is added until hub_journal_complete is its snapshot. */
void hub_journal_begin(struct hub_journal *journal);
void hub_journal_complete(struct hub_journal *journal);
/* Whether it is time for that. */
bool hub_journal_is_long(const struct hub_journal *journal);

/* Queues a copy of the message, and references to its large parts. */
void hub_journal_add(struct hub_journal *journal, struct pc_msg *msg);
/* Writes what is queued. */
void hub_journal_write(struct hub_journal *journal);

#endif
