/* SPDX-License-Identifier: BSD-3-Clause */
/* Short tasks are sent ahead, and none is stuck behind one that turns out long. */
#include "unit.h"

#include <string.h>

#include "yard.h"

struct scene {
    struct yard yard;
    struct client *client;
    uint64_t submitted;
};

static void submit(struct scene *scene, unsigned count, const struct pc_submit_body *body)
{
    static const struct pc_submit_body plain = {.kind = PC_KIND_EXECUTE,
                                                .flags = PC_SUBMIT_BALANCED};
    while (count--)
        yard_submit(&scene->yard, scene->client, ++scene->submitted, body ? body : &plain);
}

static void submit_direct(struct scene *scene, uint32_t id)
{
    uint8_t target[4];
    pc_store_u32(target, id);
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE, .target_count = 1, .targets = target};
    yard_submit(&scene->yard, scene->client, ++scene->submitted, &body);
}

/* So many engines, all of which have just answered quickly; nothing waits. */
static void open_scene(struct scene *scene, unsigned engines)
{
    *scene = (struct scene){0};
    yard_open(&scene->yard, "leastload", 1);
    scene->client = yard_client(&scene->yard, 1);
    scene->yard.took_us = SCHED_AHEAD_US;
    for (uint32_t i = 0; i < engines; i++)
        yard_engine(&scene->yard);
    submit(scene, engines * SCHED_AHEAD_AFTER, NULL);
    for (int n = 0; n < SCHED_AHEAD_AFTER; n++)
        for (uint32_t i = 0; i < engines; i++)
            yard_answer(&scene->yard, i, PC_STATUS_OK);
}

static struct engine *engine_at(struct scene *scene, uint32_t id)
{
    return engine_find(&scene->yard.sched, id);
}

static void expect_ok(const struct scene *scene, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++)
        assert_string_equal(yard_outcome(scene->client, i), "ok");
}

static void only_quick_engines_get_more(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    submit(&scene, 20, NULL);
    assert_int_equal(yard_load(&scene.yard, 0), SCHED_AHEAD);
    scene.yard.took_us = SCHED_AHEAD_US + 1; /* once is enough */
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_load(&scene.yard, 0), SCHED_AHEAD - 1);
    while (yard_load(&scene.yard, 0) > 1)
        yard_answer(&scene.yard, 0, PC_STATUS_OK);
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_load(&scene.yard, 0), 1);
    yard_close(&scene.yard);
}

static void shorter_ones_are_more(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    scene.yard.took_us = SCHED_AHEAD_US / 2;
    submit(&scene, 100, NULL);
    assert_int_equal(yard_load(&scene.yard, 0), SCHED_AHEAD);
    for (int i = 0; i < 20; i++)
        yard_answer(&scene.yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_load(&scene.yard, 0), 2 * SCHED_AHEAD);
    scene.yard.took_us = 0;
    submit(&scene, 100, NULL);
    for (int i = 0; i < 60; i++)
        yard_answer(&scene.yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_load(&scene.yard, 0), SCHED_AHEAD_MOST);
    scene.yard.took_us = SCHED_AHEAD_US; /* once is enough */
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    assert_int_equal(engine_at(&scene, 0)->quick_limit, SCHED_AHEAD);
    while (yard_load(&scene.yard, 0))
        yard_answer(&scene.yard, 0, PC_STATUS_OK);
    yard_close(&scene.yard);
}

static void the_idle_go_first(void **state)
{
    struct scene scene;
    open_scene(&scene, 3);
    submit(&scene, 6, NULL);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(yard_load(&scene.yard, i), 2);
    yard_close(&scene.yard);
}

/* In any order of the engines. */
static void expect_loads(struct scene *scene, unsigned a, unsigned b, unsigned c)
{
    unsigned sum = 0, squares = 0;
    for (uint32_t id = 0; id < 3; id++) {
        unsigned load = yard_load(&scene->yard, id);
        sum += load;
        squares += load * load;
    }
    assert_int_equal(sum, a + b + c);
    assert_int_equal(squares, a * a + b * b + c * c);
}

