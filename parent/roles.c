/* SPDX-License-Identifier: BSD-3-Clause */
/* One child: starting it, talking with it, and noticing that it is gone. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/link.h"
#include "lib/log.h"
#include "lib/spawn.h"
#include "parent/state.h"

/* How long the two signs of a child's end, its exit and the end of its connection, may lie apart.
 * A connection stays open longer when somebody inherited it; an exit may follow later. */
#define LINGER_MS 300

void parent_role_init(struct parent *parent, struct parent_role *role, const char *name,
                      uint32_t sender)
{
    *role =
        (struct parent_role){.name = name, .sender = sender, .parent = parent, .handover_fd = -1};
    uv_timer_init(&parent->loop, &role->linger);
    uv_timer_init(&parent->loop, &role->restart_timer);
    role->linger.data = role->restart_timer.data = role;
}

bool parent_role_exists(const struct parent_role *role)
{
    return role->pid > 0 || role->has_conn;
}

/* ---- the connection --------------------------------------------------------------------- */

static void on_message(struct pc_conn *conn, struct pc_msg *msg)
{
    struct parent_role *role = conn->owner;
    struct pc_err err;
    if (parent_take_message(role, msg, &err) < 0) {
        pc_error("%s of the %s: %s", pc_msg_name(msg->head.type), role->name, err.text);
        pc_conn_close(conn);
    }
    pc_msg_unref(msg);
}

static void on_lost(struct pc_conn *conn, const struct pc_err *why)
{
    struct parent_role *role = conn->owner;
    role->is_cut = why->code == PC_E_LOST;
    if (why->code != PC_E_LOST)
        pc_error("the %s broke the protocol: %s", role->name, why->text);
}

static void on_linger(uv_timer_t *timer)
{
    struct parent_role *role = timer->data;
    if (role->pid > 0)
        parent_role_kill(role);
    else if (role->has_conn)
        pc_conn_close(&role->conn);
}

static void on_closed(struct pc_conn *conn)
{
    struct parent_role *role = conn->owner;
    role->has_conn = false;
    if (role->pid > 0) {
        /* Stopping has limits of its own. */
        if (role->parent->state < PARENT_STOPPING)
            uv_timer_start(&role->linger, on_linger, LINGER_MS, 0);
        return;
    }
    uv_timer_stop(&role->linger);
    parent_role_gone(role);
}

static const struct pc_conn_events events = {
    .on_message = on_message,
    .on_lost = on_lost,
    .on_closed = on_closed,
};

void parent_role_send(struct parent_role *role, uint8_t type, pc_json *body)
{
    struct pc_msg *msg = pc_json_msg(type, body);
    if (role->has_conn) {
        pc_conn_send(&role->conn, msg);
        return;
    }
    bool is_kept = role->is_remote && role->is_cut;
    if (!msg || (is_kept && pc_lifeline_keep(&role->lifeline, msg)))
        pc_fatal(1, "out of memory");
    pc_msg_unref(msg);
}

void parent_role_link(struct parent_role *role, const struct parent_role *other, int fd)
{
    struct pc_err err;
    if (!role->has_conn || role->handover_fd < 0)
        return;
    if (pc_handover_send(role->handover_fd, fd, &err) < 0) {
        pc_error("the %s can't be connected to the %s: %s", role->name, other->name, err.text);
        return;
    }
    pc_json *body = pc_json_object();
    pc_json_put_str(body, "to", other->name);
    pc_json_put_i64(body, "pid", other->pid);
    parent_role_send(role, PC_MSG_LINK, body);
}

/* ---- the process ------------------------------------------------------------------------ */

int parent_role_join(struct parent_role *role, struct pc_sock *sock, struct pc_err *err)
{
    if (pc_conn_adopt(&role->conn, &role->parent->conns, sock, &events, role) < 0)
        return pc_err_set(err, PC_E_SYSTEM, "can't watch the connection to the %s", role->name);
    role->has_conn = true;
    role->is_cut = false;
    role->is_remote = true;
    role->is_ready = true;
    pc_conn_start(&role->conn);
    return 0;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

int parent_role_start(struct parent_role *role, int death_signal, const int *more_fds,
                      int more_count, struct pc_err *err)
{
    int pair[2], handover[2] = {-1, -1};
    int fds[PC_ROLE_FDS_MAX];
    bool takes_links = role->sender != PC_FROM_NURSERY;
    if (pc_socketpair(pair, err) < 0)
        return -1;
    if (takes_links && pc_handover_pair(handover, err) < 0) {
        close(pair[0]);
        close(pair[1]);
        return -1;
    }
    fds[0] = pair[1];
    for (int i = 0; i < more_count; i++)
        fds[1 + i] = more_fds[i];
    fds[1 + more_count] = handover[1];
    pid_t pid =
        pc_spawn_role(role->name, death_signal, fds, 1 + more_count + (takes_links ? 1 : 0), err);
    close(pair[1]);
    close_if_open(handover[1]);
    close_if_open(role->handover_fd);
    role->handover_fd = handover[0];
    if (pid < 0) {
        close(pair[0]);
        return -1;
    }
    role->pid = role->last_pid = pid;
    role->is_ready = role->is_told = false;
    free(role->failure);
    role->failure = NULL;
    if (pc_conn_init(&role->conn, &role->parent->conns, pair[0], role->sender, &events, role) < 0) {
        close(pair[0]);
        return pc_err_set(err, PC_E_SYSTEM, "can't watch the connection to the %s", role->name);
    }
    role->has_conn = true;
    pc_conn_start(&role->conn);
    return 0;
}

void parent_role_exited(struct parent_role *role, int wait_status)
{
    role->pid = 0;
    role->wait_status = wait_status;
    /* What it wrote before it ended may still have to be read. */
    if (role->has_conn) {
        uv_timer_start(&role->linger, on_linger, LINGER_MS, 0);
        return;
    }
    uv_timer_stop(&role->linger);
    parent_role_gone(role);
}

void parent_role_kill(struct parent_role *role)
{
    if (role->pid > 0)
        kill(role->pid, SIGKILL);
}

/* ---- how it ended ----------------------------------------------------------------------- */

void parent_end_text(int signal, int code, char *text, size_t size)
{
    const char *name = signal ? sigabbrev_np(signal) : NULL;
    if (!signal)
        snprintf(text, size, "ended with exit code %d", code);
    else if (name)
        snprintf(text, size, "was killed by signal %d (SIG%s)", signal, name);
    else
        snprintf(text, size, "was killed by signal %d", signal);
}

void parent_role_death(const struct parent_role *role, char *text, size_t size)
{
    char end[64];
    int status = role->wait_status;
    parent_end_text(WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                    WIFEXITED(status) ? WEXITSTATUS(status) : 0, end, sizeof(end));
    snprintf(text, size, "the %s (pid %d) %s%s%s", role->name, (int)role->last_pid, end,
             role->failure ? ": " : "", role->failure ? role->failure : "");
}
