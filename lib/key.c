/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys on libsodium; see key.h. Nothing here is secret but the pairs it fills. */
#include "lib/key.h"

#include <sodium.h>
#include <string.h>

void pc_keypair_generate(struct pc_keypair *pair)
{
    uint8_t private_key[PC_KEY_SIZE];
    randombytes_buf(private_key, sizeof(private_key));
    pc_keypair_from_private(pair, private_key);
    sodium_memzero(private_key, sizeof(private_key));
}

void pc_keypair_from_private(struct pc_keypair *pair, const uint8_t private_key[PC_KEY_SIZE])
{
    memmove(pair->private_key, private_key, PC_KEY_SIZE);
    crypto_scalarmult_base(pair->public_key, pair->private_key);
}

void pc_random(void *out, size_t size)
{
    if (size)
        randombytes_buf(out, size);
}

void pc_wipe(void *secret, size_t size)
{
    if (size)
        sodium_memzero(secret, size);
}

bool pc_equal(const void *a, const void *b, size_t size)
{
    return size == 0 || sodium_memcmp(a, b, size) == 0;
}

void pc_hash(const void *data, size_t size, uint8_t out[32])
{
    crypto_generichash(out, 32, data, size, NULL, 0);
}

void pc_hex_encode(const void *bytes, size_t size, char *text)
{
    sodium_bin2hex(text, 2 * size + 1, bytes, size);
}

int pc_hex_decode(const char *text, void *bytes, size_t size)
{
    size_t digits = strspn(text, "0123456789abcdefABCDEF");
    if (digits != 2 * size || text[digits] != '\0')
        return -1;
    return sodium_hex2bin(bytes, size, text, digits, NULL, NULL, NULL);
}

const char *pc_key_library_version(void)
{
    return sodium_version_string();
}
