/* SPDX-License-Identifier: BSD-3-Clause */
/* Many threads on one client, with and without the background thread, while an engine echoes. */
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/client.h"
#include "lib/proto.h"
#include "lib/proto_task.h"
#include "stage.h"

#define THREADS 6
#define CALLS   400

/* Answers every RUN with its own first part, until the lane closes. */
static void *echo_main(void *arg)
{
    struct fake_engine *engine = arg;
    struct pc_msg *msg;
    while ((msg = pc_sock_receive(&engine->work, -1, NULL)) != NULL) {
        if (msg->head.type == PC_MSG_RUN) {
            struct pc_result_body body = {.status = PC_STATUS_OK};
            uint8_t bytes[PC_RESULT_BODY_SIZE];
            pc_result_encode(bytes, &body);
            struct pc_msg *result = pc_msg_sharing(PC_MSG_RESULT, bytes, sizeof(bytes), msg);
            result->head.session = msg->head.session;
            result->head.sequence = msg->head.sequence;
            pc_sock_send(&engine->work, result, NULL);
            pc_msg_unref(result);
        }
        pc_msg_unref(msg);
    }
    return NULL;
}

struct crowd {
    struct stage stage;
    struct fake_engine engine;
    pthread_t echo;
    struct pc_client *client;
    _Atomic int announced, heard;
    _Atomic bool is_over;
    size_t part_size;
};

static void crowd_open(struct crowd *crowd, enum pc_transport transport)
{
    struct pc_err err;
    memset(crowd, 0, sizeof(*crowd));
    stage_open(&crowd->stage, 60000);
    stage_engine(&crowd->stage, &crowd->engine, PC_TRANSPORT_UNIX);
    assert_int_equal(pthread_create(&crowd->echo, NULL, echo_main, &crowd->engine), 0);
    char *text = pc_connfile_print(&crowd->stage.client);
    struct pc_connect how = {
        .json = text, .transport = transport, .timeout_ms = STAGE_LIMIT_MS, .keeps_results = true};
    if (pc_client_open(&crowd->client, &how, &err))
        fail_msg("%s", err.text);
    free(text);
}

static void crowd_close(struct crowd *crowd)
{
    pc_client_close(crowd->client);
    shutdown(crowd->engine.work.fd, SHUT_RDWR);
    pthread_join(crowd->echo, NULL);
    fake_engine_close(&crowd->engine);
    stage_close(&crowd->stage);
}

static struct pc_call *submit(struct crowd *crowd, const void *data, size_t size, bool will_wait)
{
    struct pc_call *call;
    struct pc_err err;
    struct pc_bytes part = {data, size};
    struct pc_request request = {.kind = PC_KIND_EXECUTE,
                                 .targets = &crowd->engine.id,
                                 .target_count = 1,
                                 .parts = &part,
                                 .part_count = 1,
                                 .will_wait = will_wait,
                                 .may_linger = true};
    while (pc_submit(crowd->client, &request, &call, &err))
        if (err.code != PC_E_INTERRUPTED)
            abort();
    return call;
}

static void wait_for(struct crowd *crowd, struct pc_call *call)
{
    struct pc_err err;
    while (pc_wait(crowd->client, &call, 1, STAGE_LIMIT_MS, &err))
        if (err.code != PC_E_INTERRUPTED)
            abort();
}

/* What one thread holds, and what another may be giving back at this moment. */
static void find_again(struct crowd *crowd, struct pc_call *call)
{
    uint64_t sequence = pc_call_sequence(call);
    struct pc_call *found = pc_client_find(crowd->client, sequence, false);
    struct pc_call *other = pc_client_find(crowd->client, sequence - 1, false);
    if (found != call || (other && pc_call_sequence(other) != sequence - 1))
        abort();
    pc_call_unref(found);
    pc_call_unref(other);
}

static void *caller_main(void *arg)
{
    struct crowd *crowd = arg;
    uint8_t *bytes = malloc(crowd->part_size);
    for (int i = 0; i < CALLS; i++) {
        void *data;
        size_t size;
        memset(bytes, i, crowd->part_size);
        bool announces = i % 3 == 0;
        struct pc_call *call = submit(crowd, bytes, crowd->part_size, !announces);
        if (announces) {
            atomic_fetch_add(&crowd->announced, 1);
            pc_call_announce(call);
        } else {
            wait_for(crowd, call);
            if (pc_call_part(call, 0, &data, &size) || size != crowd->part_size ||
                memcmp(data, bytes, size) != 0)
                abort();
        }
        find_again(crowd, call);
        pc_call_unref(call);
    }
    free(bytes);
    return NULL;
}

