/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/proto.h"

#define RECORD_HEAD  2
#define RECORD_MAX   (RECORD_HEAD + PC_RECORD_PLAIN_MAX + PC_NOISE_TAG_SIZE)
#define SEALED_MAX   (2 * RECORD_MAX) /* sealed ahead of what the system takes */
#define FLAT_FIRST   512              /* room in a flat segment when nothing else is queued ... */
#define FLAT_SIZE    4096             /* ... and in those behind it */
#define BY_REFERENCE 8192             /* larger parts are sent from where they are */

struct pc_wire_segment {
    struct pc_wire_segment *next;
    struct pc_msg *msg; /* owner of data, or NULL: data is flat[] */
    const uint8_t *data;
    size_t size, done, capacity;
    uint8_t flat[];
};

static void segment_free(struct pc_wire_segment *segment)
{
    pc_msg_unref(segment->msg);
    free(segment);
}
static void append(struct pc_wire *wire, struct pc_wire_segment *segment)
{
    segment->next = NULL;
    if (wire->out_last)
        wire->out_last->next = segment;
    else
        wire->out_first = segment;
    wire->out_last = segment;
}

/* Room for `size` flat bytes at the end of the queue. NULL: out of memory. */
static uint8_t *flat_place(struct pc_wire *wire, size_t size)
{
    struct pc_wire_segment *last = wire->out_last;
    if (!last || last->msg || last->capacity - last->size < size) {
        /* An idle connection shall cost little, a busy one few allocations. */
        size_t usual = last || wire->out_spare ? FLAT_SIZE : FLAT_FIRST;
        if (wire->out_spare && size <= FLAT_SIZE) {
            last = wire->out_spare;
            wire->out_spare = NULL;
        } else {
            size_t capacity = size > usual ? size : usual;
            last = malloc(sizeof(*last) + capacity);
            if (!last)
                return NULL;
            last->capacity = capacity;
        }
        last->msg = NULL;
        last->data = last->flat;
        last->size = last->done = 0;
        append(wire, last);
    }
    uint8_t *place = last->flat + last->size;
    last->size += size;
    wire->out_bytes += size;
    return place;
}

static int send_reference(struct pc_wire *wire, struct pc_msg *owner, const struct pc_part *part)
{
    struct pc_wire_segment *segment = malloc(sizeof(*segment));
    if (!segment)
        return -1;
    *segment = (struct pc_wire_segment){
        .msg = pc_msg_ref(owner), .data = part->data, .size = part->size, .capacity = 0};
    append(wire, segment);
    wire->out_bytes += part->size;
    return 0;
}

static int queue(struct pc_wire *wire, const struct pc_frame *head, const void *body,
                 struct pc_msg *owner)
{
    size_t table = (size_t)head->part_count * 8;
    size_t fixed = PC_FRAME_SIZE + table + head->body_size;
    uint8_t *place = flat_place(wire, fixed);
    if (!place)
        return -1;
    pc_frame_encode(head, place);
    if (wire->lifeline)
        pc_store_u16(place + PC_FRAME_RECEIVED, pc_lifeline_tell(wire->lifeline));
    for (uint16_t i = 0; i < head->part_count; i++)
        pc_store_u64(place + PC_FRAME_SIZE + 8 * (size_t)i, owner->parts[i].size);
    if (head->body_size)
        memcpy(place + PC_FRAME_SIZE + table, body, head->body_size);
    for (uint16_t i = 0; i < head->part_count; i++) {
        const struct pc_part *part = &owner->parts[i];
        if (part->size > BY_REFERENCE) {
            if (send_reference(wire, owner, part))
                return -1;
        } else if (part->size) {
            if (!(place = flat_place(wire, part->size)))
                return -1;
            memcpy(place, part->data, part->size);
        }
    }
    return 0;
}

int pc_wire_send(struct pc_wire *wire, struct pc_msg *msg)
{
    if (wire->lifeline && msg->head.type != PC_MSG_RECEIVED &&
        pc_lifeline_keep(wire->lifeline, msg))
        return -1;
    return queue(wire, &msg->head, msg->body, msg);
}

int pc_wire_send_parts(struct pc_wire *wire, const struct pc_frame *head, const void *body,
                       struct pc_msg *owner)
{
    if (!wire->lifeline || head->type == PC_MSG_RECEIVED)
        return queue(wire, head, body, owner);
    struct pc_msg *msg = pc_msg_of(head, body, owner);
    int failed = msg ? pc_wire_send(wire, msg) : -1;
    pc_msg_unref(msg);
    return failed;
}

