/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/proto.h"

#define IN_FIRST    512           /* first size of the input buffer ... */
#define IN_MAX      (128u * 1024) /* ... and how far it grows when reads fill it */
#define WHOLE_PARTS 16            /* parts of a message that is taken out of it in one step */
#define DIRECT_MIN  4096          /* larger rests of a part are read into the part itself */
#define RECORD_HEAD 2

/* Where the piece that is being filled continues, and how much of it is missing. */
static uint8_t *fill_place(const struct pc_wire *wire, uint64_t *missing)
{
    struct pc_msg *msg = wire->partial;
    if (wire->fill_part < 0) {
        *missing = msg->head.body_size - wire->fill_have;
        return msg->body + wire->fill_have;
    }
    if (wire->fill_part >= msg->head.part_count) {
        *missing = 0;
        return NULL;
    }
    *missing = msg->parts[wire->fill_part].size - wire->fill_have;
    return msg->parts[wire->fill_part].data + wire->fill_have;
}

/* Moves on past full (and empty) pieces. True when the message is whole. */
static bool fill_advance(struct pc_wire *wire, uint64_t size)
{
    wire->fill_have += size;
    for (;;) {
        uint64_t missing;
        if (wire->fill_part >= wire->partial->head.part_count)
            return true;
        fill_place(wire, &missing);
        if (missing)
            return false;
        wire->fill_part++;
        wire->fill_have = 0;
    }
}

static bool reads_direct(const struct pc_wire *wire)
{
    return !wire->is_encrypted && wire->partial && wire->in_start == wire->in_end;
}

uint8_t *pc_wire_space(struct pc_wire *wire, size_t *size)
{
    if (reads_direct(wire)) {
        uint64_t missing;
        uint8_t *place = fill_place(wire, &missing);
        if (missing >= DIRECT_MIN) {
            *size = missing;
            return place;
        }
    }
    /* Make room: first by moving what is left to the front, then by growing. */
    size_t first = wire->plain_start < wire->plain_end ? wire->plain_start : wire->in_start;
    if (first && (wire->in_end == wire->in_capacity || wire->in_start == wire->in_end)) {
        memmove(wire->in, wire->in + first, wire->in_end - first);
        wire->in_start -= first;
        wire->in_end -= first;
        wire->plain_end = wire->plain_start < wire->plain_end ? wire->plain_end - first : 0;
        wire->plain_start = 0;
    }
    if (wire->in_end == wire->in_capacity || wire->wants_larger) {
        size_t capacity = wire->in_capacity ? wire->in_capacity * 4 : IN_FIRST;
        uint8_t *in = capacity > IN_MAX ? NULL : realloc(wire->in, capacity);
        if (in) {
            wire->in = in;
            wire->in_capacity = capacity;
        } else if (wire->in_end == wire->in_capacity) {
            return NULL;
        }
        wire->wants_larger = false;
    }
    *size = wire->in_capacity - wire->in_end;
    return wire->in + wire->in_end;
}

void pc_wire_received(struct pc_wire *wire, size_t size)
{
    uint64_t missing;
    if (reads_direct(wire) && (fill_place(wire, &missing), missing >= DIRECT_MIN))
        wire->fill_have += size; /* pc_wire_next moves on */
    else
        wire->in_end += size;
    /* A read that fills the buffer says that there is more: fewer, larger reads from now on. */
    wire->wants_larger = wire->in_end == wire->in_capacity && wire->in_capacity < IN_MAX;
}

static void receive_reset(struct pc_wire *wire)
{
    free(wire->sizes);
    wire->sizes = NULL;
    wire->sizes_have = 0;
    wire->head_have = 0;
    wire->partial = NULL;
    wire->fill_part = -1;
    wire->fill_have = 0;
}

