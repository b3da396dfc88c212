/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client: one connection, many calls, no thread of its own.
 *
 * Everything is guarded by client->lock. Waiting happens outside of it: one thread at a time is
 * the reader (is_reading); it polls the socket without the lock, then takes in and files what has
 * arrived under it, and tells the others through `filed`. A thread that waits for its call and
 * finds no reader becomes the reader; that is why a synchronous call costs no hand-over between
 * threads. Threads in pc_next_ended read only when nobody else has for a while.
 */
#include "lib/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/proto.h"
#include "lib/proto_task.h"

#define ACK_COUNT     32            /* results received before they are acknowledged ... */
#define ACK_BYTES     (1024 * 1024) /* ... or bytes of results */
#define WAIT_SLICE_MS 100           /* a waiting thread looks for signals this often */
#define TAKE_OVER_MS  5             /* nobody has read for so long: pc_next_ended does */

const char *pc_version(void)
{
    return PC_VERSION;
}

/* ---- life of calls ---------------------------------------------------------------------- */

static struct pc_call *call_new(struct pc_client *client, uint64_t sequence, uint64_t bytes)
{
    struct pc_call *call = calloc(1, sizeof(*call));
    if (!call)
        return NULL;
    atomic_init(&call->refs, 1);
    call->client = pc_client_ref(client);
    call->sequence = sequence;
    call->bytes = bytes;
    call->submitted_us = pc_wall_us();
    return call;
}

struct pc_call *pc_call_ref(struct pc_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

void pc_call_unref(struct pc_call *call)
{
    if (!call || atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1)
        return;
    pc_msg_unref(call->result);
    for (int i = 0; i < 2; i++) {
        if (call->output[i])
            pc_capture_fini(call->output[i]);
        free(call->output[i]);
    }
    pc_client_unref(call->client);
    free(call);
}

/* The table of pending calls owns one reference to each. */
static void forget(struct pc_client *client, struct pc_call *call)
{
    HASH_DEL(client->calls, call);
    client->pending--;
    client->pending_bytes -= call->bytes;
    pc_call_unref(call);
}

static void announce(struct pc_client *client, struct pc_call *call)
{
    call->next_ended = NULL;
    if (client->ended_last)
        client->ended_last->next_ended = call;
    else
        client->ended_first = call;
    client->ended_last = call;
    pthread_cond_signal(&client->ended);
}

/* Takes the reference to `result`. */
static void end_call(struct pc_client *client, struct pc_call *call, struct pc_msg *result,
                     const struct pc_result_body *body)
{
    call->result = result;
    call->times = *body;
    call->received_us = pc_wall_us();
    atomic_store_explicit(&call->status, body->status, memory_order_release);
    if (call->is_announced)
        announce(client, call);
    forget(client, call);
}

/* ---- losing the connection -------------------------------------------------------------- */

struct pc_msg *pc_failure_new(const char *ename, const char *text)
{
    struct pc_result_body body = {.status = PC_STATUS_FAILED, .completed_us = pc_wall_us()};
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "ename", ename);
    pc_json_put_str(json, "evalue", text);
    pc_json_put_str(json, "traceback", "");
    pc_json_put(json, "engine_info", pc_json_object());
    char *json_text = pc_json_print(json);
    pc_json_free(json);
    uint64_t size = json_text ? strlen(json_text) : 0;
    struct pc_msg *msg = pc_msg_new(PC_MSG_RESULT, PC_RESULT_BODY_SIZE, &size, 1);
    if (msg) {
        pc_result_encode(msg->body, &body);
        if (size)
            memcpy(msg->parts[0].data, json_text, size);
    }
    free(json_text);
    return msg;
}

/* Ends every pending call; from now on everything fails with the same error. */
static void lose(struct pc_client *client, enum pc_errc code, const char *text)
{
    struct pc_call *call, *next;
    if (client->lost.code != PC_OK)
        return;
    pc_err_set(&client->lost, code, "%s", text);
    struct pc_msg *failure =
        pc_failure_new(code == PC_E_CLOSED ? "ClientClosed" : "ConnectionLost", text);
    struct pc_result_body body = {.status = PC_STATUS_FAILED, .completed_us = pc_wall_us()};
    HASH_ITER (hh, client->calls, call, next) {
        end_call(client, call, failure ? pc_msg_ref(failure) : NULL, &body);
    }
    pc_msg_unref(failure);
    if (client->polling) /* the last one to leave its poll closes it */
        shutdown(client->sock.fd, SHUT_RDWR);
    else
        pc_sock_close(&client->sock);
    pthread_cond_broadcast(&client->filed);
    pthread_cond_broadcast(&client->ended);
}

