/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engines as the parent sees them. Two sources tell of each: the nursery that forked it (pid,
 * later how it ended) and the scheduler it connected to (id). They are joined by the uuid, in
 * whichever order they come. An engine of this parent that is known from both is "ready".
 */
#ifndef PC_PARENT_ENGINES_H
#define PC_PARENT_ENGINES_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/json.h"

#include <uthash.h>

/* Owned by parent_engines. */
struct parent_engine {
    char uuid[33];
    uint32_t pid;
    uint32_t id;     /* once has_id */
    bool has_id;     /* it has been up */
    bool is_spawned; /* ours, and not known to have ended */
    bool is_up;
    bool is_wanted;   /* one of wanted_count: if we end it, another one takes its place */
    bool is_replaced; /* it has ended, and another one is started in its place */
    bool is_ending;   /* it was told to leave ... */
    bool was_termed;  /* ... and then sent SIGTERM */
    int64_t end_ms;   /* when it is helped to */
    pc_json *report;  /* EXITED, until the scheduler knows that it is down; NULL: it lives */
    UT_hash_handle hh, hh_id;
};

struct parent_engines {
    struct parent_engine *by_uuid, *by_id;
    uint32_t wanted_count; /* so many there are to be; another nursery starts that many */
    uint32_t spawned_count, ready_count;
};

void parent_engines_fini(struct parent_engines *engines);
/* -1: not a uuid, or one that is taken. */
int parent_engines_spawned(struct parent_engines *engines, const char *uuid, uint32_t pid,
                           struct pc_err *err);
int parent_engines_up(struct parent_engines *engines, const char *uuid, uint32_t id,
                      struct pc_err *err);
void parent_engines_down(struct parent_engines *engines, uint32_t id);
struct parent_engine *parent_engines_find(struct parent_engines *engines, const char *uuid);
/* `report` is the EXITED that the scheduler is sent; it is copied. */
void parent_engines_exited(struct parent_engines *engines, struct parent_engine *engine,
                           bool is_replaced, const pc_json *report);
/* The scheduler wants another one in place of `uuid`. True: that one has ended already, of which
 * the scheduler had not heard then, and nobody has taken its place. */
bool parent_engines_lack(struct parent_engines *engines, const char *uuid);

#endif
