/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The work lane: what is written to it, by any thread. The main thread alone reads it.
 *
 * The lock is held for whole messages, and by outio for whole pieces of output, so that order is
 * kept. Nobody takes the lock with the GIL held unless it is free, and nobody takes the GIL while
 * holding the lock. The control thread only ever tries.
 */
#ifndef PC_ENGINE_LANE_H
#define PC_ENGINE_LANE_H

#include <pthread.h>
#include <stdbool.h>

#include "lib/sock.h"

struct eng_lane {
    struct pc_sock sock;
    pthread_mutex_t lock;
    bool is_broken; /* a write failed: nothing more is written */
};

/* Takes over an open sock. */
void eng_lane_init(struct eng_lane *lane, struct pc_sock *sock);
/* In a forked child: whoever held the lock is not here. */
void eng_lane_forget(struct eng_lane *lane);

/* Both need the lock. Queues; keeps a reference while parts are sent from where they are. */
void eng_lane_queue(struct eng_lane *lane, struct pc_msg *msg);
/* Writes what is queued, waiting when `may_wait`. True: all of it is gone (or the lane is
 * broken). Signals don't end the wait. */
bool eng_lane_flush(struct eng_lane *lane, bool may_wait);

#endif
