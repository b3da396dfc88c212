/* SPDX-License-Identifier: BSD-3-Clause */
/* Which task runs where and when: limits, order, turns, restrictions, and engines that go. */
#include "unit.h"

#include <string.h>

#include "yard.h"

static const struct pc_submit_body plain = {.kind = PC_KIND_EXECUTE, .flags = PC_SUBMIT_BALANCED};

static void submit_to(struct yard *yard, struct client *client, uint64_t sequence,
                      const uint32_t *ids, size_t count)
{
    uint8_t targets[64];
    struct pc_submit_body body = plain;
    for (size_t i = 0; i < count; i++)
        pc_store_u32(targets + 4 * i, ids[i]);
    body.targets = targets;
    body.target_count = (uint32_t)count;
    yard_submit(yard, client, sequence, &body);
}

static void submit_direct(struct yard *yard, struct client *client, uint64_t sequence, uint32_t id)
{
    uint8_t target[4];
    pc_store_u32(target, id);
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE, .target_count = 1, .targets = target};
    yard_submit(yard, client, sequence, &body);
}

static void submit_tagged(struct yard *yard, struct client *client, uint64_t sequence,
                          const char *tags, uint32_t timeout_ms)
{
    struct pc_submit_body body = plain;
    body.flags |= PC_SUBMIT_OPTIONS;
    body.tags = tags;
    body.tags_size = (uint16_t)strlen(tags);
    body.timeout_ms = timeout_ms;
    yard_submit(yard, client, sequence, &body);
}

static void the_limit_holds(void **state)
{
    for (unsigned hwm = 1; hwm < 4; hwm++) {
        struct yard yard;
        yard_open(&yard, "leastload", hwm);
        struct client *client = yard_client(&yard, 1);
        yard_engine(&yard);
        yard_engine(&yard);
        for (uint64_t i = 1; i <= 10; i++)
            yard_submit(&yard, client, i, &plain);
        assert_int_equal(yard_load(&yard, 0), hwm);
        assert_int_equal(yard_load(&yard, 1), hwm);
        assert_int_equal(yard.sched.ready_count, 10 - 2 * hwm);
        for (int i = 0; i < 10; i++)
            yard_answer(&yard, yard_load(&yard, 0) ? 0 : 1, PC_STATUS_OK);
        for (uint64_t i = 1; i <= 10; i++)
            assert_string_equal(yard_outcome(client, i), "ok");
        yard_close(&yard);
    }
}

static void without_a_limit_nothing_waits(void **state)
{
    static const char *const schemes[] = {"leastload", "lru", "plainrandom", "twobin", "weighted"};
    for (size_t n = 0; n < 5; n++) {
        struct yard yard;
        yard_open(&yard, schemes[n], 0);
        struct client *client = yard_client(&yard, 1);
        for (int i = 0; i < 4; i++)
            yard_engine(&yard);
        for (uint64_t i = 1; i <= 100; i++)
            yard_submit(&yard, client, i, &plain);
        assert_int_equal(yard.sched.ready_count, 0);
        if (n < 2)
            for (uint32_t i = 0; i < 4; i++)
                assert_int_equal(yard_load(&yard, i), 25);
        for (uint32_t i = 0; i < 4; i++)
            while (yard_load(&yard, i))
                yard_answer(&yard, i, PC_STATUS_OK);
        yard_close(&yard);
    }
}

static void the_limit_may_change(void **state)
{
    struct yard yard;
    yard_open(&yard, "leastload", 1);
    struct client *client = yard_client(&yard, 1);
    yard_engine(&yard);
    for (uint64_t i = 1; i <= 10; i++)
        yard_submit(&yard, client, i, &plain);
    queue_set_hwm(&yard.sched, 3);
    assert_int_equal(yard_load(&yard, 0), 3);
    queue_set_hwm(&yard.sched, 1);
    yard_answer(&yard, 0, PC_STATUS_OK);
    yard_answer(&yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_load(&yard, 0), 1);
    groups_set_policy(&yard.sched, policy_find("weighted"));
    queue_set_hwm(&yard.sched, 0);
    assert_int_equal(yard_load(&yard, 0), 8);
    yard_close(&yard);
}

