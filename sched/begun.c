/* SPDX-License-Identifier: BSD-3-Clause */
#include "sched/begun.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"

static int write_slot(struct begun *begun, uint32_t slot, uint64_t session, uint64_t sequence,
                      uint64_t count)
{
    uint8_t data[BEGUN_SLOT_SIZE];
    pc_store_u64(data, session);
    pc_store_u64(data + 8, sequence);
    pc_store_u64(data + 16, count);
    ssize_t done = pwrite(begun->fd, data, sizeof(data), (off_t)slot * BEGUN_SLOT_SIZE);
    if (done >= 0 && done < (ssize_t)sizeof(data))
        errno = ENOSPC;
    return done == sizeof(data) ? 0 : -1;
}

/* Of an earlier scheduler of this cluster: what it has noted stays. */
static void find_end(struct begun *begun)
{
    struct stat about;
    if (!begun->end && fstat(begun->fd, &about) == 0)
        begun->end = (uint32_t)((about.st_size + BEGUN_SLOT_SIZE - 1) / BEGUN_SLOT_SIZE);
}

int begun_reserve(struct begun *begun, uint64_t session, uint64_t sequence, struct pc_err *err)
{
    if (begun->fd < 0)
        return pc_err_set(err, PC_E_SYSTEM, "there is no file for the tasks that have begun");
    bool is_new = !begun->free.size;
    if (is_new)
        find_end(begun);
    uint32_t slot = is_new ? begun->end : pc_load_u32(begun->free.data + begun->free.size - 4);
    if (write_slot(begun, slot, session, sequence, 0))
        return pc_err_sys(err, "can't write to the file of the tasks that have begun");
    if (pc_index_add(&begun->map, session, sequence, (void *)(uintptr_t)(slot + 1)))
        pc_fatal(1, "out of memory");
    if (is_new)
        begun->end++;
    else
        begun->free.size -= 4;
    return 0;
}

static uint32_t slot_of(const struct begun *begun, uint64_t session, uint64_t sequence)
{
    return (uint32_t)(uintptr_t)pc_index_find(&begun->map, session, sequence) - 1;
}

void begun_mark(struct begun *begun, uint64_t session, uint64_t sequence, uint64_t count)
{
    uint32_t slot = slot_of(begun, session, sequence);
    if (slot == UINT32_MAX)
        return;
    bool was_failing = begun->is_failing;
    begun->is_failing = write_slot(begun, slot, session, sequence, count) < 0;
    if (begun->is_failing && !was_failing)
        pc_warn("can't note that durable tasks begin: %s; if the cluster is killed now, they may "
                "run again",
                strerror(errno));
}

void begun_release(struct begun *begun, uint64_t session, uint64_t sequence)
{
    uint32_t slot = slot_of(begun, session, sequence);
    if (slot == UINT32_MAX)
        return;
    pc_index_remove(&begun->map, session, sequence);
    pc_buf_put_u32(&begun->free, slot);
    if (begun->free.failed)
        pc_fatal(1, "out of memory");
}

void begun_fini(struct begun *begun)
{
    pc_index_fini(&begun->map);
    pc_buf_fini(&begun->free);
    if (begun->fd >= 0)
        close(begun->fd);
    begun->fd = -1;
}
