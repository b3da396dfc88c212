/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs with a loop of their own, and callbacks. Callbacks run in pc_dispatch only, without the
 * client's lock, so they may call anything; what they are told was noted when it was filed, by
 * whichever thread that was. One thread at a time tells, so that each call's news keep their order.
 */
#include "lib/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/clock.h"

#define PAUSE_MIN_MS 5 /* between two turns while another thread connects */

/* ---- the descriptor --------------------------------------------------------------------- */

static int add_fd(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* While the connection is cut its socket is always readable, and says nothing. */
static void watch_timer(struct pc_client *client)
{
    struct itimerspec when = {0};
    int64_t now_ms = pc_clock_ms(), until_ms = client->try_ms;
    if (until_ms < now_ms + PAUSE_MIN_MS)
        until_ms = now_ms + PAUSE_MIN_MS;
    if (client->is_cut)
        when.it_value =
            (struct timespec){.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    timerfd_settime(client->loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* The socket may be another one by now, and something may wait to be written. */
static void watch_socket(struct pc_client *client)
{
    int fd = client->sock.fd;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (client->loop->epoll_fd < 0 || fd < 0)
        return;
    watch_timer(client);
    if (client->is_cut) {
        epoll_ctl(client->loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        return;
    }
    if (pc_wire_queued(&client->sock.wire))
        event.events |= EPOLLOUT;
    if (epoll_ctl(client->loop->epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0 && errno == ENOENT)
        epoll_ctl(client->loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

void pc_loop_ring(struct pc_client *client)
{
    uint64_t one = 1;
    struct pc_loop *loop = client->loop;
    if (loop->bell_fd >= 0 && !loop->is_rung && !loop->inside)
        loop->is_rung = write(loop->bell_fd, &one, sizeof(one)) == sizeof(one);
}

static bool has_news(const struct pc_client *client)
{
    const struct pc_loop *loop = client->loop;
    return loop->news_first || ((loop->listener.engine_came || loop->listener.engine_left) &&
                                loop->told_generation != client->roster.generation);
}

/* A connection that is lost keeps ringing: the program must hear of it. */
static void settle_bell(struct pc_client *client)
{
    struct pc_loop *loop = client->loop;
    uint64_t count;
    if (client->lost.code != PC_OK || has_news(client))
        pc_loop_ring(client);
    else if (loop->is_rung && read(loop->bell_fd, &count, sizeof(count)) == sizeof(count))
        loop->is_rung = false;
}

static struct pc_loop *get_loop(struct pc_client *client, struct pc_err *err)
{
    if (client->loop)
        return client->loop;
    struct pc_loop *loop = calloc(1, sizeof(*loop));
    if (!loop) {
        pc_err_set(err, PC_E_MEMORY, "out of memory");
        return NULL;
    }
    loop->epoll_fd = loop->bell_fd = loop->timer_fd = -1;
    return client->loop = loop;
}

static int open_fds(struct pc_loop *loop, struct pc_err *err)
{
    loop->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->bell_fd >= 0 && loop->timer_fd >= 0)
        loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd >= 0 && add_fd(loop->epoll_fd, loop->bell_fd) == 0 &&
        add_fd(loop->epoll_fd, loop->timer_fd) == 0)
        return 0;
    pc_err_sys(err, "can't make a descriptor to poll");
    pc_loop_forked(loop);
    return -1;
}

int pc_client_fd(struct pc_client *client, struct pc_err *err)
{
    if (pc_client_enter(client, err))
        return -1;
    struct pc_loop *loop = get_loop(client, err);
    int failed = !loop || (loop->epoll_fd < 0 && open_fds(loop, err));
    if (!failed) {
        watch_socket(client);
        settle_bell(client);
    }
    int fd = failed ? -1 : loop->epoll_fd;
    pc_client_leave(client);
    return fd;
}

/* ---- news ------------------------------------------------------------------------------- */

int pc_client_listen(struct pc_client *client, const struct pc_listener *listener,
                     struct pc_err *err)
{
    static const struct pc_listener nobody;
    if (pc_client_enter(client, err))
        return -1;
    struct pc_loop *loop = get_loop(client, err);
    if (loop) {
        loop->listener = listener ? *listener : nobody;
        free(loop->told); /* those that are there are news */
        loop->told = NULL;
        loop->told_count = 0;
        loop->told_generation = UINT64_MAX;
        pc_loop_ring(client);
    }
    pc_client_leave(client);
    return loop ? 0 : -1;
}

void pc_loop_note(struct pc_client *client, struct pc_call *call)
{
    struct pc_loop *loop = client->loop;
    if (call->is_news || (!loop->listener.output && !loop->listener.ended))
        return;
    call->is_news = true;
    call->next_news = NULL;
    pc_call_ref(call);
    if (loop->news_last)
        loop->news_last->next_news = call;
    else
        loop->news_first = call;
    loop->news_last = call;
}

static struct pc_call *take_news(struct pc_loop *loop)
{
    struct pc_call *call = loop->news_first;
    if (!call)
        return NULL;
    loop->news_first = call->next_news;
    if (!loop->news_first)
        loop->news_last = NULL;
    call->is_news = false;
    return call;
}

void pc_loop_silence(struct pc_client *client)
{
    struct pc_call *call;
    while ((call = take_news(client->loop)) != NULL)
        pc_call_drop(call);
}

/* ---- telling ---------------------------------------------------------------------------- */

/* Nobody listens any more: a callback has closed the client. */
static bool is_over(const struct pc_client *client)
{
    return client->lost.code == PC_E_CLOSED;
}

/* After callbacks. False: one of them forked, and this is the child: hands off. */
static bool enter_again(struct pc_client *client)
{
    return pc_client_enter(client, NULL) == 0;
}

/* Between two callbacks, without the lock: somebody still listens. */
static bool is_wanted(struct pc_client *client)
{
    if (!enter_again(client))
        return false;
    bool is_wanted = !is_over(client);
    pc_client_leave(client);
    return is_wanted;
}

/* What one call has printed, and whether it has ended. */
static bool tell_call(struct pc_client *client, struct pc_call *call)
{
    const struct pc_listener listener = client->loop->listener;
    bool has_ended = pc_call_status(call) != PC_STATUS_PENDING && !call->is_told;
    char *text[2] = {NULL, NULL};
    size_t size[2] = {0, 0};
    for (int i = 0; i < 2; i++)
        if (call->output[i])
            text[i] = pc_capture_since(call->output[i], &call->told_output[i], &size[i]);
    call->is_told |= has_ended;
    pc_client_leave(client);
    for (int i = 0; i < 2; i++) {
        if (text[i] && listener.output && is_wanted(client))
            listener.output(call, (enum pc_stream)i, text[i], size[i], listener.arg);
        free(text[i]);
    }
    if (has_ended && listener.ended && is_wanted(client))
        listener.ended(call, listener.arg);
    if (!enter_again(client))
        return false;
    pc_call_drop(call);
    return true;
}

/* Those of `from` that are not in `than`, to `tell`. Both are sorted by id. */
static int tell_difference(struct pc_client *client, const struct pc_engine *from, size_t count,
                           const struct pc_engine *than, size_t than_count,
                           void (*tell)(struct pc_client *, const struct pc_engine *, void *),
                           void *arg)
{
    int told = 0;
    for (size_t i = 0, j = 0; tell && i < count; i++) {
        while (j < than_count && than[j].id < from[i].id)
            j++;
        if (j < than_count && than[j].id == from[i].id)
            continue;
        if (!is_wanted(client))
            break;
        tell(client, &from[i], arg);
        told++;
    }
    return told;
}

/* Adds to *told. */
static bool tell_engines(struct pc_client *client, int *told)
{
    struct pc_loop *loop = client->loop;
    const struct pc_listener listener = loop->listener;
    struct pc_engine *now = NULL, *before = loop->told;
    size_t count = 0, before_count = loop->told_count;
    if ((!listener.engine_came && !listener.engine_left) ||
        loop->told_generation == client->roster.generation)
        return true;
    if (pc_roster_copy(&client->roster, &now, &count, NULL))
        return true; /* no memory now: at the next turn */
    uint64_t generation = loop->told_generation = client->roster.generation;
    loop->told = NULL; /* ours, until the new one is in its place */
    loop->told_count = 0;
    pc_client_leave(client);
    *told += tell_difference(client, before, before_count, now, count, listener.engine_left,
                             listener.arg) +
             tell_difference(client, now, count, before, before_count, listener.engine_came,
                             listener.arg);
    free(before);
    if (!enter_again(client)) {
        free(now);
        return false;
    }
    if (loop->told_generation != generation) { /* there is another listener now */
        free(now);
    } else {
        loop->told = now;
        loop->told_count = count;
    }
    return true;
}

/* Runs callbacks for what is news now. Returns how many, -1 in a forked child. */
static int tell(struct pc_client *client)
{
    struct pc_loop *loop = client->loop;
    int told = 0;
    loop->is_telling = true;
    loop->teller = pthread_self();
    if (client->lost.code == PC_OK && !tell_engines(client, &told))
        return -1;
    /* What comes meanwhile is for the next turn, or this one might never end. */
    struct pc_call *call, *last = loop->news_last;
    bool was_last = false;
    while (!was_last && !is_over(client) && (call = take_news(loop)) != NULL) {
        was_last = call == last;
        if (!tell_call(client, call))
            return -1;
        told++;
    }
    loop->is_telling = false;
    return told;
}

/* ---- dispatching ------------------------------------------------------------------------ */

static int take_turn(struct pc_client *client, int timeout_ms, struct pc_err *err)
{
    uint64_t before = client->filed_count;
    int64_t deadline = timeout_ms == 0 ? 0 : pc_deadline_after(timeout_ms);
    if (pc_client_wait_turn(client, deadline, err) && err->code != PC_E_TIMEOUT)
        return -1;
    if (client->lost.code != PC_OK)
        return pc_client_lost_error(client, err);
    return (int)(client->filed_count - before);
}

static int take_turn_and_tell(struct pc_client *client, int timeout_ms, struct pc_err *err)
{
    struct pc_loop *loop = client->loop;
    if (loop->is_telling && pthread_equal(loop->teller, pthread_self()))
        return pc_err_set(err, PC_E_INVALID, "pc_dispatch was called from a callback");
    loop->inside++;
    int result = take_turn(client, has_news(client) || loop->is_rung ? 0 : timeout_ms, err);
    int told = loop->is_telling ? 0 : tell(client);
    if (told < 0)
        return pc_client_enter(client, err); /* says why not */
    loop->inside--;
    if (result >= 0 && client->lost.code != PC_OK) /* by a callback */
        result = pc_client_lost_error(client, err);
    if (is_over(client))
        pc_loop_silence(client);
    watch_socket(client);
    settle_bell(client);
    return result < 0 ? result : result + told;
}

int pc_dispatch(struct pc_client *client, int timeout_ms, struct pc_err *err)
{
    struct pc_err local;
    if (!err)
        err = &local;
    if (pc_client_enter(client, err))
        return -1;
    pc_client_ref(client); /* a callback may close it */
    int result = client->loop ? take_turn_and_tell(client, timeout_ms, err)
                              : take_turn(client, timeout_ms, err);
    if (pc_birthmark_is_here(&client->birthmark))
        pc_client_leave(client);
    pc_client_unref(client);
    return result;
}

/* ---- ending ----------------------------------------------------------------------------- */

void pc_loop_forked(struct pc_loop *loop)
{
    int fds[] = {loop->epoll_fd, loop->bell_fd, loop->timer_fd};
    loop->epoll_fd = loop->bell_fd = loop->timer_fd = -1;
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

void pc_loop_free(struct pc_loop *loop)
{
    if (!loop)
        return;
    pc_loop_forked(loop);
    free(loop->told);
    free(loop);
}
