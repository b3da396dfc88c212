/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One task: from the submission to the acknowledged result. doc/TASKS.md shows the states.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "sched/state.h"

#define OVER (1u << TASK_DONE | 1u << TASK_FAILED | 1u << TASK_ABORTED)

/* legal[from] has bit (1 << to) set when the step is legal. */
static const unsigned legal[] = {
    [TASK_WAITING] = 1u << TASK_READY | 1u << TASK_FAILED | 1u << TASK_ABORTED,
    [TASK_READY] =
        1u << TASK_WAITING | 1u << TASK_ASSIGNED | 1u << TASK_FAILED | 1u << TASK_ABORTED,
    [TASK_ASSIGNED] = 1u << TASK_RUNNING | 1u << TASK_WAITING | 1u << TASK_LOST | OVER,
    [TASK_RUNNING] = 1u << TASK_WAITING | 1u << TASK_LOST | OVER,
    [TASK_LOST] = 1u << TASK_WAITING | 1u << TASK_FAILED | 1u << TASK_ABORTED,
    [TASK_DONE] = 0,
    [TASK_FAILED] = 0,
    [TASK_ABORTED] = 0,
};

void task_set_state(struct task *task, enum task_state state)
{
    assert(legal[task->state] & 1u << state);
    task->state = (uint8_t)state;
}

bool task_is_over(const struct task *task)
{
    return OVER & 1u << task->state;
}

struct task *task_find(struct sched *s, uint64_t session, uint64_t sequence)
{
    return pc_index_find(&s->tasks, session, sequence);
}

struct task *task_new(struct sched *s, struct client *client, uint64_t sequence,
                      struct pc_msg *request, const struct pc_submit_body *body)
{
    if (task_find(s, client->session, sequence))
        return NULL;
    struct task *task = pc_xcalloc(1, sizeof(*task));
    task->key = (struct task_key){.session = client->session, .sequence = sequence};
    task->client = client;
    task->request = pc_msg_ref(request);
    task->kind = body->kind;
    task->run_flags = body->run_flags;
    task->submitted_us = pc_wall_us();
    task->state = TASK_WAITING;
    task->is_durable = body->flags & PC_SUBMIT_DURABLE;
    if (pc_index_add(&s->tasks, client->session, sequence, task))
        pc_fatal(1, "out of memory");
    DL_APPEND2(client->tasks, task, client_prev, client_next);
    records_submitted(s, task, body);
    return task;
}

struct task *task_new_unknown(struct sched *s, struct client *client, uint64_t sequence)
{
    struct task *task = pc_xcalloc(1, sizeof(*task));
    task->key = (struct task_key){.session = client->session, .sequence = sequence};
    task->client = client;
    task->submitted_us = pc_wall_us();
    task->state = TASK_WAITING;
    if (pc_index_add(&s->tasks, client->session, sequence, task))
        pc_fatal(1, "out of memory");
    DL_APPEND2(client->tasks, task, client_prev, client_next);
    return task;
}

void task_learn(struct task *task, struct pc_msg *request, const struct pc_submit_body *body)
{
    task->request = pc_msg_ref(request);
    task->kind = body->kind;
    task->run_flags = body->run_flags;
    task->is_balanced = body->flags & PC_SUBMIT_BALANCED;
    task->is_again = true;
}

void task_forget(struct sched *s, struct task *task)
{
    pc_index_remove(&s->tasks, task->key.session, task->key.sequence);
    DL_DELETE2(task->client->tasks, task, client_prev, client_next);
    free(task);
}

void task_set_function(struct task *task, struct pc_msg *function)
{
    task->function = function ? pc_msg_ref(function) : NULL;
}

/* The engine may forget this result: with its next RUN, or now when much has come together. */
void task_acknowledge(struct engine *engine, const struct task *task)
{
    engine_acknowledge(engine, &task->key, task->result_bytes);
}

void engine_acknowledge(struct engine *engine, const struct task_key *key, uint64_t bytes)
{
    pc_buf_put_u64(&engine->acks, key->session);
    pc_buf_put_u64(&engine->acks, key->sequence);
    engine->acked_bytes += bytes;
}

void task_free(struct sched *s, struct task *task)
{
    struct client *client = task->client;
    assert(task_is_over(task));
    if (task->engine) {
        DL_DELETE(task->engine->delivered, task);
        task_acknowledge(task->engine, task);
        queue_advance(task->engine);
    }
    pc_index_remove(&s->tasks, task->key.session, task->key.sequence);
    DL_DELETE2(client->tasks, task, client_prev, client_next);
    pc_msg_unref(task->unread);
    free(task);
}

/* No longer in need of what it was submitted with. */
static void finish(struct sched *s, struct task *task, enum task_state state)
{
    task_set_state(task, state);
    timeouts_clear(s, task);
    past_add(s, task, state == TASK_DONE);
    deps_ended(s, task, state == TASK_DONE);
    deps_forget(task);
    place_unwatch(s, task);
    more_free(task);
    window_give_back(task);
    pc_msg_unref(task->request);
    task->request = NULL;
    pc_msg_unref(task->function);
    task->function = NULL;
    group_put(task->group);
    task->group = NULL;
}

void tasks_drop(struct sched *s)
{
    struct client *client, *next;
    HASH_ITER (hh, s->clients, client, next)
        while (client->tasks) {
            struct task *task = client->tasks;
            if (task->lane)
                group_dequeue(task);
            if (!task_is_over(task))
                finish(s, task, TASK_FAILED);
            task_free(s, task);
        }
    pc_index_fini(&s->tasks);
}

