/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All that the hub knows, as messages for a new segment of its journal, and back:
 *
 *   SNAPSHOT   counters, engines, clients
 *   KEPT       tasks, each after the FUNCTION that it names unless that came before; those that
 *              have ended first, in the order of ending, then the others in that of submission
 *   SNAPSHOT   with "end"; its part is the request that the next record may refer to
 *   FUNCTION   those that the scheduler takes to be known, in its order
 *
 * They never travel between processes.
 */
#ifndef PC_HUB_SNAPSHOT_H
#define PC_HUB_SNAPSHOT_H

#include <stdbool.h>

#include "lib/msg.h"

struct hub;

/* Begins a segment with it. */
void hub_snapshot_write(struct hub *hub);

/* These take it in again; -1: malformed. */
int hub_snapshot_take(struct hub *hub, struct pc_msg *msg, struct pc_err *err);
int hub_snapshot_take_tasks(struct hub *hub, struct pc_msg *msg, struct pc_err *err);
int hub_snapshot_take_function(struct hub *hub, struct pc_msg *msg, struct pc_err *err);
/* When no more comes. */
void hub_snapshot_settle(struct hub *hub);

#endif
