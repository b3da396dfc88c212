/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/hub.h"

#include <stdlib.h>
#include <string.h>

#include "hub/durable.h"
#include "hub/query.h"
#include "hub/snapshot.h"
#include "hub/state.h"
#include "hub/successor.h"
#include "lib/clock.h"
#include "lib/dispatch.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/spawn.h"

#define TICK_MS 1000

static void hub_stop(struct hub *hub, int exit_code)
{
    if (hub->is_stopping)
        return;
    hub->is_stopping = true;
    hub->exit_code = exit_code;
    pc_link_close(&hub->scheduler);
    pc_conn_end(&hub->parent);
    uv_close((uv_handle_t *)&hub->tick_timer, NULL);
    uv_close((uv_handle_t *)&hub->turn_end, NULL);
    uv_close((uv_handle_t *)&hub->no_pause, NULL);
}

/* ---- messages of the parent ------------------------------------------------------------- */

static uint64_t limit_or(const pc_json *config, const char *name, int64_t fallback)
{
    int64_t limit = pc_json_i64_or(config, name, fallback);
    return (uint64_t)(limit >= 0 ? limit : fallback);
}

/* A store that can't be used is no reason not to compute: memory takes its place. */
static void open_store(struct hub *hub, const pc_json *config)
{
    struct hub_store *store = &hub->history.store;
    const struct hub_store_kind *kind = hub_store_find(pc_json_str_or(config, "store", "memory"));
    struct pc_err err;
    store->limits = (struct hub_limits){
        .count = limit_or(config, "store_tasks", HUB_STORE_TASKS),
        .bytes = limit_or(config, "store_bytes", HUB_STORE_BYTES),
        .age_us = (int64_t)limit_or(config, "store_age_s", 0) * 1000000,
    };
    if (kind && hub_store_open(store, kind, &hub->history.tasks,
                               pc_json_str_or(config, "store_path", ""), &err) == 0)
        return;
    if (kind) {
        pc_warn("%s; tasks are kept in memory instead", err.text);
        snprintf(store->trouble, sizeof(store->trouble), "%.240s; tasks are kept in memory instead",
                 err.text);
    }
    hub_store_open(store, &hub_store_memory, &hub->history.tasks, NULL, NULL);
}

static void on_tick(uv_timer_t *timer)
{
    struct hub *hub = timer->data;
    struct hub_store *store = &hub->history.store;
    if (store->kind->tick)
        store->kind->tick(store, pc_wall_us());
}

static void remember(struct hub *hub, const pc_json *config, int fd);
static void say_recorded(struct hub *hub);

static int on_config(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = role;
    const char *cluster_id, *profile, *instance, *url;
    pc_json *config = pc_json_of_msg(msg, err);
    if (!config)
        return -1;
    int status = -1;
    if (hub->instance)
        status = pc_log_level_change(config, err);
    else if (pc_json_get_str(config, "cluster_id", &cluster_id, err) == 0 &&
             pc_json_get_str(config, "profile", &profile, err) == 0 &&
             pc_json_get_str(config, "instance", &instance, err) == 0 &&
             pc_json_get_str(config, "url", &url, err) == 0 &&
             pc_json_get_u32(config, "controller_pid", &hub->controller_pid, err) == 0)
        status = 0;
    if (status == 0 && !hub->instance) {
        const char *unix_path = pc_json_str_or(config, "unix", NULL);
        int level = pc_log_level_parse(pc_json_str_or(config, "log_level", "info"));
        hub->cluster_id = pc_xstrdup(cluster_id);
        hub->profile = pc_xstrdup(profile);
        hub->instance = pc_xstrdup(instance);
        hub->url = pc_xstrdup(url);
        hub->unix_path = unix_path ? pc_xstrdup(unix_path) : NULL;
        hub->started_us = pc_json_i64_or(config, "started_us", 0);
        hub->scheduler_pid = (uint32_t)pc_json_i64_or(config, "scheduler_pid", 0);
        if (level >= 0)
            pc_log_set_level((enum pc_log_level)level);
        int fd = PC_ROLE_FD_MORE + 1;
        int journal_fd = fd;
        if (pc_json_bool_or(config, "has_journal", false))
            fd += 2;
        if (pc_json_bool_or(config, "has_handover", false))
            hub->handover_fd = fd;
        open_store(hub, config);
        remember(hub, config, journal_fd);
        uv_timer_start(&hub->tick_timer, on_tick, TICK_MS, TICK_MS);
        pc_conn_send_body(&hub->parent, PC_MSG_READY, "{}", 2);
        say_recorded(hub);
        hub_durable_say(&hub->history, &hub->scheduler.conn);
    }
    pc_json_free(config);
    return status;
}

