/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queries on tasks: {"field": value, "field": {"$operator": value, ...}, ...}; all must hold.
 *
 * A field without a value is null. Comparisons of different types, and with null, do not hold;
 * $ne and $nin hold then. A list of ids equals an equal list, and equals (and is $in) what one of
 * its members equals. $all: every value is among those of the field. $exists: the field has (true)
 * or has no value (false). $glob: *, ?, [abc], [!a-z] as in a shell, on the whole text.
 */
#ifndef PC_HUB_FILTER_H
#define PC_HUB_FILTER_H

#include "hub/field.h"

#define HUB_TESTS_MAX 64

struct hub_test {
    const struct hub_field *field;
    bool (*holds)(const struct hub_value *value, const pc_json *operand);
    const pc_json *operand; /* of the query */
};

/* Lives no longer than the query it was made from. */
struct hub_filter {
    struct hub_test tests[HUB_TESTS_MAX];
    size_t count;
    const pc_json *ids; /* the only ids that can match: a string or an array; NULL: any */
    const char *label;  /* the only label that can match; NULL: any */
};

int hub_filter_init(struct hub_filter *filter, const pc_json *query, struct pc_err *err);
/* Of a task that has one of filter->ids, if there are any. */
bool hub_filter_matches(const struct hub_filter *filter, struct hub_store *store,
                        struct hub_task *task);

/* Whether the whole of `text` is like `pattern`, both UTF-8. */
bool hub_glob(const char *pattern, const char *text, size_t size);

#endif
