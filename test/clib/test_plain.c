/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests without pickle, and their values, on a real cluster. */
#include "home.h"

#include <stdlib.h>
#include <string.h>

static struct pc_client *client_of(void **state)
{
    return ((struct home *)*state)->client;
}

static struct pc_call *source(void **state, const struct pc_request *how, const char *text)
{
    struct pc_call *call = NULL;
    struct pc_err err;
    if (pc_execute(client_of(state), how, text, &call, &err))
        fail_msg("%s", err.text);
    return call;
}

static struct pc_call *apply(void **state, const struct pc_request *how, const char *function,
                             const char *arguments)
{
    struct pc_call *call = NULL;
    struct pc_err err;
    if (pc_apply(client_of(state), how, function, arguments, &call, &err))
        fail_msg("%s", err.text);
    return call;
}

static void source_text_has_a_value(void **state)
{
    home_expect(source(state, NULL, "6 * 7"), PC_FORM_JSON, "42");
    home_expect(source(state, NULL, "x = 1"), PC_FORM_JSON, "null");
    home_expect(source(state, NULL, ""), PC_FORM_JSON, "null");
    home_expect(source(state, NULL, "x = [1.5, None]\n{'a': x, 'é': 'ü'}"), PC_FORM_JSON,
                "{\"a\": [1.5, null], \"é\": \"ü\"}");
    home_expect(source(state, NULL, "'\\udc80'"), PC_FORM_JSON, "\"\\udc80\"");
    home_expect(source(state, NULL, "b'a\\0b'[:1]"), PC_FORM_BYTES, "a");
    home_expect(source(state, NULL, "import array; array.array('i', [1, 2])"), PC_FORM_JSON,
                "[1, 2]");
    home_expect_error(source(state, NULL, "float('nan')"), "not JSON compliant");
    home_expect_error(source(state, NULL, "object()"), "'object' can't be sent as JSON");
    home_expect_error(source(state, NULL, "[b'a', 1]"), "'bytes' can't be sent as JSON");
    home_expect_error(source(state, NULL, "1 +"), "SyntaxError");
}

/* An engine keeps its code, not its value. */
static void the_same_text_runs_again(void **state)
{
    const uint32_t first = 0;
    struct pc_request there = {.targets = &first, .target_count = 1};
    home_expect(source(state, &there, "count = 0"), PC_FORM_JSON, "null");
    for (int i = 1; i <= 3; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        home_expect(source(state, &there, "count += 1\ncount"), PC_FORM_JSON, text);
    }
    for (int i = 0; i < 200; i++) {
        char text[32];
        snprintf(text, sizeof(text), "count + %d", i);
        home_expect(source(state, &there, text), PC_FORM_JSON, NULL);
    }
    home_expect(source(state, &there, "count += 1\ncount"), PC_FORM_JSON, "4");
    for (int i = 0; i < 2; i++) {
        struct pc_call *call = source(state, &there, "None\ncount / 0");
        struct pc_failure *failure;
        assert_int_equal(pc_wait(client_of(state), &call, 1, HOME_LIMIT_MS, NULL), 0);
        assert_int_equal(pc_call_failure(call, &failure, NULL), 0);
        assert_contains(failure->traceback, "line 2, in <module>\n    count / 0\n");
        free(failure);
        pc_call_unref(call);
    }
}

static void silence_sends_nothing(void **state)
{
    struct pc_request how = {.is_balanced = true, .flags = PC_RUN_SILENT};
    home_expect(source(state, &how, "object()"), PC_FORM_JSON, "null");
}

static void functions_are_called_by_name(void **state)
{
    uint32_t first = 0;
    struct pc_request there = {.targets = &first, .target_count = 1};
    home_expect(apply(state, NULL, "math:hypot", "[3, 4]"), PC_FORM_JSON, "5.0");
    home_expect(apply(state, NULL, "os.path:join", "[\"a\", \"b\"]"), PC_FORM_JSON, "\"a/b\"");
    home_expect(apply(state, NULL, "fractions:Fraction.limit_denominator.__name__.upper", NULL),
                PC_FORM_JSON, "\"LIMIT_DENOMINATOR\"");
    home_expect(apply(state, NULL, "sum", "[[1, 2, 3]]"), PC_FORM_JSON, "6");
    home_expect(apply(state, NULL, "json:dumps", "{\"obj\": {}, \"indent\": 1}"), PC_FORM_JSON,
                "\"{}\"");
    home_expect(source(state, &there, "def twice(x): return 2 * x"), PC_FORM_JSON, "null");
    home_expect(apply(state, &there, "twice", "[21]"), PC_FORM_JSON, "42");
    home_expect_error(apply(state, NULL, "math:hypo", "[]"), "no attribute 'hypo'");
    home_expect_error(apply(state, NULL, "no_such_module:f", "[]"), "No module named");
    home_expect_error(apply(state, NULL, "no_such_name", "[]"), "written 'module:function'");
    home_expect_error(apply(state, NULL, "math:pi", "[]"), "not callable");
    home_expect_error(apply(state, NULL, "math:hypot", "[3, 4"), "the arguments are no JSON");
    home_expect_error(apply(state, NULL, "math:hypot", "3"), "must be a JSON array");
}

