/* SPDX-License-Identifier: BSD-3-Clause */
/* Another chance for tasks that failed, limits of time, priorities. */
#include "unit.h"

#include <string.h>

#include "yard.h"

static const struct pc_submit_body plain = {.kind = PC_KIND_EXECUTE, .flags = PC_SUBMIT_BALANCED};
static const struct pc_submit_body options = {.kind = PC_KIND_EXECUTE,
                                              .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS};

struct scene {
    struct yard yard;
    struct client *client;
};

static void set_up(struct scene *scene, int engines)
{
    yard_open(&scene->yard, "leastload", 1);
    scene->client = yard_client(&scene->yard, 1);
    for (int i = 0; i < engines; i++)
        yard_engine(&scene->yard);
}

static void submit(struct scene *scene, uint64_t sequence, const struct pc_submit_body *body)
{
    yard_submit(&scene->yard, scene->client, sequence, body);
}

/* Which engine has the only task; UINT32_MAX: none. */
static uint32_t where(struct scene *scene, uint32_t engines)
{
    for (uint32_t i = 0; i < engines; i++)
        if (engine_find(&scene->yard.sched, i) && yard_load(&scene->yard, i))
            return i;
    return UINT32_MAX;
}

static void a_failed_task_goes_elsewhere(void **state)
{
    struct scene scene;
    struct pc_submit_body body = options;
    bool was_on[3] = {false};
    body.retries = 5;
    set_up(&scene, 3);
    submit(&scene, 1, &body);
    for (int i = 0; i < 3; i++) {
        uint32_t id = where(&scene, 3);
        assert_false(was_on[id]);
        was_on[id] = true;
        assert_null(yard_outcome(scene.client, 1));
        yard_answer(&scene.yard, id, PC_STATUS_ERROR);
    }
    assert_string_equal(yard_outcome(scene.client, 1), "error"); /* the real one, at once */
    submit(&scene, 2, &body);
    yard_answer(&scene.yard, where(&scene, 3), PC_STATUS_ERROR);
    yard_answer(&scene.yard, where(&scene, 3), PC_STATUS_OK);
    assert_string_equal(yard_outcome(scene.client, 2), "ok");
    yard_close(&scene.yard);
}

static void it_may_be_allowed_to_repeat(void **state)
{
    struct scene scene;
    struct pc_submit_body body = options;
    body.retries = 3;
    body.flags |= PC_SUBMIT_RETRY_SAME;
    set_up(&scene, 1);
    submit(&scene, 1, &body);
    for (int i = 0; i < 4; i++) {
        assert_null(yard_outcome(scene.client, 1));
        yard_answer(&scene.yard, 0, PC_STATUS_ERROR);
    }
    assert_string_equal(yard_outcome(scene.client, 1), "error");
    yard_close(&scene.yard);
}

static void a_lost_engine_counts_as_a_failure(void **state)
{
    struct scene scene;
    struct pc_submit_body body = options;
    body.retries = 1;
    set_up(&scene, 2);
    submit(&scene, 1, &body);
    yard_lose(&scene.yard, where(&scene, 2), "gone");
    assert_null(yard_outcome(scene.client, 1));
    uint32_t id = where(&scene, 2);
    submit(&scene, 2, &body);
    yard_lose(&scene.yard, id, "gone, too");
    assert_string_equal(yard_outcome(scene.client, 1), "EngineError");
    assert_null(yard_outcome(scene.client, 2)); /* never tried: it waits for an engine */
    yard_engine(&scene.yard);
    assert_int_equal(where(&scene, 3), 2);
    yard_lose(&scene.yard, 2, "once more");
    assert_string_equal(yard_outcome(scene.client, 2), "EngineError"); /* nobody is left */
    yard_close(&scene.yard);
}

static void an_engine_that_does_not_suit_costs_nothing(void **state)
{
    struct scene scene;
    set_up(&scene, 3);
    submit(&scene, 1, &plain);
    yard_answer(&scene.yard, where(&scene, 3), YARD_UNMET);
    yard_answer(&scene.yard, where(&scene, 3), YARD_UNMET);
    yard_answer(&scene.yard, where(&scene, 3), PC_STATUS_OK);
    assert_string_equal(yard_outcome(scene.client, 1), "ok");
    submit(&scene, 2, &plain);
    for (int i = 0; i < 3; i++)
        yard_answer(&scene.yard, where(&scene, 3), YARD_UNMET);
    assert_string_equal(yard_outcome(scene.client, 2), "ImpossibleDependency");
    yard_close(&scene.yard);
}

/* An engine that does not suit hides no real error, and no engine where it may be repeated. */
static void a_real_error_counts_more_than_unsuited_engines(void **state)
{
    struct scene scene;
    struct pc_submit_body body = options;
    body.retries = 1;
    set_up(&scene, 2);
    submit(&scene, 1, &body);
    yard_answer(&scene.yard, where(&scene, 2), PC_STATUS_ERROR);
    yard_answer(&scene.yard, where(&scene, 2), YARD_UNMET);
    assert_string_equal(yard_outcome(scene.client, 1), "error");
    body.flags |= PC_SUBMIT_RETRY_SAME;
    submit(&scene, 2, &body);
    uint32_t first = where(&scene, 2);
    yard_answer(&scene.yard, first, PC_STATUS_ERROR);
    yard_answer(&scene.yard, where(&scene, 2), YARD_UNMET);
    assert_int_equal(where(&scene, 2), first);
    yard_answer(&scene.yard, first, PC_STATUS_OK);
    assert_string_equal(yard_outcome(scene.client, 2), "ok");
    submit(&scene, 3, &body); /* nothing suits: to repeat it is of no use */
    yard_answer(&scene.yard, where(&scene, 2), YARD_UNMET);
    yard_answer(&scene.yard, where(&scene, 2), YARD_UNMET);
    assert_string_equal(yard_outcome(scene.client, 3), "ImpossibleDependency");
    yard_close(&scene.yard);
}

