/* SPDX-License-Identifier: BSD-3-Clause */
/* From a message to its handler, through a table: type -> who may send it -> handler. */
#ifndef PC_LIB_DISPATCH_H
#define PC_LIB_DISPATCH_H

#include "lib/msg.h"
#include "lib/proto.h"

struct pc_handler {
    uint8_t type;
    uint32_t senders; /* enum pc_sender bits; a subset of the protocol's row */
    /* 0, or -1: the peer broke the rules and is dropped. Does not take the reference. */
    int (*handle)(void *role, void *peer, struct pc_msg *msg, struct pc_err *err);
};

/* Walks `table`, which ends with type 0. A type without a row, or from a sender that its row does
 * not name, is the peer's fault: -1 with PC_E_PROTOCOL. */
int pc_dispatch_msg(const struct pc_handler *table, uint32_t sender, void *role, void *peer,
                    struct pc_msg *msg, struct pc_err *err);

#endif
