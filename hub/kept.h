/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks in KEPT: one after another in its body, each with what is kept of it. Only of a task that
 * has more than PC_RECORD_INSIDE_MAX bytes of that, or prints, these are the parts of the message,
 * and it is alone in it.
 */
#ifndef PC_HUB_KEPT_H
#define PC_HUB_KEPT_H

#include <stdbool.h>

#include "hub/task.h"
#include "lib/buf.h"

/* Request, result, output. */
#define HUB_KEPT_PARTS (2 + PC_STREAM_TEXTS)

enum hub_kept_flag {
    HUB_KEPT_REQUEST = 0x01,
    HUB_KEPT_RESULT = 0x02,
    HUB_KEPT_OUTPUT = 0x04,       /* the first of PC_STREAM_TEXTS */
    HUB_KEPT_FUNCTION = 0x20,     /* that its SUBMIT names */
    HUB_KEPT_SAME_REQUEST = 0x40, /* as the task before */
    HUB_KEPT_GAP = 0x80,
    HUB_KEPT_DROPPED = 0x100, /* the result was here */
    HUB_KEPT_UUID = 0x200,    /* of its engine */
    HUB_KEPT_DURABLE = 0x400,
    HUB_KEPT_ORPHAN = 0x800,
    HUB_KEPT_OUTSIDE = 0x1000,
};

/* `is_same`: its request is that of the task before. */
unsigned hub_kept_flags(const struct hub_task *task, bool is_same);
void hub_kept_put(struct pc_buf *out, const struct hub_task *task, unsigned flags);
/* Of a task with HUB_KEPT_OUTSIDE. */
struct pc_msg *hub_kept_msg(const struct hub_task *task, unsigned flags);

/* A task as it was read; the pointers are into the message. */
struct hub_kept {
    struct hub_task_key key;
    uint64_t number;
    unsigned flags;
    struct pc_reader numbers;
    const uint8_t *uuid, *body;
    uint32_t body_size;
    struct pc_part parts[HUB_KEPT_PARTS];
};

/* The next one of `msg`; -1: malformed. */
int hub_kept_get(struct pc_reader *reader, const struct pc_msg *msg, struct hub_kept *kept);
/* Times, sizes, the engine, the state. */
void hub_kept_take_numbers(const struct hub_kept *kept, struct hub_task *task);

#endif
