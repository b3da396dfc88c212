/* SPDX-License-Identifier: BSD-3-Clause */
/* The stores, through their interface; and what becomes of them when the disk fails. */
#include "unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "hub/database.h"
#include "hub/history.h"
#include "lib/log.h"
#include "lib/proto.h"

struct scene {
    struct hub_history history;
    struct hub_engines engines;
    char folder[64], path[96];
    const struct hub_store_kind *kind;
};

/* ---- a history with a store ------------------------------------------------------------- */

static void open_history(struct scene *scene, uint64_t count, uint64_t bytes)
{
    struct pc_err err = {.text = ""};
    hub_history_init(&scene->history);
    hub_engines_init(&scene->engines);
    scene->history.store.limits = (struct hub_limits){.count = count, .bytes = bytes};
    if (hub_store_open(&scene->history.store, scene->kind, &scene->history.tasks, scene->path,
                       &err))
        fail_msg("%s", err.text);
}

static void close_history(struct scene *scene)
{
    hub_history_fini(&scene->history);
    hub_engines_fini(&scene->engines);
}

static void tick(struct scene *scene, int64_t now_us)
{
    struct hub_store *store = &scene->history.store;
    if (scene->kind->tick)
        scene->kind->tick(store, now_us);
    while (store->has_work)
        scene->kind->work(store, now_us);
}

static void feed(struct scene *scene, struct pc_record *record, size_t part_size)
{
    uint64_t size = part_size;
    struct pc_msg *msg = pc_msg_new(PC_MSG_RECORDS, 0, &size, 1);
    assert_non_null(msg);
    memset(msg->parts[0].data, 'x', part_size);
    record->bytes = part_size;
    if (record->event != PC_RECORD_STARTED)
        record->flags |= PC_RECORD_OUTSIDE;
    struct hub_task *task = hub_history_record(&scene->history, &scene->engines, record, msg);
    pc_msg_unref(msg);
    if (task)
        hub_history_keep(&scene->history, task);
}

static void print(struct scene *scene, uint64_t sequence, uint8_t stream, const char *text)
{
    size_t known;
    struct pc_msg *msg = pc_stream_new(stream, 0, text, strlen(text));
    msg->head.session = 5;
    msg->head.sequence = sequence;
    hub_history_output(&scene->history, msg, &(struct pc_stream_body){.stream = stream}, &known);
    pc_msg_unref(msg);
}

static void run_one(struct scene *scene, uint64_t sequence, const char *label, size_t size,
                    uint8_t flags)
{
    struct pc_buf body;
    struct pc_submit_body fields = {.kind = PC_KIND_EXECUTE,
                                    .flags = PC_SUBMIT_BALANCED,
                                    .label_size = (uint16_t)strlen(label),
                                    .label = label};
    pc_buf_init(&body, 0);
    assert_int_equal(pc_submit_encode(&body, &fields), 0);
    struct pc_record record = {.event = PC_RECORD_SUBMITTED,
                               .kind = PC_KIND_EXECUTE,
                               .engine_id = PC_NO_ENGINE,
                               .session = 5,
                               .sequence = sequence,
                               .flags = flags,
                               .time_us = (int64_t)sequence,
                               .body = body.data,
                               .body_size = (uint32_t)body.size};
    feed(scene, &record, 10);
    pc_buf_fini(&body);
    print(scene, sequence, PC_STREAM_STDOUT, "printed\n");
    print(scene, sequence, PC_STREAM_DISPLAY, "{}\n");
    record = (struct pc_record){.event = PC_RECORD_ENDED,
                                .kind = PC_KIND_EXECUTE,
                                .status = PC_STATUS_OK,
                                .engine_id = 3,
                                .session = 5,
                                .sequence = sequence,
                                .time_us = (int64_t)sequence + 1};
    feed(scene, &record, size);
}

/* One task from beginning to end, at time `sequence`. */
static void run_task(struct scene *scene, uint64_t sequence, const char *label, size_t size)
{
    run_one(scene, sequence, label, size, 0);
}

static struct hub_task *get(struct scene *scene, uint64_t sequence)
{
    struct hub_task_key key = {5, sequence};
    struct hub_task *task = hub_store_get(&scene->history.store, &key);
    if (task)
        hub_store_load(&scene->history.store, task);
    return task;
}

