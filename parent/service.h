/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Under a service manager: what it passes to us and what it is told (sd_notify(3) and
 * sd_listen_fds(3), without their library). Without one nothing here does anything.
 */
#ifndef PC_PARENT_SERVICE_H
#define PC_PARENT_SERVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "lib/conn.h"
#include "lib/err.h"

struct parent;
struct parent_role;

struct parent_service {
    int fd; /* -1: no manager */
    struct sockaddr_un address;
    socklen_t address_size;
    int64_t watchdog_ms; /* 0: it does not ask */
    uv_timer_t watchdog_timer;
    bool has_scheduler, has_hub; /* answered since they were asked */
    char status[200];            /* told last */
    int tcp_fd, unix_fd;         /* listening sockets that we were given; -1: none */
};

/* Takes what the environment says, and removes it from there: it is not for user code. Sockets
 * are left alone by a process that goes to the background. -1: what was passed can't be used. */
int parent_service_init(struct parent_service *service, bool takes_sockets, struct pc_err *err);
void parent_service_fini(struct parent_service *service);
bool parent_service_exists(const struct parent_service *service);

/* Begins to answer the watchdog. */
void parent_service_start(struct parent *parent);
/* A role has answered a PING. */
void parent_service_pong(struct parent *parent, struct parent_role *role);

/* Lines like "READY=1". */
void parent_service_tell(struct parent_service *service, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* How many engines there are; for those who look at the service. */
void parent_service_status(struct parent *parent);

#endif
