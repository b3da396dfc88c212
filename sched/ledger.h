/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the hub is told, in order, until it says that it has it.
 *
 * Everything that the hub has to remember gets a number, and stays here until RECORDED names that
 * number or a later one; a hub that was started again names the last one that its journal has,
 * and is sent what followed. Questions take their place in the same order, so that an answer
 * includes all that happened before; they have no number, because questions.c asks them again.
 *
 *   first ... unsent ... last         sent, not recorded | not sent yet
 *
 * A hub that does not read, or stays away, would make this grow for ever. So beyond a limit the
 * oldest records that were not sent lose the requests and results that they carry, and when that
 * is not enough they are dropped; both is counted. Results that nobody else has always stay.
 */
#ifndef PC_SCHED_LEDGER_H
#define PC_SCHED_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/msg.h"

struct sched;

/* Owned by the ledger. */
struct entry {
    struct entry *next;
    struct pc_msg *msg;
    uint64_t number; /* 0: a question */
    uint64_t bytes;
    bool is_bare;  /* its records have lost what they carried */
    bool is_empty; /* they are gone: only the number is left */
    uint8_t *kept; /* session and sequence of results in it that nobody else has; NULL: none */
    size_t kept_size;
};

struct ledger {
    struct entry *first, *last, *unsent;
    uint64_t told;       /* the number of the latest entry */
    uint64_t recorded;   /* the latest that the hub has */
    uint64_t base;       /* the hub counts from here: it may have known another scheduler */
    uint64_t bytes;      /* of all entries */
    uint64_t sent_bytes; /* of those that were sent */
    uint64_t limit;      /* of bytes; beyond, the oldest that were not sent lose something: */
    struct entry *to_bare, *to_empty;   /* the next ones, of those that are not sent */
    uint64_t lost_bodies, lost_records; /* so far */
    bool is_greeted;                    /* the hub has said what it has */
    bool was_greeted;                   /* ... or another one before it */
};

/* These take msg. */
void ledger_tell(struct sched *sched, struct pc_msg *msg);
/* RECORDS with results that nobody else has: pairs of session and sequence, which are moved. When
 * the hub has them client_stored is called for each. */
void ledger_tell_kept(struct sched *sched, struct pc_msg *msg, struct pc_buf *kept);
void ledger_ask(struct sched *sched, struct pc_msg *msg);
/* RECORDED of the hub. */
void ledger_recorded(struct sched *sched, uint64_t number);
/* The hub has answered a question: those that it was sent are of no use here any more. */
void ledger_answered(struct sched *sched);
/* The hub is gone. */
void ledger_lost(struct sched *sched);
void ledger_fini(struct sched *sched);

#endif
