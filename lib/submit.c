/* SPDX-License-Identifier: BSD-3-Clause */
/* Submitting: from a request to bytes that the system has taken, and questions likewise. */
#include "lib/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/clock.h"
#include "lib/proto.h"

#define LINGER_US    250         /* since the last write: so close it may wait for company ... */
#define LINGER_BYTES (32 * 1024) /* ... until so much has come together */
#define LINGER_ONE   4096        /* larger requests don't wait */
#define COPY_MAX     (64 * 1024)
#define SEND_SLICE_MS                                                                              \
    100 /* while another thread reads, look so often whether it lost the connection */

/* ---- submitting ------------------------------------------------------------------------- */

void pc_client_set_window(struct pc_client *client, const pc_json *json)
{
    client->window_count = (size_t)pc_json_i64_or(json, "window_count", 1000000);
    client->window_bytes = (uint64_t)pc_json_i64_or(json, "window_bytes", 1 << 30);
}

/* `count` 0: a question. */
static bool window_is_open(const struct pc_client *client, uint64_t bytes, size_t count)
{
    /* One request may always go when nothing else is under way, however large it is. */
    return client->pending == 0 || count == 0 ||
           (client->pending_bytes + bytes <= client->window_bytes &&
            client->pending + count <= client->window_count);
}

/* Sends everything that is queued, which may refer to the caller's memory. Receives meanwhile, so
 * that two full directions can't block each other. */
int pc_client_send_all(struct pc_client *client)
{
    for (;;) {
        int all = pc_client_write_out(client);
        struct pc_err err;
        if (client->is_cut && !client->is_reading) /* all of it is kept */
            pc_client_reconnect_turn(client, 0, &err);
        if (all)
            return client->lost.code == PC_OK ? 0 : -1;
        if (!client->is_reading) {
            if (pc_client_read_turn(client, -1, &err) == 0 || err.code != PC_E_INTERRUPTED)
                continue;
        } else {
            struct pollfd polled = {.fd = client->sock.fd, .events = POLLOUT};
            int ready = pc_client_poll(client, &polled, 1, SEND_SLICE_MS);
            if (client->lost.code != PC_OK)
                return -1;
            if (ready >= 0 || errno != EINTR)
                continue;
        }
        if (client->lost.code != PC_OK)
            return -1;
        /* A signal: its handler must run soon. Whoever comes next sends the rest. */
        if (pc_wire_settle(&client->sock.wire) == 0) {
            client->lingers = true;
            return 0;
        }
    }
}

static void put_ids(struct pc_buf *out, const struct pc_needs *needs)
{
    for (size_t i = 0; i < needs->count; i++) {
        pc_buf_put_u64(out, needs->tasks[i].session);
        pc_buf_put_u64(out, needs->tasks[i].sequence);
    }
}

/* The ids are put into `ids`, the tags into `tags`; both must stay while `fields` is used. */
static int fill_options(struct pc_submit_body *fields, const struct pc_task_options *options,
                        struct pc_buf *ids, char tags[PC_TAGS_MAX + 1], struct pc_err *err)
{
    tags[0] = '\0';
    if (options->tags && *options->tags && pc_tags_add(tags, options->tags, err))
        return -1;
    fields->tags = tags;
    fields->tags_size = (uint16_t)strlen(tags);
    put_ids(ids, &options->after);
    put_ids(ids, &options->follow);
    fields->flags |= PC_SUBMIT_OPTIONS | (options->retry_same ? PC_SUBMIT_RETRY_SAME : 0);
    fields->priority = options->priority;
    fields->retries = options->retries;
    fields->timeout_ms = options->timeout_ms;
    fields->run_timeout_ms = options->run_timeout_ms;
    fields->after = (struct pc_submit_needs){.rule = (uint8_t)options->after.rule,
                                             .count = (uint32_t)options->after.count,
                                             .tasks = ids->data};
    fields->follow = (struct pc_submit_needs){.rule = (uint8_t)options->follow.rule,
                                              .count = (uint32_t)options->follow.count};
    if (!ids->failed && ids->data)
        fields->follow.tasks = ids->data + options->after.count * PC_ACK_SIZE;
    return 0;
}

/* A small request is kept until it has arrived. A larger one can be repeated only while its memory
 * is ours: while the caller waits for it to be sent. */
static bool is_copied(const struct pc_client *client, const struct pc_request *request)
{
    size_t bytes = 0;
    for (size_t i = 0; i < request->part_count; i++)
        bytes += request->parts[i].size;
    return client->grace_ms && bytes <= COPY_MAX;
}

