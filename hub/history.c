/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/history.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/clock.h"
#include "lib/failure.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proto.h"

static void drop_function(void *data)
{
    pc_msg_unref(data);
}

void hub_history_init(struct hub_history *history)
{
    *history = (struct hub_history){.nothing = pc_msg_new(PC_MSG_RESULT, 0, NULL, 0),
                                    .functions.drop = drop_function};
    if (!history->nothing)
        pc_fatal(1, "out of memory");
    history->store.limits = (struct hub_limits){HUB_STORE_TASKS, HUB_STORE_BYTES, 0};
    hub_store_open(&history->store, &hub_store_memory, &history->tasks, NULL, NULL);
}

void hub_history_fini(struct hub_history *history)
{
    pc_known_fini(&history->functions);
    hub_store_close(&history->store);
    hub_tasks_fini(&history->tasks);
    pc_msg_unref(history->last_request);
    pc_msg_unref(history->nothing);
}

/* ---- counters of engines ---------------------------------------------------------------- */

/* The engine that a task waits for or runs on; `near` may be it. */
static struct hub_engine *engine_of(struct hub_engines *engines, const struct hub_task *task,
                                    struct hub_engine *near)
{
    if (near && near->id == task->engine_id)
        return near;
    return task->engine_id == PC_NO_ENGINE ? NULL : hub_engines_find(engines, task->engine_id);
}

/* What is waiting for an engine that is down, or runs there, is not counted. */
static bool is_counted(const struct hub_engine *engine)
{
    return engine && engine->state != HUB_ENGINE_DOWN;
}

/* Takes the task out of the counters of its engine, whatever it was there. */
static void leave_engine(struct hub_engine *engine, const struct hub_task *task)
{
    if (!is_counted(engine))
        return;
    if (task->event == PC_RECORD_SUBMITTED && engine->queued)
        engine->queued--;
    if (task->event == PC_RECORD_STARTED && engine->running)
        engine->running--;
}

void hub_history_leave_engine(struct hub_engines *engines, const struct hub_task *task)
{
    leave_engine(engine_of(engines, task, NULL), task);
}

/* `engine`: the one of this id, NULL when it is not known. */
static void set_engine(struct hub_task *task, const struct hub_engine *engine, uint32_t id)
{
    if (id == PC_NO_ENGINE || (id == task->engine_id && task->has_engine_uuid))
        return;
    task->engine_id = id;
    task->has_engine_uuid = engine && engine->has_uuid_bytes;
    if (task->has_engine_uuid)
        memcpy(task->engine_uuid, engine->uuid_bytes, HUB_UUID_SIZE);
}

/* ---- parts ------------------------------------------------------------------------------ */

static struct pc_msg *copy_parts(const struct pc_record *record)
{
    uint64_t few[16], *sizes = few;
    const uint8_t *from = record->part_bytes;
    if (record->part_count > sizeof(few) / sizeof(few[0]))
        sizes = pc_xcalloc(record->part_count, sizeof(*sizes));
    for (uint16_t i = 0; i < record->part_count; i++)
        sizes[i] = pc_load_u32(record->part_sizes + 4 * (size_t)i);
    struct pc_msg *msg = pc_msg_new(PC_MSG_RESULT, 0, sizes, record->part_count);
    if (!msg)
        pc_fatal(1, "out of memory");
    for (uint16_t i = 0; i < record->part_count; i++) {
        memcpy(msg->parts[i].data, from, sizes[i]);
        from += sizes[i];
    }
    if (sizes != few)
        free(sizes);
    return msg;
}

/* The parts that a record speaks of; NULL: they were left out. */
static struct pc_msg *parts_of(struct hub_history *history, const struct pc_record *record,
                               struct pc_msg *msg)
{
    if (record->flags & PC_RECORD_SAME)
        return history->last_request ? pc_msg_ref(history->last_request) : NULL;
    if (record->flags & PC_RECORD_OUTSIDE)
        return pc_msg_sharing(PC_MSG_RESULT, NULL, 0, msg);
    if (!(record->flags & PC_RECORD_INSIDE))
        return NULL;
    return record->part_count ? copy_parts(record) : pc_msg_ref(history->nothing);
}

/* ---- the steps -------------------------------------------------------------------------- */

