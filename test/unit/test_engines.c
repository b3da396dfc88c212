/* SPDX-License-Identifier: BSD-3-Clause */
/* Engines that stall, leave or break: what becomes of what they had. */
#include "unit.h"

#include <string.h>

#include "yard.h"

#define GIVEN_UP_MS ((SCHED_BEATS_MISSED + 2) * YARD_HEARTBEAT_MS)

static const struct pc_submit_body plain = {.kind = PC_KIND_EXECUTE, .flags = PC_SUBMIT_BALANCED};
static const struct pc_submit_body retried = {
    .kind = PC_KIND_EXECUTE, .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS, .retries = 1};

static struct client *open_yard(struct yard *yard, int engines)
{
    yard_open(yard, "leastload", 1);
    while (engines--)
        yard_engine(yard);
    return yard_client(yard, 1);
}

static void one_that_stays_silent_is_given_up(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 2);
    yard_submit(&yard, client, 1, &plain);
    yard_submit(&yard, client, 2, &plain);
    yard_stop(&yard, 0, true);
    yard_pass(&yard, (SCHED_BEATS_MISSED - 1) * YARD_HEARTBEAT_MS);
    assert_null(yard_outcome(client, 1));
    yard_pass(&yard, GIVEN_UP_MS);
    assert_null(engine_find(&yard.sched, 0));
    assert_string_equal(yard_outcome(client, 1), "EngineError");
    assert_null(yard_outcome(client, 2));
    yard_close(&yard);
}

static void one_that_wakes_in_time_is_not(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 1);
    yard_submit(&yard, client, 1, &plain);
    for (int i = 0; i < 5; i++) {
        yard_stop(&yard, 0, true);
        yard_pass(&yard, (SCHED_BEATS_MISSED - 1) * YARD_HEARTBEAT_MS);
        yard_stop(&yard, 0, false);
        yard_pass(&yard, YARD_HEARTBEAT_MS);
    }
    yard_answer(&yard, 0, PC_STATUS_OK);
    assert_string_equal(yard_outcome(client, 1), "ok");
    yard_close(&yard);
}

/* A task ends once: the yard refuses a second result. */
static void what_it_says_afterwards_reaches_nobody(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 1);
    yard_submit(&yard, client, 1, &retried);
    yard_engine(&yard);
    yard_stop(&yard, 0, true);
    yard_pass(&yard, GIVEN_UP_MS);
    assert_int_equal(yard_running(&yard, 1), 1);
    yard_answer_late(&yard, 0, 1, 1);
    assert_null(yard_outcome(client, 1));
    yard_answer(&yard, 1, PC_STATUS_OK);
    yard_answer_late(&yard, 0, 1, 1);
    assert_string_equal(yard_outcome(client, 1), "ok");
    yard_close(&yard);
}

/* What the first one had does not go to the second, which would cost its retry. */
static void several_may_be_given_up_at_once(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 2);
    yard_submit(&yard, client, 1, &retried);
    yard_stop(&yard, 0, true);
    yard_stop(&yard, 1, true);
    yard_pass(&yard, GIVEN_UP_MS - 2 * YARD_HEARTBEAT_MS);
    yard_engine(&yard);
    struct pc_submit_body there = plain; /* so that it is busier than the second one */
    uint8_t target[4];
    pc_store_u32(target, 2);
    there.target_count = 1;
    there.targets = target;
    yard_submit(&yard, client, 2, &there);
    yard_pass(&yard, 2 * YARD_HEARTBEAT_MS);
    assert_null(yard_outcome(client, 1));
    yard_answer(&yard, 2, PC_STATUS_OK);
    assert_int_equal(yard_running(&yard, 2), 1);
    yard_close(&yard);
}

/* Nobody can take it any more: that is certain as soon as the engine is told to leave. */
static void what_can_run_nowhere_else_ends_at_once(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 2);
    uint8_t target[4] = {0};
    struct pc_submit_body body = plain;
    body.target_count = 1;
    body.targets = target;
    yard_submit(&yard, client, 1, &body);
    yard_submit(&yard, client, 2, &body);
    yard_query(&yard, client, "{\"query\": \"stop_engines\", \"ids\": [0]}");
    assert_string_equal(yard_outcome(client, 2), "ImpossibleDependency");
    yard_answer(&yard, 0, PC_STATUS_OK);
    assert_string_equal(yard_outcome(client, 1), "ok");
    yard_close(&yard);
}

