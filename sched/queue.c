/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who runs what. Each engine has a queue of tasks addressed to it, which go first; balanced tasks
 * wait in one queue and go to the engine that has been idle longest. Both steps cost the same
 * however many tasks or engines there are.
 */
#include <assert.h>
#include <stdio.h>

#include <utlist.h>

#include "lib/log.h"
#include "sched/state.h"

/* ---- engines that can take a balanced task, least recently used first -------------------- */

static void idle_update(struct engine *engine)
{
    struct sched *s = engine->sched;
    bool is_free = engine->state == ENGINE_UP && engine->assigned < SCHED_HWM && !engine->queue;
    if (is_free == engine->is_free)
        return;
    engine->is_free = is_free;
    if (is_free)
        DL_APPEND2(s->idle_first, engine, idle_prev, idle_next);
    else
        DL_DELETE2(s->idle_first, engine, idle_prev, idle_next);
}

/* ---- sending ---------------------------------------------------------------------------- */

static void send_acks(struct engine *engine)
{
    if (!engine->acks.size || !engine->work)
        return;
    pc_conn_send_body(&engine->work->conn, PC_MSG_RESULT_ACK, engine->acks.data, engine->acks.size);
    engine->acks.size = 0;
    engine->acked_bytes = 0;
}

static void assign(struct engine *engine, struct task *task)
{
    uint8_t body[PC_RUN_BODY_SIZE];
    struct pc_run_body run = {.kind = task->kind, .run_flags = task->run_flags};
    pc_run_encode(body, &run);
    struct pc_msg *msg = pc_msg_sharing(PC_MSG_RUN, body, sizeof(body), task->request);
    if (!msg)
        pc_fatal(1, "out of memory");
    msg->head.session = task->key.session;
    msg->head.sequence = task->key.sequence;
    msg->head.engine_id = engine->id;
    task->engine = engine;
    task_set_state(task, TASK_ASSIGNED);
    DL_APPEND(engine->running, task);
    engine->assigned++;
    send_acks(engine);
    pc_conn_send(&engine->work->conn, msg);
    records_add(engine->sched, PC_RECORD_STARTED, task, 0, 0);
}

/* ---- steps ------------------------------------------------------------------------------ */

static void advance_ready(struct sched *s)
{
    while (s->ready && s->idle_first) {
        struct engine *engine = s->idle_first;
        struct task *task = s->ready;
        DL_DELETE(s->ready, task);
        s->ready_count--;
        assign(engine, task);
        idle_update(engine);
    }
}

void queue_advance(struct engine *engine)
{
    if (engine->state != ENGINE_UP) {
        idle_update(engine);
        return;
    }
    while (engine->queue && engine->assigned < SCHED_DIRECT_AHEAD) {
        struct task *task = engine->queue;
        DL_DELETE(engine->queue, task);
        engine->queued--;
        assign(engine, task);
    }
    if (engine->acks.size >= SCHED_ACK_COUNT * PC_ACK_SIZE ||
        engine->acked_bytes >= SCHED_ACK_BYTES)
        send_acks(engine);
    idle_update(engine);
    if (engine->is_free)
        advance_ready(engine->sched);
}

void queue_direct(struct sched *s, struct task *task, struct engine *engine)
{
    task->engine = engine;
    DL_APPEND(engine->queue, task);
    engine->queued++;
    queue_advance(engine);
}

void queue_balanced(struct sched *s, struct task *task)
{
    DL_APPEND(s->ready, task);
    s->ready_count++;
    advance_ready(s);
}

void queue_engine_up(struct engine *engine)
{
    queue_advance(engine);
}

/* Everything that was on this engine fails, saying why. */
void queue_engine_gone(struct engine *engine)
{
    struct sched *s = engine->sched;
    struct task *task, *next;
    idle_update(engine);
    DL_FOREACH_SAFE (engine->running, task, next) {
        DL_DELETE(engine->running, task);
        task_fail(s, task, "EngineError", engine->why);
    }
    DL_FOREACH_SAFE (engine->queue, task, next) {
        DL_DELETE(engine->queue, task);
        task_fail(s, task, "EngineError", engine->why);
    }
    engine->queued = engine->assigned = 0;
    /* The results that it delivered need no acknowledgement any more. */
    DL_FOREACH_SAFE (engine->delivered, task, next) {
        DL_DELETE(engine->delivered, task);
        task->engine = NULL;
    }
}
