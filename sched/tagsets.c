/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sets of tags that engines came with. They are remembered when the engines are gone: a task
 * whose tags were there once waits for such an engine to come again, as any task does when no
 * engine is left; one whose tags nobody ever had was mistaken.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "sched/state.h"

/* Beyond that an engine's set is not remembered; nobody has so many kinds of engines. */
#define SETS_MAX 1000

/* Owned by sched.tag_sets. */
struct tag_set {
    UT_hash_handle hh;
    char tags[]; /* terminated */
};

void tagsets_add(struct sched *s, const char *tags)
{
    struct tag_set *set;
    HASH_FIND_STR(s->tag_sets, tags, set);
    if (set || !*tags || HASH_COUNT(s->tag_sets) >= SETS_MAX)
        return;
    set = pc_xcalloc(1, sizeof(*set) + strlen(tags) + 1);
    strcpy(set->tags, tags);
    HASH_ADD_STR(s->tag_sets, tags, set);
}

bool tagsets_include(const struct sched *s, const char *tags)
{
    const struct tag_set *set;
    for (set = s->tag_sets; set; set = set->hh.next)
        if (pc_tags_include(set->tags, tags))
            return true;
    return false;
}

void tagsets_fini(struct sched *s)
{
    struct tag_set *set, *next;
    HASH_ITER (hh, s->tag_sets, set, next) {
        HASH_DEL(s->tag_sets, set);
        free(set);
    }
}
