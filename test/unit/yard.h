/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scheduler without a process: the decisions are the real ones, the world around them (clock,
 * messages to engines and clients) is the test's. See sched/world.c.
 */
#ifndef PC_TEST_YARD_H
#define PC_TEST_YARD_H

#include <stdio.h>

#include "sched/state.h"

#define YARD_HEARTBEAT_MS 1000

struct puppet;

struct yard {
    struct sched sched;
    uint32_t next_id;
    struct puppet *puppets; /* the engines' processes */
    struct client *clients[8];
    int64_t now_ms;
    int64_t wake_ms;   /* when the scheduler wants to be called; 0: not */
    int64_t look_ms;   /* ... for ahead_check */
    int64_t beat_ms;   /* ... for engines_beat */
    int64_t coming_ms; /* ... for coming_check */
    int64_t took_us;   /* what tasks take that are answered from now on */
};

/* NULL, or where every message is noted: "r ENGINE SESSION TASK" is a RUN, "a" likewise an ABORT,
 * "k ENGINE" a kill, "c ENGINE COUNT" a RECALL, "e SESSION TASK HOW" an end, "q JSON" an answer;
 * "t MS WHAT" before something happens because time went by. */
extern FILE *yard_log;

void yard_open(struct yard *yard, const char *scheme, unsigned hwm);
/* Checks that nothing is left behind. */
void yard_close(struct yard *yard);
struct client *yard_client(struct yard *yard, uint64_t session);
struct engine *yard_engine(struct yard *yard);
struct engine *yard_tagged_engine(struct yard *yard, const char *tags);
/* Its connection is cut: it is LOST, and gone when SCHED_EXIT_WAIT_MS have passed. */
void yard_break(struct yard *yard, uint32_t id, const char *why);
/* Its parent says that its process has ended, and whether it starts another; likewise. The first
 * task that it had has begun, or so many; YARD_UNKNOWN: nobody can tell. */
#define YARD_UNKNOWN UINT32_MAX
void yard_report(struct yard *yard, uint32_t id, bool is_replaced);
void yard_report_begun(struct yard *yard, uint32_t id, bool is_replaced, uint32_t begun);
/* Both, and that time has passed. */
void yard_lose(struct yard *yard, uint32_t id, const char *why);
void yard_exit(struct yard *yard, uint32_t id);
/* By a signal: it answers no PING, or does again. */
void yard_stop(struct yard *yard, uint32_t id, bool is_stopped);
/* It is or was there. */
bool yard_has_known(struct yard *yard, uint32_t id);
bool yard_is_stopped(struct yard *yard, uint32_t id);
/* The oldest task that this engine has and has not answered; 0: none. */
uint64_t yard_running(struct yard *yard, uint32_t id);
size_t yard_load(struct yard *yard, uint32_t id);
/* Submits a balanced task; `targets` may be NULL. */
void yard_submit(struct yard *yard, struct client *client, uint64_t sequence,
                 const struct pc_submit_body *body);
/* False: it was refused. */
bool yard_try_submit(struct yard *yard, struct client *client, uint64_t sequence,
                     const struct pc_submit_body *body);
/* It answers a RECALL: that many of those called back had begun. */
void yard_recalled(struct yard *yard, uint32_t id, uint32_t begun);
/* It ends the oldest task that it has. */
void yard_answer(struct yard *yard, uint32_t id, uint8_t status);
/* It does so when it has been given up. */
void yard_answer_late(struct yard *yard, uint32_t id, uint64_t session, uint64_t sequence);
#define YARD_UNMET (PC_STATUS_ERROR | PC_RESULT_UNMET << 4) /* a status for yard_answer */
/* Time goes by. */
void yard_pass(struct yard *yard, int64_t ms);
void yard_abort(struct yard *yard, struct client *client, uint64_t sequence, uint8_t flags);
/* What runs there now. */
void yard_interrupt(struct yard *yard, struct client *client, uint32_t id);
/* The answer goes to the log. */
void yard_query(struct yard *yard, struct client *client, const char *json);
/* What the client was told of its task: NULL while nothing, else "ok", "error" or the name of the
 * scheduler's error. */
const char *yard_outcome(const struct client *client, uint64_t sequence);

#endif
