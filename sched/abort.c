/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ending tasks early. What no engine has seen ends here and now. What an engine has is its
 * business: the order goes to its control lane, which is read while user code runs, and the answer
 * is the task's RESULT like any other. What it has not begun is also called back.
 *
 * ABORT names tasks by number and costs what it names. The query `abort` is for people: it finds
 * tasks by their text ids or by label, and looks at every task for that.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sched/state.h"

struct tally {
    unsigned ended, passed_on, unknown;
};

/* The task that the engine works on; it has begun, or is about to. */
static bool is_running(const struct task *task)
{
    return task->state == TASK_RUNNING;
}

static void abort_task(struct sched *s, struct task *task, uint8_t flags, struct tally *tally)
{
    task->is_aborted = true; /* whatever becomes of it: it is not tried again */
    if (task->state == TASK_READY || task->state == TASK_WAITING) {
        if (task->state == TASK_READY)
            queue_withdraw(task);
        task_fail(s, task, "TaskAborted", "the task was aborted before it started");
        tally->ended++;
    } else {
        world_abort(task->engine, task, flags);
        if (is_running(task) && flags & PC_ABORT_KILL)
            timeouts_told(s, task);
        tally->passed_on++;
    }
}

/* What runs on an engine now. */
static void interrupt_engine(struct engine *engine, struct tally *tally)
{
    if (!engine || !engine->running || !is_running(engine->running))
        return;
    world_abort(engine, engine->running, PC_ABORT_INTERRUPT);
    tally->passed_on++;
}

/* What an engine has not begun ends without waiting for what it runs. */
static void call_back(struct sched *s, const uint8_t *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *pair = pairs + i * PC_ACK_SIZE;
        struct task *task = task_find(s, pc_load_u64(pair), pc_load_u64(pair + 8));
        if (task && task->state == TASK_ASSIGNED)
            ahead_aborted(task->engine);
    }
}

/* Pairs of session and sequence. What depends on those that end hears of it afterwards: it may be
 * among them. */
static void abort_tasks(struct sched *s, const uint8_t *pairs, size_t count, uint8_t flags,
                        struct tally *tally)
{
    bool was_settling = s->is_settling;
    s->is_settling = true;
    queue_hold(s);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *pair = pairs + i * PC_ACK_SIZE;
        struct task *task = task_find(s, pc_load_u64(pair), pc_load_u64(pair + 8));
        if (task && !task_is_over(task))
            abort_task(s, task, flags, tally);
        else
            tally->unknown++;
    }
    call_back(s, pairs, count);
    s->is_settling = was_settling;
    deps_run(s);
    queue_release(s);
}

static pc_json *answer(const struct tally *tally)
{
    pc_json *json = pc_json_object();
    pc_json_put_bool(json, "ok", true);
    pc_json_put_i64(json, "ended", tally->ended);
    pc_json_put_i64(json, "passed_on", tally->passed_on);
    pc_json_put_i64(json, "unknown", tally->unknown);
    return json;
}

int client_abort(struct sched *s, struct client *client, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_abort_body body;
    struct tally tally = {0};
    if (pc_abort_decode(msg, &body, err))
        return -1;
    if (body.count)
        abort_tasks(s, body.tasks, body.count, body.flags, &tally);
    else
        interrupt_engine(engine_find(s, msg->head.engine_id), &tally);
    world_reply(client, msg, answer(&tally));
    return 0;
}

/* ---- the query -------------------------------------------------------------------------- */

static void put_key(struct pc_buf *pairs, uint64_t session, uint64_t sequence)
{
    pc_buf_put_u64(pairs, session);
    pc_buf_put_u64(pairs, sequence);
}

/* "0123456789abcdef_17" */
static int add_named(struct pc_buf *pairs, const char *name, struct pc_err *err)
{
    char *end = NULL;
    uint64_t session = name ? strtoull(name, &end, 16) : 0;
    if (!name || end != name + 16 || *end != '_')
        return pc_err_set(err, PC_E_INVALID, "'%.40s' is no id of a task", name ? name : "?");
    uint64_t sequence = strtoull(end + 1, &end, 10);
    if (*end)
        return pc_err_set(err, PC_E_INVALID, "'%.40s' is no id of a task", name);
    put_key(pairs, session, sequence);
    return 0;
}

static bool has_label(const struct task *task, const char *label)
{
    struct pc_submit_body body;
    return pc_submit_decode(task->request, &body, NULL) == 0 && body.label_size == strlen(label) &&
           memcmp(body.label, label, body.label_size) == 0;
}

/* Those of one client, or of all, that have this label; NULL: any. */
static void add_found(struct sched *s, struct pc_buf *pairs, const struct client *only,
                      const char *label)
{
    const struct client *client, *next;
    HASH_ITER (hh, s->clients, client, next)
        if (!only || client == only)
            for (const struct task *task = client->tasks; task; task = task->client_next)
                if (!task_is_over(task) && (!label || has_label(task, label)))
                    put_key(pairs, task->key.session, task->key.sequence);
}

/* {"tasks": [id, ...]} or {"label": text} or {"all": true}; the latter two mean the client's own
 * unless "anybody" is true. "interrupt": also those that run, and end their engine if that does not
 * help. */
pc_json *abort_answer(struct sched *s, struct client *client, const pc_json *query)
{
    struct pc_buf pairs;
    struct pc_err err = {.code = PC_OK};
    struct tally tally = {0};
    const pc_json *names = pc_json_member(query, "tasks");
    const char *label = pc_json_str_or(query, "label", NULL);
    bool is_anybody = pc_json_bool_or(query, "anybody", false);
    uint8_t flags =
        pc_json_bool_or(query, "interrupt", false) ? PC_ABORT_INTERRUPT | PC_ABORT_KILL : 0;
    pc_buf_init(&pairs, 0);
    for (const pc_json *name = pc_json_first(names); name && err.code == PC_OK;
         name = pc_json_next(name))
        add_named(&pairs, pc_json_text(name), &err);
    if (label || pc_json_bool_or(query, "all", false))
        add_found(s, &pairs, is_anybody ? NULL : client, label);
    if (pairs.failed)
        pc_fatal(1, "out of memory");
    if (err.code == PC_OK)
        abort_tasks(s, pairs.data, pairs.size / PC_ACK_SIZE, flags, &tally);
    pc_buf_fini(&pairs);
    if (err.code == PC_OK)
        return answer(&tally);
    pc_json *reply = pc_json_object();
    pc_json_put_bool(reply, "ok", false);
    pc_json_put_str(reply, "error", err.text);
    return reply;
}