static void lose_connection(struct pc_client *client, const struct pc_err *why)
{
    struct pc_err lost;
    pc_err_set(&lost, why->code == PC_E_PROTOCOL ? PC_E_PROTOCOL : PC_E_LOST,
               "the connection to the controller at %s is gone: %s", client->address,
               client->goodbye[0] ? client->goodbye : why->text);
    lose(client, lost.code, lost.text);
}

static int lost_error(const struct pc_client *client, struct pc_err *err)
{
    return pc_err_set(err, client->lost.code, "%s", client->lost.text);
}

/* ---- filing what arrives ---------------------------------------------------------------- */

static void send_acks(struct pc_client *client)
{
    if (!client->acks.size)
        return;
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RESULT_ACK, client->acks.data, client->acks.size);
    if (msg) {
        msg->head.session = client->session;
        if (pc_wire_send(&client->sock.wire, msg) == 0)
            client->acks.size = client->acked_bytes = 0;
        pc_msg_unref(msg);
    }
}

static int file_result(struct pc_client *client, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_result_body body;
    struct pc_call *call;
    if (pc_result_decode(msg, &body, err))
        return -1;
    HASH_FIND(hh, client->calls, &msg->head.sequence, sizeof(uint64_t), call);
    pc_buf_put_u64(&client->acks, msg->head.session);
    pc_buf_put_u64(&client->acks, msg->head.sequence);
    client->acked_bytes += msg->parts_bytes;
    if (call) {
        call->engine_id = msg->head.engine_id;
        end_call(client, call, pc_msg_ref(msg), &body);
    }
    if (client->acks.size >= ACK_COUNT * PC_ACK_SIZE || client->acked_bytes >= ACK_BYTES)
        send_acks(client);
    return 0;
}

static int file_stream(struct pc_client *client, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_call *call;
    uint8_t stream;
    if (pc_stream_decode(msg, &stream, err))
        return -1;
    HASH_FIND(hh, client->calls, &msg->head.sequence, sizeof(uint64_t), call);
    if (!call)
        return 0; /* printed after its task had ended */
    if (!call->output[stream]) {
        call->output[stream] = malloc(sizeof(struct pc_capture));
        if (!call->output[stream])
            return 0;
        pc_capture_init(call->output[stream]);
    }
    pc_capture_add(call->output[stream], msg->parts[0].data, msg->parts[0].size);
    return 0;
}

static int file_reply(struct pc_client *client, struct pc_msg *msg)
{
    for (struct pc_question *q = client->questions; q; q = q->next)
        if (q->sequence == msg->head.sequence && !q->reply)
            q->reply = pc_msg_ref(msg);
    return 0;
}

static int file_goodbye(struct pc_client *client, struct pc_msg *msg)
{
    pc_json *json = pc_json_of_msg(msg, NULL);
    snprintf(client->goodbye, sizeof(client->goodbye), "%s",
             pc_json_str_or(json, "reason", "the controller said goodbye"));
    pc_json_free(json);
    return 0;
}

static int file_message(struct pc_client *client, struct pc_msg *msg, struct pc_err *err)
{
    switch (msg->head.type) {
    case PC_MSG_RESULT:
        return file_result(client, msg, err);
    case PC_MSG_STREAM:
        return file_stream(client, msg, err);
    case PC_MSG_ENGINES:
        return pc_roster_update(&client->roster, msg, err);
    case PC_MSG_REPLY:
        return file_reply(client, msg);
    case PC_MSG_GOODBYE:
        return file_goodbye(client, msg);
    default:
        return pc_err_set(err, PC_E_PROTOCOL, "the controller sent %s, which a client can't take",
                          pc_msg_name(msg->head.type));
    }
}

