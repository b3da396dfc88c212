/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scheduler role: construction, messages from the parent and the hub, and the end.
 *
 * It is the only process that talks to the network. It never looks into the parts of a message,
 * never waits for anybody, and owns no file but the one of begun.h.
 */
#include "sched/sched.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "lib/dispatch.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/spawn.h"
#include "sched/state.h"

#define STOP_LIMIT_MS  2000
#define LEAVE_LIMIT_MS 9000 /* for the hub to come back, and to take in the last records */

/* ---- stopping --------------------------------------------------------------------------- */

static void on_stop_timer(uv_timer_t *timer);

/* Clients learn why, engines are told to end; a second SHUTDOWN ends us, or the parent's end. */
static void stop(struct sched *s, const struct pc_msg *shutdown)
{
    struct client *client, *next;
    struct peer *host;
    pc_json *json = pc_json_of_msg(shutdown, NULL);
    pc_json *goodbye = pc_json_object();
    s->is_stopping = true;
    pc_json_put_str(goodbye, "reason", pc_json_str_or(json, "reason", "the cluster was stopped"));
    struct pc_msg *msg = pc_json_msg(PC_MSG_GOODBYE, goodbye);
    face_close(s);
    engines_shutdown(s, shutdown);
    HASH_ITER (hh, s->clients, client, next) {
        if (client->peer) {
            pc_conn_send(&client->peer->conn, pc_msg_ref(msg));
            pc_conn_end(&client->peer->conn);
        }
    }
    DL_FOREACH (s->hosts, host) {
        pc_conn_send_body(&host->conn, PC_MSG_SHUTDOWN, shutdown->body, shutdown->head.body_size);
    }
    int64_t grace = pc_json_i64_or(json, "grace_ms", STOP_LIMIT_MS);
    uv_timer_start(&s->stop_timer, on_stop_timer, (uint64_t)(grace > 0 ? grace : 0), 0);
    pc_msg_unref(msg);
    pc_json_free(json);
}

static void leave_now(struct sched *s)
{
    uint64_t missed = s->ledger.told - s->ledger.recorded;
    if (s->is_stopping && missed)
        pc_warn("the hub was not there to take the last %llu messages: it knows nothing of the "
                "tasks in them",
                (unsigned long long)missed);
    uv_stop(&s->loop);
}

/* Everybody else has left, and the parent waits for our end: when the hub has all it was told. One
 * that dies meanwhile is replaced, as long as there is a parent. */
static void leave(struct sched *s)
{
    if (!s->is_leaving)
        records_flush(s);
    bool has_hub = s->hub.is_open || s->hub.next_fd >= 0 || !s->parent_is_gone;
    if (!s->is_stopping || !s->ledger.first || !has_hub)
        leave_now(s);
    else if (!s->is_leaving)
        uv_timer_start(&s->stop_timer, on_stop_timer, LEAVE_LIMIT_MS, 0);
    s->is_leaving = true;
}

static void on_stop_timer(uv_timer_t *timer)
{
    struct sched *s = timer->data;
    if (s->is_leaving)
        leave_now(s);
    else
        leave(s); /* whether or not the others have */
}

/* ---- configuration ---------------------------------------------------------------------- */

static int hex_field(const pc_json *json, const char *name, uint8_t *out, size_t size,
                     struct pc_err *err)
{
    const char *text;
    if (pc_json_get_str(json, name, &text, err))
        return -1;
    if (pc_hex_decode(text, out, size))
        return pc_err_set(err, PC_E_INVALID, "'%s' in CONFIG is no key", name);
    return 0;
}

static void on_beat_timer(uv_timer_t *timer)
{
    engines_beat(timer->data);
}

