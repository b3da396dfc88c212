/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/buf.h"

#include <stdlib.h>
#include <string.h>

void pc_buf_init(struct pc_buf *buf, size_t max)
{
    *buf = (struct pc_buf){.max = max};
}

void pc_buf_fini(struct pc_buf *buf)
{
    free(buf->data);
    *buf = (struct pc_buf){.max = buf->max};
}

uint8_t *pc_buf_reserve(struct pc_buf *buf, size_t size)
{
    if (buf->failed || size > SIZE_MAX - buf->size || (buf->max && buf->size + size > buf->max))
        goto fail;
    size_t need = buf->size + size;
    if (need > buf->capacity) {
        size_t capacity = buf->capacity ? buf->capacity : 64;
        while (capacity < need && capacity <= SIZE_MAX / 2)
            capacity *= 2;
        if (capacity < need)
            capacity = need;
        uint8_t *data = realloc(buf->data, capacity);
        if (!data)
            goto fail;
        buf->data = data;
        buf->capacity = capacity;
    }
    return buf->data + buf->size;
fail:
    buf->failed = true;
    return NULL;
}

void pc_buf_put(struct pc_buf *buf, const void *data, size_t size)
{
    if (!size)
        return;
    uint8_t *place = pc_buf_reserve(buf, size);
    if (place) {
        memcpy(place, data, size);
        buf->size += size;
    }
}

void pc_buf_drop(struct pc_buf *buf, size_t size)
{
    buf->size -= size;
    if (buf->size)
        memmove(buf->data, buf->data + size, buf->size);
}
