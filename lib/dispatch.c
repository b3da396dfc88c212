/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/dispatch.h"

int pc_dispatch_msg(const struct pc_handler *table, uint32_t sender, void *role, void *peer,
                    struct pc_msg *msg, struct pc_err *err)
{
    for (const struct pc_handler *row = table; row->type; row++) {
        if (row->type != msg->head.type)
            continue;
        if (!(row->senders & sender))
            break;
        return row->handle(role, peer, msg, err);
    }
    return pc_err_set(err, PC_E_PROTOCOL, "%s is not expected from this peer",
                      pc_msg_name(msg->head.type));
}