static void *background_main(void *arg)
{
    struct crowd *crowd = arg;
    struct pc_err err;
    while (!atomic_load(&crowd->is_over) ||
           atomic_load(&crowd->heard) < atomic_load(&crowd->announced)) {
        struct pc_call *call = pc_next_ended(crowd->client, STAGE_LIMIT_MS, &err);
        if (!call && err.code != PC_E_INTERRUPTED)
            abort();
        if (call) {
            if (pc_call_status(call) != PC_STATUS_OK)
                abort();
            atomic_fetch_add(&crowd->heard, 1);
            pc_call_unref(call);
        }
    }
    return NULL;
}

static void run_crowd(enum pc_transport transport, size_t part_size)
{
    struct crowd crowd;
    pthread_t threads[THREADS], background;
    crowd_open(&crowd, transport);
    crowd.part_size = part_size;
    pthread_create(&background, NULL, background_main, &crowd);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, caller_main, &crowd);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&crowd.is_over, true);
    pc_client_wake(crowd.client);
    pthread_join(background, NULL);
    assert_int_equal(atomic_load(&crowd.heard), atomic_load(&crowd.announced));
    assert_int_equal(pc_client_pending(crowd.client), 0);
    crowd_close(&crowd);
}

static void threads_share_a_client(void **state)
{
    run_crowd(PC_TRANSPORT_UNIX, 10);
    run_crowd(PC_TRANSPORT_TCP, 10);
}

/* Larger than what the sockets hold: sending has to wait, and must receive meanwhile. */
static void large_parts_in_both_directions_do_not_block(void **state)
{
    run_crowd(PC_TRANSPORT_UNIX, 300000);
    run_crowd(PC_TRANSPORT_TCP, 300000);
}

/* The connection breaks while threads wait, send and sleep in the background. */
static void losing_the_controller_ends_everybody(void **state)
{
    struct crowd crowd;
    struct pc_err err;
    crowd_open(&crowd, PC_TRANSPORT_UNIX);
    shutdown(crowd.engine.work.fd, SHUT_RDWR); /* no more answers */
    pthread_join(crowd.echo, NULL);
    struct pc_call *call = submit(&crowd, "x", 1, false);
    pc_sock_close(&crowd.stage.parent); /* the scheduler leaves */
    wait_for(&crowd, call);
    assert_int_equal(pc_call_status(call), PC_STATUS_FAILED);
    while (pc_client_check(crowd.client, &err) == 0)
        pc_dispatch(crowd.client, 100, &err);
    assert_null(pc_next_ended(crowd.client, STAGE_LIMIT_MS, &err));
    assert_int_equal(err.code, PC_E_LOST);
    pc_call_unref(call);
    pc_client_close(crowd.client);
    fake_engine_close(&crowd.engine);
    stage_close(&crowd.stage);
}

/* Dropped unread it can be found again, until somebody has looked or said that nobody will. */
static void an_unread_result_is_kept(void **state)
{
    struct crowd crowd;
    struct pc_call **known;
    struct pc_err err;
    void *data;
    size_t size, count;
    crowd_open(&crowd, PC_TRANSPORT_UNIX);
    struct pc_call *call = submit(&crowd, "x", 1, true);
    uint64_t sequence = pc_call_sequence(call);
    wait_for(&crowd, call);
    assert_null(pc_client_find(crowd.client, sequence, true));
    pc_call_unref(call);
    call = pc_client_find(crowd.client, sequence, true);
    assert_non_null(call);
    pc_call_unref(call);
    assert_int_equal(pc_client_kept(crowd.client, &known, &count, &err), 0);
    assert_int_equal(count, 1);
    pc_call_unref(known[0]);
    pc_calls_free(known);
    for (int i = 0; i < 2; i++) { /* finding it is not looking at it; what is pinned stays */
        call = pc_client_find(crowd.client, sequence, false);
        assert_non_null(call);
        pc_call_pin(call);
        assert_int_equal(pc_call_part(call, 0, &data, &size), 0);
        pc_call_unref(call);
    }
    call = pc_client_find(crowd.client, sequence, false);
    pc_call_forget(call);
    pc_call_unref(call);
    assert_null(pc_client_find(crowd.client, sequence, false));
    call = submit(&crowd, "x", 1, true);
    wait_for(&crowd, call);
    assert_int_equal(pc_call_part(call, 0, &data, &size), 0);
    pc_call_unref(call);
    assert_null(pc_client_find(crowd.client, sequence + 1, true));
    pc_call_unref(submit(&crowd, "x", 1, true)); /* what is kept goes with the client */
    crowd_close(&crowd);
}

