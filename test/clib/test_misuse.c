/* SPDX-License-Identifier: BSD-3-Clause */
/* What a program should not do is an error, never undefined: no handle, a closed one, the wrong
 * one, too much, a fork, many threads, and a cluster that goes in the middle. */
#include "home.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS  50

static void assert_invalid(int result, const struct pc_err *err)
{
    assert_int_equal(result, -1);
    assert_int_equal(err->code, PC_E_INVALID);
}

static void no_client_is_an_error(void **state)
{
    struct pc_err err = {.code = PC_OK};
    struct pc_call *call = NULL, **calls;
    struct pc_engine *engines;
    struct pc_window window;
    struct pc_task_id id = {1, 1};
    struct pc_request request = {.kind = PC_KIND_CLEAR, .is_balanced = true};
    uint32_t engine = 0;
    size_t count;
    char *reply;
    assert_invalid(pc_client_check(NULL, &err), &err);
    assert_invalid(pc_client_engines(NULL, &engines, &count, &err), &err);
    assert_invalid(pc_submit(NULL, &request, &call, &err), &err);
    assert_invalid(pc_apply(NULL, NULL, "f", NULL, &call, &err), &err);
    assert_invalid(pc_execute(NULL, NULL, "", &call, &err), &err);
    assert_invalid(pc_push(NULL, NULL, "{}", &call, &err), &err);
    assert_invalid(pc_pull(NULL, NULL, "[]", &call, &err), &err);
    assert_invalid(pc_wait(NULL, &call, 1, 0, &err), &err);
    assert_invalid(pc_dispatch(NULL, 0, &err), &err);
    assert_invalid(pc_client_fd(NULL, &err), &err);
    assert_invalid(pc_client_listen(NULL, NULL, &err), &err);
    assert_invalid(pc_client_outstanding(NULL, &calls, &count, &err), &err);
    assert_invalid(pc_client_kept(NULL, &calls, &count, &err), &err);
    assert_invalid(pc_abort(NULL, NULL, 0, 0, &err), &err);
    assert_invalid(pc_interrupt(NULL, &engine, 1, &err), &err);
    assert_invalid(pc_query(NULL, "{}", 0, &reply, &err), &err);
    assert_invalid(pc_fetch(NULL, PC_FETCH_RESULT, &id, 1, &call, &err), &err);
    assert_null(pc_next_ended(NULL, 0, &err));
    assert_null(pc_client_find(NULL, 1, false));
    assert_null(pc_client_info(NULL));
    assert_int_equal(pc_client_window(NULL, &window), -1);
    assert_int_equal(pc_client_pending(NULL), 0);
    assert_int_equal(pc_client_engines_generation(NULL), 0);
    assert_false(pc_client_lingers(NULL));
    pc_client_flush(NULL);
    pc_client_wake(NULL);
    pc_client_forked(NULL);
    pc_client_shutdown(NULL);
    pc_client_close(NULL);
    pc_engines_free(NULL);
    pc_calls_free(NULL);
}

static void no_call_is_an_error(void **state)
{
    struct pc_err err = {.code = PC_OK};
    struct pc_result result;
    struct pc_value value;
    struct pc_failure *failure;
    uint64_t since = 0;
    void *data;
    char *text;
    size_t size;
    assert_null(pc_call_ref(NULL));
    assert_int_equal(pc_call_session(NULL), 0);
    assert_int_equal(pc_call_sequence(NULL), 0);
    assert_int_equal(pc_call_kind(NULL), PC_KIND_NONE);
    assert_int_equal(pc_call_flags(NULL), 0);
    assert_null(pc_call_label(NULL));
    assert_int_equal(pc_call_engine(NULL), UINT32_MAX);
    assert_int_equal(pc_call_status(NULL), PC_STATUS_FAILED);
    assert_int_equal(pc_call_result(NULL, &result), -1);
    assert_int_equal(pc_call_part(NULL, 0, &data, &size), -1);
    assert_int_equal(pc_call_output(NULL, PC_STREAM_STDOUT, &text, &size), -1);
    assert_int_equal(pc_call_take_output(NULL, PC_STREAM_STDOUT, &text, &size), -1);
    assert_int_equal(pc_call_output_since(NULL, PC_STREAM_STDOUT, &since, &text, &size), -1);
    assert_int_equal(pc_call_published(NULL, &data, &size), -1);
    assert_invalid(pc_call_get(NULL, 0, &value, &err), &err);
    assert_invalid(pc_call_value(NULL, &value, &err), &err);
    assert_invalid(pc_call_failure(NULL, &failure, &err), &err);
    pc_call_set_user(NULL, &err);
    assert_null(pc_call_user(NULL));
    pc_call_announce(NULL);
    pc_call_pin(NULL);
    pc_call_forget(NULL);
    pc_call_unref(NULL);
}

