/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/json.c: what is refused, type checks, building when memory runs out. */
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "lib/proto.h"

/* From memory of exactly this size, so that a sanitizer sees the slightest read beyond it. */
static pc_json *parse_exact(const char *text, size_t size, struct pc_err *err)
{
    char *copy = malloc(size ? size : 1);
    memcpy(copy, text, size);
    pc_json *json = pc_json_parse(copy, size, err);
    free(copy);
    return json;
}

static pc_json *parse(const char *text)
{
    struct pc_err err = {0};
    pc_json *json = parse_exact(text, strlen(text), &err);
    if (!json)
        fail_msg("'%s': %s", text, err.text);
    return json;
}

static void test_values(void **state)
{
    pc_json *json = parse(" {\"s\":\"a\\u00e9\\\\\\\"\\n\", \"n\":-7,\"t\":true,\"f\":false,"
                          "\"z\":null,\"a\":[1,\"two\",{}],\"o\":{\"x\":1.5},"
                          "\"u\":\"00ffAB0123456789\"}\r\n\t ");
    struct pc_err err = {0};
    const char *text;
    int64_t i64;
    uint32_t u32;
    uint64_t u64;
    bool truth;
    assert_true(pc_json_is_object(json));
    assert_false(pc_json_is_array(json));
    assert_true(pc_json_is_null(pc_json_member(json, "z")));
    assert_false(pc_json_is_null(NULL));
    assert_int_equal(pc_json_get_str(json, "s", &text, &err), 0);
    assert_string_equal(text, "a\xc3\xa9\\\"\n");
    assert_int_equal(pc_json_get_i64(json, "n", &i64, &err), 0);
    assert_int_equal(i64, -7);
    assert_int_equal(pc_json_get_bool(json, "t", &truth, &err), 0);
    assert_true(truth);
    assert_int_equal(pc_json_get_bool(json, "f", &truth, &err), 0);
    assert_false(truth);
    assert_int_equal(pc_json_get_u64(json, "u", &u64, &err), 0);
    assert_true(u64 == UINT64_C(0x00ffab0123456789));
    assert_int_equal(err.code, PC_OK);

    /* Missing, or of another type: `out` is left alone and the field is named. */
    u32 = 5;
    assert_int_equal(pc_json_get_u32(json, "n", &u32, &err), -1);
    assert_int_equal(u32, 5);
    assert_int_equal(err.code, PC_E_PROTOCOL);
    assert_string_equal(err.text, "field 'n' is not a whole number from 0 to 4294967295");
    assert_int_equal(pc_json_get_u32(json, "nn", &u32, &err), -1);
    assert_string_equal(err.text, "field 'nn' is missing");
    assert_int_equal(pc_json_get_str(json, "z", &text, &err), -1);
    assert_string_equal(err.text, "field 'z' is not a string");
    assert_int_equal(pc_json_get_str(json, "S", &text, &err), -1); /* case matters */
    assert_int_equal(pc_json_get_bool(json, "n", &truth, &err), -1);
    assert_string_equal(err.text, "field 'n' is not true or false");
    assert_int_equal(pc_json_get_i64(json, "s", &i64, NULL), -1);
    assert_int_equal(pc_json_get_u64(json, "s", &u64, &err), -1);
    assert_string_equal(err.text, "field 's' is not a string of 16 hexadecimal digits");
    assert_int_equal(pc_json_get_u64(json, "n", &u64, &err), -1);

    assert_string_equal(pc_json_str_or(json, "n", "other"), "other");
    assert_null(pc_json_str_or(json, "none", NULL));
    assert_int_equal(pc_json_i64_or(json, "n", 1), -7);
    assert_int_equal(pc_json_i64_or(json, "s", 1), 1);
    assert_true(pc_json_bool_or(json, "t", false));
    assert_true(pc_json_bool_or(json, "a", true));
    pc_json_free(json);
}

