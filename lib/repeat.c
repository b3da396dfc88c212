/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scheduler that was killed and started again knows nothing of the session. It hears once more
 * what has not ended: the submissions under their numbers, what was asked, what was aborted; then
 * RESUMED, with the calls that can't be submitted again because their memory was the program's.
 * Those go on if an engine has them. The engines say what they run and what they have finished, so
 * nothing runs twice. See doc/decisions/0010.
 */
#include "lib/client.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/proto.h"

void pc_call_drop_request(struct pc_call *call)
{
    pc_msg_unref(call->request);
    pc_function_unref(call->function);
    call->request = NULL;
    call->function = NULL;
}

/* Takes msg; NULL: out of memory. */
static int queue(struct pc_client *client, struct pc_msg *msg)
{
    int failed = !msg || pc_client_queue(client, msg);
    pc_msg_unref(msg);
    return failed ? -1 : 0;
}

/* ---- submissions ------------------------------------------------------------------------ */

/* Of a submission to many engines only what this call stands for: the others may have ended. */
static struct pc_msg *submission_of(const struct pc_call *call)
{
    struct pc_submit_body fields;
    struct pc_buf body;
    struct pc_msg *msg = NULL;
    if (pc_submit_decode(call->request, &fields, NULL))
        return NULL;
    if (fields.flags & PC_SUBMIT_BALANCED || fields.target_count == 1)
        return pc_msg_ref(call->request);
    fields.targets += 4 * (call->sequence - call->request->head.sequence);
    fields.target_count = 1;
    pc_buf_init(&body, 0);
    if (pc_submit_encode(&body, &fields) == 0)
        msg = pc_msg_sharing(PC_MSG_SUBMIT, body.data, body.size, call->request);
    pc_buf_fini(&body);
    if (msg) {
        msg->head.session = call->request->head.session;
        msg->head.sequence = call->sequence;
    }
    return msg;
}

static int submit_again(struct pc_client *client, struct pc_call *call)
{
    if (pc_client_send_function(client, call->function) || queue(client, submission_of(call)))
        return -1;
    call->number = client->lifeline.sent;
    return 0;
}

static int say_lost(struct pc_client *client, struct pc_buf *sequences, bool is_last)
{
    struct pc_resumed_body body = {
        .is_last = is_last, .count = (uint32_t)(sequences->size / 8), .sequences = sequences->data};
    sequences->size = 0;
    return sequences->failed ? -1 : queue(client, pc_resumed_new(&body));
}

static int submit_all_again(struct pc_client *client)
{
    struct pc_call *call;
    struct pc_buf lost;
    int failed = 0;
    pc_buf_init(&lost, 0);
    DL_FOREACH (client->pending_first, call) {
        if (call->request)
            failed |= submit_again(client, call);
        else if (!call->is_fetched)
            pc_buf_put_u64(&lost, call->sequence);
        if (call->is_aborted && !call->is_fetched)
            failed |= queue(
                client, pc_client_abort_message(client, &call, 1, call->abort_flags, PC_NO_ENGINE));
        if (lost.size >= 8 * PC_RESUMED_MAX)
            failed |= say_lost(client, &lost, false);
    }
    failed |= say_lost(client, &lost, true);
    pc_buf_fini(&lost);
    return failed;
}

/* ---- questions -------------------------------------------------------------------------- */

static int fetch_again(struct pc_client *client, const struct pc_call *call)
{
    struct pc_msg *msg = pc_client_fetch_message(call);
    if (msg) {
        msg->head.session = client->session;
        msg->head.sequence = call->sequence;
    }
    return queue(client, msg);
}

/* What is done once more when it is asked once more. */
static bool is_repeatable(const struct pc_msg *msg)
{
    static const char *const once[] = {"start_engines", "signal_engines"};
    pc_json *json = msg->head.type == PC_MSG_QUERY ? pc_json_of_msg(msg, NULL) : NULL;
    const char *name = pc_json_str_or(json, "query", "");
    bool is_free = true;
    for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++)
        is_free &= strcmp(name, once[i]) != 0;
    pc_json_free(json);
    return is_free;
}

static int ask_all_again(struct pc_client *client)
{
    struct pc_call *call;
    int failed = 0;
    DL_FOREACH (client->pending_first, call)
        if (call->is_fetched)
            failed |= fetch_again(client, call);
    for (struct pc_question *q = client->questions; q; q = q->next) {
        if (q->reply || !q->is_sent)
            continue;
        q->is_lost = !is_repeatable(q->msg);
        if (!q->is_lost)
            failed |= pc_client_queue(client, q->msg);
    }
    return failed;
}

int pc_client_repeat(struct pc_client *client, const pc_json *welcome)
{
    pc_lifeline_restart(&client->lifeline);
    pc_known_fini(&client->known);
    /* What was acknowledged and is offered once more is acknowledged once more. */
    client->acks.size = client->acked_bytes = 0;
    pc_client_set_window(client, welcome);
    return submit_all_again(client) | ask_all_again(client) ? -1 : 0;
}
