/* SPDX-License-Identifier: BSD-3-Clause */
#include "cradle.h"

#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/engine.h"
#include "lib/key.h"
#include "lib/preamble.h"
#include "lib/proto.h"
#include "lib/proto_task.h"
#include "lib/spawn.h"

/* Long enough for what is on its way, on a busy machine, to arrive. */
#define ON_ITS_WAY_MS 300

/* ---- the nursery ------------------------------------------------------------------------ */

static void open_listener(struct cradle *cradle)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cradle->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", cradle->dir);
    assert_int_equal(bind(cradle->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(cradle->listen_fd, 16), 0);
}

static char *connection_text(const struct cradle *cradle)
{
    struct pc_connfile file = {.port = 1, .role = "engine", .profile = "cradle"};
    struct pc_keypair pair;
    pc_keypair_generate(&pair);
    snprintf(file.host, sizeof(file.host), "127.0.0.1");
    snprintf(file.location, sizeof(file.location), "here");
    snprintf(file.unix_path, sizeof(file.unix_path), "%s/socket", cradle->dir);
    memcpy(file.exec_key, pair.private_key, PC_KEY_SIZE);
    memcpy(file.controller_key, pair.public_key, PC_KEY_SIZE);
    return pc_connfile_print(&file);
}

static void send_config(struct cradle *cradle, const char *fields)
{
    char *text, *connection = connection_text(cradle);
    assert_true(asprintf(&text, "{\"log_level\":\"error\"%s%s}", *fields ? "," : "", fields) > 0);
    pc_json *config = pc_json_parse(text, strlen(text), NULL);
    assert_non_null(config);
    pc_json_put_str(config, "connection", connection);
    struct pc_msg *msg = pc_json_msg(PC_MSG_CONFIG, config);
    assert_int_equal(pc_sock_send(&cradle->parent, msg, NULL), 0);
    pc_msg_unref(msg);
    free(text);
    free(connection);
}

/* As pc_spawn_role would start it. */
static _Noreturn void run_nursery(int parent_fd)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* cmocka has handlers */
    int fd = fcntl(parent_fd, F_DUPFD, 20), null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(fd, PC_ROLE_FD);
    pc_close_from(PC_ROLE_FD + 1, NULL, 0);
    exit(nursery_main());
}

void cradle_open(struct cradle *cradle, const char *config_fields)
{
    int pair[2];
    assert_int_equal(pc_noise_init(), 0);
    *cradle = (struct cradle){.dir = "/tmp/pcluster-cradle-XXXXXX"};
    assert_non_null(mkdtemp(cradle->dir));
    open_listener(cradle);
    assert_int_equal(pc_socketpair(pair, NULL), 0);
    fflush(NULL);
    cradle->pid = fork();
    assert_true(cradle->pid >= 0);
    if (cradle->pid == 0)
        run_nursery(pair[1]);
    close(pair[1]);
    pc_sock_init(&cradle->parent, pair[0], PC_FROM_NURSERY);
    send_config(cradle, config_fields);
}

void cradle_ready(struct cradle *cradle)
{
    pc_msg_unref(cradle_await(&cradle->parent, PC_MSG_READY));
}

int cradle_wait(struct cradle *cradle)
{
    int status;
    assert_int_equal(waitpid(cradle->pid, &status, 0), cradle->pid);
    return status;
}

void cradle_free(struct cradle *cradle)
{
    char path[80];
    pc_sock_close(&cradle->parent);
    close(cradle->listen_fd);
    snprintf(path, sizeof(path), "%s/socket", cradle->dir);
    unlink(path);
    rmdir(cradle->dir);
}

void cradle_close(struct cradle *cradle)
{
    static const char body[] = "{\"reason\":\"end of test\",\"grace_ms\":5000}";
    cradle_send(&cradle->parent, PC_MSG_SHUTDOWN, body, strlen(body));
    int status = cradle_wait(cradle);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    cradle_free(cradle);
}

/* ---- messages --------------------------------------------------------------------------- */

struct pc_msg *cradle_await(struct pc_sock *sock, uint8_t type)
{
    for (;;) {
        struct pc_err err;
        struct pc_msg *msg = pc_sock_receive(sock, CRADLE_LIMIT_MS, &err);
        if (!msg)
            fail_msg("waiting for %s: %s", pc_msg_name(type), err.text);
        if (msg->head.type == type)
            return msg;
        if (msg->head.type == PC_MSG_FAILED)
            fail_msg("waiting for %s: %.*s", pc_msg_name(type), (int)msg->head.body_size,
                     (char *)msg->body);
        pc_msg_unref(msg);
    }
}