static void test_walking(void **state)
{
    pc_json *json = parse("{\"a\":[1,\"two\",{}],\"o\":{\"x\":1.5}}");
    const pc_json *array = pc_json_member(json, "a");
    assert_true(pc_json_is_array(array));
    assert_int_equal(pc_json_count(array), 3);
    assert_true(pc_json_number(pc_json_item(array, 0)) == 1);
    assert_string_equal(pc_json_text(pc_json_item(array, 1)), "two");
    assert_null(pc_json_item(array, 3));
    assert_null(pc_json_item(array, SIZE_MAX));
    const pc_json *item = pc_json_first(array);
    assert_null(pc_json_text(item));
    item = pc_json_next(item);
    assert_string_equal(pc_json_text(item), "two");
    item = pc_json_next(item);
    assert_true(pc_json_is_object(item));
    assert_null(pc_json_first(item));
    assert_null(pc_json_next(item));
    const pc_json *member = pc_json_first(pc_json_member(json, "o"));
    assert_string_equal(pc_json_name(member), "x");
    assert_true(pc_json_number(member) == 1.5);
    assert_true(pc_json_number(pc_json_item(array, 1)) == 0);
    pc_json_free(json);

    /* An array has no members, and nothing at all has nothing. */
    json = parse("[1]");
    assert_null(pc_json_member(json, "a"));
    pc_json_free(json);
    assert_null(pc_json_member(NULL, "a"));
    assert_null(pc_json_first(NULL));
    assert_null(pc_json_next(NULL));
    assert_null(pc_json_name(NULL));
    assert_null(pc_json_text(NULL));
    assert_null(pc_json_item(NULL, 0));
    assert_int_equal(pc_json_count(NULL), 0);
    assert_false(pc_json_is_object(NULL));
    pc_json_free(NULL);
}

static void test_ranges(void **state)
{
    static const struct {
        const char *text;
        bool is_u32, is_i64;
        int64_t value;
    } cases[] = {
        {"0", true, true, 0},
        {"-0", true, true, 0},
        {"4294967295", true, true, 4294967295},
        {"4294967296", false, true, 4294967296},
        {"-1", false, true, -1},
        {"1e3", true, true, 1000},
        {"1.5", false, false, 0},
        {"0.0001", false, false, 0},
        {"9007199254740992", false, true, 9007199254740992},
        {"-9007199254740992", false, true, -9007199254740992},
        {"9007199254740994", false, false, 0},
        {"18446744073709551616", false, false, 0},
        {"1e300", false, false, 0},
        {"1e999", false, false, 0},
        {"-1e999", false, false, 0},
        {"true", false, false, 0},
        {"\"1\"", false, false, 0},
        {"[1]", false, false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[80];
        uint32_t u32 = 77;
        int64_t i64 = 77;
        snprintf(text, sizeof(text), "{\"n\":%s}", cases[i].text);
        pc_json *json = parse(text);
        assert_int_equal(pc_json_get_u32(json, "n", &u32, NULL), cases[i].is_u32 ? 0 : -1);
        assert_int_equal(u32, cases[i].is_u32 ? cases[i].value : 77);
        assert_int_equal(pc_json_get_i64(json, "n", &i64, NULL), cases[i].is_i64 ? 0 : -1);
        assert_int_equal(i64, cases[i].is_i64 ? cases[i].value : 77);
        assert_true(isfinite(pc_json_number(pc_json_member(json, "n"))));
        pc_json_free(json);
    }
}

static void test_u64_is_16_digits(void **state)
{
    static const char *const bad[] = {"",
                                      "0",
                                      "ffffffffffffff",
                                      "00000000000000000",
                                      "0x00000000000000",
                                      "-000000000000001",
                                      " 000000000000001",
                                      "000000000000001g"};
    uint64_t u64 = 3;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        pc_json *json = pc_json_object();
        pc_json_put_str(json, "u", bad[i]);
        assert_int_equal(pc_json_get_u64(json, "u", &u64, NULL), -1);
        assert_true(u64 == 3);
        pc_json_free(json);
    }
    static const uint64_t values[] = {0, 1, UINT64_MAX, UINT64_C(0x8000000000000000)};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        pc_json *json = pc_json_object();
        pc_json_put_u64(json, "u", values[i]);
        assert_int_equal(pc_json_get_u64(json, "u", &u64, NULL), 0);
        assert_true(u64 == values[i]);
        pc_json_free(json);
    }
}

