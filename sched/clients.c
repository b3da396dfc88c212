/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients: their sessions, what they submit and ask, and what everybody is told of engines. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "sched/state.h"

/* ---- sessions --------------------------------------------------------------------------- */

static void drop_function(void *data)
{
    pc_msg_unref(data);
}

static void attach(struct client *client, struct peer *peer)
{
    client->peer = peer;
    peer->client = client;
    peer->sender = PC_FROM_CLIENT;
    peer->conn.sock.wire.senders = PC_FROM_CLIENT;
}

struct client *client_new(struct sched *s, struct peer *peer, const pc_json *hello)
{
    struct client *client = pc_xcalloc(1, sizeof(*client));
    struct client *same;
    do {
        pc_random(&client->session, sizeof(client->session));
        HASH_FIND(hh, s->clients, &client->session, sizeof(client->session), same);
    } while (same || client->session == 0);
    client->functions.drop = drop_function;
    attach(client, peer);
    HASH_ADD(hh, s->clients, session, sizeof(client->session), client);
    pc_json *json = pc_json_object();
    pc_json_put_u64(json, "session", client->session);
    pc_json_put_i64(json, "pid", pc_json_i64_or(hello, "pid", 0));
    pc_json_put_str(json, "host", pc_json_str_or(hello, "host", ""));
    ledger_tell(s, pc_json_msg(PC_MSG_CLIENT_UP, json));
    return client;
}

struct client *client_of_past(struct sched *s, uint64_t session)
{
    struct client *client;
    HASH_FIND(hh, s->clients, &session, sizeof(session), client);
    if (client)
        return client;
    client = pc_xcalloc(1, sizeof(*client));
    client->session = session;
    client->functions.drop = drop_function;
    HASH_ADD(hh, s->clients, session, sizeof(client->session), client);
    return client;
}

static struct client *client_unheard(struct sched *s, uint64_t session)
{
    struct client *client = client_of_past(s, session);
    client->is_returning = true;
    away_begin_client(s, client);
    pc_json *json = pc_json_object();
    pc_json_put_u64(json, "session", session);
    ledger_tell(s, pc_json_msg(PC_MSG_CLIENT_UP, json));
    return client;
}

bool client_is_new(const struct client *client)
{
    return client->is_returning && client->lifeline.received == 0;
}

struct client *client_resume(struct sched *s, struct peer *peer, const pc_json *hello,
                             struct pc_err *err)
{
    struct client *client;
    uint64_t session, received;
    if (pc_json_get_u64(hello, "session", &session, err) ||
        pc_json_get_u64(hello, "received", &received, err))
        return NULL;
    if (!token_is_right(s, TOKEN_CLIENT, &session, sizeof(session), hello)) {
        pc_err_set(err, PC_E_KEY, "HELLO for a session of somebody else");
        return NULL;
    }
    HASH_FIND(hh, s->clients, &session, sizeof(session), client);
    if (!client && s->is_successor) /* the hub had not heard of it yet */
        client = client_unheard(s, session);
    if (!client || !client_is_there(client)) {
        pc_err_set(err, PC_E_LOST, "the session has ended: the client was away too long");
        return NULL;
    }
    if (!client_is_new(client) && pc_lifeline_resume(&client->lifeline, received, err))
        return NULL;
    if (client->peer) { /* the client knows better that the old connection is of no use */
        pc_conn_close(&client->peer->conn);
        away_client(s, client);
    }
    away_client_back(s, client);
    attach(client, peer);
    questions_advance(s, client);
    pc_debug("session %016llx goes on ('%s')", (unsigned long long)session, peer->name);
    return client;
}

bool client_is_there(const struct client *client)
{
    return client->peer || client->away.is_away;
}

void client_check(struct sched *s, struct client *client)
{
    if (client_is_there(client) || client->tasks)
        return;
    HASH_DEL(s->clients, client);
    pc_lifeline_fini(&client->lifeline);
    free(client);
}

void client_keep_unread(struct sched *s, struct client *client)
{
    for (struct task *task = client->tasks; task; task = task->client_next)
        if (task_is_over(task) && task->unread)
            records_unread(s, task);
}

