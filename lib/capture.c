/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pc_capture_init(struct pc_capture *capture)
{
    *capture = (struct pc_capture){0};
    pc_buf_init(&capture->head, PC_CAPTURE_HALF);
    pc_buf_init(&capture->tail, PC_CAPTURE_HALF);
}

void pc_capture_fini(struct pc_capture *capture)
{
    pc_buf_fini(&capture->head);
    pc_buf_fini(&capture->tail);
    pc_capture_init(capture);
}

/* Puts as much as fits. Returns how much that was. */
static size_t put_some(struct pc_buf *buf, const uint8_t *data, size_t size)
{
    size_t room = PC_CAPTURE_HALF - buf->size;
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
    if (capture->head.size < PC_CAPTURE_HALF && !capture->tail.size)
        n = put_some(&capture->head, from, size);
    from += n;
    size -= n;
    if (size && capture->tail.size < PC_CAPTURE_HALF) {
        n = put_some(&capture->tail, from, size);
        from += n;
        size -= n;
        if (size && capture->tail.size < PC_CAPTURE_HALF) { /* no memory */
            capture->dropped += size;
            return;
        }
    }
    while (size) { /* the ring is full: overwrite its oldest bytes */
        size_t room = PC_CAPTURE_HALF - capture->tail_start;
        n = size < room ? size : room;
        memcpy(capture->tail.data + capture->tail_start, from, n);
        capture->tail_start = (capture->tail_start + n) % PC_CAPTURE_HALF;
        capture->dropped += n;
        from += n;
        size -= n;
    }
}

char *pc_capture_text(const struct pc_capture *capture, size_t *size)
{
    char mark[96];
    int mark_size = 0;
    *size = 0;
    if (!capture->head.size)
        return NULL;
    if (capture->dropped)
        mark_size = snprintf(mark, sizeof(mark), "\n[... %llu bytes of output left out ...]\n",
                             (unsigned long long)capture->dropped);
    char *text = malloc(capture->head.size + (size_t)mark_size + capture->tail.size + 1);
    if (!text)
        return NULL;
    char *end = text;
    size_t older = capture->tail.size - capture->tail_start;
    end = (char *)memcpy(end, capture->head.data, capture->head.size) + capture->head.size;
    end = (char *)memcpy(end, mark, (size_t)mark_size) + mark_size;
    if (capture->tail.size) {
        memcpy(end, capture->tail.data + capture->tail_start, older);
        end += older;
        memcpy(end, capture->tail.data, capture->tail_start);
        end += capture->tail_start;
    }
    *end = '\0';
    *size = (size_t)(end - text);
    return text;
}
