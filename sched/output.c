/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Output of engines on its way to clients. An engine may have PC_OUTPUT_WINDOW bytes under way;
 * it gets them back in larger steps when they were passed on, and not while the client that reads
 * them is slow. So a task that prints a gigabyte costs a few hundred KiB here, whoever reads.
 */
#include <utlist.h>

#include "lib/log.h"
#include "sched/state.h"

#define CREDIT_STEP (PC_OUTPUT_WINDOW / 4)

/* Gives back what is owed, unless the client is slow, and says what came. */
static void grant(struct engine *engine)
{
    struct pc_credit_body body = {.bytes = engine->stalled_on ? 0 : engine->owed,
                                  .came = pc_lifeline_tell_apart(&engine->work_line)};
    engine->owed -= body.bytes;
    engine_tell(engine, pc_credit_new(&body));
}

void output_acknowledge(struct engine *engine)
{
    if (pc_lifeline_is_due(&engine->work_line))
        grant(engine);
}

static void stall(struct engine *engine, struct client *client)
{
    if (engine->stalled_on)
        return;
    engine->stalled_on = client;
    DL_APPEND2(client->stalled, engine, stalled_prev, stalled_next);
}

void output_unstall(struct client *client)
{
    struct engine *engine, *next;
    DL_FOREACH_SAFE2 (client->stalled, engine, next, stalled_next) {
        DL_DELETE2(client->stalled, engine, stalled_prev, stalled_next);
        engine->stalled_on = NULL;
        if (engine->owed >= CREDIT_STEP)
            grant(engine);
    }
}

void output_engine_gone(struct engine *engine)
{
    struct client *client = engine->stalled_on;
    if (client)
        DL_DELETE2(client->stalled, engine, stalled_prev, stalled_next);
    engine->stalled_on = NULL;
}

int output_forward(struct engine *engine, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = engine->sched;
    struct client *client;
    struct pc_stream_body body;
    if (pc_stream_decode(msg, &body, err))
        return -1;
    engine->owed += msg->parts_bytes;
    if (engine->owed > 2 * PC_OUTPUT_WINDOW)
        return pc_err_set(err, PC_E_PROTOCOL, "it sends more output than its window allows");
    msg->head.engine_id = engine->id;
    if (body.stream < PC_STREAM_TEXTS) /* the rest is only for the client */
        records_output(s, msg);
    HASH_FIND(hh, s->clients, &msg->head.session, sizeof(uint64_t), client);
    if (client && client_is_there(client)) {
        client_send(client, pc_msg_ref(msg));
        if (!client->peer || pc_wire_queued(&client->peer->conn.sock.wire) > SCHED_SLOW_BYTES)
            stall(engine, client);
    }
    if (!engine->stalled_on && engine->owed >= CREDIT_STEP)
        grant(engine);
    output_acknowledge(engine);
    return 0;
}
