/* SPDX-License-Identifier: BSD-3-Clause */
#include "stage.h"

#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/link.h"
#include "lib/preamble.h"
#include "lib/proto.h"
#include "lib/proto_task.h"
#include "lib/spawn.h"
#include "sched/sched.h"

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1024), 0);
    return fd;
}

static int listen_tcp(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1024), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* `begun` may be -1. */
static void run_role(int parent, int hub, int unix_fd, int tcp_fd, int begun, int handover)
{
    int fds[] = {parent, hub, unix_fd, tcp_fd, begun < 0 ? handover : begun, handover};
    int count = begun < 0 ? 5 : 6;
    for (int i = 0; i < count; i++)
        fds[i] = fcntl(fds[i], F_DUPFD, 20);
    for (int i = 0; i < count; i++)
        dup2(fds[i], PC_ROLE_FD + i);
    pc_close_from(PC_ROLE_FD + count, NULL, 0);
    exit(sched_main());
}

static void put_key(pc_json *json, const char *name, const void *bytes, size_t size)
{
    char text[2 * PC_KEY_SIZE + 1];
    pc_hex_encode(bytes, size, text);
    pc_json_put_str(json, name, text);
}

static void fill_file(struct pc_connfile *file, const char *role, const struct stage *stage,
                      const struct pc_keypair *mine, const struct pc_keypair *controller,
                      const uint8_t *instance, uint16_t port)
{
    *file = (struct pc_connfile){.port = port, .host = "127.0.0.1"};
    snprintf(file->role, sizeof(file->role), "%s", role);
    snprintf(file->profile, sizeof(file->profile), "stage");
    snprintf(file->location, sizeof(file->location), "here");
    snprintf(file->unix_path, sizeof(file->unix_path), "%s/socket", stage->dir);
    memcpy(file->instance, instance, PC_INSTANCE_SIZE);
    memcpy(file->exec_key, mine->private_key, PC_KEY_SIZE);
    memcpy(file->controller_key, controller->public_key, PC_KEY_SIZE);
}

static void open_stage(struct stage *stage, int heartbeat_ms, int64_t ledger_bytes, int grace_ms,
                       int begun_fd)
{
    struct pc_keypair controller, client, engine;
    uint8_t instance[PC_INSTANCE_SIZE];
    int parent[2], hub[2], handover[2];
    uint16_t port;
    char path[80];
    assert_int_equal(pc_noise_init(), 0);
    *stage = (struct stage){.dir = "/tmp/pcluster-stage-XXXXXX", .home = STAGE_HOME};
    assert_non_null(mkdtemp(stage->dir));
    snprintf(path, sizeof(path), "%s/socket", stage->dir);
    int unix_fd = listen_unix(path), tcp_fd = listen_tcp(&port);
    assert_int_equal(pc_socketpair(parent, NULL), 0);
    assert_int_equal(pc_socketpair(hub, NULL), 0);
    assert_int_equal(pc_handover_pair(handover, NULL), 0);
    fflush(NULL);
    stage->pid = fork();
    assert_true(stage->pid >= 0);
    if (stage->pid == 0)
        run_role(parent[1], hub[1], unix_fd, tcp_fd, begun_fd, handover[1]);
    close(parent[1]);
    close(hub[1]);
    close(handover[1]);
    stage->handover_fd = handover[0];
    close(unix_fd);
    close(tcp_fd);
    pc_sock_init(&stage->parent, parent[0], PC_FROM_SCHED);
    pc_sock_init(&stage->hub, hub[0], PC_FROM_SCHED);

    pc_keypair_generate(&controller);
    pc_keypair_generate(&client);
    pc_keypair_generate(&engine);
    pc_random(instance, sizeof(instance));
    fill_file(&stage->client, "client", stage, &client, &controller, instance, port);
    fill_file(&stage->engine, "engine", stage, &engine, &controller, instance, port);
    pc_json *config = pc_json_object();
    put_key(config, "instance", instance, sizeof(instance));
    put_key(config, "controller_private", controller.private_key, PC_KEY_SIZE);
    put_key(config, "client_public", client.public_key, PC_KEY_SIZE);
    put_key(config, "engine_public", engine.public_key, PC_KEY_SIZE);
    pc_json_put_str(config, "profile", "stage");
    pc_json_put_str(config, "home", STAGE_HOME);
    pc_json_put_str(config, "log_level", "error");
    pc_json_put_i64(config, "heartbeat_ms", heartbeat_ms);
    if (ledger_bytes)
        pc_json_put_i64(config, "ledger_bytes", ledger_bytes);
    pc_json_put_i64(config, "grace_ms", grace_ms);
    pc_json_put_bool(config, "has_unix", true);
    pc_json_put_bool(config, "has_tcp", true);
    pc_json_put_bool(config, "has_handover", true);
    pc_json_put_bool(config, "has_begun", begun_fd >= 0);
    pc_json_put_str(config, "durable", begun_fd >= 0 ? "asked" : "none");
    struct pc_msg *msg = pc_json_msg(PC_MSG_CONFIG, config);
    assert_int_equal(pc_sock_send(&stage->parent, msg, NULL), 0);
    pc_msg_unref(msg);
    pc_msg_unref(stage_await(&stage->parent, PC_MSG_READY));
}