static void arguments_and_results_may_be_bytes(void **state)
{
    struct pc_bytes parts[] = {{"abc", 3}, {"", 0}};
    struct pc_request how = {.is_balanced = true, .parts = parts, .part_count = 2};
    home_expect(apply(state, &how, "builtins:max", NULL), PC_FORM_BYTES, "abc");
    how.part_count = 1;
    home_expect(apply(state, &how, "builtins:int.from_bytes", "{\"byteorder\": \"big\"}"),
                PC_FORM_JSON, "6382179");
    how.part_count = 0;
    how.flags = PC_RUN_BYTES;
    home_expect(apply(state, &how, "builtins:str", "[12]"), PC_FORM_BYTES, "12");
    home_expect(apply(state, &how, "builtins:list", "[[]]"), PC_FORM_BYTES, NULL);
    home_expect_error(apply(state, &how, "builtins:int", "[12]"), "'int' can't be sent as bytes");
    how.flags = PC_RUN_JSON;
    home_expect_error(apply(state, &how, "builtins:bytes", "[2]"), "can't be sent as JSON");
}

static void large_bytes_arrive_whole(void **state)
{
    size_t size = (size_t)10 << 20;
    char *data = malloc(size);
    struct pc_bytes part = {data, size};
    struct pc_request how = {.is_balanced = true, .parts = &part, .part_count = 1};
    struct pc_value value;
    struct pc_err err;
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 7);
    struct pc_call *call = apply(state, &how, "builtins:bytes", NULL);
    assert_int_equal(pc_call_get(call, HOME_LIMIT_MS, &value, &err), 0);
    assert_int_equal(value.form, PC_FORM_BYTES);
    assert_int_equal(value.size, size);
    assert_memory_equal(value.data, data, size);
    assert_int_equal(((const char *)value.data)[size], 0);
    pc_call_unref(call);
    free(data);
}

static void names_are_pushed_and_pulled(void **state)
{
    uint32_t first = 0;
    struct pc_request there = {.targets = &first, .target_count = 1};
    struct pc_client *client = client_of(state);
    struct pc_call *call;
    struct pc_bytes parts[] = {{"one", 3}, {"two", 3}};
    struct pc_value value;
    assert_int_equal(pc_push(client, &there, "{\"n\": 10, \"l\": [1, [2]]}", &call, NULL), 0);
    home_expect(call, PC_FORM_JSON, "null");
    assert_int_equal(pc_pull(client, &there, "\"n\"", &call, NULL), 0);
    home_expect(call, PC_FORM_JSON, "10");
    assert_int_equal(pc_pull(client, &there, "[\"n + 1\", \"l[1]\"]", &call, NULL), 0);
    home_expect(call, PC_FORM_JSON, "[11, [2]]");
    there.parts = parts;
    there.part_count = 2;
    assert_int_equal(pc_push(client, &there, "[\"a\", \"b\"]", &call, NULL), 0);
    home_expect(call, PC_FORM_JSON, "null");
    assert_int_equal(pc_push(client, &there, "\"a\"", &call, NULL), 0);
    home_expect_error(call, "1 names to push to, but 2 values");
    there.part_count = 0;
    assert_int_equal(pc_pull(client, &there, "[\"b\", \"a\"]", &call, NULL), 0);
    assert_int_equal(pc_call_get(call, HOME_LIMIT_MS, &value, NULL), 0);
    assert_int_equal(value.count, 2);
    void *data;
    size_t size;
    assert_int_equal(pc_call_part(call, 2, &data, &size), 0);
    assert_string_equal(data, "one");
    home_expect(call, PC_FORM_BYTES, "two");
    assert_int_equal(pc_pull(client, &there, "\"nowhere\"", &call, NULL), 0);
    home_expect_error(call, "'nowhere' is not defined");
    assert_int_equal(pc_pull(client, &there, "[1]", &call, NULL), 0);
    home_expect_error(call, "must be a JSON string or an array of strings");
}

