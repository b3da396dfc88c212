/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/known.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

struct pc_known_function *pc_known_find(const struct pc_known *known, const uint8_t *name)
{
    uint64_t start = pc_load_u64(name); /* names are random: one look tells nearly all apart */
    for (size_t i = known->count; i-- > 0;) {
        struct pc_known_function *function = &known->functions[i];
        if (pc_load_u64(function->name) == start &&
            memcmp(function->name, name, PC_FUNCTION_NAME_SIZE) == 0)
            return function;
    }
    return NULL;
}

struct pc_known_function *pc_known_use(struct pc_known *known, const uint8_t *name)
{
    struct pc_known_function *found = pc_known_find(known, name);
    if (!found)
        return NULL;
    struct pc_known_function *last = &known->functions[known->count - 1];
    if (found == last)
        return found;
    struct pc_known_function used = *found;
    memmove(found, found + 1, (size_t)(last - found) * sizeof(*found));
    *last = used;
    return last;
}

/* Forgets as many as it takes until one more of this size fits. */
static void make_room(struct pc_known *known, uint64_t size)
{
    size_t out = 0;
    while (out < known->count &&
           (known->count - out >= PC_KNOWN_COUNT_MAX || known->bytes + size > PC_KNOWN_BYTES_MAX)) {
        struct pc_known_function *oldest = &known->functions[out++];
        known->bytes -= oldest->size;
        if (known->drop)
            known->drop(oldest->data);
    }
    known->count -= out;
    if (out)
        memmove(known->functions, known->functions + out, known->count * sizeof(*known->functions));
}

struct pc_known_function *pc_known_add(struct pc_known *known, const uint8_t *name, uint64_t size,
                                       void *data)
{
    if (known->count == known->capacity && known->count < PC_KNOWN_COUNT_MAX) {
        size_t capacity = known->capacity ? 2 * known->capacity : 4;
        void *functions = realloc(known->functions, capacity * sizeof(*known->functions));
        if (!functions)
            return NULL;
        known->functions = functions;
        known->capacity = capacity;
    }
    make_room(known, size);
    struct pc_known_function *added = &known->functions[known->count++];
    memcpy(added->name, name, PC_FUNCTION_NAME_SIZE);
    added->size = size;
    added->data = data;
    known->bytes += size;
    return added;
}

void pc_known_fini(struct pc_known *known)
{
    for (size_t i = 0; known->drop && i < known->count; i++)
        known->drop(known->functions[i].data);
    free(known->functions);
    *known = (struct pc_known){.drop = known->drop};
}
