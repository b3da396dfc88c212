/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/key.h"
#include "lib/proto.h"

#define IN_FIRST     512           /* first size of the input buffer ... */
#define IN_MAX       (128u * 1024) /* ... and how far it grows when reads fill it */
#define WHOLE_PARTS  16            /* parts of a message that is taken out of it in one step */
#define DIRECT_MIN   4096          /* larger rests of a part are read into the part itself */
#define RECORD_HEAD  2
#define RECORD_MAX   (RECORD_HEAD + PC_RECORD_PLAIN_MAX + PC_NOISE_TAG_SIZE)
#define SEALED_MAX   (2 * RECORD_MAX) /* sealed ahead of what the system takes */
#define FLAT_FIRST   512              /* room in a flat segment when nothing else is queued ... */
#define FLAT_SIZE    4096             /* ... and in those behind it */
#define BY_REFERENCE 8192             /* larger parts are sent from where they are */

static const uint8_t magic[8] = {'P', 'C', 'L', 'U', 'S', 'T', 'E', 'R'};

struct pc_wire_segment {
    struct pc_wire_segment *next;
    struct pc_msg *msg; /* owner of data, or NULL: data is flat[] */
    const uint8_t *data;
    size_t size, done, capacity;
    uint8_t flat[];
};

/* ---- preamble --------------------------------------------------------------------------- */

void pc_preamble_encode(const struct pc_preamble *preamble, uint8_t out[PC_PREAMBLE_SIZE])
{
    memset(out, 0, PC_PREAMBLE_SIZE);
    memcpy(out, magic, sizeof(magic));
    pc_store_u16(out + 8, preamble->version);
    out[10] = preamble->suite_or_answer;
    memcpy(out + 16, preamble->instance, PC_INSTANCE_SIZE);
}

int pc_preamble_decode(const uint8_t in[PC_PREAMBLE_SIZE], struct pc_preamble *preamble)
{
    static const uint8_t zeros[5];
    if (memcmp(in, magic, sizeof(magic)) != 0 || memcmp(in + 11, zeros, sizeof(zeros)) != 0)
        return -1;
    preamble->version = pc_load_u16(in + 8);
    preamble->suite_or_answer = in[10];
    memcpy(preamble->instance, in + 16, PC_INSTANCE_SIZE);
    return 0;
}

/* ---- life ------------------------------------------------------------------------------- */

void pc_wire_init(struct pc_wire *wire, uint32_t senders)
{
    *wire = (struct pc_wire){.senders = senders};
    pc_buf_init(&wire->sealed, 0);
}

int pc_wire_encrypt(struct pc_wire *wire, struct pc_cipher *send, struct pc_cipher *receive)
{
    struct pc_cipher *mine = aligned_alloc(_Alignof(struct pc_cipher), 2 * sizeof(*mine));
    if (mine) {
        mine[0] = *send;
        mine[1] = *receive;
        wire->send_cipher = &mine[0];
        wire->receive_cipher = &mine[1];
        wire->is_encrypted = true;
    }
    pc_cipher_wipe(send);
    pc_cipher_wipe(receive);
    return mine ? 0 : -1;
}

static void segment_free(struct pc_wire_segment *segment)
{
    pc_msg_unref(segment->msg);
    free(segment);
}

void pc_wire_fini(struct pc_wire *wire)
{
    if (wire->send_cipher) {
        pc_cipher_wipe(wire->send_cipher);
        pc_cipher_wipe(wire->receive_cipher);
        free(wire->send_cipher);
    }
    while (wire->out_first) {
        struct pc_wire_segment *next = wire->out_first->next;
        segment_free(wire->out_first);
        wire->out_first = next;
    }
    free(wire->out_spare);
    free(wire->in);
    free(wire->sizes);
    pc_msg_unref(wire->partial);
    pc_buf_fini(&wire->sealed);
    pc_wire_init(wire, 0);
}

void pc_wire_trim(struct pc_wire *wire)
{
    if (wire->in_start == wire->in_end && wire->plain_start == wire->plain_end) {
        free(wire->in);
        wire->in = NULL;
        wire->in_start = wire->in_end = wire->in_capacity = 0;
        wire->plain_start = wire->plain_end = 0;
    }
    if (wire->sealed_done == wire->sealed.size) {
        pc_buf_fini(&wire->sealed);
        wire->sealed_done = 0;
    }
    free(wire->out_spare);
    wire->out_spare = NULL;
}

/* ---- receiving -------------------------------------------------------------------------- */

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

/* ---- sending ---------------------------------------------------------------------------- */

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

uint64_t pc_wire_queued(const struct pc_wire *wire)
{
    return wire->out_bytes + (wire->sealed.size - wire->sealed_done);
}