/* Each of them takes less time than to wake another engine up. */
static void the_shortest_go_in_portions(void **state)
{
    struct scene scene;
    open_scene(&scene, 3);
    scene.yard.took_us = SCHED_AHEAD_WAKE_US / 5;
    submit(&scene, 300, NULL);
    for (int left = 300; left > 0;)
        for (uint32_t id = 0; id < 3; id++)
            if (yard_load(&scene.yard, id)) {
                yard_answer(&scene.yard, id, PC_STATUS_OK);
                left--;
            }
    submit(&scene, 13, NULL);
    expect_loads(&scene, 5, 5, 3);
    submit(&scene, 2, NULL);
    expect_loads(&scene, 5, 5, 5);
    submit(&scene, 5, NULL);
    expect_loads(&scene, 10, 5, 5);
    yard_close(&scene.yard);
}

/* Long enough for that, and too short to be called back one by one. */
static void what_is_not_short_is_no_progress(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    submit(&scene, 6, NULL);
    scene.yard.took_us = SCHED_AHEAD_US + 1;
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS - 1);
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    yard_pass(&scene.yard, 1);
    assert_true(engine_at(&scene, 0)->is_recalling);
    yard_close(&scene.yard);
}

static void what_is_behind_a_long_one_is_called_back(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    uint64_t first = scene.submitted + 1;
    submit(&scene, 4, NULL);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS - 1);
    assert_false(engine_at(&scene, 0)->is_recalling);
    yard_pass(&scene.yard, 1);
    assert_true(engine_at(&scene, 0)->is_recalling);
    yard_engine(&scene.yard);
    submit(&scene, 1, NULL); /* not to the engine that has not answered */
    assert_int_equal(yard_running(&scene.yard, 1), first + 4);
    yard_recalled(&scene.yard, 0, 0);
    assert_int_equal(yard_load(&scene.yard, 0), 1);
    assert_int_equal(scene.yard.sched.ready_count, 3);
    for (uint64_t i = 0; i < 4; i++) { /* in their old order */
        yard_answer(&scene.yard, 1, PC_STATUS_OK);
        assert_int_equal(yard_running(&scene.yard, 1), i < 3 ? first + 1 + i : 0);
    }
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    expect_ok(&scene, first, scene.submitted);
    yard_close(&scene.yard);
}

static void an_engine_that_waits_gets_them_at_once(void **state)
{
    struct scene scene;
    open_scene(&scene, 2);
    submit(&scene, 4, NULL);
    yard_answer(&scene.yard, 1, PC_STATUS_OK);
    yard_answer(&scene.yard, 1, PC_STATUS_OK);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    yard_recalled(&scene.yard, 0, 0);
    assert_int_equal(yard_load(&scene.yard, 0), 1);
    assert_int_equal(yard_load(&scene.yard, 1), 1);
    yard_close(&scene.yard);
}

static void what_has_begun_stays(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    uint64_t first = scene.submitted + 1;
    submit(&scene, 4, NULL);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    yard_answer(&scene.yard, 0, PC_STATUS_OK); /* this one crossed the RECALL */
    yard_recalled(&scene.yard, 0, 2);
    assert_int_equal(yard_load(&scene.yard, 0), 2);
    assert_int_equal(yard_running(&scene.yard, 0), first + 1);
    for (int i = 0; i < 3; i++)
        yard_answer(&scene.yard, 0, PC_STATUS_OK);
    expect_ok(&scene, first, first + 3);
    yard_close(&scene.yard);
}

