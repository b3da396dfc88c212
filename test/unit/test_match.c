/* SPDX-License-Identifier: BSD-3-Clause */
/* What becomes ready at the same moment, and what becomes free, is matched together. */
#include "unit.h"

#include <string.h>

#include "yard.h"

static const struct pc_submit_body plain = {.kind = PC_KIND_EXECUTE, .flags = PC_SUBMIT_BALANCED};

static struct client *open_yard(struct yard *yard, unsigned hwm, int engines)
{
    yard_open(yard, "leastload", hwm);
    while (engines--)
        yard_engine(yard);
    return yard_client(yard, 1);
}

/* After task `source` unless that is 0. */
static void submit(struct yard *yard, struct client *client, uint64_t sequence, int32_t priority,
                   uint32_t retries, uint64_t source)
{
    uint8_t pair[PC_ACK_SIZE];
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE,
                                  .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS |
                                           (retries ? PC_SUBMIT_RETRY_SAME : 0),
                                  .priority = priority,
                                  .retries = retries};
    pc_store_u64(pair, 1);
    pc_store_u64(pair + 8, source);
    if (source)
        body.after = (struct pc_submit_needs){
            .rule = PC_NEED_ALL | PC_NEED_SUCCESS, .count = 1, .tasks = pair};
    yard_submit(yard, client, sequence, &body);
}

static void priority_counts_among_those_released(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 1, 2);
    submit(&yard, client, 1, 0, 0, 0);
    submit(&yard, client, 2, 0, 0, 1);
    submit(&yard, client, 3, 5, 0, 1);
    submit(&yard, client, 4, 0, 0, 0);
    yard_answer(&yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_running(&yard, 0), 3);
    yard_close(&yard);
}

static void it_counts_against_those_that_wait(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 1, 1);
    submit(&yard, client, 1, 0, 0, 0);
    submit(&yard, client, 2, 0, 0, 0);
    submit(&yard, client, 3, 5, 0, 1);
    yard_answer(&yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_running(&yard, 0), 3);
    yard_close(&yard);
}

static void it_counts_for_a_new_attempt(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 1, 1);
    submit(&yard, client, 1, 5, 1, 0);
    submit(&yard, client, 2, 0, 0, 0);
    yard_answer(&yard, 0, PC_STATUS_ERROR);
    assert_int_equal(yard_running(&yard, 0), 1);
    yard_close(&yard);
}

static void it_counts_among_those_lost(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 2, 1);
    submit(&yard, client, 1, 0, 1, 0);
    submit(&yard, client, 2, 5, 1, 0);
    yard_engine(&yard);
    yard_submit(&yard, client, 3, &plain); /* one place is left there */
    yard_lose(&yard, 0, "gone");
    yard_answer(&yard, 1, PC_STATUS_OK);
    assert_int_equal(yard_running(&yard, 1), 2);
    yard_close(&yard);
}

/* The engine that has just ended a task has less to do than one that has some ahead. */
static void what_follows_goes_to_the_idle(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 1, 2);
    yard.took_us = 1;
    for (uint64_t i = 1; i <= SCHED_AHEAD_AFTER; i++) { /* engine 1 is quick, engine 0 is not */
        yard_submit(&yard, client, 2 * i, &plain);
        yard_submit(&yard, client, 2 * i + 1, &plain);
        yard.took_us = 1000000;
        yard_answer(&yard, 0, PC_STATUS_OK);
        yard.took_us = 1;
        yard_answer(&yard, 1, PC_STATUS_OK);
    }
    submit(&yard, client, 101, 0, 0, 0);
    submit(&yard, client, 102, 0, 0, 0);
    submit(&yard, client, 103, 0, 0, 101);
    assert_int_equal(yard_running(&yard, 0), 101);
    yard.took_us = 1000000;
    yard_answer(&yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_running(&yard, 0), 103);
    yard_close(&yard);
}

static void a_larger_limit_is_shared_evenly(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 1, 3);
    for (uint64_t i = 1; i <= 6; i++)
        yard_submit(&yard, client, i, &plain);
    queue_set_hwm(&yard.sched, 4);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(yard_load(&yard, i), 2);
    yard_close(&yard);
}

/* Each pair of tasks in a group of its own: all groups have this one engine in common. */
static void many_groups_keep_their_order(void **state)
{
    enum { GROUPS = 100, PRIORITIES = 7 };
    struct yard yard;
    struct client *client = open_yard(&yard, 1, GROUPS + 1);
    for (uint64_t i = 0; i <= GROUPS; i++)
        yard_submit(&yard, client, 1000 + i, &plain);
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < GROUPS; i++) {
            uint8_t targets[8];
            struct pc_submit_body body = {.kind = PC_KIND_EXECUTE,
                                          .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS,
                                          .priority = (int32_t)(i % PRIORITIES),
                                          .target_count = 2,
                                          .targets = targets};
            pc_store_u32(targets, 0);
            pc_store_u32(targets + 4, 1 + i);
            yard_submit(&yard, client, 1 + round * GROUPS + i, &body);
        }
    for (uint32_t i = 1; i <= GROUPS; i++)
        yard_lose(&yard, i, "gone");
    queue_set_hwm(&yard.sched, 0);
    assert_int_equal(yard_load(&yard, 0), 1 + 2 * GROUPS);
    yard_answer(&yard, 0, PC_STATUS_OK);
    for (int32_t priority = PRIORITIES - 1; priority >= 0; priority--)
        for (uint32_t i = 0; i < 2 * GROUPS; i++)
            if ((int32_t)(i % GROUPS % PRIORITIES) == priority) {
                assert_int_equal(yard_running(&yard, 0), 1 + i);
                yard_answer(&yard, 0, PC_STATUS_OK);
            }
    yard_close(&yard);
}

/* The first one's place goes to the second only when that is no longer to be aborted, too. */
static void aborted_together_none_is_sent(void **state)
{
    struct yard yard;
    struct client *client = open_yard(&yard, 1, 1);
    uint8_t target[4] = {0};
    struct pc_submit_body direct = {.kind = PC_KIND_EXECUTE, .target_count = 1, .targets = target};
    for (uint64_t i = 1; i <= SCHED_DIRECT_AHEAD + 1; i++)
        yard_submit(&yard, client, i, &direct);
    queue_set_hwm(&yard.sched, 0);
    yard_submit(&yard, client, 100, &plain);
    pc_json *query = pc_json_object(), *tasks = pc_json_array();
    pc_json_append_str(tasks, "0000000000000001_17");
    pc_json_append_str(tasks, "0000000000000001_100");
    pc_json_put(query, "tasks", tasks);
    pc_json_free(abort_answer(&yard.sched, client, query));
    pc_json_free(query);
    assert_string_equal(yard_outcome(client, 17), "TaskAborted");
    assert_string_equal(yard_outcome(client, 100), "TaskAborted");
    yard_close(&yard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(priority_counts_among_those_released),
        cmocka_unit_test(it_counts_against_those_that_wait),
        cmocka_unit_test(it_counts_for_a_new_attempt),
        cmocka_unit_test(it_counts_among_those_lost),
        cmocka_unit_test(what_follows_goes_to_the_idle),
        cmocka_unit_test(a_larger_limit_is_shared_evenly),
        cmocka_unit_test(aborted_together_none_is_sent),
        cmocka_unit_test(many_groups_keep_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