static int on_shutdown(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    hub_stop(role, 0);
    return 0;
}

static int on_ping(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    pc_conn_send_body(peer, PC_MSG_PONG, NULL, 0);
    return 0;
}

/* The scheduler was started again. */
static int on_link(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = role;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    hub->scheduler_pid = (uint32_t)pc_json_i64_or(body, "pid", 0);
    pc_json_free(body);
    int fd = hub->handover_fd < 0 ? -1 : pc_handover_take(hub->handover_fd, err);
    if (fd < 0)
        return pc_err_set(err, PC_E_PROTOCOL, "LINK without a descriptor");
    pc_link_replace(&hub->scheduler, fd);
    return 0;
}

/* ---- what is remembered ------------------------------------------------------------------ */

/* What a restarted hub has to hear again, unless it is in its journal. */
static bool is_to_remember(uint8_t type)
{
    switch (type) {
    case PC_MSG_ENGINE_UP:
    case PC_MSG_ENGINE_DOWN:
    case PC_MSG_ENGINES:
    case PC_MSG_CLIENT_UP:
    case PC_MSG_CLIENT_DOWN:
    case PC_MSG_FUNCTION:
    case PC_MSG_STREAM:
    case PC_MSG_RECORDS:
        return true;
    default:
        return false;
    }
}

/* A record that refers to the parts of its message, without them. */
static struct pc_msg *without_parts(const struct pc_msg *msg)
{
    struct pc_reader reader;
    struct pc_record record;
    struct pc_buf body;
    pc_buf_init(&body, 0);
    pc_reader_init(&reader, msg->body, msg->head.body_size);
    if (pc_record_decode(&reader, &record) < 0)
        pc_fatal(1, "a record can't be read twice");
    record.flags &= (uint8_t)~PC_RECORD_OUTSIDE;
    if (pc_record_encode(&body, &record, NULL))
        pc_fatal(1, "out of memory");
    struct pc_msg *bare = pc_msg_with_body(PC_MSG_RECORDS, body.data, body.size);
    pc_buf_fini(&body);
    if (!bare)
        pc_fatal(1, "out of memory");
    return bare;
}

/* It has been dealt with, and need not be sent again. What is larger than all that is remembered
 * was dropped at once, and is not in the journal. */
static void take_note(struct hub *hub, struct pc_msg *msg)
{
    bool is_too_large =
        msg->head.type == PC_MSG_RECORDS && msg->parts_bytes > hub->history.store.limits.bytes;
    struct pc_msg *noted = is_too_large ? without_parts(msg) : pc_msg_ref(msg);
    hub->recorded++;
    hub->has_news = true;
    hub_journal_add(&hub->journal, noted);
    pc_msg_unref(noted);
}

static void say_recorded(struct hub *hub)
{
    uint8_t body[8];
    pc_store_u64(body, hub->recorded);
    pc_conn_send_body(&hub->scheduler.conn, PC_MSG_RECORDED, body, sizeof(body));
}

static void on_no_pause(uv_idle_t *handle)
{
    (void)handle;
}

/* As long as the store has something to do the loop does not wait for news. */
static void keep_turning(struct hub *hub)
{
    if (!hub->history.store.has_work)
        uv_idle_stop(&hub->no_pause);
    else if (!hub->is_stopping)
        uv_idle_start(&hub->no_pause, on_no_pause);
}

