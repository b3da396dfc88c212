/* SPDX-License-Identifier: BSD-3-Clause */
#include "parent/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- TCP -------------------------------------------------------------------------------- */

static bool is_wildcard(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ((const struct sockaddr_in *)address)->sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static void address_text(const struct sockaddr *address, char *text, size_t size)
{
    const void *bytes = address->sa_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr;
    if (!inet_ntop(address->sa_family, bytes, text, (socklen_t)size))
        text[0] = '\0';
}

/* An address by which other machines reach this one; the loopback address when there is none. */
static void reachable_text(int family, char *text, size_t size)
{
    struct ifaddrs *all;
    snprintf(text, size, "%s", family == AF_INET ? "127.0.0.1" : "::1");
    if (getifaddrs(&all) < 0)
        return;
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
        if (!one->ifa_addr || one->ifa_addr->sa_family != family || !(one->ifa_flags & IFF_UP) ||
            (one->ifa_flags & IFF_LOOPBACK))
            continue;
        if (family == AF_INET6 &&
            IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)one->ifa_addr)->sin6_addr))
            continue;
        address_text(one->ifa_addr, text, size);
        break;
    }
    freeifaddrs(all);
}

static int tcp_error(const char *ip, uint16_t port, struct pc_err *err)
{
    switch (errno) {
    case EADDRINUSE:
        return pc_err_set(err, PC_E_SYSTEM,
                          "port %u at %s is in use: choose another with --port, or none, and any "
                          "free one is taken",
                          port, ip);
    case EADDRNOTAVAIL:
        return pc_err_set(err, PC_E_INVALID,
                          "no interface of this machine has the address %s given with --ip", ip);
    case EACCES:
        return pc_err_set(err, PC_E_SYSTEM,
                          "not allowed to listen on port %u at %s: choose one above 1023 with "
                          "--port",
                          port, ip);
    default:
        return pc_err_sys(err, "can't listen on port %u at %s", port, ip);
    }
}

static int bound_port(int fd, uint16_t *port)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    if (getsockname(fd, (struct sockaddr *)&bound, &size) < 0)
        return -1;
    *port = ntohs(bound.ss_family == AF_INET ? ((struct sockaddr_in *)&bound)->sin_port
                                             : ((struct sockaddr_in6 *)&bound)->sin6_port);
    return 0;
}

int parent_listen_tcp(const char *ip, uint16_t *port, char *host, size_t host_size,
                      struct pc_err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char service[8];
    snprintf(service, sizeof(service), "%u", *port);
    int lookup = getaddrinfo(ip, service, &hints, &found);
    if (lookup != 0)
        return pc_err_set(err, PC_E_INVALID, "'%s' given with --ip is no address: %s", ip,
                          gai_strerror(lookup));
    int one = 1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, PARENT_BACKLOG) < 0 ||
        bound_port(fd, port) < 0) {
        tcp_error(ip, *port, err);
        if (fd >= 0)
            close(fd);
        fd = -1;
    } else if (is_wildcard(found->ai_addr)) {
        reachable_text(found->ai_family, host, host_size);
    } else {
        address_text(found->ai_addr, host, host_size);
    }
    freeaddrinfo(found);
    return fd;
}

int parent_listen_given_tcp(int fd, uint16_t *port, char *host, size_t host_size,
                            struct pc_err *err)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    if (getsockname(fd, (struct sockaddr *)&bound, &size) < 0 || bound_port(fd, port) < 0)
        return pc_err_sys(err, "can't use the TCP socket that was passed");
    if (is_wildcard((const struct sockaddr *)&bound))
        reachable_text(bound.ss_family, host, host_size);
    else
        address_text((const struct sockaddr *)&bound, host, host_size);
    return fd;
}

/* ---- Unix ------------------------------------------------------------------------------- */

/* True when a connect is refused: the file is left over from a process that is gone. */
static bool is_abandoned(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool refused = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
                   errno == ECONNREFUSED;
    close(fd);
    return refused;
}

/* The socket is made by bind, which must not leave it open to others for a moment. */
static int bind_private(int fd, const struct sockaddr_un *address)
{
    mode_t before = umask(0177);
    int status = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    umask(before);
    return status;
}

int parent_listen_unix(const char *path, struct pc_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return pc_err_set(err, PC_E_INVALID,
                          "the path of the Unix socket is longer than %zu bytes: '%s'",
                          sizeof(address.sun_path) - 1, path);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return pc_err_sys(err, "can't make a Unix socket");
    int status = bind_private(fd, &address);
    if (status < 0 && errno == EADDRINUSE && is_abandoned(&address)) {
        unlink(path);
        status = bind_private(fd, &address);
    }
    if (status < 0 || listen(fd, PARENT_BACKLOG) < 0) {
        if (errno == EADDRINUSE)
            pc_err_set(err, PC_E_SYSTEM, "another process listens at '%s'", path);
        else
            pc_err_sys(err, "can't listen at '%s'", path);
        close(fd);
        return -1;
    }
    return fd;
}

int parent_listen_given_unix(int fd, char *path, size_t size, struct pc_err *err)
{
    struct sockaddr_un address = {0};
    socklen_t address_size = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &address_size) < 0)
        return pc_err_sys(err, "can't use the Unix socket that was passed");
    size_t length = strnlen(address.sun_path, sizeof(address.sun_path));
    if (length == 0 || length >= size)
        return pc_err_set(err, PC_E_INVALID,
                          "the Unix socket that was passed has no path that clients could use");
    memcpy(path, address.sun_path, length);
    path[length] = '\0';
    return fd;
}
