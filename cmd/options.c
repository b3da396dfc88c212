/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/settings.h"
#include "lib/tags.h"

const struct option_row option_json_rows[] = {
    {0, "json", OPTION_SET, NULL, NULL, "print JSON", .reach = OPTION_LINE_ONLY},
    {0},
};

/* While a command is asked for its page only. */
static struct {
    option_visit *visit;
    void *arg;
} visitor;

void options_visit(int (*run)(int argc, char **argv), option_visit *visit, void *arg)
{
    char *argv[] = {(char *)"", NULL};
    option_visit *outer = visitor.visit;
    void *outer_arg = visitor.arg;
    visitor.visit = visit;
    visitor.arg = arg;
    run(1, argv);
    visitor.visit = outer;
    visitor.arg = outer_arg;
}

void command_error(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "pcluster %s: ", command);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

bool option_has_argument(const struct option_row *row)
{
    return row->kind >= OPTION_TEXT;
}

/* ---- help ------------------------------------------------------------------------------- */

static void print_row(char letter, const char *name, const char *arg, const char *help)
{
    char left[64];
    int used = letter ? snprintf(left, sizeof(left), "-%c, --%s", letter, name)
                      : snprintf(left, sizeof(left), "    --%s", name);
    if (arg)
        snprintf(left + used, sizeof(left) - (size_t)used, " %s", arg);
    printf("  %-26s %s\n", left, help);
}

static void print_help(const struct option_page *page)
{
    printf("usage: pcluster %s [options]%s%s\n\n%s\n\noptions:\n", page->command,
           page->operands[0] ? " " : "", page->operands, page->about);
    for (const struct option_row *row = page->rows; row->name; row++)
        print_row(row->letter, row->name, row->arg, row->help);
    print_row('h', "help", NULL, "show this text");
}

/* ---- values ----------------------------------------------------------------------------- */

static bool is_choice(const char *choices, const char *text)
{
    size_t size = strlen(text);
    for (const char *at = choices; size > 0 && (at = strstr(at, text)); at += size)
        if ((at == choices || at[-1] == ' ') && (at[size] == ' ' || !at[size]))
            return true;
    return false;
}

/* As most people type it: "-n", else "--port". */
static const char *shown_name(const struct option_row *row, char text[64])
{
    if (row->letter)
        snprintf(text, 64, "-%c", row->letter);
    else
        snprintf(text, 64, "--%s", row->name);
    return text;
}

static int read_number(const struct option_row *row, const char *text, const char *shown,
                       long *number, struct pc_err *err)
{
    char *end;
    errno = 0;
    *number = strtol(text, &end, 10);
    if (end == text || *end || errno == EINVAL)
        return pc_err_set(err, PC_E_INVALID, "%s '%.80s' is not a whole number", shown, text);
    if (errno == ERANGE || *number < row->min || *number > row->max)
        return pc_err_set(err, PC_E_INVALID, "%s %.80s is out of range: %ld to %ld are possible",
                          shown, text, row->min, row->max);
    return 0;
}

/* "1000", "64K", "2G": bytes. */
static int read_size(const struct option_row *row, const char *text, const char *shown,
                     long *number, struct pc_err *err)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    long count = strtol(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (end == text || end[unit != NULL] || errno == EINVAL)
        return pc_err_set(err, PC_E_INVALID,
                          "%s '%.80s' is not a number of bytes like 1000, 64K, 2G", shown, text);
    if (errno == ERANGE || count < 0 || count > row->max >> shift || count << shift < row->min)
        return pc_err_set(err, PC_E_INVALID,
                          "%s %.80s is out of range: %ld to %ld bytes are possible", shown, text,
                          row->min, row->max);
    *number = count << shift;
    return 0;
}

static int read_flag(const char *text, const char *shown, bool *is_on, struct pc_err *err)
{
    *is_on = is_choice("yes true on 1", text);
    if (*is_on || is_choice("no false off 0", text))
        return 0;
    return pc_err_set(err, PC_E_INVALID, "%s '%.80s' is neither 'yes' nor 'no'", shown, text);
}

/* Checks, and with `gives` assigns. */
static int read_value(const struct option_row *row, const char *text, const char *shown, bool gives,
                      struct pc_err *err)
{
    char unused[PC_TAGS_MAX + 1] = "";
    struct pc_err why;
    long number = 0;
    bool is_on = true;
    switch (row->kind) {
    case OPTION_SET:
    case OPTION_CLEAR:
        if (text && read_flag(text, shown, &is_on, err) < 0)
            return -1;
        if (gives)
            *(bool *)row->value = is_on == (row->kind == OPTION_SET);
        return 0;
    case OPTION_TAGS:
        if (pc_tags_add(gives ? row->value : unused, text, &why) == 0)
            return 0;
        return pc_err_set(err, why.code, "%s: %s", shown, why.text);
    case OPTION_NUMBER:
    case OPTION_SIZE:
        if ((row->kind == OPTION_SIZE ? read_size : read_number)(row, text, shown, &number, err))
            return -1;
        if (gives)
            *(long *)row->value = number;
        return 0;
    case OPTION_CHOICE:
        if (!is_choice(row->choices, text))
            return pc_err_set(err, PC_E_INVALID, "%s '%.80s' is not one of: %s", shown, text,
                              row->choices);
        /* fall through */
    case OPTION_TEXT:
        if (gives)
            *(const char **)row->value = text;
        return 0;
    }
    return -1;
}

