/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeps tasks in a SQLite file. Those that have just ended are in the list in memory and written
 * in groups; only then they leave it. So a disk that is full costs nothing but memory, within the
 * limits, and what could not be written is tried again every second.
 *
 * Writing takes much longer than taking in, so it waits until the hub has nothing else to do: a
 * rush goes into the list, and into the journal. One that is longer than the list may be is written
 * at the pace of the file. Ends of durable tasks do not wait: they are at the head of the list.
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
#define TRIM_MAX 1000 /* tasks dropped in one: more than a group, or the file would grow */
#define TRIM_US  10000
/* What waits to be written may take that much memory, if the limits allow it. */
#define WAITING_BYTES (UINT64_C(256) << 20)

struct sqlite_store {
    struct hub_database *database;
    struct hub_task *found; /* the latest one that was given out */
    bool is_failing;
    bool is_trimming; /* not all that has to go is gone */
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

/* Makes room in the file: too many tasks, or too old, go; too many bytes lose what they carry. */
static int trim_file(struct hub_store *store, int64_t now_us, struct pc_err *err)
{
    struct hub_database *database = own(store)->database;
    const struct hub_limits *limits = &store->limits;
    const struct hub_database_pace pace = {TRIM_MAX, TRIM_US};
    uint64_t before = hub_database_count(database);
    int64_t older_us = limits->age_us ? now_us - limits->age_us : 0;
    int dropped = 0, stripped = 0;
    if (before > limits->count || older_us)
        dropped = hub_database_drop(database, limits->count, older_us, &pace, err);
    store->dropped_tasks += before - hub_database_count(database);
    if (dropped >= 0 && hub_database_bytes(database) > limits->bytes)
        stripped = hub_database_strip(database, limits->bytes, &pace, &store->dropped_results, err);
    own(store)->is_trimming = dropped > 0 || stripped > 0;
    return dropped < 0 || stripped < 0 ? -1 : 0;
}

static void look_for_work(struct hub_store *store)
{
    struct sqlite_store *sqlite = own(store);
    store->has_work = !sqlite->is_failing && (store->count >= GROUP || sqlite->is_trimming);
}

/* Writes a group, if there is anything. */
static int write_some(struct hub_store *store)
{
    struct pc_err err;
    if (store->oldest && write_group(store, &err)) {
        trouble(store, &err);
        hub_list_trim(store);
        count_all(store);
        look_for_work(store);
        return -1;
    }
    count_all(store);
    return 0;
}

static void step(struct hub_store *store, int64_t now_us)
{
    struct pc_err err;
    if (write_some(store))
        return;
    if (trim_file(store, now_us, &err))
        trouble(store, &err);
    else
        trouble_is_over(store);
    count_all(store);
    look_for_work(store);
}

/* Those that the limits would have dropped as soon as they were written need not be. */
static void trim_list(struct hub_store *store)
{
    while (store->count > store->limits.count && !store->oldest->is_durable)
        hub_list_drop_oldest(store);
}

static uint64_t waiting_max(const struct hub_store *store)
{
    return store->limits.bytes < WAITING_BYTES ? store->limits.bytes : WAITING_BYTES;
}

static void ended(struct hub_store *store, struct hub_task *task)
{
    if (task->is_durable)
        hub_list_prepend(store, task);
    else
        hub_list_append(store, task);
    if (own(store)->is_failing) {
        hub_list_trim(store);
        return;
    }
    trim_list(store);
    if (store->bytes > waiting_max(store))
        write_some(store);
    look_for_work(store);
}

/* Ends of durable tasks. */
static void sync_ends(struct hub_store *store)
{
    while (write_some(store) == 0 && store->oldest && store->oldest->is_durable)
        ;
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
    while (store->oldest && write_some(store) == 0)
        ;
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
    .sync = sync_ends,
    .work = step,
    .tick = step,
};
