/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Questions of clients that the hub has not answered. When it is started again it is asked again;
 * when it stays away for too long they end with an error.
 *
 * `fetch` asks for many tasks, and gets an answer for each, with output before: every one of them
 * is a question of its own here.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/failure.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "sched/state.h"

/* Time for a hub to come back. */
#define GRACE_MS 10000
/* Questions that are open, of all clients together. */
#define OPEN_MAX 1000000

/* Owned by its client's list. */
struct question {
    struct task_key key; /* the session that asks, and the number that the answer has */
    UT_hash_handle hh;   /* sched.questions */
    struct client *client;
    struct question *next, *prev;
    struct pc_msg *msg; /* QUERY; one for all tasks of a fetch */
    bool is_fetch;
    uint64_t seen[2]; /* bytes of output that have passed */
};

static const char away[] = "the hub is away, and was not started again in time: ask once more";

static struct question *find(struct sched *s, uint64_t session, uint64_t sequence)
{
    struct task_key key = {.session = session, .sequence = sequence};
    struct question *question;
    HASH_FIND(hh, s->questions, &key, sizeof(key), question);
    return question;
}

static void forget(struct sched *s, struct question *question)
{
    HASH_DEL(s->questions, question);
    DL_DELETE(question->client->questions, question);
    pc_msg_unref(question->msg);
    free(question);
}

/* ---- asking ----------------------------------------------------------------------------- */

/* A number that the client uses twice at a time gets one answer: the fault is its own. */
static bool add(struct sched *s, struct client *client, struct pc_msg *msg, uint64_t sequence,
                bool is_fetch)
{
    if (HASH_COUNT(s->questions) >= OPEN_MAX || find(s, client->session, sequence))
        return false;
    struct question *question = pc_xcalloc(1, sizeof(*question));
    question->key = (struct task_key){.session = client->session, .sequence = sequence};
    question->client = client;
    question->msg = pc_msg_ref(msg);
    question->is_fetch = is_fetch;
    HASH_ADD(hh, s->questions, key, sizeof(question->key), question);
    DL_APPEND(client->questions, question);
    return true;
}

static const pc_json *tasks_of(const pc_json *query)
{
    const pc_json *tasks = pc_json_member(query, "tasks");
    bool is_fetch = strcmp(pc_json_str_or(query, "query", ""), "fetch") == 0;
    return is_fetch && pc_json_is_array(tasks) ? tasks : NULL;
}

static void answer_failed(struct question *question)
{
    struct pc_msg *msg;
    if (question->is_fetch) {
        msg = pc_failure_new("ControllerError", away);
        if (!msg)
            pc_fatal(1, "out of memory");
    } else {
        pc_json *reply = pc_json_object();
        pc_json_put_bool(reply, "ok", false);
        pc_json_put_str(reply, "error", away);
        msg = pc_json_msg(PC_MSG_REPLY, reply);
    }
    msg->head.session = question->key.session;
    msg->head.sequence = question->key.sequence;
    msg->head.engine_id = PC_NO_ENGINE;
    client_send(question->client, msg);
}

static void fail_all(struct sched *s)
{
    struct question *question, *next;
    HASH_ITER (hh, s->questions, question, next) {
        answer_failed(question);
        forget(s, question);
    }
}

void question_ask(struct sched *s, struct client *client, struct pc_msg *msg, const pc_json *query)
{
    const pc_json *tasks = tasks_of(query);
    size_t count = tasks ? pc_json_count(tasks) : 0;
    if (tasks)
        for (size_t i = 0; i < count; i++)
            add(s, client, msg, msg->head.sequence + i, true);
    else
        add(s, client, msg, msg->head.sequence, false);
    records_flush(s); /* the answer includes all that happened before the question */
    if (s->ledger.is_greeted)
        ledger_ask(s, pc_msg_ref(msg));
    else if (s->is_hub_missed)
        fail_all(s);
}

/* ---- answers ---------------------------------------------------------------------------- */

/* Of a fetch that the hub could not understand no part is answered. */
static void forget_all_of(struct sched *s, struct client *client, const struct pc_msg *msg)
{
    struct question *question, *next;
    DL_FOREACH_SAFE (client->questions, question, next)
        if (question->msg == msg)
            forget(s, question);
}

bool question_answered(struct sched *s, const struct pc_msg *answer)
{
    struct question *question = find(s, answer->head.session, answer->head.sequence);
    if (!question)
        return false;
    if (answer->head.type == PC_MSG_STREAM) {
        if (answer->body[0] < 2)
            question->seen[answer->body[0]] += answer->parts_bytes;
    } else if (answer->head.type == PC_MSG_REPLY && question->is_fetch) {
        forget_all_of(s, question->client, question->msg);
    } else {
        forget(s, question);
    }
    return true;
}

void questions_forget(struct sched *s, struct client *client)
{
    while (client->questions)
        forget(s, client->questions);
}

/* ---- a hub that was away ---------------------------------------------------------------- */

/* The task of a fetch, without the output that has passed. */
static struct pc_msg *fetch_of(const struct question *question, const pc_json *query)
{
    size_t index = (size_t)(question->key.sequence - question->msg->head.sequence);
    pc_json *again = pc_json_object(), *tasks = pc_json_array(), *seen = pc_json_array();
    pc_json_append(tasks, pc_json_copy(pc_json_item(tasks_of(query), index)));
    for (int i = 0; i < 2; i++) {
        char number[24];
        snprintf(number, sizeof(number), "%" PRIu64, question->seen[i]);
        pc_json_append_str(seen, number);
    }
    pc_json_put_str(again, "query", "fetch");
    pc_json_put_str(again, "what", pc_json_str_or(query, "what", ""));
    pc_json_put(again, "tasks", tasks);
    pc_json_put(again, "seen", seen);
    struct pc_msg *msg = pc_json_msg(PC_MSG_QUERY, again);
    msg->head.session = question->key.session;
    msg->head.sequence = question->key.sequence;
    return msg;
}

void questions_repeat(struct sched *s)
{
    struct question *question, *next;
    struct pc_msg *parsed = NULL;
    pc_json *query = NULL;
    uv_timer_stop(&s->hub_timer);
    s->is_hub_missed = false;
    HASH_ITER (hh, s->questions, question, next) {
        if (!question->is_fetch) {
            ledger_ask(s, pc_msg_ref(question->msg));
            continue;
        }
        if (question->msg != parsed) {
            pc_json_free(query);
            query = pc_json_of_msg(question->msg, NULL);
            parsed = question->msg;
        }
        ledger_ask(s, fetch_of(question, query));
    }
    pc_json_free(query);
}

static void on_hub_timer(uv_timer_t *timer)
{
    struct sched *s = timer->data;
    s->is_hub_missed = true;
    fail_all(s);
    durable_refuse_all(s, away);
}

void questions_wait(struct sched *s)
{
    uv_timer_start(&s->hub_timer, on_hub_timer, GRACE_MS, 0);
}