/* The header and the sizes are known and within the rules: only now memory is taken. */
static int begin_message(struct pc_wire *wire, struct pc_err *err)
{
    uint16_t count = wire->frame.part_count;
    uint64_t *sizes = NULL;
    uint64_t sum = 0;
    if (count) {
        sizes = malloc(count * sizeof(*sizes));
        if (!sizes)
            return pc_err_set(err, PC_E_MEMORY, "out of memory");
        for (uint16_t i = 0; i < count; i++) {
            sizes[i] = pc_load_u64(wire->sizes + 8 * (size_t)i);
            if (sizes[i] > PC_PARTS_BYTES_MAX - sum) {
                free(sizes);
                return pc_err_set(err, PC_E_PROTOCOL, "%s with parts of more than %llu bytes",
                                  pc_msg_name(wire->frame.type),
                                  (unsigned long long)PC_PARTS_BYTES_MAX);
            }
            sum += sizes[i];
        }
    }
    wire->partial = pc_msg_new(wire->frame.type, wire->frame.body_size, sizes, count);
    free(sizes);
    if (!wire->partial)
        return pc_err_set(err, PC_E_MEMORY, "no memory for a %s of %llu bytes",
                          pc_msg_name(wire->frame.type), (unsigned long long)sum);
    wire->partial->head = wire->frame;
    wire->fill_part = -1;
    wire->fill_have = 0;
    return 0;
}

/* Copies up to `want` bytes into place + *have. Returns how many. */
static size_t collect(uint8_t *place, size_t *have, size_t want, const uint8_t *data, size_t size)
{
    size_t n = want - *have < size ? want - *have : size;
    memcpy(place + *have, data, n);
    *have += n;
    return n;
}

/* Most messages are small and lie in the buffer as a whole. Returns how many bytes *msg took; 0:
 * not this one, nothing was taken; -1: the peer broke the rules. */
static ssize_t consume_whole(struct pc_wire *wire, const uint8_t *data, size_t size,
                             struct pc_msg **msg, struct pc_err *err)
{
    struct pc_frame frame;
    uint64_t sizes[WHOLE_PARTS];
    if (size < PC_FRAME_SIZE)
        return 0;
    if (pc_frame_decode(data, wire->senders, &frame, err))
        return -1;
    size_t head = PC_FRAME_SIZE + (size_t)frame.part_count * 8;
    if (frame.part_count > WHOLE_PARTS || head > size || frame.body_size > size - head)
        return 0;
    size_t used = head + frame.body_size;
    for (uint16_t i = 0; i < frame.part_count; i++) {
        sizes[i] = pc_load_u64(data + PC_FRAME_SIZE + 8 * (size_t)i);
        if (sizes[i] > size - used)
            return 0;
        used += sizes[i];
    }
    struct pc_msg *whole = pc_msg_new(frame.type, frame.body_size, sizes, frame.part_count);
    if (!whole)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    whole->head = frame;
    data += head;
    memcpy(whole->body, data, frame.body_size);
    data += frame.body_size;
    for (uint16_t i = 0; i < frame.part_count; data += sizes[i++])
        memcpy(whole->parts[i].data, data, sizes[i]);
    *msg = whole;
    return (ssize_t)used;
}

/* Takes bytes of the stream of frames until one message is whole. Returns how many bytes it took;
 * *msg is set when one is whole. -1: the peer broke the rules. */
static ssize_t consume(struct pc_wire *wire, const uint8_t *data, size_t size, struct pc_msg **msg,
                       struct pc_err *err)
{
    size_t used = 0;
    if (!wire->head_have) {
        ssize_t whole = consume_whole(wire, data, size, msg, err);
        if (whole)
            return whole;
    }
    if (wire->head_have < PC_FRAME_SIZE) {
        used += collect(wire->head, &wire->head_have, PC_FRAME_SIZE, data, size);
        if (wire->head_have < PC_FRAME_SIZE)
            return (ssize_t)used;
        if (pc_frame_decode(wire->head, wire->senders, &wire->frame, err))
            return -1;
    }
    size_t table = (size_t)wire->frame.part_count * 8;
    if (wire->sizes_have < table) {
        if (!wire->sizes && !(wire->sizes = malloc(table)))
            return pc_err_set(err, PC_E_MEMORY, "out of memory");
        used += collect(wire->sizes, &wire->sizes_have, table, data + used, size - used);
        if (wire->sizes_have < table)
            return (ssize_t)used;
    }
    if (!wire->partial && begin_message(wire, err))
        return -1;
    for (;;) {
        uint64_t missing;
        if (fill_advance(wire, 0)) {
            *msg = wire->partial;
            receive_reset(wire);
            return (ssize_t)used;
        }
        uint8_t *place = fill_place(wire, &missing);
        size_t n = missing < size - used ? missing : size - used;
        if (!n)
            return (ssize_t)used;
        memcpy(place, data + used, n);
        wire->fill_have += n;
        used += n;
    }
}

