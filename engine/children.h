/* SPDX-License-Identifier: BSD-3-Clause */
/* The engines that a nursery has: who they are, and how they ended. */
#ifndef PC_ENGINE_CHILDREN_H
#define PC_ENGINE_CHILDREN_H

#include <stdbool.h>
#include <sys/types.h>

#include "engine/oom.h"
#include "engine/spawn.h"
#include "engine/tail.h"

struct eng_child;

struct eng_children {
    struct eng_child *by_pid, *by_uuid;
    struct eng_oom oom;
};

struct eng_exit {
    pid_t pid;
    char uuid[33];
    int signal;                   /* 0: it ended by itself ... */
    int code;                     /* ... with this exit code */
    uint32_t begun;               /* RUNs that it had come to */
    bool is_oom;                  /* the kernel killed it because memory ran out */
    char tail[ENG_TAIL_KEPT + 1]; /* the last of its stderr */
};

/* Takes over descriptor and tail. */
void eng_children_add(struct eng_children *children, const char *uuid,
                      const struct eng_spawned *spawned);
unsigned eng_children_count(const struct eng_children *children);
/* Reaps one process that has ended, with all that is left of its process group. False: none has. */
bool eng_children_reap(struct eng_children *children, struct eng_exit *ended);
/* Sends a signal to every engine's process group. */
void eng_children_signal(const struct eng_children *children, int signal);
/* To one engine: its process, or with all that it has started. False: it is not there. */
bool eng_children_signal_one(const struct eng_children *children, const char *uuid, int signal,
                             bool with_group);

#endif
