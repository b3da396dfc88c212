/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tasks in memory, found by id, by number (that is, in the order of submission) and by label.
 *
 * Numbers are dense when they are given and have holes later; they are looked up in pages, each of
 * which is freed when its last task goes. So a walk costs what it passes, and a task that never
 * ends costs one page.
 */
#ifndef PC_HUB_TASKS_H
#define PC_HUB_TASKS_H

#include "hub/task.h"
#include "lib/index.h"

#define HUB_PAGE 256

struct hub_page {
    unsigned count;
    struct hub_task *tasks[HUB_PAGE];
};

struct hub_tasks {
    struct pc_index by_key; /* struct hub_task */
    struct hub_label *labels;
    struct hub_function *functions, *latest_function; /* that a task was given; NULL: it is gone */
    uint64_t function_bytes;
    struct hub_page **pages; /* a ring: page p at pages[p % page_capacity] */
    uint64_t first_page, end_page, page_capacity;
    uint64_t next_number; /* of the next task; set before the first when a store has older ones */
};

void hub_tasks_fini(struct hub_tasks *tasks);
/* A new task with the next number. Its key must not be there yet. */
struct hub_task *hub_tasks_add(struct hub_tasks *tasks, const struct hub_task_key *key);
/* One that has a number already. */
struct hub_task *hub_tasks_restore(struct hub_tasks *tasks, const struct hub_task_key *key,
                                   uint64_t number);
/* After some were restored in another order: each label has its tasks in that of submission. */
void hub_tasks_sort_labels(struct hub_tasks *tasks);
void hub_tasks_set_label(struct hub_tasks *tasks, struct hub_task *task, const char *label,
                         size_t size);
/* `msg` is the FUNCTION. */
void hub_tasks_set_function(struct hub_tasks *tasks, struct hub_task *task, struct pc_msg *msg);
/* The function of this name that other tasks have, or that of `msg`; -1: neither has it. */
int hub_tasks_use_function(struct hub_tasks *tasks, struct hub_task *task, const uint8_t *name,
                           struct pc_msg *msg);
void hub_function_put(struct hub_function *function);
/* Takes it out and frees it. */
void hub_tasks_remove(struct hub_tasks *tasks, struct hub_task *task);

struct hub_task *hub_tasks_find(const struct hub_tasks *tasks, const struct hub_task_key *key);
struct hub_task *hub_tasks_at(const struct hub_tasks *tasks, uint64_t number);
/* The first one with a larger number, or the last with a smaller one; of that label unless it is
 * NULL. NULL: none. Begin with 0, and with UINT64_MAX. */
struct hub_task *hub_tasks_after(const struct hub_tasks *tasks, uint64_t number, const char *label);
struct hub_task *hub_tasks_before(const struct hub_tasks *tasks, uint64_t number);

#endif
