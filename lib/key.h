/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys: X25519 pairs, random numbers, their text forms, and wiping. */
#ifndef PC_LIB_KEY_H
#define PC_LIB_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/noise.h"

struct pc_keypair {
    uint8_t private_key[PC_KEY_SIZE];
    uint8_t public_key[PC_KEY_SIZE];
};

void pc_keypair_generate(struct pc_keypair *pair);
void pc_keypair_from_private(struct pc_keypair *pair, const uint8_t private_key[PC_KEY_SIZE]);

void pc_random(void *out, size_t size);
void pc_wipe(void *secret, size_t size);
/* Constant time. */
bool pc_equal(const void *a, const void *b, size_t size);

/* BLAKE2b with 32 bytes. */
void pc_hash(const void *data, size_t size, uint8_t out[32]);

/* Lower-case hexadecimal; `text` has room for 2 * size + 1. */
void pc_hex_encode(const void *bytes, size_t size, char *text);
/* Exactly 2 * size hexadecimal digits and then the end, else -1. Writes nothing on failure. */
int pc_hex_decode(const char *text, void *bytes, size_t size);

/* Of libsodium, "1.0.18". */
const char *pc_key_library_version(void);

#endif
