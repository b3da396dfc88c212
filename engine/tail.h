/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last words of an engine: memory that engine and nursery share. The engine keeps the end of
 * its stderr in it as it passes, and how many tasks it has begun; whatever kills it, the nursery
 * can still read it.
 *
 * What a pipe gives away exists nowhere else. So the engine reads it into this memory, too: if it
 * is killed before it has put that behind the rest, the nursery does.
 */
#ifndef PC_ENGINE_TAIL_H
#define PC_ENGINE_TAIL_H

#include <stddef.h>
#include <stdint.h>

#define ENG_TAIL_SIZE    12288 /* whole pages; the last two are used by those who write much */
#define ENG_TAIL_KEPT    3072  /* bytes of text */
#define ENG_TAIL_LANDING 8192

struct eng_tail {
    uint64_t written;  /* bytes ever; text[written % ENG_TAIL_KEPT] comes next */
    uint64_t lands_at; /* equal to `written`: what is in `landing` has not been put */
    uint32_t begun;    /* RUNs that it has come to, see recall.h */
    char text[ENG_TAIL_KEPT];
    char landing[ENG_TAIL_LANDING];
};

/* Only one thread at a time. */
void eng_tail_put(struct eng_tail *tail, const char *data, size_t size);
/* Where to read the next bytes to, at most ENG_TAIL_LANDING; then put them. */
char *eng_tail_land(struct eng_tail *tail);
/* Of an engine that has ended: puts what it had read and not put, up to a zero byte. */
void eng_tail_rescue(struct eng_tail *tail);
/* Copies what is kept, oldest first, as clean UTF-8 without control characters but line feeds and
 * tabs; begins at a whole line where possible. `out` has room for ENG_TAIL_KEPT + 1. */
void eng_tail_read(const struct eng_tail *tail, char *out);

/* Tails of engines that are forked come from slabs, so that a thousand of them are a few
 * mappings. Each call gives a cleared tail; NULL: no memory. */
struct eng_tail *eng_tail_new(void);
/* For an engine that is started anew, with the descriptor to map it from. */
struct eng_tail *eng_tail_new_shared(int *fd);
void eng_tail_free(struct eng_tail *tail);
/* In a forked engine: gives up all tails but this one. */
void eng_tail_keep_only(const struct eng_tail *tail);

#endif
