/* SPDX-License-Identifier: BSD-3-Clause */
/* How the nursery makes a process that becomes an engine: a fork of the warm interpreter, or this
 * executable anew. */
#ifndef PC_ENGINE_SPAWN_H
#define PC_ENGINE_SPAWN_H

#include "engine/setup.h"

/* Descriptors of an engine that was started anew. */
enum {
    ENG_SPAWN_CONFIG = 3, /* socketpair: CONFIG as below, then it is closed */
    ENG_SPAWN_OUT_READ,
    ENG_SPAWN_OUT_WRITE,
    ENG_SPAWN_ERR_READ,
    ENG_SPAWN_ERR_WRITE,
    ENG_SPAWN_TAIL, /* memory for struct eng_tail */
    ENG_SPAWN_END,
};

/* What its CONFIG has besides that of the nursery. */
#define ENG_CONFIG_UUID "uuid"
/* In both: the soft limit that user code is to see. */
#define ENG_CONFIG_FILES "open_files"

struct eng_spawned {
    pid_t pid;
    int stderr_fd;         /* read end of its stderr, non-blocking: the caller's to close */
    struct eng_tail *tail; /* the caller's to eng_tail_free */
};

/* A thousand engines need more descriptors here than a soft limit usually allows; each of them
 * gets back the user's, `soft`, or when that is not known (0) the one that there was. Call once. */
void eng_spawn_raise_limit(int64_t soft);
void eng_spawn_restore_limit(int64_t soft);

/* Both return 0, or -1 with a text. */
int eng_spawn_fork(const struct eng_config *config, const char *uuid, struct eng_spawned *spawned,
                   struct pc_err *err);
/* `config_json` is what the nursery got. */
int eng_spawn_anew(const pc_json *config_json, const char *uuid, struct eng_spawned *spawned,
                   struct pc_err *err);

#endif
