/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "lib/capture.h"

static void short_output_comes_back_whole(void **state)
{
    struct pc_capture capture;
    size_t size;
    pc_capture_init(&capture);
    assert_null(pc_capture_text(&capture, &size));
    pc_capture_add(&capture, "one\n", 4);
    pc_capture_add(&capture, "two\n", 4);
    char *text = pc_capture_text(&capture, &size);
    assert_int_equal(size, 8);
    assert_string_equal(text, "one\ntwo\n");
    free(text);
    pc_capture_fini(&capture);
}

/* Byte `i` of the stream, so that any place of it can be checked. */
static char byte_at(size_t i)
{
    return (char)('a' + i * 7 % 23);
}

static void add_stream(struct pc_capture *capture, size_t total, size_t piece)
{
    char *bytes = malloc(piece);
    for (size_t done = 0; done < total;) {
        size_t n = total - done < piece ? total - done : piece;
        for (size_t i = 0; i < n; i++)
            bytes[i] = byte_at(done + i);
        pc_capture_add(capture, bytes, n);
        done += n;
    }
    free(bytes);
}

static void check_ends(size_t total, size_t piece)
{
    struct pc_capture capture;
    size_t size;
    pc_capture_init(&capture);
    add_stream(&capture, total, piece);
    char *text = pc_capture_text(&capture, &size);
    for (size_t i = 0; i < PC_CAPTURE_HALF && i < total; i++)
        assert_int_equal(text[i], byte_at(i));
    size_t tail = total > 2 * PC_CAPTURE_HALF ? PC_CAPTURE_HALF : 0;
    for (size_t i = 1; i <= tail; i++)
        assert_int_equal(text[size - i], byte_at(total - i));
    if (tail) {
        char mark[80];
        snprintf(mark, sizeof(mark), "\n[... %zu bytes of output left out ...]\n",
                 total - 2 * PC_CAPTURE_HALF);
        assert_memory_equal(text + PC_CAPTURE_HALF, mark, strlen(mark));
    } else {
        assert_int_equal(size, total);
    }
    free(text);
    pc_capture_fini(&capture);
}

static void long_output_keeps_its_ends(void **state)
{
    check_ends(PC_CAPTURE_HALF, 1000);
    check_ends(2 * PC_CAPTURE_HALF, 65536);
    check_ends(2 * PC_CAPTURE_HALF + 1, 777);
    check_ends(5 * PC_CAPTURE_HALF + 12345, 4099);
    check_ends(7 * PC_CAPTURE_HALF + 3, 3 * PC_CAPTURE_HALF + 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_output_comes_back_whole),
        cmocka_unit_test(long_output_keeps_its_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
