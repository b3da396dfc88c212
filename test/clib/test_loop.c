/* SPDX-License-Identifier: BSD-3-Clause */
/* A client in the loop of its program: the descriptor, and who is told what. */
#include "home.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CROWD_THREADS 3
#define CROWD_CALLS   200

/* What a listener has heard, as words: "+0" an engine came, "-0" it left, "out:text", "end:42". */
struct heard {
    char words[4096];
    int ended;
    void (*on_ended)(struct heard *heard, struct pc_call *call);
    struct pc_client *client;
    struct pc_client *closing; /* what on_ended closes */
    int dispatch_result;
    struct pc_err dispatch_err;
};

static void add(struct heard *heard, const char *format, ...)
{
    va_list args;
    size_t used = strlen(heard->words);
    va_start(args, format);
    vsnprintf(heard->words + used, sizeof(heard->words) - used, format, args);
    va_end(args);
}

static void engine_came(struct pc_client *client, const struct pc_engine *engine, void *arg)
{
    add(arg, "+%u ", engine->id);
}

static void engine_left(struct pc_client *client, const struct pc_engine *engine, void *arg)
{
    add(arg, "-%u ", engine->id);
}

static void output(struct pc_call *call, enum pc_stream stream, const char *text, size_t size,
                   void *arg)
{
    assert_int_equal(strlen(text), size);
    add(arg, "%s:%s ", stream == PC_STREAM_STDOUT ? "out" : "err", text);
}

static void ended(struct pc_call *call, void *arg)
{
    struct heard *heard = arg;
    struct pc_value value;
    struct pc_err err;
    if (pc_call_value(call, &value, &err) == 0)
        add(heard, "end:%s ", (const char *)value.data);
    else
        add(heard, "failed:%s ", err.text);
    heard->ended++;
    if (heard->on_ended)
        heard->on_ended(heard, call);
}

static void listen_to(struct pc_client *client, struct heard *heard, bool with_engines)
{
    struct pc_listener listener = {.output = output, .ended = ended, .arg = heard};
    if (with_engines) {
        listener.engine_came = engine_came;
        listener.engine_left = engine_left;
    }
    heard->client = client;
    assert_int_equal(pc_client_listen(client, &listener, NULL), 0);
}

static void turn(struct pc_client *client)
{
    struct pc_err err;
    if (pc_dispatch(client, HOME_LIMIT_MS, &err) < 0 && err.code != PC_E_INTERRUPTED)
        fail_msg("%s", err.text);
}

static void turn_until(struct heard *heard, int count)
{
    while (heard->ended < count)
        turn(heard->client);
}

static void send_off(struct pc_client *client, const char *source)
{
    struct pc_call *call;
    struct pc_err err;
    if (pc_execute(client, NULL, source, &call, &err))
        fail_msg("%s", err.text);
    pc_call_unref(call); /* the listener hears of it all the same */
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, timeout_ms) == 1;
}

static void output_comes_before_the_end(void **state)
{
    struct home *home = *state;
    struct heard heard = {0};
    listen_to(home->client, &heard, false);
    send_off(home->client, "import sys\n"
                           "print('a', flush=True)\n"
                           "print('b', file=sys.stderr, flush=True)\n"
                           "7");
    turn_until(&heard, 1);
    assert_contains(heard.words, "out:a");
    assert_contains(heard.words, "err:b");
    assert_string_equal(strstr(heard.words, "end:"), "end:7 ");
    assert_int_equal(pc_client_listen(home->client, NULL, NULL), 0);
    send_off(home->client, "8");
    while (pc_client_pending(home->client))
        turn(home->client);
    assert_int_equal(heard.ended, 1);
}

/* In pieces, as they come, while the task runs. */
static void output_is_followed(void **state)
{
    struct home *home = *state;
    struct heard heard = {0};
    listen_to(home->client, &heard, false);
    send_off(home->client, "import os, time\n"
                           "print('first', flush=True)\n"
                           "while not os.path.exists('go'): time.sleep(0.001)\n"
                           "print('second')\n");
    while (!strstr(heard.words, "out:first"))
        turn(home->client);
    assert_int_equal(heard.ended, 0);
    fclose(fopen("go", "w"));
    turn_until(&heard, 1);
    assert_string_equal(heard.words, "out:first\n out:second\n end:null ");
    remove("go");
    pc_client_listen(home->client, NULL, NULL);
}

