/* SPDX-License-Identifier: BSD-3-Clause */
/* HELLO: the first message of an authenticated peer, and what it becomes. */
#include <stdio.h>
#include <string.h>

#include <utlist.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/preamble.h"
#include "sched/state.h"

void hello_refuse(struct peer *peer, const char *code, const char *text)
{
    pc_json *json = pc_json_object();
    pc_warn("refused '%s': %s", peer->name, text);
    pc_json_put_str(json, "code", code);
    pc_json_put_str(json, "text", text);
    pc_conn_send(&peer->conn, pc_json_msg(PC_MSG_REFUSED, json));
    pc_conn_end(&peer->conn);
}

/* "client", "engine", or NULL: the role that the key named in HELLO stands for. */
static const char *role_of_key(struct sched *s, const pc_json *hello, const uint8_t *static_key)
{
    uint8_t key[PC_KEY_SIZE];
    if (pc_hex_decode(pc_json_str_or(hello, "public_key", ""), key, sizeof(key)))
        return NULL;
    if (static_key && !pc_equal(static_key, key, sizeof(key)))
        return NULL;
    const struct known_key *known = keys_find(s, key);
    if (!known)
        return NULL;
    bool was_here = pc_json_member(hello, known->is_client ? "session" : "received");
    if (key_is_over(s, known) && !was_here)
        return NULL;
    return known->is_client ? "client" : "engine";
}

static void welcome_host(struct sched *s, struct peer *peer, const pc_json *hello)
{
    struct pc_err err;
    bool is_back = pc_json_member(hello, "received"), is_new = false;
    if (is_back && !home_resume(s, peer, hello, &is_new, &err)) {
        hello_refuse(peer, "session", err.text);
        return;
    }
    if (!is_back && !home_add(s, peer, hello)) {
        hello_refuse(peer, "protocol", "HELLO of a host without a uuid of its own");
        return;
    }
    peer->sender = PC_FROM_HOST;
    peer->conn.sock.wire.senders = PC_FROM_HOST;
    DL_DELETE(s->strangers, peer);
    DL_APPEND(s->hosts, peer);
    struct home *home = peer->home;
    pc_json *json = pc_json_object();
    token_put(s, TOKEN_HOST, home->uuid, sizeof(home->uuid), json);
    pc_json_put_i64(json, "grace_ms", s->grace_ms);
    pc_json_put_u64(json, "received", home->lifeline.received);
    pc_json_put_bool(json, "new", is_new);
    pc_conn_send(&peer->conn, pc_json_msg(PC_MSG_WELCOME, json));
    if (s->grace_ms)
        peer->conn.sock.wire.lifeline = &home->lifeline;
    if (!is_back || is_new)
        pc_conn_send(&peer->conn, engines_list(s));
    else if (pc_wire_resume(&peer->conn.sock.wire))
        pc_fatal(1, "out of memory");
}

/* From the next message on it goes on where it was. */
static void resume_client(struct sched *s, struct peer *peer, const pc_json *hello)
{
    struct pc_err err;
    struct client *client = client_resume(s, peer, hello, &err);
    if (!client) {
        hello_refuse(peer, "session", err.text);
        return;
    }
    bool is_new = client_is_new(client);
    pc_json *json = pc_json_object();
    pc_json_put_u64(json, "session", client->session);
    pc_json_put_u64(json, "received", client->lifeline.received);
    if (is_new) { /* to the client: it begins with everything anew */
        pc_json_put_bool(json, "new", true);
        window_tell(s, client, json);
    }
    pc_conn_send(&peer->conn, pc_json_msg(PC_MSG_WELCOME, json));
    peer->conn.sock.wire.lifeline = &client->lifeline;
    if (pc_wire_resume(&peer->conn.sock.wire))
        pc_fatal(1, "out of memory");
    if (is_new)
        pc_conn_send(&peer->conn, engines_list(s));
}

