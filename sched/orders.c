/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What clients want done with engines: start, stop, restart, signal. Also fewer, for a home.
 *
 * Decided is here what that means for tasks; done it is by the parent that started the engine, its
 * home: ours, or one on another machine. An order names any number of engines, and each home gets
 * those that are its own. Clients see what came of it as arrivals and departures.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "sched/state.h"

#define GRACE_DEFAULT_MS 2000
#define GRACE_MAX_MS     86400000
/* In one message to a home. */
#define CHOSEN_MAX 4096

/* ---- homes ------------------------------------------------------------------------------ */

static struct home *find_home(struct sched *s, const uint8_t uuid[SCHED_UUID_SIZE])
{
    static const uint8_t none[SCHED_UUID_SIZE];
    struct home *home;
    if (memcmp(uuid, none, sizeof(none)) == 0)
        return NULL;
    DL_FOREACH (s->homes, home)
        if (memcmp(home->uuid, uuid, sizeof(home->uuid)) == 0)
            return home;
    return NULL;
}

void homes_init(struct sched *s, const pc_json *config)
{
    if (pc_hex_decode(pc_json_str_or(config, "home", ""), s->home.uuid, sizeof(s->home.uuid)))
        memset(s->home.uuid, 0, sizeof(s->home.uuid));
    gethostname(s->home.host, sizeof(s->home.host) - 1);
    s->home.pid = s->controller_pid;
    DL_APPEND(s->homes, &s->home);
}

bool home_add(struct sched *s, struct peer *peer, const pc_json *hello)
{
    uint8_t uuid[SCHED_UUID_SIZE];
    if (pc_hex_decode(pc_json_str_or(hello, "uuid", ""), uuid, sizeof(uuid)) || find_home(s, uuid))
        return false;
    struct home *home = peer->home = pc_xcalloc(1, sizeof(*home));
    memcpy(home->uuid, uuid, sizeof(uuid));
    snprintf(home->host, sizeof(home->host), "%s", pc_json_str_or(hello, "host", ""));
    home->pid = pc_json_i64_or(hello, "pid", 0);
    home->peer = peer;
    DL_APPEND(s->homes, home);
    return true;
}

bool home_resume(struct sched *s, struct peer *peer, const pc_json *hello, bool *is_new,
                 struct pc_err *err)
{
    uint8_t uuid[SCHED_UUID_SIZE];
    uint64_t received;
    struct home *home = NULL;
    *is_new = false;
    if (pc_hex_decode(pc_json_str_or(hello, "uuid", ""), uuid, sizeof(uuid)) == 0)
        home = find_home(s, uuid);
    bool is_right = s->grace_ms && token_is_right(s, TOKEN_HOST, uuid, sizeof(uuid), hello);
    if (!home && is_right && s->is_successor) { /* an earlier scheduler knew it */
        *is_new = home_add(s, peer, hello);
        return *is_new;
    }
    if (!home || home == &s->home || !is_right) {
        pc_err_set(err, PC_E_LOST, "a host that was given up, or never was there");
        return false;
    }
    if (pc_json_get_u64(hello, "received", &received, err) ||
        pc_lifeline_resume(&home->lifeline, received, err))
        return false;
    if (home->peer) { /* the host knows better that the old connection is of no use */
        pc_conn_close(&home->peer->conn);
        away_home(s, home);
    }
    away_end(s, &home->away);
    home->peer = peer;
    peer->home = home;
    return true;
}

void home_send(struct sched *s, struct home *home, struct pc_msg *msg)
{
    if (home == &s->home)
        pc_conn_send(&s->parent, msg);
    else
        session_send(home->peer, &home->lifeline, msg);
}

void home_remove(struct sched *s, struct home *home)
{
    away_end(s, &home->away);
    pc_lifeline_fini(&home->lifeline);
    DL_DELETE(s->homes, home);
    free(home);
}

void homes_drop(struct sched *s)
{
    struct home *home, *next;
    DL_FOREACH_SAFE (s->homes, home, next) {
        if (home->away.is_away)
            home_remove(s, home);
    }
}

