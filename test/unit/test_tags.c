/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of tags: one text for one set, whatever the order in which it grew. */
#include "unit.h"

#include <string.h>

#include "lib/tags.h"

static void a_set_has_one_form(void **state)
{
    static const char *const orders[][3] = {
        {"gpu", "big", "a-b"},         {"a-b", "gpu", "big"},         {"big", "a-b", "gpu"},
        {"gpu,big", "a-b,gpu", "big"}, {"a-b,big,gpu", "gpu", "gpu"},
    };
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        char tags[PC_TAGS_MAX + 1] = "";
        for (int j = 0; j < 3; j++)
            assert_int_equal(pc_tags_add(tags, orders[i][j], NULL), 0);
        assert_string_equal(tags, "a-b,big,gpu");
    }
    char tags[PC_TAGS_MAX + 1] = "";
    assert_int_equal(pc_tags_add(tags, "a-b,ab,a", NULL), 0);
    assert_string_equal(tags, "a,a-b,ab");
}

static void what_is_no_tag_is_refused(void **state)
{
    static const char *const bad[] = {"", ",", "a,", ",a", "a,,b", "a b", "a\n", "\xc3\xa4", "a/b"};
    char tags[PC_TAGS_MAX + 1] = "gpu";
    struct pc_err err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(pc_tags_add(tags, bad[i], &err), -1);
        assert_int_equal(err.code, PC_E_INVALID);
        assert_string_equal(tags, "gpu");
    }
    assert_non_null(strstr(err.text, "'a/b' is not a tag"));
}

static void there_is_a_limit(void **state)
{
    char tags[PC_TAGS_MAX + 1] = "", name[PC_TAGS_MAX + 2];
    memset(name, 'x', sizeof(name));
    name[PC_TAGS_MAX + 1] = '\0';
    assert_int_equal(pc_tags_add(tags, name, NULL), -1);
    name[PC_TAGS_MAX] = '\0';
    assert_int_equal(pc_tags_add(tags, name, NULL), 0);
    assert_int_equal(pc_tags_add(tags, "a", NULL), -1);
    assert_string_equal(tags, name);
    name[PC_TAGS_MAX - 2] = '\0'; /* exactly room for two */
    tags[0] = '\0';
    assert_int_equal(pc_tags_add(tags, name, NULL), 0);
    assert_int_equal(pc_tags_add(tags, "a", NULL), 0);
    assert_int_equal(strlen(tags), PC_TAGS_MAX);
    assert_true(pc_tags_are_valid(tags, strlen(tags)));
}

static void only_the_one_form_is_valid(void **state)
{
    static const char *const bad[] = {"b,a", "a,a", "a,", ",", "a b"};
    assert_true(pc_tags_are_valid("", 0));
    assert_true(pc_tags_are_valid("a,b", 3));
    assert_true(pc_tags_are_valid("a,bXYZ", 3));
    assert_false(pc_tags_are_valid("a\0b", 3));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(pc_tags_are_valid(bad[i], strlen(bad[i])));
}

static void all_that_are_wanted(void **state)
{
    assert_true(pc_tags_include("", ""));
    assert_true(pc_tags_include("gpu", ""));
    assert_false(pc_tags_include("", "gpu"));
    assert_true(pc_tags_include("big,gpu,x", "gpu"));
    assert_true(pc_tags_include("big,gpu,x", "big,x"));
    assert_true(pc_tags_include("big,gpu,x", "big,gpu,x"));
    assert_false(pc_tags_include("big,gpu,x", "big,y"));
    assert_false(pc_tags_include("big,gpu2", "gpu"));
    assert_false(pc_tags_include("gp", "gpu"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_has_one_form),  cmocka_unit_test(what_is_no_tag_is_refused),
        cmocka_unit_test(there_is_a_limit),    cmocka_unit_test(only_the_one_form_is_valid),
        cmocka_unit_test(all_that_are_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
