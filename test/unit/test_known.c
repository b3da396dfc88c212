/* SPDX-License-Identifier: BSD-3-Clause */
/* Both ends of a connection do the same to their tables, and so always agree. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "lib/key.h"
#include "lib/known.h"
#include "lib/proto_task.h"

static int dropped;

static void count_drop(void *data)
{
    dropped += *(int *)data;
}

static const uint8_t *name_of(unsigned number)
{
    static uint8_t name[PC_FUNCTION_NAME_SIZE];
    pc_hash(&number, sizeof(number), name);
    return name;
}

static void oldest_use_goes_first(void **state)
{
    struct pc_known known = {.drop = count_drop};
    static int one = 1;
    dropped = 0;
    assert_null(pc_known_use(&known, name_of(0)));
    for (unsigned i = 0; i < PC_KNOWN_COUNT_MAX; i++)
        assert_non_null(pc_known_add(&known, name_of(i), 10, &one));
    assert_int_equal(known.bytes, 10 * PC_KNOWN_COUNT_MAX);
    assert_non_null(pc_known_use(&known, name_of(0)));
    assert_non_null(pc_known_find(&known, name_of(1))); /* only a look */
    assert_non_null(pc_known_add(&known, name_of(1000), 10, &one));
    assert_int_equal(dropped, 1);
    assert_null(pc_known_find(&known, name_of(1)));
    assert_non_null(pc_known_find(&known, name_of(0)));
    assert_int_equal(known.count, PC_KNOWN_COUNT_MAX);
    pc_known_fini(&known);
    assert_int_equal(dropped, 1 + PC_KNOWN_COUNT_MAX);
    assert_int_equal(known.count, 0);
    pc_known_fini(&known);
}

static void bytes_are_bounded(void **state)
{
    struct pc_known known = {0};
    for (unsigned i = 0; i < 5; i++) {
        assert_non_null(pc_known_add(&known, name_of(i), PC_FUNCTION_MAX, NULL));
        assert_true(known.bytes <= PC_KNOWN_BYTES_MAX);
    }
    assert_int_equal(known.count, PC_KNOWN_BYTES_MAX / PC_FUNCTION_MAX);
    assert_non_null(pc_known_find(&known, name_of(4)));
    assert_null(pc_known_find(&known, name_of(0)));
    pc_known_fini(&known);
}

/* A sender and a receiver, over a long random history: every name that is sent alone is known. */
static void both_ends_agree(void **state)
{
    struct pc_known sender = {0}, receiver = {0};
    srand(7);
    for (int i = 0; i < 20000; i++) {
        unsigned number = (unsigned)(rand() % (i % 1000 < 500 ? 60 : 400));
        uint64_t size = 1 + number * number * 40;
        if (pc_known_use(&sender, name_of(number))) {
            struct pc_known_function *found = pc_known_use(&receiver, name_of(number));
            assert_non_null(found);
            assert_int_equal(found->size, size);
        } else {
            assert_null(pc_known_find(&receiver, name_of(number)));
            pc_known_add(&sender, name_of(number), size, NULL);
            pc_known_add(&receiver, name_of(number), size, NULL);
        }
        assert_int_equal(sender.bytes, receiver.bytes);
        assert_int_equal(sender.count, receiver.count);
    }
    pc_known_fini(&sender);
    pc_known_fini(&receiver);
}

/* BLAKE2b-256 of "abc", as other programs compute it. */
static void names_are_blake2b(void **state)
{
    char text[2 * PC_FUNCTION_NAME_SIZE + 1];
    struct pc_msg *msg = pc_function_msg("abc", 3);
    pc_hex_encode(msg->body, PC_FUNCTION_NAME_SIZE, text);
    assert_string_equal(text, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    pc_msg_unref(msg);
}

static void bad_functions_are_refused(void **state)
{
    struct pc_known known = {0};
    struct pc_err err;
    struct pc_msg *msg = pc_function_msg("abc", 3);
    assert_int_equal(pc_function_decode(msg, &known, &err), 0);
    msg->parts[0].data[1] ^= 1;
    assert_int_equal(pc_function_decode(msg, &known, &err), -1);
    assert_non_null(strstr(err.text, "not its own"));
    msg->parts[0].data[1] ^= 1;
    pc_known_add(&known, msg->body, 3, NULL);
    assert_int_equal(pc_function_decode(msg, &known, &err), -1);
    assert_non_null(strstr(err.text, "sent before"));
    pc_known_fini(&known);
    msg->head.body_size--;
    assert_int_equal(pc_function_decode(msg, &known, &err), -1);
    pc_msg_unref(msg);
    void *large = calloc(1, PC_FUNCTION_MAX + 1);
    msg = pc_function_msg(large, PC_FUNCTION_MAX + 1);
    assert_int_equal(pc_function_decode(msg, &known, &err), -1);
    assert_non_null(strstr(err.text, "at most"));
    pc_msg_unref(msg);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oldest_use_goes_first),     cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(both_ends_agree),           cmocka_unit_test(names_are_blake2b),
        cmocka_unit_test(bad_functions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
