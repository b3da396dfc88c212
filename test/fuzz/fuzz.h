/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzz targets share. A target is libFuzzer's entry point; built without libFuzzer,
 * replay.c calls it for each seed. What must hold is checked with FUZZ_CHECK, which aborts, so
 * that libFuzzer keeps the input and a test run fails.
 */
#ifndef PC_TEST_FUZZ_H
#define PC_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sizes of pieces that look random but depend on the input alone, so that every crash repeats. */
static inline size_t fuzz_piece(uint32_t *state, size_t left)
{
    *state = *state * 1664525u + 1013904223u;
    uint32_t bits = *state >> 16;
    size_t size = bits & 1 ? 1 + (bits >> 1) % 7 : 1 + (bits >> 1) % 9000;
    return size < left ? size : left;
}

#endif
