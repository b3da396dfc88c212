/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a task printed: the first and the last MiB of it, with a line between that says how much
 * is missing, so that a task that prints for ever costs two MiB. The same for what it displayed.
 */
#ifndef PC_LIB_CAPTURE_H
#define PC_LIB_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

#define PC_CAPTURE_HALF      (1024u * 1024u)     /* of what is printed */
#define PC_CAPTURE_SHOW_HALF (8 * 1024u * 1024u) /* of what is displayed */
#define PC_CAPTURE_KEPT_HALF                                                                       \
    (PC_CAPTURE_HALF - 64) /* of either, by the hub: with the line between
                                                     * it fits into a client's */

struct pc_capture {
    size_t half;        /* how many bytes of each end stay */
    struct pc_buf head; /* the first `half` bytes */
    struct pc_buf tail; /* after that; a ring once it is full */
    size_t tail_start;  /* where the ring begins */
    uint64_t dropped;   /* bytes lost between head and tail */
    uint64_t taken;     /* bytes that came before and were taken out */
    uint64_t base;      /* bytes that came before this attempt at the task */
};

void pc_capture_init(struct pc_capture *capture, size_t half);
void pc_capture_fini(struct pc_capture *capture);
/* Out of memory counts as dropped. */
void pc_capture_add(struct pc_capture *capture, const void *data, size_t size);
/* The same for a piece that says at which byte of its attempt it begins: what came before is left
 * out, which is possible only with `is_again`, and what is missing counts as lost. Returns how many
 * of the first bytes were left out. */
size_t pc_capture_add_at(struct pc_capture *capture, uint64_t at, bool is_again, const void *data,
                         size_t size);
/* Into an empty one what pc_capture_text gave: with the line between it counts as it did. */
void pc_capture_load(struct pc_capture *capture, const void *text, size_t size);
/* Empties it; what comes afterwards follows what was there. */
void pc_capture_take(struct pc_capture *capture);
/* How many bytes came so far, with those that were lost or taken out. */
uint64_t pc_capture_total(const struct pc_capture *capture);
/* A copy for the caller to free(); NULL when empty (*size is 0) or out of memory. */
/* The same for what came after the first *since bytes; *since becomes the number of all so far. */
char *pc_capture_since(const struct pc_capture *capture, uint64_t *since, size_t *size);
char *pc_capture_text(const struct pc_capture *capture, size_t *size);

#endif
