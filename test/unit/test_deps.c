/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks that wait for tasks: when they start, where, and when they can't any more. */
#include "unit.h"

#include <string.h>

#include "yard.h"

#define SESSION 1
#define ALL     (PC_NEED_ALL | PC_NEED_SUCCESS)
#define ANY     PC_NEED_SUCCESS

struct scene {
    struct yard yard;
    struct client *client;
};

static void set_up(struct scene *scene, int engines)
{
    yard_open(&scene->yard, "leastload", 1);
    scene->client = yard_client(&scene->yard, SESSION);
    for (int i = 0; i < engines; i++)
        yard_engine(&scene->yard);
}

static struct pc_submit_needs needs_of(uint8_t *memory, uint8_t rule, const uint64_t *sources)
{
    struct pc_submit_needs needs = {.rule = rule, .tasks = memory};
    for (; sources && sources[needs.count]; needs.count++) {
        pc_store_u64(memory + PC_ACK_SIZE * needs.count, SESSION);
        pc_store_u64(memory + PC_ACK_SIZE * needs.count + 8, sources[needs.count]);
    }
    return needs;
}

/* `after` and `follow` end with 0; NULL: none. */
static void submit(struct scene *scene, uint64_t sequence, uint8_t rule, const uint64_t *after,
                   const uint64_t *follow)
{
    uint8_t memory[2][16 * PC_ACK_SIZE];
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE,
                                  .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS,
                                  .after = needs_of(memory[0], rule, after),
                                  .follow = needs_of(memory[1], rule, follow)};
    yard_submit(&scene->yard, scene->client, sequence, &body);
}

static const char *outcome(struct scene *scene, uint64_t sequence)
{
    return yard_outcome(scene->client, sequence);
}

static void after_waits_for_all(void **state)
{
    struct scene scene;
    set_up(&scene, 3);
    submit(&scene, 1, 0, NULL, NULL);
    submit(&scene, 2, 0, NULL, NULL);
    submit(&scene, 3, ALL, (uint64_t[]){1, 2, 0}, NULL);
    assert_int_equal(yard_running(&scene.yard, 2), 0);
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_load(&scene.yard, 0) + yard_load(&scene.yard, 2), 0);
    yard_answer(&scene.yard, 1, PC_STATUS_OK);
    assert_int_equal(yard_running(&scene.yard, 2), 3);
    submit(&scene, 4, ALL, (uint64_t[]){1, 2, 0}, NULL); /* both are over already */
    assert_int_equal(yard_load(&scene.yard, 0) + yard_load(&scene.yard, 1), 1);
    yard_close(&scene.yard);
}