static void welcome_client(struct sched *s, struct peer *peer, const pc_json *hello)
{
    char instance[2 * PC_INSTANCE_SIZE + 1];
    struct client *client = client_new(s, peer, hello);
    pc_hex_encode(s->instance, PC_INSTANCE_SIZE, instance);
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "cluster_id", s->cluster_id);
    pc_json_put_str(json, "profile", s->profile);
    pc_json_put_str(json, "instance", instance);
    pc_json_put_u64(json, "session", client->session);
    token_put(s, TOKEN_CLIENT, &client->session, sizeof(client->session), json);
    pc_json_put_i64(json, "controller_pid", s->controller_pid);
    pc_json_put_i64(json, "grace_ms", s->grace_ms);
    window_tell(s, client, json);
    durable_tell(s, json);
    pc_conn_send(&peer->conn, pc_json_msg(PC_MSG_WELCOME, json));
    if (s->grace_ms)
        peer->conn.sock.wire.lifeline = &client->lifeline;
    pc_conn_send(&peer->conn, engines_list(s));
}

static void greet(struct sched *s, struct peer *peer, const pc_json *hello,
                  const uint8_t *static_key)
{
    const char *role = pc_json_str_or(hello, "role", "");
    const char *allowed = role_of_key(s, hello, static_key);
    bool is_client = strcmp(role, "client") == 0;
    if (s->is_stopping) {
        hello_refuse(peer, "busy", "the cluster is stopping");
    } else if (!allowed) {
        hello_refuse(peer, "key",
                     "the controller does not know this key: it is wrong or was revoked; get a "
                     "new connection file from the controller");
    } else if (is_client != (strcmp(allowed, "client") == 0)) {
        hello_refuse(peer, "role",
                     is_client ? "this is an engine's key: it can't submit work; use the file "
                                 "pcluster-client.json"
                               : "this is a client's key: it can't start engines; use the file "
                                 "pcluster-engine.json");
    } else if (is_client && pc_json_member(hello, "session")) {
        resume_client(s, peer, hello);
    } else if (is_client) {
        welcome_client(s, peer, hello);
    } else if (strcmp(role, "host") == 0) {
        welcome_host(s, peer, hello);
    } else if (strcmp(role, "engine") == 0 &&
               strcmp(pc_json_str_or(hello, "lane", ""), "control") == 0) {
        engine_hello_control(s, peer, hello);
    } else if (strcmp(role, "engine") == 0 &&
               strcmp(pc_json_str_or(hello, "lane", ""), "work") == 0) {
        engine_hello_work(s, peer, hello);
    } else {
        hello_refuse(peer, "protocol", "HELLO names a role that this version does not know");
    }
}

void hello_accept(struct sched *s, struct pc_sock *sock, const uint8_t *static_key,
                  const char *name)
{
    struct pc_err err;
    struct peer *peer = pc_xcalloc(1, sizeof(*peer));
    peer->sched = s;
    peer->sender = PC_FROM_NEW;
    snprintf(peer->name, sizeof(peer->name), "%s", name);
    if (pc_conn_adopt(&peer->conn, &s->conns, sock, &peer_events, peer)) {
        pc_warn("can't take on '%s'", name);
        pc_sock_close(sock);
        free(peer);
        return;
    }
    DL_APPEND(s->strangers, peer);
    struct pc_msg *msg = pc_wire_next(&peer->conn.sock.wire, &err);
    pc_json *hello = msg && msg->head.type == PC_MSG_HELLO ? pc_json_of_msg(msg, &err) : NULL;
    if (hello)
        greet(s, peer, hello, static_key);
    else {
        pc_warn("dropped '%s': %s", name, msg || err.code == PC_OK ? "no HELLO" : err.text);
        pc_conn_close(&peer->conn);
    }
    pc_json_free(hello);
    pc_msg_unref(msg);
    /* Nothing may follow HELLO before WELCOME, so there is nothing more to take in now. */
}