static struct pc_msg *submit_message(struct pc_client *client, const struct pc_request *request,
                                     bool is_durable, struct pc_err *err)
{
    struct pc_buf body, targets, ids;
    struct pc_msg *msg = NULL;
    char tags[PC_TAGS_MAX + 1];
    size_t label_size = request->label ? strlen(request->label) : 0;
    pc_buf_init(&body, 0);
    pc_buf_init(&targets, 0);
    pc_buf_init(&ids, 0);
    for (size_t i = 0; i < request->target_count; i++)
        pc_buf_put_u32(&targets, request->targets[i]);
    struct pc_submit_body fields = {
        .kind = (uint8_t)request->kind,
        .flags =
            (request->is_balanced ? PC_SUBMIT_BALANCED : 0) | (is_durable ? PC_SUBMIT_DURABLE : 0),
        .run_flags = request->flags,
        .target_count = (uint32_t)request->target_count,
        .targets = targets.data,
        .label_size = (uint16_t)(label_size > PC_LABEL_MAX ? PC_LABEL_MAX : label_size),
        .label = request->label,
    };
    if (request->options && fill_options(&fields, request->options, &ids, tags, err))
        goto out;
    if (request->function) {
        fields.flags |= PC_SUBMIT_NAMED;
        fields.function = request->function->msg->body;
    }
    if (!targets.failed && !ids.failed && pc_submit_encode(&body, &fields) == 0)
        msg = (is_copied(client, request) ? pc_msg_copying : pc_msg_borrowing)(
            PC_MSG_SUBMIT, body.data, body.size, request->parts, (uint16_t)request->part_count);
    if (!msg)
        pc_err_set(err, PC_E_MEMORY, "out of memory");
out:
    pc_buf_fini(&body);
    pc_buf_fini(&targets);
    pc_buf_fini(&ids);
    return msg;
}

static struct pc_call *call_for(struct pc_client *client, const struct pc_request *request,
                                size_t index, uint64_t bytes)
{
    /* The first call carries the bytes of all: the body is sent once. */
    struct pc_call *call = pc_call_new(client, client->sequence + index, index == 0 ? bytes : 0);
    if (!call)
        return NULL;
    call->engine_id = request->is_balanced ? PC_NO_ENGINE : request->targets[index];
    call->kind = (uint8_t)request->kind;
    call->run_flags = request->flags;
    if (request->label && !(call->label = strdup(request->label))) {
        pc_call_free(call);
        return NULL;
    }
    return call;
}

/* Makes the calls and enters them in the table; all or nothing. */
int pc_client_register_calls(struct pc_client *client, const struct pc_request *request,
                             struct pc_call **calls, size_t count, uint64_t bytes,
                             struct pc_err *err)
{
    for (size_t i = 0; i < count; i++) {
        calls[i] = call_for(client, request, i, bytes);
        if (!calls[i] || pc_index_add(&client->calls, 0, calls[i]->sequence, calls[i])) {
            if (calls[i])
                pc_call_free(calls[i]);
            while (i-- > 0) {
                pc_index_remove(&client->calls, 0, calls[i]->sequence);
                pc_call_free(calls[i]);
            }
            return pc_err_set(err, PC_E_MEMORY, "out of memory");
        }
    }
    for (size_t i = 0; i < count; i++) {
        pc_call_ref(calls[i]);
        DL_APPEND(client->pending_first, calls[i]);
        client->pending_bytes += calls[i]->bytes;
    }
    client->pending += count;
    client->sequence += count;
    return 0;
}

static int window_full(const struct pc_client *client, struct pc_err *err)
{
    return pc_err_set(err, PC_E_FULL,
                      "%zu tasks with %llu bytes have not ended; a client may have %zu tasks and "
                      "%llu bytes: wait for some results first, or allow more with 'pcluster sched "
                      "--max-tasks N --max-bytes SIZE'",
                      client->pending, (unsigned long long)client->pending_bytes,
                      client->window_count, (unsigned long long)client->window_bytes);
}

/* Takes in results that have arrived, without waiting; whether the window is open then. */
static bool catch_up(struct pc_client *client, uint64_t bytes, size_t count)
{
    if (client->lingers)
        pc_client_write_out(client);
    while (client->lost.code == PC_OK && !client->is_reading && pc_client_take_in(client) > 0)
        ;
    return window_is_open(client, bytes, count);
}

/* Waits until no other thread is in the middle of sending and the window is open; with
 * `never_waits` that must be now. */