static void a_rule_says_what_counts(void **state)
{
    static const struct {
        uint8_t rule;
        const char *ends[3]; /* after none, after one good, then after one bad */
    } cases[] = {
        {ALL, {NULL, NULL, "ImpossibleDependency"}},
        {ANY, {NULL, "runs", "runs"}},
        {PC_NEED_ALL | PC_NEED_FAILURE, {NULL, "ImpossibleDependency", "ImpossibleDependency"}},
        {PC_NEED_FAILURE, {NULL, NULL, "runs"}},
        {PC_NEED_ALL | PC_NEED_SUCCESS | PC_NEED_FAILURE, {NULL, NULL, "runs"}},
        {PC_NEED_SUCCESS | PC_NEED_FAILURE, {NULL, "runs", "runs"}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scene scene;
        set_up(&scene, 3);
        submit(&scene, 1, 0, NULL, NULL);
        submit(&scene, 2, 0, NULL, NULL);
        submit(&scene, 3, cases[i].rule, (uint64_t[]){1, 2, 0}, NULL);
        for (int step = 0; step < 3; step++) {
            const char *expected = cases[i].ends[step];
            bool runs = yard_running(&scene.yard, 2) == 3;
            assert_int_equal(runs, expected && strcmp(expected, "runs") == 0);
            if (expected && !runs)
                assert_string_equal(outcome(&scene, 3), expected);
            else
                assert_null(outcome(&scene, 3));
            if (step < 2)
                yard_answer(&scene.yard, (uint32_t)step, step ? PC_STATUS_ERROR : PC_STATUS_OK);
        }
        yard_close(&scene.yard);
    }
}

static void unknown_tasks_and_itself_are_invalid(void **state)
{
    struct scene scene;
    set_up(&scene, 1);
    submit(&scene, 5, ALL, (uint64_t[]){4, 0}, NULL);
    assert_string_equal(outcome(&scene, 5), "InvalidDependency");
    submit(&scene, 6, ALL, NULL, (uint64_t[]){6, 0});
    assert_string_equal(outcome(&scene, 6), "InvalidDependency");
    submit(&scene, 7, 0, NULL, NULL);
    submit(&scene, 8, ANY, (uint64_t[]){7, 99, 0}, NULL);
    assert_string_equal(outcome(&scene, 8), "InvalidDependency");
    yard_close(&scene.yard);
}

static void follow_runs_where_they_ran(void **state)
{
    struct scene scene;
    set_up(&scene, 3);
    for (uint64_t i = 1; i <= 3; i++)
        submit(&scene, i, 0, NULL, NULL);
    uint64_t second = yard_running(&scene.yard, 1);
    submit(&scene, 4, ALL, NULL, (uint64_t[]){second, 0});
    submit(&scene, 5, ALL, NULL, (uint64_t[]){1, 2, 0});
    for (uint32_t i = 0; i < 3; i++)
        yard_answer(&scene.yard, i, PC_STATUS_OK);
    assert_int_equal(yard_running(&scene.yard, 1), 4);
    assert_string_equal(outcome(&scene, 5), "ImpossibleDependency"); /* two engines */
    yard_lose(&scene.yard, 1, "gone");
    submit(&scene, 6, ALL, NULL, (uint64_t[]){second, 0});
    assert_string_equal(outcome(&scene, 6), "ImpossibleDependency");
    yard_close(&scene.yard);
}

/* One of those to follow is enough, and those that end later are as good. */
static void follow_any_takes_what_comes_later(void **state)
{
    struct scene scene;
    set_up(&scene, 2);
    submit(&scene, 1, 0, NULL, NULL);
    submit(&scene, 2, 0, NULL, NULL);
    uint32_t first = yard_running(&scene.yard, 0) == 1 ? 0 : 1;
    submit(&scene, 3, ANY, NULL, (uint64_t[]){1, 2, 0});
    yard_answer(&scene.yard, first, PC_STATUS_OK);
    assert_int_equal(yard_running(&scene.yard, first), 3);
    submit(&scene, 4, ANY, NULL, (uint64_t[]){1, 2, 0}); /* queued for the first engine */
    yard_lose(&scene.yard, first, "gone");
    assert_string_equal(outcome(&scene, 3), "EngineError");
    assert_null(outcome(&scene, 4));
    yard_answer(&scene.yard, 1 - first, PC_STATUS_OK);
    assert_int_equal(yard_running(&scene.yard, 1 - first), 4);
    yard_close(&scene.yard);
}

/* Another one that it follows ended where one did before: it stays where it waits. */
static void following_twice_costs_no_place(void **state)
{
    struct scene scene;
    set_up(&scene, 1);
    submit(&scene, 1, 0, NULL, NULL);
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    submit(&scene, 2, 0, NULL, NULL);
    submit(&scene, 3, ANY, NULL, (uint64_t[]){1, 2, 0});
    submit(&scene, 4, ANY, NULL, (uint64_t[]){1, 0});
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_running(&scene.yard, 0), 3);
    yard_close(&scene.yard);
}

/* Nor does one that ended where this one may not run. */
static void following_elsewhere_costs_no_place(void **state)
{
    struct scene scene;
    uint8_t memory[2 * PC_ACK_SIZE], target[4];
    struct pc_submit_body here = {.kind = PC_KIND_EXECUTE,
                                  .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS,
                                  .targets = target,
                                  .target_count = 1};
    set_up(&scene, 2);
    pc_store_u32(target, 0);
    submit(&scene, 1, 0, NULL, NULL);
    submit(&scene, 2, 0, NULL, NULL);
    submit(&scene, 3, 0, NULL, NULL);
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    here.follow = needs_of(memory, ANY, (uint64_t[]){1, 2, 0});
    yard_submit(&scene.yard, scene.client, 4, &here);
    here.follow = (struct pc_submit_needs){0};
    yard_submit(&scene.yard, scene.client, 5, &here);
    yard_answer(&scene.yard, 1, PC_STATUS_OK); /* 2 */
    yard_answer(&scene.yard, 0, PC_STATUS_OK); /* 3 */
    assert_int_equal(yard_running(&scene.yard, 0), 4);
    yard_close(&scene.yard);
}