static void expect_task(struct scene *scene, uint64_t sequence, const char *label, size_t size)
{
    size_t output_size;
    struct hub_task *task = get(scene, sequence);
    assert_non_null(task);
    assert_string_equal(task->label->text, label);
    assert_int_equal(task->result_bytes, size);
    assert_non_null(task->result);
    assert_int_equal(task->result->parts_bytes, size);
    assert_int_equal(task->result->parts[0].data[size - 1], 'x');
    assert_int_equal(task->request->parts_bytes, 10);
    assert_int_equal(task->engine_id, 3);
    assert_int_equal(task->submitted_us, sequence);
    assert_true(task->is_balanced);
    char *text = hub_task_output(task, PC_STREAM_STDOUT, &output_size);
    assert_string_equal(text, "printed\n");
    free(text);
    text = hub_task_output(task, PC_STREAM_DISPLAY, &output_size);
    assert_string_equal(text, "{}\n");
    free(text);
    assert_null(hub_task_output(task, PC_STREAM_STDERR, &output_size));
}

/* Numbers of all tasks, there and back. */
static size_t walk(struct scene *scene, const char *label)
{
    size_t count = 0;
    uint64_t at = 0;
    struct hub_task *task;
    while ((task = hub_store_after(&scene->history.store, at, label)) != NULL) {
        assert_true(task->number > at);
        at = task->number;
        count++;
    }
    size_t back = 0;
    at = UINT64_MAX;
    while (!label && (task = hub_store_before(&scene->history.store, at)) != NULL) {
        assert_true(task->number < at);
        at = task->number;
        back++;
    }
    assert_true(label || back == count);
    return count;
}

/* ---- both ------------------------------------------------------------------------------- */

static void tasks_are_found_again(void **state)
{
    struct scene *scene = *state;
    open_history(scene, 10000, 1 << 30);
    for (uint64_t i = 1; i <= 1200; i++)
        run_task(scene, i, i % 3 ? "other" : "third", 100);
    expect_task(scene, 7, "other", 100);
    expect_task(scene, 1200, "third", 100);
    assert_int_equal(walk(scene, NULL), 1200);
    assert_int_equal(walk(scene, "third"), 400);
    assert_int_equal(walk(scene, "none"), 0);
    tick(scene, 2000);
    expect_task(scene, 1199, "other", 100);
    assert_int_equal(walk(scene, NULL), 1200);
    close_history(scene);
}

static void the_oldest_go_when_there_are_too_many(void **state)
{
    struct scene *scene = *state;
    open_history(scene, 50, 1 << 30);
    for (uint64_t i = 1; i <= 200; i++)
        run_task(scene, i, "l", 100);
    tick(scene, 1000);
    assert_int_equal(walk(scene, NULL), 50);
    assert_null(get(scene, 150));
    expect_task(scene, 151, "l", 100);
    assert_int_equal(scene->history.store.dropped_tasks, 150);
    close_history(scene);
}

static void the_oldest_results_go_when_they_are_too_large(void **state)
{
    struct scene *scene = *state;
    open_history(scene, 1000, 100000);
    for (uint64_t i = 1; i <= 40; i++)
        run_task(scene, i, "l", 10000);
    tick(scene, 1000);
    struct hub_task *first = get(scene, 1);
    assert_non_null(first);
    assert_null(first->result);
    assert_null(first->request);
    assert_true(first->was_kept);
    assert_int_equal(first->result_bytes, 10000);
    expect_task(scene, 40, "l", 10000);
    assert_int_equal(walk(scene, NULL), 40);
    assert_in_range(scene->history.store.dropped_results, 30, 39);
    close_history(scene);
}

static void the_old_go_after_their_time(void **state)
{
    struct scene *scene = *state;
    open_history(scene, 1000, 1 << 30);
    scene->history.store.limits.age_us = 1000;
    for (uint64_t i = 1; i <= 20; i++)
        run_task(scene, 100 * i, "l", 10);
    tick(scene, 2000);
    assert_null(get(scene, 900));
    expect_task(scene, 1000, "l", 10);
    assert_int_equal(walk(scene, NULL), 11);
    close_history(scene);
}

