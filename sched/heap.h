/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A binary heap of nodes that are embedded in what they order. With an order in which nothing
 * comes before anything it is a plain set whose members are numbered from 0.
 */
#ifndef PC_SCHED_HEAP_H
#define PC_SCHED_HEAP_H

#include <stdbool.h>
#include <stddef.h>

struct heap_node {
    size_t index; /* in heap.nodes, while it is inside */
};

typedef bool heap_before(const struct heap_node *a, const struct heap_node *b);

struct heap {
    struct heap_node **nodes;
    size_t count, capacity;
    heap_before *before;
};

void heap_init(struct heap *heap, heap_before *before);
void heap_fini(struct heap *heap);
void heap_insert(struct heap *heap, struct heap_node *node);
void heap_remove(struct heap *heap, struct heap_node *node);
/* What the order looks at has changed in this node. */
void heap_moved(struct heap *heap, struct heap_node *node);
/* NULL when it is empty. */
struct heap_node *heap_first(const struct heap *heap);

#endif