static void all_may_have_begun(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    submit(&scene, 3, NULL);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    yard_recalled(&scene.yard, 0, 2);
    assert_false(engine_at(&scene, 0)->is_recalling);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS); /* it is asked again */
    assert_true(engine_at(&scene, 0)->is_recalling);
    yard_recalled(&scene.yard, 0, 2);
    for (int i = 0; i < 3; i++)
        yard_answer(&scene.yard, 0, PC_STATUS_OK);
    expect_ok(&scene, 1, scene.submitted);
    yard_close(&scene.yard);
}

/* The last numbers belong to tasks that came back: those before them count, too. */
static void what_was_left_is_called_back_later(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    uint64_t first = scene.submitted + 1;
    submit(&scene, 5, NULL);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    yard_recalled(&scene.yard, 0, 2);
    assert_int_equal(yard_load(&scene.yard, 0), 3);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    assert_true(engine_at(&scene, 0)->is_recalling);
    yard_recalled(&scene.yard, 0, 0);
    assert_int_equal(yard_load(&scene.yard, 0), 1);
    yard_engine(&scene.yard);
    for (uint64_t i = 1; i < 5; i++) { /* in their old order */
        assert_int_equal(yard_running(&scene.yard, 1), first + i);
        yard_answer(&scene.yard, 1, PC_STATUS_OK);
    }
    yard_close(&scene.yard);
}

/* Meanwhile it may have got another engine to follow. */
static void it_goes_where_it_may_by_then(void **state)
{
    struct scene scene;
    open_scene(&scene, 2);
    submit(&scene, 1, NULL);
    uint64_t here = scene.submitted;
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    submit(&scene, 2, NULL);
    uint64_t there = yard_running(&scene.yard, 1);
    uint8_t pairs[2 * PC_ACK_SIZE];
    pc_store_u64(pairs, 1);
    pc_store_u64(pairs + 8, here);
    pc_store_u64(pairs + PC_ACK_SIZE, 1);
    pc_store_u64(pairs + PC_ACK_SIZE + 8, there);
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE,
                                  .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS,
                                  .follow = {.rule = PC_NEED_SUCCESS, .count = 2, .tasks = pairs}};
    submit(&scene, 1, &body);
    assert_int_equal(yard_load(&scene.yard, 0), 2);
    yard_answer(&scene.yard, 1, PC_STATUS_OK);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    yard_recalled(&scene.yard, 0, 0);
    assert_int_equal(yard_running(&scene.yard, 1), scene.submitted);
    yard_close(&scene.yard);
}

static void a_smaller_limit_calls_back(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    queue_set_hwm(&scene.yard.sched, 0);
    scene.yard.took_us = 1000000;
    submit(&scene, 20, NULL);
    assert_int_equal(yard_load(&scene.yard, 0), 20);
    queue_set_hwm(&scene.yard.sched, 2);
    yard_engine(&scene.yard);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    yard_recalled(&scene.yard, 0, 0);
    assert_int_equal(yard_load(&scene.yard, 0), 2);
    assert_int_equal(yard_load(&scene.yard, 1), 2);
    queue_set_hwm(&scene.yard.sched, 1); /* what came back has the last numbers */
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    yard_recalled(&scene.yard, 0, 0);
    assert_int_equal(yard_load(&scene.yard, 0), 1);
    yard_close(&scene.yard);
}

static void direct_calls_come_back_to_their_engine(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    uint64_t first = scene.submitted + 1;
    submit(&scene, 2, NULL);
    submit_direct(&scene, 0);
    submit_direct(&scene, 0);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    yard_recalled(&scene.yard, 0, 0);
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_running(&scene.yard, 0), first + 2); /* they go first */
    for (int i = 0; i < 3; i++)
        yard_answer(&scene.yard, 0, PC_STATUS_OK);
    expect_ok(&scene, first, first + 3);
    yard_close(&scene.yard);
}

static void calls_of_one_engine_are_left_there(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    for (int i = 0; i < 5; i++)
        submit_direct(&scene, 0);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    assert_false(engine_at(&scene, 0)->is_recalling);
    yard_close(&scene.yard);
}