void cradle_await_end(struct pc_sock *sock)
{
    for (;;) {
        struct pc_err err;
        struct pc_msg *msg = pc_sock_receive(sock, CRADLE_LIMIT_MS, &err);
        if (!msg) {
            assert_int_equal(err.code, PC_E_LOST);
            return;
        }
        pc_msg_unref(msg);
    }
}

bool cradle_has_more(struct pc_sock *sock)
{
    struct pollfd p = {.fd = sock->fd, .events = POLLIN};
    return pc_wire_is_within(&sock->wire) || poll(&p, 1, ON_ITS_WAY_MS) > 0;
}

void cradle_send(struct pc_sock *sock, uint8_t type, const void *body, size_t size)
{
    struct pc_msg *msg = pc_msg_with_body(type, body, size);
    assert_int_equal(pc_sock_send(sock, msg, NULL), 0);
    pc_msg_unref(msg);
}

pc_json *cradle_exit(struct cradle *cradle, const struct cradle_engine *engine)
{
    struct pc_msg *msg = cradle_await(&cradle->parent, PC_MSG_EXITED);
    pc_json *json = pc_json_of_msg(msg, NULL);
    assert_string_equal(pc_json_str_or(json, "uuid", ""), engine->uuid);
    assert_int_equal(pc_json_i64_or(json, "pid", 0), engine->pid);
    pc_msg_unref(msg);
    return json;
}

/* ---- engines ---------------------------------------------------------------------------- */

static int accept_one(struct cradle *cradle)
{
    struct pollfd p = {.fd = cradle->listen_fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, CRADLE_LIMIT_MS), 1);
    int fd = accept4(cradle->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Plays the scheduler's side of a handshake on the Unix socket, up to HELLO. */
static pc_json *accept_lane(struct cradle *cradle, struct pc_sock *sock, const char *lane)
{
    uint8_t bytes[PC_PREAMBLE_SIZE];
    struct pc_preamble preamble;
    int fd = accept_one(cradle);
    if (cradle->drops > 0 && cradle->drops-- % 2) {
        close(fd);
        fd = accept_one(cradle);
    }
    assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_WAITALL), sizeof(bytes));
    assert_int_equal(pc_preamble_decode(bytes, &preamble), 0);
    preamble.suite_or_answer = PC_ANSWER_OK;
    pc_preamble_encode(&preamble, bytes);
    assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
    pc_sock_init(sock, fd, PC_FROM_NEW | PC_FROM_CONTROL | PC_FROM_WORK);
    struct pc_msg *msg = cradle_await(sock, PC_MSG_HELLO);
    pc_json *hello = pc_json_of_msg(msg, NULL);
    pc_msg_unref(msg);
    if (cradle->drops > 0) {
        cradle->drops--;
        pc_json_free(hello);
        pc_sock_close(sock);
        return accept_lane(cradle, sock, lane);
    }
    assert_string_equal(pc_json_str_or(hello, "role", ""), "engine");
    assert_string_equal(pc_json_str_or(hello, "lane", ""), lane);
    return hello;
}

void cradle_engine(struct cradle *cradle, struct cradle_engine *engine)
{
    char text[128];
    *engine = (struct cradle_engine){.id = cradle->next_id++};
    cradle_send(&cradle->parent, PC_MSG_SPAWN, "{\"count\":1}", 11);
    struct pc_msg *msg = cradle_await(&cradle->parent, PC_MSG_SPAWNED);
    pc_json *spawned = pc_json_of_msg(msg, NULL);
    engine->pid = (pid_t)pc_json_i64_or(spawned, "pid", 0);
    snprintf(engine->uuid, sizeof(engine->uuid), "%s", pc_json_str_or(spawned, "uuid", ""));
    pc_json_free(spawned);
    pc_msg_unref(msg);

    pc_json *hello = accept_lane(cradle, &engine->control, "control");
    assert_string_equal(pc_json_str_or(hello, "uuid", ""), engine->uuid);
    assert_int_equal(pc_json_i64_or(hello, "pid", 0), engine->pid);
    pc_json_free(hello);
    snprintf(text, sizeof(text), "{\"engine_id\":%u,\"token\":\"ab\",\"heartbeat_ms\":3000}",
             engine->id);
    cradle_send(&engine->control, PC_MSG_WELCOME, text, strlen(text));

    hello = accept_lane(cradle, &engine->work, "work");
    assert_string_equal(pc_json_str_or(hello, "token", ""), "ab");
    assert_int_equal(pc_json_i64_or(hello, "engine_id", -1), engine->id);
    pc_json_free(hello);
    snprintf(text, sizeof(text), "{\"engine_id\":%u}", engine->id);
    cradle_send(&engine->work, PC_MSG_WELCOME, text, strlen(text));
}

