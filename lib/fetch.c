/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks that the hub remembers, of any client. Each is asked for under a number of this client's
 * own, and the hub answers with STREAM and RESULT under that number: from then on the call is like
 * any other.
 */
#include "lib/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/proto.h"

#define TASKS_MAX 4000 /* in one message */

static const char *word_of(enum pc_fetch what)
{
    switch (what) {
    case PC_FETCH_RESULT:
        return "result";
    case PC_FETCH_REQUEST:
        return "request";
    case PC_FETCH_AGAIN:
        return "again";
    }
    return NULL;
}

/* `seen`: what is left out of the answers; NULL: nothing. */
static struct pc_msg *question(const char *what, const struct pc_task_id *tasks, size_t count,
                               pc_json *seen)
{
    pc_json *json = pc_json_object(), *ids = pc_json_array();
    char id[48];
    for (size_t i = 0; i < count; i++) {
        snprintf(id, sizeof(id), "%016" PRIx64 "_%" PRIu64, tasks[i].session, tasks[i].sequence);
        pc_json_append_str(ids, id);
    }
    pc_json_put_str(json, "query", "fetch");
    pc_json_put_str(json, "what", what);
    pc_json_put(json, "tasks", ids);
    if (seen)
        pc_json_put(json, "seen", seen);
    return pc_json_msg(PC_MSG_QUERY, json);
}

struct pc_msg *pc_client_fetch_message(const struct pc_call *call)
{
    pc_json *seen = pc_json_array();
    for (int i = 0; i < PC_STREAM_TEXTS; i++) {
        char number[24];
        snprintf(number, sizeof(number), "%" PRIu64,
                 call->output[i] ? pc_capture_total(call->output[i]) : 0);
        pc_json_append_str(seen, number);
    }
    return question(word_of((enum pc_fetch)call->fetch), &call->fetched, 1, seen);
}

/* Asks for some of them. Under the lock. */
static int fetch_some(struct pc_client *client, enum pc_fetch what, const struct pc_task_id *tasks,
                      size_t count, struct pc_call **calls, struct pc_err *err)
{
    static const struct pc_request nothing = {.is_balanced = true}; /* as far as is known here */
    int failed = -1;
    struct pc_msg *msg = question(word_of(what), tasks, count, NULL);
    if (!msg)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    if (pc_client_wait_to_send(client, 0, count, false, err))
        goto out;
    msg->head.session = client->session;
    msg->head.sequence = client->sequence;
    if (pc_client_register_calls(client, &nothing, calls, count, 0, err))
        goto out;
    for (size_t i = 0; i < count && what != PC_FETCH_AGAIN; i++) {
        calls[i]->is_fetched = true;
        calls[i]->fetched = tasks[i];
        calls[i]->fetch = (uint8_t)what;
    }
    if (pc_client_queue(client, msg))
        pc_client_lose(client, PC_E_MEMORY, "out of memory while sending");
    else
        pc_client_send_all(client);
    failed = 0; /* when the connection was lost on the way the calls have ended, saying so */
out:
    pc_msg_unref(msg);
    return failed;
}

int pc_fetch(struct pc_client *client, enum pc_fetch what, const struct pc_task_id *tasks,
             size_t count, struct pc_call **calls, struct pc_err *err)
{
    struct pc_err local;
    size_t done = 0;
    int failed = 0;
    if (!err)
        err = &local;
    if (!word_of(what))
        return pc_err_set(err, PC_E_INVALID, "%d is not a way to fetch a task", (int)what);
    if (count && (!tasks || !calls))
        return pc_err_set(err, PC_E_INVALID, "tasks are counted but not given");
    if (pc_client_enter(client, err))
        return -1;
    while (done < count && !failed) {
        size_t some = count - done < TASKS_MAX ? count - done : TASKS_MAX;
        failed = fetch_some(client, what, tasks + done, some, calls + done, err);
        done += failed ? 0 : some;
    }
    if (client->waiting)
        pthread_cond_broadcast(&client->filed);
    if (client->background_sleeps)
        pthread_cond_signal(&client->ended);
    pc_client_leave(client);
    for (size_t i = 0; failed && i < done; i++)
        pc_call_unref(calls[i]);
    return failed;
}
