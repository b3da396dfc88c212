/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last words of an engine: a page of memory that engine and nursery share. The engine keeps
 * the end of its stderr in it as it passes; whatever kills it, the nursery can still read it.
 */
#ifndef PC_ENGINE_TAIL_H
#define PC_ENGINE_TAIL_H

#include <stddef.h>
#include <stdint.h>

#define ENG_TAIL_SIZE 4096 /* of the page */
#define ENG_TAIL_KEPT 3072 /* bytes of text */

struct eng_tail {
    uint64_t written; /* bytes ever; text[written % ENG_TAIL_KEPT] comes next */
    char text[ENG_TAIL_KEPT];
};

/* Only one thread at a time. */
void eng_tail_put(struct eng_tail *tail, const char *data, size_t size);
/* Copies what is kept, oldest first, as clean UTF-8 without control characters but line feeds and
 * tabs; begins at a whole line where possible. `out` has room for ENG_TAIL_KEPT + 1. */
void eng_tail_read(const struct eng_tail *tail, char *out);

/* Pages for engines that are forked come from slabs, so that a thousand of them are a few
 * mappings. Each call gives a cleared page; NULL: no memory. */
struct eng_tail *eng_tail_new(void);
/* A page for an engine that is started anew, and the descriptor to map it from. */
struct eng_tail *eng_tail_new_shared(int *fd);
void eng_tail_free(struct eng_tail *tail);
/* In a forked engine: gives up all pages but this one. */
void eng_tail_keep_only(const struct eng_tail *tail);

#endif
