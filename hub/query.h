/* SPDX-License-Identifier: BSD-3-Clause */
/* The read side: questions of clients, answered from the registries. */
#ifndef PC_HUB_QUERY_H
#define PC_HUB_QUERY_H

#include "lib/json.h"

struct hub;

/* Never NULL: {"ok": true, ...} or {"ok": false, "error": text}. `question` is what
 * a client wrote. */
pc_json *hub_query_answer(struct hub *hub, const pc_json *question);
pc_json *hub_query_refusal(const char *error);

#endif
