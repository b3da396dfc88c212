/* SPDX-License-Identifier: BSD-3-Clause */
#include "yard.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/mem.h"

/* What one client was told; in the memory where its connection would be. */
struct told {
    uint64_t sequence;
    UT_hash_handle hh;
    char what[40];
};

struct ear {
    struct peer peer; /* first: client.peer */
    struct told *told;
};

FILE *yard_log;

static void note(const char *what, uint32_t engine_id, const struct task *task)
{
    if (yard_log)
        fprintf(yard_log, "%s %u %llu %llu\n", what, engine_id,
                (unsigned long long)task->key.session, (unsigned long long)task->key.sequence);
}

/* ---- the world -------------------------------------------------------------------------- */

void world_run(struct engine *engine, const struct task *task)
{
    note("r", engine->id, task);
}

void world_acks(struct engine *engine)
{
    engine->acks.size = 0;
    engine->acked_bytes = 0;
}

void world_abort(struct engine *engine, const struct task *task, uint8_t flags)
{
    note("a", engine->id, task);
}

static struct yard *yard_of(struct sched *s)
{
    return (struct yard *)s; /* it is the first member */
}

bool world_has_hub(const struct sched *s)
{
    return false;
}

int64_t world_now_ms(struct sched *s)
{
    return yard_of(s)->now_ms;
}

void world_wake_at(struct sched *s, int64_t at_ms)
{
    yard_of(s)->wake_ms = at_ms;
}

void world_recall(struct engine *engine, uint32_t first)
{
    if (yard_log)
        fprintf(yard_log, "c %u %u\n", engine->id, engine->runs + 1 - first);
}

void world_check_ahead(struct sched *s, unsigned in_ms)
{
    yard_of(s)->look_ms = yard_of(s)->now_ms + in_ms;
}

void world_kill(struct engine *engine, const char *why)
{
    engine->is_killed = true;
    if (yard_log)
        fprintf(yard_log, "k %u\n", engine->id);
    snprintf(engine->why, sizeof(engine->why), "%s", why);
}

void world_reply(struct client *client, const struct pc_msg *to, pc_json *json)
{
    pc_json_free(json);
}

void world_window(struct client *client, pc_json *json)
{
    pc_json_free(json);
}

void world_result(struct client *client, struct pc_msg *msg)
{
    struct ear *ear = (struct ear *)client->peer;
    struct told *told = pc_xcalloc(1, sizeof(*told)), *same;
    told->sequence = msg->head.sequence;
    HASH_FIND(hh, ear->told, &told->sequence, sizeof(told->sequence), same);
    assert_null(same); /* a task ends once */
    snprintf(told->what, sizeof(told->what), "%s", msg->body[0] == PC_STATUS_OK ? "ok" : "error");
    if (msg->body[0] == PC_STATUS_FAILED) {
        pc_json *json = pc_json_parse(msg->parts[0].data, msg->parts[0].size, NULL);
        snprintf(told->what, sizeof(told->what), "%s", pc_json_str_or(json, "ename", "?"));
        pc_json_free(json);
    }
    if (yard_log)
        fprintf(yard_log, "e %llu %llu %s\n", (unsigned long long)client->session,
                (unsigned long long)told->sequence, told->what);
    HASH_ADD(hh, ear->told, sequence, sizeof(told->sequence), told);
    pc_msg_unref(msg);
}

void records_init(struct sched *s)
{
}

void records_flush(struct sched *s)
{
}

void records_submitted(struct sched *s, const struct task *task, const struct pc_submit_body *body)
{
}

void records_started(struct sched *s, const struct task *task)
{
}

void records_output(struct sched *s, struct pc_msg *output)
{
}

void records_ended(struct sched *s, const struct task *task, struct pc_msg *result, bool must_keep)
{
}

/* ---- the yard --------------------------------------------------------------------------- */

void yard_open(struct yard *yard, const char *scheme, unsigned hwm)
{
    memset(yard, 0, sizeof(*yard));
    yard->sched.policy = policy_find(scheme);
    yard->sched.hwm = hwm;
    yard->sched.seed = 1;
    yard->sched.window_count = SCHED_WINDOW_COUNT;
    yard->sched.window_bytes = SCHED_WINDOW_BYTES;
    yard->took_us = 1000000;
    groups_init(&yard->sched);
    timeouts_init(&yard->sched);
}

struct client *yard_client(struct yard *yard, uint64_t session)
{
    struct client *client = pc_xcalloc(1, sizeof(*client));
    struct ear *ear = pc_xcalloc(1, sizeof(*ear));
    client->session = session;
    client->peer = &ear->peer;
    client->window.told_count = yard->sched.window_count;
    client->window.told_bytes = yard->sched.window_bytes;
    HASH_ADD(hh, yard->sched.clients, session, sizeof(client->session), client);
    return client;
}

struct engine *yard_engine(struct yard *yard)
{
    return yard_tagged_engine(yard, "");
}

struct engine *yard_tagged_engine(struct yard *yard, const char *tags)
{
    struct engine *engine = pc_xcalloc(1, sizeof(*engine));
    engine->sched = &yard->sched;
    engine->id = yard->next_id++;
    engine->state = ENGINE_UP;
    snprintf(engine->tags, sizeof(engine->tags), "%s", tags);
    pc_buf_init(&engine->acks, 0);
    HASH_ADD(hh_id, yard->sched.engines_by_id, id, sizeof(engine->id), engine);
    queue_engine_up(engine);
    return engine;
}