static void engines_come_and_go(void **state)
{
    struct home *home = *state;
    struct heard heard = {0};
    char *reply;
    listen_to(home->client, &heard, true);
    turn(home->client);
    assert_string_equal(heard.words, "+0 +1 ");
    assert_int_equal(
        pc_query(home->client, "{\"query\": \"start_engines\", \"count\": 1}", 0, &reply, NULL), 0);
    free(reply);
    while (!strstr(heard.words, "+2"))
        turn(home->client);
    assert_int_equal(pc_query(home->client,
                              "{\"query\": \"stop_engines\", \"ids\": [2], \"grace_ms\": 1000}", 0,
                              &reply, NULL),
                     0);
    free(reply);
    while (!strstr(heard.words, "-2"))
        turn(home->client);
    assert_string_equal(heard.words, "+0 +1 +2 -2 ");
    /* Another one hears of those that are there. */
    struct heard other = {0};
    listen_to(home->client, &other, true);
    turn(home->client);
    assert_string_equal(other.words, "+0 +1 ");
    pc_client_listen(home->client, NULL, NULL);
}

static void the_descriptor_says_when(void **state)
{
    struct home *home = *state;
    struct heard heard = {0};
    struct pc_client *client = home_connect(home);
    int fd = pc_client_fd(client, NULL);
    assert_true(fd >= 0);
    assert_int_equal(pc_client_fd(client, NULL), fd);
    assert_false(is_readable(fd, 0));
    listen_to(client, &heard, false);
    while (is_readable(fd, 0))
        assert_true(pc_dispatch(client, 0, NULL) >= 0);
    assert_int_equal(pc_dispatch(client, 0, NULL), 0);
    for (int i = 1; i <= 50; i++) {
        send_off(client, "1");
        while (heard.ended < i) {
            assert_true(is_readable(fd, HOME_LIMIT_MS));
            assert_true(pc_dispatch(client, 0, NULL) >= 0);
        }
    }
    assert_false(is_readable(fd, 0));
    pc_client_close(client);
}

static void *wait_elsewhere(void *arg)
{
    struct heard *heard = arg;
    struct pc_call *call;
    if (pc_execute(heard->client, NULL, "2", &call, NULL) == 0)
        home_expect(call, PC_FORM_JSON, "2");
    return NULL;
}

/* What another thread takes off the socket is news here all the same. */
static void other_threads_ring(void **state)
{
    struct home *home = *state;
    struct heard heard = {0};
    struct pc_client *client = home_connect(home);
    int fd = pc_client_fd(client, NULL);
    pthread_t thread;
    listen_to(client, &heard, false);
    while (is_readable(fd, 0))
        pc_dispatch(client, 0, NULL);
    assert_int_equal(pthread_create(&thread, NULL, wait_elsewhere, &heard), 0);
    pthread_join(thread, NULL);
    assert_int_equal(heard.ended, 0);
    assert_true(is_readable(fd, HOME_LIMIT_MS));
    assert_true(pc_dispatch(client, 0, NULL) > 0);
    assert_string_equal(heard.words, "end:2 ");
    pc_client_close(client);
}

static void submit_more(struct heard *heard, struct pc_call *call)
{
    struct pc_call *inner;
    struct pc_err err;
    if (heard->ended > 3)
        return;
    heard->dispatch_result = pc_dispatch(heard->client, 0, &heard->dispatch_err);
    assert_int_equal(pc_execute(heard->client, NULL, "2", &inner, &err), 0);
    home_expect(inner, PC_FORM_JSON, "2"); /* waits, and releases it */
}

static void callbacks_may_call_back(void **state)
{
    struct home *home = *state;
    struct heard heard = {.on_ended = submit_more};
    listen_to(home->client, &heard, false);
    send_off(home->client, "1");
    turn_until(&heard, 4);
    assert_string_equal(heard.words, "end:1 end:2 end:2 end:2 ");
    assert_int_equal(heard.dispatch_result, -1);
    assert_int_equal(heard.dispatch_err.code, PC_E_INVALID);
    pc_client_listen(home->client, NULL, NULL);
}

