/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A growable byte buffer with a largest size, and a reader over bytes that came from a peer.
 * All integers are little-endian. A failed put or get is remembered: check once, at the end.
 */
#ifndef PC_LIB_BUF_H
#define PC_LIB_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc_buf {
    uint8_t *data;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t max;      /* never grows beyond; 0 = no limit */
    bool failed;     /* a put did not fit or found no memory; nothing was put since */
};

void pc_buf_init(struct pc_buf *buf, size_t max);
void pc_buf_fini(struct pc_buf *buf);
/* Room for `size` more bytes: returns where to write them, NULL on failure. Does not advance. */
uint8_t *pc_buf_reserve(struct pc_buf *buf, size_t size);
void pc_buf_put(struct pc_buf *buf, const void *data, size_t size);
/* Drops `size` bytes at the front. */
void pc_buf_drop(struct pc_buf *buf, size_t size);

struct pc_reader {
    const uint8_t *data;
    size_t left;
    bool failed; /* a get wanted more than there was; it and all later ones returned 0 */
};

static inline void pc_store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void pc_store_u32(uint8_t *p, uint32_t v)
{
    pc_store_u16(p, (uint16_t)v);
    pc_store_u16(p + 2, (uint16_t)(v >> 16));
}

static inline void pc_store_u64(uint8_t *p, uint64_t v)
{
    pc_store_u32(p, (uint32_t)v);
    pc_store_u32(p + 4, (uint32_t)(v >> 32));
}

static inline uint16_t pc_load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t pc_load_u32(const uint8_t *p)
{
    return (uint32_t)pc_load_u16(p) | (uint32_t)pc_load_u16(p + 2) << 16;
}

static inline uint64_t pc_load_u64(const uint8_t *p)
{
    return (uint64_t)pc_load_u32(p) | (uint64_t)pc_load_u32(p + 4) << 32;
}

/* ---- what is done many times per task -------------------------------------------------- */

static inline void pc_buf_put_u8(struct pc_buf *buf, uint8_t value)
{
    pc_buf_put(buf, &value, 1);
}

static inline void pc_buf_put_u16(struct pc_buf *buf, uint16_t value)
{
    uint8_t bytes[2];
    pc_store_u16(bytes, value);
    pc_buf_put(buf, bytes, sizeof(bytes));
}

static inline void pc_buf_put_u32(struct pc_buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    pc_store_u32(bytes, value);
    pc_buf_put(buf, bytes, sizeof(bytes));
}

static inline void pc_buf_put_u64(struct pc_buf *buf, uint64_t value)
{
    uint8_t bytes[8];
    pc_store_u64(bytes, value);
    pc_buf_put(buf, bytes, sizeof(bytes));
}

static inline void pc_reader_init(struct pc_reader *reader, const void *data, size_t size)
{
    *reader = (struct pc_reader){.data = data, .left = size};
}

/* A view of the next `size` bytes, NULL when there are fewer. */
static inline const uint8_t *pc_get_bytes(struct pc_reader *reader, size_t size)
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

static inline uint8_t pc_get_u8(struct pc_reader *reader)
{
    const uint8_t *p = pc_get_bytes(reader, 1);
    return p ? *p : 0;
}

static inline uint16_t pc_get_u16(struct pc_reader *reader)
{
    const uint8_t *p = pc_get_bytes(reader, 2);
    return p ? pc_load_u16(p) : 0;
}

static inline uint32_t pc_get_u32(struct pc_reader *reader)
{
    const uint8_t *p = pc_get_bytes(reader, 4);
    return p ? pc_load_u32(p) : 0;
}

static inline uint64_t pc_get_u64(struct pc_reader *reader)
{
    const uint8_t *p = pc_get_bytes(reader, 8);
    return p ? pc_load_u64(p) : 0;
}

/* True when everything was read and nothing was missing. */
static inline bool pc_reader_done(const struct pc_reader *reader)
{
    return !reader->failed && reader->left == 0;
}

#endif