int pc_wire_resume(struct pc_wire *wire)
{
    struct pc_msg *nothing = pc_msg_with_body(PC_MSG_RESULT_ACK, NULL, 0);
    int failed = nothing ? 0 : -1;
    for (size_t i = 0; i < wire->lifeline->count && !failed; i++) {
        uint64_t number;
        struct pc_msg *kept = pc_lifeline_kept(wire->lifeline, i, &number);
        kept = kept ? kept : nothing;
        failed = queue(wire, &kept->head, kept->body, kept);
    }
    pc_msg_unref(nothing);
    return failed;
}

static int gather_plain(struct pc_wire *wire, struct iovec *vectors, int max)
{
    int count = 0;
    for (struct pc_wire_segment *s = wire->out_first; s && count < max; s = s->next)
        if (s->done < s->size)
            vectors[count++] = (struct iovec){.iov_base = (uint8_t *)(uintptr_t)s->data + s->done,
                                              .iov_len = s->size - s->done};
    return count;
}

/* Takes `size` bytes off the front of the queue. */
static void advance(struct pc_wire *wire, size_t size)
{
    wire->out_bytes -= size;
    struct pc_wire_segment *s;
    while ((s = wire->out_first) != NULL) {
        size_t n = s->size - s->done < size ? s->size - s->done : size;
        s->done += n;
        size -= n;
        if (s->done < s->size)
            return;
        wire->out_first = s->next;
        if (!s->next)
            wire->out_last = NULL;
        if (!s->msg && s->capacity == FLAT_SIZE && !wire->out_spare)
            wire->out_spare = s;
        else
            segment_free(s);
    }
}

/* Seals one record from the front of the queue into wire->sealed. */
static int seal_record(struct pc_wire *wire)
{
    size_t size = wire->out_bytes < PC_RECORD_PLAIN_MAX ? wire->out_bytes : PC_RECORD_PLAIN_MAX;
    uint8_t *place = pc_buf_reserve(&wire->sealed, RECORD_HEAD + size + PC_NOISE_TAG_SIZE);
    if (!place)
        return -1;
    uint8_t *body = place + RECORD_HEAD;
    struct pc_wire_segment *s = wire->out_first;
    const uint8_t *from = s->data + s->done;
    if (s->size - s->done < size) {
        /* Several pieces: laid side by side, then sealed in place. */
        size_t have = 0;
        for (; have < size; s = s->next) {
            size_t n = s->size - s->done < size - have ? s->size - s->done : size - have;
            memcpy(body + have, s->data + s->done, n);
            have += n;
        }
        from = body;
    }
    if (pc_cipher_seal(wire->send_cipher, from, size, body) < 0)
        return -1;
    pc_store_u16(place, (uint16_t)(size + PC_NOISE_TAG_SIZE));
    wire->sealed.size += RECORD_HEAD + size + PC_NOISE_TAG_SIZE;
    advance(wire, size);
    return 0;
}

int pc_wire_gather(struct pc_wire *wire, struct iovec *vectors, int max)
{
    if (!wire->is_encrypted)
        return gather_plain(wire, vectors, max);
    if (wire->sealed_done == wire->sealed.size) {
        wire->sealed.size = wire->sealed_done = 0;
        while (wire->out_bytes && wire->sealed.size < SEALED_MAX)
            if (seal_record(wire))
                return -1;
    }
    if (wire->sealed_done == wire->sealed.size)
        return 0;
    vectors[0] = (struct iovec){.iov_base = wire->sealed.data + wire->sealed_done,
                                .iov_len = wire->sealed.size - wire->sealed_done};
    return 1;
}

void pc_wire_sent(struct pc_wire *wire, size_t size)
{
    if (wire->is_encrypted)
        wire->sealed_done += size;
    else
        advance(wire, size);
}

int pc_wire_settle(struct pc_wire *wire)
{
    for (struct pc_wire_segment *s = wire->out_first, **link = &wire->out_first; s;
         link = &s->next, s = s->next) {
        if (!s->msg)
            continue;
        size_t left = s->size - s->done;
        struct pc_wire_segment *copy = malloc(sizeof(*copy) + left);
        if (!copy)
            return -1;
        *copy = (struct pc_wire_segment){
            .next = s->next, .data = copy->flat, .size = left, .capacity = left};
        memcpy(copy->flat, s->data + s->done, left);
        *link = copy;
        if (wire->out_last == s)
            wire->out_last = copy;
        segment_free(s);
        s = copy;
    }
    return 0;
}

void pc_wire_drop_queue(struct pc_wire *wire)
{
    while (wire->out_first) {
        struct pc_wire_segment *next = wire->out_first->next;
        segment_free(wire->out_first);
        wire->out_first = next;
    }
}

uint64_t pc_wire_queued(const struct pc_wire *wire)
{
    return wire->out_bytes + (wire->sealed.size - wire->sealed_done);
}