static void direct_calls_go_first(void **state)
{
    struct yard yard;
    yard_open(&yard, "leastload", 1);
    struct client *client = yard_client(&yard, 1);
    yard_engine(&yard);
    yard_submit(&yard, client, 1, &plain);
    yard_submit(&yard, client, 2, &plain);
    submit_direct(&yard, client, 3, 0);
    assert_int_equal(yard_running(&yard, 0), 1);
    yard_answer(&yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_running(&yard, 0), 3);
    assert_int_equal(yard_load(&yard, 0), 1);
    yard_answer(&yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_running(&yard, 0), 2);
    yard_close(&yard);
}

static void clients_take_turns(void **state)
{
    struct yard yard;
    yard_open(&yard, "leastload", 1);
    struct client *greedy = yard_client(&yard, 1), *modest = yard_client(&yard, 2);
    yard_engine(&yard);
    for (uint64_t i = 1; i <= 1000; i++)
        yard_submit(&yard, greedy, i, &plain);
    for (uint64_t i = 1; i <= 10; i++)
        yard_submit(&yard, modest, i, &plain);
    for (int i = 0; i < 22; i++)
        yard_answer(&yard, 0, PC_STATUS_OK);
    assert_string_equal(yard_outcome(modest, 10), "ok");
    assert_string_equal(yard_outcome(greedy, 11), "ok");
    assert_null(yard_outcome(greedy, 20));
    yard_close(&yard);
}

static void what_is_aborted_is_no_turn(void **state)
{
    struct yard yard;
    yard_open(&yard, "leastload", 1);
    struct client *first = yard_client(&yard, 1), *second = yard_client(&yard, 2);
    yard_engine(&yard);
    for (uint64_t i = 1; i <= 3; i++)
        yard_submit(&yard, first, i, &plain);
    yard_submit(&yard, second, 11, &plain);
    yard_abort(&yard, first, 2, 0);
    yard_answer(&yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_running(&yard, 0), 3);
    yard_close(&yard);
}

static void a_restricted_task_runs_where_it_may(void **state)
{
    struct yard yard;
    yard_open(&yard, "leastload", 1);
    struct client *client = yard_client(&yard, 1);
    for (int i = 0; i < 4; i++)
        yard_engine(&yard);
    submit_to(&yard, client, 1, (uint32_t[]){2}, 1);
    submit_to(&yard, client, 2, (uint32_t[]){3, 2, 3}, 3);
    submit_to(&yard, client, 3, (uint32_t[]){2, 3}, 2);
    yard_submit(&yard, client, 4, &plain);
    yard_submit(&yard, client, 5, &plain);
    yard_submit(&yard, client, 6, &plain);
    assert_int_equal(yard_running(&yard, 2), 1);
    assert_int_equal(yard_running(&yard, 3), 2);
    assert_int_equal(HASH_COUNT(yard.sched.groups), 3);
    yard_answer(&yard, 2, PC_STATUS_OK);
    assert_int_equal(yard_running(&yard, 2), 3);
    yard_answer(&yard, 3, PC_STATUS_OK);
    assert_int_equal(yard_running(&yard, 3), 6);
    yard_close(&yard);
}

static void restrictions_that_nobody_meets_end_at_once(void **state)
{
    struct yard yard;
    yard_open(&yard, "leastload", 1);
    struct client *client = yard_client(&yard, 1);
    for (int i = 0; i < 3; i++)
        yard_engine(&yard);
    submit_to(&yard, client, 1, (uint32_t[]){77}, 1);
    assert_string_equal(yard_outcome(client, 1), "ImpossibleDependency");
    for (uint64_t i = 2; i <= 5; i++)
        submit_to(&yard, client, i, (uint32_t[]){0, 1}, 2);
    yard_lose(&yard, 0, "engine 0 was killed");
    assert_string_equal(yard_outcome(client, 2), "EngineError");
    assert_null(yard_outcome(client, 4));
    yard_lose(&yard, 1, "engine 1 was killed");
    assert_string_equal(yard_outcome(client, 3), "EngineError");
    assert_string_equal(yard_outcome(client, 4), "ImpossibleDependency");
    assert_string_equal(yard_outcome(client, 5), "ImpossibleDependency");
    yard_submit(&yard, client, 6, &plain); /* and the rest goes on */
    assert_int_equal(yard_running(&yard, 2), 6);
    yard_close(&yard);
}

static void tasks_wait_for_the_first_engine(void **state)
{
    struct yard yard;
    yard_open(&yard, "leastload", 1);
    struct client *client = yard_client(&yard, 1);
    yard_submit(&yard, client, 1, &plain);
    assert_null(yard_outcome(client, 1));
    yard_engine(&yard);
    assert_int_equal(yard_running(&yard, 0), 1);
    yard_close(&yard);
}

