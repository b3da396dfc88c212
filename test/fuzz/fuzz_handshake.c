/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a peer sends before anybody knows it: a preamble, then a Noise message. The input is both.
 * The responder reads it as message 1; an initiator that waits for its answer reads it as
 * message 2. Only what the holder of the right key wrote may be taken.
 */
#include "fuzz.h"

#include <string.h>

#include "keys.h"
#include "lib/key.h"
#include "lib/preamble.h"
#include "lib/wire.h"

static void respond(enum pc_suite suite, const uint8_t *prologue, const uint8_t *message,
                    size_t size)
{
    struct pc_handshake h;
    struct pc_cipher send, receive;
    uint8_t answer[PC_NOISE_MSG2_SIZE];
    static const uint8_t zeros[PC_KEY_SIZE];
    pc_handshake_init(&h, suite, false, prologue, PC_PREAMBLE_SIZE, fuzz_responder_private, NULL);
    if (pc_handshake_read(&h, message, size, NULL) < 0) {
        FUZZ_CHECK(memcmp(h.static_private, zeros, sizeof(zeros)) == 0);
        FUZZ_CHECK(memcmp(h.remote_static, zeros, sizeof(zeros)) == 0);
        FUZZ_CHECK(pc_handshake_write(&h, NULL, 0, answer) < 0);
        return;
    }
    struct pc_keypair initiator;
    pc_keypair_from_private(&initiator, fuzz_initiator_private);
    FUZZ_CHECK(size == PC_NOISE_MSG1_SIZE);
    FUZZ_CHECK(pc_equal(h.remote_static, initiator.public_key, PC_KEY_SIZE));
    FUZZ_CHECK(pc_handshake_write(&h, NULL, 0, answer) == PC_NOISE_MSG2_SIZE);
    pc_handshake_split(&h, &send, &receive);
    pc_cipher_wipe(&send);
    pc_cipher_wipe(&receive);
}

static void await_answer(enum pc_suite suite, const uint8_t *prologue, const uint8_t *message,
                         size_t size)
{
    struct pc_handshake h;
    struct pc_keypair responder;
    uint8_t first[PC_NOISE_MSG1_SIZE], payload[1024];
    pc_keypair_from_private(&responder, fuzz_responder_private);
    pc_handshake_init(&h, suite, true, prologue, PC_PREAMBLE_SIZE, fuzz_initiator_private,
                      responder.public_key);
    pc_handshake_fix_ephemeral(&h, fuzz_initiator_ephemeral);
    FUZZ_CHECK(pc_handshake_write(&h, NULL, 0, first) == PC_NOISE_MSG1_SIZE);
    /* With room for a payload, so that longer messages get as far as decryption. */
    if (pc_handshake_read(&h, message, size, payload) >= 0)
        FUZZ_CHECK(size == PC_NOISE_MSG2_SIZE);
    pc_handshake_wipe(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_preamble preamble;
    uint8_t again[PC_PREAMBLE_SIZE];
    if (size < PC_PREAMBLE_SIZE || size > 1024 || pc_noise_init() < 0 ||
        pc_preamble_decode(data, &preamble) < 0)
        return 0;
    pc_preamble_encode(&preamble, again);
    FUZZ_CHECK(memcmp(again, data, sizeof(again)) == 0);
    enum pc_suite suite = (enum pc_suite)preamble.suite_or_answer;
    if (!pc_suite_available(suite))
        return 0;
    respond(suite, data, data + PC_PREAMBLE_SIZE, size - PC_PREAMBLE_SIZE);
    await_answer(suite, data, data + PC_PREAMBLE_SIZE, size - PC_PREAMBLE_SIZE);
    return 0;
}
