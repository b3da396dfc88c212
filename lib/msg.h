/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One message: header, body, and opaque parts. Reference counted; the counter is atomic, the
 * contents belong to whoever made it until it is first shared.
 *
 * Parts either live in the message's own memory (received ones) or belong to `origin`, another
 * message that this one keeps alive: that is how a forwarder sends the parts of a submission to
 * an engine, or to many engines, without a copy.
 */
#ifndef PC_LIB_MSG_H
#define PC_LIB_MSG_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/frame.h"

struct pc_part {
    uint8_t *data;
    uint64_t size;
};

struct pc_msg {
    struct pc_frame head; /* body_size and part_count are kept right by the functions below */
    _Atomic uint32_t refs;
    struct pc_msg *origin; /* owner of the parts' memory, or NULL: this message */
    uint8_t *body;
    struct pc_part *parts;
    uint64_t parts_bytes; /* sum of all parts */
};

/* A message with room for body and parts, contents undefined. The parts' sizes are given by
 * `part_sizes` (their memory is allocated with the message, parts over 4096 bytes aligned to 64).
 * NULL when out of memory. */
struct pc_msg *pc_msg_new(uint8_t type, size_t body_size, const uint64_t *part_sizes,
                          uint16_t part_count);
/* The same with a copy of `body` and no parts. */
struct pc_msg *pc_msg_with_body(uint8_t type, const void *body, size_t body_size);
/* A message of another type with the parts of `origin` (takes a reference to it). */
struct pc_msg *pc_msg_sharing(uint8_t type, const void *body, size_t body_size,
                              struct pc_msg *origin);
/* A message whose parts are the caller's memory, which must outlive it. */
struct pc_msg *pc_msg_borrowing(uint8_t type, const void *body, size_t body_size,
                                const struct pc_bytes *parts, uint16_t part_count);

/* A message with a copy of them. */
struct pc_msg *pc_msg_copying(uint8_t type, const void *body, size_t body_size,
                              const struct pc_bytes *parts, uint16_t part_count);

/* The message with this head and body, and the parts of `owner` (NULL: none). */
struct pc_msg *pc_msg_of(const struct pc_frame *head, const void *body, struct pc_msg *owner);

struct pc_msg *pc_msg_ref(struct pc_msg *msg);
void pc_msg_unref(struct pc_msg *msg); /* NULL is fine */

/* Bytes on the wire before encryption. */
uint64_t pc_msg_wire_size(const struct pc_msg *msg);

#endif
