/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proto.h"

#define HEAD_SIZE 16
#define MAGIC     "pcjourn1"
/* A segment may always have that much besides its snapshot. */
#define SPARE_BYTES (4u << 20)
/* A snapshot is written in pieces of about that size. */
#define PIECE_BYTES (1u << 20)
#define VECTORS     64

/* The scheduler's messages, and those of a snapshot, which the hub itself wrote. */
#define SENDERS (PC_FROM_SCHED | PC_FROM_HUB)

void hub_journal_init(struct hub_journal *journal)
{
    *journal = (struct hub_journal){.fds = {-1, -1}};
    pc_wire_init(&journal->wire, SENDERS);
}

void hub_journal_fini(struct hub_journal *journal)
{
    for (int i = 0; i < 2; i++)
        if (journal->fds[i] >= 0)
            close(journal->fds[i]);
    pc_wire_fini(&journal->wire);
    hub_journal_init(journal);
}

void hub_journal_open(struct hub_journal *journal, int first_fd, int second_fd)
{
    journal->fds[0] = first_fd;
    journal->fds[1] = second_fd;
}

bool hub_journal_exists(const struct hub_journal *journal)
{
    return journal->fds[0] >= 0 && !journal->trouble[0];
}

/* ---- replaying -------------------------------------------------------------------------- */

/* 0: it is empty, or its snapshot is not complete. */
static uint64_t number_of(int fd)
{
    uint8_t head[HEAD_SIZE];
    if (pread(fd, head, sizeof(head), 0) != sizeof(head) || memcmp(head, MAGIC, 8) != 0)
        return 0;
    return pc_load_u64(head + 8);
}

/* The size of the frame at `data`; 0 when it is malformed or not whole. */
static uint64_t frame_size(const uint8_t *data, uint64_t left, struct pc_err *err)
{
    struct pc_frame frame;
    if (left < PC_FRAME_SIZE || pc_frame_decode(data, SENDERS, &frame, err))
        return 0;
    uint64_t size = PC_FRAME_SIZE + 8 * (uint64_t)frame.part_count + frame.body_size;
    if (size > left)
        return 0;
    for (uint16_t i = 0; i < frame.part_count; i++) {
        uint64_t part = pc_load_u64(data + PC_FRAME_SIZE + 8 * (size_t)i);
        if (part > left - size)
            return 0;
        size += part;
    }
    return size;
}

/* One whole frame as a message. */
static struct pc_msg *message_of(struct pc_wire *wire, const uint8_t *data, uint64_t size,
                                 struct pc_err *err)
{
    for (;;) {
        struct pc_msg *msg = pc_wire_next(wire, err);
        size_t room;
        if (msg || err->code != PC_OK || !size)
            return msg;
        uint8_t *place = pc_wire_space(wire, &room);
        if (!place)
            pc_fatal(1, "out of memory");
        room = room < size ? room : (size_t)size;
        memcpy(place, data, room);
        pc_wire_received(wire, room);
        data += room;
        size -= room;
    }
}

static uint64_t replay(struct hub_journal *journal, const uint8_t *data, uint64_t left,
                       int (*take)(void *arg, struct pc_msg *msg, struct pc_err *err), void *arg)
{
    struct pc_wire wire;
    struct pc_err err = {.code = PC_OK};
    uint64_t count = 0, size;
    pc_wire_init(&wire, SENDERS);
    while ((size = frame_size(data, left, &err)) > 0) {
        struct pc_msg *msg = message_of(&wire, data, size, &err);
        int status = msg ? take(arg, msg, &err) : -1;
        pc_msg_unref(msg);
        if (status < 0)
            break;
        count++;
        journal->size += size;
        data += size;
        left -= size;
    }
    if (err.code != PC_OK)
        pc_warn("the journal can be read up to its message %llu: %s", (unsigned long long)count,
                err.text);
    pc_wire_fini(&wire);
    return count;
}