/* Its tasks go on; what nobody can acknowledge any more is acknowledged here. */
void client_lost(struct sched *s, struct client *client)
{
    struct task *task, *next;
    client->peer = NULL;
    away_end(s, &client->away);
    output_unstall(client);
    questions_forget(s, client);
    pc_lifeline_fini(&client->lifeline);
    pc_known_fini(&client->functions); /* its tasks keep what they need */
    client_keep_unread(s, client);
    again_client_lost(s, client);
    for (task = client->tasks; task; task = next) {
        next = task->client_next;
        if (task_is_over(task) && !task->waits_for_hub)
            task_free(s, task);
    }
    pc_json *json = pc_json_object();
    pc_json_put_u64(json, "session", client->session);
    ledger_tell(s, pc_json_msg(PC_MSG_CLIENT_DOWN, json));
    client_check(s, client);
}

void client_drained(struct sched *s, struct client *client)
{
    if (pc_wire_queued(&client->peer->conn.sock.wire) >= SCHED_SLOW_BYTES / 4)
        return;
    if (client->stalled)
        output_unstall(client);
    questions_advance(s, client);
}

/* ---- submissions ------------------------------------------------------------------------ */

int client_function(struct client *client, struct pc_msg *msg, struct pc_err *err)
{
    if (pc_function_decode(msg, &client->functions, err))
        return -1;
    if (!pc_known_add(&client->functions, msg->body, msg->parts_bytes, pc_msg_ref(msg)))
        pc_fatal(1, "out of memory");
    return 0;
}

static void take_options(struct sched *s, struct task *task, const struct pc_submit_body *body)
{
    struct more *more = more_of(task);
    task->priority = body->priority;
    more->retries = body->retries;
    more->may_repeat = body->flags & PC_SUBMIT_RETRY_SAME;
    more->run_timeout_ms = body->run_timeout_ms;
    if (body->tags_size)
        more->tags = pc_xasprintf("%.*s", (int)body->tags_size, body->tags);
    if (body->timeout_ms)
        timeouts_start_by(s, task, body->timeout_ms);
}

bool client_takes_claim(struct sched *s, struct task *task, const struct pc_submit_body *body)
{
    if (!again_is_claimed(s, &task->key))
        return false;
    task->is_balanced = body->flags & PC_SUBMIT_BALANCED;
    if (task->is_balanced && body->flags & PC_SUBMIT_OPTIONS)
        take_options(s, task, body);
    again_claim(s, task);
    return true;
}

/* An engine runs it, and now there is more to know of it. */
static void learn(struct sched *s, struct task *task, struct pc_msg *msg,
                  const struct pc_submit_body *body, struct pc_msg *function)
{
    window_take(task->client, msg, 1, true, NULL);
    task_learn(task, msg, body);
    task_set_function(task, function);
    if (task->is_balanced && body->flags & PC_SUBMIT_OPTIONS)
        take_options(s, task, body);
    timeouts_clear(s, task);
    if (task->state == TASK_RUNNING)
        timeouts_running(s, task);
    records_submitted(s, task, body);
}

/* An earlier scheduler had this task. True: it is known here already, and goes on. */
static bool goes_on(struct sched *s, struct client *client, struct pc_msg *msg,
                    const struct pc_submit_body *body, struct pc_msg *function)
{
    struct task *task =
        client->is_returning ? task_find(s, client->session, msg->head.sequence) : NULL;
    if (!task)
        return false;
    if (!task_is_over(task) && !task->request)
        learn(s, task, msg, body, function);
    else if (task->is_durable && !task->is_held)
        durable_tell_accepted(s, task);
    return true;
}

