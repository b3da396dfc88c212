/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/noise.c against the published vectors, and against everything a hostile peer can do to the
 * two messages. Each test runs once per suite; AESGCM is skipped where the processor lacks it.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "lib/json.h"
#include "lib/key.h"
#include "lib/noise.h"

#define MESSAGE_MAX 512

static const uint8_t zeros[sizeof(struct pc_cipher)];

static enum pc_suite suite_of(void **state)
{
    enum pc_suite suite = **(enum pc_suite **)state;
    if (!pc_suite_available(suite)) {
        print_message("skipped: this processor has no AES-GCM instructions\n");
        skip();
    }
    return suite;
}

/* ---- the published vectors --------------------------------------------------------------- */

struct bytes {
    uint8_t data[MESSAGE_MAX];
    size_t size;
};

static pc_json *load_vectors(void)
{
    struct pc_err err = {0};
    static char text[65536];
    FILE *file = fopen(TEST_DATA "/noise_ik.json", "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof(text), file);
    fclose(file);
    pc_json *json = pc_json_parse(text, size, &err);
    if (!json)
        fail_msg("%s", err.text);
    return json;
}

static struct bytes field(const pc_json *object, const char *name)
{
    struct bytes out;
    const char *text = pc_json_text(pc_json_member(object, name));
    assert_non_null(text);
    out.size = strlen(text) / 2;
    assert_true(out.size <= sizeof(out.data));
    assert_int_equal(pc_hex_decode(text, out.data, out.size), 0);
    return out;
}

static const pc_json *vector_of(const pc_json *json, enum pc_suite suite)
{
    const char *name = suite == PC_SUITE_AESGCM ? "Noise_IK_25519_AESGCM_SHA256"
                                                : "Noise_IK_25519_ChaChaPoly_SHA256";
    const pc_json *vector = pc_json_first(pc_json_member(json, "vectors"));
    while (vector && strcmp(pc_json_text(pc_json_member(vector, "protocol_name")), name) != 0)
        vector = pc_json_next(vector);
    assert_non_null(vector);
    return vector;
}

static void init_from_vector(struct pc_handshake *h, enum pc_suite suite, bool is_initiator,
                             const pc_json *vector)
{
    struct bytes prologue = field(vector, is_initiator ? "init_prologue" : "resp_prologue");
    struct bytes own = field(vector, is_initiator ? "init_static" : "resp_static");
    struct bytes ephemeral = field(vector, is_initiator ? "init_ephemeral" : "resp_ephemeral");
    struct bytes remote = field(vector, "init_remote_static");
    pc_handshake_init(h, suite, is_initiator, prologue.data, prologue.size, own.data,
                      is_initiator ? remote.data : NULL);
    pc_handshake_fix_ephemeral(h, ephemeral.data);
}

static void check_handshake_message(const pc_json *message, struct pc_handshake *from,
                                    struct pc_handshake *to)
{
    struct bytes payload = field(message, "payload"), expected = field(message, "ciphertext");
    uint8_t written[MESSAGE_MAX], read[MESSAGE_MAX];
    assert_int_equal(pc_handshake_write(from, payload.data, payload.size, written), expected.size);
    assert_memory_equal(written, expected.data, expected.size);
    assert_int_equal(pc_handshake_read(to, expected.data, expected.size, read), payload.size);
    assert_memory_equal(read, payload.data, payload.size);
}

static void check_transport_message(const pc_json *message, struct pc_cipher *from,
                                    struct pc_cipher *to)
{
    struct bytes payload = field(message, "payload"), expected = field(message, "ciphertext");
    uint8_t written[MESSAGE_MAX], read[MESSAGE_MAX];
    assert_int_equal(expected.size, payload.size + PC_NOISE_TAG_SIZE);
    assert_int_equal(pc_cipher_seal(from, payload.data, payload.size, written), 0);
    assert_memory_equal(written, expected.data, expected.size);
    assert_int_equal(pc_cipher_open(to, expected.data, expected.size, read), 0);
    assert_memory_equal(read, payload.data, payload.size);
}

static void test_published_vector(void **state)
{
    enum pc_suite suite = suite_of(state);
    pc_json *json = load_vectors();
    const pc_json *vector = vector_of(json, suite);
    struct pc_handshake initiator, responder;
    init_from_vector(&initiator, suite, true, vector);
    init_from_vector(&responder, suite, false, vector);
    struct bytes responder_public = field(vector, "init_remote_static");
    assert_memory_equal(responder.static_public, responder_public.data, PC_KEY_SIZE);

    const pc_json *message = pc_json_first(pc_json_member(vector, "messages"));
    check_handshake_message(message, &initiator, &responder);
    assert_memory_equal(responder.remote_static, initiator.static_public, PC_KEY_SIZE);
    message = pc_json_next(message);
    check_handshake_message(message, &responder, &initiator);

    struct bytes hash = field(vector, "handshake_hash");
    struct pc_cipher initiator_send, initiator_receive, responder_send, responder_receive;
    pc_handshake_split(&initiator, &initiator_send, &initiator_receive);
    pc_handshake_split(&responder, &responder_send, &responder_receive);
    assert_int_equal(hash.size, 32);
    assert_memory_equal(initiator.hash, hash.data, 32);
    assert_memory_equal(responder.hash, hash.data, 32);

    /* Transport messages alternate, beginning with the initiator. */
    int count = 0;
    for (message = pc_json_next(message); message; message = pc_json_next(message), count++) {
        if (count % 2 == 0)
            check_transport_message(message, &initiator_send, &responder_receive);
        else
            check_transport_message(message, &responder_send, &initiator_receive);
    }
    assert_int_equal(count, 4);
    pc_json_free(json);
}

/* ---- a pair of our own ------------------------------------------------------------------- */

struct sides {
    struct pc_keypair initiator_key, responder_key;
    struct pc_handshake initiator, responder;
};

static void start(struct sides *s, enum pc_suite suite)
{
    pc_keypair_generate(&s->initiator_key);
    pc_keypair_generate(&s->responder_key);
    pc_handshake_init(&s->initiator, suite, true, "prologue", 8, s->initiator_key.private_key,
                      s->responder_key.public_key);
    pc_handshake_init(&s->responder, suite, false, "prologue", 8, s->responder_key.private_key,
                      NULL);
}

static void test_messages_without_payload(void **state)
{
    struct sides s;
    uint8_t one[PC_NOISE_MSG1_SIZE], two[PC_NOISE_MSG2_SIZE], again[PC_NOISE_MSG1_SIZE];
    start(&s, suite_of(state));
    struct pc_handshake twin = s.initiator;
    assert_int_equal(pc_handshake_write(&s.initiator, NULL, 0, one), sizeof(one));
    assert_int_equal(pc_handshake_read(&s.responder, one, sizeof(one), NULL), 0);
    assert_int_equal(pc_handshake_write(&s.responder, NULL, 0, two), sizeof(two));
    assert_int_equal(pc_handshake_read(&s.initiator, two, sizeof(two), NULL), 0);
    assert_memory_equal(s.initiator.hash, s.responder.hash, 32);
    assert_memory_equal(s.responder.remote_static, s.initiator_key.public_key, PC_KEY_SIZE);
    /* Ephemeral keys are fresh each time. */
    assert_int_equal(pc_handshake_write(&twin, NULL, 0, again), sizeof(again));
    assert_memory_not_equal(one, again, 32);
}

static void test_payload_where_none_is_expected_is_refused(void **state)
{
    struct sides s;
    uint8_t one[PC_NOISE_MSG1_SIZE + 3];
    start(&s, suite_of(state));
    assert_int_equal(pc_handshake_write(&s.initiator, "abc", 3, one), sizeof(one));
    assert_int_equal(pc_handshake_read(&s.responder, one, sizeof(one), NULL), -1);
}

/* A read that must fail, on a copy, so that the original can be used for the next attempt. What
 * is left behind must be free of secrets and stay failed. */
static void assert_refused(const struct pc_handshake *h, const uint8_t *message, size_t size)
{
    static uint8_t payload[65536 + 64];
    uint8_t out[MESSAGE_MAX];
    struct pc_handshake copy = *h;
    assert_int_equal(pc_handshake_read(&copy, message, size, payload), -1);
    assert_memory_equal(copy.static_private, zeros, 32);
    assert_memory_equal(copy.ephemeral_private, zeros, 32);
    assert_memory_equal(copy.chaining_key, zeros, 32);
    assert_memory_equal(copy.key, zeros, 32);
    assert_memory_equal(copy.remote_static, zeros, 32);
    assert_int_equal(pc_handshake_read(&copy, message, size, payload), -1);
    assert_int_equal(pc_handshake_write(&copy, NULL, 0, out), -1);
}

static void assert_every_change_is_refused(const struct pc_handshake *h, uint8_t *message,
                                           size_t size)
{
    uint8_t longer[MESSAGE_MAX];
    for (size_t bit = 0; bit < size * 8; bit++) {
        message[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_refused(h, message, size);
        message[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t shorter = 0; shorter < size; shorter++)
        assert_refused(h, message, shorter);
    memcpy(longer, message, size);
    memset(longer + size, 0, sizeof(longer) - size);
    assert_refused(h, longer, size + 1);
    assert_refused(h, longer, sizeof(longer));
}

static void test_every_change_to_message_1_is_refused(void **state)
{
    struct sides s;
    uint8_t one[MESSAGE_MAX];
    start(&s, suite_of(state));
    int size = pc_handshake_write(&s.initiator, "hi", 2, one);
    assert_every_change_is_refused(&s.responder, one, (size_t)size);
    uint8_t payload[MESSAGE_MAX];
    assert_int_equal(pc_handshake_read(&s.responder, one, (size_t)size, payload), 2);
}

static void test_every_change_to_message_2_is_refused(void **state)
{
    struct sides s;
    uint8_t one[MESSAGE_MAX], two[MESSAGE_MAX];
    start(&s, suite_of(state));
    pc_handshake_write(&s.initiator, NULL, 0, one);
    assert_int_equal(pc_handshake_read(&s.responder, one, PC_NOISE_MSG1_SIZE, NULL), 0);
    int size = pc_handshake_write(&s.responder, "hi", 2, two);
    assert_every_change_is_refused(&s.initiator, two, (size_t)size);
    uint8_t payload[MESSAGE_MAX];
    assert_int_equal(pc_handshake_read(&s.initiator, two, (size_t)size, payload), 2);
}

static void test_too_large_a_message_is_refused(void **state)
{
    struct sides s;
    static uint8_t large[65536];
    start(&s, suite_of(state));
    memset(large, 9, 32);
    assert_refused(&s.responder, large, sizeof(large));
}

static void test_other_prologue_is_refused(void **state)
{
    struct sides s;
    enum pc_suite suite = suite_of(state);
    uint8_t one[PC_NOISE_MSG1_SIZE];
    start(&s, suite);
    pc_handshake_write(&s.initiator, NULL, 0, one);
    static const char *const others[] = {"Prologue", "prologuE", "prologue ", "prologu", ""};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct pc_handshake other;
        pc_handshake_init(&other, suite, false, others[i], strlen(others[i]),
                          s.responder_key.private_key, NULL);
        assert_refused(&other, one, sizeof(one));
    }
}

static void test_other_static_key_is_refused(void **state)
{
    struct sides s;
    struct pc_keypair stranger;
    enum pc_suite suite = suite_of(state);
    uint8_t one[PC_NOISE_MSG1_SIZE], two[PC_NOISE_MSG2_SIZE];
    pc_keypair_generate(&stranger);
    start(&s, suite);

    /* The initiator means another responder. */
    struct pc_handshake mistaken;
    pc_handshake_init(&mistaken, suite, true, "prologue", 8, s.initiator_key.private_key,
                      stranger.public_key);
    pc_handshake_write(&mistaken, NULL, 0, one);
    assert_refused(&s.responder, one, sizeof(one));

    /* Someone who shows the right public key but does not have the private one. */
    struct pc_handshake thief;
    pc_handshake_init(&thief, suite, true, "prologue", 8, stranger.private_key,
                      s.responder_key.public_key);
    memcpy(thief.static_public, s.initiator_key.public_key, 32);
    pc_handshake_write(&thief, NULL, 0, one);
    assert_refused(&s.responder, one, sizeof(one));

    /* A responder that read message 1 of somebody else. */
    struct pc_handshake other;
    pc_handshake_init(&other, suite, true, "prologue", 8, stranger.private_key,
                      s.responder_key.public_key);
    pc_handshake_write(&other, NULL, 0, one);
    assert_int_equal(pc_handshake_read(&s.responder, one, sizeof(one), NULL), 0);
    pc_handshake_write(&s.responder, NULL, 0, two);
    pc_handshake_write(&s.initiator, NULL, 0, one);
    assert_refused(&s.initiator, two, sizeof(two));
}

static void test_other_suite_is_refused(void **state)
{
    struct sides s;
    enum pc_suite suite = suite_of(state);
    enum pc_suite other = suite == PC_SUITE_AESGCM ? PC_SUITE_CHACHAPOLY : PC_SUITE_AESGCM;
    uint8_t one[PC_NOISE_MSG1_SIZE];
    if (!pc_suite_available(other))
        skip();
    start(&s, suite);
    struct pc_handshake responder;
    pc_handshake_init(&responder, other, false, "prologue", 8, s.responder_key.private_key, NULL);
    pc_handshake_write(&s.initiator, NULL, 0, one);
    assert_refused(&responder, one, sizeof(one));
}

/* ---- public keys chosen so that the shared secret is all zero ----------------------------- */

/* Points of small order, as in the list that curve25519 implementations keep. */
static const char *const small_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

static void test_all_zero_diffie_hellman_is_refused(void **state)
{
    enum pc_suite suite = suite_of(state);
    for (size_t i = 0; i < sizeof(small_order) / sizeof(small_order[0]); i++) {
        struct sides s;
        struct pc_handshake h;
        uint8_t point[32], one[PC_NOISE_MSG1_SIZE], two[PC_NOISE_MSG2_SIZE];
        start(&s, suite);
        pc_hex_decode(small_order[i], point, sizeof(point));

        /* es: as the responder's static key, as the initiator's ephemeral key */
        pc_handshake_init(&h, suite, true, NULL, 0, s.initiator_key.private_key, point);
        assert_int_equal(pc_handshake_write(&h, NULL, 0, one), -1);
        memset(one, 0, sizeof(one));
        memcpy(one, point, sizeof(point));
        assert_refused(&s.responder, one, sizeof(one));

        /* ss: as the initiator's static key, in a message that is otherwise well-formed */
        h = s.initiator;
        memcpy(h.static_public, point, sizeof(point));
        pc_handshake_write(&h, NULL, 0, one);
        assert_refused(&s.responder, one, sizeof(one));

        /* ee: as the responder's ephemeral key */
        pc_handshake_write(&s.initiator, NULL, 0, one);
        memset(two, 0, sizeof(two));
        memcpy(two, point, sizeof(point));
        assert_refused(&s.initiator, two, sizeof(two));
    }
}

/* ---- transport --------------------------------------------------------------------------- */

struct lanes {
    struct pc_cipher send, receive;           /* the initiator's */
    struct pc_cipher peer_send, peer_receive; /* the responder's */
};

static void connect_sides(struct lanes *lanes, struct sides *s, enum pc_suite suite)
{
    uint8_t one[PC_NOISE_MSG1_SIZE], two[PC_NOISE_MSG2_SIZE];
    start(s, suite);
    pc_handshake_write(&s->initiator, NULL, 0, one);
    assert_int_equal(pc_handshake_read(&s->responder, one, sizeof(one), NULL), 0);
    pc_handshake_write(&s->responder, NULL, 0, two);
    assert_int_equal(pc_handshake_read(&s->initiator, two, sizeof(two), NULL), 0);
    pc_handshake_split(&s->initiator, &lanes->send, &lanes->receive);
    pc_handshake_split(&s->responder, &lanes->peer_send, &lanes->peer_receive);
}

static void test_transport_in_place_and_empty(void **state)
{
    struct lanes lanes;
    struct sides s;
    uint8_t data[4096 + PC_NOISE_TAG_SIZE], plain[4096];
    connect_sides(&lanes, &s, suite_of(state));
    for (size_t size = 0; size <= 4096; size = size * 3 + 1) {
        pc_random(plain, size);
        memcpy(data, plain, size);
        assert_int_equal(pc_cipher_seal(&lanes.send, data, size, data), 0);
        assert_int_equal(pc_cipher_open(&lanes.peer_receive, data, size + PC_NOISE_TAG_SIZE, data),
                         0);
        assert_memory_equal(data, plain, size);
    }
    /* Nothing at all is a message, too. */
    assert_int_equal(pc_cipher_seal(&lanes.peer_send, NULL, 0, data), 0);
    data[3] ^= 1;
    assert_int_equal(pc_cipher_open(&lanes.receive, data, PC_NOISE_TAG_SIZE, NULL), -1);
    data[3] ^= 1;
    assert_int_equal(pc_cipher_open(&lanes.receive, data, PC_NOISE_TAG_SIZE, NULL), 0);
}

static void test_transport_refuses_changes(void **state)
{
    struct lanes lanes;
    struct sides s;
    uint8_t sealed[20 + PC_NOISE_TAG_SIZE], next[20 + PC_NOISE_TAG_SIZE], plain[64];
    connect_sides(&lanes, &s, suite_of(state));
    pc_cipher_seal(&lanes.send, (const uint8_t *)"twenty bytes of text", 20, sealed);
    pc_cipher_seal(&lanes.send, (const uint8_t *)"twenty bytes of more", 20, next);
    for (size_t bit = 0; bit < sizeof(sealed) * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(pc_cipher_open(&lanes.peer_receive, sealed, sizeof(sealed), plain), -1);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t size = 0; size < sizeof(sealed); size++)
        assert_int_equal(pc_cipher_open(&lanes.peer_receive, sealed, size, plain), -1);
    /* Out of order, and in the other direction. */
    assert_int_equal(pc_cipher_open(&lanes.peer_receive, next, sizeof(next), plain), -1);
    assert_int_equal(pc_cipher_open(&lanes.receive, sealed, sizeof(sealed), plain), -1);
    /* A refused message does not use up a number; a message taken once is not taken again. */
    assert_int_equal(pc_cipher_open(&lanes.peer_receive, sealed, sizeof(sealed), plain), 0);
    assert_memory_equal(plain, "twenty bytes of text", 20);
    assert_int_equal(pc_cipher_open(&lanes.peer_receive, sealed, sizeof(sealed), plain), -1);
    assert_int_equal(pc_cipher_open(&lanes.peer_receive, next, sizeof(next), plain), 0);
}

static void test_nonces_run_out(void **state)
{
    struct lanes lanes;
    struct sides s;
    uint8_t sealed[1 + PC_NOISE_TAG_SIZE], plain[1];
    connect_sides(&lanes, &s, suite_of(state));
    lanes.send.nonce = lanes.peer_receive.nonce = UINT64_MAX - 1;
    assert_int_equal(pc_cipher_seal(&lanes.send, (const uint8_t *)"x", 1, sealed), 0);
    assert_int_equal(pc_cipher_open(&lanes.peer_receive, sealed, sizeof(sealed), plain), 0);
    assert_int_equal(plain[0], 'x');
    /* 2^64 - 1 is reserved: neither side uses it, not even for a message that is good otherwise,
     * and nothing wraps around to 0. */
    static const uint8_t last[12] = {0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255};
    const void *key = lanes.send.state;
    if (lanes.send.suite == PC_SUITE_AESGCM)
        crypto_aead_aes256gcm_encrypt_afternm(sealed, NULL, plain, 1, NULL, 0, NULL, last, key);
    else
        crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, plain, 1, NULL, 0, NULL, last, key);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pc_cipher_open(&lanes.peer_receive, sealed, sizeof(sealed), plain), -1);
        assert_int_equal(pc_cipher_seal(&lanes.send, (const uint8_t *)"x", 1, sealed), -1);
    }
    assert_true(lanes.send.nonce == UINT64_MAX && lanes.peer_receive.nonce == UINT64_MAX);
}