/* Files all whole messages. Returns how many, -1 when the connection was lost. */
static int file_all(struct pc_client *client)
{
    struct pc_err err = {.code = PC_OK};
    int count = 0;
    for (;;) {
        struct pc_msg *msg = pc_wire_next(&client->sock.wire, &err);
        if (!msg && err.code == PC_OK)
            return count;
        int failed = !msg || file_message(client, msg, &err);
        pc_msg_unref(msg);
        if (failed) {
            lose_connection(client, &err);
            return -1;
        }
        client->filed_count++;
        count++;
    }
}

/* Reads what is there, without waiting. Returns the number of messages, -1 when lost. */
static int take_in(struct pc_client *client)
{
    struct pc_err err;
    int got = pc_sock_fill(&client->sock, MSG_DONTWAIT, &err);
    if (got > 0)
        return file_all(client);
    if (got == 0 || err.code == PC_E_INTERRUPTED)
        return 0;
    lose_connection(client, &err);
    return -1;
}

/* Writes what the system takes now. 1: all; 0: not all; -1: lost, after what the other side had
 * still sent was taken in. */
static int write_out(struct pc_client *client)
{
    struct pc_err err;
    int all = pc_sock_flush(&client->sock, MSG_DONTWAIT, &err);
    if (all >= 0)
        return all;
    if (err.code == PC_E_INTERRUPTED)
        return 0;
    while (client->lost.code == PC_OK && take_in(client) > 0)
        ;
    lose_connection(client, &err);
    return -1;
}

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
static int poll_unlocked(struct pc_client *client, struct pollfd *polled, nfds_t count,
                         int timeout_ms)
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

/* Is the reader for one turn: waits for the socket without the lock, files what came. */
static int read_turn(struct pc_client *client, int64_t deadline_ms, struct pc_err *err)
{
    struct pollfd polled[2] = {
        {.fd = client->sock.fd, .events = POLLIN},
        {.fd = client->wake_fd, .events = POLLIN},
    };
    int64_t left = deadline_ms < 0 ? -1 : deadline_ms - pc_clock_ms();
    if (pc_wire_queued(&client->sock.wire))
        polled[0].events |= POLLOUT;
    client->is_reading = true;
    int ready = poll_unlocked(client, polled, 2, left < 0 && deadline_ms >= 0 ? 0 : (int)left);
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
    if (polled[1].revents) {
        uint64_t count;
        ssize_t ignored = read(client->wake_fd, &count, sizeof(count));
        (void)ignored;
    }
    if (client->lost.code == PC_OK && (polled[0].revents & POLLOUT))
        write_out(client);
    if (client->lost.code == PC_OK && (polled[0].revents & ~POLLOUT)) {
        take_in(client);
        if (client->lost.code == PC_OK && pc_wire_queued(&client->sock.wire))
            write_out(client); /* acknowledgements */
    }
    client->read_ms = pc_clock_ms();
    return 0;
}

/* Waits until something may have changed. The lock is held on entry and return. */
static int wait_turn(struct pc_client *client, int64_t deadline_ms, struct pc_err *err)
{
    if (client->lost.code != PC_OK)
        return lost_error(client, err);
    if (!client->is_reading)
        return read_turn(client, deadline_ms, err);
    if (client->background_reads) { /* a thread in pc_next_ended makes room for one that waits */
        client->wants_reading++;
        pc_client_wake_reader(client);
    }
    int failed = wait_for_reader(client, deadline_ms, err);
    if (client->wants_reading)
        client->wants_reading--;
    return failed;
}

static int enter(struct pc_client *client, struct pc_err *err)
{
    if (client->pid != getpid())
        return pc_err_set(err, PC_E_FORKED,
                          "this client was made in process %d, before a fork; make a new Client in "
                          "the child",
                          (int)client->pid);
    pthread_mutex_lock(&client->lock);
    return 0;
}

static void leave(struct pc_client *client)
{
    pthread_mutex_unlock(&client->lock);
}

static int64_t deadline_after(int timeout_ms)
{
    return timeout_ms < 0 ? -1 : pc_clock_ms() + timeout_ms;
}

