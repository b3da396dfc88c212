/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol on one screen: every message type, who may send it, and how large it may be.
 * doc/PROTOCOL.md describes the same list in the same order; test/lint compares the two.
 */
#ifndef PC_LIB_PROTO_H
#define PC_LIB_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_PROTOCOL_VERSION 1

#define PC_NO_ENGINE UINT32_MAX

/* Senders. A peer's role and lane are fixed by its HELLO. */
enum pc_sender {
    PC_FROM_NEW = 1 << 0,     /* a peer that has not said HELLO yet */
    PC_FROM_CLIENT = 1 << 1,  /* a client's connection */
    PC_FROM_CONTROL = 1 << 2, /* an engine's control lane */
    PC_FROM_WORK = 1 << 3,    /* an engine's work lane */
    PC_FROM_HOST = 1 << 4,    /* the parent of engines on another host */
    PC_FROM_SCHED = 1 << 5,   /* the scheduler */
    PC_FROM_HUB = 1 << 6,     /* the hub */
    PC_FROM_PARENT = 1 << 7,  /* the parent process, over the inherited socketpair */
    PC_FROM_NURSERY = 1 << 8, /* the nursery, over the inherited socketpair */
};

#define PC_ANY_PARTS UINT16_MAX
#define PC_KIB       1024u
#define PC_MIB       (1024u * PC_KIB)

