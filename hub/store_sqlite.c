/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeps tasks in a SQLite file. Those that have just ended are in the list in memory and written
 * in groups; only then they leave it. So a disk that is full costs nothing but memory, within the
 * limits, and what could not be written is tried again every second.
 */
#include "hub/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/database.h"
#include "hub/store_list.h"
#include "lib/log.h"
#include "lib/mem.h"

#define GROUP    500  /* tasks in one transaction */
#define TRIM_MAX 2000 /* tasks dropped in one */

struct sqlite_store {
    struct hub_database *database;
    struct hub_task *found; /* the latest one that was given out */
    bool is_failing;
    bool is_grouping; /* between begin and end */
};

static struct sqlite_store *own(struct hub_store *store)
{
    return store->more;
}

/* ---- trouble ---------------------------------------------------------------------------- */

static void trouble(struct hub_store *store, const struct pc_err *err)
{
    if (!own(store)->is_failing)
        pc_warn("%s; tasks are kept in memory until it works again", err->text);
    own(store)->is_failing = true;
    snprintf(store->trouble, sizeof(store->trouble),
             "%.240s; tasks are kept in memory until it works", err->text);
}

static void trouble_is_over(struct hub_store *store)
{
    if (own(store)->is_failing)
        pc_info("the database of tasks can be written again");
    own(store)->is_failing = false;
    store->trouble[0] = '\0';
}

/* ---- writing ---------------------------------------------------------------------------- */

/* Its end has to be as safe as its submission. */
static bool has_durable_end(const struct hub_store *store)
{
    int count = 0;
    for (struct hub_task *task = store->oldest; task && count < GROUP; task = task->end_next) {
        if (task->is_durable)
            return true;
        count++;
    }
    return false;
}

/* The oldest GROUP of those in memory. */
static int write_group(struct hub_store *store, struct pc_err *err)
{
    struct hub_database *database = own(store)->database;
    int count = 0;
    if (hub_database_begin(database, has_durable_end(store), err))
        return -1;
    for (struct hub_task *task = store->oldest; task && count < GROUP; task = task->end_next) {
        if (hub_database_write(database, task, err)) {
            hub_database_rollback(database);
            return -1;
        }
        count++;
    }
    if (hub_database_commit(database, err)) {
        hub_database_rollback(database);
        return -1;
    }
    while (count--)
        hub_list_remove(store, store->oldest);
    return 0;
}

static void count_all(struct hub_store *store)
{
    struct hub_database *database = own(store)->database;
    store->stored_count = hub_database_count(database);
    store->stored_bytes = hub_database_bytes(database);
}

static void write_all(struct hub_store *store)
{
    struct pc_err err;
    while (store->oldest) {
        if (write_group(store, &err)) {
            trouble(store, &err);
            hub_list_trim(store);
            break;
        }
        trouble_is_over(store);
    }
    count_all(store);
}

static void ended(struct hub_store *store, struct hub_task *task)
{
    hub_list_append(store, task);
    if (own(store)->is_failing)
        hub_list_trim(store);
    else if (store->count >= GROUP)
        write_all(store);
}

/* Makes room in the file: too many tasks, or too old, go; too many bytes lose what they carry. */
static void trim_file(struct hub_store *store, int64_t now_us)
{
    struct hub_database *database = own(store)->database;
    const struct hub_limits *limits = &store->limits;
    struct pc_err err;
    int64_t count = (int64_t)hub_database_count(database) - (int64_t)limits->count;
    if (count > TRIM_MAX)
        count = TRIM_MAX;
    int64_t older_us = limits->age_us ? now_us - limits->age_us : 0;
    uint64_t before = hub_database_count(database);
    if (hub_database_drop(database, count > 0 ? count : 0, older_us, TRIM_MAX, &err))
        trouble(store, &err);
    store->dropped_tasks += before - hub_database_count(database);
    if (hub_database_bytes(database) > limits->bytes &&
        hub_database_strip(database, limits->bytes, TRIM_MAX, &store->dropped_results, &err))
        trouble(store, &err);
    count_all(store);
}

static void tick(struct hub_store *store, int64_t now_us)
{
    write_all(store);
    if (!own(store)->is_failing)
        trim_file(store, now_us);
}

/* ---- reading ---------------------------------------------------------------------------- */

static struct hub_task *give(struct hub_store *store, struct hub_task *task)
{
    struct sqlite_store *sqlite = own(store);
    if (sqlite->found) {
        free(sqlite->found->label);
        hub_task_free(sqlite->found);
    }
    sqlite->found = task;
    return task;
}

static struct hub_task *find(struct hub_store *store, const struct hub_task_key *key)
{
    return give(store, hub_database_find(own(store)->database, key));
}

