/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Durable tasks. A new one is only recorded, and held until the hub says that it is on disk: then
 * its client is told, and it goes its way. One that can't be written ends without having begun.
 *
 * A new scheduler asks the hub for those that are on disk and that nobody has: they begin anew on
 * behalf of clients that are gone. What had begun is the hub's to decide.
 */
#include <string.h>

#include <utlist.h>

#include "lib/log.h"
#include "sched/state.h"

void durable_configure(struct sched *s, const pc_json *config)
{
    const char *which = pc_json_str_or(config, "durable", "none");
    s->all_durable = strcmp(which, "all") == 0;
    s->takes_durable = s->all_durable || strcmp(which, "asked") == 0;
}

void durable_tell(const struct sched *s, pc_json *json)
{
    pc_json_put_str(json, "durable", s->all_durable ? "all" : s->takes_durable ? "asked" : "none");
}

bool durable_is(const struct sched *s, struct pc_submit_body *body, bool is_again)
{
    bool can_be = body->flags & PC_SUBMIT_BALANCED && !body->target_count;
    if (s->all_durable && can_be)
        body->flags |= PC_SUBMIT_DURABLE;
    if (is_again && !s->takes_durable) /* when it was submitted first it could be */
        body->flags &= (uint8_t)~PC_SUBMIT_DURABLE;
    return body->flags & PC_SUBMIT_DURABLE;
}

/* ---- new ones ----------------------------------------------------------------------------- */

static void refuse(struct sched *s, struct task *task, const char *why)
{
    char text[PC_ACCEPTED_WHY_MAX + 80];
    snprintf(text, sizeof(text), "the durable task was not accepted, and not run: %s", why);
    task_fail(s, task, "NotDurable", text);
}

void durable_hold(struct sched *s, struct task *task)
{
    task->is_balanced = task->is_held = true;
    if (!s->takes_durable)
        refuse(s, task, "this cluster keeps no tasks on disk (pcluster start --store sqlite)");
    else if (s->is_hub_missed)
        refuse(s, task, "the hub is away; submit it again when it is back");
}

/* Tells a client of the tasks that were accepted; all in `pairs` are its. */
static void tell(struct sched *s, uint64_t session, struct pc_buf *pairs)
{
    struct client *client;
    HASH_FIND(hh, s->clients, &session, sizeof(session), client);
    if (pairs->size && client && client_is_there(client)) {
        struct pc_msg *msg = pc_accepted_new(pairs->data, pairs->size, NULL);
        if (!msg || pairs->failed)
            pc_fatal(1, "out of memory");
        msg->head.session = session;
        client_send(client, msg);
    }
    pairs->size = 0;
}

void durable_tell_accepted(struct sched *s, const struct task *task)
{
    struct pc_buf pairs;
    pc_buf_init(&pairs, 0);
    pc_buf_put_u64(&pairs, task->key.session);
    pc_buf_put_u64(&pairs, task->key.sequence);
    tell(s, task->key.session, &pairs);
    pc_buf_fini(&pairs);
}

static void go(struct sched *s, struct task *task)
{
    struct pc_submit_body body;
    struct pc_err err;
    task->is_held = false;
    if (begun_reserve(&s->begun, task->key.session, task->key.sequence, &err)) {
        refuse(s, task, err.text);
        return;
    }
    if (pc_submit_decode(task->request, &body, &err))
        pc_fatal(1, "a submission can't be read twice: %s", err.text);
    again_place(s, task, &body);
}

static void take_accepted(struct sched *s, struct pc_reader *reader)
{
    struct pc_buf pairs;
    uint64_t last = 0;
    pc_buf_init(&pairs, 0);
    while (reader->left) {
        uint64_t session = pc_get_u64(reader), sequence = pc_get_u64(reader);
        struct task *task = task_find(s, session, sequence);
        if (!task || !task->is_held || task_is_over(task))
            continue; /* it was aborted meanwhile, or this is said once more */
        if (session != last)
            tell(s, last, &pairs);
        last = session;
        pc_buf_put_u64(&pairs, session);
        pc_buf_put_u64(&pairs, sequence);
        go(s, task);
    }
    tell(s, last, &pairs);
    pc_buf_fini(&pairs);
}

static void take_refused(struct sched *s, struct pc_reader *reader, const struct pc_part *why)
{
    char text[PC_ACCEPTED_WHY_MAX + 1];
    snprintf(text, sizeof(text), "%.*s", (int)why->size, (const char *)why->data);
    while (reader->left) {
        uint64_t session = pc_get_u64(reader);
        struct task *task = task_find(s, session, pc_get_u64(reader));
        if (task && task->is_held && !task_is_over(task))
            refuse(s, task, text);
    }
}

int durable_accepted(struct sched *s, const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_reader reader;
    if (pc_accepted_check(msg, err))
        return -1;
    pc_reader_init(&reader, msg->body, msg->head.body_size);
    queue_hold(s);
    if (msg->head.part_count)
        take_refused(s, &reader, &msg->parts[0]);
    else
        take_accepted(s, &reader);
    queue_release(s);
    return 0;
}

void durable_refuse_all(struct sched *s, const char *why)
{
    struct client *client, *next_client;
    struct task *task, *next;
    HASH_ITER (hh, s->clients, client, next_client) {
        DL_FOREACH_SAFE2 (client->tasks, task, next, client_next) {
            if (task->is_held && !task_is_over(task))
                refuse(s, task, why);
        }
    }
}

/* ---- those of an earlier life --------------------------------------------------------------- */

void durable_ask(struct sched *s)
{
    bool has_any = s->takes_durable || s->is_successor;
    if (!has_any || s->has_revived || (s->is_successor && (!s->has_heritage || s->is_again)))
        return;
    pc_json *query = pc_json_object();
    pc_json_put_str(query, "query", "revive");
    pc_json_put_i64(query, "after", (int64_t)s->revived);
    ledger_ask(s, pc_json_msg(PC_MSG_QUERY, query));
}

int durable_revive(struct sched *s, struct pc_msg *submit, struct pc_err *err)
{
    struct pc_submit_body body;
    uint64_t session = submit->head.session, sequence = submit->head.sequence;
    if (pc_submit_decode(submit, &body, err))
        return -1;
    bool is_durable = body.flags & PC_SUBMIT_DURABLE;
    if ((!is_durable && !s->is_successor) || body.flags & PC_SUBMIT_NAMED ||
        task_find(s, session, sequence))
        return 0; /* whoever asked for it is gone; or it is here */
    if (!is_durable)
        return client_revive(s, submit, err);
    struct client *client = client_of_past(s, session);
    window_take(client, submit, 1, true, NULL);
    struct task *task = task_new(s, client, sequence, submit, &body);
    task->is_again = task->is_durable = task->is_balanced = true;
    task->is_repeated = s->is_successor;
    if (!client_takes_claim(s, task, &body))
        go(s, task);
    return 0;
}

int durable_answered(struct sched *s, const struct pc_msg *reply)
{
    pc_json *json = reply->head.session ? NULL : pc_json_of_msg(reply, NULL);
    if (!json)
        return 0;
    bool is_revival = pc_json_member(json, "next");
    int64_t next = pc_json_i64_or(json, "next", 0);
    if (!is_revival)
        again_settled(s, json);
    pc_json_free(json);
    if (!is_revival)
        return 0;
    s->has_revived = next == 0;
    s->revived = (uint64_t)next;
    if (s->has_revived)
        again_settle(s, 0);
    durable_ask(s);
    return 0;
}
