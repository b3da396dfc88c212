/* SPDX-License-Identifier: BSD-3-Clause */
/* What the scheduler lets its limits be. */
#include "unit.h"

#include "yard.h"

static int take(struct yard *yard, const char *text, struct pc_err *err)
{
    pc_json *json = pc_json_parse(text, strlen(text), NULL);
    assert_non_null(json);
    int failed = settings_take(&yard->sched, json, err);
    pc_json_free(json);
    return failed;
}

static void what_is_given_is_changed(void **state)
{
    struct yard yard;
    struct pc_err err;
    yard_open(&yard, "leastload", 1);
    assert_int_equal(take(&yard, "{\"scheme\":\"lru\",\"hwm\":0}", &err), 0);
    assert_string_equal(yard.sched.policy->name, "lru");
    assert_int_equal(yard.sched.hwm, 0);
    assert_int_equal(take(&yard, "{\"hwm\":1000000,\"max_tasks\":1,\"max_bytes\":4096}", &err), 0);
    assert_string_equal(yard.sched.policy->name, "lru");
    assert_int_equal(yard.sched.hwm, 1000000);
    assert_int_equal(yard.sched.window_count, 1);
    assert_int_equal(yard.sched.window_bytes, 4096);
    yard_close(&yard);
}

/* And nothing of it is done. */
static void what_makes_no_sense_is_refused(void **state)
{
    static const struct {
        const char *settings, *text;
    } bad[] = {
        {"{\"hwm\":2,\"scheme\":\"best\"}", "there is no scheme 'best'"},
        {"{\"scheme\":\"lru\",\"hwm\":-1}", "hwm -1 is out of range: 0 to 1000000 are possible"},
        {"{\"scheme\":\"lru\",\"hwm\":1000001}", "hwm 1000001 is out of range"},
        {"{\"hwm\":2,\"max_tasks\":0}", "max_tasks 0 is out of range"},
        {"{\"hwm\":2,\"max_bytes\":4095}", "max_bytes 4095 is out of range"},
    };
    struct yard yard;
    yard_open(&yard, "leastload", 1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pc_err err;
        assert_int_equal(take(&yard, bad[i].settings, &err), -1);
        assert_int_equal(err.code, PC_E_INVALID);
        if (!strstr(err.text, bad[i].text))
            fail_msg("no '%s' in '%s'", bad[i].text, err.text);
    }
    assert_string_equal(yard.sched.policy->name, "leastload");
    assert_int_equal(yard.sched.hwm, 1);
    assert_int_equal(yard.sched.window_count, SCHED_WINDOW_COUNT);
    assert_int_equal(yard.sched.window_bytes, SCHED_WINDOW_BYTES);
    yard_close(&yard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_is_changed),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
