/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Engines that are going to come: in place of those whose parent was told to replace them, or has
 * said that it does so by itself. A task that failed where it was waits for one instead of giving
 * up, but not for ever: a parent may be unable to start it, or be cut off.
 */
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/mem.h"
#include "sched/state.h"

/* Owned by sched.coming. */
struct coming {
    struct coming *next, *prev;
    const struct engine *engine; /* to be replaced; NULL once it is gone */
    int64_t until_ms;            /* from then on */
    uint8_t home[SCHED_UUID_SIZE];
    char tags[PC_TAGS_MAX + 1];
};

static void forget(struct sched *s, struct coming *coming)
{
    DL_DELETE(s->coming, coming);
    free(coming);
}

void coming_expect(const struct engine *engine)
{
    struct coming *coming;
    DL_FOREACH (engine->sched->coming, coming)
        if (coming->engine == engine)
            return;
    coming = pc_xcalloc(1, sizeof(*coming));
    coming->engine = engine;
    memcpy(coming->home, engine->home, sizeof(coming->home));
    memcpy(coming->tags, engine->tags, sizeof(coming->tags));
    DL_APPEND(engine->sched->coming, coming);
}

void coming_engine_gone(const struct engine *engine)
{
    struct sched *s = engine->sched;
    struct coming *coming;
    DL_FOREACH (s->coming, coming) {
        if (coming->engine != engine)
            continue;
        coming->engine = NULL;
        coming->until_ms = world_now_ms(s) + SCHED_COMING_MS;
        if (!s->is_stopping)
            world_check_coming(s, SCHED_COMING_MS);
    }
}

void coming_engine_up(const struct engine *engine)
{
    struct coming *coming, *first = NULL; /* the one that is waited for longest */
    DL_FOREACH (engine->sched->coming, coming) {
        bool is_same = memcmp(coming->home, engine->home, sizeof(coming->home)) == 0 &&
                       strcmp(coming->tags, engine->tags) == 0;
        if (!coming->engine && is_same && (!first || coming->until_ms < first->until_ms))
            first = coming;
    }
    if (first)
        forget(engine->sched, first);
}

bool coming_include(const struct sched *s, const char *tags)
{
    const struct coming *coming;
    DL_FOREACH (s->coming, coming)
        if (pc_tags_include(coming->tags, tags))
            return true;
    return false;
}

void coming_check(struct sched *s)
{
    struct coming *coming, *next;
    int64_t now = world_now_ms(s), first = 0;
    DL_FOREACH_SAFE (s->coming, coming, next) {
        if (!coming->engine && coming->until_ms <= now)
            forget(s, coming);
        else if (!coming->engine && (!first || coming->until_ms < first))
            first = coming->until_ms;
    }
    if (first)
        world_check_coming(s, (unsigned)(first - now));
    queue_check_stranded(s);
}

void coming_fini(struct sched *s)
{
    while (s->coming)
        forget(s, s->coming);
}
