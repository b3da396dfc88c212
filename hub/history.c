/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/history.h"

#include <stdlib.h>

#include "lib/mem.h"
#include "lib/proto.h"

void hub_history_fini(struct hub_history *history)
{
    struct hub_task *task, *next;
    HASH_ITER (hh, history->tasks, task, next) {
        HASH_DEL(history->tasks, task);
        free(task);
    }
}

/* The engine a task waits for or runs on, while that engine is not down. */
static struct hub_engine *engine_of(struct hub_engines *engines, uint32_t id)
{
    struct hub_engine *engine = id == PC_NO_ENGINE ? NULL : hub_engines_find(engines, id);
    return engine && engine->state != HUB_ENGINE_DOWN ? engine : NULL;
}

/* Takes the task out of its engine's counters, whatever it was there. */
static void leave_engine(struct hub_engines *engines, const struct hub_task *task)
{
    struct hub_engine *engine = engine_of(engines, task->engine_id);
    if (engine && task->event == PC_RECORD_SUBMITTED && engine->queued)
        engine->queued--;
    if (engine && task->event == PC_RECORD_STARTED && engine->running)
        engine->running--;
}

/* The task of a record: known, or new in place of the oldest one. */
static struct hub_task *task_of(struct hub_history *history, struct hub_engines *engines,
                                const struct pc_record *record)
{
    struct hub_task_key key = {.session = record->session, .sequence = record->sequence};
    struct hub_task *task;
    HASH_FIND(hh, history->tasks, &key, sizeof(key), task);
    if (task)
        return task;
    if (HASH_COUNT(history->tasks) >= HUB_TASKS_KEPT) {
        struct hub_task *oldest = history->tasks;
        leave_engine(engines, oldest);
        HASH_DEL(history->tasks, oldest);
        free(oldest);
    }
    task = pc_xcalloc(1, sizeof(*task));
    task->key = key;
    task->engine_id = PC_NO_ENGINE;
    HASH_ADD(hh, history->tasks, key, sizeof(task->key), task);
    return task;
}

static void task_submitted(struct hub_history *history, struct hub_engines *engines,
                           struct hub_task *task, const struct pc_record *record)
{
    history->submitted++;
    task->submitted_us = record->time_us;
    task->engine_id = record->engine_id;
    struct hub_engine *engine = engine_of(engines, record->engine_id);
    if (engine)
        engine->queued++;
}

static void task_started(struct hub_history *history, struct hub_engines *engines,
                         struct hub_task *task, const struct pc_record *record)
{
    history->started++;
    leave_engine(engines, task);
    task->started_us = record->time_us;
    task->engine_id = record->engine_id;
    struct hub_engine *engine = engine_of(engines, record->engine_id);
    if (engine)
        engine->running++;
}

static void task_ended(struct hub_history *history, struct hub_engines *engines,
                       struct hub_task *task, const struct pc_record *record)
{
    leave_engine(engines, task);
    task->ended_us = record->time_us;
    task->status = record->status;
    if (record->engine_id != PC_NO_ENGINE)
        task->engine_id = record->engine_id;
    struct hub_engine *engine =
        task->engine_id == PC_NO_ENGINE ? NULL : hub_engines_find(engines, task->engine_id);
    if (record->status == PC_STATUS_OK) {
        history->done++;
        if (engine)
            engine->tasks_done++;
    } else {
        history->failed++;
        if (engine)
            engine->tasks_failed++;
    }
}

void hub_history_record(struct hub_history *history, struct hub_engines *engines,
                        const struct pc_record *record)
{
    struct hub_task *task = task_of(history, engines, record);
    if (task->event == PC_RECORD_ENDED)
        return;
    switch (record->event) {
    case PC_RECORD_SUBMITTED:
        if (!task->event)
            task_submitted(history, engines, task, record);
        break;
    case PC_RECORD_STARTED:
        task_started(history, engines, task, record);
        break;
    case PC_RECORD_ENDED:
        task_ended(history, engines, task, record);
        break;
    default:
        return;
    }
    task->kind = record->kind;
    task->bytes = record->bytes;
    task->event = record->event;
}

pc_json *hub_history_totals(const struct hub_history *history)
{
    uint64_t ended = history->done + history->failed;
    pc_json *totals = pc_json_object();
    pc_json_put_i64(totals, "submitted", (int64_t)history->submitted);
    pc_json_put_i64(totals, "done", (int64_t)history->done);
    pc_json_put_i64(totals, "failed", (int64_t)history->failed);
    pc_json_put_i64(totals, "pending",
                    history->submitted > ended ? (int64_t)(history->submitted - ended) : 0);
    return totals;
}

static pc_json *task_json(const struct hub_task *task)
{
    static const char *const states[] = {"unknown", "submitted", "started", "ended"};
    pc_json *row = pc_json_object();
    pc_json_put_u64(row, "session", task->key.session);
    pc_json_put_i64(row, "sequence", (int64_t)task->key.sequence);
    pc_json_put_str(row, "state", states[task->event <= PC_RECORD_ENDED ? task->event : 0]);
    pc_json_put_i64(row, "kind", task->kind);
    pc_json_put_i64(row, "status", task->status);
    pc_json_put_i64(row, "engine_id",
                    task->engine_id == PC_NO_ENGINE ? -1 : (int64_t)task->engine_id);
    pc_json_put_i64(row, "submitted_us", task->submitted_us);
    pc_json_put_i64(row, "started_us", task->started_us);
    pc_json_put_i64(row, "ended_us", task->ended_us);
    pc_json_put_i64(row, "bytes", (int64_t)task->bytes);
    return row;
}

pc_json *hub_history_latest(const struct hub_history *history, uint32_t limit)
{
    pc_json *rows = pc_json_array();
    if (!history->tasks)
        return rows;
    struct hub_task *task = ELMT_FROM_HH(history->tasks->hh.tbl, history->tasks->hh.tbl->tail);
    for (; task && limit; limit--) {
        pc_json_append(rows, task_json(task));
        task = task->hh.prev;
    }
    return rows;
}
