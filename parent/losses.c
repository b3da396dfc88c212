/* SPDX-License-Identifier: BSD-3-Clause */
#include "parent/losses.h"

#include <stdio.h>
#include <string.h>

#include "lib/clock.h"

void parent_losses_add(struct parent_losses *losses, const char *who, int64_t pid, const char *why)
{
    struct parent_loss *loss = &losses->latest[losses->count++ % PARENT_LOSSES_KEPT];
    *loss = (struct parent_loss){.pid = pid, .time_us = pc_wall_us()};
    snprintf(loss->who, sizeof(loss->who), "%s", who);
    snprintf(loss->why, sizeof(loss->why), "%.*s", (int)strcspn(why, "\n"), why);
}

void parent_losses_json(const struct parent_losses *losses, pc_json *reply)
{
    pc_json *rows = pc_json_array();
    uint64_t first = losses->count > PARENT_LOSSES_KEPT ? losses->count - PARENT_LOSSES_KEPT : 0;
    for (uint64_t i = first; i < losses->count; i++) {
        const struct parent_loss *loss = &losses->latest[i % PARENT_LOSSES_KEPT];
        pc_json *row = pc_json_object();
        pc_json_put_str(row, "who", loss->who);
        pc_json_put_i64(row, "pid", loss->pid);
        pc_json_put_i64(row, "time_us", loss->time_us);
        pc_json_put_str(row, "why", loss->why);
        pc_json_append(rows, row);
    }
    pc_json_put(reply, "deaths", rows);
    pc_json_put_i64(reply, "death_count", (int64_t)losses->count);
}