static void an_abort_on_the_way_counts(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    uint64_t first = scene.submitted + 1;
    submit(&scene, 3, NULL);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    yard_abort(&scene.yard, scene.client, first + 1, 0);
    assert_null(yard_outcome(scene.client, first + 1));
    yard_recalled(&scene.yard, 0, 0);
    assert_string_equal(yard_outcome(scene.client, first + 1), "TaskAborted");
    assert_int_equal(scene.yard.sched.ready_count, 1);
    yard_close(&scene.yard);
}

static void what_is_aborted_does_not_wait_for_what_runs(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    uint64_t first = scene.submitted + 1;
    for (int i = 0; i < 4; i++)
        submit_direct(&scene, 0);
    yard_abort(&scene.yard, scene.client, first + 1, 0);
    assert_true(engine_at(&scene, 0)->is_recalling);
    yard_recalled(&scene.yard, 0, 0);
    assert_string_equal(yard_outcome(scene.client, first + 1), "TaskAborted");
    assert_null(yard_outcome(scene.client, first));
    for (uint64_t i = 0; i < 4; i++)
        if (i != 1) { /* in their old order */
            assert_int_equal(yard_running(&scene.yard, 0), first + i);
            yard_answer(&scene.yard, 0, PC_STATUS_OK);
        }
    yard_close(&scene.yard);
}

static void one_more_abort_meanwhile_counts(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    uint64_t first = scene.submitted + 1;
    for (int i = 0; i < 4; i++)
        submit_direct(&scene, 0);
    yard_abort(&scene.yard, scene.client, first + 2, 0);
    yard_abort(&scene.yard, scene.client, first + 1, 0);
    yard_recalled(&scene.yard, 0, 0);
    assert_string_equal(yard_outcome(scene.client, first + 2), "TaskAborted");
    assert_true(engine_at(&scene, 0)->is_recalling);
    yard_recalled(&scene.yard, 0, 0);
    assert_string_equal(yard_outcome(scene.client, first + 1), "TaskAborted");
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    assert_int_equal(yard_running(&scene.yard, 0), first + 3);
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    yard_close(&scene.yard);
}

static void the_time_to_start_goes_on(void **state)
{
    struct scene scene;
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE,
                                  .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS,
                                  .timeout_ms = 100};
    open_scene(&scene, 1);
    submit(&scene, 1, NULL);
    submit(&scene, 1, &body);
    uint64_t patient = scene.submitted;
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    yard_recalled(&scene.yard, 0, 0);
    yard_pass(&scene.yard, 100 - SCHED_AHEAD_RECALL_MS - 1);
    assert_null(yard_outcome(scene.client, patient));
    yard_pass(&scene.yard, 1);
    assert_string_equal(yard_outcome(scene.client, patient), "TaskTimeout");
    yard_close(&scene.yard);
}

/* Engine 0 has three tasks, engine 1 as many; the first of them is returned. */
static uint64_t open_pair(struct scene *scene)
{
    open_scene(scene, 2);
    submit(scene, 6, NULL);
    assert_int_equal(yard_load(&scene->yard, 0), 3);
    return scene->submitted - 5;
}

/* The tasks from `first` on that failed, when the others are all run. */
static unsigned count_failed(struct scene *scene, uint64_t first)
{
    unsigned failed = 0;
    if (engine_at(scene, 1)->is_recalling) /* it gets nothing before it has answered */
        yard_recalled(&scene->yard, 1, 0);
    while (yard_load(&scene->yard, 1))
        yard_answer(&scene->yard, 1, PC_STATUS_OK);
    for (uint64_t i = first; i <= scene->submitted; i++)
        failed += strcmp(yard_outcome(scene->client, i), "ok") != 0;
    return failed;
}

