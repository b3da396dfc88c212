/* SPDX-License-Identifier: BSD-3-Clause */
/* What arrives is filed here: results to their calls, output, news of engines; and the end of the
 * connection, which ends every call. All of it runs under the client's lock. */
#include "lib/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/proto.h"

#define ACK_COUNT 32            /* results received before they are acknowledged ... */
#define ACK_BYTES (1024 * 1024) /* ... or bytes of results */

/* ---- losing the connection -------------------------------------------------------------- */

/* Ends every pending call; from now on everything fails with the same error. */
void pc_client_lose(struct pc_client *client, enum pc_errc code, const char *text)
{
    struct pc_call *call, *next;
    if (client->lost.code != PC_OK)
        return;
    pc_err_set(&client->lost, code, "%s", text);
    client->lingers = client->is_cut = false;
    struct pc_msg *failure =
        pc_failure_new(code == PC_E_CLOSED ? "ClientClosed" : "ConnectionLost", text);
    struct pc_result_body body = {.status = PC_STATUS_FAILED, .completed_us = pc_wall_us()};
    DL_FOREACH_SAFE (client->pending_first, call, next)
        pc_client_end_call(client, call, failure ? pc_msg_ref(failure) : NULL, &body);
    pc_msg_unref(failure);
    if (client->polling) /* the last one to leave its poll closes it */
        shutdown(client->sock.fd, SHUT_RDWR);
    else
        pc_sock_close(&client->sock);
    if (client->loop)
        pc_loop_ring(client);
    pthread_cond_broadcast(&client->filed);
    pthread_cond_broadcast(&client->ended);
}

void pc_client_lose_connection(struct pc_client *client, const struct pc_err *why)
{
    struct pc_err lost;
    pc_err_set(&lost, why->code == PC_E_PROTOCOL ? PC_E_PROTOCOL : PC_E_LOST,
               "the connection to the controller at %s is gone: %s", client->address,
               client->goodbye[0] ? client->goodbye : why->text);
    pc_client_lose(client, lost.code, lost.text);
}

int pc_client_lost_error(const struct pc_client *client, struct pc_err *err)
{
    return pc_err_set(err, client->lost.code, "%s", client->lost.text);
}

/* ---- filing what arrives ---------------------------------------------------------------- */

void pc_client_send_acks(struct pc_client *client)
{
    if (!client->acks.size)
        return;
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RESULT_ACK, client->acks.data, client->acks.size);
    if (msg) {
        msg->head.session = client->session;
        if (pc_client_queue(client, msg) == 0)
            client->acks.size = client->acked_bytes = 0;
        pc_msg_unref(msg);
    }
}

/* The call that a message is about; NULL when it has ended. */
static struct pc_call *pending_call(struct pc_client *client, const struct pc_msg *msg)
{
    struct pc_call *call = pc_index_find(&client->calls, 0, msg->head.sequence);
    return call && pc_call_status(call) == PC_STATUS_PENDING ? call : NULL;
}

static int file_result(struct pc_client *client, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_result_body body;
    if (pc_result_decode(msg, &body, err))
        return -1;
    struct pc_call *call = pending_call(client, msg);
    pc_buf_put_u64(&client->acks, msg->head.session);
    pc_buf_put_u64(&client->acks, msg->head.sequence);
    client->acked_bytes += msg->parts_bytes;
    if (call) {
        call->engine_id = msg->head.engine_id;
        pc_client_end_call(client, call, pc_msg_ref(msg), &body);
    }
    if (client->acks.size >= ACK_COUNT * PC_ACK_SIZE || client->acked_bytes >= ACK_BYTES)
        pc_client_send_acks(client);
    return 0;
}

