/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where tasks are kept that have ended. Those that have not are in hub_tasks, whatever the store.
 *
 * A store decides what becomes of a task at its end: `memory` leaves it in hub_tasks and drops the
 * oldest, `sqlite` moves it into a file, `none` forgets it. What it does not leave in hub_tasks it
 * gives back on request; such a task is its own and valid until it is asked again.
 */
#ifndef PC_HUB_STORE_H
#define PC_HUB_STORE_H

#include "hub/tasks.h"
#include "lib/err.h"
#include "lib/json.h"

struct hub_store;

struct hub_store_kind {
    const char *name;
    int (*open)(struct hub_store *store, const char *path, struct pc_err *err);
    void (*close)(struct hub_store *store);
    /* It has ended; takes it over: it may be gone when this returns. */
    void (*ended)(struct hub_store *store, struct hub_task *task);
    /* From here on: of those that are not in hub_tasks; NULL when there are never any. */
    struct hub_task *(*find)(struct hub_store *store, const struct hub_task_key *key);
    uint64_t (*number_of)(struct hub_store *store, const struct hub_task_key *key); /* 0: none */
    /* The first one with a larger number, of that label unless it is NULL; and the last with a
     * smaller one. */
    struct hub_task *(*after)(struct hub_store *store, uint64_t number, const char *label);
    struct hub_task *(*before)(struct hub_store *store, uint64_t number);
    /* Brings request, result and output of a task that is_elsewhere. */
    void (*load)(struct hub_store *store, struct hub_task *task);
    /* It has its result only now. */
    void (*add_result)(struct hub_store *store, const struct hub_task *task);
    void (*forget)(struct hub_store *store, const struct hub_task_key *key);
    /* Many are forgotten from here to there: as one change of the file. */
    void (*begin)(struct hub_store *store);
    void (*end)(struct hub_store *store);
    /* It was submitted once more, as `task->resubmitted`. */
    void (*resubmitted)(struct hub_store *store, const struct hub_task *task);
    /* Writes ends of durable tasks that are not written yet, before somebody relies on it. */
    void (*sync)(struct hub_store *store);
    /* Durable tasks. NULL: this kind has no disk. Of a list by end_next: all are on disk then, or
     * none is. */
    int (*write_durable)(struct hub_store *store, const struct hub_task *first, struct pc_err *err);
    bool (*has_durable)(struct hub_store *store, const struct hub_task_key *key);
    /* Brings the request (and the function, if the body names one) of one that has not ended. */
    void (*load_durable)(struct hub_store *store, struct hub_task *task);
    /* It was found to have retries left: from now on it has these. */
    int (*change_durable)(struct hub_store *store, const struct hub_task *task, struct pc_err *err);
    /* Calls `take` with each that has not ended, in the order of submission. */
    void (*restore_durable)(struct hub_store *store, void (*take)(void *arg, struct hub_task *task),
                            void *arg);
    /* While `has_work`, when the hub has nothing else to do: some of what can wait. */
    void (*work)(struct hub_store *store, int64_t now_us);
    /* Every second: commits, and drops what is too old. */
    void (*tick)(struct hub_store *store, int64_t now_us);
};

/* Unless CONFIG says otherwise. */
#define HUB_STORE_TASKS 100000
#define HUB_STORE_BYTES (INT64_C(256) << 20)

struct hub_limits {
    uint64_t count; /* of tasks that have ended */
    uint64_t bytes; /* of everything they take */
    int64_t age_us; /* since their end; 0: no limit */
};

/* Part of struct hub_history. */
struct hub_store {
    const struct hub_store_kind *kind;
    struct hub_tasks *tasks;
    struct hub_limits limits;
    uint64_t stored_count, stored_bytes;     /* in the file */
    uint64_t count, bytes;                   /* kept now */
    uint64_t dropped_tasks, dropped_results; /* to stay within the limits, so far */
    bool has_work;                           /* for `work` */
    struct hub_task *oldest;                 /* memory: in the order of ending */
    struct hub_task *oldest_full;            /* ... the first whose payload is there */
    void *more;                              /* of the kind */
    char trouble[300];                       /* why it does not work (fully), "" */
};

extern const struct hub_store_kind hub_store_memory, hub_store_none, hub_store_sqlite;

/* NULL: there is no such kind. */
const struct hub_store_kind *hub_store_find(const char *name);

/* `path`: of the file, for a kind that has one. */
int hub_store_open(struct hub_store *store, const struct hub_store_kind *kind,
                   struct hub_tasks *tasks, const char *path, struct pc_err *err);
void hub_store_close(struct hub_store *store);

/* ---- all tasks: those in memory and those in the store ---- */
struct hub_task *hub_store_get(struct hub_store *store, const struct hub_task_key *key);
/* Of a task; 0: it is not there. Costs less than getting it. */
uint64_t hub_store_number(struct hub_store *store, const struct hub_task_key *key);
struct hub_task *hub_store_after(struct hub_store *store, uint64_t number, const char *label);
struct hub_task *hub_store_before(struct hub_store *store, uint64_t number);
/* Before request, result or output are looked at; those of a durable task are on disk. */
void hub_store_load(struct hub_store *store, struct hub_task *task);
/* The result of a task that has ended came after it. Takes `result`; the task may be gone then. */
void hub_store_add_result(struct hub_store *store, struct hub_task *task, struct pc_msg *result);
/* Around many calls of hub_store_forget. */
void hub_store_begin(struct hub_store *store);
void hub_store_end(struct hub_store *store);
/* A task that has ended. */
void hub_store_forget(struct hub_store *store, struct hub_task *task);

/* {"store", "count", "bytes", "limit_...", "dropped_...", "trouble"} */
pc_json *hub_store_json(const struct hub_store *store);

#endif