static void test_split_and_wipe_leave_no_secret(void **state)
{
    struct lanes lanes;
    struct sides s;
    connect_sides(&lanes, &s, suite_of(state));
    /* Only hash and remote_static survive the split. */
    uint8_t hash[32];
    memcpy(hash, s.initiator.hash, 32);
    assert_memory_equal(s.initiator.remote_static, s.responder_key.public_key, 32);
    assert_memory_equal(s.responder.remote_static, s.initiator_key.public_key, 32);
    memset(s.initiator.hash, 0, 32);
    memset(s.initiator.remote_static, 0, 32);
    assert_memory_equal(&s.initiator, zeros, sizeof(s.initiator));
    assert_memory_not_equal(hash, zeros, 32);

    assert_memory_not_equal(lanes.send.state, zeros, 32);
    pc_cipher_wipe(&lanes.send);
    assert_memory_equal(&lanes.send, zeros, sizeof(lanes.send));

    start(&s, lanes.receive.suite);
    assert_memory_not_equal(s.initiator.static_private, zeros, 32);
    pc_handshake_wipe(&s.initiator);
    assert_memory_equal(&s.initiator, zeros, sizeof(s.initiator));
}

static void test_available_suites(void **state)
{
    assert_true(pc_suite_available(PC_SUITE_CHACHAPOLY));
    assert_false(pc_suite_available(PC_SUITE_PLAIN));
    assert_false(pc_suite_available((enum pc_suite)3));
    assert_false(pc_suite_available((enum pc_suite)255));
    assert_int_equal(pc_noise_init(), 0);
    assert_true(sizeof(struct pc_handshake) < 400);
}

