/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/tasks.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/log.h"
#include "lib/mem.h"

/* ---- pages ------------------------------------------------------------------------------ */

static struct hub_page **slot(const struct hub_tasks *tasks, uint64_t page)
{
    return &tasks->pages[page & (tasks->page_capacity - 1)];
}

static struct hub_page *page_at(const struct hub_tasks *tasks, uint64_t page)
{
    return page >= tasks->first_page && page < tasks->end_page ? *slot(tasks, page) : NULL;
}

/* Makes room for one more page at the end. */
static void grow(struct hub_tasks *tasks)
{
    struct hub_tasks larger = *tasks;
    larger.page_capacity = tasks->page_capacity ? 2 * tasks->page_capacity : 64;
    larger.pages = pc_xcalloc(larger.page_capacity, sizeof(struct hub_page *));
    for (uint64_t page = tasks->first_page; page < tasks->end_page; page++)
        *slot(&larger, page) = *slot(tasks, page);
    free(tasks->pages);
    *tasks = larger;
}

static void enter_page(struct hub_tasks *tasks, struct hub_task *task)
{
    uint64_t number = task->number / HUB_PAGE;
    if (tasks->first_page == tasks->end_page)
        tasks->first_page = tasks->end_page = number;
    while (tasks->end_page <= number || tasks->first_page > number) {
        if (tasks->end_page - tasks->first_page == tasks->page_capacity)
            grow(tasks);
        *slot(tasks, tasks->end_page <= number ? tasks->end_page++ : --tasks->first_page) = NULL;
    }
    struct hub_page **page = slot(tasks, number);
    if (!*page)
        *page = pc_xcalloc(1, sizeof(struct hub_page));
    (*page)->tasks[task->number % HUB_PAGE] = task;
    (*page)->count++;
}

static void leave_page(struct hub_tasks *tasks, const struct hub_task *task)
{
    struct hub_page **page = slot(tasks, task->number / HUB_PAGE);
    (*page)->tasks[task->number % HUB_PAGE] = NULL;
    if (--(*page)->count)
        return;
    free(*page);
    *page = NULL;
    while (tasks->first_page < tasks->end_page && !*slot(tasks, tasks->first_page))
        tasks->first_page++;
}

/* ---- labels ----------------------------------------------------------------------------- */

static struct hub_label *find_label(const struct hub_tasks *tasks, const char *text, size_t size)
{
    struct hub_label *label;
    HASH_FIND(hh, tasks->labels, text, size, label);
    return label;
}

void hub_tasks_set_label(struct hub_tasks *tasks, struct hub_task *task, const char *text,
                         size_t size)
{
    if (!size || task->label || memchr(text, '\0', size))
        return;
    struct hub_label *label = find_label(tasks, text, size);
    if (!label) {
        label = pc_xcalloc(1, sizeof(*label) + size + 1);
        memcpy(label->text, text, size);
        label->size = (uint32_t)size;
        HASH_ADD_KEYPTR(hh, tasks->labels, label->text, size, label);
    }
    task->label = label;
    DL_APPEND2(label->tasks, task, label_prev, label_next);
}

static void leave_label(struct hub_tasks *tasks, struct hub_task *task)
{
    struct hub_label *label = task->label;
    if (!label)
        return;
    DL_DELETE2(label->tasks, task, label_prev, label_next);
    task->label = NULL;
    if (label->tasks)
        return;
    HASH_DEL(tasks->labels, label);
    free(label);
}

static int by_number(const struct hub_task *a, const struct hub_task *b)
{
    return a->number < b->number ? -1 : a->number > b->number;
}

void hub_tasks_sort_labels(struct hub_tasks *tasks)
{
    struct hub_label *label, *next;
    HASH_ITER (hh, tasks->labels, label, next)
        DL_SORT2(label->tasks, by_number, label_prev, label_next);
}

/* ---- functions -------------------------------------------------------------------------- */

/* Mostly it is that of the task before. */
static struct hub_function *find_function(const struct hub_tasks *tasks, const uint8_t *name)
{
    struct hub_function *function = tasks->latest_function;
    if (!function || memcmp(function->name, name, PC_FUNCTION_NAME_SIZE) != 0)
        HASH_FIND(hh, tasks->functions, name, PC_FUNCTION_NAME_SIZE, function);
    return function;
}

void hub_tasks_set_function(struct hub_tasks *tasks, struct hub_task *task, struct pc_msg *msg)
{
    struct hub_function *function = find_function(tasks, msg->body);
    if (!function) {
        function = pc_xcalloc(1, sizeof(*function));
        memcpy(function->name, msg->body, PC_FUNCTION_NAME_SIZE);
        function->msg = pc_msg_ref(msg);
        function->tasks = tasks;
        HASH_ADD(hh, tasks->functions, name, PC_FUNCTION_NAME_SIZE, function);
        tasks->function_bytes += msg->parts_bytes;
    }
    function->users++;
    tasks->latest_function = task->function = function;
}

