/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client in the loop of its program: the descriptor that the program polls, and whom to tell what
 * has happened. Made when the program first asks for it; all of it is guarded by the client's lock.
 */
#ifndef PC_LIB_LOOP_H
#define PC_LIB_LOOP_H

#include <pthread.h>

#include "lib/client.h"

struct pc_loop {
    int epoll_fd; /* what the program polls: the socket, and ... */
    int bell_fd;  /* ... an eventfd, rung when another thread has taken in something, and ... */
    int timer_fd; /* ... a timer, while the connection is cut: for the next attempt */
    bool is_rung;
    int inside; /* threads in pc_dispatch: they will look, nobody has to ring */
    struct pc_listener listener;
    struct pc_call *news_first, *news_last; /* printed or ended since told; owns references */
    struct pc_engine *told;                 /* engines that the listener knows of */
    size_t told_count;
    uint64_t told_generation;
    bool is_telling; /* callbacks run, in this thread: */
    pthread_t teller;
};

/* These are for a client whose `loop` is not NULL. */

/* A call has printed, or ended. */
void pc_loop_note(struct pc_client *client, struct pc_call *call);
/* There is something to take in, or to tell, that the socket does not show. */
void pc_loop_ring(struct pc_client *client);
/* Only what is safe after fork(): closes the descriptors. */
void pc_loop_forked(struct pc_loop *loop);
/* Drops what was not told, when nobody will be told any more. */
void pc_loop_silence(struct pc_client *client);
void pc_loop_free(struct pc_loop *loop);

#endif
