/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The SQLite file of tasks, and the only way to it. Results over HUB_FILE_BYTES are files of their
 * own in the folder next to it, PATH-results/, written once.
 *
 * Functions return -1 with what SQLite says; reading from a file that can't be read finds nothing.
 */
#ifndef PC_HUB_DATABASE_H
#define PC_HUB_DATABASE_H

#include "hub/task.h"

#define HUB_SCHEMA_VERSION 4
#define HUB_FILE_BYTES     (1024 * 1024)

struct hub_database;

/* Makes it when it is not there, and brings an older one up to date. */
struct hub_database *hub_database_open(const char *path, struct pc_err *err);
void hub_database_close(struct hub_database *database);

/* With `is_synced` the commit returns when the disk has it, not only the system. */
int hub_database_begin(struct hub_database *database, bool is_synced, struct pc_err *err);
int hub_database_commit(struct hub_database *database, struct pc_err *err);
void hub_database_rollback(struct hub_database *database);
int hub_database_write(struct hub_database *database, const struct hub_task *task,
                       struct pc_err *err);

/* Each gives a new task that is_elsewhere, with a label of its own; NULL: there is none. */
struct hub_task *hub_database_find(struct hub_database *database, const struct hub_task_key *key);
/* Of a task in it; 0: it is not. */
uint64_t hub_database_number(struct hub_database *database, const struct hub_task_key *key);
struct hub_task *hub_database_after(struct hub_database *database, uint64_t number,
                                    const char *label);
struct hub_task *hub_database_before(struct hub_database *database, uint64_t number);
/* Adds request, result and output. Returns the function that the request names, or NULL. */
struct pc_msg *hub_database_load(struct hub_database *database, struct hub_task *task);

/* Of a task in it that had none. */
int hub_database_add_result(struct hub_database *database, const struct hub_task *task,
                            struct pc_err *err);
int hub_database_forget(struct hub_database *database, const struct hub_task_key *key,
                        struct pc_err *err);
int hub_database_resubmitted(struct hub_database *database, const struct hub_task *task,
                             struct pc_err *err);
/* As much as one transaction shall do, at most. */
struct hub_database_pace {
    int64_t tasks, time_us;
};

/* Drops the oldest until no more than `count` are left, and those that ended before `older_us`.
 * 1: it stopped at its pace, there may be more. */
int hub_database_drop(struct hub_database *database, uint64_t count, int64_t older_us,
                      const struct hub_database_pace *pace, struct pc_err *err);
/* Drops what the oldest carry until no more than that many bytes are left; adds the number of
 * results to *dropped. 1: as above. */
int hub_database_strip(struct hub_database *database, uint64_t bytes,
                       const struct hub_database_pace *pace, uint64_t *dropped, struct pc_err *err);

/* ---- durable tasks that have not ended; hub_database_write moves one that has ---- */
int hub_database_submit(struct hub_database *database, const struct hub_task *task,
                        struct pc_err *err);
bool hub_database_is_submitted(struct hub_database *database, const struct hub_task_key *key);
/* Its body is another one now. */
int hub_database_change_submitted(struct hub_database *database, const struct hub_task *task,
                                  struct pc_err *err);
/* The one after this number: a new task, without its request. */
struct hub_task *hub_database_submitted(struct hub_database *database, uint64_t number);
/* As hub_database_load. */
struct pc_msg *hub_database_load_submitted(struct hub_database *database, struct hub_task *task);

uint64_t hub_database_count(const struct hub_database *database);
uint64_t hub_database_bytes(const struct hub_database *database);
uint64_t hub_database_last(const struct hub_database *database); /* number */

#endif
