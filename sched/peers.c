/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages from clients, engines and hosts: the table says who may send what. */
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/clock.h"
#include "lib/dispatch.h"
#include "lib/log.h"
#include "sched/state.h"

static int on_submit(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    return client_submit(role, peer->client, msg, err);
}

static int on_function(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    return client_function(peer->client, msg, err);
}

static int on_ack(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    return client_ack(role, peer->client, msg, err);
}

static int on_abort(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    return client_abort(role, peer->client, msg, err);
}

static int on_query(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    return client_query(role, peer->client, msg, err);
}

static int on_result(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    struct engine *engine = peer->engine;
    output_acknowledge(engine);
    return engine->is_unreported ? again_result(engine, msg, err) : task_result(engine, msg, err);
}

static int on_held(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    return again_held(peer->engine, msg, err);
}

static int on_resumed(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    return again_resumed(role, peer->client, msg, err);
}

static int on_recall(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    return ahead_recalled(peer->engine, msg, err);
}

static int on_stream(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    return output_forward(peer->engine, msg, err);
}

static int on_pong(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    return 0; /* that anything came counts, see on_message */
}

static int on_goodbye(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    struct engine *engine = peer->engine;
    if (engine) {
        pc_json *json = pc_json_of_msg(msg, err);
        if (!json)
            return -1;
        engine_set_why(engine, pc_json_str_or(json, "reason", "said goodbye"));
        pc_json_free(json);
    }
    struct home *home = peer->home;
    if (home) {
        peer->home = NULL;
        peer->conn.sock.wire.lifeline = NULL;
        home_leave(peer->sched, home);
    }
    pc_conn_close(&peer->conn);
    peer_detach(peer, "said goodbye");
    return 0;
}

static int on_exited(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    if (peer->home)
        engine_exited(role, msg, peer->home);
    return 0;
}

static int on_end(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct peer *peer = from;
    return peer->home ? order_fewer(role, peer->home, msg, err) : 0;
}

static const struct pc_handler handlers[] = {
    {PC_MSG_SUBMIT, PC_FROM_CLIENT, on_submit},
    {PC_MSG_FUNCTION, PC_FROM_CLIENT, on_function},
    {PC_MSG_RESULT, PC_FROM_WORK, on_result},
    {PC_MSG_STREAM, PC_FROM_WORK, on_stream},
    {PC_MSG_RECALL, PC_FROM_CONTROL, on_recall},
    {PC_MSG_HELD, PC_FROM_WORK, on_held},
    {PC_MSG_RESUMED, PC_FROM_CLIENT, on_resumed},
    {PC_MSG_RESULT_ACK, PC_FROM_CLIENT, on_ack},
    {PC_MSG_ABORT, PC_FROM_CLIENT, on_abort},
    {PC_MSG_QUERY, PC_FROM_CLIENT, on_query},
    {PC_MSG_PONG, PC_FROM_CONTROL, on_pong},
    {PC_MSG_GOODBYE, PC_FROM_CLIENT | PC_FROM_CONTROL | PC_FROM_HOST, on_goodbye},
    {PC_MSG_EXITED, PC_FROM_HOST, on_exited},
    {PC_MSG_END, PC_FROM_HOST, on_end},
    {0, 0, NULL},
};

/* Takes the peer out of what it belongs to; its connection is closing or closed. `why` ends a
 * sentence that begins with an engine: "lost its connection". */
void peer_detach(struct peer *peer, const char *why)
{
    struct sched *s = peer->sched;
    struct client *client = peer->client;
    struct engine *engine = peer->engine;
    struct home *home = peer->home;
    peer->client = NULL;
    peer->engine = NULL;
    peer->home = NULL;
    peer->conn.sock.wire.lifeline = NULL;
    if (home)
        home_remove(s, home);
    if (client)
        client_lost(s, client);
    if (engine && engine->control == peer)
        engine->control = NULL;
    if (engine && engine->work == peer)
        engine->work = NULL;
    if (engine)
        engine_lane_lost(engine, why);
}

static void detach_with(struct peer *peer, const char *what, const struct pc_err *err)
{
    char why[256];
    snprintf(why, sizeof(why), "%s: %.200s", what, err->text);
    peer_detach(peer, why);
}

static void on_message(struct pc_conn *conn, struct pc_msg *msg)
{
    struct peer *peer = conn->owner;
    struct pc_err err = {.code = PC_OK};
    bool is_lane = peer->sender & (PC_FROM_CONTROL | PC_FROM_WORK);
    if (peer->engine)
        peer->engine->heard_ms = world_now_ms(peer->sched);
    /* Detached, its connection is about to close: what still comes is of no use to anybody. */
    bool is_detached =
        (is_lane && !peer->engine) || (peer->sender == PC_FROM_CLIENT && !peer->client);
    if (!is_detached && pc_dispatch_msg(handlers, peer->sender, peer->sched, peer, msg, &err)) {
        pc_warn("dropped '%s': %s", peer->name, err.text);
        pc_conn_close(conn);
        detach_with(peer, "was dropped", &err);
    }
    pc_msg_unref(msg);
}

/* Whose connection just broke. False: it may not come back; who broke the rules never does. */
static bool await_return(struct peer *peer, const struct pc_err *why)
{
    struct sched *s = peer->sched;
    if (why->code != PC_E_LOST || !s->grace_ms || s->is_stopping)
        return false;
    if (peer->client)
        away_client(s, peer->client);
    else if (peer->home)
        away_home(s, peer->home);
    else if (!peer->engine || !engine_cut(peer->engine))
        return false;
    return true;
}

static void on_lost(struct pc_conn *conn, const struct pc_err *why)
{
    struct peer *peer = conn->owner;
    if (why->code == PC_E_PROTOCOL || why->code == PC_E_VERSION || why->code == PC_E_MEMORY)
        pc_warn("dropped '%s': %s", peer->name, why->text);
    else
        pc_debug("'%s' is gone: %s", peer->name, why->text);
    if (!await_return(peer, why))
        detach_with(peer, "lost its connection", why);
}

static void on_drained(struct pc_conn *conn)
{
    struct peer *peer = conn->owner;
    if (peer->client)
        client_drained(peer->sched, peer->client);
}

static void on_closed(struct pc_conn *conn)
{
    struct peer *peer = conn->owner;
    struct sched *s = peer->sched;
    peer_detach(peer, "lost its connection");
    if (peer->sender == PC_FROM_HOST)
        DL_DELETE(s->hosts, peer);
    else
        DL_DELETE(s->strangers, peer);
    free(peer);
}

const struct pc_conn_events peer_events = {
    .on_message = on_message,
    .on_lost = on_lost,
    .on_closed = on_closed,
    .on_drained = on_drained,
};