static void assert_refused(const char *text, size_t size, const char *why)
{
    struct pc_err err = {0};
    pc_json *json = parse_exact(text, size, &err);
    if (json)
        fail_msg("taken: %.*s", (int)size, text);
    assert_int_equal(err.code, PC_E_PROTOCOL);
    if (!strstr(err.text, why))
        fail_msg("'%s' does not say '%s'", err.text, why);
    assert_null(parse_exact(text, size, NULL));
}

#define REFUSED(text, why) assert_refused(text, sizeof(text) - 1, why)

static void test_bad_text_is_refused(void **state)
{
    REFUSED("", "wrong at byte 0");
    REFUSED(" ", "wrong at byte");
    REFUSED("{", "wrong at byte");
    REFUSED("{\"1\":1,", "wrong at byte");
    REFUSED("{\"a\":1}x", "wrong at byte");
    REFUSED("{}{}", "wrong at byte");
    REFUSED("[1,]", "wrong at byte");
    REFUSED("\"abc", "wrong at byte");
    REFUSED("\"abc\\", "wrong at byte");
    REFUSED("\"abc\\\"", "wrong at byte");
    REFUSED("\"\\u12\"", "wrong at byte");
    REFUSED("\"\\ud800\"", "wrong at byte");
    REFUSED("\"\\udc00\\ud800\"", "wrong at byte");
    REFUSED("nul", "wrong at byte");
    REFUSED("]", "wrong at byte");
    /* cJSON alone would take these. */
    REFUSED("{}\0", "control character");
    REFUSED("\"a\0b\"", "control character");
    REFUSED("\"a\nb\"", "control character");
    REFUSED("\x01{}", "control character");
    REFUSED("{\"a\x1f\":1}", "control character");
    REFUSED("\"a\\u0000b\"", "U+0000");
    REFUSED("{\"role\\u0000x\":1}", "U+0000");
    REFUSED("\"\\\\\\u0000\"", "U+0000");
    REFUSED("\"\xff\"", "not UTF-8");
    REFUSED("\"\x80\"", "not UTF-8");
    REFUSED("\"\xc0\xaf\"", "not UTF-8");
    REFUSED("\"\xe0\x80\xaf\"", "not UTF-8");
    REFUSED("\"\xed\xa0\x80\"", "not UTF-8");
    REFUSED("\"\xf0\x8f\xbf\xbf\"", "not UTF-8");
    REFUSED("\"\xf4\x90\x80\x80\"", "not UTF-8");
    REFUSED("\"\xe2\x82", "not UTF-8");
    REFUSED("\xc3", "not UTF-8");
}

static void test_odd_but_good_text_is_taken(void **state)
{
    static const char *const good[] = {
        "0",           "\"\"",
        "null",        "[]",
        "{}",          "\"\\\\u0000\"",
        "\"\\u0001\"", "\"[[[[\\\"{{\"",
        "\"\x7f\"",    "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\xed\x9f\xbf\""};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        pc_json_free(parse(good[i]));
}

static void nested(char *text, size_t depth)
{
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    text[2 * depth] = '\0';
}

static void test_depth_is_limited(void **state)
{
    size_t large = 1000000;
    char *text = malloc(2 * large + 1);
    nested(text, PC_JSON_DEPTH);
    pc_json_free(parse(text));
    nested(text, PC_JSON_DEPTH + 1);
    assert_refused(text, strlen(text), "nested too deeply");
    nested(text, large);
    assert_refused(text, strlen(text), "nested too deeply");
    free(text);
    /* Width is not depth. */
    pc_json_free(parse("[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
                       "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]"));
}

static void test_every_truncation_is_refused(void **state)
{
    static const char text[] = "{\"a\": [1, -2.5e3, \"x\\u00e9\\n\", true, null], \"b\": {}}";
    for (size_t size = 0; size < sizeof(text) - 1; size++)
        assert_null(parse_exact(text, size, NULL));
    pc_json_free(parse(text));
}

