/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients, engines and hosts whose connection broke, and that may come back within the grace time.
 * What is for them meanwhile is kept in their lifelines, and goes over the next connection.
 */
#include <assert.h>
#include <string.h>

#include <utlist.h>

#include "lib/log.h"
#include "sched/state.h"

/* ---- tokens ----------------------------------------------------------------------------- */

/* Drawn from the controller's key, so that they need no memory, and nobody else can make one. */
void token_key_make(struct sched *s)
{
    static const char purpose[] = "pcluster resume tokens";
    uint8_t from[PC_KEY_SIZE + sizeof(purpose)];
    memcpy(from, s->private_key, PC_KEY_SIZE);
    memcpy(from + PC_KEY_SIZE, purpose, sizeof(purpose));
    pc_hash(from, sizeof(from), s->token_key);
    pc_wipe(from, sizeof(from));
}

static void make_token(const struct sched *s, enum token_kind kind, const void *name, size_t size,
                       uint8_t token[SCHED_TOKEN_SIZE])
{
    uint8_t from[sizeof(s->token_key) + 1 + SCHED_UUID_SIZE], hash[32];
    assert(size <= SCHED_UUID_SIZE);
    memcpy(from, s->token_key, sizeof(s->token_key));
    from[sizeof(s->token_key)] = (uint8_t)kind;
    memcpy(from + sizeof(s->token_key) + 1, name, size);
    pc_hash(from, sizeof(s->token_key) + 1 + size, hash);
    memcpy(token, hash, SCHED_TOKEN_SIZE);
    pc_wipe(from, sizeof(from));
    pc_wipe(hash, sizeof(hash));
}

void token_put(const struct sched *s, enum token_kind kind, const void *name, size_t size,
               pc_json *welcome)
{
    uint8_t token[SCHED_TOKEN_SIZE];
    char text[2 * SCHED_TOKEN_SIZE + 1];
    make_token(s, kind, name, size, token);
    pc_hex_encode(token, sizeof(token), text);
    pc_json_put_str(welcome, "token", text);
    pc_wipe(token, sizeof(token));
    pc_wipe(text, sizeof(text));
}

bool token_is_right(const struct sched *s, enum token_kind kind, const void *name, size_t size,
                    const pc_json *hello)
{
    uint8_t token[SCHED_TOKEN_SIZE], said[SCHED_TOKEN_SIZE];
    make_token(s, kind, name, size, token);
    bool is_right = pc_hex_decode(pc_json_str_or(hello, "token", ""), said, sizeof(said)) == 0 &&
                    pc_equal(said, token, sizeof(token));
    pc_wipe(token, sizeof(token));
    return is_right;
}

/* ---- sending ---------------------------------------------------------------------------- */

void session_send(struct peer *peer, struct pc_lifeline *lifeline, struct pc_msg *msg)
{
    if (peer) {
        pc_conn_send(&peer->conn, msg);
        return;
    }
    if (!msg || pc_lifeline_keep(lifeline, msg))
        pc_fatal(1, "out of memory");
    pc_msg_unref(msg);
}

void engine_tell(struct engine *engine, struct pc_msg *msg)
{
    if (!msg)
        pc_fatal(1, "out of memory");
    if (engine->control || engine->away.is_away)
        session_send(engine->control, &engine->control_line, msg);
    else
        pc_msg_unref(msg);
}

void client_send(struct client *client, struct pc_msg *msg)
{
    session_send(client->peer, &client->lifeline, msg);
}

/* ---- away and back ---------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

static void wake_for_first(struct sched *s)
{
    int64_t left = s->away ? s->away->until_ms - world_now_ms(s) : 0;
    if (s->away)
        uv_timer_start(&s->away_timer, on_timer, left > 0 ? (uint64_t)left : 0, 0);
    else
        uv_timer_stop(&s->away_timer);
}

static void begin(struct sched *s, struct away *away)
{
    away->is_away = true;
    away->until_ms = world_now_ms(s) + s->grace_ms;
    DL_APPEND(s->away, away); /* all have the same time: they are in order */
    if (s->away == away)
        wake_for_first(s);
}

void away_end(struct sched *s, struct away *away)
{
    if (!away->is_away)
        return;
    away->is_away = false;
    DL_DELETE(s->away, away);
    wake_for_first(s);
}

static void on_timer(uv_timer_t *timer)
{
    struct sched *s = timer->data;
    while (s->away && s->away->until_ms <= world_now_ms(s)) {
        struct away *away = s->away;
        away_end(s, away);
        if (away->client)
            client_lost(s, away->client);
        else if (away->engine)
            engine_stayed_away(away->engine);
        else
            home_remove(s, away->home);
    }
    wake_for_first(s);
}

void away_begin_client(struct sched *s, struct client *client)
{
    client->away.client = client;
    begin(s, &client->away);
}

/* So it is known that it was told nothing since. */
static void tell_hub(struct sched *s, const struct client *client, bool is_away)
{
    pc_json *json = pc_json_object();
    pc_json_put_u64(json, "session", client->session);
    pc_json_put_bool(json, "away", is_away);
    records_flush(s);
    ledger_tell(s, pc_json_msg(PC_MSG_CLIENT_UP, json));
}

void away_client_back(struct sched *s, struct client *client)
{
    away_end(s, &client->away);
    tell_hub(s, client, false);
}

void away_client(struct sched *s, struct client *client)
{
    tell_hub(s, client, true);
    client->peer->client = NULL;
    client->peer->conn.sock.wire.lifeline = NULL;
    client->peer = NULL;
    client->away.client = client;
    client_keep_unread(s, client);
    begin(s, &client->away);
}

void away_engine(struct engine *engine)
{
    engine->away.engine = engine;
    if (!engine->away.is_away) /* else it had come back half */
        begin(engine->sched, &engine->away);
}

void away_home(struct sched *s, struct home *home)
{
    home->peer->home = NULL;
    home->peer->conn.sock.wire.lifeline = NULL;
    home->peer = NULL;
    home->away.home = home;
    begin(s, &home->away);
}