static void results_count_until_its_end_is_clear(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 1);
    yard_submit(&yard, client, 1, &plain);
    yard_submit(&yard, client, 2, &plain);
    yard_report(&yard, 0, false);
    yard_answer(&yard, 0, PC_STATUS_OK); /* it was on its way */
    assert_string_equal(yard_outcome(client, 1), "ok");
    yard_pass(&yard, SCHED_EXIT_WAIT_MS);
    assert_null(engine_find(&yard.sched, 0));
    assert_null(yard_outcome(client, 2)); /* it was not sent there any more */
    yard_close(&yard);
}

/* As after the death of a nursery: the parent starts all of its engines again. */
static void tasks_wait_for_those_that_are_started_again(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 2);
    yard_submit(&yard, client, 1, &retried);
    yard_submit(&yard, client, 2, &plain);
    yard_report(&yard, 0, true);
    yard_report(&yard, 1, true);
    yard_pass(&yard, SCHED_EXIT_WAIT_MS);
    assert_null(yard_outcome(client, 1));
    assert_string_equal(yard_outcome(client, 2), "EngineError"); /* it may not be repeated */
    yard_engine(&yard);
    yard_answer(&yard, 2, PC_STATUS_OK);
    assert_string_equal(yard_outcome(client, 1), "ok");
    yard_close(&yard);
}

static void the_report_may_come_first_or_last(void **state)
{
    for (int is_last = 0; is_last < 2; is_last++) {
        struct yard yard;
        struct client *client = open_yard(&yard, 1);
        yard_submit(&yard, client, 1, &plain);
        if (!is_last)
            yard_report(&yard, 0, false);
        yard_break(&yard, 0, "lost its connection");
        if (is_last) {
            assert_non_null(engine_find(&yard.sched, 0)); /* it waits for why */
            yard_report(&yard, 0, false);
        }
        assert_null(engine_find(&yard.sched, 0));
        assert_string_equal(yard_outcome(client, 1), "EngineError");
        yard_close(&yard);
    }
}

/* EXITED of engine 0, which had begun nothing, from a host. */
static void report_from(struct yard *yard, const struct home *host)
{
    static const char text[] = "{\"uuid\":\"00000000000000000000000000000000\",\"begun\":0}";
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_EXITED, text, strlen(text));
    engine_exited(&yard->sched, msg, host);
    pc_msg_unref(msg);
}

/* A host is believed when its word and the end of the connections come together, and only for
 * engines that it has started: what it says was not begun runs again. */
static void what_a_host_says_counts_when_it_fits(void **state)
{
    static const struct {
        bool is_other, is_leaving;
        int64_t before_ms;
        bool is_spared;
    } cases[] = {{false, false, 500, true},
                 {false, false, 2000, false},
                 {false, true, 500, true},
                 {false, true, 2000, false},
                 {true, false, 500, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct yard yard;
        struct client *client = open_yard(&yard, 1);
        struct home host = yard.sched.home;
        host.uuid[0] = (uint8_t)(host.uuid[0] + cases[i].is_other);
        yard_submit(&yard, client, 1, &plain);
        if (cases[i].is_leaving)
            yard_query(&yard, client, "{\"query\": \"stop_engines\", \"ids\": [0]}");
        report_from(&yard, &host);
        assert_int_not_equal(engine_find(&yard.sched, 0)->state, ENGINE_LOST);
        yard_pass(&yard, cases[i].before_ms);
        yard_break(&yard, 0, "lost its connection");
        yard_pass(&yard, SCHED_KILL_WAIT_MS);
        if (cases[i].is_spared)
            assert_null(yard_outcome(client, 1));
        else
            assert_string_equal(yard_outcome(client, 1), "EngineError");
        yard_close(&yard);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_stays_silent_is_given_up),
        cmocka_unit_test(one_that_wakes_in_time_is_not),
        cmocka_unit_test(what_it_says_afterwards_reaches_nobody),
        cmocka_unit_test(several_may_be_given_up_at_once),
        cmocka_unit_test(what_can_run_nowhere_else_ends_at_once),
        cmocka_unit_test(results_count_until_its_end_is_clear),
        cmocka_unit_test(tasks_wait_for_those_that_are_started_again),
        cmocka_unit_test(the_report_may_come_first_or_last),
        cmocka_unit_test(what_a_host_says_counts_when_it_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
