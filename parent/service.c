/* SPDX-License-Identifier: BSD-3-Clause */
#include "parent/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "parent/state.h"

#define FIRST_FD 3
#define FDS_MAX  16

/* ---- what the manager passes ------------------------------------------------------------ */

/* A whole number in the environment; `fallback` when it is none. */
static int64_t variable(const char *name, int64_t fallback)
{
    const char *text = getenv(name);
    char *end;
    if (!text || !*text)
        return fallback;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return errno || *end || value < 0 ? fallback : value;
}

bool parent_is_service(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    return path && *path;
}

static void open_notify(struct parent_service *service)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t size = path ? strlen(path) : 0;
    if (size < 2 || size >= sizeof(service->address.sun_path) || (*path != '/' && *path != '@'))
        return;
    service->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (service->fd < 0)
        return;
    service->address.sun_family = AF_UNIX;
    memcpy(service->address.sun_path, path, size);
    if (*path == '@') /* of the abstract kind */
        service->address.sun_path[0] = '\0';
    service->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    if (variable("WATCHDOG_PID", getpid()) == getpid())
        service->watchdog_ms = variable("WATCHDOG_USEC", 0) / 1000;
}

static int take_socket(struct parent_service *service, int fd, struct pc_err *err)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address), option_size = sizeof(int);
    int type = 0, is_listening = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &option_size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &option_size) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return pc_err_sys(err, "can't use descriptor %d, which LISTEN_FDS names", fd);
    bool is_unix = address.ss_family == AF_UNIX;
    bool is_tcp = address.ss_family == AF_INET || address.ss_family == AF_INET6;
    if (type != SOCK_STREAM || !is_listening || (!is_unix && !is_tcp))
        return pc_err_set(err, PC_E_INVALID,
                          "descriptor %d, which LISTEN_FDS names, is not a listening TCP or Unix "
                          "socket",
                          fd);
    int *place = is_unix ? &service->unix_fd : &service->tcp_fd;
    if (*place >= 0)
        return pc_err_set(err, PC_E_INVALID,
                          "LISTEN_FDS names two %s sockets: a cluster has one of each kind",
                          is_unix ? "Unix" : "TCP");
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    *place = fd;
    return 0;
}

static int take_sockets(struct parent_service *service, struct pc_err *err)
{
    int64_t count = variable("LISTEN_FDS", 0);
    if (variable("LISTEN_PID", 0) != getpid())
        return 0;
    if (count > FDS_MAX)
        return pc_err_set(err, PC_E_INVALID, "LISTEN_FDS names %lld sockets", (long long)count);
    for (int i = 0; i < (int)count; i++)
        if (take_socket(service, FIRST_FD + i, err) < 0)
            return -1;
    return 0;
}

int parent_service_init(struct parent_service *service, bool takes_sockets, struct pc_err *err)
{
    static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                        "LISTEN_PID",    "LISTEN_FDS",    "LISTEN_FDNAMES"};
    *service = (struct parent_service){.fd = -1, .tcp_fd = -1, .unix_fd = -1};
    open_notify(service);
    int status = takes_sockets ? take_sockets(service, err) : 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
    return status;
}

void parent_service_fini(struct parent_service *service)
{
    int *fds[] = {&service->fd, &service->tcp_fd, &service->unix_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

bool parent_service_exists(const struct parent_service *service)
{
    return service->fd >= 0;
}

/* ---- what it is told -------------------------------------------------------------------- */

void parent_service_tell(struct parent_service *service, const char *format, ...)
{
    char text[1024];
    va_list args;
    if (service->fd < 0)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    /* A manager that does not read now must not stop the supervisor; the next beat comes soon. */
    int flags = MSG_NOSIGNAL | (strcmp(text, "WATCHDOG=1") == 0 ? MSG_DONTWAIT : 0);
    if (sendto(service->fd, text, strlen(text), flags, (const struct sockaddr *)&service->address,
               service->address_size) < 0)
        pc_debug("the service manager can't be told '%s': %s", text, strerror(errno));
}

void parent_service_status(struct parent *parent)
{
    struct parent_service *service = &parent->service;
    const struct parent_engines *engines = &parent->engines;
    char text[sizeof(service->status)];
    if (service->fd < 0 || parent->state > PARENT_READY)
        return;
    if (engines->wanted_count == 0)
        snprintf(text, sizeof(text), "a controller without engines");
    else if (engines->ready_count >= engines->wanted_count)
        snprintf(text, sizeof(text), "%u engine%s", engines->ready_count,
                 engines->ready_count == 1 ? "" : "s");
    else
        snprintf(text, sizeof(text), "%u of %u engines", engines->ready_count,
                 engines->wanted_count);
    if (strcmp(text, service->status) == 0)
        return;
    strcpy(service->status, text);
    parent_service_tell(service, "STATUS=%s", text);
}

/* ---- the watchdog ----------------------------------------------------------------------- */

/* Of a controller elsewhere only our connection is ours to answer for. */
static bool has_answered(const struct parent_role *role, bool answer)
{
    return answer || role->is_remote || !parent_role_exists(role);
}

static void ask(struct parent_role *role)
{
    if (role->has_conn && !role->is_remote)
        pc_conn_send_body(&role->conn, PC_MSG_PING, NULL, 0);
}

/* Who has not answered has been asked already. */
static void on_watchdog(uv_timer_t *timer)
{
    struct parent *parent = timer->data;
    struct parent_service *service = &parent->service;
    if (!has_answered(&parent->scheduler, service->has_scheduler) ||
        !has_answered(&parent->hub, service->has_hub))
        return;
    if (parent->state > PARENT_STARTING) /* before, nobody waits for it */
        parent_service_tell(service, "WATCHDOG=1");
    service->has_scheduler = service->has_hub = false;
    ask(&parent->scheduler);
    ask(&parent->hub);
}

void parent_service_start(struct parent *parent)
{
    struct parent_service *service = &parent->service;
    uv_timer_init(&parent->loop, &service->watchdog_timer);
    service->watchdog_timer.data = parent;
    if (service->watchdog_ms <= 0)
        return;
    /* Often enough that one late answer does not matter. */
    uint64_t period_ms = (uint64_t)(service->watchdog_ms + 3) / 4;
    service->has_scheduler = service->has_hub = true;
    uv_timer_start(&service->watchdog_timer, on_watchdog, 0, period_ms);
}

void parent_service_pong(struct parent *parent, struct parent_role *role)
{
    if (role == &parent->scheduler)
        parent->service.has_scheduler = true;
    else if (role == &parent->hub)
        parent->service.has_hub = true;
}