void stage_open(struct stage *stage, int heartbeat_ms)
{
    stage_open_patient(stage, heartbeat_ms, 0);
}

void stage_open_patient(struct stage *stage, int heartbeat_ms, int grace_ms)
{
    open_stage(stage, heartbeat_ms, 0, grace_ms, -1);
    stage_hub_recorded(stage, 0);
}

void stage_open_quiet(struct stage *stage, int64_t ledger_bytes)
{
    open_stage(stage, 60000, ledger_bytes, 0, -1);
}

void stage_open_durable(struct stage *stage, int begun_fd)
{
    open_stage(stage, 60000, 0, 0, begun_fd);
    stage_hub_recorded(stage, 0);
}

void stage_hub_recorded(struct stage *stage, uint64_t number)
{
    uint8_t body[8];
    pc_store_u64(body, number);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECORDED, body, sizeof(body));
    assert_int_equal(pc_sock_send(&stage->hub, msg, NULL), 0);
    pc_msg_unref(msg);
}

void stage_new_hub(struct stage *stage)
{
    int pair[2];
    assert_int_equal(pc_socketpair(pair, NULL), 0);
    assert_int_equal(pc_handover_send(stage->handover_fd, pair[1], NULL), 0);
    close(pair[1]);
    pc_sock_init(&stage->hub, pair[0], PC_FROM_SCHED);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_LINK, "{\"to\":\"hub\",\"pid\":9}", 20);
    assert_int_equal(pc_sock_send(&stage->parent, msg, NULL), 0);
    pc_msg_unref(msg);
}

void stage_new_keys(struct stage *stage, int overlap_ms)
{
    struct pc_keypair client, engine;
    pc_keypair_generate(&client);
    pc_keypair_generate(&engine);
    pc_json *config = pc_json_object();
    put_key(config, "client_public", client.public_key, PC_KEY_SIZE);
    put_key(config, "engine_public", engine.public_key, PC_KEY_SIZE);
    pc_json_put_i64(config, "overlap_ms", overlap_ms);
    struct pc_msg *msg = pc_json_msg(PC_MSG_CONFIG, config);
    assert_int_equal(pc_sock_send(&stage->parent, msg, NULL), 0);
    pc_msg_unref(msg);
    pc_msg_unref(stage_await(&stage->parent, PC_MSG_READY));
    memcpy(stage->client.exec_key, client.private_key, PC_KEY_SIZE);
    memcpy(stage->engine.exec_key, engine.private_key, PC_KEY_SIZE);
}