/* What had not begun is not lost with its engine; what may have begun is. */
static void a_death_costs_what_had_begun(void **state)
{
    static const struct {
        uint32_t begun;
        unsigned failed;
    } cases[] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}, {YARD_UNKNOWN, 3}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scene scene;
        uint64_t first = open_pair(&scene);
        uint64_t killed = yard_running(&scene.yard, 0);
        yard_report_begun(&scene.yard, 0, false, cases[i].begun);
        yard_pass(&scene.yard, SCHED_EXIT_WAIT_MS);
        assert_int_equal(count_failed(&scene, first), cases[i].failed);
        assert_string_equal(yard_outcome(scene.client, killed),
                            cases[i].failed ? "EngineError" : "ok");
        yard_close(&scene.yard);
    }
}

/* What ends an engine before it has begun must not go on and end them all. */
static void a_task_is_spared_once(void **state)
{
    struct scene scene;
    open_scene(&scene, 0);
    submit(&scene, 1, NULL);
    for (uint32_t id = 0; id < 2; id++) {
        assert_null(yard_outcome(scene.client, 1));
        yard_engine(&scene.yard);
        yard_report_begun(&scene.yard, id, false, 0);
        yard_pass(&scene.yard, SCHED_EXIT_WAIT_MS);
    }
    assert_string_equal(yard_outcome(scene.client, 1), "EngineError");
    yard_close(&scene.yard);
}

static void a_cut_costs_all_that_may_have_begun(void **state)
{
    struct scene scene;
    uint64_t first = open_pair(&scene);
    yard_lose(&scene.yard, 0, "cut off");
    assert_int_equal(count_failed(&scene, first), 3);
    yard_close(&scene.yard);
}

/* It is killed, and what is said of it then counts as of any other one. */
static void a_stall_costs_what_had_begun(void **state)
{
    for (int is_known = 0; is_known < 2; is_known++) {
        struct scene scene;
        uint64_t first = open_pair(&scene);
        yard_stop(&scene.yard, 0, true);
        while (!engine_at(&scene, 0)->is_recalling)
            yard_pass(&scene.yard, 1);
        while (engine_at(&scene, 0)->state == ENGINE_UP)
            yard_pass(&scene.yard, YARD_HEARTBEAT_MS);
        if (is_known)
            yard_report(&scene.yard, 0, true);
        assert_int_equal(!engine_at(&scene, 0), is_known);
        yard_pass(&scene.yard, SCHED_KILL_WAIT_MS);
        assert_null(engine_at(&scene, 0));
        assert_int_equal(count_failed(&scene, first), is_known ? 1 : 3);
        yard_close(&scene.yard);
    }
}

static void stop(struct scene *scene, uint32_t id)
{
    char query[80];
    snprintf(query, sizeof(query), "{\"query\": \"stop_engines\", \"ids\": [%u]}", id);
    yard_query(&scene->yard, scene->client, query);
    assert_int_equal(engine_at(scene, id)->state, ENGINE_LEAVING);
}

/* While the first one has the time that it was given. */
static void who_leaves_gives_back_what_it_has_not_begun(void **state)
{
    struct scene scene;
    uint64_t first = open_pair(&scene);
    stop(&scene, 0);
    assert_true(engine_at(&scene, 0)->is_recalling);
    yard_recalled(&scene.yard, 0, 0);
    assert_false(engine_at(&scene, 0)->is_recalling);
    assert_int_equal(yard_load(&scene.yard, 0), 1);
    assert_int_equal(yard_load(&scene.yard, 1), 5);
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    yard_exit(&scene.yard, 0);
    assert_int_equal(count_failed(&scene, first), 0);
    yard_close(&scene.yard);
}

