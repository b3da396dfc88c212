/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A cable between a client or an engine and the scheduler, which can be cut: a thread that passes
 * bytes between connections to a socket of its own and connections to the scheduler's Unix socket.
 */
#ifndef PC_TEST_CABLE_H
#define PC_TEST_CABLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define CABLE_STRANDS_MAX 16

struct cable {
    char to[512], path[512];
    int listen_fd, wake[2];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int strands[CABLE_STRANDS_MAX][2]; /* -1: none */
    bool is_frozen[2]; /* nothing is passed on from this side (0: from who connected) ... */
    bool is_silent;    /* who connects gets no answer */
    bool is_over;
    unsigned count; /* connections so far */
};

/* `to`: the path of the scheduler's socket. */
void cable_open(struct cable *cable, const char *to);
void cable_close(struct cable *cable);
/* From now on it leads there. */
void cable_lead_to(struct cable *cable, const char *to);
/* Ends all connections that there are; new ones work. */
void cable_cut(struct cable *cable);
/* From now on nothing is passed on from that side, or again. Bytes wait meanwhile. */
void cable_freeze(struct cable *cable, int side, bool is_frozen);
/* From now on new connections are accepted and nothing more, or again. */
void cable_silence(struct cable *cable, bool is_silent);
/* Waits until so many connections were made. */
void cable_await(struct cable *cable, unsigned count);

#endif