static void what_does_not_start_in_time_fails(void **state)
{
    struct scene scene;
    struct pc_submit_body body = options;
    body.timeout_ms = 1000;
    set_up(&scene, 1);
    submit(&scene, 1, &body);
    submit(&scene, 2, &body);
    assert_int_equal(scene.yard.wake_ms, scene.yard.now_ms + 1000);
    yard_pass(&scene.yard, 999);
    assert_null(yard_outcome(scene.client, 2));
    yard_pass(&scene.yard, 1);
    assert_string_equal(yard_outcome(scene.client, 2), "TaskTimeout");
    yard_pass(&scene.yard, 100000);
    yard_answer(&scene.yard, 0, PC_STATUS_OK); /* the limit is for the start */
    assert_string_equal(yard_outcome(scene.client, 1), "ok");
    yard_close(&scene.yard);
}

static void what_runs_too_long_is_interrupted_then_killed(void **state)
{
    struct scene scene;
    struct pc_submit_body body = options;
    body.run_timeout_ms = 1000;
    set_up(&scene, 1);
    submit(&scene, 1, &body);
    submit(&scene, 2, &body);
    yard_pass(&scene.yard, 1000);
    yard_answer(&scene.yard, 0, PC_STATUS_ERROR); /* KeyboardInterrupt */
    assert_string_equal(yard_outcome(scene.client, 1), "TaskTimeout");
    yard_pass(&scene.yard, 1000);
    assert_false(engine_find(&scene.yard.sched, 0)->is_killed);
    yard_pass(&scene.yard, SCHED_INTERRUPT_GRACE_MS);
    assert_true(engine_find(&scene.yard.sched, 0)->is_killed);
    yard_lose(&scene.yard, 0, "killed");
    assert_string_equal(yard_outcome(scene.client, 2), "TaskTimeout");
    yard_close(&scene.yard);
}

/* The only engine was killed because of the task itself: the next one gets it. */
static void it_waits_for_a_replacement(void **state)
{
    for (int comes = 0; comes < 2; comes++) {
        struct scene scene;
        struct pc_submit_body body = options;
        body.run_timeout_ms = 1000;
        body.retries = 1;
        set_up(&scene, 1);
        submit(&scene, 1, &body);
        yard_pass(&scene.yard, 1000);
        yard_pass(&scene.yard, SCHED_INTERRUPT_GRACE_MS);
        assert_true(engine_find(&scene.yard.sched, 0)->is_killed);
        yard_exit(&scene.yard, 0);
        yard_pass(&scene.yard, SCHED_COMING_MS - 1);
        assert_null(yard_outcome(scene.client, 1));
        if (comes) {
            yard_engine(&scene.yard);
            assert_int_equal(yard_running(&scene.yard, 1), 1);
        } else {
            yard_pass(&scene.yard, 1);
            assert_string_equal(yard_outcome(scene.client, 1), "TaskTimeout");
        }
        yard_close(&scene.yard);
    }
}

/* Nobody comes in place of one that died by itself. */
static void it_does_not_wait_for_nobody(void **state)
{
    struct scene scene;
    struct pc_submit_body body = options;
    body.retries = 1;
    set_up(&scene, 1);
    submit(&scene, 1, &body);
    yard_exit(&scene.yard, 0);
    assert_string_equal(yard_outcome(scene.client, 1), "EngineError");
    yard_close(&scene.yard);
}

static void a_cancelled_one_has_a_grace_time(void **state)
{
    struct scene scene;
    set_up(&scene, 1);
    submit(&scene, 1, &plain);
    yard_abort(&scene.yard, scene.client, 1, PC_ABORT_INTERRUPT | PC_ABORT_KILL);
    yard_pass(&scene.yard, SCHED_INTERRUPT_GRACE_MS - 1);
    assert_false(engine_find(&scene.yard.sched, 0)->is_killed);
    yard_pass(&scene.yard, 1);
    assert_true(engine_find(&scene.yard.sched, 0)->is_killed);
    yard_lose(&scene.yard, 0, "killed");
    assert_string_equal(yard_outcome(scene.client, 1), "TaskAborted");
    yard_close(&scene.yard);
}

static void higher_priority_goes_first(void **state)
{
    static const int32_t priorities[] = {0, 5, -5, 5, 0, 2000000000, -2000000000};
    static const uint64_t order[] = {1, 7, 3, 5, 2, 6, 4, 8};
    struct scene scene;
    set_up(&scene, 1);
    submit(&scene, 1, &plain);
    for (uint64_t i = 0; i < 7; i++) {
        struct pc_submit_body body = options;
        body.priority = priorities[i];
        submit(&scene, i + 2, &body);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(yard_running(&scene.yard, 0), order[i]);
        yard_answer(&scene.yard, 0, PC_STATUS_OK);
    }
    yard_close(&scene.yard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_task_goes_elsewhere),
        cmocka_unit_test(it_may_be_allowed_to_repeat),
        cmocka_unit_test(a_lost_engine_counts_as_a_failure),
        cmocka_unit_test(an_engine_that_does_not_suit_costs_nothing),
        cmocka_unit_test(a_real_error_counts_more_than_unsuited_engines),
        cmocka_unit_test(what_does_not_start_in_time_fails),
        cmocka_unit_test(what_runs_too_long_is_interrupted_then_killed),
        cmocka_unit_test(it_waits_for_a_replacement),
        cmocka_unit_test(it_does_not_wait_for_nobody),
        cmocka_unit_test(a_cancelled_one_has_a_grace_time),
        cmocka_unit_test(higher_priority_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