static void no_function_or_cluster_is_an_error(void **state)
{
    struct pc_err err = {.code = PC_OK};
    assert_null(pc_function_new(NULL, 0, &err));
    assert_int_equal(err.code, PC_E_INVALID);
    assert_null(pc_function_ref(NULL));
    assert_null(pc_function_bytes(NULL).data);
    pc_function_unref(NULL);
    assert_null(pc_cluster_file(NULL));
    assert_null(pc_cluster_log(NULL));
    assert_invalid(pc_cluster_check(NULL, &err), &err);
    assert_int_equal(pc_cluster_stop(NULL, &err), 0);
    assert_non_null(pc_version());
}

static void bad_requests_are_refused(void **state)
{
    struct pc_client *client = ((struct home *)*state)->client;
    struct pc_bytes nowhere = {NULL, 1}, huge[] = {{"x", (size_t)16 << 30}, {"x", 1}};
    struct pc_task_id id = {1, 1};
    struct pc_task_options options = {.after = {.tasks = &id, .count = 1}};
    struct pc_call *call = NULL;
    struct pc_err err;
    struct pc_request good = {.kind = PC_KIND_CLEAR, .is_balanced = true};
    struct pc_request bad = good;
    assert_invalid(pc_submit(client, NULL, &call, &err), &err);
    assert_invalid(pc_submit(client, &good, NULL, &err), &err);
    bad.kind = (enum pc_kind)99;
    assert_invalid(pc_submit(client, &bad, &call, &err), &err);
    bad = good;
    bad.part_count = 1;
    assert_invalid(pc_submit(client, &bad, &call, &err), &err);
    bad.parts = &nowhere;
    assert_invalid(pc_submit(client, &bad, &call, &err), &err);
    assert_invalid(pc_apply(client, &bad, "len", NULL, &call, &err), &err);
    bad.parts = huge;
    bad.part_count = 2;
    assert_invalid(pc_submit(client, &bad, &call, &err), &err);
    bad.part_count = 5000;
    assert_invalid(pc_submit(client, &bad, &call, &err), &err);
    bad = good;
    bad.target_count = 1;
    assert_invalid(pc_submit(client, &bad, &call, &err), &err);
    bad.target_count = 1000000;
    assert_invalid(pc_submit(client, &bad, &call, &err), &err);
    bad = good;
    bad.options = &options; /* neither success nor failure counts */
    assert_invalid(pc_submit(client, &bad, &call, &err), &err);
    options.after = (struct pc_needs){.count = 1, .rule = PC_NEED_SUCCESS};
    assert_invalid(pc_submit(client, &bad, &call, &err), &err);
    bad.is_balanced = false;
    assert_int_equal(pc_submit(client, &bad, &call, &err), -1);
    assert_int_equal(err.code, PC_E_NO_ENGINE);
    assert_invalid(pc_apply(client, NULL, NULL, NULL, &call, &err), &err);
    assert_invalid(pc_apply(client, NULL, "", NULL, &call, &err), &err);
    assert_invalid(pc_execute(client, NULL, NULL, &call, &err), &err);
    assert_invalid(pc_push(client, NULL, NULL, &call, &err), &err);
    assert_invalid(pc_pull(client, NULL, NULL, &call, &err), &err);
    assert_invalid(pc_abort(client, &call, 1, 0, &err), &err);
    assert_invalid(pc_query(client, NULL, 0, NULL, &err), &err);
    assert_null(call);
    assert_int_equal(pc_client_check(client, &err), 0); /* nobody took offence */
}

