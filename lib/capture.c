/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/capture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK_START "\n[... "
#define MARK_SIZE  96

void pc_capture_init(struct pc_capture *capture, size_t half)
{
    *capture = (struct pc_capture){.half = half};
    pc_buf_init(&capture->head, half);
    pc_buf_init(&capture->tail, half);
}

void pc_capture_fini(struct pc_capture *capture)
{
    pc_buf_fini(&capture->head);
    pc_buf_fini(&capture->tail);
    pc_capture_init(capture, capture->half);
}

/* Puts as much as fits. Returns how much that was. */
static size_t put_some(struct pc_buf *buf, const uint8_t *data, size_t size, size_t half)
{
    size_t room = half - buf->size;
    size_t n = size < room ? size : room;
    pc_buf_put(buf, data, n);
    if (!buf->failed)
        return n;
    buf->failed = false;
    return 0;
}

void pc_capture_add(struct pc_capture *capture, const void *data, size_t size)
{
    const uint8_t *from = data;
    size_t n = 0;
    if (capture->head.size < capture->half && !capture->tail.size && !capture->dropped)
        n = put_some(&capture->head, from, size, capture->half);
    from += n;
    size -= n;
    if (size && capture->tail.size < capture->half) {
        n = put_some(&capture->tail, from, size, capture->half);
        from += n;
        size -= n;
        if (size && capture->tail.size < capture->half) { /* no memory */
            capture->dropped += size;
            return;
        }
    }
    while (size) { /* the ring is full: overwrite its oldest bytes */
        size_t room = capture->half - capture->tail_start;
        n = size < room ? size : room;
        memcpy(capture->tail.data + capture->tail_start, from, n);
        capture->tail_start = (capture->tail_start + n) % capture->half;
        capture->dropped += n;
        from += n;
        size -= n;
    }
}

uint64_t pc_capture_total(const struct pc_capture *capture)
{
    return capture->taken + capture->head.size + capture->dropped + capture->tail.size;
}

void pc_capture_take(struct pc_capture *capture)
{
    uint64_t taken = pc_capture_total(capture), base = capture->base;
    pc_capture_fini(capture);
    capture->taken = taken;
    capture->base = base;
}

/* So many bytes did not come. What is in between would be in the wrong place: there is one gap. */
static void lose(struct pc_capture *capture, uint64_t count)
{
    capture->dropped += count + capture->tail.size;
    capture->tail.size = capture->tail_start = 0;
}

size_t pc_capture_add_at(struct pc_capture *capture, uint64_t at, bool is_again, const void *data,
                         size_t size)
{
    uint64_t total = pc_capture_total(capture);
    size_t known = 0;
    if (at == 0 && !is_again)
        capture->base = total;
    uint64_t begin = capture->base + at;
    if (begin > total)
        lose(capture, begin - total);
    else if (is_again)
        known = total - begin < size ? (size_t)(total - begin) : size;
    pc_capture_add(capture, (const uint8_t *)data + known, size - known);
    return known;
}

void pc_capture_load(struct pc_capture *capture, const void *text, size_t size)
{
    const char *from = text;
    size_t half = capture->half;
    char mark[MARK_SIZE] = "";
    if (size <= 2 * half) {
        pc_capture_add(capture, text, size);
        return;
    }
    size_t middle = size - 2 * half;
    memcpy(mark, from + half, middle < sizeof(mark) ? middle : sizeof(mark) - 1);
    pc_capture_add(capture, from, half);
    pc_capture_add(capture, from + half + middle, half);
    if (sscanf(mark, MARK_START "%" SCNu64, &capture->dropped) != 1)
        capture->dropped = middle;
}

/* Bytes of a piece of `size` bytes that begins at `begin` which come after `from`. */
static size_t left_of(uint64_t begin, uint64_t size, uint64_t from)
{
    if (from <= begin)
        return (size_t)size;
    return from < begin + size ? (size_t)(begin + size - from) : 0;
}

char *pc_capture_since(const struct pc_capture *capture, uint64_t *since, size_t *size)
{
    char mark[MARK_SIZE];
    int mark_size = 0;
    uint64_t tail_begin = capture->head.size + capture->dropped;
    uint64_t end = tail_begin + capture->tail.size;
    uint64_t from = *since <= end ? *since : 0;
    size_t head = left_of(0, capture->head.size, from);
    size_t dropped = left_of(capture->head.size, capture->dropped, from);
    size_t tail = left_of(tail_begin, capture->tail.size, from);
    *since = end;
    *size = 0;
    if (from == end)
        return NULL;
    if (dropped)
        mark_size =
            snprintf(mark, sizeof(mark), MARK_START "%zu bytes of output left out ...]\n", dropped);
    char *text = malloc(head + (size_t)mark_size + tail + 1);
    if (!text)
        return NULL;
    char *to = text;
    if (head)
        to = (char *)memcpy(to, capture->head.data + capture->head.size - head, head) + head;
    to = (char *)memcpy(to, mark, (size_t)mark_size) + mark_size;
    for (size_t i = capture->tail.size - tail; i < capture->tail.size;) { /* around the ring */
        size_t at = (capture->tail_start + i) % capture->tail.size;
        size_t n = capture->tail.size - (at > i ? at : i);
        to = (char *)memcpy(to, capture->tail.data + at, n) + n;
        i += n;
    }
    *to = '\0';
    *size = (size_t)(to - text);
    return text;
}

char *pc_capture_text(const struct pc_capture *capture, size_t *size)
{
    uint64_t since = 0;
    return pc_capture_since(capture, &since, size);
}
