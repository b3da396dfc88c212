/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Joining the cluster, and joining it again when the connections broke: the same engine then goes
 * on with both its lanes, see lib/lifeline.h.
 */
#ifndef PC_ENGINE_REJOIN_H
#define PC_ENGINE_REJOIN_H

#include "engine/setup.h"
#include "lib/lifeline.h"
#include "lib/sock.h"

/* What the engine is to the scheduler. */
struct eng_membership {
    const struct eng_setup *setup;
    uint32_t id;
    char token[64];
    int64_t grace_ms; /* how long it may be away; 0: not at all */
    struct pc_lifeline control, work;
};

/* Opens both lanes for the first time. Ends the process when that can't be done. */
void eng_join(struct eng_membership *membership, const struct eng_setup *setup,
              struct pc_sock *control, struct pc_sock *work);
/* Both lanes opened again; what each of them has to send again is not queued yet. */
struct eng_return {
    struct pc_sock control, work;
    uint64_t control_arrived, work_arrived; /* how many messages came */
    bool is_new; /* the scheduler is another one, and knows nothing of what was sent */
};

/* Waits up to the grace time. -1: it is over. */
int eng_rejoin(const struct eng_membership *membership, struct eng_return *back,
               struct pc_err *err);

#endif
