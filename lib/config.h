/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text of a configuration file, taken apart: one setting a line, "name = value". What names and
 * values mean is the business of who asks (cmd/settings.c).
 */
#ifndef PC_LIB_CONFIG_H
#define PC_LIB_CONFIG_H

#include <stddef.h>

#include "lib/err.h"

/* More is not a configuration. */
#define PC_CONFIG_BYTES_MAX 65536

struct pc_config_line {
    char *name, *value; /* blanks around them are gone; neither is empty */
    unsigned number;    /* from 1 */
};

/* Owns its lines. */
struct pc_config {
    char *path;
    struct pc_config_line *lines;
    size_t count;
};

/*
 * Empty lines and lines that begin with '#' say nothing; a '#' after a blank ends a value. -1
 * (PC_E_BAD_FILE) with path, line and what was expected: not "name = value", a name that is none
 * or was there before, a control character. `path` is for the texts. On failure there is nothing
 * to release.
 */
int pc_config_parse(struct pc_config *config, const char *text, size_t size, const char *path,
                    struct pc_err *err);
/* The same from a file; one that does not exist is an empty one. -1 when it can't be read. */
int pc_config_read(struct pc_config *config, const char *path, struct pc_err *err);
void pc_config_fini(struct pc_config *config);

#endif