static enum pc_suite aesgcm = PC_SUITE_AESGCM, chachapoly = PC_SUITE_CHACHAPOLY;

#define FOR_BOTH_SUITES(f)                                                                         \
    {#f " (AESGCM)", f, NULL, NULL, &aesgcm},                                                      \
    {                                                                                              \
#f " (ChaChaPoly)", f, NULL, NULL, &chachapoly                                             \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_available_suites),
        FOR_BOTH_SUITES(test_published_vector),
        FOR_BOTH_SUITES(test_messages_without_payload),
        FOR_BOTH_SUITES(test_payload_where_none_is_expected_is_refused),
        FOR_BOTH_SUITES(test_every_change_to_message_1_is_refused),
        FOR_BOTH_SUITES(test_every_change_to_message_2_is_refused),
        FOR_BOTH_SUITES(test_too_large_a_message_is_refused),
        FOR_BOTH_SUITES(test_other_prologue_is_refused),
        FOR_BOTH_SUITES(test_other_static_key_is_refused),
        FOR_BOTH_SUITES(test_other_suite_is_refused),
        FOR_BOTH_SUITES(test_all_zero_diffie_hellman_is_refused),
        FOR_BOTH_SUITES(test_transport_in_place_and_empty),
        FOR_BOTH_SUITES(test_transport_refuses_changes),
        FOR_BOTH_SUITES(test_nonces_run_out),
        FOR_BOTH_SUITES(test_split_and_wipe_leave_no_secret),
    };
    if (pc_noise_init() < 0)
        return 1;
    return cmocka_run_group_tests_name("noise", tests, NULL, NULL);
}
