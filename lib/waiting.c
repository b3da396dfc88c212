/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting happens outside of the client's lock: one thread at a time is the reader (is_reading);
 * it polls the socket without the lock, then takes in and files what has arrived under it, and
 * tells the others through `filed`. A thread that waits for its call and finds no reader becomes
 * the reader; that is why a synchronous call costs no hand-over between threads. Threads in
 * pc_next_ended read only when nobody else has for a while.
 */
#include "lib/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"

#define WAIT_SLICE_MS 100 /* a waiting thread looks for signals this often */
#define RUSH          64  /* so many calls under way are a rush ... */
#define REST_US       50  /* ... in which a waiting thread rests so long between two reads */
#define IDLE_MS       3   /* how often pc_next_ended reads while nobody waits for anything */
#define TAKE_OVER_MS  5   /* nobody has read for so long: pc_next_ended does */

/* ---- waiting ---------------------------------------------------------------------------- */

static void deadline_time(int64_t deadline_ms, struct timespec *t)
{
    *t = (struct timespec){.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
}

/* Lets another thread read, at most until the deadline or for one slice. */
static int wait_for_reader(struct pc_client *client, int64_t deadline_ms, struct pc_err *err)
{
    struct timespec until;
    int64_t slice_end = pc_clock_ms() + WAIT_SLICE_MS;
    bool is_slice = deadline_ms < 0 || deadline_ms > slice_end;
    deadline_time(is_slice ? slice_end : deadline_ms, &until);
    client->waiting++;
    int why = pthread_cond_timedwait(&client->filed, &client->lock, &until);
    client->waiting--;
    if (why != ETIMEDOUT)
        return 0;
    if (is_slice)
        return pc_err_set(err, PC_E_INTERRUPTED, "waiting for another thread");
    return pc_err_set(err, PC_E_TIMEOUT, "no answer in time");
}

/* Polls without the lock. The descriptor stays open meanwhile, whatever other threads do. */
int pc_client_poll(struct pc_client *client, struct pollfd *polled, nfds_t count, int timeout_ms)
{
    client->polling++;
    pthread_mutex_unlock(&client->lock);
    int ready = poll(polled, count, timeout_ms);
    int why = errno;
    pthread_mutex_lock(&client->lock);
    if (--client->polling == 0 && client->lost.code != PC_OK)
        pc_sock_close(&client->sock);
    errno = why;
    return ready;
}

void pc_client_take_wake(struct pc_client *client)
{
    uint64_t count;
    ssize_t ignored = read(client->wake_fd, &count, sizeof(count));
    (void)ignored;
}

/* Is the reader for one turn: waits for the socket without the lock, files what came. */
int pc_client_read_turn(struct pc_client *client, int64_t deadline_ms, struct pc_err *err)
{
    if (client->is_cut)
        return pc_client_reconnect_turn(client, deadline_ms, err);
    struct pollfd polled[2] = {
        {.fd = client->sock.fd, .events = POLLIN},
        {.fd = client->wake_fd, .events = POLLIN},
    };
    int64_t left = deadline_ms < 0 ? -1 : deadline_ms - pc_clock_ms();
    if (pc_wire_queued(&client->sock.wire))
        polled[0].events |= POLLOUT;
    client->is_reading = true;
    client->reader_writes = polled[0].events & POLLOUT;
    int ready = pc_client_poll(client, polled, 2, left < 0 && deadline_ms >= 0 ? 0 : (int)left);
    int why = errno;
    client->is_reading = false;
    if (client->waiting)
        pthread_cond_broadcast(&client->filed);
    if (ready < 0 && why != EINTR)
        return pc_err_set(err, PC_E_SYSTEM, "can't wait for the controller: %s", strerror(why));
    if (ready < 0)
        return pc_err_set(err, PC_E_INTERRUPTED, "interrupted by a signal");
    if (ready == 0)
        return pc_err_set(err, PC_E_TIMEOUT, "no answer in time");
    if (polled[1].revents)
        pc_client_take_wake(client);
    if (client->lost.code == PC_OK && (polled[0].revents & POLLOUT))
        pc_client_write_out(client);
    if (client->lost.code == PC_OK && (polled[0].revents & ~POLLOUT)) {
        pc_client_take_in(client);
        if (client->lost.code == PC_OK && pc_wire_queued(&client->sock.wire))
            pc_client_write_out(client); /* acknowledgements */
    }
    client->took_ms = pc_clock_ms();
    if (!client->background_reads)
        client->read_ms = client->took_ms;
    return 0;
}

/* Waits until something may have changed. The lock is held on entry and return. */
int pc_client_wait_turn(struct pc_client *client, int64_t deadline_ms, struct pc_err *err)
{
    /* What the system does not take now is the reader's, who has to know of it. */
    if (client->lingers && pc_client_write_out(client) == 0 && client->is_reading &&
        !client->reader_writes)
        pc_client_wake_reader(client);
    if (client->lost.code != PC_OK)
        return pc_client_lost_error(client, err);
    if (!client->is_reading)
        return pc_client_read_turn(client, deadline_ms, err);
    if (client->background_reads) { /* a thread in pc_next_ended makes room for one that waits */
        client->wants_reading++;
        pc_client_wake_reader(client);
    }
    int failed = wait_for_reader(client, deadline_ms, err);
    if (client->wants_reading)
        client->wants_reading--;
    return failed;
}

int pc_client_enter(struct pc_client *client, struct pc_err *err)
{
    if (!client)
        return pc_err_set(err, PC_E_INVALID, "no client was given");
    if (!pc_birthmark_is_here(&client->birthmark))
        return pc_err_set(err, PC_E_FORKED,
                          "this client was made in process %d, before a fork; make a new Client in "
                          "the child",
                          (int)client->birthmark.pid);
    pthread_mutex_lock(&client->lock);
    return 0;
}

void pc_client_leave(struct pc_client *client)
{
    pthread_mutex_unlock(&client->lock);
}

int64_t pc_deadline_after(int timeout_ms)
{
    return timeout_ms < 0 ? -1 : pc_clock_ms() + timeout_ms;
}

/* Results of a rush come one by one, and waking up costs more than taking one in: who has just read
 * and still waits lets some come together. Without the lock. -1: a signal came. */
static int rest(struct pc_client *client, struct pc_err *err)
{
    if (client->pending < RUSH || pc_clock_ms() - client->took_ms > 1)
        return 0;
    pthread_mutex_unlock(&client->lock);
    int failed = nanosleep(&(struct timespec){.tv_nsec = REST_US * 1000}, NULL);
    pthread_mutex_lock(&client->lock);
    return failed ? pc_err_set(err, PC_E_INTERRUPTED, "interrupted by a signal") : 0;
}

static bool has_ended(const struct pc_call *call)
{
    return pc_call_status(call) != PC_STATUS_PENDING;
}

bool pc_call_accepted(const struct pc_call *call)
{
    return call &&
           (atomic_load_explicit(&call->is_accepted, memory_order_acquire) || has_ended(call));
}

static int wait_for(struct pc_client *client, struct pc_call *const *calls, size_t count,
                    int timeout_ms, bool (*is_done)(const struct pc_call *call), struct pc_err *err)
{
    struct pc_err local;
    size_t first = 0;
    int64_t deadline = timeout_ms == 0 ? 0 : pc_deadline_after(timeout_ms);
    int result = 0;
    if (!err)
        err = &local;
    if (pc_client_enter(client, err))
        return -1;
    for (;;) {
        while (first < count && calls[first] && is_done(calls[first]))
            first++;
        if (first == count)
            break;
        if (!calls[first] || calls[first]->client != client) {
            result = pc_err_set(err, PC_E_INVALID, "%s",
                                calls[first] ? "the call belongs to another client"
                                             : "no call was given");
            break;
        }
        if ((timeout_ms && !client->lingers && rest(client, err)) ||
            pc_client_wait_turn(client, deadline, err)) {
            /* What came last may have been filed by the turn that timed out. */
            if (err->code == PC_E_TIMEOUT && is_done(calls[first]))
                continue;
            result = -1;
            break;
        }
    }
    pc_client_leave(client);
    return result;
}

int pc_wait(struct pc_client *client, struct pc_call *const *calls, size_t count, int timeout_ms,
            struct pc_err *err)
{
    return wait_for(client, calls, count, timeout_ms, has_ended, err);
}

int pc_wait_accepted(struct pc_client *client, struct pc_call *const *calls, size_t count,
                     int timeout_ms, struct pc_err *err)
{
    for (size_t i = 0; i < count; i++)
        if (calls[i] && !calls[i]->is_durable)
            return pc_err_set(err, PC_E_INVALID,
                              "the task is not durable, so it is not written to disk before it "
                              "begins: submit it with the option durable");
    return wait_for(client, calls, count, timeout_ms, pc_call_accepted, err);
}

/* ---- the background --------------------------------------------------------------------- */

struct pc_call *pc_client_take_ended(struct pc_client *client)
{
    struct pc_call *call = client->ended_first;
    if (call) {
        client->ended_first = call->next_ended;
        if (!client->ended_first)
            client->ended_last = NULL;
    }
    return call;
}

/* Waits for a signal on `ended`, at most `slice_ms` (negative: no limit but the deadline). */
static void wait_ended(struct pc_client *client, int64_t deadline_ms, int slice_ms)
{
    struct timespec until;
    int64_t end = slice_ms < 0 ? -1 : pc_clock_ms() + slice_ms;
    if (deadline_ms >= 0 && (end < 0 || end > deadline_ms))
        end = deadline_ms;
    client->background_sleeps = slice_ms < 0;
    if (end < 0) {
        pthread_cond_wait(&client->ended, &client->lock);
    } else {
        deadline_time(end, &until);
        pthread_cond_timedwait(&client->ended, &client->lock, &until);
    }
    client->background_sleeps = false;
}

/* One turn of the background thread: reads when it has to, else lets others do it. */
static int background_turn(struct pc_client *client, int64_t deadline_ms, struct pc_err *err)
{
    int64_t now = pc_clock_ms();
    if (client->lingers && client->awaited && pc_client_write_out(client) < 0)
        return 0;
    if (!client->pending && !client->is_cut) {
        wait_ended(client, deadline_ms, -1);
    } else if (client->is_reading || client->wants_reading) {
        wait_ended(client, deadline_ms, WAIT_SLICE_MS / 2);
    } else if (now - client->read_ms < TAKE_OVER_MS) {
        wait_ended(client, deadline_ms, TAKE_OVER_MS);
    } else if (!client->awaited && !client->is_cut && now - client->took_ms < IDLE_MS) {
        wait_ended(client, deadline_ms, IDLE_MS); /* nobody waits: no hurry */
    } else {
        client->background_reads = true;
        int failed = pc_client_read_turn(client, deadline_ms, err);
        client->background_reads = false;
        if (failed && err->code != PC_E_TIMEOUT)
            return -1;
    }
    return 0;
}

struct pc_call *pc_next_ended(struct pc_client *client, int timeout_ms, struct pc_err *err)
{
    struct pc_err local;
    struct pc_call *call = NULL;
    int64_t deadline = pc_deadline_after(timeout_ms);
    if (!err)
        err = &local;
    if (pc_client_enter(client, err))
        return NULL;
    while (!(call = pc_client_take_ended(client))) {
        if (client->lost.code != PC_OK) {
            pc_client_lost_error(client, err);
            break;
        }
        if (client->is_woken) {
            client->is_woken = false;
            pc_err_set(err, PC_E_INTERRUPTED, "woken");
            break;
        }
        if (deadline >= 0 && pc_clock_ms() >= deadline) {
            pc_err_set(err, PC_E_TIMEOUT, "no call has ended in time");
            break;
        }
        if (background_turn(client, deadline, err))
            break;
    }
    pc_client_leave(client);
    return call;
}

void pc_client_wake_reader(struct pc_client *client)
{
    uint64_t one = 1;
    ssize_t ignored = write(client->wake_fd, &one, sizeof(one));
    (void)ignored;
}

void pc_client_wake(struct pc_client *client)
{
    if (pc_client_enter(client, NULL))
        return;
    client->is_woken = true;
    if (client->background_reads)
        pc_client_wake_reader(client);
    pthread_cond_broadcast(&client->ended);
    pc_client_leave(client);
}