/* X(number, NAME, senders, largest body, largest number of parts) */
#define PC_MESSAGES(X)                                                                             \
    /* connecting; JSON bodies */                                                                  \
    X(1, HELLO, PC_FROM_NEW, 448, 0)                                                               \
    X(2, WELCOME, PC_FROM_SCHED, 64 * PC_KIB, 0)                                                   \
    X(3, REFUSED, PC_FROM_SCHED, 4 * PC_KIB, 0)                                                    \
    X(4, GOODBYE, PC_FROM_CLIENT | PC_FROM_CONTROL | PC_FROM_HOST | PC_FROM_SCHED, 4 * PC_KIB, 0)  \
    X(5, ENGINES, PC_FROM_SCHED | PC_FROM_HUB, 16 * PC_MIB, 0)                                     \
    /* engines and the hub; JSON bodies */                                                         \
    X(6, ENGINE_UP, PC_FROM_SCHED, 8 * PC_KIB, 0)                                                  \
    X(7, ENGINE_ID, PC_FROM_HUB, 4 * PC_KIB, 0)                                                    \
    X(8, ENGINE_DOWN, PC_FROM_SCHED, 8 * PC_KIB, 0)                                                \
    X(9, CLIENT_UP, PC_FROM_SCHED, 4 * PC_KIB, 0)                                                  \
    X(10, CLIENT_DOWN, PC_FROM_SCHED, 4 * PC_KIB, 0)                                               \
    /* liveness; empty bodies */                                                                   \
    X(11, PING, PC_FROM_SCHED | PC_FROM_PARENT, 0, 0)                                              \
    X(12, PONG, PC_FROM_CONTROL | PC_FROM_SCHED | PC_FROM_HUB, 0, 0)                               \
    /* how much a client may have under way; a JSON body */                                        \
    X(13, WINDOW, PC_FROM_SCHED, 4 * PC_KIB, 0)                                                    \
    /* how many messages the hub has taken in for good; a number u64 */                            \
    X(14, RECORDED, PC_FROM_HUB, 8, 0)                                                             \
    /* in the hub's journal only, see hub/snapshot.h */                                            \
    X(15, SNAPSHOT, PC_FROM_HUB, 64 * PC_MIB, 1)                                                   \
    X(27, KEPT, PC_FROM_HUB, 2 * PC_MIB, 5)                                                        \
    /* how many messages came, when there is nothing else to say; see lifeline.h */                \
    X(28, RECEIVED,                                                                                \
      PC_FROM_CLIENT | PC_FROM_CONTROL | PC_FROM_WORK | PC_FROM_HOST | PC_FROM_SCHED, 0, 0)        \
    /* these durable tasks are on disk, or can't be; pairs of u64, see proto_task.h */             \
    X(29, ACCEPTED, PC_FROM_HUB | PC_FROM_SCHED, 64 * PC_KIB, 1)                                   \
    /* work; binary bodies, see proto_task.h and proto_stream.h */                                 \
    X(16, SUBMIT, PC_FROM_CLIENT | PC_FROM_HUB, 1 * PC_MIB, PC_ANY_PARTS)                          \
    X(17, RUN, PC_FROM_SCHED, 64, PC_ANY_PARTS)                                                    \
    X(18, RESULT, PC_FROM_WORK | PC_FROM_SCHED | PC_FROM_HUB, 64, PC_ANY_PARTS)                    \
    X(19, STREAM, PC_FROM_WORK | PC_FROM_SCHED | PC_FROM_HUB, 16, 1)                               \
    X(20, RESULT_ACK, PC_FROM_CLIENT | PC_FROM_SCHED, 64 * PC_KIB, 0)                              \
    X(21, OUTPUT_CREDIT, PC_FROM_SCHED, 16, 0)                                                     \
    X(22, RECORDS, PC_FROM_SCHED, 1 * PC_MIB, PC_ANY_PARTS)                                        \
    X(23, ABORT, PC_FROM_CLIENT | PC_FROM_SCHED, 64 * PC_KIB, 0)                                   \
    X(26, RECALL, PC_FROM_SCHED | PC_FROM_CONTROL, 8, 0)                                           \
    /* to a scheduler that was started again: what the sender has of the tasks before */           \
    X(31, HELD, PC_FROM_WORK, 24, 0)                                                               \
    X(42, RESUMED, PC_FROM_CLIENT, 64 * PC_KIB, 0)                                                 \
    /* questions; JSON bodies */                                                                   \
    X(24, QUERY, PC_FROM_CLIENT | PC_FROM_SCHED, 1 * PC_MIB, 0)                                    \
    X(25, REPLY, PC_FROM_SCHED | PC_FROM_HUB | PC_FROM_PARENT, 64 * PC_MIB, 0)                     \
    /* work, too */                                                                                \
    X(30, FUNCTION, PC_FROM_CLIENT | PC_FROM_SCHED, 32, 1)                                         \
    /* the parent and its children; JSON bodies */                                                 \
    X(32, CONFIG, PC_FROM_PARENT, 64 * PC_KIB, 0)                                                  \
    X(33, READY, PC_FROM_SCHED | PC_FROM_HUB | PC_FROM_NURSERY, 4 * PC_KIB, 0)                     \
    X(34, SPAWN, PC_FROM_PARENT | PC_FROM_SCHED, 4 * PC_KIB, 0)                                    \
    X(35, SPAWNED, PC_FROM_NURSERY, 4 * PC_KIB, 0)                                                 \
    X(36, EXITED, PC_FROM_NURSERY | PC_FROM_PARENT | PC_FROM_HOST, 16 * PC_KIB, 0)                 \
    X(37, SHUTDOWN, PC_FROM_PARENT | PC_FROM_SCHED, 4 * PC_KIB, 0)                                 \
    X(38, FAILED, PC_FROM_SCHED | PC_FROM_HUB | PC_FROM_NURSERY | PC_FROM_CONTROL, 8 * PC_KIB, 0)  \
    X(39, END, PC_FROM_SCHED | PC_FROM_PARENT | PC_FROM_HOST, 1 * PC_MIB, 0)                       \
    X(40, SIGNAL, PC_FROM_PARENT | PC_FROM_SCHED, 1 * PC_MIB, 0)                                   \
    X(41, LINK, PC_FROM_PARENT, 4 * PC_KIB, 0)

enum pc_msg_type {
#define X(number, name, senders, body, parts) PC_MSG_##name = number,
    PC_MESSAGES(X)
#undef X
};

#define PC_MSG_TYPE_MAX 63

struct pc_msg_rule {
    const char *name;  /* NULL: no such type */
    uint32_t senders;  /* enum pc_sender bits */
    uint32_t body_max; /* bytes */
    uint16_t parts_max;
};

/* The row of a type; NULL for numbers that mean nothing. */
const struct pc_msg_rule *pc_msg_rule(uint8_t type);
/* For log lines: never NULL. */
const char *pc_msg_name(uint8_t type);

/* Largest sum of all parts of one message, in bytes. */
#define PC_PARTS_BYTES_MAX (UINT64_C(16) << 30)
/* Largest number of parts of one message. */
#define PC_PARTS_MAX 4096

#endif
