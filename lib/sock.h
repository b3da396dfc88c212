/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A wire over a descriptor, for code without a loop: the engine's work lane, the nursery, and
 * libpcluster. Also how everybody opens a connection.
 */
#ifndef PC_LIB_SOCK_H
#define PC_LIB_SOCK_H

#include "lib/connfile.h"
#include "lib/wire.h"

struct pc_sock {
    int fd; /* -1: closed */
    struct pc_wire wire;
};

/* Takes over an open descriptor (socketpair of a role), without preamble. */
void pc_sock_init(struct pc_sock *sock, int fd, uint32_t senders);
void pc_sock_close(struct pc_sock *sock); /* closes the descriptor, frees the wire; repeatable */

/*
 * Connects to the cluster that `file` names: the Unix socket if it is on this machine (and
 * `transport` allows), else TCP with the Noise handshake under file->exec_key. Blocking, at most
 * timeout_ms. Afterwards HELLO may be sent. The descriptor is left blocking and close-on-exec.
 * Every failure has its own code (PC_E_STALE, _REFUSED, _UNREACHABLE, _TIMEOUT, _KEY, _VERSION,
 * _CLUSTER) and a text naming the address and what to do. `address`, when given, receives the
 * address that was connected to ("unix:/run/..." or "tcp://...").
 */
int pc_sock_connect(struct pc_sock *sock, const struct pc_connfile *file,
                    enum pc_transport transport, int timeout_ms, char *address, size_t address_size,
                    struct pc_err *err);

/* Sends HELLO (JSON text) and waits for WELCOME, which is returned. A REFUSED becomes the error
 * with its code and text. */
struct pc_msg *pc_sock_hello(struct pc_sock *sock, const char *hello_json, int timeout_ms,
                             struct pc_err *err);

/* Reads once. 1: something was read; 0: nothing there now (non-blocking descriptor, or MSG_DONTWAIT
 * in `flags`); -1: PC_E_LOST on end of file or error, PC_E_INTERRUPTED on a signal. */
int pc_sock_fill(struct pc_sock *sock, int flags, struct pc_err *err);
/* Writes what is queued. 1: all of it; 0: the system takes no more now; -1 as above.
 * `flags` as for sendmsg; MSG_NOSIGNAL is always added. */
int pc_sock_flush(struct pc_sock *sock, int flags, struct pc_err *err);
/* Queues and writes all of it, on a blocking descriptor. */
int pc_sock_send(struct pc_sock *sock, struct pc_msg *msg, struct pc_err *err);
/* The next message, reading (and, on a blocking descriptor, waiting) as needed. NULL: error as for
 * pc_sock_fill; with timeout_ms >= 0 PC_E_TIMEOUT is possible. */
struct pc_msg *pc_sock_receive(struct pc_sock *sock, int timeout_ms, struct pc_err *err);

#endif
