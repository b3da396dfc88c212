/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/engines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hub/memory.h"
#include "lib/key.h"
#include "lib/mem.h"
#include "lib/proto.h"
#include "lib/tags.h"

void hub_engines_init(struct hub_engines *engines)
{
    memset(engines, 0, sizeof(*engines));
    if (gethostname(engines->this_host, sizeof(engines->this_host) - 1) < 0)
        engines->this_host[0] = '\0';
}

static void engine_free(struct hub_engines *engines, struct hub_engine *engine)
{
    HASH_DEL(engines->by_id, engine);
    HASH_DELETE(hh_uuid, engines->by_uuid, engine);
    free(engine->host);
    free(engine->tags);
    free(engine->reason);
    free(engine);
}

void hub_engines_fini(struct hub_engines *engines)
{
    struct hub_engine *engine, *next;
    HASH_ITER (hh, engines->by_id, engine, next)
        engine_free(engines, engine);
}

struct hub_engine *hub_engines_find(struct hub_engines *engines, uint32_t id)
{
    struct hub_engine *engine;
    HASH_FIND(hh, engines->by_id, &id, sizeof(id), engine);
    return engine;
}

struct hub_engine *hub_engines_add(struct hub_engines *engines, const char *uuid, uint32_t pid,
                                   const char *host, const char *python, const char *tags)
{
    struct hub_engine *known;
    HASH_FIND(hh_uuid, engines->by_uuid, uuid, strlen(uuid), known);
    if (known)
        return known;
    if (engines->next_id == PC_NO_ENGINE)
        return NULL;
    struct hub_engine *engine = pc_xcalloc(1, sizeof(*engine));
    engine->id = engines->next_id++;
    engine->pid = pid;
    engine->host = pc_xstrdup(host);
    engine->tags = pc_xstrdup(tags);
    snprintf(engine->uuid, sizeof(engine->uuid), "%s", uuid);
    engine->has_uuid_bytes = pc_hex_decode(uuid, engine->uuid_bytes, HUB_UUID_SIZE) == 0;
    snprintf(engine->python, sizeof(engine->python), "%s", python);
    HASH_ADD(hh, engines->by_id, id, sizeof(engine->id), engine);
    HASH_ADD(hh_uuid, engines->by_uuid, uuid[0], (unsigned)strlen(engine->uuid), engine);
    return engine;
}

void hub_engines_set_up(struct hub_engines *engines, uint32_t id)
{
    struct hub_engine *engine = hub_engines_find(engines, id);
    if (engine && engine->state == HUB_ENGINE_REGISTERED)
        engine->state = HUB_ENGINE_UP;
}

void hub_engines_set_down(struct hub_engines *engines, uint32_t id, const char *reason)
{
    struct hub_engine *engine = hub_engines_find(engines, id);
    if (!engine || engine->state == HUB_ENGINE_DOWN)
        return;
    engine->state = HUB_ENGINE_DOWN;
    engine->reason = pc_xstrdup(reason);
    engine->queued = 0;
    engine->running = 0;
    uint32_t *slot = &engines->down_ids[engines->down_count % HUB_DOWN_KEPT];
    if (engines->down_count >= HUB_DOWN_KEPT) {
        struct hub_engine *oldest = hub_engines_find(engines, *slot);
        if (oldest)
            engine_free(engines, oldest);
    }
    *slot = id;
    engines->down_count++;
}

static const char *state_name(const struct hub_engine *engine)
{
    switch (engine->state) {
    case HUB_ENGINE_REGISTERED:
        return "starting";
    case HUB_ENGINE_UP:
        return engine->running ? "busy" : "idle";
    case HUB_ENGINE_DOWN:
        break;
    }
    return "down";
}

static pc_json *tags_json(const char *tags)
{
    pc_json *list = pc_json_array();
    char name[PC_TAGS_MAX + 1];
    while (*tags) {
        size_t size = strcspn(tags, ",");
        snprintf(name, sizeof(name), "%.*s", (int)size, tags);
        pc_json_append_str(list, name);
        tags += size + (tags[size] == ',');
    }
    return list;
}

pc_json *hub_engine_json(const struct hub_engines *engines, const struct hub_engine *engine,
                         bool with_memory)
{
    int64_t memory_bytes = -1;
    if (with_memory && engine->state != HUB_ENGINE_DOWN &&
        strcmp(engine->host, engines->this_host) == 0)
        memory_bytes = hub_memory_of(engine->pid);
    pc_json *row = pc_json_object();
    pc_json_put_i64(row, "id", engine->id);
    pc_json_put_i64(row, "pid", engine->pid);
    pc_json_put_str(row, "host", engine->host);
    pc_json_put_str(row, "python", engine->python[0] ? engine->python : NULL);
    pc_json_put_str(row, "uuid", engine->uuid);
    pc_json_put(row, "tags", tags_json(engine->tags));
    pc_json_put_str(row, "state", state_name(engine));
    if (memory_bytes >= 0)
        pc_json_put_i64(row, "memory_bytes", memory_bytes);
    else
        pc_json_put_str(row, "memory_bytes", NULL);
    pc_json_put_i64(row, "tasks_done", (int64_t)engine->tasks_done);
    pc_json_put_i64(row, "tasks_failed", (int64_t)engine->tasks_failed);
    pc_json_put_i64(row, "queue", (int64_t)engine->queued + engine->running);
    if (engine->reason)
        pc_json_put_str(row, "reason", engine->reason);
    return row;
}
