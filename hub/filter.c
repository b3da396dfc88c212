/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/filter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/buf.h"

/* ---- values ----------------------------------------------------------------------------- */

/* Less than 0, 0, more than 0; NAN: they can't be compared. */
static double compare(const struct hub_value *value, const pc_json *operand)
{
    const char *text = pc_json_text(operand);
    if (value->type == HUB_VALUE_NUMBER && pc_json_is_number(operand)) {
        double a = (double)value->number, b = pc_json_number(operand);
        return a < b ? -1 : a > b;
    }
    if (value->type != HUB_VALUE_TEXT || !text)
        return NAN;
    size_t size = strlen(text), shorter = size < value->size ? size : value->size;
    int order = memcmp(value->text, text, shorter);
    return order ? order : (double)value->size - (double)size;
}

static bool is_id(const uint8_t *pair, const pc_json *operand)
{
    struct hub_task_key key;
    const char *text = pc_json_text(operand);
    return text && hub_id_parse(text, &key) == 0 && pc_load_u64(pair) == key.session &&
           pc_load_u64(pair + 8) == key.sequence;
}

static bool has_id(const struct hub_value *value, const pc_json *operand)
{
    for (size_t i = 0; i < value->count; i++)
        if (is_id(value->ids + i * PC_ACK_SIZE, operand))
            return true;
    return false;
}

static bool same_ids(const struct hub_value *value, const pc_json *operand)
{
    const pc_json *item = pc_json_first(operand);
    for (size_t i = 0; i < value->count; i++, item = pc_json_next(item))
        if (!item || !is_id(value->ids + i * PC_ACK_SIZE, item))
            return false;
    return !item;
}

/* ---- operators -------------------------------------------------------------------------- */

static bool holds_eq(const struct hub_value *value, const pc_json *operand)
{
    if (value->type == HUB_VALUE_NONE)
        return pc_json_is_null(operand);
    if (value->type == HUB_VALUE_IDS)
        return pc_json_is_array(operand) ? same_ids(value, operand) : has_id(value, operand);
    return compare(value, operand) == 0;
}

static bool holds_ne(const struct hub_value *value, const pc_json *operand)
{
    return !holds_eq(value, operand);
}

static bool holds_lt(const struct hub_value *value, const pc_json *operand)
{
    return compare(value, operand) < 0;
}

static bool holds_gt(const struct hub_value *value, const pc_json *operand)
{
    return compare(value, operand) > 0;
}

static bool holds_lte(const struct hub_value *value, const pc_json *operand)
{
    return compare(value, operand) <= 0;
}

static bool holds_gte(const struct hub_value *value, const pc_json *operand)
{
    return compare(value, operand) >= 0;
}

static bool holds_in(const struct hub_value *value, const pc_json *operand)
{
    for (const pc_json *item = pc_json_first(operand); item; item = pc_json_next(item))
        if (holds_eq(value, item))
            return true;
    return false;
}

static bool holds_nin(const struct hub_value *value, const pc_json *operand)
{
    return !holds_in(value, operand);
}

static bool holds_all(const struct hub_value *value, const pc_json *operand)
{
    for (const pc_json *item = pc_json_first(operand); item; item = pc_json_next(item))
        if (!holds_eq(value, item))
            return false;
    return value->type != HUB_VALUE_NONE;
}

/* As in Python: the remainder has the sign of the divisor. */
static bool holds_mod(const struct hub_value *value, const pc_json *operand)
{
    double divisor = pc_json_number(pc_json_item(operand, 0));
    if (value->type != HUB_VALUE_NUMBER)
        return false;
    double remainder = fmod((double)value->number, divisor);
    if (remainder != 0 && (remainder < 0) != (divisor < 0))
        remainder += divisor;
    return remainder == pc_json_number(pc_json_item(operand, 1));
}

static bool holds_exists(const struct hub_value *value, const pc_json *operand)
{
    return (value->type != HUB_VALUE_NONE) == pc_json_is_true(operand);
}

static bool holds_glob(const struct hub_value *value, const pc_json *operand)
{
    return value->type == HUB_VALUE_TEXT &&
           hub_glob(pc_json_text(operand), value->text, value->size);
}

/* ---- what they take --------------------------------------------------------------------- */

static bool is_anything(const pc_json *operand)
{
    return !pc_json_is_object(operand);
}