static void failures_say_where_and_why(void **state)
{
    uint32_t second = 1;
    struct pc_request there = {.targets = &second, .target_count = 1};
    struct pc_call *call = source(state, &there, "def f():\n    1 / 0\nf()");
    struct pc_failure *failure = NULL;
    struct pc_value value;
    struct pc_err err;
    assert_int_equal(pc_call_get(call, HOME_LIMIT_MS, &value, &err), -1);
    assert_string_equal(err.text, "[1:execute] ZeroDivisionError: division by zero");
    assert_int_equal(pc_call_failure(call, &failure, &err), 0);
    assert_int_equal(failure->engine_id, 1);
    assert_string_equal(failure->name, "ZeroDivisionError");
    assert_string_equal(failure->text, "division by zero");
    assert_contains(failure->traceback, "    1 / 0\n");
    free(failure);
    pc_call_unref(call);
    call = source(state, NULL, "1");
    assert_int_equal(pc_wait(client_of(state), &call, 1, HOME_LIMIT_MS, &err), 0);
    assert_int_equal(pc_call_failure(call, &failure, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    pc_call_unref(call);
}

static void each_engine_answers(void **state)
{
    uint32_t both[] = {1, 0};
    struct pc_request there = {.targets = both, .target_count = 2, .label = "each"};
    struct pc_call *calls[2];
    struct pc_value value;
    assert_int_equal(pc_push(client_of(state), &there, "{\"here\": 1}", calls, NULL), 0);
    home_expect(calls[0], PC_FORM_JSON, "null");
    home_expect(calls[1], PC_FORM_JSON, "null");
    assert_int_equal(pc_execute(client_of(state), &there, "import os; os.getpid()", calls, NULL),
                     0);
    int pids[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pc_call_get(calls[i], HOME_LIMIT_MS, &value, NULL), 0);
        assert_int_equal(pc_call_engine(calls[i]), both[i]);
        assert_string_equal(pc_call_label(calls[i]), "each");
        pids[i] = atoi(value.data);
        pc_call_unref(calls[i]);
    }
    assert_int_not_equal(pids[0], pids[1]);
}

/* What the hub has kept of a task has the form that was asked for. */
static void results_are_fetched_in_their_form(void **state)
{
    const char *const texts[] = {"'text'", "b'bytes'", "None"};
    struct pc_client *other = home_connect(*state);
    for (size_t i = 0; i < 3; i++) {
        struct pc_call *call = source(state, NULL, texts[i]), *fetched;
        assert_int_equal(pc_wait(client_of(state), &call, 1, HOME_LIMIT_MS, NULL), 0);
        struct pc_task_id id = {pc_call_session(call), pc_call_sequence(call)};
        pc_call_unref(call);
        assert_int_equal(pc_fetch(other, PC_FETCH_RESULT, &id, 1, &fetched, NULL), 0);
        home_expect(fetched, i == 1 ? PC_FORM_BYTES : PC_FORM_JSON,
                    i == 0   ? "\"text\""
                    : i == 1 ? "bytes"
                             : "null");
    }
    pc_client_close(other);
}

static void pickles_are_called_pickles(void **state)
{
    struct pc_bytes part = {"\"6 * 7\"", 7};
    struct pc_request request = {
        .kind = PC_KIND_PULL, .is_balanced = true, .parts = &part, .part_count = 1};
    struct pc_call *call;
    assert_int_equal(pc_submit(client_of(state), &request, &call, NULL), 0);
    home_expect(call, PC_FORM_PICKLE, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source_text_has_a_value),
        cmocka_unit_test(the_same_text_runs_again),
        cmocka_unit_test(silence_sends_nothing),
        cmocka_unit_test(functions_are_called_by_name),
        cmocka_unit_test(arguments_and_results_may_be_bytes),
        cmocka_unit_test(large_bytes_arrive_whole),
        cmocka_unit_test(names_are_pushed_and_pulled),
        cmocka_unit_test(failures_say_where_and_why),
        cmocka_unit_test(each_engine_answers),
        cmocka_unit_test(results_are_fetched_in_their_form),
        cmocka_unit_test(pickles_are_called_pickles),
    };
    return cmocka_run_group_tests(tests, home_setup, home_teardown);
}