void cradle_engine_close(struct cradle_engine *engine)
{
    pc_sock_close(&engine->control);
    pc_sock_close(&engine->work);
}

void cradle_dismiss(struct cradle *cradle, struct cradle_engine *engine)
{
    static const char body[] = "{\"reason\":\"end of test\",\"grace_ms\":20000}";
    cradle_send(&engine->control, PC_MSG_SHUTDOWN, body, strlen(body));
    pc_json *ended = cradle_exit(cradle, engine);
    assert_int_equal(pc_json_i64_or(ended, "signal", -1), 0);
    assert_int_equal(pc_json_i64_or(ended, "code", -1), 0);
    pc_json_free(ended);
    cradle_engine_close(engine);
}

/* ---- tasks ------------------------------------------------------------------------------ */

void cradle_run(struct cradle_engine *engine, uint8_t kind, uint8_t flags, const char *text)
{
    struct pc_run_body run = {.kind = kind, .run_flags = flags};
    uint8_t body[PC_RUN_NAMED_SIZE];
    struct pc_bytes part = {text, strlen(text)};
    size_t size = pc_run_encode(body, &run);
    struct pc_msg *msg = pc_msg_borrowing(PC_MSG_RUN, body, size, &part, 1);
    msg->head.session = CRADLE_SESSION;
    msg->head.sequence = ++engine->sequence;
    msg->head.engine_id = engine->id;
    assert_int_equal(pc_sock_send(&engine->work, msg, NULL), 0);
    pc_msg_unref(msg);
}

static void credit(struct cradle_engine *engine, uint64_t bytes)
{
    struct pc_msg *msg = pc_credit_new(&(struct pc_credit_body){.bytes = bytes});
    pc_sock_send(&engine->control, msg, NULL); /* unless it has left meanwhile */
    pc_msg_unref(msg);
}

struct pc_msg *cradle_result(struct cradle_engine *engine, struct pc_buf *output)
{
    for (;;) {
        struct pc_err err;
        struct pc_stream_body stream;
        struct pc_msg *msg = pc_sock_receive(&engine->work, CRADLE_LIMIT_MS, &err);
        if (!msg)
            fail_msg("waiting for a result: %s", err.text);
        assert_int_equal(msg->head.session, CRADLE_SESSION);
        assert_int_equal(msg->head.sequence, engine->sequence);
        if (msg->head.type == PC_MSG_RESULT)
            return msg;
        assert_int_equal(pc_stream_decode(msg, &stream, &err), 0);
        if (output)
            pc_buf_put(&output[stream.stream], msg->parts[0].data, msg->parts[0].size);
        credit(engine, msg->parts[0].size);
        pc_msg_unref(msg);
    }
}

char *cradle_do(struct cradle_engine *engine, const char *source)
{
    struct pc_buf output[2] = {0};
    struct pc_result_body body;
    cradle_run(engine, PC_KIND_EXECUTE, PC_RUN_SILENT, source);
    struct pc_msg *msg = cradle_result(engine, output);
    assert_int_equal(pc_result_decode(msg, &body, NULL), 0);
    if (body.status != PC_STATUS_OK)
        fail_msg("%.*s", (int)msg->parts[0].size, (char *)msg->parts[0].data);
    assert_true(body.started_us > 0 && body.completed_us >= body.started_us);
    pc_msg_unref(msg);
    cradle_ack(engine, engine->sequence);
    pc_buf_put_u8(&output[PC_STREAM_STDOUT], 0);
    pc_buf_fini(&output[PC_STREAM_STDERR]);
    return (char *)output[PC_STREAM_STDOUT].data;
}

void cradle_ack(struct cradle_engine *engine, uint64_t sequence)
{
    uint8_t body[PC_ACK_SIZE];
    pc_store_u64(body, CRADLE_SESSION);
    pc_store_u64(body + 8, sequence);
    cradle_send(&engine->work, PC_MSG_RESULT_ACK, body, sizeof(body));
}
