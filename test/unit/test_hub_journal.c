/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub's journal, and the snapshots in it. */
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/snapshot.h"
#include "hub/state.h"
#include "lib/key.h"
#include "lib/log.h"
#include "lib/proto.h"

/* ---- journals --------------------------------------------------------------------------- */

static int memory(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void open_journal(struct hub_journal *journal, const int fds[2])
{
    hub_journal_init(journal);
    hub_journal_open(journal, dup(fds[0]), dup(fds[1]));
}

static void add(struct hub_journal *journal, const char *text)
{
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_CLIENT_UP, text, strlen(text));
    hub_journal_add(journal, msg);
    pc_msg_unref(msg);
}

/* What has been taken, one text after another. */
static int take_text(void *arg, struct pc_msg *msg, struct pc_err *err)
{
    char *all = arg;
    if (msg->head.body_size == 4 && memcmp(msg->body, "stop", 4) == 0)
        return pc_err_set(err, PC_E_PROTOCOL, "stop");
    strncat(all, (const char *)msg->body, msg->head.body_size);
    return 0;
}

static void expect(const int fds[2], const char *text, const char *next)
{
    struct hub_journal journal;
    char all[1000] = "";
    open_journal(&journal, fds);
    assert_int_equal(hub_journal_replay(&journal, take_text, all), strlen(text));
    assert_string_equal(all, text);
    add(&journal, next);
    hub_journal_write(&journal);
    hub_journal_fini(&journal);
}

static off_t size_of(int fd)
{
    struct stat about;
    assert_int_equal(fstat(fd, &about), 0);
    return about.st_size;
}

static void it_goes_on_where_it_ended(void **state)
{
    int fds[] = {memory(), memory()};
    struct hub_journal journal;
    char all[100] = "";
    open_journal(&journal, fds);
    assert_true(hub_journal_exists(&journal));
    assert_int_equal(hub_journal_replay(&journal, take_text, all), 0);
    add(&journal, "x"); /* goes where nobody looks: there is no segment yet */
    hub_journal_begin(&journal);
    add(&journal, "a");
    hub_journal_complete(&journal);
    hub_journal_fini(&journal);
    expect(fds, "a", "b");
    expect(fds, "ab", "c");
    expect(fds, "abc", "d");
    close(fds[0]);
    close(fds[1]);
}

/* Killed in the middle of a write. */
static void a_torn_end_is_cut(void **state)
{
    int fds[] = {memory(), memory()};
    struct hub_journal journal;
    open_journal(&journal, fds);
    hub_journal_begin(&journal);
    add(&journal, "a");
    hub_journal_complete(&journal);
    int fd = fds[journal.active];
    off_t one = size_of(fd);
    add(&journal, "b");
    hub_journal_write(&journal);
    hub_journal_fini(&journal);
    off_t two = size_of(fd);
    for (off_t size = two - 1; size > one; size--) {
        assert_int_equal(ftruncate(fd, size), 0);
        expect(fds, "a", "b");
        assert_int_equal(size_of(fd), two);
    }
    expect(fds, "ab", "stop");
    expect(fds, "ab", "c"); /* refused: what follows takes its place */
    expect(fds, "abc", "d");
    close(fds[0]);
    close(fds[1]);
}

/* Killed while a snapshot was being written: the segment before it counts. */
static void an_incomplete_segment_does_not_count(void **state)
{
    int fds[] = {memory(), memory()};
    struct hub_journal journal;
    open_journal(&journal, fds);
    for (int round = 0; round < 5; round++) {
        char text[2] = {(char)('a' + round), 0};
        hub_journal_begin(&journal);
        add(&journal, text);
        hub_journal_complete(&journal);
        assert_int_equal(size_of(fds[!journal.active]), 0);
    }
    hub_journal_begin(&journal);
    add(&journal, "z");
    hub_journal_write(&journal);
    hub_journal_fini(&journal);
    expect(fds, "e", "f");
    expect(fds, "ef", "g");
    close(fds[0]);
    close(fds[1]);
}

static void it_is_given_up_when_it_can_not_grow(void **state)
{
    int fds[] = {memory(), memory()};
    struct hub_journal journal;
    open_journal(&journal, fds);
    hub_journal_begin(&journal);
    hub_journal_complete(&journal);
    close(journal.fds[journal.active]);
    journal.fds[journal.active] = open("/dev/full", O_RDWR);
    add(&journal, "a");
    hub_journal_write(&journal);
    assert_false(hub_journal_exists(&journal));
    assert_non_null(strstr(journal.trouble, "No space left"));
    add(&journal, "b"); /* ignored */
    hub_journal_write(&journal);
    assert_false(hub_journal_is_long(&journal));
    hub_journal_fini(&journal);
    close(fds[0]);
    close(fds[1]);
}

