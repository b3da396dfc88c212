/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The work lane: what is written to it, by any thread. The main thread alone reads it.
 *
 * The lock is held for whole messages, and by outio for whole pieces of output, so that order is
 * kept. Nobody takes the lock with the GIL held unless it is free, and nobody takes the GIL while
 * holding the lock. The control thread only ever tries.
 *
 * When the connection breaks and the session has a lifeline, what is queued is kept there until the
 * control thread has put another connection in place. The descriptor keeps its number.
 */
#ifndef PC_ENGINE_LANE_H
#define PC_ENGINE_LANE_H

#include <pthread.h>
#include <stdbool.h>

#include <stdatomic.h>

#include "lib/sock.h"

/* What the receiving side of the sock is used for. */
enum eng_lane_use { ENG_LANE_IDLE, ENG_LANE_READING, ENG_LANE_MENDING };

struct eng_lane {
    struct pc_sock sock;
    pthread_mutex_t lock;
    pthread_cond_t mended;
    bool is_broken;               /* nothing is written (any more) */
    uint32_t life;                /* which scheduler it leads to: the first, the second ... */
    _Atomic int use;              /* enum eng_lane_use */
    struct pc_lifeline *lifeline; /* NULL: a connection that breaks is the end */
    int control_fd;               /* of the control lane, which breaks with this one; -1: none */
};

/* Takes over an open sock. */
void eng_lane_init(struct eng_lane *lane, struct pc_sock *sock, int control_fd);
/* In a forked child: whoever held the lock is not here. */
void eng_lane_forget(struct eng_lane *lane);

/* Main thread: the next message, waiting for it, and which scheduler it is from. NULL: as for
 * pc_sock_receive; after PC_E_LOST the lane may be mended, see below. */
struct pc_msg *eng_lane_receive(struct eng_lane *lane, uint32_t *life, struct pc_err *err);
/* Main thread: waits until the lane is mended, or for a moment. False: it never will be. */
bool eng_lane_wait(struct eng_lane *lane);

/* Control thread: so many of the messages that were sent have come. They are let go with the next
 * flush. -1: that many were not sent. */
int eng_lane_arrived(struct eng_lane *lane, uint64_t count, struct pc_err *err);
/* Control thread: from now on nobody reads or writes; then the new connection, of which `arrived`
 * messages are known to the other side, and the new control lane. */
void eng_lane_take(struct eng_lane *lane);
void eng_lane_mend(struct eng_lane *lane, struct pc_sock *sock, uint64_t arrived, int control_fd);
/* Likewise, when it leads to another scheduler, which knows nothing of what was sent: `report`
 * queues what it has to hear first, with the lock. The pieces of output that may not have come are
 * in `pieces`; ends with a NULL. */
void eng_lane_begin_anew(struct eng_lane *lane, struct pc_sock *sock, int control_fd,
                         void (*report)(void *arg, struct pc_msg **pieces), void *arg);

/* With the lock: what is queued will reach nobody. */
bool eng_lane_is_gone(const struct eng_lane *lane);
/* Both need the lock. Queues; keeps a reference while parts are sent from where they are. */
void eng_lane_queue(struct eng_lane *lane, struct pc_msg *msg);
/* Writes what is queued, waiting when `may_wait`. True: all of it is gone (or the lane is
 * broken). Signals don't end the wait. */
bool eng_lane_flush(struct eng_lane *lane, bool may_wait);

#endif
