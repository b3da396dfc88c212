/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors with a text for the user.
 *
 * A function that can fail in a way the user could learn from takes a `struct pc_err *` as its
 * last argument (NULL is allowed) and returns -1 or NULL. The struct and its codes are public:
 * see pcluster.h.
 */
#ifndef PC_LIB_ERR_H
#define PC_LIB_ERR_H

#include "lib/pcluster.h"

/* Fills *err (when not NULL) and returns -1, so that `return pc_err_set(...)` is the idiom.
 * The text is one lower-case line: what was tried, what went wrong, what to do. */
int pc_err_set(struct pc_err *err, enum pc_errc code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As pc_err_set with PC_E_SYSTEM, and ": <text of errno>" at the end. Keeps errno. */
int pc_err_sys(struct pc_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
