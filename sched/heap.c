/* SPDX-License-Identifier: BSD-3-Clause */
#include "sched/heap.h"

#include <assert.h>
#include <stdlib.h>

#include "lib/mem.h"

void heap_init(struct heap *heap, heap_before *before)
{
    *heap = (struct heap){.before = before};
}

void heap_fini(struct heap *heap)
{
    free(heap->nodes);
    *heap = (struct heap){0};
}

static void put(struct heap *heap, struct heap_node *node, size_t index)
{
    heap->nodes[index] = node;
    node->index = index;
}

static void rise(struct heap *heap, struct heap_node *node)
{
    size_t index = node->index;
    while (index > 0) {
        struct heap_node *above = heap->nodes[(index - 1) / 2];
        if (!heap->before(node, above))
            break;
        put(heap, above, index);
        index = (index - 1) / 2;
    }
    put(heap, node, index);
}

static void sink(struct heap *heap, struct heap_node *node)
{
    size_t index = node->index;
    for (;;) {
        size_t below = 2 * index + 1;
        if (below >= heap->count)
            break;
        if (below + 1 < heap->count && heap->before(heap->nodes[below + 1], heap->nodes[below]))
            below++;
        if (!heap->before(heap->nodes[below], node))
            break;
        put(heap, heap->nodes[below], index);
        index = below;
    }
    put(heap, node, index);
}

void heap_insert(struct heap *heap, struct heap_node *node)
{
    if (heap->count == heap->capacity) {
        heap->capacity = 2 * heap->capacity + 4;
        heap->nodes = pc_xrealloc(heap->nodes, heap->capacity, sizeof(struct heap_node *));
    }
    put(heap, node, heap->count++);
    rise(heap, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    size_t index = node->index;
    assert(index < heap->count && heap->nodes[index] == node);
    struct heap_node *last = heap->nodes[--heap->count];
    if (last == node)
        return;
    put(heap, last, index);
    heap_moved(heap, last);
}

void heap_moved(struct heap *heap, struct heap_node *node)
{
    rise(heap, node);
    sink(heap, node);
}

struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count ? heap->nodes[0] : NULL;
}