/* It was asked for the last ones, and had not answered. */
static void who_leaves_is_asked_for_the_rest(void **state)
{
    struct scene scene;
    uint64_t first = open_pair(&scene);
    queue_set_hwm(&scene.yard.sched, 2);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    assert_true(engine_at(&scene, 0)->is_recalling);
    stop(&scene, 0);
    yard_recalled(&scene.yard, 0, 0);
    assert_int_equal(yard_load(&scene.yard, 0), 2);
    assert_true(engine_at(&scene, 0)->is_recalling);
    yard_recalled(&scene.yard, 0, 0);
    assert_int_equal(yard_load(&scene.yard, 0), 1);
    yard_answer(&scene.yard, 0, PC_STATUS_OK);
    yard_exit(&scene.yard, 0);
    assert_int_equal(count_failed(&scene, first), 0);
    yard_close(&scene.yard);
}

/* Of one that says that it has begun them all nothing more is wanted. */
static void who_leaves_is_asked_once(void **state)
{
    struct scene scene;
    uint64_t first = open_pair(&scene);
    stop(&scene, 0);
    yard_recalled(&scene.yard, 0, 2);
    assert_false(engine_at(&scene, 0)->is_recalling);
    assert_int_equal(yard_load(&scene.yard, 0), 3);
    for (int i = 0; i < 3; i++)
        yard_answer(&scene.yard, 0, PC_STATUS_OK);
    yard_exit(&scene.yard, 0);
    assert_int_equal(count_failed(&scene, first), 0);
    yard_close(&scene.yard);
}

/* However often that happens: people may restart engines as they like. */
static void what_came_too_late_for_who_leaves_goes_on(void **state)
{
    struct scene scene;
    open_scene(&scene, 0);
    submit(&scene, 1, NULL);
    for (uint32_t id = 0; id < 3; id++) {
        yard_engine(&scene.yard);
        stop(&scene, id);
        yard_break(&scene.yard, id, "left");
        yard_pass(&scene.yard, SCHED_KILL_WAIT_MS - 1);
        yard_report_begun(&scene.yard, id, false, 0);
        assert_null(engine_at(&scene, id));
        assert_null(yard_outcome(scene.client, 1));
    }
    yard_engine(&scene.yard);
    yard_answer(&scene.yard, 3, PC_STATUS_OK);
    expect_ok(&scene, 1, 1);
    yard_close(&scene.yard);
}

static void calls_of_one_that_leaves_are_not_called_back(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    for (int i = 0; i < 3; i++)
        submit_direct(&scene, 0);
    stop(&scene, 0);
    assert_false(engine_at(&scene, 0)->is_recalling);
    yard_close(&scene.yard);
}

/* A durable task is known to have begun when it was given to an engine, and not any more when it
 * comes back. */
static void what_comes_back_has_not_begun(void **state)
{
    for (int is_recalled = 0; is_recalled < 2; is_recalled++) {
        struct scene scene;
        open_scene(&scene, 1);
        submit(&scene, 2, NULL);
        struct task *task = engine_at(&scene, 0)->running->next;
        task->is_durable = true;
        task->starts = 1;
        if (is_recalled) {
            yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
            yard_recalled(&scene.yard, 0, 0);
        } else {
            yard_exit(&scene.yard, 0);
        }
        assert_int_equal(task->state, TASK_READY);
        assert_int_equal(task->starts, 0);
        task->is_durable = false; /* nobody here has a disk */
        yard_close(&scene.yard);
    }
}

/* It was told to end, and had not begun: that does not count where it runs then. */
static void what_did_not_run_was_not_late(void **state)
{
    struct scene scene;
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE,
                                  .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS,
                                  .run_timeout_ms = 100};
    open_scene(&scene, 1);
    submit(&scene, 1, &body);
    yard_pass(&scene.yard, 100);
    yard_report_begun(&scene.yard, 0, false, 0);
    yard_pass(&scene.yard, SCHED_EXIT_WAIT_MS);
    yard_engine(&scene.yard);
    assert_int_equal(yard_running(&scene.yard, 1), scene.submitted);
    yard_answer(&scene.yard, 1, PC_STATUS_ERROR);
    assert_string_equal(yard_outcome(scene.client, scene.submitted), "error");
    yard_close(&scene.yard);
}