/* Opens the next record if it is whole: in place, or straight into the part being filled.
 * 1: there is plain text now (or the part grew), 0: more bytes are needed. */
static int open_record(struct pc_wire *wire, struct pc_err *err)
{
    size_t have = wire->in_end - wire->in_start;
    if (have < RECORD_HEAD)
        return 0;
    size_t sealed = pc_load_u16(wire->in + wire->in_start);
    if (sealed < PC_NOISE_TAG_SIZE)
        return pc_err_set(err, PC_E_PROTOCOL, "a record of %zu bytes is too short", sealed);
    if (have < RECORD_HEAD + sealed)
        return 0;
    uint8_t *at = wire->in + wire->in_start + RECORD_HEAD;
    size_t size = sealed - PC_NOISE_TAG_SIZE;
    uint64_t missing = 0;
    uint8_t *direct = wire->partial ? fill_place(wire, &missing) : NULL;
    uint8_t *out = direct && missing >= size && size >= DIRECT_MIN ? direct : at;
    if (pc_cipher_open(wire->receive_cipher, at, sealed, out) < 0)
        return pc_err_set(err, PC_E_PROTOCOL, "a record does not decrypt");
    if (out == direct) {
        wire->fill_have += size;
    } else {
        wire->plain_start = wire->in_start + RECORD_HEAD;
        wire->plain_end = wire->plain_start + size;
    }
    wire->in_start += RECORD_HEAD + sealed;
    return 1;
}

/* A message is whole: what it says of the session. *msg becomes NULL when that was all. */
static int take(struct pc_wire *wire, struct pc_msg **msg, struct pc_err *err)
{
    struct pc_lifeline *lifeline = wire->lifeline;
    int failed = pc_lifeline_take(lifeline, *msg, (*msg)->head.received, err);
    if (!failed && pc_lifeline_is_ignored(lifeline) && !pc_wire_queued(wire))
        failed = pc_err_set(err, PC_E_PROTOCOL, "it does not acknowledge messages");
    (*msg)->head.received = 0;
    if (failed || (*msg)->head.type == PC_MSG_RECEIVED) {
        pc_msg_unref(*msg);
        *msg = NULL;
    }
    return failed;
}

struct pc_msg *pc_wire_next(struct pc_wire *wire, struct pc_err *err)
{
    struct pc_msg *msg = NULL;
    if (err)
        err->code = PC_OK;
    for (;;) {
        size_t *start = wire->is_encrypted ? &wire->plain_start : &wire->in_start;
        size_t end = wire->is_encrypted ? wire->plain_end : wire->in_end;
        bool has_bytes = *start < end;
        if (has_bytes || wire->partial) {
            const uint8_t *from = has_bytes ? wire->in + *start : NULL;
            ssize_t used = consume(wire, from, end - *start, &msg, err);
            if (used < 0)
                return NULL;
            *start += (size_t)used;
            bool is_whole = msg;
            if (is_whole && wire->lifeline && take(wire, &msg, err))
                return NULL;
            if (msg)
                return msg;
            if (is_whole)
                continue;
        }
        if (!wire->is_encrypted)
            return NULL;
        int opened = open_record(wire, err);
        if (opened <= 0)
            return NULL;
    }
}

bool pc_wire_is_within(const struct pc_wire *wire)
{
    return wire->partial || wire->head_have || wire->in_start < wire->in_end ||
           wire->plain_start < wire->plain_end;
}
