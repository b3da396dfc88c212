/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <string.h>

#include "lib/buf.h"

static void integers_come_back(void **state)
{
    struct pc_buf buf;
    struct pc_reader reader;
    pc_buf_init(&buf, 0);
    pc_buf_put_u8(&buf, 0xab);
    pc_buf_put_u16(&buf, 0x1234);
    pc_buf_put_u32(&buf, 0xdeadbeef);
    pc_buf_put_u64(&buf, UINT64_C(0x0123456789abcdef));
    pc_buf_put(&buf, "xyz", 3);
    assert_false(buf.failed);
    static const uint8_t golden[] = {0xab, 0x34, 0x12, 0xef, 0xbe, 0xad, 0xde, 0xef, 0xcd,
                                     0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 'x',  'y',  'z'};
    assert_int_equal(buf.size, sizeof(golden));
    assert_memory_equal(buf.data, golden, sizeof(golden));
    pc_reader_init(&reader, buf.data, buf.size);
    assert_int_equal(pc_get_u8(&reader), 0xab);
    assert_int_equal(pc_get_u16(&reader), 0x1234);
    assert_int_equal(pc_get_u32(&reader), 0xdeadbeef);
    assert_true(pc_get_u64(&reader) == UINT64_C(0x0123456789abcdef));
    assert_memory_equal(pc_get_bytes(&reader, 3), "xyz", 3);
    assert_true(pc_reader_done(&reader));
    pc_buf_fini(&buf);
}

static void a_limit_holds_and_is_remembered(void **state)
{
    struct pc_buf buf;
    pc_buf_init(&buf, 5);
    pc_buf_put_u32(&buf, 1);
    pc_buf_put_u16(&buf, 2);
    assert_true(buf.failed);
    pc_buf_put_u8(&buf, 3);
    assert_int_equal(buf.size, 4);
    assert_null(pc_buf_reserve(&buf, 1));
    pc_buf_fini(&buf);
}

static void sizes_do_not_overflow(void **state)
{
    struct pc_buf buf;
    pc_buf_init(&buf, 0);
    pc_buf_put_u64(&buf, 1);
    assert_null(pc_buf_reserve(&buf, SIZE_MAX - 3));
    assert_true(buf.failed);
    pc_buf_fini(&buf);
}

static void reading_past_the_end_gives_zero_for_good(void **state)
{
    struct pc_reader reader;
    pc_reader_init(&reader, "\x01\x02\x03", 3);
    assert_int_equal(pc_get_u32(&reader), 0);
    assert_int_equal(pc_get_u8(&reader), 0);
    assert_null(pc_get_bytes(&reader, 0));
    assert_false(pc_reader_done(&reader));
}

static void dropping_keeps_the_rest(void **state)
{
    struct pc_buf buf;
    pc_buf_init(&buf, 0);
    pc_buf_put(&buf, "abcdef", 6);
    pc_buf_drop(&buf, 2);
    assert_int_equal(buf.size, 4);
    assert_memory_equal(buf.data, "cdef", 4);
    pc_buf_drop(&buf, 4);
    assert_int_equal(buf.size, 0);
    pc_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_come_back),
        cmocka_unit_test(a_limit_holds_and_is_remembered),
        cmocka_unit_test(sizes_do_not_overflow),
        cmocka_unit_test(reading_past_the_end_gives_zero_for_good),
        cmocka_unit_test(dropping_keeps_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