static void large_things_have_limits(void **state)
{
    struct pc_client *client = ((struct home *)*state)->client;
    size_t size = (size_t)2 << 20;
    char *text = malloc(size + 1), *reply = NULL;
    struct pc_call *call;
    struct pc_err err;
    assert_non_null(text);
    memset(text, ' ', size);
    text[size] = '\0';
    assert_invalid(pc_query(client, text, 0, &reply, &err), &err);
    memset(text, 'l', size);
    struct pc_request how = {.is_balanced = true, .label = text};
    assert_int_equal(pc_execute(client, &how, "1", &call, &err), 0); /* the record has less */
    home_expect(call, PC_FORM_JSON, "1");
    memset(text, '#', size);
    assert_int_equal(pc_execute(client, NULL, text, &call, &err), 0);
    home_expect(call, PC_FORM_JSON, "null");
    assert_null(pc_function_new(text, PC_FUNCTION_BYTES_MAX + 1, &err));
    assert_int_equal(err.code, PC_E_INVALID);
    free(text);
    const char many[] = "[b'x'] * 5000";
    assert_int_equal(pc_execute(client, NULL, many, &call, &err), 0);
    home_expect_error(call, "5000 values of bytes; at most 4095");
}

static void unknown_streams_are_none(void **state)
{
    struct pc_client *client = ((struct home *)*state)->client;
    struct pc_call *call;
    char *text = NULL;
    size_t size;
    assert_int_equal(pc_execute(client, NULL, "1", &call, NULL), 0);
    assert_int_equal(pc_call_output(call, (enum pc_stream)7, &text, &size), -1);
    assert_int_equal(pc_call_output(call, (enum pc_stream) - 1, &text, &size), -1);
    home_expect(call, PC_FORM_JSON, "1");
}

static void calls_have_one_client(void **state)
{
    struct home *home = *state;
    struct pc_client *other = home_connect(home);
    struct pc_call *call, *none = NULL;
    struct pc_err err;
    assert_int_equal(pc_execute(other, NULL, "import time; time.sleep(0.05)", &call, NULL), 0);
    assert_invalid(pc_wait(home->client, &call, 1, -1, &err), &err);
    assert_invalid(pc_wait(home->client, &none, 1, -1, &err), &err);
    home_expect(call, PC_FORM_JSON, "null");
    pc_client_close(other);
}

static void a_closed_client_says_so(void **state)
{
    struct pc_client *client = home_connect(*state);
    struct pc_call *done, *pending, *call;
    struct pc_engine *engines;
    struct pc_value value;
    struct pc_err err;
    size_t count;
    char *reply;
    assert_int_equal(pc_execute(client, NULL, "1", &done, NULL), 0);
    assert_int_equal(pc_wait(client, &done, 1, HOME_LIMIT_MS, NULL), 0);
    assert_int_equal(pc_execute(client, NULL, "import time; time.sleep(0.2)", &pending, NULL), 0);
    pc_client_shutdown(client);
    pc_client_shutdown(client);
    assert_int_equal(pc_execute(client, NULL, "1", &call, &err), -1);
    assert_int_equal(err.code, PC_E_CLOSED);
    assert_int_equal(pc_client_check(client, &err), -1);
    assert_int_equal(err.code, PC_E_CLOSED);
    assert_int_equal(pc_client_engines(client, &engines, &count, &err), -1);
    assert_int_equal(err.code, PC_E_CLOSED);
    assert_int_equal(pc_query(client, "{}", 0, &reply, &err), -1);
    assert_int_equal(err.code, PC_E_CLOSED);
    assert_int_equal(pc_dispatch(client, 0, &err), -1);
    assert_int_equal(err.code, PC_E_CLOSED);
    assert_int_equal(pc_wait(client, &pending, 1, -1, &err), 0); /* it has ended */
    pc_client_close(client);
    assert_int_equal(pc_call_value(pending, &value, &err), -1);
    assert_contains(err.text, "ClientClosed");
    pc_call_unref(pending);
    home_expect(done, PC_FORM_JSON, "1"); /* calls outlive their client */
}