/* Threads that each have the loop, and what they see in their callbacks. */
struct crowd {
    struct pc_client *client;
    atomic_int inside, most_inside, ended;
};

static void count_inside(struct pc_call *call, void *arg)
{
    struct crowd *crowd = arg;
    int inside = atomic_fetch_add(&crowd->inside, 1) + 1;
    if (inside > atomic_load(&crowd->most_inside))
        atomic_store(&crowd->most_inside, inside);
    sched_yield();
    atomic_fetch_sub(&crowd->inside, 1);
    atomic_fetch_add(&crowd->ended, 1);
}

static void *turn_with_others(void *arg)
{
    struct crowd *crowd = arg;
    struct pc_err err;
    while (atomic_load(&crowd->ended) < CROWD_CALLS)
        if (pc_dispatch(crowd->client, 10, &err) < 0 && err.code != PC_E_INTERRUPTED)
            return arg;
    return NULL;
}

/* No matter which thread has the loop: there is one callback at a time, and each is told once. */
static void threads_may_share_the_loop(void **state)
{
    struct crowd crowd = {.client = home_connect(*state)};
    struct pc_listener listener = {.ended = count_inside, .arg = &crowd};
    pthread_t threads[CROWD_THREADS];
    assert_int_equal(pc_client_listen(crowd.client, &listener, NULL), 0);
    for (int i = 0; i < CROWD_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, turn_with_others, &crowd), 0);
    for (int i = 0; i < CROWD_CALLS; i++)
        send_off(crowd.client, "1");
    for (int i = 0; i < CROWD_THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(pc_dispatch(crowd.client, 0, NULL), 0);
    assert_int_equal(crowd.ended, CROWD_CALLS);
    assert_int_equal(crowd.most_inside, 1);
    pc_client_close(crowd.client);
}

static void close_client(struct heard *heard, struct pc_call *call)
{
    pc_client_close(heard->client);
}

static void callbacks_may_close_the_client(void **state)
{
    struct heard heard = {.on_ended = close_client};
    struct pc_client *client = home_connect(*state);
    struct pc_call *calls[3];
    struct pc_err err;
    listen_to(client, &heard, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pc_execute(client, NULL, "1", &calls[i], NULL), 0);
    assert_int_equal(pc_wait(client, calls, 3, HOME_LIMIT_MS, NULL), 0);
    assert_int_equal(pc_dispatch(client, 0, &err), -1);
    assert_int_equal(err.code, PC_E_CLOSED);
    assert_int_equal(heard.ended, 1); /* and no more after that */
    for (int i = 0; i < 3; i++)
        home_expect(calls[i], PC_FORM_JSON, "1"); /* they keep their values */
}

static void close_on_engine(struct pc_client *client, const struct pc_engine *engine, void *arg)
{
    add(arg, "+%u ", engine->id);
    pc_client_close(client);
}

static void close_on_output(struct pc_call *call, enum pc_stream stream, const char *text,
                            size_t size, void *arg)
{
    struct heard *heard = arg;
    add(heard, "out:%s ", text);
    pc_client_close(heard->client);
}

/* That was the last that they hear. */
static void callbacks_of_any_kind_may_close_the_client(void **state)
{
    const struct pc_listener listeners[] = {
        {.engine_came = close_on_engine, .output = output, .ended = ended},
        {.output = close_on_output, .ended = ended},
    };
    for (size_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++) {
        struct pc_client *client = home_connect(*state);
        struct heard heard = {.client = client};
        struct pc_listener listener = listeners[i];
        listener.arg = &heard;
        assert_int_equal(pc_client_listen(client, &listener, NULL), 0);
        send_off(client, "print('a', flush=True)");
        struct pc_err err;
        while (pc_dispatch(client, HOME_LIMIT_MS, &err) >= 0)
            assert_string_equal(heard.words, "");
        assert_int_equal(err.code, PC_E_CLOSED);
        assert_string_equal(heard.words, i ? "out:a\n " : "+0 ");
    }
}

