/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/mem.h"
#include "lib/proto.h"

static size_t head_size(const struct pc_msg *msg)
{
    return 4 + (size_t)msg->head.part_count * 8;
}

static void put_head(uint8_t *at, const struct pc_msg *msg)
{
    pc_store_u32(at, msg->head.part_count);
    for (uint16_t i = 0; i < msg->head.part_count; i++)
        pc_store_u64(at + 4 + (size_t)i * 8, msg->parts[i].size);
}

size_t hub_parts_size(const struct pc_msg *msg)
{
    return head_size(msg) + msg->parts_bytes;
}

void hub_parts_put(uint8_t *at, const struct pc_msg *msg)
{
    put_head(at, msg);
    at += head_size(msg);
    for (uint16_t i = 0; i < msg->head.part_count; i++) {
        if (msg->parts[i].size)
            memcpy(at, msg->parts[i].data, msg->parts[i].size);
        at += msg->parts[i].size;
    }
}

void *hub_parts_pack(const struct pc_msg *msg, size_t *size)
{
    *size = hub_parts_size(msg);
    uint8_t *data = pc_xrealloc(NULL, *size, 1);
    hub_parts_put(data, msg);
    return data;
}

struct pc_msg *hub_parts_unpack(const void *data, size_t size)
{
    struct pc_reader reader;
    uint64_t sizes[PC_PARTS_MAX] = {0}, sum = 0;
    pc_reader_init(&reader, data, size);
    uint32_t count = pc_get_u32(&reader);
    if (reader.failed || count > PC_PARTS_MAX)
        return NULL;
    for (uint32_t i = 0; i < count; i++) {
        sizes[i] = pc_get_u64(&reader);
        sum += sizes[i];
        if (reader.failed || sizes[i] > size)
            return NULL;
    }
    if (sum != reader.left)
        return NULL;
    struct pc_msg *msg = pc_msg_new(PC_MSG_RESULT, 0, sizes, (uint16_t)count);
    for (uint32_t i = 0; msg && i < count; i++)
        memcpy(msg->parts[i].data, pc_get_bytes(&reader, sizes[i]), sizes[i]);
    return msg;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

int hub_parts_save(const struct pc_msg *msg, const char *path)
{
    char *draft = pc_xasprintf("%s.new", path);
    uint8_t *head = pc_xcalloc(1, head_size(msg));
    put_head(head, msg);
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int status = fd < 0 ? -1 : write_all(fd, head, head_size(msg));
    for (uint16_t i = 0; i < msg->head.part_count && status == 0; i++)
        status = write_all(fd, msg->parts[i].data, msg->parts[i].size);
    if (fd >= 0 && close(fd) < 0)
        status = -1;
    if (status == 0)
        status = rename(draft, path);
    int why = errno;
    if (status < 0 && fd >= 0)
        unlink(draft);
    free(head);
    free(draft);
    errno = why;
    return status;
}

struct pc_msg *hub_parts_load(const char *path)
{
    struct stat about;
    struct pc_msg *msg = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &about) == 0 && about.st_size > 0) {
        size_t size = (size_t)about.st_size;
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data != MAP_FAILED) {
            msg = hub_parts_unpack(data, size);
            munmap(data, size);
        }
    }
    if (fd >= 0)
        close(fd);
    return msg;
}