static void a_forked_child_is_told(void **state)
{
    struct home *home = *state;
    struct pc_call *call, *other;
    struct pc_err err;
    int status;
    assert_int_equal(pc_execute(home->client, NULL, "import time; time.sleep(0.1)", &call, NULL),
                     0);
    pid_t pid = fork();
    if (pid == 0) {
        int failed = pc_execute(home->client, NULL, "1", &other, &err) != -1 ||
                     err.code != PC_E_FORKED || pc_wait(home->client, &call, 1, -1, &err) != -1 ||
                     err.code != PC_E_FORKED || pc_dispatch(home->client, -1, &err) != -1 ||
                     err.code != PC_E_FORKED || pc_client_fd(home->client, &err) != -1 ||
                     err.code != PC_E_FORKED;
        pc_call_unref(call);
        pc_client_close(home->client);
        _exit(failed);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    home_expect(call, PC_FORM_JSON, "null");
}

static void *use(void *arg)
{
    struct pc_client *client = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct pc_call *calls[2];
        struct pc_err err;
        struct pc_request how = {.is_balanced = true, .may_linger = i % 2};
        if (pc_execute(client, &how, "print('x')", &calls[0], &err) ||
            pc_apply(client, &how, "abs", "[-1]", &calls[1], &err))
            return err.text[0] ? (void *)1 : NULL;
        while (pc_wait(client, calls, 2, HOME_LIMIT_MS, &err))
            if (err.code != PC_E_INTERRUPTED)
                return (void *)1;
        pc_call_unref(calls[0]);
        pc_call_unref(calls[1]);
    }
    return NULL;
}

static void count_end(struct pc_call *call, void *arg)
{
    ++*(int *)arg;
}

/* Some wait, and one is in its loop. */
static void threads_share_a_client(void **state)
{
    struct pc_client *client = home_connect(*state);
    pthread_t threads[THREADS];
    int ended = 0;
    struct pc_listener listener = {.ended = count_end, .arg = &ended};
    assert_int_equal(pc_client_listen(client, &listener, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use, client), 0);
    while (ended < THREADS * ROUNDS * 2) {
        struct pc_err err;
        if (pc_dispatch(client, 100, &err) < 0 && err.code != PC_E_INTERRUPTED)
            fail_msg("%s", err.text);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    pc_client_close(client);
}

static void *stop_later(void *arg)
{
    home_stop(arg);
    return NULL;
}

/* While large parts are on their way. */
static void a_cluster_goes_in_the_middle(void **state)
{
    struct home home;
    size_t size = (size_t)32 << 20;
    char *data = calloc(1, size);
    struct pc_bytes part = {data, size};
    struct pc_request how = {.is_balanced = true, .parts = &part, .part_count = 1};
    struct pc_call *calls[16] = {NULL};
    struct pc_err err = {.code = PC_OK};
    pthread_t thread;
    assert_non_null(data);
    home_open(&home);
    home_start(&home, 1);
    assert_int_equal(pthread_create(&thread, NULL, stop_later, &home), 0);
    for (int i = 0; i < 16; i++)
        if (pc_apply(home.client, &how, "len", NULL, &calls[i], &err))
            break;
    for (int i = 0; i < 16; i++)
        if (calls[i])
            while (pc_wait(home.client, &calls[i], 1, HOME_LIMIT_MS, &err))
                assert_int_equal(err.code, PC_E_INTERRUPTED);
    pthread_join(thread, NULL);
    for (int i = 0; i < 16; i++)
        pc_call_unref(calls[i]);
    free(data);
    home_close(&home);
    home_enter(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_client_is_an_error),
        cmocka_unit_test(no_call_is_an_error),
        cmocka_unit_test(no_function_or_cluster_is_an_error),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(large_things_have_limits),
        cmocka_unit_test(unknown_streams_are_none),
        cmocka_unit_test(calls_have_one_client),
        cmocka_unit_test(a_closed_client_says_so),
        cmocka_unit_test(a_forked_child_is_told),
        cmocka_unit_test(threads_share_a_client),
        cmocka_unit_test(a_cluster_goes_in_the_middle),
    };
    return cmocka_run_group_tests(tests, home_setup, home_teardown);
}