static bool is_pair(const pc_json *operand)
{
    return pc_json_is_array(operand) && pc_json_count(operand) == 2 &&
           pc_json_is_number(pc_json_item(operand, 0)) &&
           pc_json_is_number(pc_json_item(operand, 1)) &&
           pc_json_number(pc_json_item(operand, 0)) != 0;
}

static bool is_text(const pc_json *operand)
{
    return pc_json_text(operand);
}

static const struct {
    const char *name;
    bool (*holds)(const struct hub_value *value, const pc_json *operand);
    bool (*takes)(const pc_json *operand);
    const char *what;
} operators[] = {
    {"$eq", holds_eq, is_anything, "a value"},
    {"$ne", holds_ne, is_anything, "a value"},
    {"$lt", holds_lt, is_anything, "a value"},
    {"$gt", holds_gt, is_anything, "a value"},
    {"$lte", holds_lte, is_anything, "a value"},
    {"$gte", holds_gte, is_anything, "a value"},
    {"$in", holds_in, pc_json_is_array, "a list"},
    {"$nin", holds_nin, pc_json_is_array, "a list"},
    {"$all", holds_all, pc_json_is_array, "a list"},
    {"$mod", holds_mod, is_pair, "a list of two numbers, the first not 0"},
    {"$exists", holds_exists, pc_json_is_bool, "true or false"},
    {"$glob", holds_glob, is_text, "a string"},
};

/* ---- reading a query -------------------------------------------------------------------- */

static int add_test(struct hub_filter *filter, const struct hub_field *field, const char *name,
                    const pc_json *operand, struct pc_err *err)
{
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (strcmp(operators[i].name, name) != 0)
            continue;
        if (!operators[i].takes(operand))
            return pc_err_set(err, PC_E_INVALID, "%s of '%s' takes %s", name, field->name,
                              operators[i].what);
        if (filter->count == HUB_TESTS_MAX)
            return pc_err_set(err, PC_E_INVALID, "more than %d conditions", HUB_TESTS_MAX);
        filter->tests[filter->count++] =
            (struct hub_test){.field = field, .holds = operators[i].holds, .operand = operand};
        bool is_eq = operators[i].holds == holds_eq;
        if (strcmp(field->name, "msg_id") == 0 && (is_eq || operators[i].holds == holds_in))
            filter->ids = operand;
        if (strcmp(field->name, "label") == 0 && is_eq && pc_json_text(operand))
            filter->label = pc_json_text(operand);
        return 0;
    }
    return pc_err_set(err, PC_E_INVALID,
                      "unknown operator '%.40s'; there are $eq $ne $lt $gt $lte $gte $in $nin "
                      "$all $mod $exists $glob",
                      name);
}

static int unknown_field(const char *name, struct pc_err *err)
{
    char names[400] = "";
    size_t used = 0;
    for (const struct hub_field *field = hub_fields; field->name; field++)
        used += (size_t)snprintf(names + used, sizeof(names) - used, " %s", field->name);
    return pc_err_set(err, PC_E_INVALID, "tasks have no '%.40s'; they have%s", name, names);
}

int hub_filter_init(struct hub_filter *filter, const pc_json *query, struct pc_err *err)
{
    filter->count = 0;
    filter->ids = NULL;
    filter->label = NULL;
    if (!pc_json_is_object(query))
        return pc_err_set(err, PC_E_INVALID, "a query is an object of fields and conditions");
    for (const pc_json *item = pc_json_first(query); item; item = pc_json_next(item)) {
        const struct hub_field *field = hub_field_find(pc_json_name(item));
        if (!field)
            return unknown_field(pc_json_name(item), err);
        if (!pc_json_is_object(item)) {
            if (add_test(filter, field, "$eq", item, err))
                return -1;
            continue;
        }
        for (const pc_json *one = pc_json_first(item); one; one = pc_json_next(one))
            if (add_test(filter, field, pc_json_name(one), one, err))
                return -1;
    }
    return 0;
}

bool hub_filter_matches(const struct hub_filter *filter, struct hub_store *store,
                        struct hub_task *task)
{
    struct hub_value value;
    bool holds = true;
    for (size_t i = 0; i < filter->count && holds; i++) {
        const struct hub_test *test = &filter->tests[i];
        if (test->operand == filter->ids)
            continue; /* whoever looks for these ids has found it by one of them */
        hub_field_get(test->field, store, task, &value);
        holds = test->holds(&value, test->operand);
        hub_value_fini(&value);
    }
    return holds;
}
