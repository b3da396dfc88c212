/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Noise IK on libsodium's primitives. The names of the specification (revision 34) are kept where
 * it has one: mix_hash, mix_key, encrypt_and_hash, split. Read it beside section 5 of that text.
 *
 * A handshake is a strict sequence of two messages; asking for them out of order is a mistake of
 * ours and aborts, whatever a peer sends only ever gives -1.
 */
#include "lib/noise.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define HASH_SIZE 32
/* The specification's largest message; nothing larger is read or written. */
#define MESSAGE_MAX 65535

static_assert(sizeof(((struct pc_cipher *)0)->state) == sizeof(crypto_aead_aes256gcm_state),
              "the expanded AES key fits exactly");
static_assert(sizeof(struct pc_handshake) < 400, "cheap for peers that are not authenticated");
static_assert(PC_KEY_SIZE == crypto_scalarmult_BYTES && HASH_SIZE == crypto_hash_sha256_BYTES, "");

int pc_noise_init(void)
{
    return sodium_init() < 0 ? -1 : 0;
}

bool pc_suite_available(enum pc_suite suite)
{
    switch (suite) {
    case PC_SUITE_AESGCM:
        return crypto_aead_aes256gcm_is_available() != 0;
    case PC_SUITE_CHACHAPOLY:
        return true;
    case PC_SUITE_PLAIN:
        break;
    }
    return false;
}

/* ---- CipherState ------------------------------------------------------------------------- */

static void cipher_init(struct pc_cipher *c, enum pc_suite suite, const uint8_t key[32],
                        uint64_t nonce)
{
    c->suite = suite;
    c->nonce = nonce;
    if (suite == PC_SUITE_AESGCM)
        crypto_aead_aes256gcm_beforenm((crypto_aead_aes256gcm_state *)(void *)c->state, key);
    else
        memcpy(c->state, key, 32);
}

/* 4 zero bytes and the counter: big-endian for AESGCM, little-endian for ChaChaPoly. */
static void nonce_encode(const struct pc_cipher *c, uint8_t out[12])
{
    memset(out, 0, 4);
    for (unsigned i = 0; i < 8; i++) {
        unsigned shift = c->suite == PC_SUITE_AESGCM ? 56 - 8 * i : 8 * i;
        out[4 + i] = (uint8_t)(c->nonce >> shift);
    }
}

static int seal(struct pc_cipher *c, const uint8_t *ad, size_t ad_size, const uint8_t *in,
                size_t size, uint8_t *out)
{
    uint8_t nonce[12];
    if (c->nonce == UINT64_MAX)
        return -1;
    nonce_encode(c, nonce);
    if (c->suite == PC_SUITE_AESGCM)
        crypto_aead_aes256gcm_encrypt_afternm(
            out, NULL, in, size, ad, ad_size, NULL, nonce,
            (const crypto_aead_aes256gcm_state *)(const void *)c->state);
    else
        crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, size, ad, ad_size, NULL, nonce,
                                                  c->state);
    c->nonce++;
    return 0;
}

static int open_sealed(struct pc_cipher *c, const uint8_t *ad, size_t ad_size, const uint8_t *in,
                       size_t size, uint8_t *out)
{
    uint8_t nonce[12], nothing[1];
    int failed;
    if (c->nonce == UINT64_MAX || size < PC_NOISE_TAG_SIZE)
        return -1;
    /* libsodium takes "no place for the plain text" as "only verify": right for an empty one. */
    if (!out)
        out = nothing;
    nonce_encode(c, nonce);
    if (c->suite == PC_SUITE_AESGCM)
        failed = crypto_aead_aes256gcm_decrypt_afternm(
            out, NULL, NULL, in, size, ad, ad_size, nonce,
            (const crypto_aead_aes256gcm_state *)(const void *)c->state);
    else
        failed = crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, size, ad, ad_size,
                                                           nonce, c->state);
    if (failed)
        return -1;
    c->nonce++;
    return 0;
}

int pc_cipher_seal(struct pc_cipher *c, const uint8_t *in, size_t size, uint8_t *out)
{
    return seal(c, NULL, 0, in, size, out);
}

int pc_cipher_open(struct pc_cipher *c, const uint8_t *in, size_t size, uint8_t *out)
{
    return open_sealed(c, NULL, 0, in, size, out);
}

void pc_cipher_wipe(struct pc_cipher *c)
{
    sodium_memzero(c, sizeof(*c));
}

/* ---- SymmetricState ---------------------------------------------------------------------- */

