/* SPDX-License-Identifier: BSD-3-Clause */
/* Submissions that wait for company: fewer writes, and none is left behind. */
#include "unit.h"

#include "lib/clock.h"
#include "lib/proto.h"
#include "play.h"

struct scene {
    struct stage stage;
    struct fake_engine engine;
    struct pc_client *client;
};

static void open_scene(struct scene *scene)
{
    stage_open(&scene->stage, 3000);
    stage_engine(&scene->stage, &scene->engine, PC_TRANSPORT_UNIX);
    scene->engine.took_us = 1000;
    scene->client = play_open(&scene->stage, PC_TRANSPORT_UNIX);
}

static void close_scene(struct scene *scene)
{
    pc_client_close(scene->client);
    fake_engine_close(&scene->engine);
    stage_close(&scene->stage);
}

static struct pc_call *submit(struct scene *scene, size_t size)
{
    static char source[8192];
    struct pc_call *call;
    struct pc_err err;
    struct pc_bytes part = {source, size};
    struct pc_request request = {.kind = PC_KIND_EXECUTE,
                                 .targets = &scene->engine.id,
                                 .target_count = 1,
                                 .parts = &part,
                                 .part_count = 1,
                                 .may_linger = true};
    if (pc_submit(scene->client, &request, &call, &err))
        fail_msg("%s", err.text);
    return call;
}

/* Submits until one waits for company; returns it. The others go to *before. */
static struct pc_call *submit_in_a_rush(struct scene *scene, unsigned *before)
{
    int64_t deadline = pc_clock_ms() + STAGE_LIMIT_MS;
    for (*before = 0; pc_clock_ms() < deadline; ++*before) {
        struct pc_call *call = submit(scene, 1);
        if (pc_client_lingers(scene->client))
            return call;
        pc_call_unref(call);
    }
    fail_msg("every submission was written at once");
    return NULL;
}

/* Takes the RUNs of that many tasks, answering each, so that the next ones are sent. */
static void expect_runs(struct scene *scene, unsigned count)
{
    while (count--) {
        struct pc_msg *run = stage_await(&scene->engine.work, PC_MSG_RUN);
        fake_engine_answer(&scene->engine, run, "value");
        pc_msg_unref(run);
    }
}

static void a_wait_writes_what_lingers(void **state)
{
    struct scene scene;
    unsigned before;
    open_scene(&scene);
    struct pc_call *call = submit_in_a_rush(&scene, &before);
    struct pc_err err;
    assert_int_equal(pc_wait(scene.client, &call, 1, 0, &err), -1);
    assert_false(pc_client_lingers(scene.client));
    expect_runs(&scene, before + 1);
    play_wait(scene.client, call);
    pc_call_unref(call);
    close_scene(&scene);
}

static void flushing_writes_what_lingers(void **state)
{
    struct scene scene;
    unsigned before;
    open_scene(&scene);
    pc_call_unref(submit_in_a_rush(&scene, &before));
    while (pc_client_lingers(scene.client)) /* as long as the last write has only just happened */
        pc_client_flush(scene.client);
    expect_runs(&scene, before + 1);
    close_scene(&scene);
}

static void closing_writes_what_lingers(void **state)
{
    struct scene scene;
    unsigned before;
    open_scene(&scene);
    pc_call_unref(submit_in_a_rush(&scene, &before));
    pc_client_close(scene.client);
    scene.client = NULL;
    expect_runs(&scene, before + 1);
    close_scene(&scene);
}

/* Borrowed memory must have left when pc_submit returns, and what came before goes with it. */
static void a_large_one_waits_for_nobody(void **state)
{
    struct scene scene;
    unsigned before;
    open_scene(&scene);
    pc_call_unref(submit_in_a_rush(&scene, &before));
    pc_call_unref(submit(&scene, 8192));
    assert_false(pc_client_lingers(scene.client));
    expect_runs(&scene, before + 2);
    close_scene(&scene);
}

static void much_together_is_written(void **state)
{
    struct scene scene;
    unsigned count = 0;
    open_scene(&scene);
    for (; count < 100; count++) /* 400 KB: many times what may come together */
        pc_call_unref(submit(&scene, 3900));
    while (pc_client_lingers(scene.client))
        pc_client_flush(scene.client);
    expect_runs(&scene, count);
    close_scene(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_writes_what_lingers),
        cmocka_unit_test(flushing_writes_what_lingers),
        cmocka_unit_test(closing_writes_what_lingers),
        cmocka_unit_test(a_large_one_waits_for_nobody),
        cmocka_unit_test(much_together_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