void yard_lose(struct yard *yard, uint32_t id, const char *why)
{
    struct engine *engine = engine_find(&yard->sched, id);
    snprintf(engine->why, sizeof(engine->why), "%s", why);
    engine->state = ENGINE_LOST;
    HASH_DELETE(hh_id, yard->sched.engines_by_id, engine);
    queue_engine_gone(engine);
    pc_buf_fini(&engine->acks);
    free(engine);
}

void yard_exit(struct yard *yard, uint32_t id, const char *why)
{
    engine_find(&yard->sched, id)->has_exited = true;
    yard_lose(yard, id, why);
}

uint64_t yard_running(struct yard *yard, uint32_t id)
{
    struct engine *engine = engine_find(&yard->sched, id);
    return engine->running ? engine->running->key.sequence : 0;
}

size_t yard_load(struct yard *yard, uint32_t id)
{
    return engine_find(&yard->sched, id)->load.tasks;
}

void yard_submit(struct yard *yard, struct client *client, uint64_t sequence,
                 const struct pc_submit_body *body)
{
    struct pc_buf buf;
    struct pc_err err;
    pc_buf_init(&buf, 0);
    assert_int_equal(pc_submit_encode(&buf, body), 0);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_SUBMIT, buf.data, buf.size);
    msg->head.session = client->session;
    msg->head.sequence = sequence;
    if (client_submit(&yard->sched, client, msg, &err))
        fail_msg("%s", err.text);
    pc_msg_unref(msg);
    pc_buf_fini(&buf);
}

void yard_answer(struct yard *yard, uint32_t id, uint8_t status)
{
    struct engine *engine = engine_find(&yard->sched, id);
    struct pc_result_body body = {.status = status & 0x0f,
                                  .flags = status >> 4,
                                  .started_us = 1,
                                  .completed_us = 1 + yard->took_us};
    uint8_t bytes[PC_RESULT_BODY_SIZE];
    struct pc_err err;
    assert_non_null(engine->running);
    pc_result_encode(bytes, &body);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RESULT, bytes, sizeof(bytes));
    msg->head.session = engine->running->key.session;
    msg->head.sequence = engine->running->key.sequence;
    if (task_result(engine, msg, &err))
        fail_msg("%s", err.text);
    pc_msg_unref(msg);
}

void yard_pass(struct yard *yard, int64_t ms)
{
    yard->now_ms += ms;
    timeouts_expire(&yard->sched);
    if (yard->look_ms && yard->look_ms <= yard->now_ms) {
        yard->look_ms = 0;
        ahead_check(&yard->sched);
    }
}

void yard_recalled(struct yard *yard, uint32_t id, uint32_t begun)
{
    struct engine *engine = engine_find(&yard->sched, id);
    struct pc_recall_body body = {.first = engine->recalled + begun, .last = engine->runs};
    uint8_t bytes[PC_RECALL_SIZE];
    struct pc_err err;
    pc_recall_encode(bytes, &body);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECALL, bytes, sizeof(bytes));
    if (ahead_recalled(engine, msg, &err))
        fail_msg("%s", err.text);
    pc_msg_unref(msg);
}

void yard_abort(struct yard *yard, struct client *client, uint64_t sequence, uint8_t flags)
{
    struct pc_buf buf;
    struct pc_err err;
    uint8_t pair[PC_ACK_SIZE];
    pc_store_u64(pair, client->session);
    pc_store_u64(pair + 8, sequence);
    pc_buf_init(&buf, 0);
    pc_abort_encode(&buf, &(struct pc_abort_body){.flags = flags, .count = 1, .tasks = pair});
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_ABORT, buf.data, buf.size);
    if (client_abort(&yard->sched, client, msg, &err))
        fail_msg("%s", err.text);
    pc_msg_unref(msg);
    pc_buf_fini(&buf);
}

const char *yard_outcome(const struct client *client, uint64_t sequence)
{
    struct ear *ear = (struct ear *)client->peer;
    struct told *told;
    HASH_FIND(hh, ear->told, &sequence, sizeof(sequence), told);
    return told ? told->what : NULL;
}

void yard_close(struct yard *yard)
{
    struct sched *s = &yard->sched;
    struct engine *engine, *next_engine;
    struct client *client, *next;
    struct told *told, *next_told;
    s->is_stopping = true;
    HASH_ITER (hh_id, s->engines_by_id, engine, next_engine)
        yard_lose(yard, engine->id, "the end");
    tasks_drop(s);
    HASH_ITER (hh, s->clients, client, next) {
        struct ear *ear = (struct ear *)client->peer;
        assert_null(client->tasks);
        HASH_ITER (hh, ear->told, told, next_told) {
            HASH_DEL(ear->told, told);
            free(told);
        }
        HASH_DEL(s->clients, client);
        free(ear);
        free(client);
    }
    assert_int_equal(s->tasks.count, 0);
    assert_int_equal(s->ready_count, 0);
    groups_fini(s);
    timeouts_fini(s);
    past_fini(s);
    tagsets_fini(s);
}
