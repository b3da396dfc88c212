/* SPDX-License-Identifier: BSD-3-Clause */
/* The cluster's two listening sockets. The parent keeps them open as long as the cluster lives. */
#ifndef PC_PARENT_LISTEN_H
#define PC_PARENT_LISTEN_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* Connects of a thousand engines wait here while the scheduler is busy. */
#define PARENT_BACKLOG 4096

/* Listens on `ip` (an address or name) and *port, 0 for any; then *port is the one it got. `host`
 * receives the address that others should use: that of this machine when `ip` means all of its
 * interfaces. Returns the descriptor or -1. */
int parent_listen_tcp(const char *ip, uint16_t *port, char *host, size_t host_size,
                      struct pc_err *err);

/* Takes over one that listens already; the port and host are what it has. Returns it, or -1. */
int parent_listen_given_tcp(int fd, uint16_t *port, char *host, size_t host_size,
                            struct pc_err *err);
/* The same for a Unix socket, which must have a path. */
int parent_listen_given_unix(int fd, char *path, size_t size, struct pc_err *err);

/* Listens at `path`, only for this user. A socket file that nobody listens at is replaced. */
int parent_listen_unix(const char *path, struct pc_err *err);

#endif