bool home_has_left(const struct engine *engine)
{
    static const uint8_t none[SCHED_UUID_SIZE];
    return memcmp(engine->home, none, sizeof(none)) && !find_home(engine->sched, engine->home);
}

void home_leave(struct sched *s, struct home *home)
{
    struct engine *engine, *next;
    uint8_t uuid[SCHED_UUID_SIZE];
    memcpy(uuid, home->uuid, sizeof(uuid));
    home_remove(s, home);
    queue_hold(s); /* what one of them had must not go to the next */
    HASH_ITER (hh_uuid, s->engines_by_uuid, engine, next) {
        if (engine->away.is_away && memcmp(engine->home, uuid, sizeof(uuid)) == 0) {
            engine_set_left(engine);
            engine_finish(engine);
        }
    }
    queue_release(s);
}

/* ---- putting orders together ------------------------------------------------------------ */

/* One order, to as many homes as it takes. */
struct order {
    uint8_t type;        /* PC_MSG_END or PC_MSG_SIGNAL */
    int64_t grace_ms;    /* END */
    bool is_replacement; /* END */
    uint32_t number;     /* SIGNAL */
};

static void send_chosen(struct sched *s, struct home *home, const struct order *order)
{
    if (!home->chosen)
        return;
    pc_json *body = pc_json_object();
    pc_json_put(body, "uuids", home->chosen);
    home->chosen = NULL;
    home->chosen_count = 0;
    if (order->type == PC_MSG_END) {
        pc_json_put_i64(body, "grace_ms", order->grace_ms);
        pc_json_put_bool(body, "replace", order->is_replacement);
    } else {
        pc_json_put_i64(body, "signal", order->number);
    }
    home_send(s, home, pc_json_msg(order->type, body));
}

/* False: its parent is not connected. */
static bool choose(struct engine *engine, const struct order *order)
{
    char uuid[2 * SCHED_UUID_SIZE + 1];
    struct home *home = find_home(engine->sched, engine->home);
    if (!home)
        return false;
    if (!home->chosen)
        home->chosen = pc_json_array();
    pc_hex_encode(engine->uuid, sizeof(engine->uuid), uuid);
    pc_json_append_str(home->chosen, uuid);
    if (order->is_replacement)
        coming_expect(engine);
    if (++home->chosen_count == CHOSEN_MAX)
        send_chosen(engine->sched, home, order);
    return true;
}

static void send_order(struct sched *s, const struct order *order)
{
    struct home *home;
    DL_FOREACH (s->homes, home)
        send_chosen(s, home, order);
}

void order_replacement(struct engine *engine)
{
    struct order order = {.type = PC_MSG_END, .is_replacement = true};
    if (choose(engine, &order))
        send_order(engine->sched, &order);
}

bool order_kill(struct engine *engine)
{
    struct order order = {.type = PC_MSG_SIGNAL, .number = SIGKILL};
    if (!choose(engine, &order))
        return false;
    send_order(engine->sched, &order);
    return true;
}

/* ---- fewer engines, as a home wants ------------------------------------------------------ */

/* First those that have nothing to do, of these the youngest. */
static int ends_before(const void *left, const void *right)
{
    const struct engine *a = *(struct engine *const *)left, *b = *(struct engine *const *)right;
    bool is_a_busy = a->running || a->queue, is_b_busy = b->running || b->queue;
    if (is_a_busy != is_b_busy)
        return is_a_busy ? 1 : -1;
    return a->id > b->id ? -1 : 1;
}

/* Those of a home that are up, in the order in which they would be missed least. */
static struct engine **engines_of(struct sched *s, const struct home *home, size_t *count)
{
    struct engine *engine, *next;
    struct engine **found = pc_xcalloc(HASH_CNT(hh_id, s->engines_by_id) + 1, sizeof(*found));
    *count = 0;
    HASH_ITER (hh_id, s->engines_by_id, engine, next)
        if (engine->state == ENGINE_UP && memcmp(engine->home, home->uuid, SCHED_UUID_SIZE) == 0)
            found[(*count)++] = engine;
    qsort(found, *count, sizeof(struct engine *), ends_before);
    return found;
}

