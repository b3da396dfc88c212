/* SPDX-License-Identifier: BSD-3-Clause */
/* What the nursery hands to an engine, and where the engine begins. */
#ifndef PC_ENGINE_SETUP_H
#define PC_ENGINE_SETUP_H

#include <sys/types.h>

#include "engine/tail.h"
#include "lib/connfile.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/pcluster.h"

/* From CONFIG: the same for all engines of a nursery. */
struct eng_config {
    struct pc_connfile file;
    enum pc_transport transport;
    enum pc_log_level log_level;
    char *python;     /* "" when there is none */
    char *tags;       /* as in tags.h */
    char *home;       /* uuid of the parent, "" when it did not say */
    pc_json *preload; /* array of names */
    bool use_nursery;
};

/* -1: the text says which field. */
int eng_config_parse(struct eng_config *config, const pc_json *json, struct pc_err *err);
void eng_config_fini(struct eng_config *config);

/* One engine. */
struct eng_setup {
    const struct eng_config *config;
    char uuid[33];
    struct eng_tail *tail;
    int out_read, out_write; /* the pipe behind descriptor 1 */
    int err_read, err_write; /* and that behind descriptor 2 */
    pid_t starter;           /* the nursery */
};

/* Puts the pipes into place. No other descriptor but 0 and the read ends stays open. The write
 * ends become 1 and 2. For a process that is about to be an engine. */
void eng_take_descriptors(struct eng_setup *setup);
/* The rest of this process's life: connects, takes tasks, leaves. With the GIL, on the main
 * thread of a process that has no other. */
_Noreturn void eng_live(struct eng_setup *setup);

#endif
