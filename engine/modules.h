/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine's own Python modules, compiled; embed.py writes the table. */
#ifndef PC_ENGINE_MODULES_H
#define PC_ENGINE_MODULES_H

#include <stddef.h>

struct eng_module {
    const char *name;
    const unsigned char *code; /* marshalled code object */
    size_t size;
};

extern const struct eng_module eng_modules[]; /* in order of import; ends with name NULL */
extern const long eng_modules_magic;          /* of the Python that compiled them */

#endif