static void mix_hash(struct pc_handshake *h, const void *data, size_t size)
{
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, h->hash, HASH_SIZE);
    if (size)
        crypto_hash_sha256_update(&state, data, size);
    crypto_hash_sha256_final(&state, h->hash);
}

static void hmac(const uint8_t key[HASH_SIZE], const uint8_t *data, size_t size, uint8_t last,
                 uint8_t out[HASH_SIZE])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key, HASH_SIZE);
    if (size)
        crypto_auth_hmacsha256_update(&state, data, size);
    if (last)
        crypto_auth_hmacsha256_update(&state, &last, 1);
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof(state));
}

/* HKDF with two outputs. `first` may be the chaining key itself. */
static void hkdf(const uint8_t chaining_key[HASH_SIZE], const uint8_t *input, size_t size,
                 uint8_t first[HASH_SIZE], uint8_t second[HASH_SIZE])
{
    uint8_t temporary[HASH_SIZE];
    hmac(chaining_key, input, size, 0, temporary);
    hmac(temporary, NULL, 0, 1, first);
    hmac(temporary, first, HASH_SIZE, 2, second);
    sodium_memzero(temporary, sizeof(temporary));
}

/* One Diffie-Hellman token: MixKey(DH(private, public)). -1 when the result is all zero, which
 * only a public key chosen for it gives. */
static int mix_dh(struct pc_handshake *h, const uint8_t private_key[32],
                  const uint8_t public_key[32])
{
    uint8_t shared[32];
    if (crypto_scalarmult(shared, private_key, public_key) != 0) {
        sodium_memzero(shared, sizeof(shared));
        return -1;
    }
    hkdf(h->chaining_key, shared, sizeof(shared), h->chaining_key, h->key);
    h->nonce = 0;
    sodium_memzero(shared, sizeof(shared));
    return 0;
}

static void encrypt_and_hash(struct pc_handshake *h, const uint8_t *in, size_t size, uint8_t *out)
{
    struct pc_cipher cipher;
    cipher_init(&cipher, h->suite, h->key, h->nonce++);
    int failed = seal(&cipher, h->hash, HASH_SIZE, in, size, out);
    assert(!failed); /* the counter is 0 or 1 here */
    mix_hash(h, out, size + PC_NOISE_TAG_SIZE);
    pc_cipher_wipe(&cipher);
}

/* `size` with the tag, at least that of the tag. `in` and `out` may not overlap. */
static int decrypt_and_hash(struct pc_handshake *h, const uint8_t *in, size_t size, uint8_t *out)
{
    struct pc_cipher cipher;
    cipher_init(&cipher, h->suite, h->key, h->nonce++);
    int result = open_sealed(&cipher, h->hash, HASH_SIZE, in, size, out);
    mix_hash(h, in, size);
    pc_cipher_wipe(&cipher);
    return result;
}

/* ---- HandshakeState ---------------------------------------------------------------------- */

void pc_handshake_init(struct pc_handshake *h, enum pc_suite suite, bool is_initiator,
                       const void *prologue, size_t prologue_size, const uint8_t static_private[32],
                       const uint8_t *remote_static)
{
    assert(pc_suite_available(suite) && is_initiator == (remote_static != NULL));
    /* At most 32 bytes, so the name itself, padded with zeros, is the first hash. */
    const char *name = suite == PC_SUITE_AESGCM ? "Noise_IK_25519_AESGCM_SHA256"
                                                : "Noise_IK_25519_ChaChaPoly_SHA256";
    memset(h, 0, sizeof(*h));
    memcpy(h->hash, name, strlen(name));
    memcpy(h->chaining_key, h->hash, HASH_SIZE);
    h->suite = suite;
    h->is_initiator = is_initiator;
    memcpy(h->static_private, static_private, 32);
    crypto_scalarmult_base(h->static_public, static_private);
    if (remote_static)
        memcpy(h->remote_static, remote_static, 32);
    mix_hash(h, prologue, prologue_size);
    mix_hash(h, is_initiator ? h->remote_static : h->static_public, 32);
}

void pc_handshake_fix_ephemeral(struct pc_handshake *h, const uint8_t ephemeral_private[32])
{
    memcpy(h->ephemeral_private, ephemeral_private, 32);
    crypto_scalarmult_base(h->ephemeral_public, ephemeral_private);
    h->has_ephemeral = true;
}

static int fail(struct pc_handshake *h)
{
    pc_handshake_wipe(h);
    h->has_failed = true;
    return -1;
}