/* ---- snapshots -------------------------------------------------------------------------- */

static struct hub *new_hub(const int fds[2])
{
    struct hub *hub = calloc(1, sizeof(*hub));
    assert_non_null(hub);
    hub_engines_init(&hub->engines);
    hub_history_init(&hub->history);
    open_journal(&hub->journal, fds);
    return hub;
}

static void free_hub(struct hub *hub)
{
    hub_history_fini(&hub->history);
    hub_clients_fini(&hub->clients);
    hub_engines_fini(&hub->engines);
    hub_journal_fini(&hub->journal);
    free(hub);
}

static int take(void *arg, struct pc_msg *msg, struct pc_err *err)
{
    struct hub *hub = arg;
    switch (msg->head.type) {
    case PC_MSG_SNAPSHOT:
        return hub_snapshot_take(hub, msg, err);
    case PC_MSG_KEPT:
        return hub_snapshot_take_tasks(hub, msg, err);
    case PC_MSG_FUNCTION:
        return hub->is_restoring ? hub_snapshot_take_function(hub, msg, err)
                                 : hub_history_function(&hub->history, msg, err);
    default:
        return pc_err_set(err, PC_E_PROTOCOL, "not here");
    }
}

static struct pc_msg *function_of(const char *pickle)
{
    uint64_t size = strlen(pickle);
    struct pc_msg *msg = pc_msg_new(PC_MSG_FUNCTION, PC_FUNCTION_NAME_SIZE, &size, 1);
    assert_non_null(msg);
    memcpy(msg->parts[0].data, pickle, size);
    pc_hash(msg->parts[0].data, size, msg->body);
    return msg;
}

/* A record with a part; `label` and `function` of SUBMITTED may be NULL. */
static void feed(struct hub *hub, enum pc_record_event event, uint64_t sequence, const char *label,
                 const struct pc_msg *function, unsigned flags)
{
    struct pc_buf body;
    struct pc_submit_body fields = {.kind = PC_KIND_APPLY, .flags = PC_SUBMIT_BALANCED};
    struct pc_result_body result = {.status = PC_STATUS_OK, .started_us = 5, .completed_us = 6};
    uint8_t result_bytes[PC_RESULT_BODY_SIZE];
    uint64_t size = sequence % 11 ? 100 + sequence : 5000; /* some too large for a common KEPT */
    struct pc_record record = {.event = (uint8_t)event,
                               .kind = PC_KIND_APPLY,
                               .session = 9,
                               .sequence = sequence,
                               .engine_id = event == PC_RECORD_SUBMITTED ? PC_NO_ENGINE : 0,
                               .time_us = (int64_t)(1000 * sequence + event),
                               .flags = (uint8_t)flags,
                               .bytes = size};
    struct pc_msg *msg = pc_msg_new(PC_MSG_RECORDS, 0, &size, 1);
    memset(msg->parts[0].data, (int)sequence, size);
    pc_buf_init(&body, 0);
    if (event == PC_RECORD_SUBMITTED) {
        fields.label = label;
        fields.label_size = label ? (uint16_t)strlen(label) : 0;
        fields.function = function ? function->body : NULL;
        if (function)
            fields.flags |= PC_SUBMIT_NAMED;
        assert_int_equal(pc_submit_encode(&body, &fields), 0);
        record.body = body.data;
        record.body_size = (uint32_t)body.size;
    } else if (event == PC_RECORD_ENDED) {
        record.status = PC_STATUS_OK;
        pc_result_encode(result_bytes, &result);
        record.body = result_bytes;
        record.body_size = sizeof(result_bytes);
    }
    struct hub_task *task = hub_history_record(&hub->history, &hub->engines, &record, msg);
    if (task)
        hub_history_keep(&hub->history, task);
    pc_msg_unref(msg);
    pc_buf_fini(&body);
}

static void print(struct hub *hub, uint64_t sequence, uint8_t stream, const char *text)
{
    size_t known;
    struct pc_msg *msg = pc_stream_new(stream, 0, text, strlen(text));
    msg->head.session = 9;
    msg->head.sequence = sequence;
    hub_history_output(&hub->history, msg, &(struct pc_stream_body){.stream = stream}, &known);
    pc_msg_unref(msg);
}