static void take_request(struct hub_history *history, struct hub_task *task,
                         const struct pc_record *record, struct pc_msg *msg)
{
    struct pc_submit_body body;
    task->request_bytes = record->bytes;
    if (hub_task_set_body(task, record->body, record->body_size, &body) == 0) {
        const struct pc_known_function *known =
            body.function ? pc_known_use(&history->functions, body.function) : NULL;
        hub_tasks_set_label(&history->tasks, task, body.label, body.label_size);
        if (known)
            hub_tasks_set_function(&history->tasks, task, known->data);
    }
    struct pc_msg *request = parts_of(history, record, msg);
    if (!(record->flags & PC_RECORD_SAME)) {
        pc_msg_unref(history->last_request);
        history->last_request = request ? pc_msg_ref(request) : NULL;
    }
    if (task->is_durable) {
        task->request = request; /* until it is on disk */
        return;
    }
    if (request && history->pending_bytes + record->bytes > history->store.limits.bytes) {
        pc_msg_unref(request);
        request = NULL;
    }
    task->request = request;
    if (request)
        history->pending_bytes += record->bytes;
}

static void task_submitted(struct hub_history *history, struct hub_engine *engine,
                           struct hub_task *task, const struct pc_record *record)
{
    history->submitted++;
    task->submitted_us = record->time_us;
    task->is_durable = record->flags & PC_RECORD_DURABLE;
    if (task->is_durable)
        DL_APPEND2(history->unwritten, task, end_prev, end_next);
    set_engine(task, engine, record->engine_id);
    if (is_counted(engine))
        engine->queued++;
}

static void task_started(struct hub_engine *engine, struct hub_task *task,
                         const struct pc_record *record)
{
    task->started_us = record->time_us;
    set_engine(task, engine, record->engine_id);
    if (is_counted(engine))
        engine->running++;
}

/* The engine's clock says when it began and completed; the record, when that was known here. */
static void take_times(struct hub_task *task, const struct pc_record *record)
{
    struct pc_result_body body;
    struct pc_msg msg = {.head = {.type = PC_MSG_RESULT, .body_size = record->body_size},
                         .body = (uint8_t *)(uintptr_t)record->body};
    task->received_us = task->completed_us = record->time_us;
    if (record->body_size != PC_RESULT_BODY_SIZE || pc_result_decode(&msg, &body, NULL))
        return;
    if (body.submitted_us)
        task->submitted_us = body.submitted_us;
    if (body.started_us)
        task->started_us = body.started_us;
    if (body.completed_us)
        task->completed_us = body.completed_us;
}

static void task_ended(struct hub_history *history, struct hub_engine *engine,
                       struct hub_task *task, const struct pc_record *record, struct pc_msg *msg)
{
    set_engine(task, engine, record->engine_id);
    bool is_ok = record->status == PC_STATUS_OK;
    *(is_ok ? &history->done : &history->failed) += 1;
    if (engine)
        *(is_ok ? &engine->tasks_done : &engine->tasks_failed) += 1;
    take_times(task, record);
    task->status = record->status;
    task->has_gap = record->flags & PC_RECORD_GAP;
    task->result_bytes = record->bytes;
    task->result = parts_of(history, record, msg);
    hub_task_close_output(task);
    if (task->is_durable)
        hub_history_leave_unwritten(history, task);
    else if (task->request)
        history->pending_bytes -= task->request_bytes;
}

void hub_history_leave_unwritten(struct hub_history *history, struct hub_task *task)
{
    if (task->end_prev)
        DL_DELETE2(history->unwritten, task, end_prev, end_next);
    task->end_prev = task->end_next = NULL;
}

void hub_history_end(struct hub_history *history, struct hub_task *task, const char *ename,
                     const char *text)
{
    history->failed++;
    if (!task->is_durable && task->request && !hub_task_has_ended(task))
        history->pending_bytes -= task->request_bytes;
    task->event = PC_RECORD_ENDED;
    task->status = PC_STATUS_FAILED;
    task->completed_us = task->received_us = pc_wall_us();
    task->result = pc_failure_new(ename, text);
    if (!task->result)
        pc_fatal(1, "out of memory");
    task->result_bytes = task->result->parts_bytes;
    hub_task_close_output(task);
}

void hub_history_fail(struct hub_history *history, struct hub_task *task, const char *ename,
                      const char *text)
{
    hub_history_end(history, task, ename, text);
    hub_history_keep(history, task);
}

/* Another scheduler has it, which does not know that it is on disk: that is said once more. */
static void write_again(struct hub_history *history, struct hub_task *task)
{
    if (task->is_durable && !task->end_prev)
        DL_APPEND2(history->unwritten, task, end_prev, end_next);
}

/* Known, or new. NULL: it has ended before. */
static struct hub_task *task_of(struct hub_history *history, const struct pc_record *record)
{
    struct hub_task_key key = {.session = record->session, .sequence = record->sequence};
    struct hub_task *task = hub_tasks_find(&history->tasks, &key);
    if (!task && record->event != PC_RECORD_SUBMITTED)
        task = hub_store_get(&history->store, &key);
    if (task)
        return hub_task_has_ended(task) ? NULL : task;
    return hub_tasks_add(&history->tasks, &key);
}

