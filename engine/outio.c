/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/outio.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proto.h"
#include "lib/proto_task.h"

#define LIVE_AFTER_NS (5 * 1000 * 1000) /* a buffer is sent so long after its first byte */
#define PIECE         8192              /* what a buffer holds and one message carries ... */
#define DIRECT_PIECE  65536             /* ... unless a text alone is longer */
#define PUMP_MAX      65536             /* read from one pipe before others have their turn */
#define LOOK_AGAIN_MS 100 /* two threads may wait for credit, and one bell rings for both */

static_assert(PIECE <= ENG_TAIL_LANDING, "a piece of stderr lands in the tail");

/* Everything but the descriptors is guarded by the lane's lock. */
static struct {
    struct eng_lane *lane;
    struct eng_tail *tail;
    int pipes[2];
    int timer_fd, credit_fd;
    char buffers[2][PIECE]; /* written by Python, not sent yet */
    size_t sizes[2];
    char piece[PIECE];         /* on its way from a pipe to the lane */
    uint64_t window;           /* bytes that may still be sent ... */
    _Atomic uint64_t credited; /* ... and what came since; needs no lock */
    uint64_t session, sequence;
    uint64_t at[PC_STREAM_TEXTS]; /* bytes of the task that were queued */
    _Atomic uint64_t task_number; /* tasks so far; needs no lock */
    bool has_task;                /* those two are set */
    bool is_armed;                /* the timer runs */
} out;

void eng_out_init(struct eng_lane *lane, struct eng_tail *tail, const int pipes[2])
{
    out.lane = lane;
    out.tail = tail;
    out.pipes[0] = pipes[0];
    out.pipes[1] = pipes[1];
    out.window = PC_OUTPUT_WINDOW;
    out.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    out.credit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (out.timer_fd < 0 || out.credit_fd < 0)
        pc_fatal(1, "can't make a timer: %s", strerror(errno));
}

void eng_out_forget(void)
{
    if (!out.lane)
        return;
    eng_lane_forget(out.lane);
    out.sizes[0] = out.sizes[1] = 0;
}

int eng_out_timer_fd(void)
{
    return out.timer_fd;
}

/* ---- sending; all with the lock held ---------------------------------------------------- */

/* How much may be sent. The control thread can't wait for the lock to say that it got more. */
static uint64_t look_at_window(void)
{
    out.window += atomic_exchange(&out.credited, 0);
    return out.window;
}

/* Makes a message of at most `size` bytes that the window allows and queues it. Returns how many
 * it took. */
static size_t queue_piece(int stream, const char *data, size_t size)
{
    uint64_t window = look_at_window();
    size_t n = size < window ? size : (size_t)window;
    if (n < size) /* not within a character */
        for (int back = 0; back < 3 && n > 0 && ((unsigned char)data[n] & 0xc0) == 0x80; back++)
            n--;
    if (n == 0)
        return 0;
    uint64_t at = stream < PC_STREAM_TEXTS ? out.at[stream] : 0;
    struct pc_msg *msg = pc_stream_new((uint8_t)stream, at, data, n);
    if (!msg)
        pc_fatal(1, "out of memory while sending output");
    msg->head.session = out.session;
    msg->head.sequence = out.sequence;
    eng_lane_queue(out.lane, msg);
    pc_msg_unref(msg);
    out.window -= n;
    if (stream < PC_STREAM_TEXTS)
        out.at[stream] += n;
    return n;
}

/* Queues what the window allows of a buffer. True: it is empty now. */
static bool queue_buffer(int stream)
{
    size_t size = out.sizes[stream];
    size_t n = size ? queue_piece(stream, out.buffers[stream], size) : 0;
    if (n && n < size)
        memmove(out.buffers[stream], out.buffers[stream] + n, size - n);
    out.sizes[stream] = size - n;
    return n == size;
}

static void note(int stream, const char *data, size_t size)
{
    if (stream == PC_STREAM_STDERR)
        eng_tail_put(out.tail, data, size);
}

#define NEEDS_CREDIT (-1)

/* Reads up to `limit` bytes of a pipe and queues them. Returns how many, or NEEDS_CREDIT; 0:
 * nothing there, with *has_ended when there will never be more. */