static void test_building(void **state)
{
    pc_json *json = pc_json_object(), *array = pc_json_array();
    pc_json_put_str(json, "s", "a\"\n\xc3\xa9");
    pc_json_put_str(json, "z", NULL);
    pc_json_put_i64(json, "us", 1763903571123456);
    pc_json_put_i64(json, "most", 9007199254740992);
    pc_json_put_i64(json, "least", INT64_MIN);
    pc_json_put_double(json, "d", 0.1);
    pc_json_put_double(json, "nan", NAN);
    pc_json_put_bool(json, "t", true);
    pc_json_put_u64(json, "u", 255);
    pc_json_append_str(array, "x");
    pc_json_append(array, pc_json_object());
    pc_json_put(json, "a", array);
    pc_json *copy = pc_json_copy(json);
    char *text = pc_json_print(json), *same = pc_json_print(copy);
    assert_string_equal(text, "{\"s\":\"a\\\"\\n\xc3\xa9\",\"z\":null,\"us\":1763903571123456,"
                              "\"most\":9007199254740992,\"least\":-9223372036854775808,\"d\":0.1,"
                              "\"nan\":null,\"t\":true,"
                              "\"u\":\"00000000000000ff\",\"a\":[\"x\",{}]}");
    assert_string_equal(text, same);
    free(same);
    same = pc_json_print_pretty(json);
    pc_json_free(copy);
    copy = parse(same);
    assert_int_equal(pc_json_i64_or(copy, "us", 0), 1763903571123456);
    free(text);
    free(same);
    pc_json_free(copy);
    pc_json_free(json);
}

static void test_strings_that_are_not_utf8_are_repaired(void **state)
{
    pc_json *array = pc_json_array();
    pc_json_append_str(array, "a\xff\xc3\xa9\xe2\x82");
    char *text = pc_json_print(array);
    assert_string_equal(text, "[\"a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\"]");
    pc_json_free(parse(text));
    free(text);
    pc_json_free(array);
}

/* Out of memory somewhere in the middle shows as a NULL value handed on. */
static void test_a_failed_put_is_remembered(void **state)
{
    pc_json *outer = pc_json_object(), *inner = pc_json_object();
    pc_json_put(inner, "lost", NULL);
    pc_json_put_i64(inner, "n", 1);
    pc_json_put(outer, "inner", inner);
    assert_null(pc_json_print(outer));
    assert_null(pc_json_print_pretty(outer));
    assert_null(pc_json_msg(PC_MSG_REPLY, outer));

    outer = pc_json_array();
    pc_json_append(outer, NULL);
    assert_null(pc_json_print(outer));
    pc_json_free(outer);

    /* A container that could not be made takes its members with it. */
    pc_json_put_str(NULL, "a", "b");
    pc_json_put(NULL, "a", pc_json_array());
    pc_json_append(NULL, pc_json_object());
    pc_json_append_str(NULL, "b");
    pc_json_put(NULL, "a", NULL);
    assert_null(pc_json_print(NULL));
    assert_null(pc_json_copy(NULL));
    assert_null(pc_json_msg(PC_MSG_REPLY, NULL));
}

static void test_messages(void **state)
{
    struct pc_err err = {0};
    pc_json *json = pc_json_object();
    pc_json_put_i64(json, "pid", 42);
    struct pc_msg *msg = pc_json_msg(PC_MSG_HELLO, json);
    assert_int_equal(msg->head.type, PC_MSG_HELLO);
    assert_int_equal(msg->head.body_size, strlen("{\"pid\":42}"));
    assert_memory_equal(msg->body, "{\"pid\":42}", msg->head.body_size);
    json = pc_json_of_msg(msg, &err);
    assert_int_equal(pc_json_i64_or(json, "pid", 0), 42);
    pc_json_free(json);
    pc_msg_unref(msg);

    static const char *const bad[] = {"", "[]", "{", "1", "\"{}\""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        msg = pc_msg_with_body(PC_MSG_HELLO, bad[i], strlen(bad[i]));
        assert_null(pc_json_of_msg(msg, &err));
        assert_int_equal(err.code, PC_E_PROTOCOL);
        assert_non_null(strstr(err.text, "body of HELLO: "));
        pc_msg_unref(msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_walking),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_u64_is_16_digits),
        cmocka_unit_test(test_bad_text_is_refused),
        cmocka_unit_test(test_odd_but_good_text_is_taken),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_building),
        cmocka_unit_test(test_strings_that_are_not_utf8_are_repaired),
        cmocka_unit_test(test_a_failed_put_is_remembered),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
