/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ending tasks early. What no engine has seen ends here and now. What an engine has is its
 * business: the order goes to its control lane, which is read while user code runs, and the answer
 * is the task's RESULT like any other.
 */
#include "lib/log.h"
#include "sched/state.h"

struct tally {
    unsigned ended, passed_on;
};

/* The task that the engine works on; it has begun, or is about to. */
static bool is_running(const struct task *task)
{
    return task->state == TASK_RUNNING;
}

static void abort_task(struct sched *s, struct task *task, uint8_t flags, struct tally *tally)
{
    if (task_is_over(task))
        return;
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

static void answer(struct client *client, const struct pc_msg *msg, const struct tally *tally)
{
    pc_json *json = pc_json_object();
    pc_json_put_bool(json, "ok", true);
    pc_json_put_i64(json, "ended", tally->ended);
    pc_json_put_i64(json, "passed_on", tally->passed_on);
    world_reply(client, msg, json);
}

int client_abort(struct sched *s, struct client *client, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_abort_body body;
    struct tally tally = {0};
    if (pc_abort_decode(msg, &body, err))
        return -1;
    for (uint32_t i = 0; i < body.count; i++) {
        const uint8_t *pair = body.tasks + (size_t)i * PC_ACK_SIZE;
        struct task *task = task_find(s, pc_load_u64(pair), pc_load_u64(pair + 8));
        if (task) /* else it has ended, and that was acknowledged */
            abort_task(s, task, body.flags, &tally);
    }
    if (body.count == 0)
        interrupt_engine(engine_find(s, msg->head.engine_id), &tally);
    answer(client, msg, &tally);
    return 0;
}