static enum task_state end_state(const struct task *task, uint8_t status)
{
    if (status == PC_STATUS_OK)
        return TASK_DONE;
    return task->is_aborted && status == PC_STATUS_FAILED ? TASK_ABORTED : TASK_FAILED;
}

void task_deliver(struct sched *s, struct task *task, struct pc_msg *result)
{
    struct client *client = task->client;
    finish(s, task, end_state(task, result->body[0]));
    task->result_bytes = result->parts_bytes;
    bool must_keep = !client->peer && world_has_hub(s); /* who else would have it? */
    records_ended(s, task, result, must_keep || task->is_durable);
    if (task->engine)
        DL_APPEND(task->engine->delivered, task);
    task->waits_for_hub = must_keep;
    if (client_is_there(client)) {
        if (result->parts_bytes > s->keep_bytes && !task->is_durable)
            task->unread = pc_msg_ref(result);
        world_result(client, result);
    } else {
        pc_msg_unref(result);
        if (!must_keep) {
            task_free(s, task);
            client_check(s, client);
        }
    }
    deps_run(s);
}

static struct pc_msg *failure(const struct task *task, const char *ename, const char *text)
{
    pc_json *json = pc_json_object(), *info = pc_json_object();
    struct pc_result_body body = {.status = PC_STATUS_FAILED,
                                  .submitted_us = task->submitted_us,
                                  .completed_us = pc_wall_us()};
    if (task->engine)
        pc_json_put_i64(info, "engine_id", task->engine->id);
    pc_json_put_str(json, "ename", ename);
    pc_json_put_str(json, "evalue", text);
    pc_json_put_str(json, "traceback", "");
    pc_json_put(json, "engine_info", info);
    char *printed = pc_json_print(json);
    pc_json_free(json);
    if (!printed)
        pc_fatal(1, "out of memory");
    uint64_t size = strlen(printed);
    struct pc_msg *msg = pc_msg_new(PC_MSG_RESULT, PC_RESULT_BODY_SIZE, &size, 1);
    if (!msg)
        pc_fatal(1, "out of memory");
    memcpy(msg->parts[0].data, printed, size);
    free(printed);
    pc_result_encode(msg->body, &body);
    msg->head.session = task->key.session;
    msg->head.sequence = task->key.sequence;
    msg->head.engine_id = task->engine ? task->engine->id : PC_NO_ENGINE;
    return msg;
}

void task_fail(struct sched *s, struct task *task, const char *ename, const char *text)
{
    struct pc_msg *msg = failure(task, ename, text);
    task->engine = NULL; /* it holds no result that could be acknowledged */
    task_deliver(s, task, msg);
}

/* It ran longer than it may, whatever it said in the end. */
static struct pc_msg *late_failure(struct task *task)
{
    char text[96];
    snprintf(text, sizeof(text), "the task ran longer than its run_timeout of %.3f s",
             task->more->run_timeout_ms / 1e3);
    return failure(task, "TaskTimeout", text);
}

/* From the engine: pass it on as it is, with the time of submission filled in. */
int task_result(struct engine *engine, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = engine->sched;
    struct pc_result_body body;
    if (pc_result_decode(msg, &body, err))
        return -1;
    struct task *task = task_find(s, msg->head.session, msg->head.sequence);
    if (!task || task->engine != engine || task_is_over(task) || task->state < TASK_ASSIGNED)
        return pc_err_set(err, PC_E_PROTOCOL, "RESULT of a task that was not sent to it");
    if (again_defers(task)) {
        again_defer(task, msg);
        queue_advance(engine);
        return 0;
    }
    queue_finished(task);
    ahead_measure(engine, &body);
    body.submitted_us = task->submitted_us;
    pc_result_encode(msg->body, &body);
    msg->head.engine_id = engine->id;
    bool is_late = task->more && task->more->is_late && body.status != PC_STATUS_OK;
    bool is_unmet = body.flags & PC_RESULT_UNMET;
    struct pc_msg *result = is_late ? late_failure(task) : pc_msg_ref(msg);
    /* What may run because of it is as near as what waits already. */
    bool is_held = task->dependents || body.status != PC_STATUS_OK;
    if (is_held)
        queue_hold(s);
    if (body.status == PC_STATUS_OK || !place_may(task, is_unmet))
        task_deliver(s, task, pc_msg_ref(result));
    else
        place_again(s, task, result, is_unmet);
    pc_msg_unref(result);
    queue_advance(engine);
    if (is_held)
        queue_release(s);
    return 0;
}

/* Its engine is gone: that counts as a failure of the attempt. */
void task_lost(struct engine *engine, struct task *task)
{
    struct sched *s = engine->sched;
    struct pc_msg *result;
    task_set_state(task, TASK_LOST);
    if (task->more && task->more->is_late)
        result = late_failure(task);
    else if (task->is_aborted && engine->is_killed)
        result = failure(task, "TaskAborted", engine->why);
    else
        result = failure(task, "EngineError", engine->why);
    if (place_may(task, false)) {
        place_again(s, task, result, false);
    } else {
        task->engine = NULL;
        task_deliver(s, task, pc_msg_ref(result));
    }
    pc_msg_unref(result);
}
