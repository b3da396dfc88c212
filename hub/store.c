/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/store.h"

#include <string.h>

#include "hub/store_list.h"
#include "lib/log.h"

static const struct hub_store_kind *const kinds[] = {&hub_store_memory, &hub_store_sqlite,
                                                     &hub_store_none};

const struct hub_store_kind *hub_store_find(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}

int hub_store_open(struct hub_store *store, const struct hub_store_kind *kind,
                   struct hub_tasks *tasks, const char *path, struct pc_err *err)
{
    store->kind = kind;
    store->tasks = tasks;
    return kind->open ? kind->open(store, path, err) : 0;
}

void hub_store_close(struct hub_store *store)
{
    if (store->kind && store->kind->close)
        store->kind->close(store);
    store->kind = NULL;
}

struct hub_task *hub_store_get(struct hub_store *store, const struct hub_task_key *key)
{
    struct hub_task *task = hub_tasks_find(store->tasks, key);
    return task || !store->kind->find ? task : store->kind->find(store, key);
}

uint64_t hub_store_number(struct hub_store *store, const struct hub_task_key *key)
{
    const struct hub_task *task = hub_tasks_find(store->tasks, key);
    if (task)
        return task->number;
    return store->kind->number_of ? store->kind->number_of(store, key) : 0;
}

struct hub_task *hub_store_after(struct hub_store *store, uint64_t number, const char *label)
{
    struct hub_task *here = hub_tasks_after(store->tasks, number, label);
    struct hub_task *there = store->kind->after ? store->kind->after(store, number, label) : NULL;
    return !there || (here && here->number < there->number) ? here : there;
}

struct hub_task *hub_store_before(struct hub_store *store, uint64_t number)
{
    struct hub_task *here = hub_tasks_before(store->tasks, number);
    struct hub_task *there = store->kind->before ? store->kind->before(store, number) : NULL;
    return !there || (here && here->number > there->number) ? here : there;
}

void hub_store_load(struct hub_store *store, struct hub_task *task)
{
    bool is_waiting = task->is_durable && !hub_task_has_ended(task);
    if (is_waiting && !task->request && store->kind->load_durable)
        store->kind->load_durable(store, task);
    if (!task->is_elsewhere || task->is_loaded)
        return;
    task->is_loaded = true;
    store->kind->load(store, task);
}

void hub_store_add_result(struct hub_store *store, struct hub_task *task, struct pc_msg *result)
{
    uint64_t before = hub_task_payload(task);
    task->result = result;
    if (task->is_elsewhere) {
        store->kind->add_result(store, task);
    } else {
        store->bytes += hub_task_payload(task) - before;
        hub_list_trim(store);
    }
}

void hub_store_begin(struct hub_store *store)
{
    if (store->kind->begin)
        store->kind->begin(store);
}

void hub_store_end(struct hub_store *store)
{
    if (store->kind->end)
        store->kind->end(store);
}

void hub_store_forget(struct hub_store *store, struct hub_task *task)
{
    struct hub_task_key key = task->key;
    store->kind->forget(store, &key);
}

pc_json *hub_store_json(const struct hub_store *store)
{
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "kind", store->kind->name);
    pc_json_put_i64(json, "tasks", (int64_t)(store->count + store->stored_count));
    pc_json_put_i64(json, "bytes", (int64_t)(store->bytes + store->stored_bytes));
    pc_json_put_i64(json, "limit_tasks", (int64_t)store->limits.count);
    pc_json_put_i64(json, "limit_bytes", (int64_t)store->limits.bytes);
    pc_json_put_i64(json, "limit_age_s", store->limits.age_us / 1000000);
    pc_json_put_i64(json, "dropped_tasks", (int64_t)store->dropped_tasks);
    pc_json_put_i64(json, "dropped_results", (int64_t)store->dropped_results);
    pc_json_put_str(json, "trouble", store->trouble[0] ? store->trouble : NULL);
    return json;
}