static void false_answers_are_refused(void **state)
{
    static const struct pc_recall_body bodies[] = {{6, 9}, {10, 8}, {5, 8}, {4, 8}};
    struct scene scene;
    open_scene(&scene, 1);
    submit(&scene, 4, NULL); /* RUNs 5 to 8; 6 to 8 are called back */
    for (int asked = 0; asked < 2; asked++) {
        for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
            uint8_t bytes[PC_RECALL_SIZE];
            struct pc_err err;
            pc_recall_encode(bytes, &bodies[i]);
            struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECALL, bytes, sizeof(bytes));
            assert_int_equal(ahead_recalled(engine_at(&scene, 0), msg, &err), -1);
            assert_int_equal(err.code, PC_E_PROTOCOL);
            pc_msg_unref(msg);
        }
        yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    }
    yard_recalled(&scene.yard, 0, 0);
    yard_close(&scene.yard);
}

/* The numbers go round after 2^32 tasks. */
static void numbers_may_go_round(void **state)
{
    struct scene scene;
    open_scene(&scene, 1);
    engine_at(&scene, 0)->runs = UINT32_MAX - 2;
    uint64_t first = scene.submitted + 1;
    submit(&scene, 5, NULL);
    yard_pass(&scene.yard, SCHED_AHEAD_RECALL_MS);
    yard_recalled(&scene.yard, 0, 1);
    assert_int_equal(yard_load(&scene.yard, 0), 2);
    assert_int_equal(scene.yard.sched.ready_count, 3);
    while (yard_load(&scene.yard, 0))
        yard_answer(&scene.yard, 0, PC_STATUS_OK);
    expect_ok(&scene, first, scene.submitted);
    yard_close(&scene.yard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_quick_engines_get_more),
        cmocka_unit_test(shorter_ones_are_more),
        cmocka_unit_test(the_idle_go_first),
        cmocka_unit_test(the_shortest_go_in_portions),
        cmocka_unit_test(what_is_not_short_is_no_progress),
        cmocka_unit_test(what_is_behind_a_long_one_is_called_back),
        cmocka_unit_test(an_engine_that_waits_gets_them_at_once),
        cmocka_unit_test(what_has_begun_stays),
        cmocka_unit_test(all_may_have_begun),
        cmocka_unit_test(what_was_left_is_called_back_later),
        cmocka_unit_test(it_goes_where_it_may_by_then),
        cmocka_unit_test(a_smaller_limit_calls_back),
        cmocka_unit_test(direct_calls_come_back_to_their_engine),
        cmocka_unit_test(calls_of_one_engine_are_left_there),
        cmocka_unit_test(an_abort_on_the_way_counts),
        cmocka_unit_test(what_is_aborted_does_not_wait_for_what_runs),
        cmocka_unit_test(one_more_abort_meanwhile_counts),
        cmocka_unit_test(the_time_to_start_goes_on),
        cmocka_unit_test(a_death_costs_what_had_begun),
        cmocka_unit_test(a_task_is_spared_once),
        cmocka_unit_test(a_cut_costs_all_that_may_have_begun),
        cmocka_unit_test(a_stall_costs_what_had_begun),
        cmocka_unit_test(who_leaves_gives_back_what_it_has_not_begun),
        cmocka_unit_test(who_leaves_is_asked_for_the_rest),
        cmocka_unit_test(who_leaves_is_asked_once),
        cmocka_unit_test(what_came_too_late_for_who_leaves_goes_on),
        cmocka_unit_test(calls_of_one_that_leaves_are_not_called_back),
        cmocka_unit_test(what_comes_back_has_not_begun),
        cmocka_unit_test(what_did_not_run_was_not_late),
        cmocka_unit_test(false_answers_are_refused),
        cmocka_unit_test(numbers_may_go_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