uint64_t hub_journal_replay(struct hub_journal *journal,
                            int (*take)(void *arg, struct pc_msg *msg, struct pc_err *err),
                            void *arg)
{
    uint64_t numbers[] = {number_of(journal->fds[0]), number_of(journal->fds[1])};
    struct stat about;
    uint64_t count = 0;
    journal->active = numbers[1] > numbers[0];
    journal->number = numbers[journal->active];
    int fd = journal->fds[journal->active];
    if (!journal->number || fstat(fd, &about) < 0)
        return 0;
    uint64_t size = (uint64_t)about.st_size;
    uint8_t *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        pc_warn("the journal can't be read: %s", strerror(errno));
        return 0;
    }
    journal->size = HEAD_SIZE;
    count = replay(journal, data + HEAD_SIZE, size - HEAD_SIZE, take, arg);
    munmap(data, size);
    if (journal->size < size && ftruncate(fd, (off_t)journal->size) < 0)
        pc_warn("the journal can't be cut: %s", strerror(errno));
    return count;
}

/* ---- writing ---------------------------------------------------------------------------- */

/* Without a journal everything goes on, but a hub that is killed forgets. */
static void give_up(struct hub_journal *journal)
{
    int error = errno;
    snprintf(journal->trouble, sizeof(journal->trouble),
             "the journal can't be written (%s): a hub that is killed forgets its tasks",
             strerror(error));
    pc_error("%s", journal->trouble);
    for (int i = 0; i < 2; i++)
        if (ftruncate(journal->fds[i], 0) < 0)
            pc_debug("can't empty the journal: %s", strerror(errno));
    pc_wire_fini(&journal->wire);
    pc_wire_init(&journal->wire, SENDERS);
}

void hub_journal_add(struct hub_journal *journal, struct pc_msg *msg)
{
    if (!hub_journal_exists(journal))
        return;
    if (pc_wire_send(&journal->wire, msg))
        pc_fatal(1, "out of memory");
    if (pc_wire_queued(&journal->wire) > PIECE_BYTES)
        hub_journal_write(journal);
}

void hub_journal_write(struct hub_journal *journal)
{
    struct iovec vectors[VECTORS];
    int count;
    while (hub_journal_exists(journal) &&
           (count = pc_wire_gather(&journal->wire, vectors, VECTORS)) > 0) {
        ssize_t done = pwritev(journal->fds[journal->active], vectors, count, (off_t)journal->size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            give_up(journal);
            return;
        }
        journal->size += (uint64_t)done;
        pc_wire_sent(&journal->wire, (size_t)done);
    }
}

/* ---- segments --------------------------------------------------------------------------- */

void hub_journal_begin(struct hub_journal *journal)
{
    uint8_t head[HEAD_SIZE] = {0};
    if (!hub_journal_exists(journal))
        return;
    hub_journal_write(journal);
    journal->active = !journal->active;
    int fd = journal->fds[journal->active];
    if (ftruncate(fd, 0) < 0 || pwrite(fd, head, sizeof(head), 0) != sizeof(head)) {
        give_up(journal);
        return;
    }
    journal->size = HEAD_SIZE;
}

void hub_journal_complete(struct hub_journal *journal)
{
    uint8_t head[HEAD_SIZE] = MAGIC;
    hub_journal_write(journal);
    if (!hub_journal_exists(journal))
        return;
    pc_store_u64(head + 8, ++journal->number);
    if (pwrite(journal->fds[journal->active], head, sizeof(head), 0) != sizeof(head) ||
        ftruncate(journal->fds[!journal->active], 0) < 0) {
        give_up(journal);
        return;
    }
    journal->snapshot_size = journal->size;
}

bool hub_journal_is_long(const struct hub_journal *journal)
{
    return hub_journal_exists(journal) && journal->size > 3 * journal->snapshot_size + SPARE_BYTES;
}
