/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests that are answered by a REPLY: questions, and the abortion of calls. */
#include "lib/client.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/proto.h"

#define TIMEOUT_MS 10000
#define QUERY_MAX  (1u << 20) /* see lib/proto.h */

/* Sends a message and waits for its REPLY. Takes msg (NULL: out of memory). Under the lock. */
static struct pc_msg *ask(struct pc_client *client, struct pc_msg *msg, int timeout_ms,
                          struct pc_err *err)
{
    int64_t deadline = pc_clock_ms() + (timeout_ms > 0 ? timeout_ms : TIMEOUT_MS);
    if (!msg) {
        pc_err_set(err, PC_E_MEMORY, "out of memory");
        return NULL;
    }
    int failed = pc_client_wait_to_send(client, 0, 0, false, err);
    struct pc_question question = {.next = client->questions}; /* others may have come meanwhile */
    msg->head.session = client->session;
    msg->head.sequence = question.sequence = client->sequence++;
    question.msg = msg;
    client->questions = &question;
    if (!failed && pc_client_queue(client, msg))
        failed = pc_err_set(err, PC_E_MEMORY, "out of memory");
    question.is_sent = !failed;
    if (!failed && pc_client_send_all(client) && client->lost.code != PC_OK)
        failed = pc_client_lost_error(client, err);
    while (!failed && !question.reply && !question.is_lost)
        if (pc_client_wait_turn(client, deadline, err) && err->code != PC_E_INTERRUPTED)
            failed = -1;
    for (struct pc_question **q = &client->questions; *q; q = &(*q)->next)
        if (*q == &question) {
            *q = question.next;
            break;
        }
    if (question.is_lost)
        pc_err_set(err, PC_E_LOST,
                   "the scheduler was started again before it answered, and whether it has done "
                   "this is not known: look, and ask again if it has not");
    else if (!question.reply && err->code == PC_E_TIMEOUT)
        pc_err_set(err, PC_E_TIMEOUT, "the controller at %s did not answer in time",
                   client->address);
    pc_msg_unref(msg);
    return question.reply;
}

/* ---- questions -------------------------------------------------------------------------- */

int pc_query(struct pc_client *client, const char *json, int timeout_ms, char **reply,
             struct pc_err *err)
{
    struct pc_err local;
    if (!err)
        err = &local;
    if (!json || strlen(json) > QUERY_MAX)
        return pc_err_set(err, PC_E_INVALID, "the question is %s",
                          json ? "larger than 1 MiB" : "missing");
    if (pc_client_enter(client, err))
        return -1;
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_QUERY, json, strlen(json));
    struct pc_msg *answer = ask(client, msg, timeout_ms, err);
    pc_client_leave(client);
    if (!answer)
        return -1;
    char *text = strndup((const char *)answer->body, answer->head.body_size);
    pc_msg_unref(answer);
    if (!text)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    *reply = text;
    return 0;
}

/* ---- aborting --------------------------------------------------------------------------- */

struct pc_msg *pc_client_abort_message(struct pc_client *client, struct pc_call *const *calls,
                                       size_t count, unsigned flags, uint32_t engine_id)
{
    struct pc_buf tasks, body;
    struct pc_msg *msg = NULL;
    pc_buf_init(&tasks, 0);
    pc_buf_init(&body, 0);
    for (size_t i = 0; i < count; i++) {
        pc_buf_put_u64(&tasks, pc_call_session(calls[i]));
        pc_buf_put_u64(&tasks, pc_call_sequence(calls[i]));
    }
    struct pc_abort_body fields = {
        .flags = (uint8_t)flags, .count = (uint32_t)count, .tasks = tasks.data};
    if (!tasks.failed && pc_abort_encode(&body, &fields) == 0)
        msg = pc_msg_with_body(PC_MSG_ABORT, body.data, body.size);
    if (msg)
        msg->head.engine_id = engine_id;
    pc_buf_fini(&tasks);
    pc_buf_fini(&body);
    return msg;
}

static int check_answer(struct pc_msg *answer, struct pc_err *err)
{
    if (!answer)
        return -1;
    pc_json *json = pc_json_of_msg(answer, err);
    int failed = !json;
    if (json && !pc_json_bool_or(json, "ok", false))
        failed = pc_err_set(err, PC_E_REMOTE, "%s",
                            pc_json_str_or(json, "error", "the controller refused to abort"));
    pc_json_free(json);
    pc_msg_unref(answer);
    return failed ? -1 : 0;
}

static void note_aborted(struct pc_call *const *calls, size_t count, unsigned flags)
{
    for (size_t i = 0; i < count; i++) {
        calls[i]->is_aborted = true;
        calls[i]->abort_flags |= (uint8_t)flags;
    }
}

int pc_abort(struct pc_client *client, struct pc_call *const *calls, size_t count, unsigned flags,
             struct pc_err *err)
{
    struct pc_err local;
    int failed = 0;
    if (!err)
        err = &local;
    for (size_t i = 0; i < count; i++)
        if (!calls[i])
            return pc_err_set(err, PC_E_INVALID, "no call was given");
    if (flags & ~(unsigned)(PC_ABORT_INTERRUPT | PC_ABORT_KILL))
        return pc_err_set(err, PC_E_INVALID, "unknown flags 0x%x", flags);
    if (pc_client_enter(client, err))
        return -1;
    for (size_t done = 0; done < count && !failed;) {
        size_t some = count - done < PC_ABORT_TASKS_MAX ? count - done : PC_ABORT_TASKS_MAX;
        struct pc_msg *msg =
            pc_client_abort_message(client, calls + done, some, flags, PC_NO_ENGINE);
        note_aborted(calls + done, some, flags);
        failed = check_answer(ask(client, msg, 0, err), err);
        done += some;
    }
    pc_client_leave(client);
    return failed;
}

int pc_interrupt(struct pc_client *client, const uint32_t *engines, size_t count,
                 struct pc_err *err)
{
    struct pc_err local;
    int failed = 0;
    if (!err)
        err = &local;
    if (pc_client_enter(client, err))
        return -1;
    for (size_t i = 0; i < count && !failed; i++) {
        struct pc_msg *msg =
            pc_client_abort_message(client, NULL, 0, PC_ABORT_INTERRUPT, engines[i]);
        failed = check_answer(ask(client, msg, 0, err), err);
    }
    pc_client_leave(client);
    return failed;
}