/* Nothing came: what was put off is done, a piece at a time. */
static void use_the_time(struct hub *hub)
{
    struct hub_store *store = &hub->history.store;
    if (store->has_work && !hub->is_stopping)
        store->kind->work(store, pc_wall_us());
}

/* After each turn of the loop: all that came with it is written at once, then acknowledged. */
static void take_in(struct hub *hub)
{
    hub->has_news = false;
    hub_journal_write(&hub->journal);
    hub_durable_ended(&hub->history);
    say_recorded(hub);
    hub_durable_write(&hub->history, &hub->scheduler.conn);
    if (hub_journal_is_long(&hub->journal))
        hub_snapshot_write(hub);
}

static void on_turn_end(uv_check_t *handle)
{
    struct hub *hub = handle->data;
    if (hub->has_news)
        take_in(hub);
    else
        use_the_time(hub);
    keep_turning(hub);
}

/* ---- messages of the scheduler ---------------------------------------------------------- */

static int on_engine_up(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = role;
    const char *uuid, *host;
    uint32_t pid;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    struct hub_engine *engine = NULL;
    if (pc_json_get_str(body, "uuid", &uuid, err) == 0 &&
        pc_json_get_str(body, "host", &host, err) == 0 &&
        pc_json_get_u32(body, "pid", &pid, err) == 0) {
        engine = hub_engines_add(&hub->engines, uuid, pid, host, pc_json_str_or(body, "python", ""),
                                 pc_json_str_or(body, "tags", ""));
        if (!engine)
            pc_err_set(err, PC_E_SYSTEM, "all engine ids are used up");
    }
    pc_json_free(body);
    if (!engine)
        return -1;
    if (hub->history.is_replaying)
        return 0;
    pc_debug("engine %u has pid %u on host '%s'", engine->id, engine->pid, engine->host);
    take_note(hub, msg);
    hub_journal_write(&hub->journal); /* an id that somebody has heard of is never used again */
    pc_json *answer = pc_json_object();
    pc_json_put_i64(answer, "id", engine->id);
    pc_json_put_str(answer, "uuid", engine->uuid);
    struct pc_msg *reply = pc_json_msg(PC_MSG_ENGINE_ID, answer);
    reply->head.sequence = msg->head.sequence;
    reply->head.engine_id = engine->id;
    pc_conn_send(&hub->scheduler.conn, reply);
    return 0;
}

static int on_engine_down(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = role;
    uint32_t id;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    int status = pc_json_get_u32(body, "id", &id, err);
    if (status == 0) {
        const char *reason = pc_json_str_or(body, "reason", "not known why");
        pc_debug("engine %u is down: %s", id, reason);
        hub_engines_set_down(&hub->engines, id, reason);
    }
    pc_json_free(body);
    return status;
}

/* Arrivals are what matters here: departures come as ENGINE_DOWN, too. */
static int on_engines(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = role;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    int status = 0;
    const pc_json *up = pc_json_member(body, "up");
    for (const pc_json *row = up ? pc_json_first(up) : NULL; row; row = pc_json_next(row)) {
        uint32_t id;
        status = pc_json_get_u32(row, "id", &id, err);
        if (status < 0)
            break;
        hub_engines_set_up(&hub->engines, id);
    }
    pc_json_free(body);
    return status;
}

static int on_client_up(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = role;
    uint64_t session;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    int status = pc_json_get_u64(body, "session", &session, err);
    if (status == 0 && pc_json_member(body, "away")) /* it comes and goes */
        hub_clients_set_away(&hub->clients, session, pc_json_bool_or(body, "away", false));
    else if (status == 0)
        hub_clients_add(&hub->clients, session, (uint32_t)pc_json_i64_or(body, "pid", 0),
                        pc_json_str_or(body, "host", ""));
    pc_json_free(body);
    return status;
}

static int on_client_down(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = role;
    uint64_t session;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    int status = pc_json_get_u64(body, "session", &session, err);
    if (status == 0) {
        hub_clients_remove(&hub->clients, session);
        hub_watches_drop(&hub->watches, session);
    }
    pc_json_free(body);
    return status;
}