static int configure(struct sched *s, const pc_json *json, struct pc_err *err)
{
    int level = pc_log_level_parse(pc_json_str_or(json, "log_level", "info"));
    int fd = PC_ROLE_FD_MORE + 1;
    if (level >= 0)
        pc_log_set_level((enum pc_log_level)level);
    if (hex_field(json, "instance", s->instance, sizeof(s->instance), err) ||
        hex_field(json, "controller_private", s->private_key, sizeof(s->private_key), err) ||
        keys_take(s, json, err))
        return -1;
    token_key_make(s);
    snprintf(s->cluster_id, sizeof(s->cluster_id), "%s", pc_json_str_or(json, "cluster_id", ""));
    snprintf(s->profile, sizeof(s->profile), "%s", pc_json_str_or(json, "profile", ""));
    s->controller_pid = pc_json_i64_or(json, "controller_pid", getppid());
    homes_init(s, json);
    s->ledger.limit = (uint64_t)pc_json_i64_or(json, "ledger_bytes", SCHED_LEDGER_BYTES);
    s->keep_bytes = (uint64_t)pc_json_i64_or(json, "keep_bytes", SCHED_KEEP_BYTES);
    s->heartbeat_ms = (unsigned)pc_json_i64_or(json, "heartbeat_ms", 3000);
    s->grace_ms = (unsigned)pc_json_i64_or(json, "grace_ms", 0);
    s->is_successor = pc_json_bool_or(json, "is_successor", false);
    durable_configure(s, json);
    if (settings_take(s, json, err))
        return -1;
    s->unix_fd = pc_json_bool_or(json, "has_unix", false) ? fd++ : -1;
    s->tcp_fd = pc_json_bool_or(json, "has_tcp", false) ? fd++ : -1;
    s->begun.fd = pc_json_bool_or(json, "has_begun", false) ? fd++ : -1;
    s->handover_fd = pc_json_bool_or(json, "has_handover", false) ? fd++ : -1;
    s->beat_ms = (int64_t)uv_now(&s->loop);
    uv_timer_start(&s->beat_timer, on_beat_timer, s->heartbeat_ms, s->heartbeat_ms);
    return 0;
}

/* ---- the parent ------------------------------------------------------------------------- */

/* While it works: another log level, or other keys, which hold when READY is said. */
static int reconfigure(struct sched *s, const pc_json *json, struct pc_err *err)
{
    if (!pc_json_member(json, "client_public"))
        return pc_log_level_change(json, err);
    if (keys_take(s, json, err))
        return -1;
    pc_conn_send_body(&s->parent, PC_MSG_READY, "{}", 2);
    return 0;
}

/* What a scheduler wants to know of the hub by itself. */
static void ask_hub(struct sched *s)
{
    again_ask(s);
    durable_ask(s);
}

/* From now on clients and engines may come. One that takes the place of another has to hear from
 * the hub first whom that one knew. */
static int open_doors(struct sched *s, struct pc_err *err)
{
    if (!s->is_configured || s->is_listening || (s->is_successor && !s->has_heritage))
        return 0;
    if (face_listen(s, err))
        return -1;
    pc_conn_send_body(&s->parent, PC_MSG_READY, "{}", 2);
    return 0;
}

static int on_config(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = role;
    pc_json *json = pc_json_of_msg(msg, err);
    if (!json)
        return -1;
    bool is_first = !s->is_configured;
    int failed = is_first ? configure(s, json, err) : reconfigure(s, json, err);
    pc_json_free(json);
    pc_wipe(msg->body, msg->head.body_size);
    if (failed || !is_first)
        return failed;
    s->is_configured = true;
    if (s->ledger.is_greeted) /* the hub was faster than the parent */
        ask_hub(s);
    return open_doors(s, err);
}

static int on_end(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = role;
    return order_fewer(s, &s->home, msg, err);
}

static int on_exited(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = role;
    engine_exited(s, msg, &s->home);
    return 0;
}

static int on_shutdown(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = role;
    if (s->is_stopping)
        leave(s);
    else
        stop(s, msg);
    return 0;
}

static int on_ping(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = role;
    pc_conn_send_body(&s->parent, PC_MSG_PONG, NULL, 0);
    return 0;
}

static void hub_is_gone(struct sched *s)
{
    pc_link_lost(&s->hub);
    ledger_lost(s);
    if (!s->is_stopping)
        questions_wait(s);
    else if (s->is_leaving)
        leave(s);
}

