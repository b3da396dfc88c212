/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/log.h"
#include "lib/proto.h"

#define END_LIMIT_MS 500 /* twice that is the longest an ending connection lives */

/* ---- the list of connections to flush --------------------------------------------------- */

static void dirty_add(struct pc_conn *conn)
{
    struct pc_conns *conns = conn->conns;
    if (conn->is_dirty)
        return;
    conn->is_dirty = true;
    conn->dirty_prev = NULL;
    conn->dirty_next = conns->dirty;
    if (conns->dirty)
        conns->dirty->dirty_prev = conn;
    conns->dirty = conn;
}

static void dirty_remove(struct pc_conn *conn)
{
    if (!conn->is_dirty)
        return;
    conn->is_dirty = false;
    if (conn->dirty_prev)
        conn->dirty_prev->dirty_next = conn->dirty_next;
    else
        conn->conns->dirty = conn->dirty_next;
    if (conn->dirty_next)
        conn->dirty_next->dirty_prev = conn->dirty_prev;
}

static void flush_all(struct pc_conns *conns)
{
    while (conns->dirty)
        pc_conn_flush(conns->dirty);
}

/* After the turn's reads: what they led to goes out in one write per connection. */
static void on_check(uv_check_t *check)
{
    flush_all(check->data);
}

/* Before the next wait: what timers led to. */
static void on_prepare(uv_prepare_t *prepare)
{
    flush_all(prepare->data);
}

/* Ending connections that have been slow for a whole period are closed. */
static void on_end_timer(uv_timer_t *timer)
{
    struct pc_conns *conns = timer->data;
    bool is_any = false;
    for (struct pc_conn *conn = conns->ending, *next; conn; conn = next) {
        next = conn->ending_next;
        if (conn->end_age++ > 0)
            pc_conn_close(conn);
        else
            is_any = true;
    }
    if (!is_any)
        uv_timer_stop(timer);
}

int pc_conns_init(struct pc_conns *conns, uv_loop_t *loop)
{
    *conns = (struct pc_conns){.loop = loop};
    conns->check.data = conns->prepare.data = conns->end_timer.data = conns;
    if (uv_check_init(loop, &conns->check) || uv_prepare_init(loop, &conns->prepare) ||
        uv_timer_init(loop, &conns->end_timer) || uv_check_start(&conns->check, on_check) ||
        uv_prepare_start(&conns->prepare, on_prepare))
        return -1;
    /* These alone don't keep a loop running. */
    uv_unref((uv_handle_t *)&conns->check);
    uv_unref((uv_handle_t *)&conns->prepare);
    uv_unref((uv_handle_t *)&conns->end_timer);
    return 0;
}

void pc_conns_fini(struct pc_conns *conns)
{
    uv_close((uv_handle_t *)&conns->check, NULL);
    uv_close((uv_handle_t *)&conns->prepare, NULL);
    uv_close((uv_handle_t *)&conns->end_timer, NULL);
}

/* ---- events ----------------------------------------------------------------------------- */

static void lost(struct pc_conn *conn, const struct pc_err *why)
{
    if (conn->is_closing)
        return;
    if (conn->events->on_lost)
        conn->events->on_lost(conn, why);
    pc_conn_close(conn);
}

static bool owes_received(const struct pc_lifeline *lifeline)
{
    return lifeline && !lifeline->is_told_apart && pc_lifeline_is_due(lifeline);
}

