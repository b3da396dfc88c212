/* SPDX-License-Identifier: BSD-3-Clause */
/* What a scheduler asks that was started again: whom the one before it knew. */
#ifndef PC_HUB_SUCCESSOR_H
#define PC_HUB_SUCCESSOR_H

#include "hub/state.h"

/*
 * Its questions. `heritage`, the first: it knows nothing of what has not ended; `up` has the
 * engines that are not down, as in ENGINES, `sessions` those of the clients that have not left,
 * `left` those that have and whose tasks go on. `settle`: what it has not taken over will not come
 * to it any more, and ends here; of one `session`, or of clients that are not there. The answer
 * names those in `given_up`; with the same as `tasks` it is done once more.
 */
bool hub_successor_asks(const pc_json *question);
pc_json *hub_successor_answer(struct hub *hub, const pc_json *question);

#endif
