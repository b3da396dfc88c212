/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/find.h"

#include <stdlib.h>
#include <string.h>

#include "hub/filter.h"
#include "lib/clock.h"
#include "lib/mem.h"

#define PAGE_US    10000 /* of looking at tasks */
#define PAGE_BYTES (512 * 1024)
#define PAGE_ROWS  5000
#define KEYS_MAX   32

/* What one page is made from. */
struct page {
    struct hub_store *store;
    struct hub_filter filter;
    const struct hub_field *keys[KEYS_MAX];
    size_t key_count;
    bool is_newest;    /* from the end */
    uint64_t at;       /* number of the task before the next one */
    uint64_t *numbers; /* of the only tasks that can match, rising; NULL: any */
    size_t number_count, number_next;
    int64_t begun_us;
    size_t looked_at, rows, rows_max, bytes;
};

/* ---- reading the question --------------------------------------------------------------- */

static int read_keys(struct page *page, const pc_json *keys, struct pc_err *err)
{
    if (!keys || pc_json_is_null(keys)) {
        for (const struct hub_field *field = hub_fields; field->name; field++)
            page->keys[page->key_count++] = field;
        return 0;
    }
    for (const pc_json *item = pc_json_first(keys); item; item = pc_json_next(item)) {
        const char *name = pc_json_text(item);
        const struct hub_field *field = name ? hub_field_find(name) : NULL;
        if (!field)
            return pc_err_set(err, PC_E_INVALID, "tasks have no '%.40s'", name ? name : "?");
        if (page->key_count == KEYS_MAX)
            return pc_err_set(err, PC_E_INVALID, "more than %d keys", KEYS_MAX);
        page->keys[page->key_count++] = field;
    }
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The filter names ids: no other task needs to be looked at. */
static void take_ids(struct page *page)
{
    const pc_json *ids = page->filter.ids;
    bool is_list = pc_json_is_array(ids);
    size_t count = is_list ? pc_json_count(ids) : 1;
    struct hub_task_key key;
    page->numbers = pc_xcalloc(count + 1, sizeof(*page->numbers));
    for (const pc_json *id = is_list ? pc_json_first(ids) : ids; id;
         id = is_list ? pc_json_next(id) : NULL) {
        const char *text = pc_json_text(id);
        uint64_t number =
            text && hub_id_parse(text, &key) == 0 ? hub_store_number(page->store, &key) : 0;
        if (number)
            page->numbers[page->number_count++] = number;
    }
    qsort(page->numbers, page->number_count, sizeof(*page->numbers), by_number);
}

static int page_init(struct page *page, struct hub_store *store, const pc_json *question,
                     struct pc_err *err)
{
    const pc_json *filter = pc_json_member(question, "filter");
    memset(page, 0, sizeof(*page));
    page->store = store;
    page->is_newest = pc_json_bool_or(question, "newest", false);
    int64_t limit = pc_json_i64_or(question, "limit", PAGE_ROWS);
    page->rows_max = limit > 0 && limit < PAGE_ROWS ? (size_t)limit : PAGE_ROWS;
    int64_t after = pc_json_i64_or(question, "after", 0);
    page->at = after > 0 ? (uint64_t)after : page->is_newest ? UINT64_MAX : 0;
    if (filter && hub_filter_init(&page->filter, filter, err))
        return -1;
    if (read_keys(page, pc_json_member(question, "keys"), err))
        return -1;
    if (page->filter.ids)
        take_ids(page);
    page->begun_us = pc_clock_us();
    return 0;
}

/* ---- walking ---------------------------------------------------------------------------- */

static struct hub_task *next_named(struct page *page)
{
    while (page->number_next < page->number_count) {
        size_t index =
            page->is_newest ? page->number_count - 1 - page->number_next : page->number_next;
        uint64_t number = page->numbers[index];
        page->number_next++;
        if (page->is_newest ? number >= page->at : number <= page->at)
            continue; /* on a page before, or named twice */
        struct hub_task *task = hub_store_after(page->store, number - 1, NULL);
        if (task && task->number == number)
            return task;
    }
    return NULL;
}

static struct hub_task *next_task(struct page *page)
{
    struct hub_task *task = page->numbers ? next_named(page)
                            : page->is_newest
                                ? hub_store_before(page->store, page->at)
                                : hub_store_after(page->store, page->at, page->filter.label);
    if (task)
        page->at = task->number;
    return task;
}

static bool is_full(struct page *page)
{
    return page->rows >= page->rows_max || page->bytes >= PAGE_BYTES ||
           (page->looked_at % 64 == 63 && pc_clock_us() - page->begun_us > PAGE_US);
}

static pc_json *row_of(struct page *page, struct hub_task *task)
{
    pc_json *row = pc_json_object();
    struct hub_value value;
    for (size_t i = 0; i < page->key_count; i++) {
        hub_field_get(page->keys[i], page->store, task, &value);
        hub_value_put(&value, page->keys[i]->name, row);
        page->bytes += hub_value_cost(&value) + 32;
        hub_value_fini(&value);
    }
    return row;
}

int hub_find(struct hub_history *history, const pc_json *question, pc_json *reply,
             struct pc_err *err)
{
    struct page page;
    struct hub_task *task = NULL;
    if (page_init(&page, &history->store, question, err))
        return -1;
    pc_json *rows = pc_json_array();
    while (!is_full(&page) && (task = next_task(&page)) != NULL) {
        page.looked_at++;
        if (!hub_filter_matches(&page.filter, page.store, task))
            continue;
        pc_json_append(rows, row_of(&page, task));
        page.rows++;
    }
    free(page.numbers);
    pc_json_put(reply, "rows", rows);
    if (task)
        pc_json_put_i64(reply, "next", (int64_t)page.at);
    else
        pc_json_put_str(reply, "next", NULL);
    return 0;
}

/* ---- forgetting ------------------------------------------------------------------------- */

static bool ran_on(const struct hub_task *task, const pc_json *engines)
{
    for (const pc_json *id = pc_json_first(engines); id; id = pc_json_next(id))
        if (pc_json_is_number(id) && pc_json_number(id) == task->engine_id)
            return true;
    return false;
}

/* All of the named ones, or none. */
static int purge_named(struct hub_store *store, const pc_json *ids, int64_t *purged,
                       struct pc_err *err)
{
    for (int pass = 0; pass < 2; pass++)
        for (const pc_json *id = pc_json_first(ids); id; id = pc_json_next(id)) {
            struct hub_task_key key;
            const char *text = pc_json_text(id);
            if (!text || hub_id_parse(text, &key))
                return pc_err_set(err, PC_E_INVALID, "'%.60s' is not the id of a task",
                                  text ? text : "?");
            struct hub_task *task = hub_store_get(store, &key);
            if (!task && pass == 0)
                return pc_err_set(err, PC_E_INVALID, "no such task: %.60s", text);
            if (task && !hub_task_has_ended(task))
                return pc_err_set(err, PC_E_INVALID,
                                  "%.60s is pending: wait for it, or abort it first", text);
            if (task && pass == 1) {
                hub_store_forget(store, task);
                ++*purged;
            }
        }
    return 0;
}

/* `until`: where it ends, when it is done once more; else after a while. */
static uint64_t purge_some(struct hub_store *store, const pc_json *engines, uint64_t after,
                           int64_t until, int64_t *purged)
{
    int64_t begun_us = pc_clock_us();
    struct hub_task *task;
    while ((task = hub_store_after(store, after, NULL)) != NULL) {
        after = task->number;
        if (until && after > (uint64_t)until)
            return after;
        if (hub_task_has_ended(task) && (!engines || ran_on(task, engines))) {
            hub_store_forget(store, task);
            ++*purged;
        }
        if (!until && after % 64 == 0 && pc_clock_us() - begun_us > PAGE_US)
            return after;
    }
    return 0;
}

int hub_purge(struct hub_history *history, const pc_json *question, pc_json *reply,
              struct pc_err *err)
{
    const pc_json *ids = pc_json_member(question, "tasks");
    const pc_json *engines = pc_json_member(question, "engines");
    int64_t purged = 0;
    uint64_t next = 0;
    int64_t after = pc_json_i64_or(question, "after", 0);
    bool is_all = pc_json_bool_or(question, "all", false);
    int failed = 0;
    if ((ids && !pc_json_is_array(ids)) || (engines && !pc_json_is_array(engines)))
        return pc_err_set(err, PC_E_INVALID, "'tasks' and 'engines' are lists");
    hub_store_begin(&history->store);
    if (ids)
        failed = purge_named(&history->store, ids, &purged, err);
    if (!failed && (is_all || engines))
        next = purge_some(&history->store, is_all ? NULL : engines, after > 0 ? (uint64_t)after : 0,
                          pc_json_i64_or(question, "until", 0), &purged);
    hub_store_end(&history->store);
    if (failed)
        return -1;
    pc_json_put_i64(reply, "purged", purged);
    if (next)
        pc_json_put_i64(reply, "next", (int64_t)next);
    else
        pc_json_put_str(reply, "next", NULL);
    return 0;
}
