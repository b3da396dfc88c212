/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happened to tasks, in batches, to the hub: never one message per task, never on the way of
 * a task. A batch goes when it is large or some milliseconds old.
 *
 * That a task was sent to its engine is recorded when a batch has become that old, or somebody
 * asks: of one that has ended by then the end says enough.
 *
 * With it go the parts of requests and results: small ones inside, larger ones by reference. What
 * is larger than the hub keeps is left out, and so is everything that can be when the hub is slow.
 */
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "sched/state.h"

#define BATCH_BYTES (64 * 1024)
#define BATCH_MS    25
#define DURABLE_MS  1 /* somebody waits for it */
/* A hub that has more than this to read gets no parts and no output until it has caught up. */
#define BACKLOG_BYTES (64u * 1024 * 1024)
/* A submission whose body is larger is recorded without the tasks it depends on; and without its
 * targets, when there are more of those. */
#define BODY_MAX    4096
#define TARGETS_MAX 10000

static void on_timer(uv_timer_t *timer)
{
    records_flush(timer->data);
}

void records_init(struct sched *s)
{
    pc_buf_init(&s->records, 0);
    pc_buf_init(&s->record_kept, 0);
    uv_timer_init(&s->loop, &s->record_timer);
    s->record_timer.data = s;
    s->is_unrecorded = getenv("PCLUSTER_BENCH_UNRECORDED"); /* by bench/records.py, to compare */
}

static void tell(struct sched *s, struct pc_msg *msg)
{
    if (s->record_kept.size)
        ledger_tell_kept(s, msg, &s->record_kept);
    else
        ledger_tell(s, msg);
}

static void send_batch(struct sched *s)
{
    if (!s->records.size)
        return;
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECORDS, s->records.data, s->records.size);
    if (!msg)
        pc_fatal(1, "out of memory");
    s->records.size = 0;
    tell(s, msg);
}

static void wake_soon(struct sched *s)
{
    if (!uv_is_active((uv_handle_t *)&s->record_timer))
        uv_timer_start(&s->record_timer, on_timer, BATCH_MS, 0);
}

static void wake_at_once(struct sched *s)
{
    wake_soon(s);
    if (uv_timer_get_due_in(&s->record_timer) > DURABLE_MS)
        uv_timer_start(&s->record_timer, on_timer, DURABLE_MS, 0);
}

/* The hub needs all of it. */
static bool is_whole(const struct pc_record *record)
{
    return record->flags & (PC_RECORD_KEEP | PC_RECORD_DURABLE);
}

static bool hub_is_slow(const struct sched *s)
{
    return s->ledger.bytes > BACKLOG_BYTES;
}

/* The result, or the durable request, must not be lost: its batch says so. */
static void note_kept(struct sched *s, const struct pc_record *record)
{
    if (!is_whole(record))
        return;
    pc_buf_put_u64(&s->record_kept, record->session);
    pc_buf_put_u64(&s->record_kept, record->sequence);
}

/* Alone in a message that refers to the parts of `origin`. */
static void send_alone(struct sched *s, struct pc_record *record, struct pc_msg *origin)
{
    struct pc_buf body;
    send_batch(s);
    pc_buf_init(&body, 0);
    record->flags |= PC_RECORD_OUTSIDE;
    if (pc_record_encode(&body, record, NULL))
        pc_fatal(1, "out of memory");
    struct pc_msg *msg = pc_msg_sharing(PC_MSG_RECORDS, body.data, body.size, origin);
    pc_buf_fini(&body);
    if (!msg)
        pc_fatal(1, "out of memory");
    note_kept(s, record);
    tell(s, msg);
}

/* `origin`: whose parts belong to it, or NULL. */
static void add(struct sched *s, struct pc_record *record, struct pc_msg *origin)
{
    const struct pc_part *parts = NULL;
    if (origin && origin->parts_bytes > PC_RECORD_INSIDE_MAX) {
        if (is_whole(record) || (origin->parts_bytes <= s->keep_bytes && !hub_is_slow(s))) {
            send_alone(s, record, origin);
            return;
        }
    } else if (origin) {
        record->flags |= PC_RECORD_INSIDE;
        record->part_count = origin->head.part_count;
        parts = origin->parts;
    }
    note_kept(s, record);
    if (record->flags & PC_RECORD_DURABLE)
        wake_at_once(s);
    else
        wake_soon(s);
    if (pc_record_encode(&s->records, record, parts))
        pc_fatal(1, "out of memory");
    if (s->records.size >= BATCH_BYTES)
        send_batch(s);
}

static struct pc_record record_of(const struct task *task, enum pc_record_event event)
{
    return (struct pc_record){
        .event = (uint8_t)event,
        .kind = task->kind,
        .engine_id = task->engine ? task->engine->id : PC_NO_ENGINE,
        .session = task->key.session,
        .sequence = task->key.sequence,
    };
}

/* The function that the next record names, unless the hub has it. Both ends keep the same table, so
 * what is recorded already goes first. */
