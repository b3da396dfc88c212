/* SPDX-License-Identifier: BSD-3-Clause */
/* The hidden entry of a child: which room it enters. */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "engine/engine.h"
#include "hub/hub.h"
#include "lib/spawn.h"
#include "sched/sched.h"

static const struct {
    const char *name;
    int (*main)(void);
} roles[] = {
    {"scheduler", sched_main},
    {"hub", hub_main},
    {"nursery", nursery_main},
    {"engine", engine_main},
};

int cmd_role(const char *name)
{
    char title[64];
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        if (strcmp(roles[i].name, name) == 0) {
            snprintf(title, sizeof(title), "pcluster: %s", name);
            pc_title_set(title);
            return roles[i].main();
        }
    fprintf(stderr, "pcluster: no such role: '%s'\n", name);
    return CMD_USAGE;
}