int option_take(const struct option_row *row, const char *text, const char *shown,
                struct pc_err *err)
{
    return read_value(row, text, shown, true, err);
}

int option_check(const struct option_row *row, const char *text, const char *shown,
                 struct pc_err *err)
{
    return read_value(row, text, shown, false, err);
}

/* ---- the line --------------------------------------------------------------------------- */

/* getopt's tables, from ours. Codes from 256 up are row numbers. */
static int make_tables(const struct option_row *rows, struct option *names, char *letters)
{
    int count = 0;
    *letters++ = ':';
    *letters++ = 'h';
    for (; rows[count].name && count < OPTION_ROWS_MAX; count++) {
        int has_arg = option_has_argument(&rows[count]) ? required_argument : optional_argument;
        names[count] = (struct option){rows[count].name, has_arg, NULL, 256 + count};
        if (!rows[count].letter)
            continue;
        *letters++ = rows[count].letter;
        if (has_arg)
            *letters++ = ':';
    }
    names[count] = (struct option){"help", no_argument, NULL, 'h'};
    names[count + 1] = (struct option){0};
    *letters = '\0';
    return count;
}

static const struct option_row *row_of(const struct option_row *rows, int code, int count)
{
    if (code >= 256)
        return &rows[code - 256];
    for (int i = 0; i < count; i++)
        if (rows[i].letter == code)
            return &rows[i];
    return NULL;
}

static int usage_error(const struct option_page *page, const char *what, const char *word)
{
    command_error(page->command, "%s '%s'; 'pcluster %s -h' shows what is possible", what, word,
                  page->command);
    return -1;
}

static int operands_error(const struct option_page *page, int given, const char *first_too_many)
{
    if (given > page->operand_max)
        return usage_error(page, "too many arguments:", first_too_many);
    command_error(page->command, "%s is missing; 'pcluster %s -h' shows what is possible",
                  page->operands, page->command);
    return -1;
}

/* The options. Returns the index of the first operand; negative when the command is over. */
static int read_line(const struct option_page *page, int argc, char **argv,
                     struct option_origin *origins, int *exit_code)
{
    struct option names[OPTION_ROWS_MAX + 2];
    char letters[2 * OPTION_ROWS_MAX + 3];
    int count = make_tables(page->rows, names, letters);
    struct pc_err err;
    opterr = 0;
    optind = 0; /* starts anew */
    for (;;) {
        char name[64];
        int at = optind ? optind : 1;
        int code = getopt_long(argc, argv, letters, names, NULL);
        if (code == -1)
            break;
        if (code == 'h') {
            print_help(page);
            *exit_code = CMD_OK;
            return -1;
        }
        if (code == ':')
            return usage_error(page, "no value given for", argv[at]);
        const struct option_row *row = code == '?' ? NULL : row_of(page->rows, code, count);
        if (!row)
            return usage_error(page, "no such option:", argv[at]);
        if (option_take(row, optarg, shown_name(row, name), &err) < 0) {
            command_error(page->command, "%s", err.text);
            return -1;
        }
        origins[row - page->rows].source = OPTION_FROM_LINE;
    }
    int given = argc - optind;
    if (given > page->operand_max || given < page->operand_min)
        return operands_error(page, given, argv[optind + page->operand_max]);
    return optind;
}

/* The page's own rows and those it shares, with addresses instead of offsets. */
static void gather(const struct option_page *page, struct option_row rows[OPTION_ROWS_MAX + 1])
{
    size_t count = 0;
    for (const struct option_row *row = page->rows; row && row->name; row++) {
        assert(count < OPTION_ROWS_MAX);
        rows[count++] = *row;
    }
    for (size_t i = 0; i < OPTION_GROUPS_MAX && page->shared[i].rows; i++) {
        const struct option_group *group = &page->shared[i];
        for (const struct option_row *row = group->rows; row->name; row++) {
            assert(count < OPTION_ROWS_MAX);
            rows[count] = *row;
            rows[count++].value = (char *)group->base + (uintptr_t)row->value;
        }
    }
    rows[count] = (struct option_row){0};
}

int options_read(const struct option_page *page, int argc, char **argv, int *exit_code)
{
    struct option_row rows[OPTION_ROWS_MAX + 1];
    struct option_page whole = *page;
    gather(page, rows);
    whole.rows = rows;
    memset(whole.shared, 0, sizeof(whole.shared));
    *exit_code = CMD_USAGE;
    if (visitor.visit) {
        visitor.visit(&whole, visitor.arg);
        return -1;
    }
    return options_fill(&whole, argc, argv, exit_code);
}

int options_fill(const struct option_page *page, int argc, char **argv, int *exit_code)
{
    struct option_origin origins[OPTION_ROWS_MAX] = {0};
    struct pc_err err;
    *exit_code = CMD_USAGE;
    int operand = read_line(page, argc, argv, origins, exit_code);
    if (operand >= 0 && settings_apply(page, origins, &err) < 0) {
        command_error(page->command, "%s", err.text);
        return -1;
    }
    return operand;
}