/* Token e: a fresh key pair, its public half in the clear. */
static uint8_t *write_ephemeral(struct pc_handshake *h, uint8_t *out)
{
    if (!h->has_ephemeral) {
        randombytes_buf(h->ephemeral_private, 32);
        crypto_scalarmult_base(h->ephemeral_public, h->ephemeral_private);
        h->has_ephemeral = true;
    }
    memcpy(out, h->ephemeral_public, 32);
    mix_hash(h, h->ephemeral_public, 32);
    return out + 32;
}

static const uint8_t *read_ephemeral(struct pc_handshake *h, const uint8_t *in)
{
    memcpy(h->remote_ephemeral, in, 32);
    mix_hash(h, h->remote_ephemeral, 32);
    return in + 32;
}

int pc_handshake_write(struct pc_handshake *h, const void *payload, size_t payload_size,
                       uint8_t *out)
{
    if (h->has_failed)
        return -1;
    assert(h->messages_done == (h->is_initiator ? 0 : 1));
    assert(payload_size <= MESSAGE_MAX - PC_NOISE_MSG1_SIZE);
    uint8_t *end = write_ephemeral(h, out);
    if (h->is_initiator) {
        if (mix_dh(h, h->ephemeral_private, h->remote_static) < 0) /* es */
            return fail(h);
        encrypt_and_hash(h, h->static_public, 32, end); /* s */
        end += 32 + PC_NOISE_TAG_SIZE;
        if (mix_dh(h, h->static_private, h->remote_static) < 0) /* ss */
            return fail(h);
    } else {
        if (mix_dh(h, h->ephemeral_private, h->remote_ephemeral) < 0 || /* ee */
            mix_dh(h, h->ephemeral_private, h->remote_static) < 0)      /* se */
            return fail(h);
    }
    encrypt_and_hash(h, payload, payload_size, end);
    end += payload_size + PC_NOISE_TAG_SIZE;
    h->messages_done++;
    return (int)(end - out);
}

int pc_handshake_read(struct pc_handshake *h, const uint8_t *message, size_t size, uint8_t *payload)
{
    if (h->has_failed)
        return -1;
    assert(h->messages_done == (h->is_initiator ? 1 : 0));
    size_t fixed = h->is_initiator ? PC_NOISE_MSG2_SIZE : PC_NOISE_MSG1_SIZE;
    if (size < fixed || size > MESSAGE_MAX || (!payload && size != fixed))
        return fail(h);
    const uint8_t *in = read_ephemeral(h, message);
    if (h->is_initiator) {
        if (mix_dh(h, h->ephemeral_private, h->remote_ephemeral) < 0 || /* ee */
            mix_dh(h, h->static_private, h->remote_ephemeral) < 0)      /* se */
            return fail(h);
    } else {
        if (mix_dh(h, h->static_private, h->remote_ephemeral) < 0 ||                 /* es */
            decrypt_and_hash(h, in, 32 + PC_NOISE_TAG_SIZE, h->remote_static) < 0 || /* s */
            mix_dh(h, h->static_private, h->remote_static) < 0)                      /* ss */
            return fail(h);
        in += 32 + PC_NOISE_TAG_SIZE;
    }
    if (decrypt_and_hash(h, in, size - fixed + PC_NOISE_TAG_SIZE, payload) < 0)
        return fail(h);
    h->messages_done++;
    return (int)(size - fixed);
}

void pc_handshake_split(struct pc_handshake *h, struct pc_cipher *send, struct pc_cipher *receive)
{
    uint8_t first[HASH_SIZE], second[HASH_SIZE], hash[HASH_SIZE], remote_static[32];
    assert(!h->has_failed && h->messages_done == 2);
    /* The first key is for what the initiator sends. */
    hkdf(h->chaining_key, NULL, 0, first, second);
    cipher_init(send, h->suite, h->is_initiator ? first : second, 0);
    cipher_init(receive, h->suite, h->is_initiator ? second : first, 0);
    sodium_memzero(first, sizeof(first));
    sodium_memzero(second, sizeof(second));

    memcpy(hash, h->hash, HASH_SIZE);
    memcpy(remote_static, h->remote_static, 32);
    pc_handshake_wipe(h);
    memcpy(h->hash, hash, HASH_SIZE);
    memcpy(h->remote_static, remote_static, 32);
}

void pc_handshake_wipe(struct pc_handshake *h)
{
    sodium_memzero(h, sizeof(*h));
}