static uint64_t number_of(struct hub_store *store, const struct hub_task_key *key)
{
    return hub_database_number(own(store)->database, key);
}

static struct hub_task *after(struct hub_store *store, uint64_t number, const char *label)
{
    return give(store, hub_database_after(own(store)->database, number, label));
}

static struct hub_task *before(struct hub_store *store, uint64_t number)
{
    return give(store, hub_database_before(own(store)->database, number));
}

static void load(struct hub_store *store, struct hub_task *task)
{
    struct pc_msg *function = hub_database_load(own(store)->database, task);
    if (function)
        hub_tasks_set_function(store->tasks, task, function);
    pc_msg_unref(function);
}

static void add_result(struct hub_store *store, const struct hub_task *task)
{
    struct pc_err err;
    if (hub_database_add_result(own(store)->database, task, &err))
        trouble(store, &err);
    count_all(store);
}

static void forget(struct hub_store *store, const struct hub_task_key *key)
{
    struct hub_task *task = hub_tasks_find(store->tasks, key);
    struct pc_err err;
    if (task)
        hub_list_remove(store, task);
    else if (hub_database_forget(own(store)->database, key, &err))
        trouble(store, &err);
    count_all(store);
}

static void begin(struct hub_store *store)
{
    struct pc_err err;
    own(store)->is_grouping = hub_database_begin(own(store)->database, false, &err) == 0;
    if (!own(store)->is_grouping) /* then each is a change of its own, which may work */
        trouble(store, &err);
}

static void end(struct hub_store *store)
{
    struct pc_err err;
    if (own(store)->is_grouping && hub_database_commit(own(store)->database, &err)) {
        hub_database_rollback(own(store)->database);
        trouble(store, &err);
    }
    own(store)->is_grouping = false;
    count_all(store);
}

static void resubmitted(struct hub_store *store, const struct hub_task *task)
{
    struct pc_err err;
    if (hub_database_resubmitted(own(store)->database, task, &err))
        trouble(store, &err);
}

/* ---- durable tasks ------------------------------------------------------------------------ */

static int write_durable(struct hub_store *store, const struct hub_task *first, struct pc_err *err)
{
    struct hub_database *database = own(store)->database;
    int status = hub_database_begin(database, true, err);
    if (status < 0)
        return -1;
    for (const struct hub_task *task = first; task && status == 0; task = task->end_next)
        status = hub_database_submit(database, task, err);
    if (status == 0 && hub_database_commit(database, err) == 0)
        return 0;
    hub_database_rollback(database);
    return -1;
}

static bool has_durable(struct hub_store *store, const struct hub_task_key *key)
{
    return hub_database_is_submitted(own(store)->database, key);
}

static void load_durable(struct hub_store *store, struct hub_task *task)
{
    struct pc_msg *function = hub_database_load_submitted(own(store)->database, task);
    if (function)
        hub_tasks_set_function(store->tasks, task, function);
    pc_msg_unref(function);
}

static int change_durable(struct hub_store *store, const struct hub_task *task, struct pc_err *err)
{
    return hub_database_change_submitted(own(store)->database, task, err);
}

static void restore_durable(struct hub_store *store, void (*take)(void *arg, struct hub_task *task),
                            void *arg)
{
    struct hub_task *task;
    for (uint64_t at = 0; (task = hub_database_submitted(own(store)->database, at)) != NULL;) {
        at = task->number;
        take(arg, task);
        hub_task_free(task);
    }
}

/* ---- life ------------------------------------------------------------------------------- */

static int open_sqlite(struct hub_store *store, const char *path, struct pc_err *err)
{
    struct hub_database *database = hub_database_open(path, err);
    if (!database)
        return -1;
    store->more = pc_xcalloc(1, sizeof(struct sqlite_store));
    own(store)->database = database;
    uint64_t last = hub_database_last(database);
    if (store->tasks->next_number <= last)
        store->tasks->next_number = last + 1;
    count_all(store);
    return 0;
}

static void close_sqlite(struct hub_store *store)
{
    write_all(store);
    give(store, NULL);
    hub_database_close(own(store)->database);
    free(store->more);
    store->more = NULL;
}

const struct hub_store_kind hub_store_sqlite = {
    .name = "sqlite",
    .open = open_sqlite,
    .close = close_sqlite,
    .ended = ended,
    .find = find,
    .number_of = number_of,
    .after = after,
    .before = before,
    .load = load,
    .add_result = add_result,
    .forget = forget,
    .begin = begin,
    .end = end,
    .resubmitted = resubmitted,
    .write_durable = write_durable,
    .has_durable = has_durable,
    .load_durable = load_durable,
    .change_durable = change_durable,
    .restore_durable = restore_durable,
    .sync = write_all,
    .tick = tick,
};
