/* SPDX-License-Identifier: BSD-3-Clause */
/* What was added is found under its number, and memory goes with what is removed. */
#include "unit.h"

#include "lib/index.h"

static int things[4 * PC_INDEX_PAGE];

static void *thing(size_t i)
{
    return &things[i % (sizeof(things) / sizeof(things[0]))];
}

static void neighbours_share_pages(void **state)
{
    struct pc_index index = {0};
    assert_null(pc_index_find(&index, 1, 1));
    for (uint64_t i = 1; i < 10 * PC_INDEX_PAGE; i++)
        assert_int_equal(pc_index_add(&index, 7, i, thing(i)), 0);
    assert_int_equal(index.page_count, 10);
    assert_int_equal(index.count, 10 * PC_INDEX_PAGE - 1);
    for (uint64_t i = 1; i < 10 * PC_INDEX_PAGE; i++)
        assert_ptr_equal(pc_index_find(&index, 7, i), thing(i));
    assert_null(pc_index_find(&index, 7, 0));
    assert_null(pc_index_find(&index, 7, 10 * PC_INDEX_PAGE));
    assert_null(pc_index_find(&index, 8, 1));
    for (uint64_t i = 1; i < 10 * PC_INDEX_PAGE; i++)
        if (i != 100)
            pc_index_remove(&index, 7, i);
    assert_int_equal(index.page_count, 1);
    assert_ptr_equal(pc_index_find(&index, 7, 100), thing(100));
    pc_index_remove(&index, 7, 100);
    assert_int_equal(index.page_count, 0);
    assert_null(pc_index_find(&index, 7, 100));
    pc_index_fini(&index);
}

static void sessions_are_apart(void **state)
{
    struct pc_index index = {0};
    for (uint64_t session = 0; session < 1000; session++)
        assert_int_equal(pc_index_add(&index, session, 64 * session, thing(session)), 0);
    for (uint64_t session = 0; session < 1000; session++) {
        assert_ptr_equal(pc_index_find(&index, session, 64 * session), thing(session));
        assert_null(pc_index_find(&index, session + 1, 64 * session));
    }
    pc_index_fini(&index);
    assert_int_equal(index.count, 0);
}

/* Numbers that no program gives, but a peer may. */
static void scattered_numbers_are_found(void **state)
{
    struct pc_index index = {0};
    uint64_t number = 1;
    for (size_t i = 0; i < 5000; i++, number = number * UINT64_C(6364136223846793005) + 1)
        assert_int_equal(pc_index_add(&index, number >> 60, number, thing(i)), 0);
    assert_int_equal(pc_index_add(&index, 0, UINT64_MAX, thing(1)), 0);
    assert_ptr_equal(pc_index_find(&index, 0, UINT64_MAX), thing(1));
    number = 1;
    for (size_t i = 0; i < 5000; i++, number = number * UINT64_C(6364136223846793005) + 1) {
        assert_ptr_equal(pc_index_find(&index, number >> 60, number), thing(i));
        if (i % 2)
            pc_index_remove(&index, number >> 60, number);
    }
    assert_int_equal(index.count, 2501);
    pc_index_fini(&index);
}

static void count_one(void *item, void *with)
{
    (*(int *)item)++;
    (*(size_t *)with)++;
}

static void each_is_visited_once(void **state)
{
    struct pc_index index = {0};
    size_t visits = 0;
    for (uint64_t i = 0; i < 3 * PC_INDEX_PAGE; i++)
        assert_int_equal(pc_index_add(&index, i % 3, 5 * i, thing(i)), 0);
    pc_index_each(&index, count_one, &visits);
    assert_int_equal(visits, 3 * PC_INDEX_PAGE);
    for (size_t i = 0; i < 3 * PC_INDEX_PAGE; i++)
        assert_int_equal(things[i], 1);
    pc_index_fini(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_share_pages),
        cmocka_unit_test(sessions_are_apart),
        cmocka_unit_test(scattered_numbers_are_found),
        cmocka_unit_test(each_is_visited_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
