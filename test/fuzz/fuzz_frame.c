/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frame decoder and the plain wire. The input is a stream of frames as a peer would send it.
 *
 * What must hold: the messages do not depend on how the stream was cut into pieces, and sent
 * again they give the very bytes that were consumed.
 */
#include "fuzz.h"

#include <string.h>

#include "claims.h"
#include "lib/proto.h"
#include "lib/wire.h"

#define ANYBODY 0xffffffffu

static void check_header(const uint8_t *data)
{
    struct pc_frame frame;
    uint8_t again[PC_FRAME_SIZE];
    struct pc_err err = {0};
    uint32_t takers = 0;
    for (uint32_t sender = 1; sender <= PC_FROM_NURSERY; sender <<= 1) {
        if (pc_frame_decode(data, sender, &frame, &err) == 0)
            takers |= sender;
        else
            FUZZ_CHECK(err.code == PC_E_PROTOCOL || err.code == PC_E_VERSION);
    }
    if (!takers)
        return;
    const struct pc_msg_rule *rule = pc_msg_rule(frame.type);
    FUZZ_CHECK(rule && takers == rule->senders);
    FUZZ_CHECK(frame.body_size <= rule->body_max && frame.part_count <= rule->parts_max);
    pc_frame_encode(&frame, again);
    FUZZ_CHECK(memcmp(again, data, sizeof(again)) == 0);
}

/* Takes what is whole; each message goes to `out` again. -1 when the wire refused the stream. */
static int take(struct pc_wire *wire, struct pc_wire *out, size_t *count)
{
    struct pc_msg *msg;
    struct pc_err err = {0};
    while ((msg = pc_wire_next(wire, &err)) != NULL) {
        FUZZ_CHECK(pc_msg_wire_size(msg) >= PC_FRAME_SIZE);
        if (out)
            FUZZ_CHECK(pc_wire_send(out, msg) == 0);
        pc_msg_unref(msg);
        (*count)++;
    }
    return err.code == PC_OK ? 0 : -1;
}

/* Returns the number of messages; *is_refused says whether the stream broke a rule. */
static size_t feed(const uint8_t *data, size_t size, uint32_t seed, struct pc_wire *out,
                   int *is_refused)
{
    struct pc_wire wire;
    size_t count = 0;
    pc_wire_init(&wire, ANYBODY);
    *is_refused = 0;
    for (size_t done = 0; done < size && !*is_refused;) {
        size_t room = 0;
        uint8_t *place = pc_wire_space(&wire, &room);
        FUZZ_CHECK(place && room > 0);
        size_t piece = seed ? fuzz_piece(&seed, size - done) : size - done;
        piece = piece < room ? piece : room;
        memcpy(place, data + done, piece);
        pc_wire_received(&wire, piece);
        done += piece;
        *is_refused = take(&wire, out, &count) < 0;
        if (done % 3 == 0 && !*is_refused)
            pc_wire_trim(&wire);
    }
    pc_wire_fini(&wire);
    return count;
}

/* What `out` wants to write is the beginning of the input. */
static void check_same_bytes(struct pc_wire *out, const uint8_t *data, size_t size)
{
    struct iovec vectors[4];
    int count;
    while ((count = pc_wire_gather(out, vectors, 4)) > 0) {
        size_t written = 0;
        for (int i = 0; i < count; i++) {
            FUZZ_CHECK(vectors[i].iov_len <= size - written);
            FUZZ_CHECK(memcmp(vectors[i].iov_base, data + written, vectors[i].iov_len) == 0);
            written += vectors[i].iov_len;
        }
        pc_wire_sent(out, written);
        data += written;
        size -= written;
    }
    FUZZ_CHECK(count == 0 && pc_wire_queued(out) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_wire out;
    int refused_whole, refused_pieces;
    if (size >= PC_FRAME_SIZE)
        check_header(data);
    if (fuzz_claims_too_much(data, size))
        return 0;
    pc_wire_init(&out, 0);
    size_t whole = feed(data, size, 0, NULL, &refused_whole);
    size_t pieces = feed(data, size, (uint32_t)size * 2 + 1, &out, &refused_pieces);
    FUZZ_CHECK(whole == pieces && refused_whole == refused_pieces);
    check_same_bytes(&out, data, size);
    pc_wire_fini(&out);
    return 0;
}