static void tasks_are_forgotten_on_request(void **state)
{
    struct scene *scene = *state;
    open_history(scene, 1000, 1 << 30);
    for (uint64_t i = 1; i <= 3; i++)
        run_task(scene, i, "l", 2 * HUB_FILE_BYTES);
    tick(scene, 10);
    run_task(scene, 4, "l", 10);
    for (uint64_t i = 1; i <= 4; i += 3)
        hub_store_forget(&scene->history.store, get(scene, i));
    assert_null(get(scene, 1));
    expect_task(scene, 2, "l", 2 * HUB_FILE_BYTES);
    assert_null(get(scene, 4));
    assert_int_equal(walk(scene, "l"), 2);
    run_task(scene, 5, "l", 10);
    hub_store_begin(&scene->history.store);
    for (uint64_t i = 2; i <= 5; i += 3)
        hub_store_forget(&scene->history.store, get(scene, i));
    hub_store_end(&scene->history.store);
    assert_int_equal(walk(scene, "l"), 1);
    run_task(scene, 6, "l", 10); /* the next ones are written as always */
    tick(scene, 10);
    assert_int_equal(walk(scene, "l"), 2);
    close_history(scene);
}

/* ---- sqlite ----------------------------------------------------------------------------- */

static int count_files(const char *folder)
{
    char command[128];
    snprintf(command, sizeof(command), "ls %s | wc -l", folder);
    FILE *out = popen(command, "r");
    int count = -1;
    assert_int_equal(fscanf(out, "%d", &count), 1);
    pclose(out);
    return count;
}

static void a_file_is_read_by_the_next_cluster(void **state)
{
    struct scene *scene = *state;
    char results[128];
    snprintf(results, sizeof(results), "%s-results", scene->path);
    open_history(scene, 1000, 1 << 30);
    run_task(scene, 1, "first", 10);
    run_task(scene, 2, "large", 2 * HUB_FILE_BYTES);
    close_history(scene);
    assert_int_equal(count_files(results), 1);
    open_history(scene, 1000, 1 << 30);
    expect_task(scene, 1, "first", 10);
    expect_task(scene, 2, "large", 2 * HUB_FILE_BYTES);
    run_task(scene, 3, "next", 10);
    assert_int_equal(get(scene, 3)->number, 3);
    struct hub_task *task = get(scene, 2);
    task->resubmitted = (struct hub_task_key){5, 3};
    scene->kind->resubmitted(&scene->history.store, task);
    assert_int_equal(get(scene, 2)->resubmitted.sequence, 3);
    hub_store_forget(&scene->history.store, get(scene, 2));
    assert_int_equal(count_files(results), 0);
    close_history(scene);
}

static void a_full_disk_costs_only_memory(void **state)
{
    struct scene *scene = *state;
    struct rlimit old, small = {.rlim_cur = 100000};
    open_history(scene, 1000, 1 << 30);
    run_task(scene, 1, "before", 10);
    tick(scene, 10);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    for (uint64_t i = 2; i <= 700; i++)
        run_task(scene, i, "during", 1000);
    tick(scene, 1000);
    assert_non_null(strstr(scene->history.store.trouble, "can't write to the database of tasks"));
    expect_task(scene, 1, "before", 10);
    expect_task(scene, 700, "during", 1000);
    assert_int_equal(walk(scene, NULL), 700);
    setrlimit(RLIMIT_FSIZE, &old);
    tick(scene, 1000);
    tick(scene, 1000); /* those that were no whole group */
    assert_string_equal(scene->history.store.trouble, "");
    assert_int_equal(scene->history.store.stored_count, 700);
    expect_task(scene, 700, "during", 1000);
    close_history(scene);
}

static void execute(const char *path, const char *text)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
}

static void an_older_file_is_brought_up_to_date(void **state)
{
    struct scene *scene = *state;
    size_t size;
    open_history(scene, 1000, 1 << 30);
    run_task(scene, 1, "old", 10);
    close_history(scene);
    execute(scene->path, "DROP INDEX by_label; DROP INDEX by_end; DROP INDEX by_full_end;"
                         "DROP INDEX by_function; DROP TABLE submissions;"
                         "ALTER TABLE tasks DROP COLUMN display;"
                         "PRAGMA user_version = 1");
    open_history(scene, 1000, 1 << 30);
    struct hub_task *task = get(scene, 1);
    assert_non_null(task);
    assert_int_equal(task->result->parts_bytes, 10);
    assert_null(hub_task_output(task, PC_STREAM_DISPLAY, &size));
    assert_int_equal(walk(scene, "old"), 1);
    run_task(scene, 2, "new", 10);
    close_history(scene);
    open_history(scene, 1000, 1 << 30);
    expect_task(scene, 2, "new", 10);
    close_history(scene);
}

