/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client may have unfinished: what is counted, and who is held to it. */
#include "unit.h"

#include <string.h>

#include "yard.h"

struct scene {
    struct yard yard;
    struct client *client;
};

static void set_up(struct scene *scene, uint64_t count, uint64_t bytes)
{
    yard_open(&scene->yard, "leastload", 1);
    scene->yard.sched.window_count = count;
    scene->yard.sched.window_bytes = bytes;
    scene->client = yard_client(&scene->yard, 1);
    yard_engine(&scene->yard);
}

/* A balanced task, or one for so many engines; with a part of this size. */
static struct pc_msg *submission(uint64_t sequence, uint32_t targets, uint64_t part_size)
{
    static const uint8_t ids[16];
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE,
                                  .flags = targets ? 0 : PC_SUBMIT_BALANCED,
                                  .target_count = targets,
                                  .targets = ids};
    struct pc_buf buf;
    pc_buf_init(&buf, 0);
    assert_int_equal(pc_submit_encode(&buf, &body), 0);
    struct pc_msg *msg = pc_msg_new(PC_MSG_SUBMIT, (uint32_t)buf.size, &part_size, 1);
    memcpy(msg->body, buf.data, buf.size);
    memset(msg->parts[0].data, 0, part_size);
    msg->head.session = 1;
    msg->head.sequence = sequence;
    pc_buf_fini(&buf);
    return msg;
}

static int submit(struct scene *scene, uint64_t sequence, uint32_t targets, uint64_t part_size)
{
    struct pc_err err;
    struct pc_msg *msg = submission(sequence, targets, part_size);
    int failed = client_submit(&scene->yard.sched, scene->client, msg, &err);
    if (failed)
        assert_non_null(strstr(err.text, "beyond its window"));
    pc_msg_unref(msg);
    return failed;
}

static void answer_all(struct scene *scene)
{
    while (yard_load(&scene->yard, 0))
        yard_answer(&scene->yard, 0, PC_STATUS_OK);
}

static void expect_empty(struct scene *scene)
{
    assert_int_equal(scene->client->window.count, 0);
    assert_int_equal(scene->client->window.bytes, 0);
    yard_close(&scene->yard);
}

static void the_count_is_limited(void **state)
{
    struct scene scene;
    set_up(&scene, 3, 1 << 20);
    assert_int_equal(submit(&scene, 1, 0, 10), 0);
    assert_int_equal(submit(&scene, 2, 2, 10), 0);
    assert_int_equal(submit(&scene, 4, 0, 10), -1);
    answer_all(&scene);
    assert_int_equal(submit(&scene, 5, 0, 10), 0);
    answer_all(&scene);
    expect_empty(&scene);
}

static void bytes_are_limited(void **state)
{
    struct scene scene;
    set_up(&scene, 100, 5000);
    assert_int_equal(submit(&scene, 1, 3, 3000), 0); /* the body is sent once */
    assert_int_equal(submit(&scene, 4, 0, 1900), 0);
    assert_int_equal(submit(&scene, 5, 0, 100), -1);
    answer_all(&scene);
    assert_int_equal(submit(&scene, 6, 0, 9000), 0); /* alone it may be of any size */
    assert_int_equal(submit(&scene, 7, 0, 1), -1);
    answer_all(&scene);
    expect_empty(&scene);
}

static void the_largest_that_was_told_counts(void **state)
{
    struct scene scene;
    set_up(&scene, 2, 1 << 20);
    windows_set(&scene.yard.sched, 4, 1 << 20);
    windows_set(&scene.yard.sched, 1, 4096); /* perhaps it has not heard of that */
    for (uint64_t i = 1; i <= 4; i++)
        assert_int_equal(submit(&scene, i, 0, 10000), 0);
    assert_int_equal(submit(&scene, 5, 0, 10), -1);
    answer_all(&scene);
    expect_empty(&scene);
}

/* What the hub submits for a client has bytes that this does not know of. */
static void again_costs_a_place_and_no_bytes(void **state)
{
    struct scene scene;
    set_up(&scene, 3, 5000);
    for (uint64_t i = 1; i <= 2; i++) {
        struct pc_msg *msg = submission(i, 0, 4000);
        client_resubmit(&scene.yard.sched, msg);
        pc_msg_unref(msg);
    }
    assert_int_equal(scene.client->window.count, 2);
    assert_int_equal(submit(&scene, 3, 0, 4000), 0);
    assert_int_equal(submit(&scene, 4, 0, 10), -1);
    answer_all(&scene);
    expect_empty(&scene);
}

static void every_end_gives_back(void **state)
{
    struct scene scene;
    set_up(&scene, 100, 1 << 20);
    for (uint64_t i = 1; i <= 4; i++)
        assert_int_equal(submit(&scene, i, 0, 100), 0);
    yard_abort(&scene.yard, scene.client, 3, 0);
    yard_answer(&scene.yard, 0, PC_STATUS_ERROR);
    assert_int_equal(scene.client->window.count, 2);
    yard_lose(&scene.yard, 0, "gone");
    assert_int_equal(scene.client->window.count, 1); /* one waits for an engine */
    yard_engine(&scene.yard);
    yard_answer(&scene.yard, 1, PC_STATUS_OK);
    expect_empty(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_count_is_limited),
        cmocka_unit_test(bytes_are_limited),
        cmocka_unit_test(the_largest_that_was_told_counts),
        cmocka_unit_test(again_costs_a_place_and_no_bytes),
        cmocka_unit_test(every_end_gives_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