int pc_wait(struct pc_client *client, struct pc_call *const *calls, size_t count, int timeout_ms,
            struct pc_err *err)
{
    struct pc_err local;
    size_t first = 0;
    int64_t deadline = timeout_ms == 0 ? 0 : deadline_after(timeout_ms);
    int result = 0;
    if (!err)
        err = &local;
    if (enter(client, err))
        return -1;
    for (;;) {
        while (first < count && pc_call_status(calls[first]) != PC_STATUS_PENDING)
            first++;
        if (first == count)
            break;
        if (wait_turn(client, deadline, err)) {
            /* What came last may have been filed by the turn that timed out. */
            if (err->code == PC_E_TIMEOUT && pc_call_status(calls[first]) != PC_STATUS_PENDING)
                continue;
            result = -1;
            break;
        }
    }
    leave(client);
    return result;
}

int pc_dispatch(struct pc_client *client, int timeout_ms, struct pc_err *err)
{
    struct pc_err local;
    int result = 0;
    if (!err)
        err = &local;
    if (enter(client, err))
        return -1;
    uint64_t before = client->filed_count;
    if (wait_turn(client, timeout_ms == 0 ? 0 : deadline_after(timeout_ms), err))
        result = err->code == PC_E_TIMEOUT ? 0 : -1;
    else if (client->lost.code != PC_OK)
        result = lost_error(client, err);
    else
        result = (int)(client->filed_count - before);
    leave(client);
    return result;
}

/* ---- submitting ------------------------------------------------------------------------- */

static bool window_is_open(const struct pc_client *client, uint64_t bytes, size_t count)
{
    /* One request may always go when nothing else is under way, however large it is. */
    return client->pending == 0 || (client->pending_bytes + bytes <= client->window_bytes &&
                                    client->pending + count <= client->window_count);
}

/* Sends everything that is queued, which may refer to the caller's memory. Receives meanwhile, so
 * that two full directions can't block each other. */
static int send_all(struct pc_client *client)
{
    for (;;) {
        int all = write_out(client);
        if (all)
            return all < 0 ? -1 : 0;
        struct pc_err err;
        if (!client->is_reading) {
            if (read_turn(client, -1, &err) == 0 || err.code != PC_E_INTERRUPTED)
                continue;
        } else {
            struct pollfd polled = {.fd = client->sock.fd, .events = POLLOUT};
            int ready = poll_unlocked(client, &polled, 1, WAIT_SLICE_MS);
            if (client->lost.code != PC_OK)
                return -1;
            if (ready >= 0 || errno != EINTR)
                continue;
        }
        if (client->lost.code != PC_OK)
            return -1;
        /* A signal: its handler must run soon. Whoever reads next sends the rest. */
        if (pc_wire_settle(&client->sock.wire) == 0)
            return 0;
    }
}

static struct pc_msg *submit_message(struct pc_client *client, const struct pc_request *request,
                                     struct pc_err *err)
{
    struct pc_buf body, targets;
    struct pc_msg *msg = NULL;
    size_t label_size = request->label ? strlen(request->label) : 0;
    pc_buf_init(&body, 0);
    pc_buf_init(&targets, 0);
    for (size_t i = 0; i < request->target_count; i++)
        pc_buf_put_u32(&targets, request->targets[i]);
    struct pc_submit_body fields = {
        .kind = (uint8_t)request->kind,
        .flags = request->is_balanced ? PC_SUBMIT_BALANCED : 0,
        .run_flags = request->flags,
        .target_count = (uint32_t)request->target_count,
        .targets = targets.data,
        .label_size = (uint16_t)(label_size > PC_LABEL_MAX ? PC_LABEL_MAX : label_size),
        .label = request->label,
    };
    if (!targets.failed && pc_submit_encode(&body, &fields) == 0)
        msg = pc_msg_borrowing(PC_MSG_SUBMIT, body.data, body.size, request->parts,
                               (uint16_t)request->part_count);
    if (!msg)
        pc_err_set(err, PC_E_MEMORY, "out of memory");
    pc_buf_fini(&body);
    pc_buf_fini(&targets);
    return msg;
}

static int check_request(const struct pc_request *request, struct pc_err *err)
{
    if (!request->is_balanced && request->target_count == 0)
        return pc_err_set(err, PC_E_NO_ENGINE, "no engine was named");
    if (request->target_count > PC_TARGETS_MAX)
        return pc_err_set(err, PC_E_INVALID, "%zu targets; at most %d are possible",
                          request->target_count, PC_TARGETS_MAX);
    if (request->part_count > PC_PARTS_MAX)
        return pc_err_set(err, PC_E_INVALID, "%zu buffers in one call; at most %d are possible",
                          request->part_count, PC_PARTS_MAX);
    return 0;
}

