/* SPDX-License-Identifier: BSD-3-Clause */
/* Durable tasks in the scheduler; this test is the hub, and says what is on disk. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/proto.h"
#include "lib/proto_record.h"
#include "lib/proto_task.h"
#include "play.h"
#include "sched/begun.h"
#include "stage.h"

struct scene {
    struct stage stage;
    struct fake_engine engine;
    struct pc_client *client;
    int begun_fd;
};

static void open_scene(struct scene *scene)
{
    scene->begun_fd = memfd_create("begun", MFD_CLOEXEC);
    assert_true(scene->begun_fd >= 0);
    stage_open_durable(&scene->stage, scene->begun_fd);
    struct pc_msg *question = stage_await(&scene->stage.hub, PC_MSG_QUERY);
    assert_int_equal(question->head.session, 0); /* it is for those of an earlier life */
    pc_msg_unref(question);
    stage_engine(&scene->stage, &scene->engine, PC_TRANSPORT_UNIX);
    scene->engine.took_us = 1000;
    scene->client = play_open(&scene->stage, PC_TRANSPORT_UNIX);
}

static void close_scene(struct scene *scene)
{
    pc_client_close(scene->client);
    fake_engine_close(&scene->engine);
    stage_close(&scene->stage);
    close(scene->begun_fd);
}

/* ---- as the client ------------------------------------------------------------------------ */

static int try_submit(struct scene *scene, const uint32_t *target, bool is_balanced,
                      struct pc_call **call, struct pc_err *err)
{
    const struct pc_bytes part = {"source", 6};
    const struct pc_task_options options = {.durable = true};
    const struct pc_request request = {.kind = PC_KIND_EXECUTE,
                                       .is_balanced = is_balanced,
                                       .targets = target,
                                       .target_count = target ? 1 : 0,
                                       .options = &options,
                                       .parts = &part,
                                       .part_count = 1};
    return pc_submit(scene->client, &request, call, err);
}

static struct pc_call *submit(struct scene *scene)
{
    struct pc_call *call;
    struct pc_err err;
    if (try_submit(scene, NULL, true, &call, &err))
        fail_msg("%s", err.text);
    return call;
}

static void wait_accepted(struct scene *scene, struct pc_call *call)
{
    struct pc_err err;
    if (pc_wait_accepted(scene->client, &call, 1, STAGE_LIMIT_MS, &err))
        fail_msg("%s", err.text);
}

/* ---- as the hub --------------------------------------------------------------------------- */

/* The next record of this event; passes over what else the hub is told. */
static struct pc_msg *await_record(struct scene *scene, uint8_t event, struct pc_record *record)
{
    for (;;) {
        struct pc_msg *msg = stage_await(&scene->stage.hub, PC_MSG_RECORDS);
        struct pc_reader reader;
        pc_reader_init(&reader, msg->body, msg->head.body_size);
        while (reader.left) {
            assert_int_equal(pc_record_decode(&reader, record), 0);
            if (record->event == event)
                return msg;
        }
        pc_msg_unref(msg);
    }
}

static void say_accepted(struct scene *scene, const struct pc_record *record, const char *why)
{
    uint8_t pair[PC_ACK_SIZE];
    pc_store_u64(pair, record->session);
    pc_store_u64(pair + 8, record->sequence);
    struct pc_msg *msg = pc_accepted_new(pair, sizeof(pair), why);
    assert_int_equal(pc_sock_send(&scene->stage.hub, msg, NULL), 0);
    pc_msg_unref(msg);
}

/* How often the file says that it was given to an engine; -1: it has no slot. */
static int64_t begun_count(struct scene *scene, uint64_t session, uint64_t sequence)
{
    uint8_t slot[BEGUN_SLOT_SIZE];
    for (off_t at = 0; pread(scene->begun_fd, slot, sizeof(slot), at) == sizeof(slot);
         at += sizeof(slot))
        if (pc_load_u64(slot) == session && pc_load_u64(slot + 8) == sequence)
            return (int64_t)pc_load_u64(slot + 16);
    return -1;
}

/* ---- tests -------------------------------------------------------------------------------- */

