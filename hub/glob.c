/* SPDX-License-Identifier: BSD-3-Clause */
/* Patterns as in a shell, on UTF-8; no locale, and never more than pattern x text steps. */
#include "hub/filter.h"

#include <string.h>

/* The next character, and the place after it. A stray byte counts as one character. */
static uint32_t next(const char **at, const char *end)
{
    const uint8_t *p = (const uint8_t *)*at;
    size_t left = (size_t)(end - *at);
    size_t length = p[0] < 0xc0 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    uint32_t value = p[0];
    if (length > left)
        length = 1;
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            length = 1;
            break;
        }
    }
    if (length > 1)
        value &= 0xffu >> (length + 1);
    for (size_t i = 1; i < length; i++)
        value = value << 6 | (p[i] & 0x3f);
    *at += length;
    return length == 1 && p[0] >= 0x80 ? 0x110000u + p[0] : value;
}

/* After "[": whether the set has the character; *pattern moves behind the "]". Without a "]" it is
 * no set: *pattern stays and false is returned with *is_set false. */
static bool in_set(const char **pattern, const char *end, uint32_t wanted, bool *is_set)
{
    const char *at = *pattern;
    bool is_negated = at < end && *at == '!', found = false, is_first = true;
    at += is_negated;
    *is_set = false;
    while (at < end && (*at != ']' || is_first)) {
        uint32_t low = next(&at, end), high = low;
        is_first = false;
        if (end - at >= 2 && at[0] == '-' && at[1] != ']') {
            at++;
            high = next(&at, end);
        }
        found = found || (low <= wanted && wanted <= high);
    }
    if (at >= end)
        return false;
    *is_set = true;
    *pattern = at + 1;
    return found != is_negated;
}

/* One character of the text against one element of the pattern, which is no "*". */
static bool match_one(const char **pattern, const char *pattern_end, uint32_t c)
{
    bool is_set = false;
    uint32_t wanted = next(pattern, pattern_end);
    if (wanted == '?')
        return true;
    if (wanted == '[') {
        bool is_in = in_set(pattern, pattern_end, c, &is_set);
        if (is_set)
            return is_in;
    }
    return wanted == c;
}

bool hub_glob(const char *pattern, const char *text, size_t size)
{
    const char *pattern_end = pattern + strlen(pattern), *text_end = text + size;
    const char *star = NULL, *resume = NULL; /* after the last "*", and where it began to match */
    while (text < text_end) {
        if (pattern < pattern_end && *pattern == '*') {
            star = ++pattern;
            resume = text;
            continue;
        }
        const char *after = text;
        uint32_t c = next(&after, text_end);
        if (pattern < pattern_end && match_one(&pattern, pattern_end, c)) {
            text = after;
            continue;
        }
        if (!star)
            return false;
        next(&resume, text_end); /* the "*" takes one more */
        text = resume;
        pattern = star;
    }
    while (pattern < pattern_end && *pattern == '*')
        pattern++;
    return pattern == pattern_end;
}
