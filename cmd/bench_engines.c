/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/bench_engines.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/json.h"
#include "lib/key.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proto.h"
#include "lib/proto_task.h"

#define CONNECT_LIMIT_MS 10000

struct crowd;

struct bench_engine {
    struct crowd *crowd;
    struct pc_conn control, work;
    struct pc_msg *held[16]; /* tasks that wait for the gate */
    unsigned held_count;
};

struct crowd {
    uv_loop_t loop;
    struct pc_conns conns;
    uv_poll_t gate;
    bool is_open;
    struct bench_engine *engines;
    unsigned count;
};

/* ---- messages --------------------------------------------------------------------------- */

static void answer(struct bench_engine *engine, const struct pc_msg *run)
{
    uint8_t body[PC_RESULT_BODY_SIZE];
    int64_t now_us = pc_wall_us();
    pc_result_encode(body, &(struct pc_result_body){.status = PC_STATUS_OK,
                                                    .started_us = now_us,
                                                    .completed_us = now_us});
    struct pc_frame head = {.type = PC_MSG_RESULT,
                            .body_size = sizeof(body),
                            .session = run->head.session,
                            .sequence = run->head.sequence,
                            .engine_id = run->head.engine_id};
    pc_conn_send_parts(&engine->work, &head, body, NULL);
}

static void on_work(struct pc_conn *conn, struct pc_msg *msg)
{
    struct bench_engine *engine = conn->owner;
    size_t room = sizeof(engine->held) / sizeof(engine->held[0]);
    if (msg->head.type == PC_MSG_RUN && !engine->crowd->is_open && engine->held_count < room) {
        engine->held[engine->held_count++] = msg;
        return;
    }
    if (msg->head.type == PC_MSG_RUN)
        answer(engine, msg);
    pc_msg_unref(msg); /* acknowledgements: nothing is kept */
}

/* Every task has begun when it is there: none can be called back. */
static void refuse_recall(struct pc_conn *conn, const struct pc_msg *msg)
{
    struct pc_recall_body body;
    uint8_t bytes[PC_RECALL_SIZE];
    if (pc_recall_decode(msg, &body, NULL))
        return;
    body.first = body.last + 1;
    pc_recall_encode(bytes, &body);
    pc_conn_send_body(conn, PC_MSG_RECALL, bytes, sizeof(bytes));
}

static void on_control(struct pc_conn *conn, struct pc_msg *msg)
{
    if (msg->head.type == PC_MSG_PING)
        pc_conn_send_body(conn, PC_MSG_PONG, NULL, 0);
    else if (msg->head.type == PC_MSG_RECALL)
        refuse_recall(conn, msg);
    else if (msg->head.type == PC_MSG_SHUTDOWN)
        _exit(0);
    pc_msg_unref(msg);
}

static void on_lost(struct pc_conn *conn, const struct pc_err *why)
{
    _exit(0); /* the controller left */
}

static void on_closed(struct pc_conn *conn)
{
}

static const struct pc_conn_events work_events = {
    .on_message = on_work, .on_lost = on_lost, .on_closed = on_closed};
static const struct pc_conn_events control_events = {
    .on_message = on_control, .on_lost = on_lost, .on_closed = on_closed};

static void on_gate(uv_poll_t *poll, int status, int events)
{
    struct crowd *crowd = poll->data;
    crowd->is_open = true;
    uv_poll_stop(poll);
    for (unsigned i = 0; i < crowd->count; i++) {
        struct bench_engine *engine = &crowd->engines[i];
        for (unsigned n = 0; n < engine->held_count; n++) {
            answer(engine, engine->held[n]);
            pc_msg_unref(engine->held[n]);
        }
        engine->held_count = 0;
    }
}

/* ---- registering ------------------------------------------------------------------------ */