static void take_record(struct hub *hub, const struct pc_record *record, struct pc_msg *msg)
{
    struct hub_task *task = hub_history_record(&hub->history, &hub->engines, record, msg);
    if (!task)
        return;
    hub_watches_end(&hub->watches, &hub->history, task, &hub->scheduler.conn);
    hub_history_keep(&hub->history, task);
}

/* While one record is dealt with, the task of the next is fetched. */
static int on_records(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = role;
    struct pc_reader reader;
    struct pc_record records[2];
    unsigned next = 0;
    pc_reader_init(&reader, msg->body, msg->head.body_size);
    if (!reader.left) { /* those that were here were dropped */
        hub_history_gap(&hub->history);
        return 0;
    }
    for (bool is_first = true; reader.left; is_first = false, next = !next) {
        if (pc_record_decode(&reader, &records[next]) < 0)
            return pc_err_set(err, PC_E_PROTOCOL, "RECORDS with a broken record");
        hub_history_record_comes(&hub->history, &records[next]);
        if (!is_first)
            take_record(hub, &records[!next], msg);
    }
    take_record(hub, &records[!next], msg);
    return 0;
}

static int on_function(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = role;
    return hub_history_function(&hub->history, msg, err);
}

static int on_stream(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = role;
    struct pc_stream_body body;
    size_t known;
    if (pc_stream_decode(msg, &body, err))
        return -1;
    if (body.stream >= PC_STREAM_TEXTS)
        return 0; /* only for the client that waits */
    struct hub_task *task = hub_history_output(&hub->history, msg, &body, &known);
    if (task)
        hub_watches_print(task, &hub->scheduler.conn, msg, known);
    return 0;
}

/* Some questions change what is remembered, and are to do so again: as they were answered. */
static void note_change(struct hub *hub, const struct pc_msg *msg, const pc_json *question,
                        const pc_json *answer)
{
    const char *name = pc_json_str_or(question, "query", "");
    bool is_purge = strcmp(name, "purge") == 0;
    bool is_again =
        strcmp(name, "fetch") == 0 && strcmp(pc_json_str_or(question, "what", ""), "again") == 0;
    const pc_json *given_up = pc_json_member(answer, "given_up");
    if (hub->history.is_replaying || (!is_purge && !is_again && !given_up))
        return;
    pc_json *noted = pc_json_copy(question);
    if (given_up)
        pc_json_put(noted, "tasks", pc_json_copy(given_up));
    if (is_purge)
        pc_json_put_i64(noted, "until", pc_json_i64_or(answer, "next", INT64_C(1) << 53));
    struct pc_msg *copy = pc_json_msg(PC_MSG_QUERY, noted);
    copy->head.session = msg->head.session;
    copy->head.sequence = msg->head.sequence;
    hub_journal_add(&hub->journal, copy);
    hub_journal_write(&hub->journal);
    pc_msg_unref(copy);
}

/* A client's question: whatever is wrong with it is told to that client and harms nobody. */
static int on_query(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = role;
    struct pc_err why;
    pc_json *answer = NULL;
    pc_json *question = pc_json_parse(msg->body, msg->head.body_size, &why);
    if (!question)
        answer = hub_query_refusal(why.text);
    else if (!msg->head.session && strcmp(pc_json_str_or(question, "query", ""), "revive") == 0)
        answer = hub_durable_revive(&hub->history, &hub->clients, question, &hub->scheduler.conn);
    else if (!msg->head.session && hub_successor_asks(question))
        answer = hub_successor_answer(hub, question);
    else if (strcmp(pc_json_str_or(question, "query", ""), "fetch") != 0)
        answer = hub_query_answer(hub, question);
    else if (hub_fetch(&hub->history, &hub->watches,
                       hub->history.is_replaying ? NULL : &hub->scheduler.conn, &msg->head,
                       question, &why))
        answer = hub_query_refusal(why.text);
    if (question)
        note_change(hub, msg, question, answer);
    pc_json_free(question);
    if (!answer || hub->history.is_replaying) {
        pc_json_free(answer);
        return 0;
    }
    struct pc_msg *reply = pc_json_msg(PC_MSG_REPLY, answer);
    reply->head.session = msg->head.session;
    reply->head.sequence = msg->head.sequence;
    pc_conn_send(&hub->scheduler.conn, reply);
    return 0;
}