void stage_close(struct stage *stage)
{
    int status;
    char path[80];
    pc_sock_close(&stage->parent);
    assert_int_equal(waitpid(stage->pid, &status, 0), stage->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    pc_sock_close(&stage->hub);
    close(stage->handover_fd);
    snprintf(path, sizeof(path), "%s/socket", stage->dir);
    unlink(path);
    rmdir(stage->dir);
}

struct pc_msg *stage_await(struct pc_sock *sock, uint8_t type)
{
    for (;;) {
        struct pc_err err;
        struct pc_msg *msg = pc_sock_receive(sock, STAGE_LIMIT_MS, &err);
        if (!msg)
            fail_msg("waiting for %s: %s", pc_msg_name(type), err.text);
        if (msg->head.type == type)
            return msg;
        pc_msg_unref(msg);
    }
}

void stage_await_end(struct pc_sock *sock)
{
    for (;;) {
        struct pc_err err;
        struct pc_msg *msg = pc_sock_receive(sock, STAGE_LIMIT_MS, &err);
        if (!msg) {
            assert_int_equal(err.code, PC_E_LOST);
            return;
        }
        pc_msg_unref(msg);
    }
}

char *stage_hello(const struct pc_connfile *file, const char *fields)
{
    struct pc_keypair pair;
    char key[2 * PC_KEY_SIZE + 1], *text;
    pc_keypair_from_private(&pair, file->exec_key);
    pc_hex_encode(pair.public_key, PC_KEY_SIZE, key);
    assert_true(asprintf(&text, "{%s,\"public_key\":\"%s\"}", fields, key) > 0);
    return text;
}

void stage_connect(struct stage *stage, struct pc_sock *sock, const struct pc_connfile *file,
                   enum pc_transport transport, const char *hello_fields, struct pc_msg **welcome)
{
    struct pc_err err;
    if (pc_sock_connect(sock, file, transport, STAGE_LIMIT_MS, NULL, 0, &err))
        fail_msg("%s", err.text);
    char *hello = stage_hello(file, hello_fields);
    *welcome = pc_sock_hello(sock, hello, STAGE_LIMIT_MS, &err);
    if (!*welcome)
        fail_msg("%s", err.text);
    free(hello);
}

/* Plays the hub: the next ENGINE_UP gets the next id. */
static void give_id(struct stage *stage)
{
    struct pc_msg *up = stage_await(&stage->hub, PC_MSG_ENGINE_UP);
    pc_json *json = pc_json_of_msg(up, NULL), *answer = pc_json_object();
    pc_json_put_i64(answer, "id", stage->next_id++);
    pc_json_put_str(answer, "uuid", pc_json_str_or(json, "uuid", ""));
    struct pc_msg *msg = pc_json_msg(PC_MSG_ENGINE_ID, answer);
    assert_int_equal(pc_sock_send(&stage->hub, msg, NULL), 0);
    pc_msg_unref(msg);
    pc_msg_unref(up);
    pc_json_free(json);
}

void stage_engine_control(struct stage *stage, struct fake_engine *engine,
                          enum pc_transport transport)
{
    char fields[320];
    uint8_t uuid[16];
    struct pc_err err;
    pc_random(uuid, sizeof(uuid));
    pc_hex_encode(uuid, sizeof(uuid), engine->uuid);
    engine->took_us = 1;
    if (pc_sock_connect(&engine->control, &stage->engine, transport, STAGE_LIMIT_MS, NULL, 0, &err))
        fail_msg("%s", err.text);
    snprintf(fields, sizeof(fields),
             "\"role\":\"engine\",\"lane\":\"control\",\"pid\":4711,\"host\":\"here\","
             "\"python\":\"3.11\",\"uuid\":\"%s\",\"home\":\"%s\"",
             engine->uuid, stage->home);
    char *hello = stage_hello(&stage->engine, fields);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_HELLO, hello, strlen(hello));
    assert_int_equal(pc_sock_send(&engine->control, msg, NULL), 0);
    pc_msg_unref(msg);
    free(hello);
    give_id(stage);
    struct pc_msg *welcome = stage_await(&engine->control, PC_MSG_WELCOME);
    pc_json *json = pc_json_of_msg(welcome, NULL);
    assert_int_equal(pc_json_get_u32(json, "engine_id", &engine->id, NULL), 0);
    snprintf(engine->token, sizeof(engine->token), "%s", pc_json_str_or(json, "token", ""));
    pc_json_free(json);
    pc_msg_unref(welcome);
}

void stage_engine_work(struct stage *stage, struct fake_engine *engine, enum pc_transport transport)
{
    char fields[320];
    struct pc_msg *welcome;
    snprintf(fields, sizeof(fields),
             "\"role\":\"engine\",\"lane\":\"work\",\"engine_id\":%u,\"token\":\"%s\","
             "\"uuid\":\"%s\"",
             engine->id, engine->token, engine->uuid);
    stage_connect(stage, &engine->work, &stage->engine, transport, fields, &welcome);
    pc_msg_unref(welcome);
}

void stage_engine(struct stage *stage, struct fake_engine *engine, enum pc_transport transport)
{
    stage_engine_control(stage, engine, transport);
    stage_engine_work(stage, engine, transport);
}

void fake_engine_close(struct fake_engine *engine)
{
    pc_sock_close(&engine->control);
    pc_sock_close(&engine->work);
}

void fake_engine_answer(struct fake_engine *engine, const struct pc_msg *run, const char *value)
{
    struct pc_result_body body = {
        .status = PC_STATUS_OK, .started_us = 1, .completed_us = 1 + engine->took_us};
    uint64_t size = strlen(value);
    struct pc_msg *msg = pc_msg_new(PC_MSG_RESULT, PC_RESULT_BODY_SIZE, &size, 1);
    pc_result_encode(msg->body, &body);
    memcpy(msg->parts[0].data, value, size);
    msg->head.session = run->head.session;
    msg->head.sequence = run->head.sequence;
    assert_int_equal(pc_sock_send(&engine->work, msg, NULL), 0);
    pc_msg_unref(msg);
}

void stage_exited(struct stage *stage, const struct fake_engine *engine, int signal_number,
                  bool is_oom, const char *tail)
{
    pc_json *json = pc_json_object();
    pc_json_put_i64(json, "pid", 4711);
    pc_json_put_str(json, "uuid", engine->uuid);
    pc_json_put_i64(json, "signal", signal_number);
    pc_json_put_i64(json, "code", 0);
    pc_json_put_bool(json, "oom", is_oom);
    pc_json_put_str(json, "tail", tail);
    struct pc_msg *msg = pc_json_msg(PC_MSG_EXITED, json);
    assert_int_equal(pc_sock_send(&stage->parent, msg, NULL), 0);
    pc_msg_unref(msg);
}
