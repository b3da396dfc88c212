/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"

void table_init(struct table *table, const char *const *titles, size_t column_count)
{
    *table = (struct table){.titles = titles, .column_count = column_count};
}

void table_add(struct table *table, const char *format, ...)
{
    va_list args;
    char *text;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0)
        pc_fatal(1, "out of memory");
    table->cells = pc_xrealloc(table->cells, table->cell_count + 1, sizeof(*table->cells));
    table->cells[table->cell_count++] = text;
}

static void print_cell(const char *text, int width, bool is_right, bool is_last)
{
    if (is_right)
        printf("%*s", width, text);
    else
        printf("%-*s", is_last ? 0 : width, text);
    fputs(is_last ? "\n" : "  ", stdout);
}

void table_print(const struct table *table)
{
    size_t columns = table->column_count;
    int widths[TABLE_COLUMNS_MAX];
    for (size_t c = 0; c < columns; c++) {
        const char *title = table->titles[c];
        widths[c] = (int)strlen(title) - (title[0] == '>');
        for (size_t i = c; i < table->cell_count; i += columns)
            if ((int)strlen(table->cells[i]) > widths[c])
                widths[c] = (int)strlen(table->cells[i]);
    }
    for (size_t c = 0; c < columns; c++) {
        bool is_right = table->titles[c][0] == '>';
        print_cell(table->titles[c] + is_right, widths[c], is_right, c + 1 == columns);
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t c = i % columns;
        print_cell(table->cells[i], widths[c], table->titles[c][0] == '>', c + 1 == columns);
    }
}

void table_fini(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
}

void json_show(const pc_json *json)
{
    char *text = pc_json_print_pretty(json);
    puts(text);
    free(text);
}

void size_text(int64_t bytes, char *text, size_t size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1000 && unit < 4) {
        value /= 1000;
        unit++;
    }
    if (bytes < 0)
        snprintf(text, size, "-");
    else
        snprintf(text, size, "%.*f %s", unit > 0 && value < 100 ? 1 : 0, value, units[unit]);
}
