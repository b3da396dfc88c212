/* SPDX-License-Identifier: BSD-3-Clause */
#include "sched/group.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/mem.h"
#include "sched/state.h"

/* Empty lanes that a group keeps for their clients' next task. */
#define LANES_KEPT 16

/* ---- lanes ------------------------------------------------------------------------------ */

static struct lane *lane_of(const struct heap_node *node)
{
    return (struct lane *)((char *)(uintptr_t)node - offsetof(struct lane, node));
}

static bool lane_before(const struct heap_node *a, const struct heap_node *b)
{
    const struct lane *x = lane_of(a), *y = lane_of(b);
    if (x->key.priority != y->key.priority)
        return x->key.priority > y->key.priority;
    return x->turn < y->turn;
}

static struct lane *lane_get(struct group *group, const struct task *task)
{
    struct lane_key key = {.session = task->key.session, .priority = task->priority};
    struct lane *lane = group->last_lane;
    if (lane && lane->key.session == key.session && lane->key.priority == key.priority)
        return lane;
    HASH_FIND(hh, group->lanes, &key, sizeof(key), lane);
    if (!lane) {
        lane = pc_xcalloc(1, sizeof(*lane));
        lane->key = key;
        HASH_ADD(hh, group->lanes, key, sizeof(lane->key), lane);
    }
    group->last_lane = lane;
    return lane;
}

static void lane_free(struct group *group, struct lane *lane)
{
    HASH_DEL(group->lanes, lane);
    if (group->last_lane == lane)
        group->last_lane = NULL;
    free(lane);
}

static struct lane *lane_enter(struct group *group, struct task *task)
{
    struct lane *lane = lane_get(group, task);
    if (!lane->tasks) {
        lane->turn = ++group->sched->turn;
        heap_insert(&group->waiting, &lane->node);
    }
    task->lane = lane;
    group->sched->ready_count++;
    return lane;
}

void group_enqueue(struct group *group, struct task *task)
{
    struct lane *lane = lane_enter(group, task);
    DL_APPEND(lane->tasks, task);
}

void group_enqueue_first(struct group *group, struct task *task)
{
    struct lane *lane = lane_enter(group, task);
    DL_PREPEND(lane->tasks, task);
}

void group_dequeue(struct task *task)
{
    struct group *group = task->group;
    struct lane *lane = task->lane;
    DL_DELETE(lane->tasks, task);
    task->lane = NULL;
    group->sched->ready_count--;
    if (lane->tasks)
        return;
    heap_remove(&group->waiting, &lane->node);
    if (HASH_COUNT(group->lanes) > LANES_KEPT)
        lane_free(group, lane);
}

void group_serve(struct task *task)
{
    struct group *group = task->group;
    struct lane *lane = task->lane;
    if (lane->tasks->next) { /* else its next turn is as for a new lane */
        lane->turn = ++group->sched->turn;
        heap_moved(&group->waiting, &lane->node);
    }
    group_dequeue(task);
}

/* ---- groups ----------------------------------------------------------------------------- */

static struct group *group_of(const struct heap_node *turn)
{
    return (struct group *)((char *)(uintptr_t)turn - offsetof(struct group, turn));
}

static bool group_before(const struct heap_node *a, const struct heap_node *b)
{
    return lane_before(heap_first(&group_of(a)->waiting), heap_first(&group_of(b)->waiting));
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Sorts and drops what is there twice. Returns how many are left. */
static size_t normalise(uint32_t *ids, size_t count)
{
    size_t kept = 0;
    qsort(ids, count, sizeof(*ids), by_number);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || ids[i] != ids[kept - 1])
            ids[kept++] = ids[i];
    return kept;
}

bool group_is_open(const struct group *group)
{
    return group->key[0];
}

static bool suits(const struct group *group, const struct engine *engine)
{
    const uint32_t *found =
        bsearch(&engine->id, group->ids, group->id_count, sizeof(engine->id), by_number);
    return group_is_open(group) != (found != NULL) && pc_tags_include(engine->tags, group->tags);
}

static void join(struct group *group, struct engine *engine)
{
    struct member *member = pc_xcalloc(1, sizeof(*member));
    member->group = group;
    engine->load.id = engine->id;
    member->place.load = &engine->load;
    member->place.engine = engine;
    DL_APPEND2(group->members, member, group_prev, group_next);
    DL_APPEND2(engine->members, member, engine_prev, engine_next);
    if (engine->is_free)
        pool_engine_up(&group->pool, &member->place);
}

void group_leave(struct member *member)
{
    struct engine *engine = member->place.engine;
    if (engine->is_free)
        pool_engine_down(&member->group->pool, &member->place);
    if (member->group->last == engine)
        member->group->last = NULL;
    DL_DELETE2(member->group->members, member, group_prev, group_next);
    DL_DELETE2(engine->members, member, engine_prev, engine_next);
    free(member);
}

static void join_present(struct group *group)
{
    struct sched *s = group->sched;
    struct engine *engine, *next;
    if (group_is_open(group)) {
        HASH_ITER (hh_id, s->engines_by_id, engine, next)
            if (engine->state == ENGINE_UP && suits(group, engine))
                join(group, engine);
        return;
    }
    for (size_t i = 0; i < group->id_count; i++) {
        engine = engine_find(s, group->ids[i]);
        if (engine && engine->state == ENGINE_UP && suits(group, engine))
            join(group, engine);
    }
}