/* Makes the calls and enters them in the table; all or nothing. */
static int register_calls(struct pc_client *client, struct pc_call **calls, size_t count,
                          uint64_t bytes, struct pc_err *err)
{
    for (size_t i = 0; i < count; i++) {
        /* The first call carries the bytes of all: the body is sent once. */
        calls[i] = call_new(client, client->sequence + i, i == 0 ? bytes : 0);
        if (!calls[i]) {
            while (i-- > 0)
                pc_call_unref(calls[i]);
            return pc_err_set(err, PC_E_MEMORY, "out of memory");
        }
    }
    for (size_t i = 0; i < count; i++) {
        HASH_ADD(hh, client->calls, sequence, sizeof(uint64_t), pc_call_ref(calls[i]));
        client->pending_bytes += calls[i]->bytes;
    }
    client->pending += count;
    client->sequence += count;
    return 0;
}

/* Waits until the window is open and no other thread is in the middle of sending. */
static int wait_to_send(struct pc_client *client, uint64_t bytes, size_t count, struct pc_err *err)
{
    while (client->is_sending || !window_is_open(client, bytes, count))
        if (wait_turn(client, -1, err))
            return -1;
    return client->lost.code == PC_OK ? 0 : lost_error(client, err);
}

int pc_submit(struct pc_client *client, const struct pc_request *request, struct pc_call **calls,
              struct pc_err *err)
{
    struct pc_err local;
    size_t count = request->is_balanced ? 1 : request->target_count;
    int result = -1;
    if (!err)
        err = &local;
    if (check_request(request, err) || enter(client, err))
        return -1;
    struct pc_msg *msg = submit_message(client, request, err);
    if (!msg || wait_to_send(client, msg->parts_bytes, count, err))
        goto out;
    msg->head.session = client->session;
    msg->head.sequence = client->sequence;
    if (register_calls(client, calls, count, msg->parts_bytes, err))
        goto out;
    send_acks(client);
    client->is_sending = true;
    if (pc_wire_send(&client->sock.wire, msg))
        lose(client, PC_E_MEMORY, "out of memory while sending");
    else
        send_all(client);
    client->is_sending = false;
    if (client->waiting)
        pthread_cond_broadcast(&client->filed);
    if (!request->will_wait && client->background_sleeps)
        pthread_cond_signal(&client->ended);
    result = 0; /* when the connection was lost on the way the calls have ended, saying so */
out:
    leave(client);
    pc_msg_unref(msg);
    return result;
}

/* ---- what became of a call -------------------------------------------------------------- */

uint64_t pc_call_session(const struct pc_call *call)
{
    return call->client->session;
}

uint64_t pc_call_sequence(const struct pc_call *call)
{
    return call->sequence;
}

enum pc_status pc_call_status(const struct pc_call *call)
{
    return (enum pc_status)atomic_load_explicit(&call->status, memory_order_acquire);
}

int pc_call_result(const struct pc_call *call, struct pc_result *result)
{
    enum pc_status status = pc_call_status(call);
    if (status == PC_STATUS_PENDING)
        return -1;
    *result = (struct pc_result){
        .status = status,
        .engine_id = call->engine_id,
        .submitted_us = call->times.submitted_us ? call->times.submitted_us : call->submitted_us,
        .started_us = call->times.started_us,
        .completed_us = call->times.completed_us,
        .received_us = call->received_us,
        .part_count = call->result ? call->result->head.part_count : 0,
    };
    return 0;
}

int pc_call_part(const struct pc_call *call, size_t index, void **data, size_t *size)
{
    if (pc_call_status(call) == PC_STATUS_PENDING || !call->result ||
        index >= call->result->head.part_count)
        return -1;
    *data = call->result->parts[index].data;
    *size = call->result->parts[index].size;
    return 0;
}

static int read_output(struct pc_call *call, enum pc_stream stream, bool take, char **data,
                       size_t *size)
{
    *data = NULL;
    *size = 0;
    pthread_mutex_lock(&call->client->lock);
    struct pc_capture *capture = call->output[stream];
    if (capture) {
        *data = pc_capture_text(capture, size);
        if (take)
            pc_capture_fini(capture);
    }
    pthread_mutex_unlock(&call->client->lock);
    return 0;
}

