/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tags: what an engine is good for ("gpu", "site=lab2"), and what a task needs. Several are one
 * text: their names in alphabetical order, each once, separated by commas; "" is none. Two sets
 * are the same when their texts are.
 */
#ifndef PC_LIB_TAGS_H
#define PC_LIB_TAGS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

/* Longest text, without its end: HELLO has a limit, too. */
#define PC_TAGS_MAX 127

/* Adds names, separated by commas, to the set. -1: one of them is no name of a tag, or they are
 * too many; the set is as before. */
int pc_tags_add(char tags[PC_TAGS_MAX + 1], const char *names, struct pc_err *err);
/* Whether this is a set in its one form. Not terminated, from anywhere. */
bool pc_tags_are_valid(const char *tags, size_t size);
/* Whether all that are wanted are there. */
bool pc_tags_include(const char *tags, const char *wanted);

#endif