static int file_stream(struct pc_client *client, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_stream_body body;
    if (pc_stream_decode(msg, &body, err))
        return -1;
    uint8_t stream = body.stream;
    struct pc_call *call = pending_call(client, msg);
    if (!call)
        return 0; /* printed after its task had ended */
    call->engine_id = msg->head.engine_id;
    if (stream == PC_STREAM_DATA) {
        pc_msg_unref(call->published);
        call->published = pc_msg_ref(msg);
        return 0;
    }
    if (!call->output[stream]) {
        call->output[stream] = malloc(sizeof(struct pc_capture));
        if (!call->output[stream])
            return 0;
        pc_capture_init(call->output[stream],
                        stream == PC_STREAM_DISPLAY ? PC_CAPTURE_SHOW_HALF : PC_CAPTURE_HALF);
    }
    pc_capture_add_at(call->output[stream], body.at, body.flags & PC_STREAM_AGAIN,
                      msg->parts[0].data, msg->parts[0].size);
    if (client->loop)
        pc_loop_note(client, call);
    return 0;
}

static int file_accepted(struct pc_client *client, const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_reader reader;
    if (pc_accepted_check(msg, err))
        return -1;
    pc_reader_init(&reader, msg->body, msg->head.body_size);
    while (reader.left) {
        uint64_t session = pc_get_u64(&reader), sequence = pc_get_u64(&reader);
        struct pc_call *call =
            session == client->session ? pc_index_find(&client->calls, 0, sequence) : NULL;
        if (call)
            atomic_store_explicit(&call->is_accepted, true, memory_order_release);
    }
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

static int file_window(struct pc_client *client, struct pc_msg *msg, struct pc_err *err)
{
    pc_json *json = pc_json_of_msg(msg, err);
    if (!json)
        return -1;
    pc_client_set_window(client, json);
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
    case PC_MSG_ACCEPTED:
        return file_accepted(client, msg, err);
    case PC_MSG_REPLY:
        return file_reply(client, msg);
    case PC_MSG_WINDOW:
        return file_window(client, msg, err);
    case PC_MSG_GOODBYE:
        return file_goodbye(client, msg);
    default:
        return pc_err_set(err, PC_E_PROTOCOL, "the controller sent %s, which a client can't take",
                          pc_msg_name(msg->head.type));
    }
}

/* Otherwise our next message says so. */
static void send_received(struct pc_client *client)
{
    if (!client->sock.wire.lifeline || !pc_lifeline_is_due(&client->lifeline))
        return;
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECEIVED, NULL, 0);
    if (msg)
        pc_wire_send(&client->sock.wire, msg);
    pc_msg_unref(msg);
}

/* Files all whole messages. Returns how many, -1 when the connection was lost. */
int pc_client_file_all(struct pc_client *client)
{
    struct pc_err err = {.code = PC_OK};
    int count = 0;
    for (;;) {
        struct pc_msg *msg = pc_wire_next(&client->sock.wire, &err);
        if (!msg && err.code == PC_OK) {
            send_received(client);
            return count;
        }
        int failed = !msg || file_message(client, msg, &err);
        pc_msg_unref(msg);
        if (failed) {
            pc_client_lose_connection(client, &err);
            return -1;
        }
        client->filed_count++;
        count++;
    }
}

/* Reads what is there, without waiting. Returns the number of messages, -1 when lost. */
int pc_client_take_in(struct pc_client *client)
{
    struct pc_err err;
    if (client->is_cut)
        return 0;
    int got = pc_sock_fill(&client->sock, MSG_DONTWAIT, &err);
    if (got > 0 && client->loop)
        pc_loop_ring(client);
    if (got > 0)
        return pc_client_file_all(client);
    if (got == 0 || err.code == PC_E_INTERRUPTED)
        return 0;
    pc_client_cut(client, &err);
    return -1;
}

/* Writes what the system takes now. 1: all; 0: not all; -1: lost or cut, after what the other side
 * had still sent was taken in. */
int pc_client_write_out(struct pc_client *client)
{
    struct pc_err err;
    if (client->is_cut)
        return -1;
    int all = pc_sock_flush(&client->sock, MSG_DONTWAIT, &err);
    client->written_us = pc_clock_us();
    if (all >= 0) {
        client->lingers = all == 0 && client->lingers;
        return all;
    }
    if (err.code == PC_E_INTERRUPTED)
        return 0;
    while (client->lost.code == PC_OK && pc_client_take_in(client) > 0)
        ;
    pc_client_cut(client, &err);
    return -1;
}