static const struct pc_handler handlers[] = {
    {PC_MSG_CONFIG, PC_FROM_PARENT, on_config},
    {PC_MSG_SHUTDOWN, PC_FROM_PARENT, on_shutdown},
    {PC_MSG_LINK, PC_FROM_PARENT, on_link},
    {PC_MSG_PING, PC_FROM_PARENT | PC_FROM_SCHED, on_ping},
    {PC_MSG_ENGINE_UP, PC_FROM_SCHED, on_engine_up},
    {PC_MSG_ENGINE_DOWN, PC_FROM_SCHED, on_engine_down},
    {PC_MSG_ENGINES, PC_FROM_SCHED, on_engines},
    {PC_MSG_CLIENT_UP, PC_FROM_SCHED, on_client_up},
    {PC_MSG_CLIENT_DOWN, PC_FROM_SCHED, on_client_down},
    {PC_MSG_RECORDS, PC_FROM_SCHED, on_records},
    {PC_MSG_FUNCTION, PC_FROM_SCHED, on_function},
    {PC_MSG_STREAM, PC_FROM_SCHED, on_stream},
    {PC_MSG_QUERY, PC_FROM_SCHED, on_query},
    {0},
};

/* ---- a hub that was killed --------------------------------------------------------------- */

static int on_snapshot(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    return hub_snapshot_take(role, msg, err);
}

static int on_kept(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    return hub_snapshot_take_tasks(role, msg, err);
}

static const struct pc_handler journal_handlers[] = {
    {PC_MSG_SNAPSHOT, PC_FROM_HUB, on_snapshot},
    {PC_MSG_KEPT, PC_FROM_HUB, on_kept},
    {0},
};

static int take_again(void *arg, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = arg;
    uint8_t type = msg->head.type;
    if (hub->is_restoring && type == PC_MSG_FUNCTION)
        return hub_snapshot_take_function(hub, msg, err);
    if (type == PC_MSG_SNAPSHOT || type == PC_MSG_KEPT)
        return pc_dispatch_msg(journal_handlers, PC_FROM_HUB, hub, NULL, msg, err);
    if (pc_dispatch_msg(handlers, PC_FROM_SCHED, hub, NULL, msg, err) < 0)
        return -1;
    if (type == PC_MSG_FUNCTION && hub->functions_left)
        hub->functions_left--; /* of the snapshot, which counts in "recorded" already */
    else
        hub->recorded += is_to_remember(type);
    return 0;
}

static void remember(struct hub *hub, const pc_json *config, int fd)
{
    const char *path = pc_json_str_or(config, "store_path", "");
    if (!pc_json_bool_or(config, "has_journal", false)) {
        hub_durable_restore(&hub->history, path);
        return;
    }
    hub_journal_open(&hub->journal, fd, fd + 1);
    int64_t begun_us = pc_clock_us();
    hub->history.is_replaying = true;
    uint64_t count = hub_journal_replay(&hub->journal, take_again, hub);
    hub->history.is_replaying = false;
    hub_snapshot_settle(hub);
    if (!hub->journal.number) {
        hub_durable_restore(&hub->history, path);
        hub_snapshot_write(hub);
    } else {
        pc_info("took in %llu messages of the journal in %lld ms", (unsigned long long)count,
                (long long)(pc_clock_us() - begun_us) / 1000);
    }
}

/* ---- the two peers ---------------------------------------------------------------------- */

static void on_message(struct pc_conn *conn, struct pc_msg *msg)
{
    struct hub *hub = conn->owner;
    uint32_t sender = conn == &hub->parent ? PC_FROM_PARENT : PC_FROM_SCHED;
    struct pc_err err;
    if (hub->is_stopping) {
        pc_msg_unref(msg);
        return;
    }
    if (pc_dispatch_msg(handlers, sender, hub, conn, msg, &err) < 0) {
        pc_error("%s of the %s: %s", pc_msg_name(msg->head.type),
                 sender == PC_FROM_PARENT ? "parent" : "scheduler", err.text);
        hub_stop(hub, 1);
    } else if (is_to_remember(msg->head.type) && msg->head.type != PC_MSG_ENGINE_UP) {
        take_note(hub, msg);
    }
    pc_msg_unref(msg);
}

