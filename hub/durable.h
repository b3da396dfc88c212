/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Durable tasks: on disk before they begin, and there after the end of all processes. See
 * doc/decisions/0008.
 *
 *   unwritten --> on disk --> ended        what a scheduler has
 *                  orphan ----^            what none has: it is told when it asks
 */
#ifndef PC_HUB_DURABLE_H
#define PC_HUB_DURABLE_H

#include "hub/clients.h"
#include "hub/history.h"
#include "lib/conn.h"

/* Writes those that were submitted lately, with one wait for the disk, and says so. */
void hub_durable_write(struct hub_history *history, struct pc_conn *scheduler);
/* Writes those that have ended, if there are any: before anybody relies on it. */
void hub_durable_ended(struct hub_history *history);
/* Says once more which are on disk: the hub was started again. */
void hub_durable_say(struct hub_history *history, struct pc_conn *scheduler);
/* The cluster was started: takes in those of its earlier life. `path`: of the database. What had
 * begun, and has no retries left for that, ends. */
void hub_durable_restore(struct hub_history *history, const char *path);
/* Sends the scheduler those that none has, as SUBMIT, after the number `after`; the answer says
 * where to go on. So comes what clients had submitted that are not there, durable or not, when the
 * scheduler is another one. */
pc_json *hub_durable_revive(struct hub_history *history, struct hub_clients *clients,
                            const pc_json *question, struct pc_conn *scheduler);

#endif
