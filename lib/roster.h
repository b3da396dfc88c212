/* SPDX-License-Identifier: BSD-3-Clause */
/* The engines that a client knows of, sorted by id. */
#ifndef PC_LIB_ROSTER_H
#define PC_LIB_ROSTER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/msg.h"

struct pc_roster {
    struct pc_engine *engines;
    size_t count, capacity;
    _Atomic uint64_t generation; /* arrivals and departures so far; read without the lock */
};

/* Takes in an ENGINES message. */
int pc_roster_update(struct pc_roster *roster, const struct pc_msg *msg, struct pc_err *err);
int pc_roster_copy(const struct pc_roster *roster, struct pc_engine **list, size_t *count,
                   struct pc_err *err);
void pc_roster_fini(struct pc_roster *roster);

#endif
