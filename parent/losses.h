/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes that ended and were not told to: the latest of them, for people who ask. */
#ifndef PC_PARENT_LOSSES_H
#define PC_PARENT_LOSSES_H

#include <stdint.h>

#include "lib/json.h"

#define PARENT_LOSSES_KEPT 32

struct parent_loss {
    char who[32]; /* "hub", "engine 3" */
    int64_t pid;
    int64_t time_us;
    char why[200]; /* a sentence */
};

/* All zero is none. */
struct parent_losses {
    struct parent_loss latest[PARENT_LOSSES_KEPT]; /* a ring */
    uint64_t count;                                /* ever */
};

/* Keeps the first line of `why`. */
void parent_losses_add(struct parent_losses *losses, const char *who, int64_t pid, const char *why);
/* Adds "deaths", oldest first, and "death_count". */
void parent_losses_json(const struct parent_losses *losses, pc_json *reply);

#endif
