/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What became of the tasks: counters for ever, and the latest tasks one by one.
 *
 * One task goes submitted -> started -> ended; a step may be missing (a task that never reached an
 * engine is not started; one that was forgotten here because newer ones needed the place begins
 * again in the middle). Nothing here fails: records are statements about the past.
 */
#ifndef PC_HUB_HISTORY_H
#define PC_HUB_HISTORY_H

#include <stdint.h>

#include "hub/engines.h"
#include "lib/json.h"
#include "lib/proto_task.h"

#include <uthash.h>

/* Tasks that are remembered one by one: at most about 2 MB. */
#define HUB_TASKS_KEPT 12000

struct hub_task_key {
    uint64_t session;
    uint64_t sequence;
};

/* Owned by hub_history. */
struct hub_task {
    struct hub_task_key key;
    int64_t submitted_us, started_us, ended_us; /* 0: not (or not known) */
    uint64_t bytes;                             /* of the result; before, of the submission */
    uint32_t engine_id;
    uint8_t kind;
    uint8_t status;
    uint8_t event; /* the latest: enum pc_record_event */
    UT_hash_handle hh;
};

struct hub_history {
    struct hub_task *tasks; /* iterates from the oldest to the newest */
    uint64_t submitted, started, done, failed;
};

void hub_history_fini(struct hub_history *history);
void hub_history_record(struct hub_history *history, struct hub_engines *engines,
                        const struct pc_record *record);
/* {"submitted", "done", "failed", "pending"} */
pc_json *hub_history_totals(const struct hub_history *history);
/* The latest tasks, newest first, at most `limit`. */
pc_json *hub_history_latest(const struct hub_history *history, uint32_t limit);

#endif
