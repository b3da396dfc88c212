/* SPDX-License-Identifier: BSD-3-Clause */
/* The scheduler's face: who gets in, who does not, and what the others notice of it. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/preamble.h"
#include "lib/proto.h"
#include "play.h"

/* What a peer says of itself goes to the hub: it must be fit for that. */
static void a_senseless_hello_is_refused(void **state)
{
    static const char *const fields[] = {
        "\"pid\":-1,\"host\":\"h\",\"python\":\"3.11\"",
        "\"pid\":4294967296,\"host\":\"h\",\"python\":\"3.11\"",
        "\"pid\":\"x\",\"host\":\"h\",\"python\":\"3.11\"",
        "\"pid\":1,\"host\":\"h\",\"python\":\"3.11 and much more\"",
    };
    struct stage stage;
    struct fake_engine engine;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        struct pc_sock sock;
        struct pc_err err;
        char text[300];
        snprintf(text, sizeof(text),
                 "\"role\":\"engine\",\"lane\":\"control\",%s,"
                 "\"uuid\":\"00112233445566778899aabbccddeeff\"",
                 fields[i]);
        assert_int_equal(
            pc_sock_connect(&sock, &stage.engine, PC_TRANSPORT_UNIX, STAGE_LIMIT_MS, NULL, 0, &err),
            0);
        char *hello = stage_hello(&stage.engine, text);
        assert_null(pc_sock_hello(&sock, hello, STAGE_LIMIT_MS, &err));
        assert_int_equal(err.code, PC_E_PROTOCOL);
        free(hello);
        pc_sock_close(&sock);
    }
    play_check(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void keys_and_roles_are_checked(void **state)
{
    static const enum pc_transport transports[] = {PC_TRANSPORT_UNIX, PC_TRANSPORT_TCP};
    struct stage stage;
    struct fake_engine engine;
    struct pc_err err;
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 2; i++) {
        struct pc_connfile file = stage.client;
        pc_random(file.exec_key, sizeof(file.exec_key));
        assert_int_equal(play_open_fails(&file, transports[i], &err), PC_E_KEY);
        file = stage.client;
        memcpy(file.exec_key, stage.engine.exec_key, PC_KEY_SIZE);
        assert_int_equal(play_open_fails(&file, transports[i], &err), PC_E_ROLE);
        assert_non_null(strstr(err.text, "pcluster-client.json"));
        file = stage.client;
        file.instance[3] ^= 1;
        assert_int_equal(play_open_fails(&file, transports[i], &err), PC_E_CLUSTER);
        assert_int_equal(play_open_fails(&stage.engine, transports[i], &err), PC_E_ROLE);
    }
    struct pc_connfile file = stage.client;
    file.controller_key[5] ^= 1;
    assert_int_equal(play_open_fails(&file, PC_TRANSPORT_TCP, &err), PC_E_KEY);
    play_check(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void expect_open(const struct pc_connfile *file, enum pc_transport transport)
{
    struct stage stage = {.client = *file};
    struct pc_client *client = play_open(&stage, transport);
    pc_client_close(client);
}

/* What is connected stays; the old key is good for its time, and a wrong key for none. */
static void keys_are_replaced(void **state)
{
    static const enum pc_transport transports[] = {PC_TRANSPORT_UNIX, PC_TRANSPORT_TCP};
    struct stage stage;
    struct fake_engine before, after;
    struct pc_sock sock;
    struct pc_err err;
    stage_open(&stage, 3000);
    struct pc_connfile first = stage.client;
    stage_engine(&stage, &before, PC_TRANSPORT_UNIX);
    stage_new_keys(&stage, 600000);
    struct pc_connfile second = stage.client, old_engine = stage.engine;
    for (int i = 0; i < 2; i++) {
        expect_open(&first, transports[i]);
        expect_open(&second, transports[i]);
    }
    stage_new_keys(&stage, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(play_open_fails(&second, transports[i], &err), PC_E_KEY);
        assert_non_null(strstr(err.text, "new connection file"));
        expect_open(&stage.client, transports[i]);
        /* Engines have no session to go on with. */
        assert_int_equal(
            pc_sock_connect(&sock, &old_engine, transports[i], STAGE_LIMIT_MS, NULL, 0, &err), 0);
        char *hello = stage_hello(&old_engine, "\"role\":\"engine\",\"lane\":\"control\",\"pid\":1,"
                                               "\"host\":\"h\",\"session\":\"0000000000000001\"");
        assert_null(pc_sock_hello(&sock, hello, STAGE_LIMIT_MS, &err));
        assert_int_equal(err.code, PC_E_KEY);
        free(hello);
        pc_sock_close(&sock);
    }
    play_check(&stage, &before);
    stage_engine(&stage, &after, PC_TRANSPORT_TCP);
    fake_engine_close(&before);
    fake_engine_close(&after);
    stage_close(&stage);
}

static int raw_tcp(const struct stage *stage)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(stage->client.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Reads until the other side closes; returns how many bytes came. */
static size_t read_to_end(int fd)
{
    uint8_t bytes[512];
    size_t total = 0;
    struct timeval limit = {.tv_sec = STAGE_LIMIT_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n < 0 && errno == EAGAIN)
            fail_msg("the connection stayed open");
        if (n <= 0)
            return total;
        total += (size_t)n;
    }
}

static void strangers_are_dropped(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    uint8_t noise[600];
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 20; i++) { /* random bytes */
        int fd = raw_tcp(&stage);
        pc_random(noise, sizeof(noise));
        send(fd, noise, sizeof(noise), MSG_NOSIGNAL);
        assert_int_equal(read_to_end(fd), 0);
        close(fd);
    }
    struct pc_preamble preamble = {.version = 99, .suite_or_answer = PC_SUITE_CHACHAPOLY};
    memcpy(preamble.instance, stage.client.instance, PC_INSTANCE_SIZE);
    pc_preamble_encode(&preamble, noise);
    int fd = raw_tcp(&stage); /* another version: told so */
    send(fd, noise, PC_PREAMBLE_SIZE, MSG_NOSIGNAL);
    uint8_t answer[PC_PREAMBLE_SIZE];
    assert_int_equal(recv(fd, answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
    assert_int_equal(pc_preamble_decode(answer, &preamble), 0);
    assert_int_equal(preamble.suite_or_answer, PC_ANSWER_VERSION);
    assert_int_equal(preamble.version, PC_PROTOCOL_VERSION);
    assert_int_equal(read_to_end(fd), 0);
    close(fd);
    for (size_t cut = 1; cut < PC_PREAMBLE_SIZE; cut += 5) { /* half a preamble, then gone */
        fd = raw_tcp(&stage);
        send(fd, noise, cut, MSG_NOSIGNAL);
        close(fd);
    }
    play_check(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

/* Many connections that say nothing: the oldest go, and who has the key still gets in. */
static void idle_strangers_do_not_keep_others_out(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    int fds[400];
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 400; i++)
        fds[i] = raw_tcp(&stage);
    struct pc_client *client = play_open(&stage, PC_TRANSPORT_TCP);
    for (int i = 0; i < 100; i++)
        assert_int_equal(read_to_end(fds[i]), 0);
    pc_client_close(client);
    play_check(&stage, &engine);
    for (int i = 0; i < 400; i++)
        close(fds[i]);
    fake_engine_close(&engine);
    stage_close(&stage);
}

static void silence_ends_after_the_limit(void **state)
{
    struct stage stage;
    stage_open(&stage, 3000);
    int fd = raw_tcp(&stage);
    assert_int_equal(read_to_end(fd), 0);
    close(fd);
    stage_close(&stage);
}

/* Waits until the scheduler has noticed that others have gone. */
static void await_place(struct stage *stage)
{
    int64_t deadline_ms = pc_clock_ms() + STAGE_LIMIT_MS;
    struct pc_client *client;
    struct pc_err err;
    char *text = pc_connfile_print(&stage->client);
    struct pc_connect how = {.json = text, .timeout_ms = STAGE_LIMIT_MS};
    while (pc_client_open(&client, &how, &err)) {
        assert_int_equal(err.code, PC_E_REFUSED);
        assert_true(pc_clock_ms() < deadline_ms);
    }
    pc_client_close(client);
    free(text);
}

/* Without a free descriptor a newcomer is told so at once, and those inside go on. */
static void a_full_table_says_busy(void **state)
{
    struct stage stage;
    struct fake_engine engine;
    struct pc_err err;
    struct pc_client *inside;
    struct rlimit limit = {.rlim_cur = 40, .rlim_max = 40};
    int fds[40];
    stage_open(&stage, 3000);
    stage_engine(&stage, &engine, PC_TRANSPORT_UNIX);
    inside = play_open(&stage, PC_TRANSPORT_UNIX);
    assert_int_equal(prlimit(stage.pid, RLIMIT_NOFILE, &limit, NULL), 0);
    for (int i = 0; i < 40; i++)
        fds[i] = raw_tcp(&stage);
    /* They are accepted in order: the last one is told, so the table is full. */
    uint8_t answer[PC_PREAMBLE_SIZE];
    assert_int_equal(recv(fds[39], answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
    assert_int_equal(answer[10], PC_ANSWER_BUSY);
    assert_int_equal(play_open_fails(&stage.client, PC_TRANSPORT_UNIX, &err), PC_E_REFUSED);
    assert_non_null(strstr(err.text, "open files"));
    struct pc_call *call = play_submit(inside, &engine.id, "x");
    struct pc_msg *run = stage_await(&engine.work, PC_MSG_RUN);
    fake_engine_answer(&engine, run, "still here");
    pc_msg_unref(run);
    play_wait(inside, call);
    play_expect_part(call, "still here");
    pc_call_unref(call);
    for (int i = 0; i < 40; i++)
        close(fds[i]);
    pc_client_close(inside);
    await_place(&stage);
    play_check(&stage, &engine);
    fake_engine_close(&engine);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_senseless_hello_is_refused),
        cmocka_unit_test(keys_and_roles_are_checked),
        cmocka_unit_test(keys_are_replaced),
        cmocka_unit_test(strangers_are_dropped),
        cmocka_unit_test(idle_strangers_do_not_keep_others_out),
        cmocka_unit_test(silence_ends_after_the_limit),
        cmocka_unit_test(a_full_table_says_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