static ssize_t queue_from_pipe(int stream, size_t limit, bool *has_ended)
{
    size_t room = limit < PIECE ? limit : PIECE;
    uint64_t window = look_at_window();
    if (out.has_task && room > window)
        room = (size_t)window;
    if (room == 0)
        return NEEDS_CREDIT;
    char *piece = stream == PC_STREAM_STDERR ? eng_tail_land(out.tail) : out.piece;
    ssize_t got = read(out.pipes[stream], piece, room);
    if (got <= 0) {
        *has_ended = got == 0;
        return 0;
    }
    note(stream, piece, (size_t)got);
    if (out.has_task)
        queue_piece(stream, piece, (size_t)got); /* all of it: there is room */
    return got;
}

/* ---- waiting for credit ----------------------------------------------------------------- */

void eng_out_credit(uint64_t bytes)
{
    uint64_t one = 1;
    atomic_fetch_add(&out.credited, bytes);
    ssize_t ignored = write(out.credit_fd, &one, sizeof(one));
    (void)ignored;
}

void eng_out_restart(uint64_t bytes)
{
    out.window = bytes < PC_OUTPUT_WINDOW ? PC_OUTPUT_WINDOW - bytes : 0;
    atomic_store(&out.credited, 0);
    eng_out_credit(0); /* whoever waits looks again */
}

/* Without lock and GIL. False: a signal came. */
static bool wait_credit(void)
{
    struct pollfd p = {.fd = out.credit_fd, .events = POLLIN};
    uint64_t count;
    if (poll(&p, 1, LOOK_AGAIN_MS) < 0)
        return false;
    ssize_t ignored = read(out.credit_fd, &count, sizeof(count));
    (void)ignored;
    return true;
}

/* ---- Python's streams ------------------------------------------------------------------- */

static void arm_timer(void)
{
    struct itimerspec when = {.it_value = {.tv_nsec = LIVE_AFTER_NS}};
    if (!out.is_armed)
        timerfd_settime(out.timer_fd, 0, &when, NULL);
    out.is_armed = true;
}

static void append(int stream, const char *data, size_t size)
{
    memcpy(out.buffers[stream] + out.sizes[stream], data, size);
    out.sizes[stream] += size;
    arm_timer();
}

bool eng_out_try_write(int stream, const char *data, size_t size)
{
    if (pthread_mutex_trylock(&out.lane->lock) != 0)
        return false;
    bool fits = !out.has_task || size <= PIECE - out.sizes[stream];
    if (fits) {
        note(stream, data, size);
        if (out.has_task && size)
            append(stream, data, size);
    }
    pthread_mutex_unlock(&out.lane->lock);
    return fits;
}

/* With the lock held. What was printed before goes first. Returns how many bytes; 0: credit is
 * needed. */
static size_t take_display(const char *data, size_t size)
{
    bool is_next = queue_buffer(PC_STREAM_STDOUT) && queue_buffer(PC_STREAM_STDERR);
    size_t piece = size < DIRECT_PIECE ? size : DIRECT_PIECE;
    size_t n = is_next ? queue_piece(PC_STREAM_DISPLAY, data, piece) : 0;
    eng_lane_flush(out.lane, true);
    return n;
}

/* With the lock held. Takes what there is room for: into the buffer, or straight to the lane.
 * Returns how many bytes; 0: credit is needed. */
static size_t take(int stream, const char *data, size_t size)
{
    if (!out.has_task || eng_lane_is_gone(out.lane))
        return size;
    if (stream == PC_STREAM_DISPLAY)
        return take_display(data, size);
    if (size <= PIECE - out.sizes[stream]) {
        append(stream, data, size);
        return size;
    }
    size_t n = 0;
    if (queue_buffer(stream))
        n = queue_piece(stream, data, size < DIRECT_PIECE ? size : DIRECT_PIECE);
    eng_lane_flush(out.lane, true);
    return n;
}

bool eng_out_write(int stream, const char *data, size_t size, size_t *done)
{
    *done = 0;
    while (*done < size) {
        pthread_mutex_lock(&out.lane->lock);
        size_t n = take(stream, data + *done, size - *done);
        note(stream, data + *done, n);
        pthread_mutex_unlock(&out.lane->lock);
        *done += n;
        if (n == 0 && !wait_credit())
            return false;
    }
    return true;
}

