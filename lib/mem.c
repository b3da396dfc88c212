/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

static void *check(void *memory)
{
    if (!memory)
        pc_fatal(1, "out of memory");
    return memory;
}

void *pc_xcalloc(size_t count, size_t size)
{
    return check(calloc(count ? count : 1, size ? size : 1));
}

void *pc_xrealloc(void *old, size_t count, size_t size)
{
    return check(reallocarray(old, count ? count : 1, size ? size : 1));
}

char *pc_xstrdup(const char *text)
{
    return check(strdup(text));
}

char *pc_xasprintf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return check(text);
}
