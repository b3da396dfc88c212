/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cJSON behind type checks. cJSON itself is generous: it takes control characters for white
 * space, cuts strings at U+0000 and never looks at the encoding. So text from outside first
 * passes check_text(), which refuses all that, and only then is parsed.
 */
#include "lib/json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/key.h"
#include "lib/proto.h"

#define EXACT_MAX      9007199254740992.0 /* 2^53 */
#define EXACT_TO_CJSON (INT64_C(1) << 52)

/* ---- text -------------------------------------------------------------------------------- */

/* Length of the UTF-8 sequence at `p` (1 to 4), 0 when it is not one. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    size_t length = p[0] < 0x80   ? 1
                    : p[0] < 0xc2 ? 0
                    : p[0] < 0xe0 ? 2
                    : p[0] < 0xf0 ? 3
                    : p[0] < 0xf5 ? 4
                                  : 0;
    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || /* longer than needed */
        (p[0] == 0xed && p[1] > 0x9f) || /* half of a UTF-16 pair */
        (p[0] == 0xf0 && p[1] < 0x90) || /* longer than needed */
        (p[0] == 0xf4 && p[1] > 0x8f))   /* beyond U+10FFFF */
        return 0;
    return length;
}

/* A copy with everything that is not UTF-8 replaced; NULL when out of memory. */
static char *utf8_repaired(const char *text)
{
    size_t size = strlen(text);
    char *copy = malloc(3 * size + 1), *out = copy;
    if (!copy)
        return NULL;
    while (size) {
        size_t length = utf8_length((const uint8_t *)text, size), used = length ? length : 1;
        const char *from = length ? text : "\xef\xbf\xbd";
        size_t count = length ? length : 3;
        memcpy(out, from, count);
        out += count;
        text += used;
        size -= used;
    }
    *out = '\0';
    return copy;
}

static bool is_utf8(const char *text)
{
    for (size_t left = strlen(text); left;) {
        size_t length = utf8_length((const uint8_t *)text, left);
        if (!length)
            return false;
        text += length;
        left -= length;
    }
    return true;
}

/* Why this can't be taken, or NULL. Knows only as much of the syntax as it needs: where strings
 * begin and end, and brackets outside of them. */