static void fork_here(struct heard *heard, struct pc_call *call)
{
    pid_t pid = fork();
    if (pid == 0) {
        heard->dispatch_result = 1; /* the child: returns from the callback */
        return;
    }
    assert_int_equal(waitpid(pid, &heard->dispatch_result, 0), pid);
}

static void callbacks_may_fork(void **state)
{
    struct heard heard = {.on_ended = fork_here, .dispatch_result = -1};
    struct pc_client *client = home_connect(*state);
    struct pc_err err;
    listen_to(client, &heard, false);
    send_off(client, "1");
    while (heard.ended == 0) {
        int result = pc_dispatch(client, HOME_LIMIT_MS, &err);
        if (heard.dispatch_result == 1) { /* in the child */
            bool is_right = result == -1 && err.code == PC_E_FORKED;
            pc_client_close(client);
            _exit(is_right ? 0 : 1);
        }
    }
    assert_int_equal(heard.dispatch_result, 0);
    heard.on_ended = NULL;
    send_off(client, "2");
    turn_until(&heard, 2); /* the parent goes on */
    pc_client_close(client);
}

/* The descriptor of the socket of a client that was made when `next` was the next to be given. */
static int socket_of(int next)
{
    struct stat info;
    for (int fd = next; fd < next + 16; fd++)
        if (fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode))
            return fd;
    fail_msg("the client has no socket");
    return -1;
}

/* The session outlives its connection, and the descriptor stays the same. */
static void a_cut_is_lived_through(void **state)
{
    struct heard heard = {0};
    int next = dup(0);
    close(next);
    struct pc_client *client = home_connect(*state);
    int fd = pc_client_fd(client, NULL);
    listen_to(client, &heard, false);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(shutdown(socket_of(next), SHUT_RDWR), 0);
        if (i > 1)
            send_off(client, "1"); /* while nobody has noticed */
        else
            assert_true(is_readable(fd, HOME_LIMIT_MS));
        while (heard.ended < i) {
            assert_true(is_readable(fd, HOME_LIMIT_MS));
            assert_true(pc_dispatch(client, 0, NULL) >= 0);
            if (i == 1 && heard.ended == 0 && pc_client_pending(client) == 0)
                send_off(client, "1");
        }
    }
    assert_string_equal(heard.words, "end:1 end:1 end:1 ");
    pc_client_close(client);
}

/* Every call has ended, and the listener knows, when the loss is reported. */
static void a_lost_cluster_is_told(void **state)
{
    struct heard heard = {0};
    struct home home;
    struct pc_err err = {.code = PC_OK};
    home_open(&home);
    home_start(&home, 1);
    int fd = pc_client_fd(home.client, NULL);
    listen_to(home.client, &heard, false);
    send_off(home.client, "import time; time.sleep(1000)");
    send_off(home.client, "1");
    home_stop(&home);
    do {
        assert_true(is_readable(fd, HOME_LIMIT_MS));
    } while (pc_dispatch(home.client, 0, &err) >= 0);
    assert_int_equal(err.code, PC_E_LOST);
    assert_int_equal(heard.ended, 2);
    assert_contains(heard.words, "failed:");
    assert_true(is_readable(fd, 0)); /* whoever polls is not left waiting */
    assert_int_equal(pc_dispatch(home.client, 0, &err), -1);
    home_close(&home);
    home_enter(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_comes_before_the_end),
        cmocka_unit_test(output_is_followed),
        cmocka_unit_test(engines_come_and_go),
        cmocka_unit_test(the_descriptor_says_when),
        cmocka_unit_test(other_threads_ring),
        cmocka_unit_test(callbacks_may_call_back),
        cmocka_unit_test(threads_may_share_the_loop),
        cmocka_unit_test(callbacks_may_close_the_client),
        cmocka_unit_test(callbacks_of_any_kind_may_close_the_client),
        cmocka_unit_test(callbacks_may_fork),
        cmocka_unit_test(a_cut_is_lived_through),
        cmocka_unit_test(a_lost_cluster_is_told),
    };
    return cmocka_run_group_tests(tests, home_setup, home_teardown);
}