static struct group *group_new(struct sched *s, const uint32_t *key, size_t key_size)
{
    struct group *group = pc_xcalloc(1, sizeof(*group) + key_size);
    group->sched = s;
    group->key_size = key_size;
    memcpy(group->key, key, key_size);
    group->tags = group->key[1] ? (const char *)(group->key + 2) : "";
    group->ids = group->key + 2 + group->key[1];
    group->id_count = key_size / sizeof(*key) - 2 - group->key[1];
    pool_init(&group->pool, s->policy, ++s->seed);
    heap_init(&group->waiting, lane_before);
    HASH_ADD(hh, s->groups, key, (unsigned)key_size, group);
    join_present(group);
    return group;
}

struct group *group_get(struct sched *s, bool is_open, const uint32_t *ids, size_t count,
                        const char *tags)
{
    struct group *group;
    if (is_open && count == 0 && !*tags) {
        s->everybody->users++;
        return s->everybody;
    }
    size_t tag_words = *tags ? strlen(tags) / sizeof(uint32_t) + 1 : 0;
    uint32_t *key = pc_xcalloc(2 + tag_words + count, sizeof(*key));
    uint32_t *key_ids = key + 2 + tag_words;
    key[0] = is_open;
    key[1] = (uint32_t)tag_words;
    memcpy(key + 2, tags, strlen(tags));
    if (count)
        memcpy(key_ids, ids, count * sizeof(*ids));
    size_t key_size = (2 + tag_words + normalise(key_ids, count)) * sizeof(*key);
    HASH_FIND(hh, s->groups, key, key_size, group);
    if (!group)
        group = group_new(s, key, key_size);
    free(key);
    group->users++;
    return group;
}

static void group_free(struct group *group)
{
    struct sched *s = group->sched;
    struct member *member, *next_member;
    struct lane *lane, *next;
    DL_FOREACH_SAFE2 (group->members, member, next_member, group_next)
        group_leave(member);
    HASH_ITER (hh, group->lanes, lane, next)
        lane_free(group, lane);
    heap_fini(&group->waiting);
    pool_fini(&group->pool);
    HASH_DEL(s->groups, group);
    free(group);
}

void group_put(struct group *group)
{
    if (group && --group->users == 0)
        group_free(group);
}

void groups_init(struct sched *s)
{
    static const uint32_t key[] = {true, 0};
    heap_init(&s->matching, group_before);
    s->everybody = group_new(s, key, sizeof(key));
    s->everybody->users = 1;
}

void groups_fini(struct sched *s)
{
    if (s->everybody)
        group_put(s->everybody);
    assert(!s->groups);
    heap_fini(&s->matching);
}

/* ---- engines in groups ------------------------------------------------------------------ */

void groups_engine_up(struct engine *engine)
{
    struct group *group, *next;
    HASH_ITER (hh, engine->sched->groups, group, next)
        if (suits(group, engine))
            join(group, engine);
}

void groups_engine_changed(struct engine *engine, bool was_free, bool has_more)
{
    struct member *member;
    DL_FOREACH2 (engine->members, member, engine_next) {
        struct pool *pool = &member->group->pool;
        if (engine->is_free && !was_free)
            pool_engine_up(pool, &member->place);
        else if (!engine->is_free && was_free)
            pool_engine_down(pool, &member->place);
        else if (engine->is_free && has_more)
            pool_started(pool, &member->place);
        else if (engine->is_free)
            pool_finished(pool, &member->place);
    }
}

void groups_set_policy(struct sched *s, const struct policy *policy)
{
    struct group *group, *next;
    struct member *member;
    s->policy = policy;
    HASH_ITER (hh, s->groups, group, next) {
        pool_fini(&group->pool);
        pool_init(&group->pool, policy, ++s->seed);
        DL_FOREACH2 (group->members, member, group_next)
            if (member->place.engine->is_free)
                pool_engine_up(&group->pool, &member->place);
    }
}

struct task *group_first(const struct group *group)
{
    return lane_of(heap_first(&group->waiting))->tasks;
}

struct group *groups_first(const struct heap *heap)
{
    struct heap_node *first = heap_first(heap);
    return first ? group_of(first) : NULL;
}

struct engine *group_pick(struct group *group)
{
    struct engine *last = group->last;
    if (last && last->is_free && last->load.tasks && group->last_count < ahead_portion(last)) {
        group->last_count++;
        return last;
    }
    group->last = pool_pick(&group->pool);
    group->last_count = 1;
    return group->last;
}

/* Lanes of several groups take turns as those of one do. */
struct task *groups_next_for(const struct engine *engine)
{
    const struct lane *best = NULL;
    struct member *member;
    DL_FOREACH2 (engine->members, member, engine_next) {
        struct heap_node *first = heap_first(&member->group->waiting);
        if (!first)
            continue;
        const struct lane *lane = lane_of(first);
        if (!best || lane_before(&lane->node, &best->node))
            best = lane;
    }
    return best ? best->tasks : NULL;
}
