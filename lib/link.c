/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/link.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"

/* ---- handing over ----------------------------------------------------------------------- */

int pc_handover_pair(int fds[2], struct pc_err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return pc_err_sys(err, "can't make a pair of sockets");
    fds[0] = pair[0];
    fds[1] = pair[1];
    return 0;
}

/* Room for one descriptor, aligned as the system wants it. */
union ancillary {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int pc_handover_send(int handover_fd, int fd, struct pc_err *err)
{
    union ancillary room = {0};
    char byte = 0;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr packet = {.msg_iov = &data,
                            .msg_iovlen = 1,
                            .msg_control = room.bytes,
                            .msg_controllen = sizeof(room.bytes)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&packet);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof(fd));
    if (sendmsg(handover_fd, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return pc_err_sys(err, "can't hand over a descriptor");
    return 0;
}

int pc_handover_take(int handover_fd, struct pc_err *err)
{
    union ancillary room = {0};
    char byte;
    int fd;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr packet = {.msg_iov = &data,
                            .msg_iovlen = 1,
                            .msg_control = room.bytes,
                            .msg_controllen = sizeof(room.bytes)};
    if (recvmsg(handover_fd, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
        return pc_err_sys(err, "no descriptor was handed over");
    struct cmsghdr *head = CMSG_FIRSTHDR(&packet);
    if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS ||
        head->cmsg_len != CMSG_LEN(sizeof(int)))
        return pc_err_set(err, PC_E_PROTOCOL, "no descriptor was handed over");
    memcpy(&fd, CMSG_DATA(head), sizeof(fd));
    return fd;
}

/* ---- the connection that is replaced ---------------------------------------------------- */

static int open_conn(struct pc_link *link, int fd)
{
    if (pc_conn_init(&link->conn, link->conns, fd, link->senders, link->events, link->owner))
        return -1;
    link->is_open = true;
    link->is_closed = false;
    return 0;
}

int pc_link_init(struct pc_link *link, struct pc_conns *conns, int fd, uint32_t senders,
                 const struct pc_conn_events *events, void *owner)
{
    *link = (struct pc_link){
        .conns = conns, .events = events, .owner = owner, .senders = senders, .next_fd = -1};
    if (open_conn(link, fd))
        return -1;
    pc_conn_start(&link->conn);
    return 0;
}

static void drop_next(struct pc_link *link)
{
    if (link->next_fd >= 0)
        close(link->next_fd);
    link->next_fd = -1;
}

static void open_next(struct pc_link *link)
{
    int fd = link->next_fd;
    link->next_fd = -1;
    if (open_conn(link, fd))
        pc_fatal(1, "can't watch the connection that was handed over");
    if (link->on_replaced)
        link->on_replaced(link);
}

void pc_link_replace(struct pc_link *link, int fd)
{
    drop_next(link);
    link->next_fd = fd;
    if (link->is_closed) {
        open_next(link);
        return;
    }
    pc_conn_read_rest(&link->conn);
    pc_conn_close(&link->conn);
    link->is_open = false;
}

void pc_link_lost(struct pc_link *link)
{
    link->is_open = false;
}

void pc_link_closed(struct pc_link *link)
{
    link->is_closed = true;
    if (link->next_fd >= 0)
        open_next(link);
}

void pc_link_close(struct pc_link *link)
{
    drop_next(link);
    link->is_open = false;
    pc_conn_close(&link->conn);
}
