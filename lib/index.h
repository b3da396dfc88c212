/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds things by the number of a task: its session, and the sequence within it.
 *
 * Sequences are given one after another and end in nearly that order. So the places of 64 that
 * follow each other lie side by side in a page, and only pages are hashed: looking up neighbours
 * touches the same memory, however many there are. A page goes when its last thing does.
 */
#ifndef PC_LIB_INDEX_H
#define PC_LIB_INDEX_H

#include <stddef.h>
#include <stdint.h>

#define PC_INDEX_PAGE 64

struct pc_index_page {
    uint64_t session, first; /* first: the sequence of items[0] */
    struct pc_index_page *chained;
    size_t count; /* items that are not NULL */
    void *items[PC_INDEX_PAGE];
};

/* Begins as {0}. Owns its pages, not the things. */
struct pc_index {
    struct pc_index_page **chains;
    size_t chain_count; /* a power of 2, or 0 */
    size_t page_count;
    size_t count; /* things */
};

void pc_index_fini(struct pc_index *index);
/* `item`, not NULL, whose number must not be there. -1: out of memory. */
int pc_index_add(struct pc_index *index, uint64_t session, uint64_t sequence, void *item);
/* NULL: there is none. */
void *pc_index_find(const struct pc_index *index, uint64_t session, uint64_t sequence);
/* It must be there. */
void pc_index_remove(struct pc_index *index, uint64_t session, uint64_t sequence);
/* Calls back with each, in no order; nothing may be added or removed meanwhile. */
void pc_index_each(const struct pc_index *index, void (*visit)(void *item, void *with), void *with);

#endif
