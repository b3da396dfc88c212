/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks that have ended and are in memory, in the order of ending: all of them with `memory`, those
 * that are not written yet with `sqlite`. */
#ifndef PC_HUB_STORE_LIST_H
#define PC_HUB_STORE_LIST_H

#include "hub/store.h"

void hub_list_append(struct hub_store *store, struct hub_task *task);
/* As if it had ended first. */
void hub_list_prepend(struct hub_store *store, struct hub_task *task);
/* Takes one out of the list, and forgets it. */
void hub_list_remove(struct hub_store *store, struct hub_task *task);
/* `task` comes next: has it fetched, and the struct of the one after it. NULL is fine. */
void hub_list_look_ahead(const struct hub_task *task);
void hub_list_drop_oldest(struct hub_store *store);
/* Drops the oldest until the limits are kept: first what they carry, then the tasks. */
void hub_list_trim(struct hub_store *store);
void hub_list_drop_older(struct hub_store *store, int64_t received_us);

#endif