int order_fewer(struct sched *s, struct home *home, const struct pc_msg *msg, struct pc_err *err)
{
    struct order order = {.type = PC_MSG_END};
    char why[128];
    uint32_t wanted;
    size_t count;
    pc_json *json = pc_json_of_msg(msg, err);
    int failed = !json || pc_json_get_u32(json, "count", &wanted, err);
    order.grace_ms = pc_json_i64_or(json, "grace_ms", GRACE_DEFAULT_MS);
    snprintf(why, sizeof(why), "%s",
             pc_json_str_or(json, "reason", "was stopped: fewer engines are set"));
    pc_json_free(json);
    if (failed)
        return -1;
    if (order.grace_ms < 0 || order.grace_ms > GRACE_MAX_MS)
        return pc_err_set(err, PC_E_PROTOCOL, "END with a grace of %lld ms",
                          (long long)order.grace_ms);
    struct engine **found = engines_of(s, home, &count);
    for (size_t i = 0; i < count && i < wanted; i++) {
        choose(found[i], &order);
        found[i]->is_dismissed = true;
        engine_dismiss(found[i], why, order.grace_ms);
    }
    send_order(s, &order);
    free(found);
    return 0;
}

/* ---- orders of clients ------------------------------------------------------------------ */

static bool is_there(const struct engine *engine)
{
    return engine && (engine->state == ENGINE_UP || engine->state == ENGINE_LEAVING);
}

static struct engine *find_named(struct sched *s, const pc_json *id)
{
    double number = pc_json_is_number(id) ? pc_json_number(id) : -1;
    return number >= 0 && number < PC_NO_ENGINE ? engine_find(s, (uint32_t)number) : NULL;
}

/* Sends the order for each engine that the query names. In the reply: for how many, and those that
 * are gone, or whose parent is. */
static pc_json *for_each_named(struct sched *s, const pc_json *query, const struct order *order,
                               void (*prepare)(struct engine *engine, const struct order *order))
{
    pc_json *reply = pc_json_object(), *gone = pc_json_array();
    const pc_json *ids = pc_json_member(query, "ids");
    int64_t count = 0;
    for (const pc_json *row = ids ? pc_json_first(ids) : NULL; row; row = pc_json_next(row)) {
        struct engine *engine = find_named(s, row);
        bool is_done = is_there(engine) && choose(engine, order);
        if (is_there(engine) && prepare)
            prepare(engine, order);
        if (is_done)
            count++;
        else
            pc_json_append(gone, pc_json_copy(row));
    }
    send_order(s, order);
    pc_json_put_bool(reply, "ok", true);
    pc_json_put_i64(reply, "count", count);
    pc_json_put(reply, "gone", gone);
    return reply;
}

static void dismiss(struct engine *engine, const struct order *order)
{
    engine->is_dismissed = true;
    engine_dismiss(engine,
                   order->is_replacement ? "was restarted: a client asked for it"
                                         : "was stopped: a client asked for it",
                   order->grace_ms);
}

static pc_json *end_engines(struct sched *s, const pc_json *query, bool is_replacement,
                            struct pc_err *err)
{
    struct order order = {.type = PC_MSG_END,
                          .grace_ms = pc_json_i64_or(query, "grace_ms", GRACE_DEFAULT_MS),
                          .is_replacement = is_replacement};
    if (order.grace_ms < 0 || order.grace_ms > GRACE_MAX_MS) {
        pc_err_set(err, PC_E_INVALID, "a grace time of %lld ms: 0 to %d are possible",
                   (long long)order.grace_ms, GRACE_MAX_MS);
        return NULL;
    }
    return for_each_named(s, query, &order, dismiss);
}

static pc_json *stop_engines(struct sched *s, const pc_json *query, struct pc_err *err)
{
    return end_engines(s, query, false, err);
}

static pc_json *restart_engines(struct sched *s, const pc_json *query, struct pc_err *err)
{
    return end_engines(s, query, true, err);
}

