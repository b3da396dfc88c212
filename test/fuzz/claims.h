/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A frame may claim parts of up to 16 GiB, and the wire then takes that much address space. It
 * costs nothing as long as nobody touches it, but a sanitizer touches its shadow: a second for
 * each. So builds with one leave such streams out; the plain build runs them and replay.c looks
 * at the memory in use.
 */
#ifndef PC_TEST_FUZZ_CLAIMS_H
#define PC_TEST_FUZZ_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/frame.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FUZZ_CLAIM_MAX (UINT64_C(64) << 20)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FUZZ_CLAIM_MAX (UINT64_C(64) << 20)
#endif
#endif
#ifndef FUZZ_CLAIM_MAX
#define FUZZ_CLAIM_MAX UINT64_MAX
#endif

static inline uint64_t fuzz_capped_sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* True when a frame of this stream claims more than this build should be asked for. */
static inline bool fuzz_claims_too_much(const uint8_t *data, size_t size)
{
    struct pc_frame frame;
    while (size >= PC_FRAME_SIZE && pc_frame_decode(data, 0xffffffffu, &frame, NULL) == 0) {
        size_t table = (size_t)frame.part_count * 8;
        if (size < PC_FRAME_SIZE + table)
            return false;
        uint64_t sum = frame.body_size;
        for (size_t i = 0; i < frame.part_count; i++)
            sum = fuzz_capped_sum(sum, pc_load_u64(data + PC_FRAME_SIZE + 8 * i));
        if (sum > FUZZ_CLAIM_MAX)
            return true;
        if (sum > size - PC_FRAME_SIZE - table)
            return false;
        data += PC_FRAME_SIZE + table + sum;
        size -= PC_FRAME_SIZE + table + sum;
    }
    return false;
}

#endif