static void it_begins_when_it_is_on_disk(void **state)
{
    struct scene scene;
    struct pc_record record;
    struct pc_err err;
    open_scene(&scene);
    struct pc_call *call = submit(&scene);
    pc_msg_unref(await_record(&scene, PC_RECORD_SUBMITTED, &record));
    assert_true(record.flags & PC_RECORD_DURABLE);
    assert_int_equal(pc_wait_accepted(scene.client, &call, 1, 0, &err), -1);
    assert_int_equal(err.code, PC_E_TIMEOUT);
    assert_false(pc_call_accepted(call));
    /* What came later is not held up. */
    struct pc_call *other = play_submit(scene.client, NULL, "other");
    struct pc_msg *run = stage_await(&scene.engine.work, PC_MSG_RUN);
    assert_memory_equal(run->parts[0].data, "other", 5);
    fake_engine_answer(&scene.engine, run, "value");
    pc_msg_unref(run);
    play_wait(scene.client, other);
    pc_call_unref(other);
    assert_int_equal(begun_count(&scene, record.session, record.sequence), -1);

    say_accepted(&scene, &record, NULL);
    say_accepted(&scene, &record, NULL); /* as a hub does that was started again */
    wait_accepted(&scene, call);
    assert_true(pc_call_accepted(call));
    run = stage_await(&scene.engine.work, PC_MSG_RUN);
    assert_int_equal(begun_count(&scene, record.session, record.sequence), 1);
    fake_engine_answer(&scene.engine, run, "value");
    pc_msg_unref(run);
    play_wait(scene.client, call);
    play_expect_part(call, "value");
    pc_msg_unref(await_record(&scene, PC_RECORD_ENDED, &record));
    pc_call_unref(call);
    close_scene(&scene);
}

static void what_can_not_be_written_is_not_run(void **state)
{
    struct scene scene;
    struct pc_record record;
    open_scene(&scene);
    struct pc_call *call = submit(&scene);
    pc_msg_unref(await_record(&scene, PC_RECORD_SUBMITTED, &record));
    say_accepted(&scene, &record, "the disk is full");
    play_wait(scene.client, call);
    play_expect_error(call, "NotDurable", "the disk is full");
    pc_call_unref(call);
    play_check(&scene.stage, &scene.engine); /* and nothing was run */
    close_scene(&scene);
}

static void only_what_any_engine_may_run_can_be(void **state)
{
    struct scene scene;
    struct pc_call *call;
    struct pc_err err;
    open_scene(&scene);
    for (int balanced = 0; balanced < 2; balanced++) {
        assert_int_equal(try_submit(&scene, &scene.engine.id, balanced, &call, &err), -1);
        assert_int_equal(err.code, PC_E_INVALID);
    }
    call = play_submit(scene.client, NULL, "not durable");
    assert_int_equal(pc_wait_accepted(scene.client, &call, 1, 0, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    pc_call_unref(call);
    close_scene(&scene);
}

static void without_a_disk_the_call_is_refused(void **state)
{
    struct scene scene;
    struct pc_call *call;
    struct pc_err err;
    stage_open(&scene.stage, 60000);
    scene.client = play_open(&scene.stage, PC_TRANSPORT_UNIX);
    assert_int_equal(try_submit(&scene, NULL, true, &call, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    assert_non_null(strstr(err.text, "--store sqlite"));
    pc_client_close(scene.client);
    stage_close(&scene.stage);
}

/* A task of a client that is long gone comes from the hub, and its result goes there. */
static void tasks_of_an_earlier_life_are_run(void **state)
{
    static const struct pc_submit_body fields = {.kind = PC_KIND_EXECUTE,
                                                 .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_DURABLE};
    static const char answer[] = "{\"ok\":true,\"next\":0}";
    struct scene scene;
    struct pc_record record;
    struct pc_buf body;
    uint64_t size = 3;
    open_scene(&scene);
    pc_buf_init(&body, 0);
    assert_int_equal(pc_submit_encode(&body, &fields), 0);
    for (int twice = 0; twice < 2; twice++) {
        struct pc_msg *msg = pc_msg_new(PC_MSG_SUBMIT, (uint32_t)body.size, &size, 1);
        memcpy(msg->body, body.data, body.size);
        memcpy(msg->parts[0].data, "old", 3);
        msg->head.session = 0x77;
        msg->head.sequence = 5;
        assert_int_equal(pc_sock_send(&scene.stage.hub, msg, NULL), 0);
        pc_msg_unref(msg);
    }
    pc_buf_fini(&body);
    struct pc_msg *reply = pc_msg_with_body(PC_MSG_REPLY, answer, strlen(answer));
    assert_int_equal(pc_sock_send(&scene.stage.hub, reply, NULL), 0);
    pc_msg_unref(reply);
    struct pc_msg *run = stage_await(&scene.engine.work, PC_MSG_RUN);
    assert_memory_equal(run->parts[0].data, "old", 3);
    assert_int_equal(begun_count(&scene, 0x77, 5), 1);
    fake_engine_answer(&scene.engine, run, "value");
    pc_msg_unref(run);
    struct pc_msg *msg = await_record(&scene, PC_RECORD_ENDED, &record);
    assert_true(record.session == 0x77 && record.sequence == 5);
    assert_true(record.flags & PC_RECORD_KEEP);
    assert_memory_equal(record.part_bytes, "value", 5);
    pc_msg_unref(msg);
    play_check(&scene.stage, &scene.engine);
    close_scene(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_when_it_is_on_disk),
        cmocka_unit_test(what_can_not_be_written_is_not_run),
        cmocka_unit_test(only_what_any_engine_may_run_can_be),
        cmocka_unit_test(without_a_disk_the_call_is_refused),
        cmocka_unit_test(tasks_of_an_earlier_life_are_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
