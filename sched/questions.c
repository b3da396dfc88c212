/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Questions of clients that the hub has not answered. When it is started again it is asked again;
 * when it stays away for too long they end with an error.
 *
 * `fetch` asks for many tasks, and gets an answer for each, with output before: every one of them
 * is a question of its own here. The hub is asked for a few at a time, and for no more while the
 * client has not taken what there is: so a slow one costs little, however much it asks for. Tasks
 * that the hub will answer for only when they end don't count.
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
/* Tasks of fetches that the hub is asked for and has not answered, of each client. */
#define FETCH_MAX 8
#define ID_MAX    64

/* Owned by its client's list. */
struct question {
    struct task_key key; /* the session that asks, and the number that the answer has */
    UT_hash_handle hh;   /* sched.questions */
    struct client *client;
    struct question *next, *prev;
    struct pc_msg *msg;             /* QUERY; one for all tasks of a fetch */
    uint64_t seen[PC_STREAM_TEXTS]; /* bytes of output that have passed */
    const char *what;               /* of a fetch; else NULL */
    bool is_asked;                  /* it counts in client.fetching */
    char id[];                      /* of its task */
};

static const char away[] = "the hub is away, and was not started again in time: ask once more";

static struct question *find(struct sched *s, uint64_t session, uint64_t sequence)
{
    struct task_key key = {.session = session, .sequence = sequence};
    struct question *question;
    HASH_FIND(hh, s->questions, &key, sizeof(key), question);
    return question;
}

/* Neither answered nor waited for any more. */
static void leave_hub(struct question *question)
{
    question->client->fetching -= question->is_asked;
    question->is_asked = false;
}

static void forget(struct sched *s, struct question *question)
{
    struct client *client = question->client;
    if (client->unasked == question)
        client->unasked = question->next;
    leave_hub(question);
    HASH_DEL(s->questions, question);
    DL_DELETE(client->questions, question);
    pc_msg_unref(question->msg);
    free(question);
}

/* ---- asking ----------------------------------------------------------------------------- */

/* A number that the client uses twice at a time gets one answer: the fault is its own. */
static struct question *add(struct sched *s, struct client *client, struct pc_msg *msg,
                            uint64_t sequence, const char *what, const char *id)
{
    if (HASH_COUNT(s->questions) >= OPEN_MAX || find(s, client->session, sequence))
        return NULL;
    size_t size = id ? strnlen(id, ID_MAX) : 0;
    struct question *question = pc_xcalloc(1, sizeof(*question) + size + 1);
    question->key = (struct task_key){.session = client->session, .sequence = sequence};
    question->client = client;
    question->msg = pc_msg_ref(msg);
    question->what = what;
    if (id)
        memcpy(question->id, id, size);
    HASH_ADD(hh, s->questions, key, sizeof(question->key), question);
    DL_APPEND(client->questions, question);
    if (!client->unasked && what)
        client->unasked = question;
    return question;
}

/* NULL: the query is none. */
static const pc_json *fetched(const pc_json *query, const char **what)
{
    static const char *const names[] = {"result", "request", "again"};
    const pc_json *tasks = pc_json_member(query, "tasks");
    const char *name = pc_json_str_or(query, "what", "");
    if (strcmp(pc_json_str_or(query, "query", ""), "fetch") != 0 || !pc_json_is_array(tasks))
        return NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0) {
            *what = names[i];
            return tasks;
        }
    return NULL; /* the hub will say what is wrong */
}

/* What has come of it already, from an earlier scheduler. */
static void take_seen(struct question *question, const pc_json *query)
{
    const pc_json *seen = pc_json_member(query, "seen");
    int i = 0;
    for (const pc_json *row = seen ? pc_json_first(seen) : NULL; row && i < PC_STREAM_TEXTS;
         row = pc_json_next(row))
        question->seen[i++] = strtoull(pc_json_text(row) ? pc_json_text(row) : "0", NULL, 10);
}

static bool has_seen(const struct question *question)
{
    for (int i = 0; i < PC_STREAM_TEXTS; i++)
        if (question->seen[i])
            return true;
    return false;
}

