/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/proto.h"

static const struct pc_msg_rule rules[PC_MSG_TYPE_MAX + 1] = {
#define X(number, message, who, body, parts)                                                       \
    [number] = {.name = #message, .senders = (who), .body_max = (body), .parts_max = (parts)},
    PC_MESSAGES(X)
#undef X
};

const struct pc_msg_rule *pc_msg_rule(uint8_t type)
{
    return type <= PC_MSG_TYPE_MAX && rules[type].name ? &rules[type] : 0;
}

const char *pc_msg_name(uint8_t type)
{
    const struct pc_msg_rule *rule = pc_msg_rule(type);
    return rule ? rule->name : "unknown";
}
