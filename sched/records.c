/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happened to tasks, in batches, to the hub: never one message per task, never on the way of
 * a task. A batch goes when it is large or some milliseconds old.
 */
#include "lib/clock.h"
#include "lib/log.h"
#include "sched/state.h"

#define BATCH_BYTES (64 * 1024)
#define BATCH_MS    25

static void on_timer(uv_timer_t *timer)
{
    records_flush(timer->data);
}

void records_init(struct sched *s)
{
    pc_buf_init(&s->records, 0);
    uv_timer_init(&s->loop, &s->record_timer);
    s->record_timer.data = s;
}

void records_flush(struct sched *s)
{
    if (!s->records.size)
        return;
    pc_conn_send_body(&s->hub, PC_MSG_RECORDS, s->records.data, s->records.size);
    s->records.size = 0;
    uv_timer_stop(&s->record_timer);
}

void records_add(struct sched *s, enum pc_record_event event, const struct task *task,
                 uint8_t status, uint64_t bytes)
{
    struct pc_record record = {
        .event = (uint8_t)event,
        .kind = task->kind,
        .status = status,
        .engine_id = task->engine ? task->engine->id : PC_NO_ENGINE,
        .session = task->key.session,
        .sequence = task->key.sequence,
        .time_us = pc_wall_us(),
        .bytes = bytes,
    };
    uint8_t *place = pc_buf_reserve(&s->records, PC_RECORD_SIZE);
    if (!place)
        pc_fatal(1, "out of memory");
    pc_record_encode(place, &record);
    s->records.size += PC_RECORD_SIZE;
    if (s->records.size >= BATCH_BYTES)
        records_flush(s);
    else if (s->records.size == PC_RECORD_SIZE)
        uv_timer_start(&s->record_timer, on_timer, BATCH_MS, 0);
}
