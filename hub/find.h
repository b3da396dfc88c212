/* SPDX-License-Identifier: BSD-3-Clause */
/* Questions about tasks: finding them page by page, and forgetting them. */
#ifndef PC_HUB_FIND_H
#define PC_HUB_FIND_H

#include "hub/history.h"

/*
 * {"filter": {...}, "keys": [names], "limit": n, "newest": bool, "after": number}
 * -> "rows": [{...}], "next": number to go on after, null at the end.
 * A page ends after some milliseconds and some hundred KB, so that records are not kept waiting.
 */
int hub_find(struct hub_history *history, const pc_json *question, pc_json *reply,
             struct pc_err *err);

/* {"tasks": [ids], "engines": [ids], "all": bool, "after": number} -> "purged", "next" as above.
 * Those that are pending make it fail, except with "all", which leaves them. */
int hub_purge(struct hub_history *history, const pc_json *question, pc_json *reply,
              struct pc_err *err);

#endif
