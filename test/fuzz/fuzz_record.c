/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The encrypted records. Nobody guesses a tag, so most of what is behind the decryption would
 * never be reached with arbitrary bytes. The first byte of the input says what the rest is:
 *
 *   0  bytes from a peer without the key: nothing may come out
 *   1  a stream of frames from a peer with the key, in records of any size
 *   2  the same, with one bit changed on the way: what comes out is what was sent before it
 *   3  as 1, but the frames are also sent back through the sending side
 */
#include "fuzz.h"

#include <string.h>

#include "claims.h"
#include "lib/buf.h"
#include "lib/wire.h"

#define ANYBODY      0xffffffffu
#define PLAIN_MAX    (256 * 1024)
#define RECORD_LIMIT 4096 /* records per run: an input may ask for very small ones */

struct result {
    size_t count;
    int is_refused;
};

static void make_ciphers(struct pc_cipher *one, struct pc_cipher *other)
{
    *one = (struct pc_cipher){.suite = PC_SUITE_CHACHAPOLY};
    *other = (struct pc_cipher){.suite = PC_SUITE_CHACHAPOLY};
    memset(one->state, 1, 32);
    memset(other->state, 2, 32);
}

/* The receiving side opens what the first key sealed and seals with the other; its peer the other
 * way round. */
static void init_wire(struct pc_wire *wire, bool is_peer)
{
    struct pc_cipher one, other;
    make_ciphers(&one, &other);
    pc_wire_init(wire, ANYBODY);
    FUZZ_CHECK(pc_wire_encrypt(wire, is_peer ? &one : &other, is_peer ? &other : &one) == 0);
}

static void seal(struct pc_buf *out, struct pc_cipher *cipher, const uint8_t *data, size_t size)
{
    uint8_t head[2];
    pc_store_u16(head, (uint16_t)(size + PC_NOISE_TAG_SIZE));
    pc_buf_put(out, head, sizeof(head));
    uint8_t *place = pc_buf_reserve(out, size + PC_NOISE_TAG_SIZE);
    FUZZ_CHECK(place && pc_cipher_seal(cipher, data, size, place) == 0);
    out->size += size + PC_NOISE_TAG_SIZE;
}

/* The stream in records whose sizes depend on the input. Now and then one is empty. */
static void seal_all(struct pc_buf *out, const uint8_t *data, size_t size)
{
    struct pc_cipher cipher, unused;
    uint32_t state = (uint32_t)size * 2 + 1;
    make_ciphers(&cipher, &unused);
    for (size_t done = 0, records = 0; done < size; records++) {
        size_t piece = records < RECORD_LIMIT ? fuzz_piece(&state, size - done) : size - done;
        piece = piece < PC_RECORD_PLAIN_MAX ? piece : PC_RECORD_PLAIN_MAX;
        if (state % 11 == 0)
            seal(out, &cipher, NULL, 0);
        seal(out, &cipher, data + done, piece);
        done += piece;
    }
}

static struct result feed(struct pc_wire *wire, const uint8_t *data, size_t size,
                          struct pc_wire *back)
{
    struct result result = {0, 0};
    uint32_t state = (uint32_t)size + 7;
    for (size_t done = 0; done < size && !result.is_refused;) {
        size_t room = 0;
        uint8_t *place = pc_wire_space(wire, &room);
        FUZZ_CHECK(place && room > 0);
        size_t piece = fuzz_piece(&state, size - done);
        piece = piece < room ? piece : room;
        memcpy(place, data + done, piece);
        pc_wire_received(wire, piece);
        done += piece;
        struct pc_msg *msg;
        struct pc_err err = {0};
        while ((msg = pc_wire_next(wire, &err)) != NULL) {
            result.count++;
            if (back)
                FUZZ_CHECK(pc_wire_send(back, msg) == 0);
            pc_msg_unref(msg);
        }
        result.is_refused = err.code != PC_OK;
    }
    return result;
}

static struct result receive(const uint8_t *data, size_t size)
{
    struct pc_wire wire;
    init_wire(&wire, false);
    struct result result = feed(&wire, data, size, NULL);
    pc_wire_fini(&wire);
    return result;
}

/* What was received goes back and must arrive whole at the other side. */
static void send_back(const uint8_t *sealed, size_t size)
{
    struct pc_wire here, there;
    struct pc_buf bytes;
    struct iovec vectors[4];
    int count;
    init_wire(&here, false);
    init_wire(&there, true);
    pc_buf_init(&bytes, 0);
    struct result forth = feed(&here, sealed, size, &here);
    while ((count = pc_wire_gather(&here, vectors, 4)) > 0) {
        /* Written in part, as a socket does. */
        size_t written = vectors[0].iov_len > 100 ? vectors[0].iov_len - 99 : vectors[0].iov_len;
        pc_buf_put(&bytes, vectors[0].iov_base, written);
        pc_wire_sent(&here, written);
    }
    FUZZ_CHECK(count == 0 && pc_wire_queued(&here) == 0 && !bytes.failed);
    struct result back = feed(&there, bytes.data, bytes.size, NULL);
    FUZZ_CHECK(back.count == forth.count && !back.is_refused && !pc_wire_is_within(&there));
    pc_buf_fini(&bytes);
    pc_wire_fini(&here);
    pc_wire_fini(&there);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_buf sealed;
    if (size < 1 || size > PLAIN_MAX || pc_noise_init() < 0)
        return 0;
    uint8_t mode = data[0];
    if (mode == 0) {
        FUZZ_CHECK(receive(data + 1, size - 1).count == 0);
        return 0;
    }
    if (mode > 3 || fuzz_claims_too_much(data + 1, size - 1))
        return 0;
    pc_buf_init(&sealed, 0);
    seal_all(&sealed, data + 1, size - 1);
    struct result good = receive(sealed.data, sealed.size);
    if (mode == 2 && sealed.size) {
        size_t at = data[size - 1] * sealed.size / 256;
        sealed.data[at] ^= (uint8_t)(1 << (size - 1) % 8);
        struct result changed = receive(sealed.data, sealed.size);
        FUZZ_CHECK(changed.count <= good.count);
    }
    if (mode == 3)
        send_back(sealed.data, sealed.size);
    pc_buf_fini(&sealed);
    return 0;
}
