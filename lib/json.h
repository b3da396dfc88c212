/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON with type checks; the only header through which the project uses cJSON. Getters leave
 * `out` alone and return -1 (PC_E_PROTOCOL) with a text naming the field when it is missing, of
 * another type or out of range.
 *
 * Building never fails on the spot: when memory runs out the value remembers it, NULL objects are
 * ignored, and printing gives NULL. So only the end of a chain needs a check.
 */
#ifndef PC_LIB_JSON_H
#define PC_LIB_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/msg.h"

/* Arrays and objects within each other, at most. */
#define PC_JSON_DEPTH 32

struct cJSON;
typedef struct cJSON pc_json;

/* Parses exactly `size` bytes (nothing but white space may follow the value). Refused besides bad
 * syntax: more than PC_JSON_DEPTH levels, text that is not UTF-8, and the character U+0000, which
 * would cut a string short. NULL with PC_E_PROTOCOL or PC_E_MEMORY. Free with pc_json_free. */
pc_json *pc_json_parse(const void *text, size_t size, struct pc_err *err);
/* The body of a message, which must be an object. */
pc_json *pc_json_of_msg(const struct pc_msg *msg, struct pc_err *err);
void pc_json_free(pc_json *json);

int pc_json_get_str(const pc_json *object, const char *name, const char **out, struct pc_err *err);
int pc_json_get_u32(const pc_json *object, const char *name, uint32_t *out, struct pc_err *err);
/* Whole numbers up to 2^53 in size: beyond, JSON numbers are not exact. */
int pc_json_get_i64(const pc_json *object, const char *name, int64_t *out, struct pc_err *err);
int pc_json_get_bool(const pc_json *object, const char *name, bool *out, struct pc_err *err);
/* Unsigned 64-bit numbers travel as hexadecimal strings of 16 digits. */
int pc_json_get_u64(const pc_json *object, const char *name, uint64_t *out, struct pc_err *err);
/* `fallback` when missing or of another type. */
const char *pc_json_str_or(const pc_json *object, const char *name, const char *fallback);
int64_t pc_json_i64_or(const pc_json *object, const char *name, int64_t fallback);
bool pc_json_bool_or(const pc_json *object, const char *name, bool fallback);
/* Member or NULL. */
const pc_json *pc_json_member(const pc_json *object, const char *name);
bool pc_json_is_array(const pc_json *json);
bool pc_json_is_object(const pc_json *json);
bool pc_json_is_null(const pc_json *json);
bool pc_json_is_number(const pc_json *json);
bool pc_json_is_bool(const pc_json *json);
bool pc_json_is_true(const pc_json *json);
size_t pc_json_count(const pc_json *array);
const pc_json *pc_json_item(const pc_json *array, size_t index); /* O(index) */
/* Iteration over an array or object: first child, then the next one; NULL at the end. */
const pc_json *pc_json_first(const pc_json *container);
const pc_json *pc_json_next(const pc_json *item);
const char *pc_json_name(const pc_json *member); /* name of an object's member */
const char *pc_json_text(const pc_json *string); /* value of a string, NULL otherwise */
double pc_json_number(const pc_json *number);    /* 0 when it is not one or not finite */

pc_json *pc_json_object(void);
pc_json *pc_json_array(void);
/* NULL: null. Bytes that are not UTF-8 become U+FFFD. */
void pc_json_put_str(pc_json *object, const char *name, const char *value);
void pc_json_put_i64(pc_json *object, const char *name, int64_t value);
void pc_json_put_double(pc_json *object, const char *name, double value);
void pc_json_put_bool(pc_json *object, const char *name, bool value);
void pc_json_put_u64(pc_json *object, const char *name, uint64_t value); /* as 16 hex digits */
void pc_json_put(pc_json *object, const char *name, pc_json *value);     /* takes value */
void pc_json_append(pc_json *array, pc_json *value);                     /* takes value */
void pc_json_append_str(pc_json *array, const char *value);
void pc_json_append_i64(pc_json *array, int64_t value);
pc_json *pc_json_copy(const pc_json *json);

/* Text for the caller to free(); NULL when memory ran out, now or while building. */
char *pc_json_print(const pc_json *json);
char *pc_json_print_pretty(const pc_json *json);
/* A message of `type` whose body is the text of `json`, which is freed. NULL: out of memory. */
struct pc_msg *pc_json_msg(uint8_t type, pc_json *json);

/* Of cJSON, "1.7.15". */
const char *pc_json_library_version(void);

#endif
