/* SPDX-License-Identifier: BSD-3-Clause */
/* What decisions do to others: messages. */
#include "lib/log.h"
#include "sched/state.h"

void world_acks(struct engine *engine)
{
    if (!engine->acks.size || !engine->work)
        return;
    pc_conn_send_body(&engine->work->conn, PC_MSG_RESULT_ACK, engine->acks.data, engine->acks.size);
    engine->acks.size = 0;
    engine->acked_bytes = 0;
}

/* Unless it has it. */
static void send_function(struct engine *engine, struct pc_msg *function)
{
    if (pc_known_use(&engine->functions, function->body))
        return;
    if (!pc_known_add(&engine->functions, function->body, function->parts_bytes, NULL))
        pc_fatal(1, "out of memory");
    pc_conn_send(&engine->work->conn, pc_msg_ref(function));
}

void world_run(struct engine *engine, const struct task *task)
{
    uint8_t body[PC_RUN_NAMED_SIZE];
    struct pc_run_body run = {.kind = task->kind,
                              .run_flags = task->run_flags,
                              .function = task->function ? task->function->body : NULL};
    if (task->function)
        send_function(engine, task->function);
    size_t size = pc_run_encode(body, &run);
    struct pc_frame head = {.type = PC_MSG_RUN,
                            .body_size = (uint32_t)size,
                            .session = task->key.session,
                            .sequence = task->key.sequence,
                            .engine_id = engine->id,
                            .part_count = task->request->head.part_count};
    pc_conn_send_parts(&engine->work->conn, &head, body, task->request);
}

void world_recall(struct engine *engine, uint32_t first)
{
    uint8_t body[PC_RECALL_SIZE];
    pc_recall_encode(body, &(struct pc_recall_body){.first = first, .last = engine->runs});
    engine_tell(engine, pc_msg_with_body(PC_MSG_RECALL, body, sizeof(body)));
}

static void on_ahead(uv_timer_t *timer)
{
    ahead_check(timer->data);
}

void world_check_ahead(struct sched *s, unsigned in_ms)
{
    uv_timer_start(&s->ahead_timer, on_ahead, in_ms, 0);
}

bool world_has_hub(const struct sched *s)
{
    return !s->is_stopping || s->hub.is_open;
}

int64_t world_now_ms(struct sched *s)
{
    return (int64_t)uv_now(&s->loop);
}

static void on_deadline(uv_timer_t *timer)
{
    timeouts_expire(timer->data);
}

void world_wake_at(struct sched *s, int64_t at_ms)
{
    int64_t left = at_ms - world_now_ms(s);
    uv_timer_start(&s->deadline_timer, on_deadline, left > 0 ? (uint64_t)left : 0, 0);
}

static void on_exit_timer(uv_timer_t *timer)
{
    engine_finish(timer->data);
}

void world_await_exit(struct engine *engine, unsigned in_ms)
{
    if (!uv_is_active((uv_handle_t *)&engine->exit_timer))
        uv_timer_start(&engine->exit_timer, on_exit_timer, in_ms, 0);
}

static void on_coming(uv_timer_t *timer)
{
    coming_check(timer->data);
}

void world_check_coming(struct sched *s, unsigned in_ms)
{
    if (!uv_is_active((uv_handle_t *)&s->coming_timer))
        uv_timer_start(&s->coming_timer, on_coming, in_ms, 0);
}

void world_kill(struct engine *engine, const char *why)
{
    order_replacement(engine);
    engine_dismiss(engine, why, 0);
}

void world_abort(struct engine *engine, const struct task *task, uint8_t flags)
{
    uint8_t pair[PC_ACK_SIZE];
    struct pc_buf body;
    pc_store_u64(pair, task->key.session);
    pc_store_u64(pair + 8, task->key.sequence);
    pc_buf_init(&body, 0);
    if (pc_abort_encode(&body, &(struct pc_abort_body){.flags = flags, .count = 1, .tasks = pair}))
        pc_fatal(1, "out of memory");
    engine_tell(engine, pc_msg_with_body(PC_MSG_ABORT, body.data, body.size));
    pc_buf_fini(&body);
}

void world_reply(struct client *client, const struct pc_msg *to, pc_json *json)
{
    struct pc_msg *reply = pc_json_msg(PC_MSG_REPLY, json);
    if (!reply)
        pc_fatal(1, "out of memory");
    reply->head.session = client->session;
    reply->head.sequence = to->head.sequence;
    client_send(client, reply);
}

void world_window(struct client *client, pc_json *json)
{
    struct pc_msg *msg = pc_json_msg(PC_MSG_WINDOW, json);
    if (client_is_there(client))
        client_send(client, msg);
    else
        pc_msg_unref(msg);
}

void world_result(struct client *client, struct pc_msg *msg)
{
    client_send(client, msg);
}
