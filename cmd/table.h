/* SPDX-License-Identifier: BSD-3-Clause */
/* What commands print: rows of text in aligned columns, or JSON. */
#ifndef PC_CMD_TABLE_H
#define PC_CMD_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/json.h"

#define TABLE_COLUMNS_MAX 12

struct table {
    size_t column_count;
    const char *const *titles; /* one that begins with '>' stands over a right-aligned column */
    char **cells;              /* row by row */
    size_t cell_count;
};

void table_init(struct table *table, const char *const *titles, size_t column_count);
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_print(const struct table *table);
void table_fini(struct table *table);

void json_show(const pc_json *json);

/* "812 B", "3.1 MB"; "-" below zero. */
void size_text(int64_t bytes, char *text, size_t size);

#endif
