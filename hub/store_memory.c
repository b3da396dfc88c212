/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeps tasks in memory, within limits. Too many bytes: requests, results and output of those that
 * ended first go, then those tasks. Too many tasks, or too old: they go.
 *
 * The list is in the order of ending; everything before oldest_full has no payload any more.
 */
#include "hub/store.h"
#include "hub/store_list.h"

#include <utlist.h>

void hub_list_remove(struct hub_store *store, struct hub_task *task)
{
    if (store->oldest_full == task)
        store->oldest_full = task->end_next;
    DL_DELETE2(store->oldest, task, end_prev, end_next);
    store->count--;
    store->bytes -= hub_task_cost(task) + hub_task_payload(task);
    hub_tasks_remove(store->tasks, task);
}

void hub_list_look_ahead(const struct hub_task *task)
{
    if (!task)
        return;
    hub_task_payload_come(task);
    if (task->end_next)
        hub_task_come(task->end_next);
}

void hub_list_drop_oldest(struct hub_store *store)
{
    store->dropped_tasks++;
    hub_list_remove(store, store->oldest);
    hub_list_look_ahead(store->oldest); /* before it goes, too, there is another task to take in */
}

static void drop_payload(struct hub_store *store)
{
    struct hub_task *task = store->oldest_full;
    uint64_t bytes = hub_task_payload(task);
    store->bytes -= bytes;
    store->dropped_results += task->result != NULL;
    task->was_kept = task->was_kept || task->result;
    hub_task_drop_payload(task);
    store->oldest_full = task->end_next;
}

void hub_list_trim(struct hub_store *store)
{
    while (store->count > store->limits.count)
        hub_list_drop_oldest(store);
    while (store->bytes + store->tasks->function_bytes > store->limits.bytes && store->count) {
        if (store->oldest_full)
            drop_payload(store);
        else
            hub_list_drop_oldest(store);
    }
}

static void count(struct hub_store *store, const struct hub_task *task)
{
    store->count++;
    store->bytes += hub_task_cost(task) + hub_task_payload(task);
}

void hub_list_append(struct hub_store *store, struct hub_task *task)
{
    DL_APPEND2(store->oldest, task, end_prev, end_next);
    if (!store->oldest_full)
        store->oldest_full = task;
    count(store, task);
}

void hub_list_prepend(struct hub_store *store, struct hub_task *task)
{
    DL_PREPEND2(store->oldest, task, end_prev, end_next);
    store->oldest_full = task;
    count(store, task);
}

void hub_list_drop_older(struct hub_store *store, int64_t received_us)
{
    while (store->oldest && store->oldest->received_us < received_us)
        hub_list_drop_oldest(store);
}

/* ---- the kind --------------------------------------------------------------------------- */

static void ended(struct hub_store *store, struct hub_task *task)
{
    hub_list_append(store, task);
    hub_list_trim(store);
}

static void forget(struct hub_store *store, const struct hub_task_key *key)
{
    struct hub_task *task = hub_tasks_find(store->tasks, key);
    if (task)
        hub_list_remove(store, task);
}

static void tick(struct hub_store *store, int64_t now_us)
{
    if (store->limits.age_us)
        hub_list_drop_older(store, now_us - store->limits.age_us);
}

const struct hub_store_kind hub_store_memory = {
    .name = "memory", .ended = ended, .forget = forget, .tick = tick};