static pc_json *signal_engines(struct sched *s, const pc_json *query, struct pc_err *err)
{
    struct order order = {.type = PC_MSG_SIGNAL};
    if (pc_json_get_u32(query, "signal", &order.number, err) < 0)
        return NULL;
    if (order.number < 1 || order.number > (uint32_t)SIGRTMAX) {
        pc_err_set(err, PC_E_INVALID, "there is no signal %u: 1 to %d are possible", order.number,
                   SIGRTMAX);
        return NULL;
    }
    return for_each_named(s, query, &order, NULL);
}

/* Where engines can be started, and which are whose. */
static pc_json *list_hosts(struct sched *s, const pc_json *query, struct pc_err *err)
{
    pc_json *reply = pc_json_object(), *rows = pc_json_array();
    struct home *home;
    struct engine *engine, *next;
    DL_FOREACH (s->homes, home)
        home->chosen = pc_json_array();
    HASH_ITER (hh_id, s->engines_by_id, engine, next) {
        home = is_there(engine) ? find_home(s, engine->home) : NULL;
        if (home)
            pc_json_append(home->chosen, pc_json_copy(pc_json_member(engine->about, "id")));
    }
    DL_FOREACH (s->homes, home) {
        char uuid[2 * SCHED_UUID_SIZE + 1];
        pc_json *row = pc_json_object();
        pc_hex_encode(home->uuid, sizeof(home->uuid), uuid);
        pc_json_put_str(row, "uuid", uuid);
        pc_json_put_str(row, "host", home->host);
        pc_json_put_i64(row, "pid", home->pid);
        pc_json_put(row, "engines", home->chosen);
        home->chosen = NULL;
        pc_json_append(rows, row);
    }
    pc_json_put_bool(reply, "ok", true);
    pc_json_put(reply, "hosts", rows);
    return reply;
}

/* On another machine; here the parent answers itself. */
static pc_json *start_there(struct sched *s, const char *host, const pc_json *query,
                            struct pc_err *err)
{
    struct home *home;
    uint32_t count;
    if (pc_json_get_u32(query, "count", &count, err) < 0)
        return NULL;
    DL_FOREACH (s->homes, home)
        if (home != &s->home && strcmp(home->host, host) == 0)
            break;
    if (!home) {
        pc_err_set(err, PC_E_INVALID,
                   "no parent of engines is connected from host '%.60s': run 'pcluster engine' "
                   "there",
                   host);
        return NULL;
    }
    pc_json *body = pc_json_object(), *reply = pc_json_object();
    pc_json_put_i64(body, "count", count);
    home_send(s, home, pc_json_msg(PC_MSG_SPAWN, body));
    pc_json_put_bool(reply, "ok", true);
    pc_json_put_i64(reply, "count", count);
    return reply;
}

static const struct {
    const char *name;
    pc_json *(*act)(struct sched *s, const pc_json *query, struct pc_err *err);
} orders[] = {
    {"stop_engines", stop_engines},
    {"restart_engines", restart_engines},
    {"signal_engines", signal_engines},
    {"hosts", list_hosts},
};

static void answer(struct client *client, const struct pc_msg *msg, pc_json *reply,
                   const struct pc_err *err)
{
    if (!reply) {
        reply = pc_json_object();
        pc_json_put_bool(reply, "ok", false);
        pc_json_put_str(reply, "error", err->text);
    }
    world_reply(client, msg, reply);
}

bool order_take(struct sched *s, struct client *client, const struct pc_msg *msg,
                const pc_json *query)
{
    struct pc_err err;
    const char *name = pc_json_str_or(query, "query", "");
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        if (strcmp(orders[i].name, name) != 0)
            continue;
        answer(client, msg, orders[i].act(s, query, &err), &err);
        return true;
    }
    if (strcmp(name, "start_engines") != 0)
        return false;
    const char *host = pc_json_str_or(query, "host", "");
    if (!host[0] || strcmp(host, s->home.host) == 0)
        client_ask_parent(s, client, msg);
    else
        answer(client, msg, start_there(s, host, query, &err), &err);
    return true;
}