static pc_json *hello_of(const struct pc_connfile *file, const char *lane, const char *uuid)
{
    struct pc_keypair pair;
    char key[2 * PC_KEY_SIZE + 1];
    pc_keypair_from_private(&pair, file->exec_key);
    pc_hex_encode(pair.public_key, PC_KEY_SIZE, key);
    pc_wipe(&pair, sizeof(pair));
    pc_json *hello = pc_json_object();
    pc_json_put_str(hello, "role", "engine");
    pc_json_put_str(hello, "lane", lane);
    pc_json_put_str(hello, "public_key", key);
    pc_json_put_str(hello, "uuid", uuid);
    return hello;
}

/* Connects and says HELLO (which is freed); returns the WELCOME. */
static pc_json *greet(struct pc_sock *sock, const struct pc_connfile *file,
                      enum pc_transport transport, pc_json *hello)
{
    struct pc_err err;
    pc_json *welcome = NULL;
    char *text = pc_json_print(hello);
    struct pc_msg *msg = NULL;
    pc_json_free(hello);
    if (pc_sock_connect(sock, file, transport, CONNECT_LIMIT_MS, NULL, 0, &err) == 0)
        msg = pc_sock_hello(sock, text, CONNECT_LIMIT_MS, &err);
    if (msg)
        welcome = pc_json_of_msg(msg, &err);
    if (!welcome)
        pc_fatal(1, "a simulated engine can't register: %s", err.text);
    pc_msg_unref(msg);
    free(text);
    return welcome;
}

static void adopt(struct crowd *crowd, struct pc_conn *conn, struct pc_sock *sock,
                  const struct pc_conn_events *events, struct bench_engine *engine)
{
    if (pc_conn_adopt(conn, &crowd->conns, sock, events, engine))
        pc_fatal(1, "can't set up a simulated engine");
    pc_conn_start(conn);
}

static void add_engine(struct crowd *crowd, struct bench_engine *engine,
                       const struct pc_connfile *file, enum pc_transport transport)
{
    uint8_t random[16];
    char uuid[33];
    struct pc_sock control, work;
    pc_random(random, sizeof(random));
    pc_hex_encode(random, sizeof(random), uuid);
    pc_json *hello = hello_of(file, "control", uuid);
    pc_json_put_i64(hello, "pid", getpid());
    pc_json_put_str(hello, "host", "bench");
    pc_json_put_str(hello, "python", "0.0");
    pc_json *welcome = greet(&control, file, transport, hello);
    hello = hello_of(file, "work", uuid);
    pc_json_put_i64(hello, "engine_id", pc_json_i64_or(welcome, "engine_id", 0));
    pc_json_put_str(hello, "token", pc_json_str_or(welcome, "token", ""));
    pc_json_free(welcome);
    pc_json_free(greet(&work, file, transport, hello));
    engine->crowd = crowd;
    adopt(crowd, &engine->control, &control, &control_events, engine);
    adopt(crowd, &engine->work, &work, &work_events, engine);
}

static _Noreturn void run(const struct pc_connfile *file, unsigned count,
                          enum pc_transport transport, int gate)
{
    static struct crowd crowd;
    struct rlimit files;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* the one that measures ends us */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    crowd.engines = pc_xcalloc(count, sizeof(*crowd.engines));
    crowd.count = count;
    crowd.is_open = gate < 0;
    if (uv_loop_init(&crowd.loop) || pc_conns_init(&crowd.conns, &crowd.loop))
        pc_fatal(1, "can't make a loop for simulated engines");
    if (gate >= 0 && uv_poll_init(&crowd.loop, &crowd.gate, gate) == 0) {
        crowd.gate.data = &crowd;
        uv_poll_start(&crowd.gate, UV_READABLE, on_gate);
    }
    for (unsigned i = 0; i < count; i++)
        add_engine(&crowd, &crowd.engines[i], file, transport);
    uv_run(&crowd.loop, UV_RUN_DEFAULT);
    _exit(0);
}

pid_t bench_engines_start(const struct pc_connfile *file, unsigned count,
                          enum pc_transport transport, int gate, struct pc_err *err)
{
    pid_t pid = fork();
    if (pid == 0)
        run(file, count, transport, gate);
    if (pid < 0)
        pc_err_sys(err, "can't start simulated engines");
    return pid;
}