static int on_link(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = role;
    int fd = s->handover_fd < 0 ? -1 : pc_handover_take(s->handover_fd, err);
    if (fd < 0)
        return pc_err_set(err, PC_E_PROTOCOL, "LINK without a descriptor");
    bool was_open = s->hub.is_open;
    pc_link_replace(&s->hub, fd);
    if (was_open)
        hub_is_gone(s);
    return 0;
}

/* ---- the hub, and answers to clients ---------------------------------------------------- */

static int on_engine_id(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    engine_got_id(role, msg);
    return 0;
}

static int on_recorded(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = role;
    bool is_first = !s->ledger.is_greeted;
    if (msg->head.body_size != 8)
        return pc_err_set(err, PC_E_PROTOCOL, "malformed body of RECORDED");
    ledger_recorded(s, pc_load_u64(msg->body));
    if (is_first) {
        engines_ask_again(s);
        questions_repeat(s);
        ask_hub(s);
    }
    if (s->is_leaving)
        leave(s);
    return 0;
}

static int on_reply(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    struct sched *s = role;
    struct client *client;
    if (from == &s->hub.conn)
        ledger_answered(s);
    if (from == &s->hub.conn && !question_answered(s, msg))
        return again_answered(s, msg) ? open_doors(s, err) : durable_answered(s, msg);
    HASH_FIND(hh, s->clients, &msg->head.session, sizeof(uint64_t), client);
    if (client && client_is_there(client))
        client_send(client, pc_msg_ref(msg));
    return 0;
}

static int on_resubmit(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    if (question_answered(role, msg))
        client_resubmit(role, msg);
    else
        return durable_revive(role, msg, err);
    return 0;
}

static int on_accepted(void *role, void *from, struct pc_msg *msg, struct pc_err *err)
{
    return durable_accepted(role, msg, err);
}

static const struct pc_handler handlers[] = {
    {PC_MSG_CONFIG, PC_FROM_PARENT, on_config},
    {PC_MSG_END, PC_FROM_PARENT, on_end},
    {PC_MSG_EXITED, PC_FROM_PARENT, on_exited},
    {PC_MSG_SHUTDOWN, PC_FROM_PARENT, on_shutdown},
    {PC_MSG_PING, PC_FROM_PARENT, on_ping},
    {PC_MSG_LINK, PC_FROM_PARENT, on_link},
    {PC_MSG_ENGINE_ID, PC_FROM_HUB, on_engine_id},
    {PC_MSG_REPLY, PC_FROM_HUB | PC_FROM_PARENT, on_reply},
    {PC_MSG_RESULT, PC_FROM_HUB, on_reply}, /* of a task of another client, who asked for it */
    {PC_MSG_STREAM, PC_FROM_HUB, on_reply},
    {PC_MSG_RECORDED, PC_FROM_HUB, on_recorded},
    {PC_MSG_SUBMIT, PC_FROM_HUB, on_resubmit},
    {PC_MSG_ACCEPTED, PC_FROM_HUB, on_accepted},
    {0, 0, NULL},
};

static void on_message(struct pc_conn *conn, struct pc_msg *msg)
{
    struct sched *s = conn->owner;
    struct pc_err err = {.code = PC_OK};
    enum pc_sender sender = conn == &s->parent ? PC_FROM_PARENT : PC_FROM_HUB;
    if (pc_dispatch_msg(handlers, sender, s, conn, msg, &err)) {
        pc_json *json = pc_json_object();
        pc_error("%s", err.text);
        pc_json_put_str(json, "text", err.text);
        pc_conn_send(&s->parent, pc_json_msg(PC_MSG_FAILED, json));
        pc_conn_flush(&s->parent);
        exit(1);
    }
    pc_msg_unref(msg);
}

static void on_lost(struct pc_conn *conn, const struct pc_err *why)
{
    struct sched *s = conn->owner;
    if (conn == &s->parent) {
        s->parent_is_gone = true;
        leave(s);
        return;
    }
    if (why->code != PC_E_LOST)
        pc_error("the hub broke the protocol: %s", why->text);
    hub_is_gone(s);
}

static void on_closed(struct pc_conn *conn)
{
    struct sched *s = conn->owner;
    if (conn == &s->hub.conn)
        pc_link_closed(&s->hub);
}