static const char *check_text(const char *text, size_t size)
{
    bool is_string = false;
    size_t depth = 0;
    for (size_t i = 0, step; i < size; i += step) {
        step = utf8_length((const uint8_t *)text + i, size - i);
        if (!step)
            return "it is not UTF-8";
        char c = text[i];
        bool is_space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
        if ((uint8_t)c < 0x20 && (is_string || !is_space))
            return "it has a control character";
        if (is_string && c == '\\') {
            if (size - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
                return "it has a string with U+0000";
            step = 1 + (size - i > 1 && (text[i + 1] == '\\' || text[i + 1] == '"'));
        } else if (c == '"') {
            is_string = !is_string;
        } else if (!is_string && (c == '[' || c == '{')) {
            if (++depth > PC_JSON_DEPTH)
                return "it is nested too deeply";
        } else if (!is_string && (c == ']' || c == '}')) {
            depth -= depth > 0;
        }
    }
    return NULL;
}

pc_json *pc_json_parse(const void *text, size_t size, struct pc_err *err)
{
    const char *why = check_text(text, size);
    if (why) {
        pc_err_set(err, PC_E_PROTOCOL, "bad JSON text of %zu bytes: %s", size, why);
        return NULL;
    }
    /* A terminated copy: releases of cJSON before 1.7.18 look at the byte after the end. */
    char *copy = malloc(size + 1);
    if (!copy) {
        pc_err_set(err, PC_E_MEMORY, "out of memory for JSON text of %zu bytes", size);
        return NULL;
    }
    if (size)
        memcpy(copy, text, size);
    copy[size] = '\0';
    const char *end = copy;
    errno = 0; /* the only way to tell whether cJSON had no memory */
    cJSON *json = cJSON_ParseWithLengthOpts(copy, size + 1, &end, true);
    if (!json && errno == ENOMEM)
        pc_err_set(err, PC_E_MEMORY, "out of memory for JSON text of %zu bytes", size);
    else if (!json)
        pc_err_set(err, PC_E_PROTOCOL, "bad JSON text of %zu bytes: wrong at byte %zu", size,
                   end ? (size_t)(end - copy) : 0);
    pc_wipe(copy, size); /* connection files pass here, too */
    free(copy);
    return json;
}

pc_json *pc_json_of_msg(const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_err why = {0};
    pc_json *json = pc_json_parse(msg->body, msg->head.body_size, &why);
    if (json && !cJSON_IsObject(json)) {
        pc_json_free(json);
        json = NULL;
        pc_err_set(&why, PC_E_PROTOCOL, "it is not an object");
    }
    if (!json)
        pc_err_set(err, why.code, "body of %s: %.400s", pc_msg_name(msg->head.type), why.text);
    return json;
}

void pc_json_free(pc_json *json)
{
    cJSON_Delete(json);
}

/* ---- reading ----------------------------------------------------------------------------- */

const pc_json *pc_json_member(const pc_json *object, const char *name)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

static int wrong(const pc_json *object, const char *name, const char *wanted, struct pc_err *err)
{
    if (!pc_json_member(object, name))
        return pc_err_set(err, PC_E_PROTOCOL, "field '%s' is missing", name);
    return pc_err_set(err, PC_E_PROTOCOL, "field '%s' is not %s", name, wanted);
}

/* A whole number from `low` to `high`, which are within the exact range. */
static bool get_whole(const pc_json *json, double low, double high, int64_t *out)
{
    if (!cJSON_IsNumber(json))
        return false;
    double value = json->valuedouble;
    if (!(value >= low && value <= high) || value != (double)(int64_t)value)
        return false;
    *out = (int64_t)value;
    return true;
}

int pc_json_get_str(const pc_json *object, const char *name, const char **out, struct pc_err *err)
{
    const pc_json *member = pc_json_member(object, name);
    if (!cJSON_IsString(member))
        return wrong(object, name, "a string", err);
    *out = member->valuestring;
    return 0;
}

int pc_json_get_u32(const pc_json *object, const char *name, uint32_t *out, struct pc_err *err)
{
    int64_t value;
    if (!get_whole(pc_json_member(object, name), 0, UINT32_MAX, &value))
        return wrong(object, name, "a whole number from 0 to 4294967295", err);
    *out = (uint32_t)value;
    return 0;
}

int pc_json_get_i64(const pc_json *object, const char *name, int64_t *out, struct pc_err *err)
{
    if (!get_whole(pc_json_member(object, name), -EXACT_MAX, EXACT_MAX, out))
        return wrong(object, name, "a whole number of at most 2^53", err);
    return 0;
}

int pc_json_get_bool(const pc_json *object, const char *name, bool *out, struct pc_err *err)
{
    const pc_json *member = pc_json_member(object, name);
    if (!cJSON_IsBool(member))
        return wrong(object, name, "true or false", err);
    *out = cJSON_IsTrue(member) != 0;
    return 0;
}

int pc_json_get_u64(const pc_json *object, const char *name, uint64_t *out, struct pc_err *err)
{
    const pc_json *member = pc_json_member(object, name);
    const char *text = cJSON_IsString(member) ? member->valuestring : "";
    if (strlen(text) != 16 || strspn(text, "0123456789abcdefABCDEF") != 16)
        return wrong(object, name, "a string of 16 hexadecimal digits", err);
    *out = strtoull(text, NULL, 16);
    return 0;
}

const char *pc_json_str_or(const pc_json *object, const char *name, const char *fallback)
{
    const char *text = pc_json_text(pc_json_member(object, name));
    return text ? text : fallback;
}

int64_t pc_json_i64_or(const pc_json *object, const char *name, int64_t fallback)
{
    int64_t value = fallback;
    pc_json_get_i64(object, name, &value, NULL);
    return value;
}

bool pc_json_bool_or(const pc_json *object, const char *name, bool fallback)
{
    bool value = fallback;
    pc_json_get_bool(object, name, &value, NULL);
    return value;
}

bool pc_json_is_array(const pc_json *json)
{
    return cJSON_IsArray(json) != 0;
}

bool pc_json_is_object(const pc_json *json)
{
    return cJSON_IsObject(json) != 0;
}

bool pc_json_is_null(const pc_json *json)
{
    return cJSON_IsNull(json) != 0;
}

bool pc_json_is_number(const pc_json *json)
{
    return cJSON_IsNumber(json) != 0;
}

bool pc_json_is_bool(const pc_json *json)
{
    return cJSON_IsBool(json) != 0;
}

bool pc_json_is_true(const pc_json *json)
{
    return cJSON_IsTrue(json) != 0;
}

size_t pc_json_count(const pc_json *array)
{
    return array ? (size_t)cJSON_GetArraySize(array) : 0;
}

const pc_json *pc_json_item(const pc_json *array, size_t index)
{
    return index <= INT_MAX ? cJSON_GetArrayItem(array, (int)index) : NULL;
}

const pc_json *pc_json_first(const pc_json *container)
{
    return container ? container->child : NULL;
}

const pc_json *pc_json_next(const pc_json *item)
{
    return item ? item->next : NULL;
}

const char *pc_json_name(const pc_json *member)
{
    return member ? member->string : NULL;
}

const char *pc_json_text(const pc_json *string)
{
    return cJSON_IsString(string) ? string->valuestring : NULL;
}

double pc_json_number(const pc_json *number)
{
    return cJSON_IsNumber(number) && isfinite(number->valuedouble) ? number->valuedouble : 0;
}

/* ---- building ---------------------------------------------------------------------------- */

pc_json *pc_json_object(void)
{
    return cJSON_CreateObject();
}

pc_json *pc_json_array(void)
{
    return cJSON_CreateArray();
}

/* What could not be built completely must not be printed: cJSON refuses to print this type, and
 * so whatever contains it. */
static void mark_failed(pc_json *container)
{
    if (container)
        container->type = (container->type & ~0xff) | cJSON_Invalid;
}

void pc_json_put(pc_json *object, const char *name, pc_json *value)
{
    if (!value || !cJSON_AddItemToObject(object, name, value)) {
        cJSON_Delete(value);
        mark_failed(object);
    }
}

void pc_json_append(pc_json *array, pc_json *value)
{
    if (!value || !cJSON_AddItemToArray(array, value)) {
        cJSON_Delete(value);
        mark_failed(array);
    }
}

static pc_json *new_string(const char *value)
{
    if (!value)
        return cJSON_CreateNull();
    if (is_utf8(value))
        return cJSON_CreateString(value);
    char *repaired = utf8_repaired(value);
    pc_json *json = repaired ? cJSON_CreateString(repaired) : NULL;
    free(repaired);
    return json;
}

void pc_json_put_str(pc_json *object, const char *name, const char *value)
{
    pc_json_put(object, name, new_string(value));
}

void pc_json_append_str(pc_json *array, const char *value)
{
    pc_json_append(array, new_string(value));
}

static pc_json *new_i64(int64_t value)
{
    /* cJSON prints 15 digits where that is "near enough", which from 2^52 on it can wrongly be. */
    if (value > -EXACT_TO_CJSON && value < EXACT_TO_CJSON)
        return cJSON_CreateNumber((double)value);
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, value);
    return cJSON_CreateRaw(text);
}

