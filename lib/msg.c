/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/msg.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/proto.h"

#define LARGE_PART      4096
#define LARGE_ALIGNMENT 64
#define SMALL_ALIGNMENT 8
#define HUGE_MESSAGE                                                                               \
    (4u << 20) /* from here on in large pages: a page fault per 2 MiB, not per 4 KiB */
#define HUGE_ALIGNMENT (2u << 20)

static size_t align_up(size_t value, size_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

/* Offset of the next part of `size` bytes at or after `offset`. */
static size_t part_offset(size_t offset, uint64_t size)
{
    return align_up(offset, size > LARGE_PART ? LARGE_ALIGNMENT : SMALL_ALIGNMENT);
}

static void *allocate(size_t size, bool has_large)
{
    if (!has_large)
        return malloc(size);
    if (size < HUGE_MESSAGE)
        return aligned_alloc(LARGE_ALIGNMENT, align_up(size, LARGE_ALIGNMENT));
    void *memory = aligned_alloc(HUGE_ALIGNMENT, align_up(size, HUGE_ALIGNMENT));
    if (memory)
        madvise(memory, align_up(size, HUGE_ALIGNMENT), MADV_HUGEPAGE); /* a wish */
    return memory;
}

/* One allocation: struct, part table, body, parts, each with a zero byte behind it: text in a part
 * is a C string. The offsets of large parts are aligned absolutely, so the allocation has room for
 * the shift. */
struct pc_msg *pc_msg_new(uint8_t type, size_t body_size, const uint64_t *part_sizes,
                          uint16_t part_count)
{
    size_t offset = sizeof(struct pc_msg) + part_count * sizeof(struct pc_part);
    size_t body_at = offset;
    bool has_large = false;
    uint64_t parts_bytes = 0;
    offset += body_size;
    for (uint16_t i = 0; i < part_count; i++) {
        if (part_sizes[i] > PC_PARTS_BYTES_MAX - parts_bytes)
            return NULL;
        parts_bytes += part_sizes[i];
        has_large |= part_sizes[i] > LARGE_PART;
        offset = part_offset(offset, part_sizes[i]) + part_sizes[i] + 1;
    }
    struct pc_msg *msg = allocate(offset, has_large);
    if (!msg)
        return NULL;
    *msg = (struct pc_msg){
        .head = {.type = type,
                 .body_size = (uint32_t)body_size,
                 .engine_id = PC_NO_ENGINE,
                 .part_count = part_count},
        .refs = 1,
        .body = (uint8_t *)msg + body_at,
        .parts = (struct pc_part *)(msg + 1),
        .parts_bytes = parts_bytes,
    };
    offset = body_at + body_size;
    for (uint16_t i = 0; i < part_count; i++) {
        offset = part_offset(offset, part_sizes[i]);
        msg->parts[i] = (struct pc_part){.data = (uint8_t *)msg + offset, .size = part_sizes[i]};
        msg->parts[i].data[part_sizes[i]] = 0;
        offset += part_sizes[i] + 1;
    }
    return msg;
}

struct pc_msg *pc_msg_with_body(uint8_t type, const void *body, size_t body_size)
{
    struct pc_msg *msg = pc_msg_new(type, body_size, NULL, 0);
    if (msg && body_size)
        memcpy(msg->body, body, body_size);
    return msg;
}

struct pc_msg *pc_msg_sharing(uint8_t type, const void *body, size_t body_size,
                              struct pc_msg *origin)
{
    struct pc_msg *msg = pc_msg_with_body(type, body, body_size);
    if (!msg)
        return NULL;
    msg->origin = pc_msg_ref(origin);
    msg->parts = origin->parts;
    msg->head.part_count = origin->head.part_count;
    msg->parts_bytes = origin->parts_bytes;
    return msg;
}

struct pc_msg *pc_msg_borrowing(uint8_t type, const void *body, size_t body_size,
                                const struct pc_bytes *parts, uint16_t part_count)
{
    size_t table = part_count * sizeof(struct pc_part);
    struct pc_msg *msg = malloc(sizeof(*msg) + table + body_size);
    if (!msg)
        return NULL;
    *msg = (struct pc_msg){
        .head = {.type = type,
                 .body_size = (uint32_t)body_size,
                 .engine_id = PC_NO_ENGINE,
                 .part_count = part_count},
        .refs = 1,
        .parts = (struct pc_part *)(msg + 1),
    };
    msg->body = (uint8_t *)(msg->parts + part_count);
    if (body_size)
        memcpy(msg->body, body, body_size);
    for (uint16_t i = 0; i < part_count; i++) {
        /* Only ever read from: a borrowed part is sent, not received into. */
        msg->parts[i].data = (uint8_t *)(uintptr_t)parts[i].data;
        msg->parts[i].size = parts[i].size;
        msg->parts_bytes += parts[i].size;
    }
    return msg;
}

struct pc_msg *pc_msg_copying(uint8_t type, const void *body, size_t body_size,
                              const struct pc_bytes *parts, uint16_t part_count)
{
    uint64_t few[8] = {0};
    uint64_t *sizes = part_count > 8 ? malloc(part_count * sizeof(*sizes)) : few;
    if (!sizes)
        return NULL;
    for (uint16_t i = 0; i < part_count; i++)
        sizes[i] = parts[i].size;
    struct pc_msg *msg = pc_msg_new(type, body_size, sizes, part_count);
    if (sizes != few)
        free(sizes);
    if (msg && body_size)
        memcpy(msg->body, body, body_size);
    for (uint16_t i = 0; msg && i < part_count; i++)
        if (parts[i].size)
            memcpy(msg->parts[i].data, parts[i].data, parts[i].size);
    return msg;
}

struct pc_msg *pc_msg_of(const struct pc_frame *head, const void *body, struct pc_msg *owner)
{
    struct pc_msg *msg = owner ? pc_msg_sharing(head->type, body, head->body_size, owner)
                               : pc_msg_with_body(head->type, body, head->body_size);
    if (msg)
        msg->head = *head;
    return msg;
}

struct pc_msg *pc_msg_ref(struct pc_msg *msg)
{
    atomic_fetch_add_explicit(&msg->refs, 1, memory_order_relaxed);
    return msg;
}

void pc_msg_unref(struct pc_msg *msg)
{
    while (msg && atomic_fetch_sub_explicit(&msg->refs, 1, memory_order_acq_rel) == 1) {
        struct pc_msg *origin = msg->origin;
        free(msg);
        msg = origin;
    }
}

uint64_t pc_msg_wire_size(const struct pc_msg *msg)
{
    return PC_FRAME_SIZE + (uint64_t)msg->head.part_count * 8 + msg->head.body_size +
           msg->parts_bytes;
}