int pc_client_wait_to_send(struct pc_client *client, uint64_t bytes, size_t count, bool never_waits,
                           struct pc_err *err)
{
    while (client->is_sending || client->is_cut || !window_is_open(client, bytes, count)) {
        bool is_refused = never_waits && !client->is_sending && !client->is_cut &&
                          client->lost.code == PC_OK && !catch_up(client, bytes, count) &&
                          client->lost.code == PC_OK;
        if (is_refused)
            return window_full(client, err);
        if (!window_is_open(client, bytes, count) || client->is_sending || client->is_cut)
            if (pc_client_wait_turn(client, -1, err))
                return -1;
    }
    return client->lost.code == PC_OK ? 0 : pc_client_lost_error(client, err);
}

/* A lone submission never waits; of those in a rush each write takes many. */
static bool may_linger(const struct pc_client *client, const struct pc_request *request,
                       const struct pc_msg *msg)
{
    return request->may_linger && !request->will_wait && pc_msg_wire_size(msg) <= LINGER_ONE &&
           pc_wire_queued(&client->sock.wire) <= LINGER_BYTES &&
           pc_clock_us() - client->written_us < LINGER_US;
}

/* Bytes of the function that have to travel with this request. */
static uint64_t function_bytes(const struct pc_client *client, const struct pc_function *function)
{
    if (!function || pc_known_find(&client->known, function->msg->body))
        return 0;
    return function->msg->parts_bytes;
}

int pc_client_send_function(struct pc_client *client, const struct pc_function *function)
{
    if (!function || pc_known_use(&client->known, function->msg->body))
        return 0;
    if (!pc_known_add(&client->known, function->msg->body, function->msg->parts_bytes, NULL))
        return -1;
    return pc_client_queue(client, function->msg);
}

/* Afterwards the caller's memory is not needed any more. */
static void send_submission(struct pc_client *client, const struct pc_msg *msg, bool is_kept)
{
    struct pc_err err;
    pc_client_send_all(client);
    while (!is_kept && client->is_cut) {
        pc_client_wait_turn(client, -1, &err);
        pc_client_send_all(client);
    }
    if (!is_kept)
        pc_lifeline_give_up(&client->lifeline, msg);
}

int pc_submit(struct pc_client *client, const struct pc_request *request, struct pc_call **calls,
              struct pc_err *err)
{
    struct pc_err local;
    int result = -1;
    if (!err)
        err = &local;
    if (!calls)
        return pc_err_set(err, PC_E_INVALID, "there is no place for the calls");
    if (pc_request_check(request, err) || pc_client_enter(client, err))
        return -1;
    size_t count = request->is_balanced ? 1 : request->target_count;
    int is_durable = pc_request_durable(client, request, err);
    struct pc_msg *msg = is_durable < 0 ? NULL : submit_message(client, request, is_durable, err);
    if (!msg)
        goto out;
    uint64_t bytes =
        msg->parts_bytes + msg->head.body_size + function_bytes(client, request->function);
    if (pc_client_wait_to_send(client, bytes, count, request->never_waits, err))
        goto out;
    msg->head.session = client->session;
    msg->head.sequence = client->sequence;
    if (pc_client_register_calls(client, request, calls, count, bytes, err))
        goto out;
    pc_client_send_acks(client);
    bool is_kept = is_copied(client, request);
    client->is_sending = true;
    if (pc_client_send_function(client, request->function) || pc_client_queue(client, msg))
        pc_client_lose(client, PC_E_MEMORY, "out of memory while sending");
    for (size_t i = 0; i < count; i++) {
        calls[i]->number = client->lifeline.sent;
        calls[i]->is_durable = is_durable;
        calls[i]->request = is_kept ? pc_msg_ref(msg) : NULL;
        calls[i]->function = is_kept ? pc_function_ref(request->function) : NULL;
    }
    if (client->lost.code == PC_OK && may_linger(client, request, msg))
        client->lingers = true;
    else if (client->lost.code == PC_OK)
        send_submission(client, msg, is_kept);
    client->is_sending = false;
    if (client->waiting)
        pthread_cond_broadcast(&client->filed);
    if (!request->will_wait && client->background_sleeps)
        pthread_cond_signal(&client->ended);
    result = 0; /* when the connection was lost on the way the calls have ended, saying so */
out:
    pc_client_leave(client);
    pc_msg_unref(msg);
    return result;
}

bool pc_client_lingers(const struct pc_client *client)
{
    return client && atomic_load_explicit(&client->lingers, memory_order_relaxed);
}

void pc_client_flush(struct pc_client *client)
{
    if (pc_client_enter(client, NULL))
        return;
    if (client->lingers && pc_clock_us() - client->written_us >= LINGER_US)
        pc_client_write_out(client);
    pc_client_leave(client);
}
