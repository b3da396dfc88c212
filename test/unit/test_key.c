/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/key.c: pairs, random numbers, hexadecimal text, wiping. */
#include "unit.h"

#include <string.h>

#include "lib/key.h"

/* Bob's pair in RFC 7748, section 6.1. */
static const char bob_private[] =
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
static const char bob_public[] = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";

static const uint8_t zeros[PC_KEY_SIZE];

static void test_public_key_is_the_published_one(void **state)
{
    struct pc_keypair pair;
    uint8_t private_key[PC_KEY_SIZE];
    char text[2 * PC_KEY_SIZE + 1];
    assert_int_equal(pc_hex_decode(bob_private, private_key, PC_KEY_SIZE), 0);
    pc_keypair_from_private(&pair, private_key);
    pc_hex_encode(pair.public_key, PC_KEY_SIZE, text);
    assert_string_equal(text, bob_public);
    assert_memory_equal(pair.private_key, private_key, PC_KEY_SIZE);
}

static void test_public_key_in_place(void **state)
{
    struct pc_keypair pair;
    uint8_t public_key[PC_KEY_SIZE];
    pc_hex_decode(bob_private, pair.private_key, PC_KEY_SIZE);
    pc_hex_decode(bob_public, public_key, PC_KEY_SIZE);
    pc_keypair_from_private(&pair, pair.private_key);
    assert_memory_equal(pair.public_key, public_key, PC_KEY_SIZE);
}

static void test_generated_pairs_differ_and_fit(void **state)
{
    struct pc_keypair a, b, again;
    pc_keypair_generate(&a);
    pc_keypair_generate(&b);
    assert_memory_not_equal(a.private_key, b.private_key, PC_KEY_SIZE);
    assert_memory_not_equal(a.private_key, zeros, PC_KEY_SIZE);
    pc_keypair_from_private(&again, a.private_key);
    assert_memory_equal(again.public_key, a.public_key, PC_KEY_SIZE);
}

static void test_random_fills_everything(void **state)
{
    uint8_t bytes[256], seen[256] = {0};
    /* Each byte must become something else than zero in one of many draws. */
    for (int round = 0; round < 64; round++) {
        memset(bytes, 0, sizeof(bytes));
        pc_random(bytes, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes); i++)
            seen[i] |= bytes[i];
    }
    for (size_t i = 0; i < sizeof(seen); i++)
        assert_int_not_equal(seen[i], 0);
    pc_random(NULL, 0);
}

static void test_wipe(void **state)
{
    uint8_t bytes[5] = {1, 2, 3, 4, 5};
    pc_wipe(bytes + 1, 3);
    assert_memory_equal(bytes, ((uint8_t[]){1, 0, 0, 0, 5}), 5);
    pc_wipe(NULL, 0);
}

static void test_equal(void **state)
{
    assert_true(pc_equal("abc", "abd", 2));
    assert_false(pc_equal("abc", "abd", 3));
    assert_false(pc_equal("bbc", "abc", 3));
    assert_true(pc_equal(NULL, NULL, 0));
}

static void test_hex_encode(void **state)
{
    char text[9] = "xxxxxxxx";
    pc_hex_encode("\x00\xff\x0a\xb5", 4, text);
    assert_string_equal(text, "00ff0ab5");
    pc_hex_encode("", 0, text);
    assert_string_equal(text, "");
}

static void test_hex_decode(void **state)
{
    uint8_t bytes[4] = {0};
    assert_int_equal(pc_hex_decode("00fF0Ab5", bytes, 4), 0);
    assert_memory_equal(bytes, "\x00\xff\x0a\xb5", 4);
    assert_int_equal(pc_hex_decode("", bytes, 0), 0);
}

static void test_hex_decode_refuses_and_writes_nothing(void **state)
{
    static const char *const bad[] = {
        "",         "00ff0a",   "00ff0ab",  "00ff0ab50", "00ff0ab500", "00ff0ab ",  " 00ff0ab",
        "00ff0abg", "0x00ff0a", "00 ff0ab", "00ff:ab5",  "+0ff0ab5",   "00ff0ab5\n"};
    uint8_t bytes[4];
    memset(bytes, 0x77, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(pc_hex_decode(bad[i], bytes, 4), -1);
        assert_memory_equal(bytes, "\x77\x77\x77\x77", 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_key_is_the_published_one),
        cmocka_unit_test(test_public_key_in_place),
        cmocka_unit_test(test_generated_pairs_differ_and_fit),
        cmocka_unit_test(test_random_fills_everything),
        cmocka_unit_test(test_wipe),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_hex_encode),
        cmocka_unit_test(test_hex_decode),
        cmocka_unit_test(test_hex_decode_refuses_and_writes_nothing),
    };
    if (pc_noise_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