void pc_json_put_i64(pc_json *object, const char *name, int64_t value)
{
    pc_json_put(object, name, new_i64(value));
}

void pc_json_append_i64(pc_json *array, int64_t value)
{
    pc_json_append(array, new_i64(value));
}

void pc_json_put_double(pc_json *object, const char *name, double value)
{
    pc_json_put(object, name, cJSON_CreateNumber(value));
}

void pc_json_put_bool(pc_json *object, const char *name, bool value)
{
    pc_json_put(object, name, cJSON_CreateBool(value));
}

void pc_json_put_u64(pc_json *object, const char *name, uint64_t value)
{
    char text[17];
    snprintf(text, sizeof(text), "%016" PRIx64, value);
    pc_json_put(object, name, cJSON_CreateString(text));
}

pc_json *pc_json_copy(const pc_json *json)
{
    return cJSON_Duplicate(json, true);
}

char *pc_json_print(const pc_json *json)
{
    return cJSON_PrintUnformatted(json);
}

char *pc_json_print_pretty(const pc_json *json)
{
    return cJSON_Print(json);
}

struct pc_msg *pc_json_msg(uint8_t type, pc_json *json)
{
    char *text = pc_json_print(json);
    struct pc_msg *msg = text ? pc_msg_with_body(type, text, strlen(text)) : NULL;
    free(text);
    pc_json_free(json);
    return msg;
}

const char *pc_json_library_version(void)
{
    return cJSON_Version();
}
