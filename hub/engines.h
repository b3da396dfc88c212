/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry of engines: ids, what they are, how they are, and what they have done. */
#ifndef PC_HUB_ENGINES_H
#define PC_HUB_ENGINES_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/json.h"

#include <uthash.h>

#define HUB_UUID_SIZE 16

enum hub_engine_state {
    HUB_ENGINE_REGISTERED, /* has an id; its work lane is not open yet */
    HUB_ENGINE_UP,
    HUB_ENGINE_DOWN, /* kept for a while, so that people can see why */
};

/* Owned by hub_engines. */
struct hub_engine {
    uint32_t id;
    uint32_t pid;
    enum hub_engine_state state;
    char *host;
    char python[16];
    char uuid[40];
    uint8_t uuid_bytes[HUB_UUID_SIZE];
    bool has_uuid_bytes; /* uuid is the text of one */
    char *tags;          /* as in tags.h */
    char *reason;        /* of its end, NULL before */
    uint64_t tasks_done;
    uint64_t tasks_failed;
    uint32_t queued;  /* tasks meant for it and not begun */
    uint32_t running; /* tasks begun and not ended */
    UT_hash_handle hh, hh_uuid;
};

/* Engines that are gone and still listed; the oldest is forgotten first. */
#define HUB_DOWN_KEPT 64

struct hub_engines {
    struct hub_engine *by_id; /* iterates in the order of arrival, which is that of the ids */
    struct hub_engine *by_uuid;
    uint32_t next_id;                 /* never goes back: ids are not reused */
    uint32_t down_ids[HUB_DOWN_KEPT]; /* ring */
    uint64_t down_count;              /* ever */
    char this_host[256];
};

void hub_engines_init(struct hub_engines *engines);
void hub_engines_fini(struct hub_engines *engines);

/* A new engine gets its id; one that is known, by its uuid, has it. NULL: the cluster has used up
 * all ids. */
struct hub_engine *hub_engines_add(struct hub_engines *engines, const char *uuid, uint32_t pid,
                                   const char *host, const char *python, const char *tags);
struct hub_engine *hub_engines_find(struct hub_engines *engines, uint32_t id);
void hub_engines_set_up(struct hub_engines *engines, uint32_t id);
/* Unknown ids and engines that are down already are left alone. */
void hub_engines_set_down(struct hub_engines *engines, uint32_t id, const char *reason);

/* One row of the status reply; `with_memory` reads /proc for engines of this host. */
pc_json *hub_engine_json(const struct hub_engines *engines, const struct hub_engine *engine,
                         bool with_memory);

#endif
