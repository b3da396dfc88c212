/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks found by their ids or labels, and ended early. */
#include "unit.h"

#include <string.h>

#include "yard.h"

struct scene {
    struct yard yard;
    struct client *one, *other;
};

/* One engine, and as many tasks of each client as their labels; the first of all runs. */
static void set_up(struct scene *scene, const char *labels_of_one, const char *labels_of_other)
{
    yard_open(&scene->yard, "leastload", 1);
    scene->one = yard_client(&scene->yard, 1);
    scene->other = yard_client(&scene->yard, 2);
    yard_engine(&scene->yard);
    for (int i = 0; i < 2; i++) {
        const char *label = i ? labels_of_other : labels_of_one;
        for (uint64_t sequence = 1; label[sequence - 1]; sequence++) {
            struct pc_submit_body body = {.kind = PC_KIND_EXECUTE,
                                          .flags = PC_SUBMIT_BALANCED,
                                          .label = label + sequence - 1,
                                          .label_size = 1};
            yard_submit(&scene->yard, i ? scene->other : scene->one, sequence, &body);
        }
    }
}

/* Asks as `client`; "ended/passed on/unknown", or the error. */
static const char *ask(struct scene *scene, struct client *client, const char *query)
{
    static char text[200];
    pc_json *json = pc_json_parse(query, strlen(query), NULL);
    assert_non_null(json);
    pc_json *reply = abort_answer(&scene->yard.sched, client, json);
    if (pc_json_bool_or(reply, "ok", false))
        snprintf(text, sizeof(text), "%d/%d/%d", (int)pc_json_i64_or(reply, "ended", -1),
                 (int)pc_json_i64_or(reply, "passed_on", -1),
                 (int)pc_json_i64_or(reply, "unknown", -1));
    else
        snprintf(text, sizeof(text), "%s", pc_json_str_or(reply, "error", "?"));
    pc_json_free(json);
    pc_json_free(reply);
    return text;
}

static void expect(struct client *client, const char *how)
{
    for (uint64_t sequence = 1; how[sequence - 1]; sequence++) {
        const char *outcome = yard_outcome(client, sequence);
        if (how[sequence - 1] == 'x')
            assert_string_equal(outcome, "TaskAborted");
        else
            assert_null(outcome);
    }
}

static void by_label(void **state)
{
    struct scene scene;
    set_up(&scene, "aabab", "aab");
    assert_string_equal(ask(&scene, scene.other, "{\"label\": \"a\"}"), "2/0/0");
    expect(scene.one, ".....");
    expect(scene.other, "xx.");
    assert_string_equal(ask(&scene, scene.other, "{\"label\": \"a\", \"anybody\": true}"), "2/1/0");
    expect(scene.one, ".x.x."); /* the first is with the engine */
    assert_string_equal(ask(&scene, scene.one, "{\"label\": \"\"}"), "0/0/0");
    assert_string_equal(ask(&scene, scene.one, "{\"label\": \"ab\"}"), "0/0/0");
    yard_answer(&scene.yard, 0, PC_STATUS_ERROR);
    yard_close(&scene.yard);
}

static void everything(void **state)
{
    struct scene scene;
    set_up(&scene, "aab", "ab");
    assert_string_equal(ask(&scene, scene.one, "{}"), "0/0/0");
    assert_string_equal(ask(&scene, scene.one, "{\"all\": true, \"interrupt\": true}"), "2/1/0");
    expect(scene.one, ".xx");
    expect(scene.other, "..");
    yard_pass(&scene.yard, SCHED_INTERRUPT_GRACE_MS); /* the interrupt did not help */
    assert_true(engine_find(&scene.yard.sched, 0)->is_killed);
    yard_lose(&scene.yard, 0, "was ended");
    expect(scene.one, "xxx");
    assert_string_equal(ask(&scene, scene.one, "{\"all\": true, \"anybody\": true}"), "2/0/0");
    expect(scene.other, "xx");
    yard_close(&scene.yard);
}

static void by_id_whoever_sent_it(void **state)
{
    struct scene scene;
    set_up(&scene, "aaa", "");
    assert_string_equal(ask(&scene, scene.other,
                            "{\"tasks\": [\"0000000000000001_2\", \"0000000000000001_9\", "
                            "\"00000000000000ff_1\"]}"),
                        "1/0/2");
    expect(scene.one, ".x.");
    assert_string_equal(ask(&scene, scene.other, "{\"tasks\": [\"0000000000000001_2\"]}"), "0/0/1");
    yard_close(&scene.yard);
}

static void what_is_no_id(void **state)
{
    static const char *const bad[] = {
        "\"\"", "\"1_2\"", "\"0000000000000001\"",   "\"0000000000000001_2x\"",
        "7",    "null",    "\"000000000000000g_2\"",
    };
    struct scene scene;
    set_up(&scene, "aa", "");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char query[100];
        snprintf(query, sizeof(query), "{\"tasks\": [\"0000000000000001_2\", %s]}", bad[i]);
        assert_non_null(strstr(ask(&scene, scene.one, query), "is no id of a task"));
    }
    expect(scene.one, ".."); /* all or nothing */
    yard_close(&scene.yard);
}

/* A task and what waits for it, aborted together, were both aborted. */
static void those_that_depend_on_each_other(void **state)
{
    struct scene scene;
    uint8_t pair[PC_ACK_SIZE];
    set_up(&scene, "aa", "");
    pc_store_u64(pair, 1);
    pc_store_u64(pair + 8, 2);
    struct pc_submit_body body = {
        .kind = PC_KIND_EXECUTE,
        .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS,
        .after = {.rule = PC_NEED_ALL | PC_NEED_SUCCESS, .count = 1, .tasks = pair}};
    yard_submit(&scene.yard, scene.one, 3, &body);
    yard_submit(&scene.yard, scene.other, 1, &body);
    assert_string_equal(ask(&scene, scene.one, "{\"all\": true}"), "2/1/0");
    expect(scene.one, ".xx");
    assert_string_equal(yard_outcome(scene.other, 1), "ImpossibleDependency");
    yard_close(&scene.yard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_label),
        cmocka_unit_test(everything),
        cmocka_unit_test(by_id_whoever_sent_it),
        cmocka_unit_test(what_is_no_id),
        cmocka_unit_test(those_that_depend_on_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