static void on_parent_lost(struct pc_conn *conn, const struct pc_err *why)
{
    struct hub *hub = conn->owner;
    if (!hub->is_stopping)
        pc_debug("the parent is gone: %s", why->text);
    hub_stop(hub, 0);
}

/* The parent sees it die, too, and decides what comes next. */
static void on_scheduler_lost(struct pc_conn *conn, const struct pc_err *why)
{
    struct hub *hub = conn->owner;
    pc_debug("the scheduler is gone: %s", why->text);
    pc_link_lost(&hub->scheduler);
    if (why->code != PC_E_LOST)
        hub_stop(hub, 1);
}

static void on_scheduler_closed(struct pc_conn *conn)
{
    struct hub *hub = conn->owner;
    pc_link_closed(&hub->scheduler);
}

/* First of all it must know what need not be said again. */
static void on_new_scheduler(struct pc_link *link)
{
    struct hub *hub = link->owner;
    hub_watches_fini(&hub->watches); /* who still waits asks once more */
    say_recorded(hub);
}

static void on_closed(struct pc_conn *conn)
{
    (void)conn;
}

static const struct pc_conn_events parent_events = {
    .on_message = on_message,
    .on_lost = on_parent_lost,
    .on_closed = on_closed,
};
static const struct pc_conn_events scheduler_events = {
    .on_message = on_message,
    .on_lost = on_scheduler_lost,
    .on_closed = on_scheduler_closed,
};

static void hub_fini(struct hub *hub)
{
    hub_watches_fini(&hub->watches);
    hub_history_fini(&hub->history);
    hub_clients_fini(&hub->clients);
    hub_engines_fini(&hub->engines);
    hub_journal_fini(&hub->journal);
    free(hub->cluster_id);
    free(hub->profile);
    free(hub->instance);
    free(hub->url);
    free(hub->unix_path);
}

int hub_main(void)
{
    static struct hub hub;
    pc_log_init("hub", PC_LOG_INFO);
    pc_ignore_signals_of_files();
    hub_engines_init(&hub.engines);
    hub_history_init(&hub.history);
    hub_journal_init(&hub.journal);
    hub.handover_fd = -1;
    hub.tick_timer.data = hub.turn_end.data = &hub;
    if (uv_loop_init(&hub.loop) < 0 || pc_conns_init(&hub.conns, &hub.loop) < 0 ||
        uv_timer_init(&hub.loop, &hub.tick_timer) < 0 ||
        pc_conn_init(&hub.parent, &hub.conns, PC_ROLE_FD, PC_FROM_PARENT, &parent_events, &hub) <
            0 ||
        pc_link_init(&hub.scheduler, &hub.conns, PC_ROLE_FD_MORE, PC_FROM_SCHED, &scheduler_events,
                     &hub) < 0 ||
        uv_check_init(&hub.loop, &hub.turn_end) < 0 || uv_idle_init(&hub.loop, &hub.no_pause) < 0)
        pc_fatal(1, "can't use the inherited descriptors: this command is for pcluster itself");
    hub.scheduler.on_replaced = on_new_scheduler;
    uv_check_start(&hub.turn_end, on_turn_end);
    uv_unref((uv_handle_t *)&hub.turn_end);
    pc_conn_start(&hub.parent);
    /* The connections keep the loop alive: it ends when both are closed. */
    while (!hub.is_stopping && uv_run(&hub.loop, UV_RUN_ONCE))
        ;
    uv_run(&hub.loop, UV_RUN_DEFAULT);
    pc_conns_fini(&hub.conns);
    uv_run(&hub.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&hub.loop) < 0)
        pc_warn("handles were left open");
    hub_fini(&hub);
    return hub.exit_code;
}
