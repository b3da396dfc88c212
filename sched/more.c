/* SPDX-License-Identifier: BSD-3-Clause */
#include "sched/more.h"

#include <stdlib.h>

#include "lib/mem.h"
#include "sched/state.h"

bool ids_add(struct ids *ids, uint32_t id)
{
    if (ids_has(ids, id))
        return false;
    ids->ids = pc_xrealloc(ids->ids, ids->count + 1, sizeof(*ids->ids));
    ids->ids[ids->count++] = id;
    return true;
}

bool ids_has(const struct ids *ids, uint32_t id)
{
    for (size_t i = 0; i < ids->count; i++)
        if (ids->ids[i] == id)
            return true;
    return false;
}

bool more_was_tried(const struct more *more)
{
    return more && (more->last_error || more->unsuited.count);
}

struct more *more_of(struct task *task)
{
    if (!task->more) {
        task->more = pc_xcalloc(1, sizeof(*task->more));
        task->more->task = task;
    }
    return task->more;
}

void more_free(struct task *task)
{
    struct more *more = task->more;
    if (!more)
        return;
    pc_msg_unref(more->last_error);
    free(more->targets.ids);
    free(more->avoided.ids);
    free(more->unsuited.ids);
    free(more->followed.ids);
    free(more->tags);
    free(more->edges);
    free(more);
    task->more = NULL;
}
