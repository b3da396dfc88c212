/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How tasks ended that are over, for those that will depend on them: four bytes each, in chunks of
 * consecutive numbers of a session. The oldest chunks are forgotten when there are too many; who
 * depends on such a task is told that it is not known.
 */
#include <stdlib.h>

#include "lib/mem.h"
#include "sched/state.h"

#define CHUNK      256
#define CHUNKS_MAX 8192 /* two million tasks, 9 MB */

struct past_chunk {
    struct task_key key; /* sequence: of the first one, a multiple of CHUNK */
    UT_hash_handle hh;
    uint32_t entries[CHUNK]; /* 0: not known; else PAST_* and the engine */
};

enum { PAST_OK = 1, PAST_FAILED = 2, PAST_BITS = 2 };

static struct past_chunk *find(struct sched *s, const struct task_key *key)
{
    struct task_key first = {.session = key->session,
                             .sequence = key->sequence - key->sequence % CHUNK};
    struct past_chunk *chunk = s->past_last;
    if (chunk && chunk->key.session == first.session && chunk->key.sequence == first.sequence)
        return chunk;
    HASH_FIND(hh, s->past, &first, sizeof(first), chunk);
    if (chunk)
        s->past_last = chunk;
    return chunk;
}

static void forget(struct sched *s, struct past_chunk *chunk)
{
    if (s->past_last == chunk)
        s->past_last = NULL;
    HASH_DEL(s->past, chunk);
    free(chunk);
}

void past_add(struct sched *s, const struct task *task, bool is_ok)
{
    struct past_chunk *chunk = find(s, &task->key);
    uint32_t engine = task->engine ? task->engine->id + 1 : 0;
    if (!chunk) {
        if (HASH_COUNT(s->past) >= CHUNKS_MAX)
            forget(s, s->past); /* the first in the order of insertion */
        chunk = pc_xcalloc(1, sizeof(*chunk));
        chunk->key = task->key;
        chunk->key.sequence -= task->key.sequence % CHUNK;
        HASH_ADD(hh, s->past, key, sizeof(chunk->key), chunk);
        s->past_last = chunk;
    }
    chunk->entries[task->key.sequence % CHUNK] = (is_ok ? PAST_OK : PAST_FAILED) | engine
                                                                                       << PAST_BITS;
}

bool past_find(struct sched *s, const struct task_key *key, bool *is_ok, uint32_t *engine_id)
{
    struct past_chunk *chunk = find(s, key);
    uint32_t entry = chunk ? chunk->entries[key->sequence % CHUNK] : 0;
    if (!entry)
        return false;
    *is_ok = (entry & ((1u << PAST_BITS) - 1)) == PAST_OK;
    *engine_id = entry >> PAST_BITS ? (entry >> PAST_BITS) - 1 : PC_NO_ENGINE;
    return true;
}

void past_fini(struct sched *s)
{
    struct past_chunk *chunk, *next;
    HASH_ITER (hh, s->past, chunk, next)
        forget(s, chunk);
}