bool eng_out_flush(int stream)
{
    for (;;) {
        pthread_mutex_lock(&out.lane->lock);
        bool is_empty = queue_buffer(stream) || eng_lane_is_gone(out.lane);
        eng_lane_flush(out.lane, true);
        pthread_mutex_unlock(&out.lane->lock);
        if (is_empty)
            return true;
        if (!wait_credit())
            return false;
    }
}

bool eng_out_publish(const char *data, size_t size)
{
    for (;;) {
        pthread_mutex_lock(&out.lane->lock);
        bool is_done = !out.has_task || eng_lane_is_gone(out.lane);
        if (!is_done && look_at_window() >= size) {
            queue_piece(PC_STREAM_DATA, data, size);
            eng_lane_flush(out.lane, true);
            is_done = true;
        }
        pthread_mutex_unlock(&out.lane->lock);
        if (is_done)
            return true;
        if (!wait_credit())
            return false;
    }
}

uint64_t eng_out_task_number(void)
{
    return atomic_load(&out.task_number);
}

/* ---- tasks ------------------------------------------------------------------------------ */

void eng_out_begin(uint64_t session, uint64_t sequence)
{
    pthread_mutex_lock(&out.lane->lock);
    /* What a thread of the last task has written since belongs to that one. */
    for (int stream = 0; stream < 2; stream++)
        if (!queue_buffer(stream))
            out.sizes[stream] = 0;
    out.session = session;
    out.sequence = sequence;
    memset(out.at, 0, sizeof(out.at));
    out.has_task = true;
    atomic_fetch_add(&out.task_number, 1);
    pthread_mutex_unlock(&out.lane->lock);
}

/* How much is in the pipes now. What comes later, from processes that the task left running,
 * isn't waited for. */
static void measure_pipes(int left[2])
{
    struct pollfd polled[2] = {{.fd = out.pipes[0], .events = POLLIN},
                               {.fd = out.pipes[1], .events = POLLIN}};
    left[0] = left[1] = 0;
    fflush(stdout);
    if (poll(polled, 2, 0) <= 0)
        return;
    for (int stream = 0; stream < 2; stream++)
        if ((polled[stream].revents & POLLIN) &&
            ioctl(out.pipes[stream], FIONREAD, &left[stream]) < 0)
            left[stream] = 0;
}

/* With the lock held: queues what is to go before the result. True: that was all of it. */
static bool queue_rest(int left[2])
{
    if (eng_lane_is_gone(out.lane))
        return true;
    for (int stream = 0; stream < 2; stream++) {
        bool has_ended = false;
        if (!queue_buffer(stream))
            return false;
        while (left[stream] > 0) {
            ssize_t n = queue_from_pipe(stream, (size_t)left[stream], &has_ended);
            if (n == NEEDS_CREDIT)
                return false;
            if (n == 0) /* the control thread was here */
                break;
            left[stream] -= (int)n;
        }
    }
    return true;
}

void eng_out_end(struct pc_msg *result, bool *is_queued)
{
    int left[2];
    measure_pipes(left);
    for (;;) {
        pthread_mutex_lock(&out.lane->lock);
        bool is_all = queue_rest(left);
        if (is_all) {
            eng_lane_queue(out.lane, result);
            *is_queued = true;
        }
        eng_lane_flush(out.lane, true);
        pthread_mutex_unlock(&out.lane->lock);
        if (is_all)
            return;
        wait_credit();
    }
}

/* ---- the control thread ----------------------------------------------------------------- */

/* Queues what a buffer and its pipe have now. False: credit is needed for the rest. */
static bool queue_stream(int stream, bool *has_ended)
{
    size_t taken = 0;
    if (!queue_buffer(stream))
        return false;
    while (taken < PUMP_MAX && !*has_ended) {
        ssize_t n = queue_from_pipe(stream, PIECE, has_ended);
        if (n <= 0)
            return n == 0;
        taken += (size_t)n;
    }
    return true;
}

enum eng_out_state eng_out_pump(bool pipe_ended[2])
{
    if (pthread_mutex_trylock(&out.lane->lock) != 0)
        return ENG_OUT_BUSY;
    out.is_armed = false;
    bool is_all = queue_stream(0, &pipe_ended[0]);
    is_all &= queue_stream(1, &pipe_ended[1]);
    bool is_sent = eng_lane_flush(out.lane, false);
    pthread_mutex_unlock(&out.lane->lock);
    return !is_sent ? ENG_OUT_BUSY : is_all ? ENG_OUT_IDLE : ENG_OUT_WINDOW;
}