static int submit_direct(struct sched *s, struct client *client, struct pc_msg *msg,
                         const struct pc_submit_body *body, struct pc_msg *function, bool is_again,
                         bool is_repeated)
{
    char text[96];
    for (uint32_t i = 0; i < body->target_count; i++) {
        uint32_t id = pc_load_u32(body->targets + 4 * (size_t)i);
        struct engine *engine = engine_find(s, id);
        struct task *task = task_new(s, client, msg->head.sequence + i, msg, body);
        if (!task)
            return -1;
        task->is_again = is_again;
        task->is_repeated = is_repeated;
        task_set_function(task, function);
        if (task->is_repeated && client_takes_claim(s, task, body))
            continue;
        if (engine && engine->state == ENGINE_UP) {
            task_set_state(task, TASK_READY);
            queue_direct(s, task, engine);
        } else {
            snprintf(text, sizeof(text), "engine %u is not registered (any more)", id);
            task_fail(s, task, "EngineError", text);
        }
    }
    return 0;
}

void client_place(struct sched *s, struct task *task, const struct pc_submit_body *body)
{
    task->is_balanced = true;
    if (body->target_count) {
        struct ids *targets = &more_of(task)->targets;
        targets->ids = pc_xcalloc(body->target_count, sizeof(*targets->ids));
        targets->count = body->target_count;
        for (uint32_t i = 0; i < body->target_count; i++)
            targets->ids[i] = pc_load_u32(body->targets + 4 * (size_t)i);
    }
    if (body->flags & PC_SUBMIT_OPTIONS)
        take_options(s, task, body);
    if (body->after.count || body->follow.count)
        deps_submit(s, task, body);
    else
        place_task(s, task);
}

/* From whom a submission is. */
enum source {
    FROM_CLIENT,
    FOR_CLIENT,   /* the hub submits it again on behalf of the client */
    FROM_THE_PAST /* the hub had it of an earlier scheduler; the client is not there */
};

static int take_in(struct sched *s, struct client *client, struct pc_msg *msg, enum source source,
                   struct pc_err *err)
{
    struct pc_submit_body body;
    if (pc_submit_decode(msg, &body, err))
        return -1;
    if (msg->head.session != client->session)
        return pc_err_set(err, PC_E_PROTOCOL, "SUBMIT for another session");
    struct pc_known_function *known = NULL;
    if (body.function && !(known = pc_known_use(&client->functions, body.function)))
        return pc_err_set(err, PC_E_PROTOCOL, "SUBMIT names a function that was not sent");
    struct pc_msg *function = known ? known->data : NULL;
    bool is_balanced = body.flags & PC_SUBMIT_BALANCED;
    bool is_repeated = source == FROM_THE_PAST || client->is_returning;
    bool is_again = source != FROM_CLIENT || is_repeated;
    if (goes_on(s, client, msg, &body, function))
        return 0;
    if (window_take(client, msg, is_balanced ? 1 : body.target_count, is_again, err))
        return -1;
    if (!is_balanced) {
        if (submit_direct(s, client, msg, &body, function, is_again, is_repeated))
            return pc_err_set(err, PC_E_PROTOCOL, "SUBMIT uses a task number twice");
        return 0;
    }
    bool is_durable = durable_is(s, &body, is_again);
    struct task *task = task_new(s, client, msg->head.sequence, msg, &body);
    if (!task)
        return pc_err_set(err, PC_E_PROTOCOL, "SUBMIT uses a task number twice");
    task->is_again = is_again;
    task->is_repeated = is_repeated;
    task_set_function(task, function);
    if (task->is_repeated && client_takes_claim(s, task, &body))
        return 0;
    if (is_durable) {
        durable_hold(s, task);
        return 0;
    }
    again_place(s, task, &body);
    return 0;
}

int client_submit(struct sched *s, struct client *client, struct pc_msg *msg, struct pc_err *err)
{
    return take_in(s, client, msg, FROM_CLIENT, err);
}

int client_revive(struct sched *s, struct pc_msg *msg, struct pc_err *err)
{
    struct client *client = client_of_past(s, msg->head.session);
    return take_in(s, client, msg, FROM_THE_PAST, err);
}

