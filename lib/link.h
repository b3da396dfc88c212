/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection between two roles that can be replaced: when one of them was killed and started
 * again, the parent makes a new pair of sockets, and hands the one that lives its end.
 *
 * A descriptor can't travel in a stream of messages. So each such role has a handover socket
 * besides: the parent puts the descriptor there and then sends LINK, which says whom it leads to.
 */
#ifndef PC_LIB_LINK_H
#define PC_LIB_LINK_H

#include "lib/conn.h"

/* ---- handing over ---- */

/* The two ends of a handover socket, both close-on-exec. */
int pc_handover_pair(int fds[2], struct pc_err *err);
/* Passes a copy of `fd`; never waits. */
int pc_handover_send(int handover_fd, int fd, struct pc_err *err);
/* The next descriptor that was passed, close-on-exec; never waits. -1: there is none. */
int pc_handover_take(int handover_fd, struct pc_err *err);

/* ---- the connection that is replaced ---- */

struct pc_link {
    struct pc_conn conn;
    struct pc_conns *conns;
    const struct pc_conn_events *events;
    void *owner;
    uint32_t senders;
    void (*on_replaced)(struct pc_link *link); /* a new connection is open; may be NULL */
    int next_fd;    /* takes the place of `conn` when that is closed; -1: none does */
    bool is_open;   /* else what is sent is lost */
    bool is_closed; /* there is nothing that could be replaced */
};

/* As pc_conn_init, followed by pc_conn_start. */
int pc_link_init(struct pc_link *link, struct pc_conns *conns, int fd, uint32_t senders,
                 const struct pc_conn_events *events, void *owner);
/* Takes over `fd`. What the old connection still has to say is read before. */
void pc_link_replace(struct pc_link *link, int fd);
/* To be called in on_lost, and ... */
void pc_link_lost(struct pc_link *link);
/* ... in on_closed. */
void pc_link_closed(struct pc_link *link);
/* For good. */
void pc_link_close(struct pc_link *link);

#endif
