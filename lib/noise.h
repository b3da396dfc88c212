/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Noise_IK_25519_AESGCM_SHA256 and Noise_IK_25519_ChaChaPoly_SHA256, after revision 34 of the
 * Noise Protocol Framework specification, sections 5 (processing rules) and 7.5 (pattern IK).
 *
 * Bytes in, bytes out: no descriptor, no allocation. This is the only file besides key.c that
 * includes sodium.h.
 *
 *   IK:  <- s            message 1, initiator to responder: e, es, s, ss
 *        ...             message 2, responder to initiator: e, ee, se
 */
#ifndef PC_LIB_NOISE_H
#define PC_LIB_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_KEY_SIZE        32
#define PC_NOISE_TAG_SIZE  16
#define PC_NOISE_MSG1_SIZE (32 + 32 + 16 + 16) /* e, encrypted s, tag of the empty payload */
#define PC_NOISE_MSG2_SIZE (32 + 16)           /* e, tag of the empty payload */

/* Numbers on the wire; 0 is the plain transport. */
enum pc_suite { PC_SUITE_PLAIN = 0, PC_SUITE_AESGCM = 1, PC_SUITE_CHACHAPOLY = 2 };

/* Must succeed once before anything else here is called; thread-safe, may be repeated.
 * Returns -1 when the library can't be initialised (no source of randomness). */
int pc_noise_init(void);

/* True when this processor can run the suite (AES-GCM needs hardware support). False for
 * PC_SUITE_PLAIN and for numbers that are no suite: a peer's byte can be asked about as it is. */
bool pc_suite_available(enum pc_suite suite);

/* The handshake. Under 400 bytes, so that a peer that is not authenticated yet stays cheap. */
struct pc_handshake {
    uint8_t chaining_key[32];
    uint8_t hash[32]; /* after the last message: the handshake hash */
    uint8_t key[32];
    uint64_t nonce;
    uint8_t static_private[32], static_public[32];
    uint8_t ephemeral_private[32], ephemeral_public[32];
    uint8_t remote_static[32]; /* the responder's copy is valid after message 1 was read */
    uint8_t remote_ephemeral[32];
    enum pc_suite suite;
    uint8_t messages_done; /* 0, 1, 2 */
    bool is_initiator, has_ephemeral, has_failed;
};

/* One direction of the transport. AES key schedules are big (512 bytes): expanded only here. */
struct pc_cipher {
    _Alignas(16) uint8_t state[512]; /* crypto_aead_aes256gcm_state, or the 32-byte ChaCha key */
    uint64_t nonce;
    enum pc_suite suite;
};

/* `remote_static` is the responder's public key for the initiator and NULL for the responder.
 * The suite must be available. */
void pc_handshake_init(struct pc_handshake *h, enum pc_suite suite, bool is_initiator,
                       const void *prologue, size_t prologue_size, const uint8_t static_private[32],
                       const uint8_t *remote_static);

/* For the test vectors only: uses this ephemeral key instead of a random one. */
void pc_handshake_fix_ephemeral(struct pc_handshake *h, const uint8_t ephemeral_private[32]);

/*
 * Messages with a payload of any size (the published vectors have one; pcluster sends none).
 * write: `out` has room for 48 + 48 + payload_size bytes (message 1) or 32 + 16 + payload_size
 * (message 2); returns the bytes written, -1 on a bad key (all-zero Diffie-Hellman result).
 * read: `payload` has room for size bytes; returns the payload's size, or -1: forged, truncated,
 * other prologue, other key. After -1 the secrets are gone already and every further call gives
 * -1. `payload` may be NULL when no payload is expected; then a message with one is refused.
 */
int pc_handshake_write(struct pc_handshake *h, const void *payload, size_t payload_size,
                       uint8_t *out);
int pc_handshake_read(struct pc_handshake *h, const uint8_t *message, size_t size,
                      uint8_t *payload);

/* After both messages: the two directions as seen from this side; wipes the handshake's secrets
 * (keeps hash and remote_static). */
void pc_handshake_split(struct pc_handshake *h, struct pc_cipher *send, struct pc_cipher *receive);
void pc_handshake_wipe(struct pc_handshake *h);

/* One transport message without associated data. `out` may not overlap `in` unless equal.
 * seal writes size + 16 bytes; open writes size - 16 bytes and returns -1 when it was forged or
 * truncated, or when 2^64 - 1 messages were used up. */
int pc_cipher_seal(struct pc_cipher *c, const uint8_t *in, size_t size, uint8_t *out);
int pc_cipher_open(struct pc_cipher *c, const uint8_t *in, size_t size, uint8_t *out);
void pc_cipher_wipe(struct pc_cipher *c);

#endif
