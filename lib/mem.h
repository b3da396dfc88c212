/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocation in the roles: out of memory ends the process (the parent reports it). Code that is
 * also part of libpcluster.so uses malloc and returns errors instead.
 */
#ifndef PC_LIB_MEM_H
#define PC_LIB_MEM_H

#include <stddef.h>

void *pc_xcalloc(size_t count, size_t size);
void *pc_xrealloc(void *old, size_t count, size_t size);
char *pc_xstrdup(const char *text);
char *pc_xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