int hub_tasks_use_function(struct hub_tasks *tasks, struct hub_task *task, const uint8_t *name,
                           struct pc_msg *msg)
{
    const struct hub_function *function = find_function(tasks, name);
    if (function)
        msg = function->msg;
    if (!msg || memcmp(msg->body, name, PC_FUNCTION_NAME_SIZE) != 0)
        return -1;
    hub_tasks_set_function(tasks, task, msg);
    return 0;
}

void hub_function_put(struct hub_function *function)
{
    if (!function || --function->users)
        return;
    struct hub_tasks *tasks = function->tasks;
    if (tasks->latest_function == function)
        tasks->latest_function = NULL;
    HASH_DEL(tasks->functions, function);
    tasks->function_bytes -= function->msg->parts_bytes;
    pc_msg_unref(function->msg);
    free(function);
}

/* ---- tasks ------------------------------------------------------------------------------ */

struct hub_task *hub_tasks_add(struct hub_tasks *tasks, const struct hub_task_key *key)
{
    if (!tasks->next_number)
        tasks->next_number = 1; /* 0 is before the first */
    return hub_tasks_restore(tasks, key, tasks->next_number++);
}

struct hub_task *hub_tasks_restore(struct hub_tasks *tasks, const struct hub_task_key *key,
                                   uint64_t number)
{
    struct hub_task *task = pc_xcalloc(1, sizeof(*task));
    task->key = *key;
    task->number = number;
    task->engine_id = UINT32_MAX;
    if (pc_index_add(&tasks->by_key, key->session, key->sequence, task))
        pc_fatal(1, "out of memory");
    enter_page(tasks, task);
    return task;
}

void hub_tasks_remove(struct hub_tasks *tasks, struct hub_task *task)
{
    pc_index_remove(&tasks->by_key, task->key.session, task->key.sequence);
    leave_page(tasks, task);
    leave_label(tasks, task);
    hub_task_free(task);
}

void hub_tasks_fini(struct hub_tasks *tasks)
{
    struct hub_task *task;
    for (uint64_t at = 0; (task = hub_tasks_after(tasks, at, NULL)) != NULL;) {
        at = task->number;
        hub_tasks_remove(tasks, task);
    }
    pc_index_fini(&tasks->by_key);
    free(tasks->pages);
    *tasks = (struct hub_tasks){0};
}

/* ---- looking them up -------------------------------------------------------------------- */

struct hub_task *hub_tasks_find(const struct hub_tasks *tasks, const struct hub_task_key *key)
{
    return pc_index_find(&tasks->by_key, key->session, key->sequence);
}

struct hub_task *hub_tasks_at(const struct hub_tasks *tasks, uint64_t number)
{
    const struct hub_page *page = page_at(tasks, number / HUB_PAGE);
    return page ? page->tasks[number % HUB_PAGE] : NULL;
}

static struct hub_task *labelled_after(const struct hub_tasks *tasks, uint64_t number,
                                       const char *text)
{
    const struct hub_label *label = find_label(tasks, text, strlen(text));
    if (!label)
        return NULL;
    /* Mostly the one before is still there: then the next is its neighbour. */
    struct hub_task *task = hub_tasks_at(tasks, number);
    if (!task || task->label != label)
        task = label->tasks;
    while (task && task->number <= number)
        task = task->label_next;
    return task;
}

struct hub_task *hub_tasks_after(const struct hub_tasks *tasks, uint64_t number, const char *label)
{
    if (label)
        return labelled_after(tasks, number, label);
    uint64_t first = tasks->first_page * HUB_PAGE, end = tasks->end_page * HUB_PAGE;
    for (uint64_t at = number < first ? first : number + 1; at < end;) {
        const struct hub_page *page = page_at(tasks, at / HUB_PAGE);
        if (page && page->tasks[at % HUB_PAGE])
            return page->tasks[at % HUB_PAGE];
        at = page ? at + 1 : (at / HUB_PAGE + 1) * HUB_PAGE;
    }
    return NULL;
}

struct hub_task *hub_tasks_before(const struct hub_tasks *tasks, uint64_t number)
{
    uint64_t first = tasks->first_page * HUB_PAGE, end = tasks->end_page * HUB_PAGE;
    for (uint64_t at = number < end ? number : end; at > first;) {
        const struct hub_page *page = page_at(tasks, (at - 1) / HUB_PAGE);
        if (page && page->tasks[(at - 1) % HUB_PAGE])
            return page->tasks[(at - 1) % HUB_PAGE];
        at = page ? at - 1 : (at - 1) / HUB_PAGE * HUB_PAGE;
    }
    return NULL;
}
