/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/tags.h"

#include <stdio.h>
#include <string.h>

/* Letters, digits and some signs: fit for a command line, a table and a log. */
static const char name_characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789_.:=-";

static size_t name_size(const char *at)
{
    return strcspn(at, ",");
}

/* As in a dictionary: "a" before "a-b", whatever sign follows. */
static int compare(const char *a, size_t a_size, const char *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int add_one(char tags[PC_TAGS_MAX + 1], const char *name, size_t size, struct pc_err *err)
{
    char *at = tags;
    size_t used = strlen(tags);
    if (size == 0 || strspn(name, name_characters) < size)
        return pc_err_set(err, PC_E_INVALID,
                          "'%.*s' is not a tag: letters, digits and _ . : = - are possible",
                          (int)(size > 40 ? 40 : size), name);
    while (*at && compare(at, name_size(at), name, size) < 0)
        at += name_size(at) + (at[name_size(at)] == ',');
    if (*at && name_size(at) == size && memcmp(at, name, size) == 0)
        return 0;
    if (used + (used > 0) + size > PC_TAGS_MAX)
        return pc_err_set(err, PC_E_INVALID,
                          "the tags are too long: %d characters are possible, with commas",
                          PC_TAGS_MAX);
    if (*at) { /* between others */
        memmove(at + size + 1, at, used - (size_t)(at - tags) + 1);
        at[size] = ',';
    } else {
        if (used)
            *at++ = ',';
        at[size] = '\0';
    }
    memcpy(at, name, size);
    return 0;
}

int pc_tags_add(char tags[PC_TAGS_MAX + 1], const char *names, struct pc_err *err)
{
    char more[PC_TAGS_MAX + 1];
    memcpy(more, tags, sizeof(more));
    for (const char *at = names;; at++) {
        if (add_one(more, at, name_size(at), err))
            return -1;
        at += name_size(at);
        if (!*at)
            break;
    }
    memcpy(tags, more, sizeof(more));
    return 0;
}

bool pc_tags_are_valid(const char *tags, size_t size)
{
    char copy[PC_TAGS_MAX + 1] = "", again[PC_TAGS_MAX + 1] = "";
    if (size == 0)
        return true;
    if (size > PC_TAGS_MAX || memchr(tags, '\0', size))
        return false;
    memcpy(copy, tags, size);
    return pc_tags_add(again, copy, NULL) == 0 && strcmp(copy, again) == 0;
}

bool pc_tags_include(const char *tags, const char *wanted)
{
    while (*wanted) {
        size_t size = name_size(wanted);
        const char *at = tags;
        while (*at && (name_size(at) != size || memcmp(at, wanted, size) != 0))
            at += name_size(at) + (at[name_size(at)] == ',');
        if (!*at)
            return false;
        wanted += size + (wanted[size] == ',');
    }
    return true;
}