int pc_call_output(struct pc_call *call, enum pc_stream stream, char **data, size_t *size)
{
    return read_output(call, stream, false, data, size);
}

int pc_call_take_output(struct pc_call *call, enum pc_stream stream, char **data, size_t *size)
{
    return read_output(call, stream, true, data, size);
}

/* ---- announcing ------------------------------------------------------------------------- */

void pc_call_announce(struct pc_call *call)
{
    struct pc_client *client = call->client;
    pthread_mutex_lock(&client->lock);
    if (!call->is_announced) {
        call->is_announced = true;
        pc_call_ref(call);
        if (pc_call_status(call) != PC_STATUS_PENDING)
            announce(client, call);
        else if (client->background_sleeps)
            pthread_cond_signal(&client->ended);
    }
    pthread_mutex_unlock(&client->lock);
}

static struct pc_call *take_ended(struct pc_client *client)
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
    if (!client->pending) {
        wait_ended(client, deadline_ms, -1);
    } else if (client->is_reading || client->wants_reading) {
        wait_ended(client, deadline_ms, WAIT_SLICE_MS / 2);
    } else if (now - client->read_ms < TAKE_OVER_MS) {
        wait_ended(client, deadline_ms, TAKE_OVER_MS);
    } else {
        client->background_reads = true;
        int failed = read_turn(client, deadline_ms, err);
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
    int64_t deadline = deadline_after(timeout_ms);
    if (!err)
        err = &local;
    if (enter(client, err))
        return NULL;
    while (!(call = take_ended(client))) {
        if (client->lost.code != PC_OK) {
            lost_error(client, err);
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
    leave(client);
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
    pthread_mutex_lock(&client->lock);
    client->is_woken = true;
    if (client->background_reads)
        pc_client_wake_reader(client);
    pthread_cond_broadcast(&client->ended);
    pthread_mutex_unlock(&client->lock);
}

size_t pc_client_pending(const struct pc_client *client)
{
    struct pc_client *c = (struct pc_client *)(uintptr_t)client;
    pthread_mutex_lock(&c->lock);
    size_t pending = c->pending;
    pthread_mutex_unlock(&c->lock);
    return pending;
}

int pc_client_outstanding(struct pc_client *client, struct pc_call ***calls, size_t *count,
                          struct pc_err *err)
{
    struct pc_call *call, *next, **list;
    size_t n = 0;
    if (enter(client, err))
        return -1;
    while (client->lost.code == PC_OK && !client->is_reading && take_in(client) > 0)
        ;
    list = malloc((client->pending + 1) * sizeof(struct pc_call *));
    if (list) {
        HASH_ITER (hh, client->calls, call, next) /* in the order of submission */
            list[n++] = pc_call_ref(call);
    }
    leave(client);
    if (!list)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    *calls = list;
    *count = n;
    return 0;
}

void pc_calls_free(struct pc_call **calls)
{
    free(calls);
}

/* ---- asking ----------------------------------------------------------------------------- */

static int send_query(struct pc_client *client, const char *json, uint64_t sequence,
                      struct pc_err *err)
{
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_QUERY, json, strlen(json));
    if (!msg)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    msg->head.session = client->session;
    msg->head.sequence = sequence;
    int failed = pc_wire_send(&client->sock.wire, msg);
    pc_msg_unref(msg);
    if (failed)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    return send_all(client) && client->lost.code != PC_OK ? lost_error(client, err) : 0;
}

int pc_query(struct pc_client *client, const char *json, int timeout_ms, char **reply,
             struct pc_err *err)
{
    struct pc_err local;
    int64_t deadline = pc_clock_ms() + (timeout_ms > 0 ? timeout_ms : 10000);
    if (!err)
        err = &local;
    if (enter(client, err))
        return -1;
    struct pc_question question = {.next = client->questions};
    int failed = wait_to_send(client, 0, 0, err);
    question.sequence = client->sequence++;
    client->questions = &question;
    if (!failed)
        failed = send_query(client, json, question.sequence, err);
    while (!failed && !question.reply)
        if (wait_turn(client, deadline, err) && err->code != PC_E_INTERRUPTED)
            failed = -1;
    for (struct pc_question **q = &client->questions; *q; q = &(*q)->next)
        if (*q == &question) {
            *q = question.next;
            break;
        }
    leave(client);
    if (question.reply) {
        *reply = strndup((const char *)question.reply->body, question.reply->head.body_size);
        failed = *reply ? 0 : pc_err_set(err, PC_E_MEMORY, "out of memory");
    } else if (err->code == PC_E_TIMEOUT) {
        pc_err_set(err, PC_E_TIMEOUT, "the controller at %s did not answer the query in time",
                   client->address);
    }
    pc_msg_unref(question.reply);
    return failed ? -1 : 0;
}

/* ---- engines ---------------------------------------------------------------------------- */

int pc_client_check(struct pc_client *client, struct pc_err *err)
{
    if (enter(client, err))
        return -1;
    while (client->lost.code == PC_OK && !client->is_reading && take_in(client) > 0)
        ;
    int result = client->lost.code == PC_OK ? 0 : lost_error(client, err);
    leave(client);
    return result;
}

int pc_client_engines(struct pc_client *client, struct pc_engine **list, size_t *count,
                      struct pc_err *err)
{
    int result = -1;
    if (enter(client, err))
        return -1;
    while (client->lost.code == PC_OK && !client->is_reading && take_in(client) > 0)
        ;
    if (client->lost.code != PC_OK)
        lost_error(client, err);
    else
        result = pc_roster_copy(&client->roster, list, count, err);
    leave(client);
    return result;
}

void pc_engines_free(struct pc_engine *list)
{
    free(list);
}

uint64_t pc_client_engines_generation(const struct pc_client *client)
{
    struct pc_client *c = (struct pc_client *)(uintptr_t)client;
    pthread_mutex_lock(&c->lock);
    uint64_t generation = c->roster.generation;
    pthread_mutex_unlock(&c->lock);
    return generation;
}

const char *pc_client_info(const struct pc_client *client)
{
    return client->info;
}

/* ---- closing ---------------------------------------------------------------------------- */

struct pc_client *pc_client_ref(struct pc_client *client)
{
    atomic_fetch_add_explicit(&client->refs, 1, memory_order_relaxed);
    return client;
}

void pc_client_unref(struct pc_client *client)
{
    if (!client || atomic_fetch_sub_explicit(&client->refs, 1, memory_order_acq_rel) != 1)
        return;
    pc_sock_close(&client->sock);
    pc_roster_fini(&client->roster);
    pc_buf_fini(&client->acks);
    pthread_cond_destroy(&client->filed);
    pthread_cond_destroy(&client->ended);
    pthread_mutex_destroy(&client->lock);
    if (client->wake_fd >= 0)
        close(client->wake_fd);
    free(client->info);
    free(client);
}

static void drop_ended(struct pc_client *client)
{
    struct pc_call *call;
    while ((call = take_ended(client)) != NULL)
        pc_call_unref(call);
}

static void end_connection(struct pc_client *client)
{
    if (client->lost.code == PC_OK) {
        struct pc_msg *msg = pc_msg_with_body(PC_MSG_GOODBYE, "{}", 2);
        send_acks(client);
        if (msg && pc_wire_send(&client->sock.wire, msg) == 0)
            write_out(client);
        pc_msg_unref(msg);
    }
    lose(client, PC_E_CLOSED, "the client was closed");
}

void pc_client_shutdown(struct pc_client *client)
{
    if (client->pid != getpid())
        return;
    pthread_mutex_lock(&client->lock);
    end_connection(client);
    if (client->is_reading)
        pc_client_wake_reader(client);
    pthread_mutex_unlock(&client->lock);
}

void pc_client_close(struct pc_client *client)
{
    if (!client)
        return;
    if (client->pid == getpid()) {
        pthread_mutex_lock(&client->lock);
        end_connection(client);
        drop_ended(client);
        pthread_mutex_unlock(&client->lock);
    } else if (client->sock.fd >= 0) {
        /* A forked child: the parent still uses the connection; say nothing on it. */
        close(client->sock.fd);
        client->sock.fd = -1;
    }
    pc_client_unref(client);
}