/* Hands out all whole messages. The owner may close the conn from within. */
static void take_messages(struct pc_conn *conn)
{
    struct pc_err err;
    while (!conn->is_closing) {
        struct pc_msg *msg = pc_wire_next(&conn->sock.wire, &err);
        if (msg) {
            conn->events->on_message(conn, msg);
            continue;
        }
        if (err.code != PC_OK)
            lost(conn, &err);
        else if (owes_received(conn->sock.wire.lifeline))
            pc_conn_send_body(conn, PC_MSG_RECEIVED, NULL, 0);
        return;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct pc_conn *conn = poll->data;
    struct pc_err err;
    /* An error on the socket shows as its text when we read. */
    if (status < 0 || (events & (UV_READABLE | UV_DISCONNECT))) {
        int got = pc_sock_fill(&conn->sock, MSG_DONTWAIT, &err);
        if (got > 0)
            take_messages(conn);
        else if (got < 0 && err.code != PC_E_INTERRUPTED)
            lost(conn, &err);
        else if (status < 0)
            lost(conn, &(struct pc_err){.code = PC_E_LOST, .text = "connection failed"});
    }
    if (!conn->is_closing && (events & UV_WRITABLE))
        pc_conn_flush(conn);
}

static void on_closed(uv_handle_t *handle)
{
    struct pc_conn *conn = handle->data;
    pc_sock_close(&conn->sock);
    conn->events->on_closed(conn);
}

/* ---- life ------------------------------------------------------------------------------- */

int pc_conn_adopt(struct pc_conn *conn, struct pc_conns *conns, struct pc_sock *sock,
                  const struct pc_conn_events *events, void *owner)
{
    int flags = fcntl(sock->fd, F_GETFL);
    *conn = (struct pc_conn){.conns = conns, .events = events, .owner = owner};
    if (flags < 0 || fcntl(sock->fd, F_SETFL, flags | O_NONBLOCK) ||
        uv_poll_init(conns->loop, &conn->poll, sock->fd))
        return -1;
    conn->sock = *sock;
    *sock = (struct pc_sock){.fd = -1};
    conn->poll.data = conn;
    uv_poll_start(&conn->poll, UV_READABLE, on_poll);
    return 0;
}

int pc_conn_init(struct pc_conn *conn, struct pc_conns *conns, int fd, uint32_t senders,
                 const struct pc_conn_events *events, void *owner)
{
    struct pc_sock sock;
    pc_sock_init(&sock, fd, senders);
    return pc_conn_adopt(conn, conns, &sock, events, owner);
}

void pc_conn_start(struct pc_conn *conn)
{
    take_messages(conn);
}

void pc_conn_send(struct pc_conn *conn, struct pc_msg *msg)
{
    if (!conn->is_closing && !conn->is_ending) {
        if (!msg || pc_wire_send(&conn->sock.wire, msg))
            pc_fatal(1, "out of memory");
        dirty_add(conn);
    }
    pc_msg_unref(msg);
}

void pc_conn_send_parts(struct pc_conn *conn, const struct pc_frame *head, const void *body,
                        struct pc_msg *owner)
{
    if (conn->is_closing || conn->is_ending)
        return;
    if (pc_wire_send_parts(&conn->sock.wire, head, body, owner))
        pc_fatal(1, "out of memory");
    dirty_add(conn);
}

void pc_conn_send_body(struct pc_conn *conn, uint8_t type, const void *body, size_t body_size)
{
    struct pc_frame head = {
        .type = type, .body_size = (uint32_t)body_size, .engine_id = PC_NO_ENGINE};
    pc_conn_send_parts(conn, &head, body, NULL);
}

void pc_conn_read_rest(struct pc_conn *conn)
{
    while (!conn->is_closing && pc_sock_fill(&conn->sock, MSG_DONTWAIT, NULL) > 0)
        take_messages(conn);
}

void pc_conn_flush(struct pc_conn *conn)
{
    struct pc_err err;
    dirty_remove(conn);
    if (conn->is_closing)
        return;
    int all = pc_sock_flush(&conn->sock, MSG_DONTWAIT, &err);
    if (all < 0) {
        /* What the peer said before it went may explain why: read it first. */
        pc_conn_read_rest(conn);
        lost(conn, &err);
        return;
    }
    bool wants_write = all == 0;
    if (wants_write != conn->wants_write) {
        conn->wants_write = wants_write;
        uv_poll_start(&conn->poll, UV_READABLE | (wants_write ? UV_WRITABLE : 0), on_poll);
    }
    if (conn->events->on_drained)
        conn->events->on_drained(conn);
    if (conn->is_ending && !wants_write)
        pc_conn_close(conn);
}

static void ending_remove(struct pc_conn *conn)
{
    if (!conn->is_ending)
        return;
    if (conn->ending_prev)
        conn->ending_prev->ending_next = conn->ending_next;
    else
        conn->conns->ending = conn->ending_next;
    if (conn->ending_next)
        conn->ending_next->ending_prev = conn->ending_prev;
}

void pc_conn_close(struct pc_conn *conn)
{
    if (conn->is_closing)
        return;
    conn->is_closing = true;
    dirty_remove(conn);
    ending_remove(conn);
    uv_close((uv_handle_t *)&conn->poll, on_closed);
}

void pc_conn_end(struct pc_conn *conn)
{
    struct pc_conns *conns = conn->conns;
    if (conn->is_closing || conn->is_ending)
        return;
    conn->is_ending = true;
    conn->ending_prev = NULL;
    conn->ending_next = conns->ending;
    if (conns->ending)
        conns->ending->ending_prev = conn;
    conns->ending = conn;
    if (!uv_is_active((uv_handle_t *)&conns->end_timer))
        uv_timer_start(&conns->end_timer, on_end_timer, END_LIMIT_MS, END_LIMIT_MS);
    dirty_add(conn);
}
