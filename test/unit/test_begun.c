/* SPDX-License-Identifier: BSD-3-Clause */
/* The file that says how often durable tasks have begun. */
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/log.h"
#include "sched/begun.h"

static struct begun open_begun(void)
{
    struct begun begun = {.fd = memfd_create("begun", MFD_CLOEXEC)};
    assert_true(begun.fd >= 0);
    return begun;
}

static void reserve(struct begun *begun, uint64_t sequence)
{
    struct pc_err err;
    if (begun_reserve(begun, 7, sequence, &err))
        fail_msg("%s", err.text);
}

static void expect_slot(const struct begun *begun, unsigned slot, uint64_t sequence, uint64_t count)
{
    uint8_t data[BEGUN_SLOT_SIZE];
    assert_int_equal(pread(begun->fd, data, sizeof(data), slot * BEGUN_SLOT_SIZE), sizeof(data));
    assert_int_equal(pc_load_u64(data), 7);
    assert_int_equal(pc_load_u64(data + 8), sequence);
    assert_int_equal(pc_load_u64(data + 16), count);
}

static off_t size_of(const struct begun *begun)
{
    return lseek(begun->fd, 0, SEEK_END);
}

static void each_task_has_a_slot(void **state)
{
    struct begun begun = open_begun();
    reserve(&begun, 1);
    reserve(&begun, 2);
    begun_mark(&begun, 7, 2, 1);
    begun_mark(&begun, 7, 2, 2);
    begun_mark(&begun, 7, 3, 1); /* it has none */
    expect_slot(&begun, 0, 1, 0);
    expect_slot(&begun, 1, 2, 2);
    assert_int_equal(size_of(&begun), 2 * BEGUN_SLOT_SIZE);
    begun_fini(&begun);
}

static void slots_are_used_again(void **state)
{
    struct begun begun = open_begun();
    for (uint64_t i = 1; i <= 1000; i++) {
        reserve(&begun, i);
        begun_mark(&begun, 7, i, 5);
        if (i > 2)
            begun_release(&begun, 7, i);
    }
    begun_release(&begun, 7, 1000); /* once more does no harm */
    reserve(&begun, 2000);
    reserve(&begun, 2001);
    expect_slot(&begun, 1, 2, 5);
    expect_slot(&begun, 2, 2000, 0);
    expect_slot(&begun, 3, 2001, 0);
    assert_int_equal(size_of(&begun), 4 * BEGUN_SLOT_SIZE);
    begun_fini(&begun);
}

/* What another scheduler has noted before this one is not touched. */
static void the_notes_of_another_one_stay(void **state)
{
    struct begun before = open_begun(), begun = {.fd = dup(before.fd)};
    reserve(&before, 1);
    begun_mark(&before, 7, 1, 3);
    begun_fini(&before);
    reserve(&begun, 2);
    expect_slot(&begun, 0, 1, 3);
    expect_slot(&begun, 1, 2, 0);
    begun_fini(&begun);
}

static void what_can_not_be_written_is_not_accepted(void **state)
{
    struct begun none = {.fd = -1}, full = {.fd = open("/dev/full", O_RDWR | O_CLOEXEC)};
    struct pc_err err;
    assert_int_equal(begun_reserve(&none, 7, 1, &err), -1);
    assert_int_equal(begun_reserve(&full, 7, 1, &err), -1);
    assert_non_null(strstr(err.text, "No space left"));
    begun_release(&full, 7, 1);
    begun_fini(&none);
    begun_fini(&full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_task_has_a_slot),
        cmocka_unit_test(slots_are_used_again),
        cmocka_unit_test(the_notes_of_another_one_stay),
        cmocka_unit_test(what_can_not_be_written_is_not_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