static void expect_refused(struct scene *scene, const char *within)
{
    struct pc_err err = {.text = ""};
    assert_null(hub_database_open(scene->path, &err));
    if (!strstr(err.text, within) || !strstr(err.text, scene->path))
        fail_msg("'%s' does not say '%s'", err.text, within);
}

static void files_that_can_not_be_used_are_refused(void **state)
{
    struct scene *scene = *state;
    open_history(scene, 1000, 1 << 30);
    close_history(scene);
    execute(scene->path, "PRAGMA user_version = 99");
    expect_refused(scene, "written by a newer pcluster");
    FILE *file = fopen(scene->path, "w");
    for (int i = 0; i < 5000; i++)
        fputs("this is no database ", file);
    fclose(file);
    expect_refused(scene, "file is not a database");
    unlink(scene->path);
    mkdir(scene->path, 0700);
    expect_refused(scene, "unable to open database file");
    rmdir(scene->path);
}

/* It takes longer to write than to take in: that is done when nothing comes. */
static void a_rush_is_written_later(void **state)
{
    struct scene *scene = *state;
    struct hub_store *store = &scene->history.store;
    open_history(scene, 10000, 1 << 30);
    for (uint64_t i = 1; i <= 3000; i++)
        run_task(scene, i, "l", 10);
    assert_int_equal(store->stored_count, 0);
    assert_true(store->has_work);
    assert_int_equal(walk(scene, NULL), 3000);
    expect_task(scene, 1, "l", 10);
    scene->kind->work(store, 4000);
    assert_in_range(store->stored_count, 1, 2999); /* a piece of it */
    assert_int_equal(walk(scene, NULL), 3000);
    expect_task(scene, 1, "l", 10);
    tick(scene, 4000);
    tick(scene, 4000);
    assert_int_equal(store->stored_count, 3000);
    close_history(scene);
}

/* What waits to be written stays within the limits, too. */
static void a_rush_stays_within_the_limits(void **state)
{
    struct scene *scene = *state;
    struct hub_store *store = &scene->history.store;
    open_history(scene, 1500, 1000000);
    for (uint64_t i = 1; i <= 5000; i++) {
        run_task(scene, i, "l", 100);
        assert_true(store->count <= 1500);
    }
    tick(scene, 6000);
    assert_int_equal(walk(scene, NULL), 1500);
    expect_task(scene, 5000, "l", 100);
    assert_null(get(scene, 3500));
    assert_int_equal(store->dropped_tasks, 3500);
    for (uint64_t i = 5001; i <= 6000; i++) {
        run_task(scene, i, "l", 10000);
        assert_true(store->bytes <= 1000000);
    }
    tick(scene, 7000);
    tick(scene, 7000);
    assert_true(store->stored_bytes <= 1000000);
    assert_int_equal(walk(scene, NULL), 1500);
    close_history(scene);
}

static void ends_of_durable_tasks_do_not_wait(void **state)
{
    struct scene *scene = *state;
    struct hub_store *store = &scene->history.store;
    struct hub_task_key key = {5, 3001};
    open_history(scene, 10000, 1 << 30);
    for (uint64_t i = 1; i <= 3000; i++)
        run_task(scene, i, "l", 10);
    run_one(scene, key.sequence, "l", 10, PC_RECORD_DURABLE);
    assert_true(scene->history.has_durable_end);
    scene->kind->sync(store);
    assert_int_not_equal(scene->kind->number_of(store, &key), 0);
    assert_true(store->has_work);
    assert_int_equal(walk(scene, NULL), 3001);
    close_history(scene);
}

static int rows(const char *path, const char *table)
{
    sqlite3 *handle;
    sqlite3_stmt *statement;
    char text[64];
    snprintf(text, sizeof(text), "SELECT count(*) FROM %s", table);
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle, text, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int count = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return count;
}

#define FIRST_NAME  "x'0101010101010101010101010101010101010101010101010101010101010101'"
#define SECOND_NAME "x'0202020202020202020202020202020202020202020202020202020202020202'"

