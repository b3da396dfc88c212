/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/lane.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proto.h"

#define WAIT_SLICE_NS (100 * 1000 * 1000)
#define TAKE_AGAIN_US 200

void eng_lane_init(struct eng_lane *lane, struct pc_sock *sock, int control_fd)
{
    lane->sock = *sock;
    *sock = (struct pc_sock){.fd = -1};
    lane->is_broken = false;
    lane->lifeline = lane->sock.wire.lifeline;
    lane->control_fd = control_fd;
    atomic_init(&lane->use, ENG_LANE_IDLE);
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->mended, NULL);
}

void eng_lane_forget(struct eng_lane *lane)
{
    pthread_mutex_init(&lane->lock, NULL);
    lane->is_broken = true;
    lane->lifeline = NULL;
}

/* With the lock. The other lane ends, too: its thread opens both again. */
static void break_lane(struct eng_lane *lane)
{
    if (lane->is_broken)
        return;
    lane->is_broken = true;
    if (lane->lifeline)
        shutdown(lane->control_fd, SHUT_RDWR);
}

/* ---- receiving -------------------------------------------------------------------------- */

/* A task may now run for hours and say nothing, while the scheduler keeps what it was sent. */
static void acknowledge(struct eng_lane *lane)
{
    if (!lane->lifeline || !pc_lifeline_is_due(lane->lifeline))
        return;
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECEIVED, NULL, 0);
    pthread_mutex_lock(&lane->lock);
    if (!lane->is_broken)
        eng_lane_queue(lane, msg);
    eng_lane_flush(lane, true);
    pthread_mutex_unlock(&lane->lock);
    pc_msg_unref(msg);
}

struct pc_msg *eng_lane_receive(struct eng_lane *lane, uint32_t *life, struct pc_err *err)
{
    int idle = ENG_LANE_IDLE;
    if (!atomic_compare_exchange_strong(&lane->use, &idle, ENG_LANE_READING)) {
        pc_err_set(err, PC_E_LOST, "the connection is being mended");
        return NULL;
    }
    *life = lane->life; /* it changes only while nobody reads */
    struct pc_msg *msg = pc_sock_receive(&lane->sock, -1, err);
    if (msg)
        acknowledge(lane);
    atomic_store(&lane->use, ENG_LANE_IDLE);
    if (!msg && err->code == PC_E_LOST) {
        pthread_mutex_lock(&lane->lock);
        break_lane(lane);
        pthread_mutex_unlock(&lane->lock);
    }
    return msg;
}

bool eng_lane_wait(struct eng_lane *lane)
{
    struct timespec until;
    if (!lane->lifeline)
        return false;
    pthread_mutex_lock(&lane->lock);
    if (lane->is_broken) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAIT_SLICE_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&lane->mended, &lane->lock, &until);
    }
    pthread_mutex_unlock(&lane->lock);
    return true;
}

/* ---- what has come ---------------------------------------------------------------------- */

int eng_lane_arrived(struct eng_lane *lane, uint64_t count, struct pc_err *err)
{
    return lane->lifeline ? pc_lifeline_arrived(lane->lifeline, count, err) : 0;
}

/* ---- mending ---------------------------------------------------------------------------- */

void eng_lane_take(struct eng_lane *lane)
{
    int idle = ENG_LANE_IDLE;
    pthread_mutex_lock(&lane->lock);
    lane->is_broken = true;
    pthread_mutex_unlock(&lane->lock);
    while (!atomic_compare_exchange_strong(&lane->use, &idle, ENG_LANE_MENDING)) {
        idle = ENG_LANE_IDLE;
        shutdown(lane->sock.fd, SHUT_RDWR); /* who waits there comes back */
        usleep(TAKE_AGAIN_US);
    }
}

/* With the lock. */
static void take_over(struct eng_lane *lane, struct pc_sock *sock, int control_fd)
{
    pc_wire_fini(&lane->sock.wire);
    if (dup3(sock->fd, lane->sock.fd, O_CLOEXEC) < 0)
        pc_fatal(1, "can't take over a connection");
    close(sock->fd);
    lane->sock.wire = sock->wire;
    *sock = (struct pc_sock){.fd = -1};
    lane->sock.wire.lifeline = lane->lifeline;
    lane->control_fd = control_fd;
}

static void give_back(struct eng_lane *lane)
{
    lane->is_broken = false;
    pthread_cond_broadcast(&lane->mended);
    pthread_mutex_unlock(&lane->lock);
    atomic_store(&lane->use, ENG_LANE_IDLE);
}

void eng_lane_mend(struct eng_lane *lane, struct pc_sock *sock, uint64_t arrived, int control_fd)
{
    struct pc_err err;
    pthread_mutex_lock(&lane->lock);
    take_over(lane, sock, control_fd);
    if (pc_lifeline_resume(lane->lifeline, arrived, &err) || pc_wire_resume(&lane->sock.wire))
        pc_fatal(1, "can't go on: %s", err.text);
    give_back(lane);
}

/* References to those that are kept, in order, then NULL. */
static struct pc_msg **kept_pieces(const struct pc_lifeline *lifeline)
{
    struct pc_msg **pieces = pc_xcalloc(lifeline->count + 1, sizeof(*pieces));
    size_t count = 0;
    uint64_t number;
    for (size_t i = 0; i < lifeline->count; i++) {
        struct pc_msg *msg = pc_lifeline_kept(lifeline, i, &number);
        if (msg && msg->head.type == PC_MSG_STREAM)
            pieces[count++] = pc_msg_ref(msg);
    }
    return pieces;
}

void eng_lane_begin_anew(struct eng_lane *lane, struct pc_sock *sock, int control_fd,
                         void (*report)(void *arg, struct pc_msg **pieces), void *arg)
{
    pthread_mutex_lock(&lane->lock);
    take_over(lane, sock, control_fd);
    struct pc_msg **pieces = kept_pieces(lane->lifeline);
    pc_lifeline_restart(lane->lifeline);
    lane->life++;
    lane->is_broken = false;
    report(arg, pieces);
    for (size_t i = 0; pieces[i]; i++)
        pc_msg_unref(pieces[i]);
    free(pieces);
    give_back(lane);
}

/* ---- sending ---------------------------------------------------------------------------- */

bool eng_lane_is_gone(const struct eng_lane *lane)
{
    return lane->is_broken && !lane->lifeline;
}

void eng_lane_queue(struct eng_lane *lane, struct pc_msg *msg)
{
    int failed = 0;
    if (!lane->is_broken)
        failed = !msg || pc_wire_send(&lane->sock.wire, msg);
    else if (lane->lifeline)
        failed = !msg || pc_lifeline_keep(lane->lifeline, msg);
    if (failed)
        pc_fatal(1, "out of memory while sending");
}

bool eng_lane_flush(struct eng_lane *lane, bool may_wait)
{
    struct pc_err err;
    if (lane->lifeline)
        pc_lifeline_trim(lane->lifeline);
    while (!lane->is_broken) {
        int all = pc_sock_flush(&lane->sock, may_wait ? 0 : MSG_DONTWAIT, &err);
        if (all >= 0)
            return all > 0;
        if (err.code == PC_E_INTERRUPTED)
            continue; /* half a message must not stay behind */
        pc_debug("the work lane broke: %s", err.text);
        break_lane(lane);
    }
    return true;
}
