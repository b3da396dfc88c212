/* SPDX-License-Identifier: BSD-3-Clause */
/* parent/engines.c: what is known of engines, in whichever order it is heard. */
#include "unit.h"

#include "parent/engines.h"

#define UUID "00112233445566778899aabbccddeeff"

static int set_up(void **state)
{
    static struct parent_engines engines;
    struct pc_err err;
    engines = (struct parent_engines){0};
    assert_int_equal(parent_engines_spawned(&engines, UUID, 10, &err), 0);
    assert_int_equal(parent_engines_up(&engines, UUID, 0, &err), 0);
    *state = &engines;
    return 0;
}

static int tear_down(void **state)
{
    parent_engines_fini(*state);
    return 0;
}

static void end(struct parent_engines *engines, bool is_replaced)
{
    parent_engines_exited(engines, parent_engines_find(engines, UUID), is_replaced, NULL);
}

/* The engine may be quicker to end than the order is to come that it be ended and replaced. */
static void one_that_ended_before_the_order_is_replaced_once(void **state)
{
    struct parent_engines *engines = *state;
    end(engines, false);
    assert_true(parent_engines_lack(engines, UUID));
    assert_false(parent_engines_lack(engines, UUID));
}

static void one_that_was_started_again_is_not_replaced_too(void **state)
{
    struct parent_engines *engines = *state;
    end(engines, true);
    assert_false(parent_engines_lack(engines, UUID));
}

static void one_that_is_there_is_not_lacking(void **state)
{
    assert_false(parent_engines_lack(*state, UUID));
}

static void one_that_both_have_seen_go_is_forgotten(void **state)
{
    struct parent_engines *engines = *state;
    end(engines, false);
    parent_engines_down(engines, 0);
    assert_null(parent_engines_find(engines, UUID));
    assert_false(parent_engines_lack(engines, UUID));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_ended_before_the_order_is_replaced_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_was_started_again_is_not_replaced_too, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_there_is_not_lacking, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_both_have_seen_go_is_forgotten, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