static const struct pc_conn_events events = {
    .on_message = on_message, .on_lost = on_lost, .on_closed = on_closed};

/* ---- the end ---------------------------------------------------------------------------- */

static void close_handle(void *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Gives everything back: what is still there afterwards was forgotten, and a sanitizer sees it. */
static void tear_down(struct sched *s)
{
    struct client *client, *next_client;
    struct peer *peer;
    s->is_stopping = true;
    face_close(s);
    engines_drop(s);
    tasks_drop(s);
    HASH_ITER (hh, s->clients, client, next_client) {
        if (client->peer) {
            pc_conn_close(&client->peer->conn);
            peer_detach(client->peer, "the cluster was stopped");
        } else if (client_is_there(client)) {
            client_lost(s, client);
        } else {
            client_check(s, client); /* its tasks waited for the hub */
        }
    }
    homes_drop(s);
    DL_FOREACH (s->hosts, peer) {
        pc_conn_close(&peer->conn);
    }
    DL_FOREACH (s->strangers, peer) {
        pc_conn_close(&peer->conn);
    }
    pc_conn_close(&s->parent);
    pc_link_close(&s->hub);
    close_handle(&s->hub_timer);
    close_handle(&s->beat_timer);
    close_handle(&s->stop_timer);
    close_handle(&s->deadline_timer);
    close_handle(&s->ahead_timer);
    close_handle(&s->away_timer);
    close_handle(&s->coming_timer);
    close_handle(&s->record_timer);
    pc_conns_fini(&s->conns);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&s->loop))
        pc_fatal(1, "handles were left open at the end");
    groups_fini(s);
    timeouts_fini(s);
    again_fini(s);
    past_fini(s);
    tagsets_fini(s);
    ledger_fini(s);
    coming_fini(s);
    pc_buf_fini(&s->records);
    pc_buf_fini(&s->record_kept);
    pc_buf_fini(&s->record_body);
    pc_known_fini(&s->hub_functions);
    begun_fini(&s->begun);
    pc_wipe(s, sizeof(*s));
    free(s);
}

int sched_main(void)
{
    struct sched *s = pc_xcalloc(1, sizeof(*s));
    pc_log_init("scheduler", PC_LOG_INFO);
    pc_ignore_signals_of_files();
    signal(SIGINT, SIG_IGN); /* Ctrl-C in a terminal is the parent's business */
    if (pc_noise_init() || uv_loop_init(&s->loop) || pc_conns_init(&s->conns, &s->loop))
        pc_fatal(1, "can't start: no loop or no randomness");
    s->unix_fd = s->tcp_fd = s->handover_fd = s->begun.fd = -1;
    uv_timer_init(&s->loop, &s->hub_timer);
    uv_timer_init(&s->loop, &s->beat_timer);
    uv_timer_init(&s->loop, &s->stop_timer);
    uv_timer_init(&s->loop, &s->deadline_timer);
    uv_timer_init(&s->loop, &s->ahead_timer);
    uv_timer_init(&s->loop, &s->away_timer);
    uv_timer_init(&s->loop, &s->coming_timer);
    s->ahead_timer.data = s->away_timer.data = s->coming_timer.data = s;
    s->beat_timer.data = s->stop_timer.data = s->deadline_timer.data = s;
    s->hub_timer.data = s;
    records_init(s);
    s->hwm = SCHED_HWM;
    s->window_count = SCHED_WINDOW_COUNT;
    s->window_bytes = SCHED_WINDOW_BYTES;
    s->policy = &policy_leastload;
    pc_random(&s->seed, sizeof(s->seed));
    groups_init(s);
    timeouts_init(s);
    if (pc_conn_init(&s->parent, &s->conns, PC_ROLE_FD, PC_FROM_PARENT, &events, s) ||
        pc_link_init(&s->hub, &s->conns, PC_ROLE_FD_MORE, PC_FROM_HUB, &events, s))
        pc_fatal(1, "can't start: descriptors %d and %d are not connected", PC_ROLE_FD,
                 PC_ROLE_FD_MORE);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    tear_down(s);
    return 0;
}
