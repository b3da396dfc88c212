/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What became of the tasks: counters for ever, and the tasks one by one as long as the store's
 * limits allow.
 *
 * One task goes submitted -> started -> ended; a step may be missing (a task that ended soon or
 * never reached an engine is not started; one that was forgotten here because newer ones needed the
 * place begins again in the middle). Nothing here fails: records are statements about the past.
 */
#ifndef PC_HUB_HISTORY_H
#define PC_HUB_HISTORY_H

#include "hub/engines.h"
#include "hub/store.h"
#include "hub/tasks.h"
#include "lib/json.h"
#include "lib/proto_record.h"

struct hub_history {
    struct hub_tasks tasks;
    struct hub_store store;
    uint64_t submitted, done, failed;
    uint64_t pending_bytes;      /* of requests of tasks that have not ended */
    struct pc_known functions;   /* that the scheduler has sent; data: the message */
    struct pc_msg *last_request; /* for the other tasks of the same submission */
    struct pc_msg *nothing;      /* stands for no parts */
    struct hub_task *unwritten;  /* durable tasks that are not on disk yet */
    bool has_durable_end;        /* one has ended that is not */
    bool is_replaying;           /* the store may have tasks whose records come again */
};

/* In memory; another store may be opened when CONFIG has come. */
void hub_history_init(struct hub_history *history);
void hub_history_fini(struct hub_history *history);

/* Has the memory fetched that the record is about; it changes nothing. */
void hub_history_record_comes(const struct hub_history *history, const struct pc_record *record);
/*
 * Takes in a record; `msg` is what it came in. Returns the task when it has ended with this record:
 * after telling who waits for it, give it to hub_history_keep, which passes it to the store.
 */
struct hub_task *hub_history_record(struct hub_history *history, struct hub_engines *engines,
                                    const struct pc_record *record, struct pc_msg *msg);
/* Whether it has ended and is in the store, and not in memory. */
bool hub_history_is_stored(struct hub_history *history, const struct hub_task_key *key);
/* It is not waiting for its engine or running there (any more). */
void hub_history_leave_engine(struct hub_engines *engines, const struct hub_task *task);
/* Some records are missing here. */
void hub_history_gap(struct hub_history *history);
/* Ends a task that nobody will run; gives it to the store. */
void hub_history_fail(struct hub_history *history, struct hub_task *task, const char *ename,
                      const char *text);
/* The same, but for hub_history_keep, which has to follow. */
void hub_history_end(struct hub_history *history, struct hub_task *task, const char *ename,
                     const char *text);
/* A durable task is on disk, or will not be. */
void hub_history_leave_unwritten(struct hub_history *history, struct hub_task *task);
void hub_history_keep(struct hub_history *history, struct hub_task *task);
/* A FUNCTION that records may name. -1: the scheduler broke the rules. */
int hub_history_function(struct hub_history *history, struct pc_msg *msg, struct pc_err *err);
/* Output of a task, `body` being that of the message; the task, or NULL when it has ended or is not
 * known. The first *known bytes were there already. */
struct hub_task *hub_history_output(struct hub_history *history, const struct pc_msg *msg,
                                    const struct pc_stream_body *body, size_t *known);

/* {"submitted", "done", "failed", "pending"} */
pc_json *hub_history_totals(const struct hub_history *history);

#endif
