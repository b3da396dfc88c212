/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scheduler without a process: the decisions are the real ones, the world around them (clock,
 * messages to engines and clients) is the test's. See sched/world.c.
 */
#ifndef PC_TEST_YARD_H
#define PC_TEST_YARD_H

#include <stdio.h>

#include "sched/state.h"

#define YARD_ENGINES 64

struct yard {
    struct sched sched;
    uint32_t next_id;
    struct client *clients[8];
    int64_t now_ms;
    int64_t wake_ms; /* when the scheduler wants to be called; 0: not */
    int64_t look_ms; /* ... for ahead_check */
    int64_t took_us; /* what tasks take that are answered from now on */
};

/* NULL, or where every message is noted: "r ENGINE SESSION TASK" is a RUN, "a" likewise an ABORT,
 * "k ENGINE" a kill, "c ENGINE COUNT" a RECALL, "e SESSION TASK HOW" an end. */
extern FILE *yard_log;

void yard_open(struct yard *yard, const char *scheme, unsigned hwm);
/* Checks that nothing is left behind. */
void yard_close(struct yard *yard);
struct client *yard_client(struct yard *yard, uint64_t session);
struct engine *yard_engine(struct yard *yard);
struct engine *yard_tagged_engine(struct yard *yard, const char *tags);
/* Its connection is cut. */
void yard_lose(struct yard *yard, uint32_t id, const char *why);
/* Its process is known to have ended. */
void yard_exit(struct yard *yard, uint32_t id, const char *why);
/* The oldest task that this engine has and has not answered; 0: none. */
uint64_t yard_running(struct yard *yard, uint32_t id);
size_t yard_load(struct yard *yard, uint32_t id);
/* Submits a balanced task; `targets` may be NULL. */
void yard_submit(struct yard *yard, struct client *client, uint64_t sequence,
                 const struct pc_submit_body *body);
/* It answers a RECALL: that many of those called back had begun. */
void yard_recalled(struct yard *yard, uint32_t id, uint32_t begun);
/* It ends the oldest task that it has. */
void yard_answer(struct yard *yard, uint32_t id, uint8_t status);
#define YARD_UNMET (PC_STATUS_ERROR | PC_RESULT_UNMET << 4) /* a status for yard_answer */
/* Time goes by. */
void yard_pass(struct yard *yard, int64_t ms);
void yard_abort(struct yard *yard, struct client *client, uint64_t sequence, uint8_t flags);
/* What the client was told of its task: NULL while nothing, else "ok", "error" or the name of the
 * scheduler's error. */
const char *yard_outcome(const struct client *client, uint64_t sequence);

#endif