/* So many results of so many bytes that the oldest have to go. */
static void what_is_kept_is_bounded(void **state)
{
    struct crowd crowd;
    struct pc_call **known;
    struct pc_err err;
    size_t count, size = 8 * 1024 * 1024;
    char *bytes = calloc(1, size);
    crowd_open(&crowd, PC_TRANSPORT_UNIX);
    for (int i = 0; i < 12; i++) {
        struct pc_call *call = submit(&crowd, bytes, size, true);
        wait_for(&crowd, call);
        pc_call_unref(call);
    }
    assert_int_equal(pc_client_kept(crowd.client, &known, &count, &err), 0);
    assert_int_equal(count, 7); /* 64 MiB are less than 8 of them with what belongs to each */
    assert_int_equal(pc_call_sequence(known[6]), 12);
    for (size_t i = 0; i < count; i++)
        pc_call_unref(known[i]);
    pc_calls_free(known);
    free(bytes);
    crowd_close(&crowd);
}

/* A child of a fork may only drop what it inherited; the parent's connection goes on working. */
static void a_forked_child_is_told_so(void **state)
{
    struct crowd crowd;
    int status;
    crowd_open(&crowd, PC_TRANSPORT_UNIX);
    struct pc_call *before = submit(&crowd, "x", 1, true);
    wait_for(&crowd, before);
    pid_t pid = fork();
    if (pid == 0) {
        struct pc_err err;
        struct pc_engine *list;
        char *text;
        size_t count;
        bool is_right = pc_client_engines(crowd.client, &list, &count, &err) == -1 &&
                        err.code == PC_E_FORKED && pc_client_pending(crowd.client) == 0 &&
                        pc_call_output(before, PC_STREAM_STDOUT, &text, &count) == -1;
        pc_call_announce(before);
        pc_client_wake(crowd.client);
        pc_client_close(crowd.client);
        _exit(is_right ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    struct pc_call *call = submit(&crowd, "y", 1, true);
    wait_for(&crowd, call);
    assert_int_equal(pc_call_status(call), PC_STATUS_OK);
    pc_call_unref(call);
    pc_call_unref(before);
    crowd_close(&crowd);
}

static bool background_sleeps(struct pc_client *client)
{
    pc_client_enter(client, NULL);
    bool sleeps = client->background_sleeps;
    pc_client_leave(client);
    return sleeps;
}

static void *sleep_main(void *arg)
{
    pc_next_ended(arg, -1, NULL);
    return NULL;
}

/* Opens a client, forks a child that stays, and is killed. Writes a byte when all is set. */
static _Noreturn void live_with_a_child(struct stage *stage, int ready, int hold)
{
    struct pc_client *client;
    struct pc_err err;
    pthread_t thread;
    char byte = 0;
    char *text = pc_connfile_print(&stage->client);
    struct pc_connect how = {.json = text, .timeout_ms = STAGE_LIMIT_MS};
    pc_sock_close(&stage->parent);
    pc_sock_close(&stage->hub);
    if (pc_client_open(&client, &how, &err) ||
        pthread_create(&thread, NULL, sleep_main, client) != 0)
        _exit(1);
    while (!background_sleeps(client))
        sched_yield();
    if (fork() == 0) {
        int used[4];
        pc_client_forked(client);
        for (int i = 0; i < 4; i++) /* the numbers are somebody else's now */
            used[i] = dup(ready);
        pc_client_forked(client);
        pc_client_close(client);
        for (int i = 0; i < 4; i++)
            if (fcntl(used[i], F_GETFD) < 0)
                _exit(1);
        while (write(ready, &byte, 1) == 1 && read(hold, &byte, 1) == 1)
            ;
        _exit(0);
    }
    for (;;)
        pause();
}

/* The controller sees the end of a client although a child of its process lives on. */
static void a_forked_child_does_not_hold_the_connection(void **state)
{
    struct stage stage;
    int ready[2], hold[2], status;
    char byte;
    stage_open(&stage, 60000);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(hold), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(ready[0]);
        close(hold[1]);
        live_with_a_child(&stage, ready[1], hold[0]);
    }
    close(ready[1]);
    close(hold[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    pc_msg_unref(stage_await(&stage.hub, PC_MSG_CLIENT_DOWN));
    assert_int_equal(write(hold[1], "x", 1), 1); /* it is there, and answers */
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(hold[1]);
    assert_int_equal(read(ready[0], &byte, 1), 0);
    close(ready[0]);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share_a_client),
        cmocka_unit_test(large_parts_in_both_directions_do_not_block),
        cmocka_unit_test(losing_the_controller_ends_everybody),
        cmocka_unit_test(an_unread_result_is_kept),
        cmocka_unit_test(what_is_kept_is_bounded),
        cmocka_unit_test(a_forked_child_is_told_so),
        cmocka_unit_test(a_forked_child_does_not_hold_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
