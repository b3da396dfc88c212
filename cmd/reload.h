/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading the settings of a command once more, as if it were started now. */
#ifndef PC_CMD_RELOAD_H
#define PC_CMD_RELOAD_H

#include "parent/parent.h"

/* How it was started; must live as long as it may reload. */
struct reload {
    int (*run)(int argc, char **argv);
    int argc;
    char **argv;
};

/* `reload` is a struct reload. -1: the settings are wrong, which was said on stderr. */
int reload_settings(void *reload, struct parent_settings *fresh);

#endif