int client_ack(struct sched *s, struct client *client, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_reader reader;
    if (msg->head.body_size % PC_ACK_SIZE)
        return pc_err_set(err, PC_E_PROTOCOL, "malformed body of RESULT_ACK");
    pc_reader_init(&reader, msg->body, msg->head.body_size);
    while (reader.left) {
        uint64_t session = pc_get_u64(&reader);
        uint64_t sequence = pc_get_u64(&reader);
        if (session != client->session)
            return pc_err_set(err, PC_E_PROTOCOL, "RESULT_ACK for another session");
        struct task *task = task_find(s, session, sequence);
        if (task && task_is_over(task))
            task_free(s, task);
    }
    return 0;
}

/* ---- what the hub says ------------------------------------------------------------------- */

void client_stored(struct sched *s, uint64_t session, uint64_t sequence)
{
    struct task *task = task_find(s, session, sequence);
    if (!task || task_is_over(task))
        begun_release(&s->begun, session, sequence);
    if (!task || !task_is_over(task))
        return;
    struct client *client = task->client;
    task->waits_for_hub = false;
    if (client_is_there(client))
        return; /* it may want the result, too */
    task_free(s, task);
    client_check(s, client);
}

void client_resubmit(struct sched *s, struct pc_msg *msg)
{
    struct client *client;
    struct pc_err err;
    HASH_FIND(hh, s->clients, &msg->head.session, sizeof(uint64_t), client);
    if (!client || !client_is_there(client) || take_in(s, client, msg, FOR_CLIENT, &err) == 0)
        return;
    /* The number came from the client: the fault is its own. */
    struct peer *peer = client->peer;
    pc_warn("dropped '%s': %s", peer ? peer->name : "a client", err.text);
    if (peer) {
        pc_conn_close(&peer->conn);
        peer_detach(peer, "was dropped");
    } else {
        client_lost(s, client);
    }
}

/* ---- questions -------------------------------------------------------------------------- */

/* As the hub and the parent get it: they know the session. */
static struct pc_msg *signed_question(const struct client *client, const struct pc_msg *msg)
{
    struct pc_msg *question = pc_msg_with_body(PC_MSG_QUERY, msg->body, msg->head.body_size);
    if (!question)
        pc_fatal(1, "out of memory");
    question->head.session = client->session;
    question->head.sequence = msg->head.sequence;
    return question;
}

void client_ask_parent(struct sched *s, struct client *client, const struct pc_msg *msg)
{
    pc_conn_send(&s->parent, signed_question(client, msg));
}

static void ask_hub(struct sched *s, struct client *client, const struct pc_msg *msg,
                    const pc_json *query)
{
    struct pc_msg *question = signed_question(client, msg);
    question_ask(s, client, question, query);
    pc_msg_unref(question);
}

/* Who answers: the parent, the hub, or we. */
int client_query(struct sched *s, struct client *client, struct pc_msg *msg, struct pc_err *err)
{
    pc_json *json = pc_json_of_msg(msg, err);
    if (!json)
        return -1;
    const char *query = pc_json_str_or(json, "query", "");
    if (strcmp(query, "sched") == 0)
        world_reply(client, msg, settings_answer(s, json));
    else if (strcmp(query, "abort") == 0)
        world_reply(client, msg, abort_answer(s, client, json));
    else if (strcmp(query, "shutdown") == 0 || strcmp(query, "processes") == 0)
        client_ask_parent(s, client, msg);
    else if (!order_take(s, client, msg, json))
        ask_hub(s, client, msg, json);
    pc_json_free(json);
    return 0;
}

/* ---- news of engines -------------------------------------------------------------------- */

void clients_tell_engines(struct sched *s, pc_json *engines)
{
    struct client *client, *next_client;
    struct home *home;
    struct pc_msg *msg = pc_json_msg(PC_MSG_ENGINES, engines);
    HASH_ITER (hh, s->clients, client, next_client) {
        if (client_is_there(client))
            client_send(client, pc_msg_ref(msg));
    }
    DL_FOREACH (s->homes, home)
        if (home != &s->home)
            home_send(s, home, pc_msg_ref(msg));
    ledger_tell(s, pc_msg_ref(msg));
    pc_conn_send(&s->parent, msg);
}
