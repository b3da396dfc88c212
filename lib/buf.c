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

void pc_buf_put_u8(struct pc_buf *buf, uint8_t value)
{
    pc_buf_put(buf, &value, 1);
}

void pc_buf_put_u16(struct pc_buf *buf, uint16_t value)
{
    uint8_t bytes[2];
    pc_store_u16(bytes, value);
    pc_buf_put(buf, bytes, sizeof(bytes));
}

void pc_buf_put_u32(struct pc_buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    pc_store_u32(bytes, value);
    pc_buf_put(buf, bytes, sizeof(bytes));
}

void pc_buf_put_u64(struct pc_buf *buf, uint64_t value)
{
    uint8_t bytes[8];
    pc_store_u64(bytes, value);
    pc_buf_put(buf, bytes, sizeof(bytes));
}

void pc_buf_drop(struct pc_buf *buf, size_t size)
{
    buf->size -= size;
    if (buf->size)
        memmove(buf->data, buf->data + size, buf->size);
}

void pc_reader_init(struct pc_reader *reader, const void *data, size_t size)
{
    *reader = (struct pc_reader){.data = data, .left = size};
}

const uint8_t *pc_get_bytes(struct pc_reader *reader, size_t size)
{
    if (reader->failed || size > reader->left) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *place = reader->data;
    reader->data += size;
    reader->left -= size;
    return place;
}

uint8_t pc_get_u8(struct pc_reader *reader)
{
    const uint8_t *p = pc_get_bytes(reader, 1);
    return p ? *p : 0;
}

uint16_t pc_get_u16(struct pc_reader *reader)
{
    const uint8_t *p = pc_get_bytes(reader, 2);
    return p ? pc_load_u16(p) : 0;
}

uint32_t pc_get_u32(struct pc_reader *reader)
{
    const uint8_t *p = pc_get_bytes(reader, 4);
    return p ? pc_load_u32(p) : 0;
}

uint64_t pc_get_u64(struct pc_reader *reader)
{
    const uint8_t *p = pc_get_bytes(reader, 8);
    return p ? pc_load_u64(p) : 0;
}

bool pc_reader_done(const struct pc_reader *reader)
{
    return !reader->failed && reader->left == 0;
}