/* A long chain fails at once when its beginning does, without a deep stack. */
static void a_chain_fails_as_a_whole(void **state)
{
    struct scene scene;
    set_up(&scene, 1);
    submit(&scene, 1, 0, NULL, NULL);
    for (uint64_t i = 2; i <= 200000; i++)
        submit(&scene, i, ALL, (uint64_t[]){i - 1, 0}, NULL);
    yard_answer(&scene.yard, 0, PC_STATUS_ERROR);
    for (uint64_t i = 2; i <= 200000; i++)
        assert_string_equal(outcome(&scene, i), "ImpossibleDependency");
    yard_close(&scene.yard);
}

static void aborting_ends_waiting_and_dependents(void **state)
{
    struct scene scene;
    set_up(&scene, 1);
    submit(&scene, 1, 0, NULL, NULL);
    submit(&scene, 2, ALL, (uint64_t[]){1, 0}, NULL);
    submit(&scene, 3, ALL, (uint64_t[]){2, 0}, NULL);
    submit(&scene, 4, PC_NEED_ALL | PC_NEED_FAILURE, (uint64_t[]){2, 0}, NULL);
    yard_abort(&scene.yard, scene.client, 2, 0);
    assert_string_equal(outcome(&scene, 2), "TaskAborted");
    assert_string_equal(outcome(&scene, 3), "ImpossibleDependency");
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_running(&scene.yard, 0), 4);
    yard_close(&scene.yard);
}

/* What waits for others and can't run anywhere any more ends when that is certain, not later. */
static void the_last_place_goes_while_it_waits(void **state)
{
    struct scene scene;
    uint8_t memory[PC_ACK_SIZE], targets[8];
    pc_store_u32(targets, 1);
    pc_store_u32(targets + 4, 2);
    set_up(&scene, 3);
    submit(&scene, 1, 0, NULL, NULL); /* on 0, and stays there */
    submit(&scene, 2, 0, NULL, NULL); /* on 1 */
    yard_answer(&scene.yard, 1, PC_STATUS_OK);
    submit(&scene, 3, ALL, (uint64_t[]){1, 0}, (uint64_t[]){2, 0});    /* only on 1 */
    submit(&scene, 4, ANY, (uint64_t[]){1, 0}, (uint64_t[]){2, 1, 0}); /* on 1, or where 1 ran */
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE,
                                  .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS,
                                  .targets = targets,
                                  .target_count = 2,
                                  .after = needs_of(memory, ALL, (uint64_t[]){1, 0})};
    yard_submit(&scene.yard, scene.client, 5, &body); /* on 1 or 2 */
    submit(&scene, 6, ALL, (uint64_t[]){3, 0}, NULL);
    submit(&scene, 7, PC_NEED_ALL | PC_NEED_FAILURE, (uint64_t[]){3, 0}, NULL);
    yard_lose(&scene.yard, 1, "gone");
    assert_string_equal(outcome(&scene, 3), "ImpossibleDependency");
    assert_string_equal(outcome(&scene, 6), "ImpossibleDependency");
    assert_int_equal(yard_running(&scene.yard, 2), 7); /* it was waiting for that */
    assert_null(outcome(&scene, 4));
    assert_null(outcome(&scene, 5));
    yard_lose(&scene.yard, 2, "gone, too");
    assert_string_equal(outcome(&scene, 5), "ImpossibleDependency");
    yard_submit(&scene.yard, scene.client, 8, &body); /* no better when it comes now */
    assert_string_equal(outcome(&scene, 8), "ImpossibleDependency");
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_running(&scene.yard, 0), 4);
    yard_close(&scene.yard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_waits_for_all),
        cmocka_unit_test(a_rule_says_what_counts),
        cmocka_unit_test(unknown_tasks_and_itself_are_invalid),
        cmocka_unit_test(follow_runs_where_they_ran),
        cmocka_unit_test(follow_any_takes_what_comes_later),
        cmocka_unit_test(following_twice_costs_no_place),
        cmocka_unit_test(following_elsewhere_costs_no_place),
        cmocka_unit_test(a_chain_fails_as_a_whole),
        cmocka_unit_test(aborting_ends_waiting_and_dependents),
        cmocka_unit_test(the_last_place_goes_while_it_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
