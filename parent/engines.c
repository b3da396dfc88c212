/* SPDX-License-Identifier: BSD-3-Clause */
#include "parent/engines.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

struct parent_engine *parent_engines_find(struct parent_engines *engines, const char *uuid)
{
    struct parent_engine *engine;
    HASH_FIND(hh, engines->by_uuid, uuid, strlen(uuid), engine);
    return engine;
}

static struct parent_engine *find_or_add(struct parent_engines *engines, const char *uuid,
                                         struct pc_err *err)
{
    struct parent_engine *engine = parent_engines_find(engines, uuid);
    if (engine)
        return engine;
    if (strlen(uuid) != sizeof(engine->uuid) - 1) {
        pc_err_set(err, PC_E_PROTOCOL, "an engine's uuid has %zu characters", strlen(uuid));
        return NULL;
    }
    engine = pc_xcalloc(1, sizeof(*engine));
    strcpy(engine->uuid, uuid);
    HASH_ADD(hh, engines->by_uuid, uuid, sizeof(engine->uuid) - 1, engine);
    return engine;
}

static void drop_unknown(struct parent_engines *engines, struct parent_engine *engine)
{
    if (engine->is_spawned || engine->is_up)
        return;
    HASH_DEL(engines->by_uuid, engine);
    pc_json_free(engine->report);
    free(engine);
}

int parent_engines_spawned(struct parent_engines *engines, const char *uuid, uint32_t pid,
                           struct pc_err *err)
{
    struct parent_engine *engine = find_or_add(engines, uuid, err);
    if (!engine)
        return -1;
    if (engine->is_spawned)
        return pc_err_set(err, PC_E_PROTOCOL, "engine '%s' was spawned twice", uuid);
    engine->pid = pid;
    engine->is_spawned = engine->is_wanted = true;
    engines->spawned_count++;
    if (engine->is_up)
        engines->ready_count++;
    return 0;
}

int parent_engines_up(struct parent_engines *engines, const char *uuid, uint32_t id,
                      struct pc_err *err)
{
    struct parent_engine *engine = find_or_add(engines, uuid, err);
    if (!engine)
        return -1;
    if (engine->is_up)
        return 0;
    engine->id = id;
    HASH_ADD(hh_id, engines->by_id, id, sizeof(engine->id), engine);
    engine->has_id = true;
    engine->is_up = true;
    if (engine->is_spawned)
        engines->ready_count++;
    return 0;
}

void parent_engines_down(struct parent_engines *engines, uint32_t id)
{
    struct parent_engine *engine;
    HASH_FIND(hh_id, engines->by_id, &id, sizeof(id), engine);
    if (!engine)
        return;
    HASH_DELETE(hh_id, engines->by_id, engine);
    engine->is_up = false;
    if (engine->is_spawned)
        engines->ready_count--;
    drop_unknown(engines, engine);
}

void parent_engines_exited(struct parent_engines *engines, struct parent_engine *engine,
                           bool is_replaced, const pc_json *report)
{
    if (!engine->is_spawned)
        return;
    engine->is_replaced = is_replaced;
    if (engine->is_up)
        engines->ready_count--;
    engine->is_spawned = false;
    engine->report = pc_json_copy(report);
    engines->spawned_count--;
    drop_unknown(engines, engine);
}

bool parent_engines_lack(struct parent_engines *engines, const char *uuid)
{
    struct parent_engine *engine = parent_engines_find(engines, uuid);
    if (!engine || engine->is_spawned || !engine->is_wanted || engine->is_replaced)
        return false;
    engine->is_replaced = true;
    return true;
}

void parent_engines_fini(struct parent_engines *engines)
{
    struct parent_engine *engine, *next;
    HASH_CLEAR(hh_id, engines->by_id);
    HASH_ITER (hh, engines->by_uuid, engine, next) {
        HASH_DEL(engines->by_uuid, engine);
        pc_json_free(engine->report);
        free(engine);
    }
    *engines = (struct parent_engines){0};
}