static void send_function(struct sched *s, const struct task *task, const uint8_t *name)
{
    const struct pc_known_function *function;
    if (pc_known_use(&s->hub_functions, name) || (hub_is_slow(s) && !task->is_durable) ||
        !(function = pc_known_find(&task->client->functions, name)))
        return;
    send_batch(s);
    ledger_tell(s, pc_msg_ref(function->data));
    if (!pc_known_add(&s->hub_functions, name, function->size, NULL))
        pc_fatal(1, "out of memory");
}

void records_submitted(struct sched *s, const struct task *task, const struct pc_submit_body *body)
{
    struct pc_msg *request = task->request;
    struct pc_record record = record_of(task, PC_RECORD_SUBMITTED);
    struct pc_submit_body one = *body;
    if (s->is_unrecorded && !task->is_durable)
        return;
    record.time_us = task->submitted_us;
    record.bytes = request->parts_bytes;
    record.flags = task->is_durable ? PC_RECORD_DURABLE : 0;
    if (!(body->flags & PC_SUBMIT_BALANCED)) {
        uint64_t index = task->key.sequence - request->head.sequence;
        one.target_count = 1;
        one.targets = body->targets + 4 * index;
        record.engine_id = pc_load_u32(one.targets);
        if (index) {
            record.flags = PC_RECORD_SAME;
            request = NULL;
        }
    } else if (task->request->head.body_size > BODY_MAX && !task->is_durable) {
        one.after.count = one.follow.count = 0;
        if (one.target_count > TARGETS_MAX)
            one.target_count = 0;
    }
    if (body->function)
        send_function(s, task, body->function);
    struct pc_buf *out = &s->record_body;
    out->size = 0;
    if (pc_submit_encode(out, &one))
        pc_fatal(1, "out of memory");
    record.body = out->data;
    record.body_size = (uint32_t)out->size;
    add(s, &record, request);
}

/* ---- starts ----------------------------------------------------------------------------- */

void records_started(struct sched *s, struct task *task)
{
    struct engine *engine = task->engine;
    if (s->is_unrecorded)
        return;
    task->sent_ms = world_now_ms(s);
    task->is_start_known = false;
    wake_soon(s);
    if (engine->has_starts)
        return;
    engine->has_starts = true;
    DL_APPEND2(s->starting, engine, starting_prev, starting_next);
}

void records_engine_gone(struct engine *engine)
{
    if (!engine->has_starts)
        return;
    engine->has_starts = false;
    DL_DELETE2(engine->sched->starting, engine, starting_prev, starting_next);
}

/* The latest of its tasks, back to the first that the hub knows to be there. */
static void add_starts(struct sched *s, struct engine *engine, int64_t now_ms, int64_t now_us)
{
    struct task *task = engine->running ? engine->running->prev : NULL;
    records_engine_gone(engine);
    while (task && !task->is_start_known) {
        struct pc_record record = record_of(task, PC_RECORD_STARTED);
        record.time_us = now_us - (now_ms - task->sent_ms) * 1000;
        add(s, &record, NULL);
        task->is_start_known = true;
        task = task == engine->running ? NULL : task->prev;
    }
}

void records_flush(struct sched *s)
{
    int64_t now_ms = world_now_ms(s), now_us = pc_wall_us();
    while (s->starting)
        add_starts(s, s->starting, now_ms, now_us);
    send_batch(s);
    uv_timer_stop(&s->record_timer);
}

/* ---- ends and output -------------------------------------------------------------------- */

static void ended(struct sched *s, const struct task *task, struct pc_msg *result, unsigned flags)
{
    struct pc_record record = record_of(task, PC_RECORD_ENDED);
    if (s->is_unrecorded && !(flags & PC_RECORD_KEEP))
        return;
    record.time_us = pc_wall_us();
    record.status = result->body[0];
    record.bytes = result->parts_bytes;
    record.flags = (uint8_t)(flags | (task->has_output_gap ? PC_RECORD_GAP : 0));
    record.body = result->body;
    record.body_size = result->head.body_size;
    if (record.engine_id == PC_NO_ENGINE)
        record.engine_id = result->head.engine_id;
    add(s, &record, result);
}

void records_ended(struct sched *s, const struct task *task, struct pc_msg *result, bool must_keep)
{
    ended(s, task, result, must_keep ? PC_RECORD_KEEP : 0);
}

void records_unread(struct sched *s, struct task *task)
{
    struct pc_msg *result = task->unread;
    task->unread = NULL;
    task->waits_for_hub = true;
    ended(s, task, result, PC_RECORD_KEEP | PC_RECORD_LATE);
    pc_msg_unref(result);
}

void records_output(struct sched *s, struct pc_msg *output)
{
    if (!hub_is_slow(s)) {
        send_batch(s); /* it must know the task */
        ledger_tell(s, pc_msg_ref(output));
        return;
    }
    struct task *task = task_find(s, output->head.session, output->head.sequence);
    if (task)
        task->has_output_gap = true;
}
