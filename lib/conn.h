/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A wire on a libuv loop, for the roles: calls back with whole messages, batches what is sent.
 *
 * Sends are only queued; all connections with something queued are written once per turn of the
 * loop, after every readable connection was read: one system call carries the whole batch.
 *
 * Closing: pc_conn_close may be called from anywhere, also from the callbacks; on_closed comes
 * later, exactly once, from the loop; then the owner may free the memory the conn is embedded in.
 */
#ifndef PC_LIB_CONN_H
#define PC_LIB_CONN_H

#include <uv.h>

#include "lib/sock.h"

struct pc_conn;

/* One per loop: the list of connections to flush. Initialise before the first connection. */
struct pc_conns {
    uv_loop_t *loop;
    uv_check_t check;
    uv_prepare_t prepare;
    uv_timer_t end_timer;
    struct pc_conn *dirty;  /* have something queued */
    struct pc_conn *ending; /* close when that is written */
};

struct pc_conn_events {
    /* A whole message; the callee owns the reference. */
    void (*on_message)(struct pc_conn *conn, struct pc_msg *msg);
    /* The other side closed, broke the protocol, or an error came: `why` has code and text.
     * The conn closes itself after this returns. May be NULL. */
    void (*on_lost)(struct pc_conn *conn, const struct pc_err *why);
    /* The memory may be released. */
    void (*on_closed)(struct pc_conn *conn);
    /* Bytes were handed to the system; pc_wire_queued(&conn->sock.wire) says what is left.
     * May be NULL. */
    void (*on_drained)(struct pc_conn *conn);
};

struct pc_conn {
    struct pc_sock sock;
    struct pc_conns *conns;
    const struct pc_conn_events *events;
    void *owner; /* the caller's */
    uv_poll_t poll;
    struct pc_conn *dirty_next, *dirty_prev;   /* in conns.dirty */
    struct pc_conn *ending_next, *ending_prev; /* in conns.ending */
    int end_age;
    bool is_dirty, is_closing, wants_write, is_ending;
};

int pc_conns_init(struct pc_conns *conns, uv_loop_t *loop);
/* Stops flushing; call when all connections are closed, before uv_loop_close. */
void pc_conns_fini(struct pc_conns *conns);

/* Takes over an open descriptor or an open sock (moved; the argument is emptied). Sets it
 * non-blocking. `senders` as in wire.h. */
int pc_conn_init(struct pc_conn *conn, struct pc_conns *conns, int fd, uint32_t senders,
                 const struct pc_conn_events *events, void *owner);
int pc_conn_adopt(struct pc_conn *conn, struct pc_conns *conns, struct pc_sock *sock,
                  const struct pc_conn_events *events, void *owner);
/* Takes in what the sock had already read before it was adopted. Call once, when ready. */
void pc_conn_start(struct pc_conn *conn);

/* Queues; drops the caller's reference. Does nothing on a closing conn. */
void pc_conn_send(struct pc_conn *conn, struct pc_msg *msg);
/* Queues a message with a JSON or binary body and no parts. */
void pc_conn_send_body(struct pc_conn *conn, uint8_t type, const void *body, size_t body_size);
/* As pc_wire_send_parts. */
void pc_conn_send_parts(struct pc_conn *conn, const struct pc_frame *head, const void *body,
                        struct pc_msg *owner);
/* Writes what can be written now instead of at the end of the turn. */
void pc_conn_flush(struct pc_conn *conn);
/* Takes in what has arrived, before its owner gives it up. */
void pc_conn_read_rest(struct pc_conn *conn);
void pc_conn_close(struct pc_conn *conn);
/* Closes when everything queued is written (or the peer goes, or after 1 s). */
void pc_conn_end(struct pc_conn *conn);

#endif
