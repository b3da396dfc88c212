/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of fuzz_handshake.c and of its seeds. Known to everybody, so good for nothing else. */
#ifndef PC_TEST_FUZZ_KEYS_H
#define PC_TEST_FUZZ_KEYS_H

#include "lib/noise.h"

static const uint8_t fuzz_initiator_private[PC_KEY_SIZE] = {0x11, 1};
static const uint8_t fuzz_initiator_ephemeral[PC_KEY_SIZE] = {0x22, 2};
static const uint8_t fuzz_responder_private[PC_KEY_SIZE] = {0x33, 3};
static const uint8_t fuzz_responder_ephemeral[PC_KEY_SIZE] = {0x44, 4};

#endif
