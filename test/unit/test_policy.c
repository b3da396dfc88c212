/* SPDX-License-Identifier: BSD-3-Clause */
/* Every policy: whom it picks, from a pool whose loads the test sets. */
#include "unit.h"

#include <string.h>

#include "sched/policy.h"

#define COUNT 64

/* Engines as a policy sees them; which one was picked is told by its place. */
struct bench {
    struct pool pool;
    struct load loads[COUNT];
    struct place places[COUNT];
    uint64_t clock;
};

static void set_up(struct bench *bench, const char *name, size_t count)
{
    memset(bench, 0, sizeof(*bench));
    pool_init(&bench->pool, policy_find(name), 42);
    for (size_t i = 0; i < count; i++) {
        bench->places[i].load = &bench->loads[i];
        bench->places[i].engine = (struct engine *)&bench->places[i];
        pool_engine_up(&bench->pool, &bench->places[i]);
    }
}

static int pick(struct bench *bench)
{
    struct engine *engine = pool_pick(&bench->pool);
    return engine ? (int)((struct place *)engine - bench->places) : -1;
}

static void give(struct bench *bench, int i)
{
    bench->loads[i].tasks++;
    bench->loads[i].used = ++bench->clock;
    pool_started(&bench->pool, &bench->places[i]);
}

static void end(struct bench *bench, int i)
{
    bench->loads[i].tasks--;
    pool_finished(&bench->pool, &bench->places[i]);
}

static void names_are_found(void **state)
{
    static const char *const names[] = {"leastload", "lru", "plainrandom", "twobin", "weighted"};
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(policy_find(names[i])->name, names[i]);
    assert_null(policy_find("pure"));
    assert_null(policy_find(""));
}

static void nobody_is_picked_from_nobody(void **state)
{
    static const char *const names[] = {"leastload", "lru", "plainrandom", "twobin", "weighted"};
    for (size_t i = 0; i < 5; i++) {
        struct bench bench;
        set_up(&bench, names[i], 1);
        assert_int_equal(pick(&bench), 0);
        pool_engine_down(&bench.pool, &bench.places[0]);
        assert_int_equal(pick(&bench), -1);
        pool_fini(&bench.pool);
    }
}

static void leastload_takes_the_least_loaded(void **state)
{
    struct bench bench;
    set_up(&bench, "leastload", 4);
    for (int round = 0; round < 3; round++) {
        bool was_picked[4] = {false};
        for (int i = 0; i < 4; i++) {
            int one = pick(&bench);
            assert_false(was_picked[one]);
            was_picked[one] = true;
            give(&bench, one);
        }
    }
    end(&bench, 2);
    assert_int_equal(pick(&bench), 2);
    give(&bench, 2);
    /* All have three; the order of use is 0 1 3 2, or another permutation that ends with 2. */
    uint64_t oldest = UINT64_MAX;
    int expected = -1;
    for (int i = 0; i < 4; i++)
        if (bench.loads[i].used < oldest) {
            oldest = bench.loads[i].used;
            expected = i;
        }
    assert_int_equal(pick(&bench), expected);
    pool_engine_down(&bench.pool, &bench.places[expected]);
    assert_int_not_equal(pick(&bench), expected);
    pool_fini(&bench.pool);
}

static void lru_does_not_look_at_loads(void **state)
{
    struct bench bench;
    set_up(&bench, "lru", 3);
    int first = pick(&bench);
    give(&bench, first);
    int second = pick(&bench);
    give(&bench, second);
    int third = pick(&bench);
    give(&bench, third);
    assert_true(first != second && second != third && third != first);
    end(&bench, third); /* it has nothing to do now, and was used last */
    assert_int_equal(pick(&bench), first);
    pool_fini(&bench.pool);
}

static void a_new_engine_comes_first(void **state)
{
    static const char *const names[] = {"leastload", "lru"};
    for (size_t n = 0; n < 2; n++) {
        struct bench bench;
        set_up(&bench, names[n], 3);
        for (int i = 0; i < 3; i++) {
            give(&bench, i);
            end(&bench, i);
        }
        bench.places[3] =
            (struct place){.load = &bench.loads[3], .engine = (struct engine *)&bench.places[3]};
        pool_engine_up(&bench.pool, &bench.places[3]);
        assert_int_equal(pick(&bench), 3);
        pool_fini(&bench.pool);
    }
}

static void random_ones_reach_everybody(void **state)
{
    static const char *const names[] = {"plainrandom", "twobin", "weighted"};
    for (size_t n = 0; n < 3; n++) {
        struct bench bench;
        int count[COUNT] = {0};
        set_up(&bench, names[n], COUNT);
        for (int i = 0; i < 200 * COUNT; i++) {
            int one = pick(&bench);
            count[one]++;
            give(&bench, one);
            end(&bench, one);
        }
        for (int i = 0; i < COUNT; i++)
            assert_in_range(count[i], 50, 800);
        pool_fini(&bench.pool);
    }
}

static void twobin_prefers_those_used_long_ago(void **state)
{
    struct bench bench;
    int count[2] = {0};
    set_up(&bench, "twobin", 2);
    bench.loads[1].used = ++bench.clock;
    for (int i = 0; i < 1000; i++)
        count[pick(&bench)]++;
    assert_in_range(count[0], 650, 850); /* 3 of 4 */
    pool_fini(&bench.pool);
}

static void weighted_prefers_those_with_little_to_do(void **state)
{
    struct bench bench;
    int count[3] = {0};
    set_up(&bench, "weighted", 3);
    for (int i = 0; i < 9; i++)
        give(&bench, 1);
    give(&bench, 2);
    for (int i = 0; i < 10000; i++)
        count[pick(&bench)]++;
    /* Weights 10 : 1 : 5 of 16; the less loaded of two draws. */
    assert_in_range(count[0], 8200, 9000);
    assert_in_range(count[1], 0, 120);
    assert_in_range(count[2], 900, 1700);
    pool_fini(&bench.pool);
}

/* Come and go at random: the tree of weights must stay what a fresh one would be. */
static void weighted_stays_right_when_engines_come_and_go(void **state)
{
    struct bench bench;
    bool is_in[COUNT] = {false};
    uint64_t seed = 7;
    set_up(&bench, "weighted", 0);
    for (int step = 0; step < 20000; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int i = (int)(seed >> 33) % COUNT;
        bench.places[i].load = &bench.loads[i];
        bench.places[i].engine = (struct engine *)&bench.places[i];
        if (!is_in[i]) {
            pool_engine_up(&bench.pool, &bench.places[i]);
            is_in[i] = true;
        } else if (seed >> 40 & 1) {
            pool_engine_down(&bench.pool, &bench.places[i]);
            is_in[i] = false;
        } else if (bench.loads[i].tasks && seed >> 41 & 1) {
            end(&bench, i);
        } else {
            give(&bench, i);
        }
        int one = pick(&bench);
        assert_true(one < 0 ? bench.pool.places.count == 0 : is_in[one]);
    }
    pool_fini(&bench.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(nobody_is_picked_from_nobody),
        cmocka_unit_test(leastload_takes_the_least_loaded),
        cmocka_unit_test(lru_does_not_look_at_loads),
        cmocka_unit_test(a_new_engine_comes_first),
        cmocka_unit_test(random_ones_reach_everybody),
        cmocka_unit_test(twobin_prefers_those_used_long_ago),
        cmocka_unit_test(weighted_prefers_those_with_little_to_do),
        cmocka_unit_test(weighted_stays_right_when_engines_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
