/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/roster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"

/* Index of the first engine whose id is not smaller. */
static size_t place_of(const struct pc_roster *roster, uint32_t id)
{
    size_t low = 0, high = roster->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (roster->engines[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int add(struct pc_roster *roster, const pc_json *item, struct pc_err *err)
{
    struct pc_engine engine = {0};
    if (pc_json_get_u32(item, "id", &engine.id, err))
        return -1;
    engine.pid = (uint32_t)pc_json_i64_or(item, "pid", 0);
    snprintf(engine.host, sizeof(engine.host), "%s", pc_json_str_or(item, "host", ""));
    snprintf(engine.python, sizeof(engine.python), "%s", pc_json_str_or(item, "python", ""));
    snprintf(engine.uuid, sizeof(engine.uuid), "%s", pc_json_str_or(item, "uuid", ""));
    snprintf(engine.tags, sizeof(engine.tags), "%s", pc_json_str_or(item, "tags", ""));
    if (roster->count == roster->capacity) {
        size_t capacity = roster->capacity ? roster->capacity * 2 : 8;
        struct pc_engine *engines =
            reallocarray(roster->engines, capacity, sizeof(*roster->engines));
        if (!engines)
            return pc_err_set(err, PC_E_MEMORY, "out of memory");
        roster->engines = engines;
        roster->capacity = capacity;
    }
    size_t at = place_of(roster, engine.id);
    if (at < roster->count && roster->engines[at].id == engine.id) {
        roster->engines[at] = engine;
        return 0;
    }
    memmove(roster->engines + at + 1, roster->engines + at,
            (roster->count - at) * sizeof(*roster->engines));
    roster->engines[at] = engine;
    roster->count++;
    roster->generation++;
    return 0;
}

static int drop(struct pc_roster *roster, const pc_json *item, struct pc_err *err)
{
    uint32_t id;
    if (pc_json_get_u32(item, "id", &id, err))
        return -1;
    size_t at = place_of(roster, id);
    if (at == roster->count || roster->engines[at].id != id)
        return 0;
    memmove(roster->engines + at, roster->engines + at + 1,
            (roster->count - at - 1) * sizeof(*roster->engines));
    roster->count--;
    roster->generation++;
    return 0;
}

int pc_roster_update(struct pc_roster *roster, const struct pc_msg *msg, struct pc_err *err)
{
    pc_json *json = pc_json_of_msg(msg, err);
    if (!json)
        return -1;
    int failed = 0;
    if (pc_json_bool_or(json, "full", false))
        roster->count = 0;
    for (const pc_json *item = pc_json_first(pc_json_member(json, "up")); item && !failed;
         item = pc_json_next(item))
        failed = add(roster, item, err);
    for (const pc_json *item = pc_json_first(pc_json_member(json, "down")); item && !failed;
         item = pc_json_next(item))
        failed = drop(roster, item, err);
    pc_json_free(json);
    return failed;
}

int pc_roster_copy(const struct pc_roster *roster, struct pc_engine **list, size_t *count,
                   struct pc_err *err)
{
    size_t n = roster->count ? roster->count : 1;
    struct pc_engine *copy = calloc(n, sizeof(*copy));
    if (!copy)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    if (roster->count)
        memcpy(copy, roster->engines, roster->count * sizeof(*copy));
    *list = copy;
    *count = roster->count;
    return 0;
}

void pc_roster_fini(struct pc_roster *roster)
{
    free(roster->engines);
    *roster = (struct pc_roster){0};
}