/* Tasks in every state, which ended in another order than they were submitted. */
static void fill(struct hub *hub)
{
    struct pc_msg *functions[] = {function_of("one"), function_of("other")};
    hub->recorded = 77;
    hub_engines_add(&hub->engines, "00000000000000000000000000000001", 11, "h", "3.11", "a,b");
    hub_engines_add(&hub->engines, "00000000000000000000000000000002", 12, "h", "3.11", "");
    hub_engines_set_up(&hub->engines, 0);
    hub_engines_set_down(&hub->engines, 1, "it went");
    hub_clients_add(&hub->clients, 0xfedcba9876543210, 44, "there");
    for (int i = 0; i < 2; i++)
        assert_int_equal(hub_history_function(&hub->history, functions[i], NULL), 0);
    for (uint64_t i = 1; i <= 600; i++)
        feed(hub, PC_RECORD_SUBMITTED, i, i % 3 ? "label" : NULL,
             i % 2 ? functions[i % 4 / 2] : NULL, i % 5 == 0 ? PC_RECORD_SAME : PC_RECORD_OUTSIDE);
    for (uint64_t i = 1; i <= 500; i++)
        feed(hub, PC_RECORD_STARTED, i, NULL, NULL, 0);
    print(hub, 7, PC_STREAM_STDERR, "says seven");
    print(hub, 7, PC_STREAM_DISPLAY, "shows seven");
    print(hub, 450, PC_STREAM_STDERR, "says the last");
    print(hub, 450, PC_STREAM_DISPLAY, "shows the last");
    for (uint64_t i = 400; i >= 1; i--)
        feed(hub, PC_RECORD_ENDED, i, NULL, NULL, i % 7 ? PC_RECORD_OUTSIDE : PC_RECORD_GAP);
    for (int i = 0; i < 2; i++)
        pc_msg_unref(functions[i]);
}

static char *content(int fd, size_t *size)
{
    *size = (size_t)size_of(fd);
    char *data = malloc(*size);
    assert_int_equal(pread(fd, data, *size, 0), *size);
    return data;
}

static void a_snapshot_is_complete(void **state)
{
    int fds[] = {memory(), memory()}, more[] = {memory(), memory()};
    struct hub *hub = new_hub(fds);
    size_t size, size_again;
    fill(hub);
    hub_snapshot_write(hub);
    char *data = content(fds[hub->journal.active], &size);
    free_hub(hub);

    hub = new_hub(fds);
    assert_in_range(hub_journal_replay(&hub->journal, take, hub), 55, 250);
    assert_false(hub->is_restoring);
    assert_int_equal(hub->recorded, 77);
    assert_int_equal(hub->history.store.count, 400);
    assert_int_equal(hub->history.store.oldest->key.sequence, 400);
    struct hub_task *task = NULL;
    for (uint64_t number = 0, expected = 1;; expected++) {
        task = hub_tasks_after(&hub->history.tasks, number, NULL);
        if (!task) {
            assert_int_equal(expected, 601);
            break;
        }
        assert_int_equal(task->key.sequence, expected);
        number = task->number;
    }
    for (uint64_t number = 0, count = 0;; count++) {
        task = hub_tasks_after(&hub->history.tasks, number, "label");
        if (!task) {
            assert_int_equal(count, 400);
            break;
        }
        number = task->number;
    }
    /* The same once more, byte by byte: that is all that it says. */
    hub_journal_fini(&hub->journal);
    open_journal(&hub->journal, more);
    hub_snapshot_write(hub);
    char *data_again = content(more[hub->journal.active], &size_again);
    assert_int_equal(size, size_again);
    assert_memory_equal(data, data_again, size);
    free_hub(hub);
    free(data);
    free(data_again);
    for (int i = 0; i < 2; i++) {
        close(fds[i]);
        close(more[i]);
    }
}

/* Whatever is in it: at worst it is forgotten from there on. */
static void a_damaged_snapshot_does_no_harm(void **state)
{
    int fds[] = {memory(), memory()};
    struct hub *hub = new_hub(fds);
    size_t size;
    uint32_t seed = 12345;
    fill(hub);
    hub_snapshot_write(hub);
    int fd = fds[hub->journal.active];
    char *data = content(fd, &size);
    free_hub(hub);
    for (int round = 0; round < 150; round++) {
        assert_int_equal(pwrite(fd, data, size, 0), size);
        for (int i = 0; i < 3; i++) {
            seed = seed * 1664525 + 1013904223;
            uint8_t byte = (uint8_t)(seed >> 24);
            assert_int_equal(pwrite(fd, &byte, 1, 16 + (seed >> 4) % (off_t)(size - 16)), 1);
        }
        hub = new_hub(fds);
        hub_journal_replay(&hub->journal, take, hub);
        hub_snapshot_settle(hub);
        free_hub(hub);
        assert_int_equal(ftruncate(fd, 0), 0);
    }
    free(data);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_on_where_it_ended),
        cmocka_unit_test(a_torn_end_is_cut),
        cmocka_unit_test(an_incomplete_segment_does_not_count),
        cmocka_unit_test(it_is_given_up_when_it_can_not_grow),
        cmocka_unit_test(a_snapshot_is_complete),
        cmocka_unit_test(a_damaged_snapshot_does_no_harm),
    };
    pc_log_init("test", PC_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