/* It was too large to be remembered; now nobody else has it. */
static void take_late_result(struct hub_history *history, const struct hub_task_key *key,
                             const struct pc_record *record, struct pc_msg *msg)
{
    struct hub_task *task = hub_store_get(&history->store, key);
    if (!task || !hub_task_has_ended(task))
        return;
    hub_store_load(&history->store, task);
    struct pc_msg *result = task->result ? NULL : parts_of(history, record, msg);
    if (result)
        hub_store_add_result(&history->store, task, result);
}

/* The store has the task already, with all that was said of it: only the counters were lost. */
static void count_again(struct hub_history *history, struct hub_engines *engines,
                        const struct pc_record *record)
{
    struct hub_engine *engine =
        record->engine_id == PC_NO_ENGINE ? NULL : hub_engines_find(engines, record->engine_id);
    bool is_ok = record->status == PC_STATUS_OK;
    history->submitted += record->event == PC_RECORD_SUBMITTED;
    if (record->event != PC_RECORD_ENDED)
        return;
    *(is_ok ? &history->done : &history->failed) += 1;
    if (engine)
        *(is_ok ? &engine->tasks_done : &engine->tasks_failed) += 1;
}

bool hub_history_is_stored(struct hub_history *history, const struct hub_task_key *key)
{
    struct hub_store *store = &history->store;
    return store->kind->number_of && !hub_tasks_find(&history->tasks, key) &&
           store->kind->number_of(store, key) != 0;
}

void hub_history_record_comes(const struct hub_history *history, const struct pc_record *record)
{
    struct hub_task_key key = {.session = record->session, .sequence = record->sequence};
    if (record->event != PC_RECORD_SUBMITTED)
        hub_task_come(hub_tasks_find(&history->tasks, &key));
}

struct hub_task *hub_history_record(struct hub_history *history, struct hub_engines *engines,
                                    const struct pc_record *record, struct pc_msg *msg)
{
    struct hub_task_key key = {.session = record->session, .sequence = record->sequence};
    if (record->flags & PC_RECORD_LATE) {
        take_late_result(history, &key, record, msg);
        return NULL;
    }
    if (history->is_replaying && hub_history_is_stored(history, &key)) {
        count_again(history, engines, record);
        return NULL;
    }
    struct hub_task *task = task_of(history, record);
    if (task)
        task->is_orphan = false; /* a scheduler has it now */
    if (task && task->event && record->event == PC_RECORD_SUBMITTED)
        write_again(history, task);
    if (!task || (task->event && record->event == PC_RECORD_SUBMITTED))
        return NULL;
    struct hub_engine *engine =
        record->engine_id == PC_NO_ENGINE ? NULL : hub_engines_find(engines, record->engine_id);
    leave_engine(engine_of(engines, task, engine), task);
    switch (record->event) {
    case PC_RECORD_SUBMITTED:
        task_submitted(history, engine, task, record);
        take_request(history, task, record, msg);
        break;
    case PC_RECORD_STARTED:
        task_started(engine, task, record);
        break;
    case PC_RECORD_ENDED:
        task_ended(history, engine, task, record, msg);
        break;
    }
    if (record->kind != PC_KIND_NONE) /* else the scheduler knows only that an engine had it */
        task->kind = record->kind;
    task->event = record->event;
    return record->event == PC_RECORD_ENDED ? task : NULL;
}

int hub_history_function(struct hub_history *history, struct pc_msg *msg, struct pc_err *err)
{
    if (msg->head.body_size == PC_FUNCTION_NAME_SIZE &&
        pc_known_use(&history->functions, msg->body))
        return 0; /* after a loss of the journal it may be said twice */
    if (pc_function_decode(msg, &history->functions, err))
        return -1;
    if (!pc_known_add(&history->functions, msg->body, msg->parts_bytes, pc_msg_ref(msg)))
        pc_fatal(1, "out of memory");
    return 0;
}

void hub_history_gap(struct hub_history *history)
{
    pc_msg_unref(history->last_request);
    history->last_request = NULL;
}

void hub_history_keep(struct hub_history *history, struct hub_task *task)
{
    history->has_durable_end = history->has_durable_end || task->is_durable;
    history->store.kind->ended(&history->store, task);
}

struct hub_task *hub_history_output(struct hub_history *history, const struct pc_msg *msg,
                                    const struct pc_stream_body *body, size_t *known)
{
    struct hub_task_key key = {.session = msg->head.session, .sequence = msg->head.sequence};
    struct hub_task *task = hub_tasks_find(&history->tasks, &key);
    if (!task || hub_task_has_ended(task))
        return NULL;
    *known = hub_task_print(task, body, msg->parts[0].data, msg->parts[0].size);
    return task;
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
