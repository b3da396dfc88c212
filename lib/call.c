/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls: their life, and what became of them. */
#include "lib/client.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/proto.h"

/* ---- life of calls ---------------------------------------------------------------------- */

struct pc_call *pc_call_new(struct pc_client *client, uint64_t sequence, uint64_t bytes)
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
    if (call)
        atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

void pc_call_free(struct pc_call *call)
{
    pc_call_drop_request(call);
    pc_msg_unref(call->result);
    pc_msg_unref(call->published);
    for (int i = 0; i < 3; i++) {
        if (call->output[i])
            pc_capture_fini(call->output[i]);
        free(call->output[i]);
    }
    pc_client_unref(call->client);
    free(call->label);
    free(call);
}

static bool was_last(struct pc_call *call)
{
    return atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1;
}

void pc_call_drop(struct pc_call *call)
{
    if (was_last(call) && pc_client_release(call->client, call))
        pc_call_free(call);
}

void pc_call_unref(struct pc_call *call)
{
    if (!call || !was_last(call))
        return;
    bool is_free = true;
    if (pc_client_enter(call->client, NULL) == 0) { /* in a forked child the table is given up */
        struct pc_client *client = call->client;
        is_free = pc_client_release(client, call);
        pc_client_leave(client);
    }
    if (is_free)
        pc_call_free(call);
}

static void forget(struct pc_client *client, struct pc_call *call)
{
    DL_DELETE(client->pending_first, call);
    client->pending--;
    client->pending_bytes -= call->bytes;
    pc_call_drop(call);
}

void pc_client_announce(struct pc_client *client, struct pc_call *call)
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
void pc_client_end_call(struct pc_client *client, struct pc_call *call, struct pc_msg *result,
                        const struct pc_result_body *body)
{
    pc_call_drop_request(call);
    call->result = result;
    call->times = *body;
    call->received_us = pc_wall_us();
    atomic_store_explicit(&call->status, body->status, memory_order_release);
    if (call->is_announced) {
        client->awaited--;
        pc_client_announce(client, call);
    }
    if (client->loop)
        pc_loop_note(client, call);
    forget(client, call);
}

/* ---- what became of a call -------------------------------------------------------------- */

/* The one thing that changes in a call by looking at it. */
static void mark_read(const struct pc_call *call)
{
    struct pc_call *c = (struct pc_call *)(uintptr_t)call;
    atomic_store_explicit(&c->is_read, true, memory_order_relaxed);
}

uint64_t pc_call_session(const struct pc_call *call)
{
    if (!call)
        return 0;
    return call->is_fetched ? call->fetched.session : call->client->session;
}

uint64_t pc_call_sequence(const struct pc_call *call)
{
    if (!call)
        return 0;
    return call->is_fetched ? call->fetched.sequence : call->sequence;
}

enum pc_kind pc_call_kind(const struct pc_call *call)
{
    return call ? (enum pc_kind)call->kind : PC_KIND_NONE;
}

unsigned pc_call_flags(const struct pc_call *call)
{
    return call ? call->run_flags : 0;
}

const char *pc_call_label(const struct pc_call *call)
{
    return call ? call->label : NULL;
}

uint32_t pc_call_engine(struct pc_call *call)
{
    if (!call || pc_client_enter(call->client, NULL))
        return PC_NO_ENGINE;
    uint32_t engine_id = call->engine_id;
    pc_client_leave(call->client);
    return engine_id;
}

enum pc_status pc_call_status(const struct pc_call *call)
{
    if (!call)
        return PC_STATUS_FAILED;
    return (enum pc_status)atomic_load_explicit(&call->status, memory_order_acquire);
}

int pc_call_result(const struct pc_call *call, struct pc_result *result)
{
    enum pc_status status = pc_call_status(call);
    if (!call || status == PC_STATUS_PENDING)
        return -1;
    if (!call->result || !call->result->head.part_count)
        mark_read(call);
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
    if (!call || pc_call_status(call) == PC_STATUS_PENDING || !call->result ||
        index >= call->result->head.part_count)
        return -1;
    mark_read(call);
    *data = call->result->parts[index].data;
    *size = call->result->parts[index].size;
    return 0;
}

static int read_output(struct pc_call *call, enum pc_stream stream, uint64_t *since, bool take,
                       char **data, size_t *size)
{
    *data = NULL;
    *size = 0;
    if (!call || (unsigned)stream > PC_STREAM_DISPLAY || pc_client_enter(call->client, NULL))
        return -1;
    struct pc_capture *capture = call->output[stream];
    if (capture) {
        *data = pc_capture_since(capture, since, size);
        if (take)
            pc_capture_take(capture);
    }
    pc_client_leave(call->client);
    return 0;
}

int pc_call_output(struct pc_call *call, enum pc_stream stream, char **data, size_t *size)
{
    uint64_t since = 0;
    return read_output(call, stream, &since, false, data, size);
}

int pc_call_output_since(struct pc_call *call, enum pc_stream stream, uint64_t *since, char **data,
                         size_t *size)
{
    return read_output(call, stream, since, false, data, size);
}

int pc_call_take_output(struct pc_call *call, enum pc_stream stream, char **data, size_t *size)
{
    uint64_t since = 0;
    return read_output(call, stream, &since, true, data, size);
}

int pc_call_published(struct pc_call *call, void **data, size_t *size)
{
    int result = 0;
    *data = NULL;
    *size = 0;
    if (!call || pc_client_enter(call->client, NULL))
        return -1;
    if (call->published) {
        const struct pc_part *part = &call->published->parts[0];
        *size = (size_t)part->size;
        *data = malloc(*size + 1);
        if (*data)
            memcpy(*data, part->data, *size);
        else
            result = -1;
    }
    pc_client_leave(call->client);
    return result;
}

/* ---- announcing ------------------------------------------------------------------------- */

void pc_call_announce(struct pc_call *call)
{
    struct pc_client *client = call ? call->client : NULL;
    if (pc_client_enter(client, NULL))
        return; /* a forked child: nothing will ever end here */
    if (!call->is_announced) {
        call->is_announced = true;
        pc_call_ref(call);
        if (pc_call_status(call) != PC_STATUS_PENDING) {
            pc_client_announce(client, call);
        } else {
            client->awaited++;
            pthread_cond_signal(&client->ended); /* somebody has to read, and soon */
        }
    }
    pc_client_leave(client);
}