/* However the tasks leave: dropped, stripped of what they carry, forgotten. */
static void functions_leave_with_their_last_task(void **state)
{
    struct scene *scene = *state;
    struct hub_store *store = &scene->history.store;
    open_history(scene, 1000, 1 << 30);
    for (uint64_t i = 1; i <= 5; i++)
        run_task(scene, i, "l", 1000);
    close_history(scene);
    execute(scene->path,
            "INSERT INTO functions VALUES(" FIRST_NAME ", x'00'), (" SECOND_NAME ", x'00');"
            "UPDATE tasks SET function = CASE sequence % 2 WHEN 1 THEN " FIRST_NAME
            " ELSE " SECOND_NAME " END");
    open_history(scene, 4, 1 << 30);
    tick(scene, 10); /* 1 goes */
    assert_int_equal(rows(scene->path, "functions"), 2);
    hub_store_begin(store);
    hub_store_forget(store, get(scene, 2));
    hub_store_forget(store, get(scene, 4));
    hub_store_end(store);
    assert_int_equal(rows(scene->path, "functions"), 1);
    store->limits.bytes = 10;
    tick(scene, 10);
    assert_int_equal(rows(scene->path, "functions"), 0);
    assert_int_equal(walk(scene, NULL), 2);
    close_history(scene);
}

/* Somebody has it open and writes for ever: as bad as a full disk, and no worse. */
static void a_locked_file_costs_only_memory(void **state)
{
    struct scene *scene = *state;
    sqlite3 *other;
    open_history(scene, 1000, 1 << 30);
    assert_int_equal(sqlite3_open(scene->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    run_task(scene, 1, "l", 10);
    tick(scene, 10);
    assert_non_null(strstr(scene->history.store.trouble, "database is locked"));
    expect_task(scene, 1, "l", 10);
    sqlite3_close(other);
    tick(scene, 10);
    assert_int_equal(scene->history.store.stored_count, 1);
    close_history(scene);
}

/* ---- none ------------------------------------------------------------------------------- */

static void nothing_is_kept(void **state)
{
    struct scene *scene = *state;
    scene->kind = &hub_store_none;
    open_history(scene, 1000, 1 << 30);
    run_task(scene, 1, "l", 10);
    assert_null(get(scene, 1));
    assert_int_equal(walk(scene, NULL), 0);
    assert_int_equal(scene->history.done, 1);
    close_history(scene);
}

/* ---- the table -------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *where)
{
    return remove(path);
}

static int make_scene(void **state, const struct hub_store_kind *kind)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    strcpy(scene->folder, "/tmp/pc-store-XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->path, sizeof(scene->path), "%s/tasks.db", scene->folder);
    scene->kind = kind;
    *state = scene;
    return 0;
}

static int with_memory(void **state)
{
    return make_scene(state, &hub_store_memory);
}

static int with_sqlite(void **state)
{
    return make_scene(state, &hub_store_sqlite);
}

static int end_scene(void **state)
{
    struct scene *scene = *state;
    nftw(scene->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(scene);
    return 0;
}

#define memory(test)                                                                               \
    {                                                                                              \
        "memory: " #test, test, with_memory, end_scene, NULL                                       \
    }
#define sqlite(test)                                                                               \
    {                                                                                              \
        "sqlite: " #test, test, with_sqlite, end_scene, NULL                                       \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        memory(tasks_are_found_again),
        sqlite(tasks_are_found_again),
        memory(the_oldest_go_when_there_are_too_many),
        sqlite(the_oldest_go_when_there_are_too_many),
        memory(the_oldest_results_go_when_they_are_too_large),
        sqlite(the_oldest_results_go_when_they_are_too_large),
        memory(the_old_go_after_their_time),
        sqlite(the_old_go_after_their_time),
        memory(tasks_are_forgotten_on_request),
        sqlite(tasks_are_forgotten_on_request),
        memory(nothing_is_kept),
        sqlite(a_file_is_read_by_the_next_cluster),
        sqlite(a_full_disk_costs_only_memory),
        sqlite(a_rush_is_written_later),
        sqlite(a_rush_stays_within_the_limits),
        sqlite(ends_of_durable_tasks_do_not_wait),
        sqlite(functions_leave_with_their_last_task),
        sqlite(a_locked_file_costs_only_memory),
        sqlite(an_older_file_is_brought_up_to_date),
        sqlite(files_that_can_not_be_used_are_refused),
    };
    pc_log_init("test", PC_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
