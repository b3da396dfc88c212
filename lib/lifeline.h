/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lets a session outlive its connections.
 *
 * Both ends number the messages that they send, from 1, and count those that they receive. Each
 * frame says how many have come so far, and what was sent and has not come is kept. When the
 * connection breaks, the next one goes on where it broke: the new handshake says how many came, and
 * what did not is sent again. So nothing is lost and nothing comes twice, whatever it is, and who
 * sends and receives messages knows nothing of it. See doc/decisions/0007.
 *
 * A wire that has a lifeline does all of this by itself. Everything belongs to the thread or lock
 * that guards the wire's sending side, but what the receiving side writes is atomic: an engine's
 * work lane is read by one thread and written by others.
 *
 * That lane is not read while a task runs, which may send gigabytes. So what came on it is said
 * apart, on the control lane: pc_lifeline_tell_apart at the scheduler, pc_lifeline_arrived at the
 * engine.
 */
#ifndef PC_LIB_LIFELINE_H
#define PC_LIB_LIFELINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/msg.h"

/* All zero is a new one, but for the last two. */
struct pc_lifeline {
    /* sending */
    struct pc_msg **kept; /* a ring; NULL in it: a message that could not be kept */
    size_t first, count, capacity;
    uint64_t kept_bytes;
    _Atomic uint64_t sent;
    _Atomic uint64_t told; /* of those received, the other side knows from our frames */
    /* receiving */
    _Atomic uint64_t arrived; /* of those sent, as the other side says */
    _Atomic uint64_t received;
    uint64_t seen_told, bytes; /* received since `told` changed last */
    bool is_told_apart;        /* the other side learns apart what came here ... */
    bool hears_apart;          /* ... as we do; and the receiving side is another thread */
};

void pc_lifeline_fini(struct pc_lifeline *lifeline);
/* Numbers a message and keeps it. -1: out of memory. */
int pc_lifeline_keep(struct pc_lifeline *lifeline, struct pc_msg *msg);
/* The memory of this message is about to go away: from now on it can't be sent again. */
void pc_lifeline_give_up(struct pc_lifeline *lifeline, const struct pc_msg *msg);
/* The other side was started again and knows nothing of the session: both begin to count anew. What
 * was kept is dropped: who sends says it once more as far as it still matters. */
void pc_lifeline_restart(struct pc_lifeline *lifeline);
/* For the next frame: how many were received, modulo 2^16; 0 when that is told apart. */
uint16_t pc_lifeline_tell(struct pc_lifeline *lifeline);
/* For a message of another lane: how many were received. */
uint64_t pc_lifeline_tell_apart(struct pc_lifeline *lifeline);

/* A message came whose frame says `arrived`. -1: the other side is wrong. */
int pc_lifeline_take(struct pc_lifeline *lifeline, const struct pc_msg *msg, uint16_t arrived,
                     struct pc_err *err);
/* Another lane says so; what is kept is let go by pc_lifeline_trim, or when the next message is
 * sent. -1: it is wrong. */
int pc_lifeline_arrived(struct pc_lifeline *lifeline, uint64_t arrived, struct pc_err *err);
void pc_lifeline_trim(struct pc_lifeline *lifeline);
/* Everything was written, and the other side should have said that it came. */
bool pc_lifeline_is_ignored(const struct pc_lifeline *lifeline);
/* Much was received and nothing sent that said so: send RECEIVED, or what tells it apart. */
bool pc_lifeline_is_due(const struct pc_lifeline *lifeline);

/* On a new connection: the other side has received that many. -1: it can't have. Afterwards what is
 * kept has to be sent again, see pc_wire_resume. */
int pc_lifeline_resume(struct pc_lifeline *lifeline, uint64_t arrived, struct pc_err *err);
/* Message `index` of those that are kept, and its number. */
struct pc_msg *pc_lifeline_kept(const struct pc_lifeline *lifeline, size_t index, uint64_t *number);

#endif