/* Whether `next` can be asked for in one message with those before it. */
static bool continues(const struct question *question, const struct question *next)
{
    return next && next->what == question->what && next->msg == question->msg &&
           next->key.sequence == question->key.sequence + 1 && !has_seen(next) &&
           !has_seen(question);
}

/* Asks for some tasks from client->unasked on, which is one of a fetch. */
static struct pc_msg *next_fetch(struct client *client)
{
    struct question *question = client->unasked, *last;
    pc_json *fetch = pc_json_object(), *tasks = pc_json_array(), *seen = pc_json_array();
    for (int i = 0; i < PC_STREAM_TEXTS; i++) {
        char number[24];
        snprintf(number, sizeof(number), "%" PRIu64, question->seen[i]);
        pc_json_append_str(seen, number);
    }
    pc_json_put_str(fetch, "query", "fetch");
    pc_json_put_str(fetch, "what", question->what);
    uint64_t sequence = question->key.sequence;
    do {
        last = question;
        pc_json_append_str(tasks, last->id);
        last->is_asked = true;
        client->fetching++;
        question = last->next;
    } while (client->fetching < FETCH_MAX && continues(last, question));
    client->unasked = question;
    pc_json_put(fetch, "tasks", tasks);
    pc_json_put(fetch, "seen", seen);
    struct pc_msg *msg = pc_json_msg(PC_MSG_QUERY, fetch);
    msg->head.session = client->session;
    msg->head.sequence = sequence;
    return msg;
}

void questions_advance(struct sched *s, struct client *client)
{
    while (client->unasked && s->ledger.is_greeted && client->peer &&
           client->fetching < FETCH_MAX &&
           pc_wire_queued(&client->peer->conn.sock.wire) < SCHED_SLOW_BYTES) {
        if (client->unasked->what)
            ledger_ask(s, next_fetch(client));
        else
            client->unasked = client->unasked->next; /* that was asked at once */
    }
}

static void answer_failed(struct question *question)
{
    struct pc_msg *msg;
    if (question->what) {
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
    const char *what = NULL;
    const pc_json *tasks = fetched(query, &what);
    uint64_t sequence = msg->head.sequence;
    if (!tasks)
        add(s, client, msg, sequence, NULL, NULL);
    for (const pc_json *id = tasks ? pc_json_first(tasks) : NULL; id; id = pc_json_next(id)) {
        struct question *question =
            add(s, client, msg, sequence++, what, pc_json_text(id) ? pc_json_text(id) : "?");
        if (question)
            take_seen(question, query);
    }
    records_flush(s); /* the answer includes all that happened before the question */
    if (!s->ledger.is_greeted && s->is_hub_missed)
        fail_all(s);
    else if (s->ledger.is_greeted && !tasks)
        ledger_ask(s, pc_msg_ref(msg));
    else
        questions_advance(s, client);
}

/* ---- answers ---------------------------------------------------------------------------- */

/* An empty piece of output stands for a task that has not ended: it will be answered for then. */
static bool is_note(const struct pc_msg *answer)
{
    return answer->head.type == PC_MSG_STREAM && !answer->parts_bytes;
}

bool question_answered(struct sched *s, const struct pc_msg *answer)
{
    struct question *question = find(s, answer->head.session, answer->head.sequence);
    if (!question)
        return false;
    struct client *client = question->client;
    if (is_note(answer))
        leave_hub(question);
    else if (answer->head.type != PC_MSG_STREAM)
        forget(s, question);
    else if (answer->body[0] < PC_STREAM_TEXTS)
        question->seen[answer->body[0]] += answer->parts_bytes;
    questions_advance(s, client);
    return !is_note(answer);
}

void questions_forget(struct sched *s, struct client *client)
{
    while (client->questions)
        forget(s, client->questions);
}

/* ---- a hub that was away ---------------------------------------------------------------- */

void questions_repeat(struct sched *s)
{
    struct client *client, *next;
    struct question *question;
    uv_timer_stop(&s->hub_timer);
    s->is_hub_missed = false;
    HASH_ITER (hh, s->clients, client, next) {
        DL_FOREACH (client->questions, question) {
            leave_hub(question);
            if (!question->what)
                ledger_ask(s, pc_msg_ref(question->msg));
        }
        client->unasked = client->questions;
        questions_advance(s, client);
    }
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
