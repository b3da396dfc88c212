/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "lib/capture.h"

static void short_output_comes_back_whole(void **state)
{
    struct pc_capture capture;
    size_t size;
    pc_capture_init(&capture, PC_CAPTURE_HALF);
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
    pc_capture_init(&capture, PC_CAPTURE_HALF);
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

/* A follower that looks now and then has in the end what the whole text has. */
static void following_gives_the_same_text(void **state)
{
    struct pc_capture capture;
    uint64_t since = 0;
    size_t size, total = 0;
    char *followed = malloc(6 * PC_CAPTURE_HALF);
    pc_capture_init(&capture, PC_CAPTURE_HALF);
    assert_null(pc_capture_since(&capture, &since, &size));
    for (size_t piece = 1; piece < PC_CAPTURE_HALF; piece *= 3) {
        char *bytes = malloc(piece);
        memset(bytes, 'a' + (int)(piece % 23), piece);
        pc_capture_add(&capture, bytes, piece);
        free(bytes);
        char *text = pc_capture_since(&capture, &since, &size);
        memcpy(followed + total, text, size);
        total += size;
        free(text);
    }
    assert_int_equal(since, total);
    char *text = pc_capture_text(&capture, &size);
    assert_int_equal(size, total);
    assert_memory_equal(text, followed, total);
    free(text);
    pc_capture_fini(&capture);
    free(followed);
}

/* One that comes late is told how much it has missed, and has the end. */
static void following_behind_a_gap(void **state)
{
    struct pc_capture capture;
    size_t size, total = 5 * PC_CAPTURE_HALF + 17;
    char mark[80];
    pc_capture_init(&capture, PC_CAPTURE_HALF);
    add_stream(&capture, total, 1000);
    size_t missed = snprintf(mark, sizeof(mark), "\n[... %u bytes of output left out ...]\n",
                             2 * PC_CAPTURE_HALF + 17);
    uint64_t since = 2 * PC_CAPTURE_HALF; /* in the gap, which ends where the last MiB begins */
    char *text = pc_capture_since(&capture, &since, &size);
    assert_int_equal(size, missed + PC_CAPTURE_HALF);
    assert_memory_equal(text, mark, missed);
    for (size_t i = 1; i <= PC_CAPTURE_HALF; i++)
        assert_int_equal(text[size - i], byte_at(total - i));
    free(text);
    since = total - 5; /* in the ring */
    text = pc_capture_since(&capture, &since, &size);
    assert_int_equal(size, 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(text[i], byte_at(total - 5 + i));
    free(text);
    assert_null(pc_capture_since(&capture, &since, &size));
    since = total + 1; /* of another text */
    text = pc_capture_since(&capture, &since, &size);
    assert_int_equal(text[0], byte_at(0));
    free(text);
    pc_capture_fini(&capture);
}

/* What was kept of a text goes on as if it had never been put away. */
static void a_text_that_was_kept(void **state)
{
    for (size_t total = PC_CAPTURE_HALF; total < 4 * PC_CAPTURE_HALF; total += PC_CAPTURE_HALF) {
        struct pc_capture capture, copy;
        size_t size, size_again;
        pc_capture_init(&capture, PC_CAPTURE_KEPT_HALF);
        pc_capture_init(&copy, PC_CAPTURE_KEPT_HALF);
        add_stream(&capture, total, 1000);
        char *text = pc_capture_text(&capture, &size);
        assert_true(size <= 2 * PC_CAPTURE_HALF);
        pc_capture_load(&copy, text, size);
        free(text);
        pc_capture_add(&capture, "more", 4);
        pc_capture_add(&copy, "more", 4);
        text = pc_capture_text(&capture, &size);
        char *again = pc_capture_text(&copy, &size_again);
        assert_int_equal(size, size_again);
        assert_memory_equal(text, again, size);
        free(text);
        free(again);
        pc_capture_fini(&capture);
        pc_capture_fini(&copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_output_comes_back_whole),
        cmocka_unit_test(long_output_keeps_its_ends),
        cmocka_unit_test(following_gives_the_same_text),
        cmocka_unit_test(following_behind_a_gap),
        cmocka_unit_test(a_text_that_was_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