static void tags_choose_the_engine(void **state)
{
    struct yard yard;
    yard_open(&yard, "leastload", 10);
    struct client *client = yard_client(&yard, 1);
    yard_engine(&yard);
    yard_tagged_engine(&yard, "gpu");
    yard_tagged_engine(&yard, "big,gpu");
    for (uint64_t i = 1; i <= 4; i++)
        submit_tagged(&yard, client, i, "big,gpu", 0);
    assert_int_equal(yard_load(&yard, 2), 4);
    submit_tagged(&yard, client, 5, "gpu", 0);
    assert_int_equal(yard_load(&yard, 1), 1);
    yard_submit(&yard, client, 6, &plain);
    assert_int_equal(yard_load(&yard, 0), 1);
    yard_close(&yard);
}

static void an_engine_that_comes_later_joins_in(void **state)
{
    struct yard yard;
    yard_open(&yard, "leastload", 1);
    struct client *client = yard_client(&yard, 1);
    yard_tagged_engine(&yard, "gpu");
    for (uint64_t i = 1; i <= 3; i++)
        submit_tagged(&yard, client, i, "gpu", 0);
    yard_engine(&yard);
    assert_int_equal(yard_load(&yard, 1), 0);
    yard_tagged_engine(&yard, "gpu,x");
    assert_int_equal(yard_running(&yard, 2), 2);
    yard_lose(&yard, 0, "gone"); /* nobody is left: what waits waits on */
    yard_lose(&yard, 2, "gone");
    assert_null(yard_outcome(client, 3));
    submit_tagged(&yard, client, 4, "x", 0); /* such an engine was there */
    assert_null(yard_outcome(client, 4));
    yard_tagged_engine(&yard, "gpu");
    assert_int_equal(yard_running(&yard, 3), 3);
    yard_tagged_engine(&yard, "x");
    assert_int_equal(yard_running(&yard, 4), 4);
    yard_close(&yard);
}

static void tags_that_nobody_ever_had_are_impossible(void **state)
{
    struct yard yard;
    static const uint32_t first = 0;
    uint8_t target[4];
    pc_store_u32(target, first);
    yard_open(&yard, "leastload", 1);
    struct client *client = yard_client(&yard, 1);
    yard_tagged_engine(&yard, "gpu");
    yard_tagged_engine(&yard, "big");
    submit_tagged(&yard, client, 1, "big,gpu", 0);
    assert_string_equal(yard_outcome(client, 1), "ImpossibleDependency");
    submit_tagged(&yard, client, 2, "big,gpu", 100); /* with a timeout it waits that long */
    submit_tagged(&yard, client, 3, "big,gpu", 200);
    assert_null(yard_outcome(client, 2));
    yard_pass(&yard, 100);
    assert_string_equal(yard_outcome(client, 2), "TaskTimeout");
    yard_tagged_engine(&yard, "big,gpu");
    assert_int_equal(yard_running(&yard, 2), 3);
    /* Of the engines that it is restricted to none has the tag, and none ever will. */
    struct pc_submit_body body = plain;
    body.flags |= PC_SUBMIT_OPTIONS;
    body.targets = target;
    body.target_count = 1;
    body.tags = "big";
    body.tags_size = 3;
    body.timeout_ms = 100;
    yard_submit(&yard, client, 4, &body);
    assert_string_equal(yard_outcome(client, 4), "ImpossibleDependency");
    body.tags = "gpu";
    yard_submit(&yard, client, 5, &body);
    assert_int_equal(yard_running(&yard, 0), 5);
    yard_close(&yard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(without_a_limit_nothing_waits),
        cmocka_unit_test(the_limit_may_change),
        cmocka_unit_test(direct_calls_go_first),
        cmocka_unit_test(clients_take_turns),
        cmocka_unit_test(what_is_aborted_is_no_turn),
        cmocka_unit_test(a_restricted_task_runs_where_it_may),
        cmocka_unit_test(restrictions_that_nobody_meets_end_at_once),
        cmocka_unit_test(tasks_wait_for_the_first_engine),
        cmocka_unit_test(tags_choose_the_engine),
        cmocka_unit_test(an_engine_that_comes_later_joins_in),
        cmocka_unit_test(tags_that_nobody_ever_had_are_impossible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
