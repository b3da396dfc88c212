/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/tail.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/mem.h"

#define SLAB_TAILS 1024
#define SLAB_SIZE  ((size_t)SLAB_TAILS * ENG_TAIL_SIZE)

static_assert(sizeof(struct eng_tail) <= ENG_TAIL_SIZE, "a tail has its pages");

struct slab {
    struct slab *next;
    char *pages;
    uint16_t used; /* tails handed out at least once */
};

static struct slab *slabs;
static struct eng_tail **free_tails; /* given back */
static size_t free_count, free_capacity;

void eng_tail_put(struct eng_tail *tail, const char *data, size_t size)
{
    uint64_t written = tail->written + size;
    if (size > ENG_TAIL_KEPT) {
        data += size - ENG_TAIL_KEPT;
        size = ENG_TAIL_KEPT;
    }
    size_t at = (written - size) % ENG_TAIL_KEPT;
    size_t first = size < ENG_TAIL_KEPT - at ? size : ENG_TAIL_KEPT - at;
    memcpy(tail->text + at, data, first);
    memcpy(tail->text, data + first, size - first);
    atomic_signal_fence(memory_order_seq_cst); /* the end may come between any two lines */
    tail->written = written;
}

char *eng_tail_land(struct eng_tail *tail)
{
    memset(tail->landing, 0, sizeof(tail->landing));
    atomic_signal_fence(memory_order_seq_cst);
    tail->lands_at = tail->written;
    return tail->landing;
}

void eng_tail_rescue(struct eng_tail *tail)
{
    if (tail->lands_at == tail->written)
        eng_tail_put(tail, tail->landing, strnlen(tail->landing, sizeof(tail->landing)));
}

/* Length of the well-formed sequence at `p` that is more than one byte long, else 0. */
static size_t sequence_length(const unsigned char *p, size_t left)
{
    size_t length = p[0] >= 0xc2 && p[0] < 0xe0   ? 2
                    : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                    : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                                  : 0;
    if (!length || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

/* In place; the result is never longer. */
static size_t clean(char *text, size_t size)
{
    size_t out = 0;
    for (size_t i = 0; i < size;) {
        unsigned char c = (unsigned char)text[i];
        size_t length = sequence_length((unsigned char *)text + i, size - i);
        if (length) {
            memmove(text + out, text + i, length);
            out += length;
            i += length;
            continue;
        }
        text[out++] = (c >= ' ' && c < 0x7f) || c == '\n' || c == '\t' ? (char)c : '?';
        i++;
    }
    return out;
}

void eng_tail_read(const struct eng_tail *tail, char *out)
{
    uint64_t written = tail->written;
    size_t size = written < ENG_TAIL_KEPT ? (size_t)written : ENG_TAIL_KEPT;
    size_t at = (written - size) % ENG_TAIL_KEPT;
    size_t first = size < ENG_TAIL_KEPT - at ? size : ENG_TAIL_KEPT - at;
    memcpy(out, tail->text + at, first);
    memcpy(out + first, tail->text, size - first);
    if (written > size) { /* the front was overwritten, likely within a line */
        char *line = memchr(out, '\n', size);
        if (line && line + 1 < out + size) {
            size -= (size_t)(line + 1 - out);
            memmove(out, line + 1, size);
        }
    }
    out[clean(out, size)] = '\0';
}

struct eng_tail *eng_tail_new(void)
{
    if (free_count) {
        struct eng_tail *tail = free_tails[--free_count];
        memset(tail, 0, sizeof(*tail));
        return tail;
    }
    if (!slabs || slabs->used == SLAB_TAILS) {
        char *pages =
            mmap(NULL, SLAB_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED)
            return NULL;
        struct slab *slab = pc_xcalloc(1, sizeof(*slab));
        *slab = (struct slab){.next = slabs, .pages = pages};
        slabs = slab;
    }
    return (struct eng_tail *)(void *)(slabs->pages + (size_t)slabs->used++ * ENG_TAIL_SIZE);
}

struct eng_tail *eng_tail_new_shared(int *fd)
{
    int memory = memfd_create("pcluster-tail", MFD_CLOEXEC);
    if (memory < 0)
        return NULL;
    void *page = MAP_FAILED;
    if (ftruncate(memory, ENG_TAIL_SIZE) == 0)
        page = mmap(NULL, ENG_TAIL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (page == MAP_FAILED) {
        close(memory);
        return NULL;
    }
    *fd = memory;
    return page;
}

static bool is_in_slab(const struct eng_tail *tail)
{
    const char *at = (const char *)tail;
    for (const struct slab *slab = slabs; slab; slab = slab->next)
        if (at >= slab->pages && at < slab->pages + SLAB_SIZE)
            return true;
    return false;
}

void eng_tail_free(struct eng_tail *tail)
{
    if (!is_in_slab(tail)) {
        munmap(tail, ENG_TAIL_SIZE);
        return;
    }
    if (free_count == free_capacity) {
        free_capacity = free_capacity ? 2 * free_capacity : 64;
        free_tails = pc_xrealloc(free_tails, free_capacity, sizeof(*free_tails));
    }
    free_tails[free_count++] = tail;
}

void eng_tail_keep_only(const struct eng_tail *tail)
{
    const char *mine = (const char *)tail;
    for (struct slab *slab = slabs; slab; slab = slab->next) {
        size_t before = SLAB_SIZE, after = 0;
        if (mine >= slab->pages && mine < slab->pages + SLAB_SIZE) {
            before = (size_t)(mine - slab->pages);
            after = SLAB_SIZE - before - ENG_TAIL_SIZE;
        }
        if (before)
            munmap(slab->pages, before);
        if (after)
            munmap(slab->pages + before + ENG_TAIL_SIZE, after);
    }
}
