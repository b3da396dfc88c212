/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The work lane as the main thread sees it: takes tasks, runs them one after the other, and keeps
 * each result until it is acknowledged.
 */
#ifndef PC_ENGINE_WORK_H
#define PC_ENGINE_WORK_H

#include <stdatomic.h>

#include "engine/lane.h"

struct eng_kept; /* a result that was not acknowledged */

struct eng_task_key {
    uint64_t session, sequence;
};

struct eng_work {
    struct eng_lane lane;
    atomic_bool is_stopping; /* set by the control thread: start nothing more */
    uint32_t life;           /* which scheduler the main thread has to do with, see lane.h */
    /* What another scheduler has to know; changed by the main thread, with the lane's lock. */
    struct eng_kept *kept;
    uint64_t kept_bytes;
    bool is_running;
    struct eng_task_key running;
    struct pc_msg **waiting; /* tasks that wait for acknowledgements, first to last */
    size_t waiting_first, waiting_count, waiting_capacity;
};

enum eng_work_end {
    ENG_WORK_STOPPED, /* told to stop, or the controller closed the lane meanwhile */
    ENG_WORK_LOST,    /* the connection broke */
    ENG_WORK_BROKEN,  /* the controller broke the protocol */
};

/* Takes over an open sock. */
void eng_work_init(struct eng_work *work, struct pc_sock *sock, int control_fd);
/* Control thread, after eng_lane_take: the lane leads to another scheduler, which knows nothing. It
 * gets the output that may not have come and the results that were not acknowledged, and is told
 * what runs. RUNs that have not begun are dropped: it has them from the clients. */
void eng_work_begin_anew(struct eng_work *work, struct pc_sock *sock, int control_fd);
/* Runs tasks until there is an end. Called and left with the GIL held. */
enum eng_work_end eng_work_loop(struct eng_work *work, struct pc_err *why);

#endif
