/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "lib/tags.h"

#define ROWS_MAX 24

void command_error(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "pcluster %s: ", command);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static bool takes_argument(const struct option_row *row)
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

static int read_number(const struct option_page *page, const struct option_row *row,
                       const char *text)
{
    char *end, name[64];
    errno = 0;
    long number = strtol(text, &end, 10);
    if (end == text || *end || errno == EINVAL) {
        command_error(page->command, "%s '%s' is not a whole number", shown_name(row, name), text);
        return -1;
    }
    if (errno == ERANGE || number < row->min || number > row->max) {
        command_error(page->command, "%s %s is out of range: %ld to %ld are possible",
                      shown_name(row, name), text, row->min, row->max);
        return -1;
    }
    *(long *)row->value = number;
    return 0;
}

static int take(const struct option_page *page, const struct option_row *row, const char *text)
{
    char name[64];
    struct pc_err err;
    switch (row->kind) {
    case OPTION_SET:
    case OPTION_CLEAR:
        *(bool *)row->value = row->kind == OPTION_SET;
        return 0;
    case OPTION_TEXT:
        *(const char **)row->value = text;
        return 0;
    case OPTION_TAGS:
        if (pc_tags_add(row->value, text, &err) == 0)
            return 0;
        command_error(page->command, "%s", err.text);
        return -1;
    case OPTION_NUMBER:
        return read_number(page, row, text);
    case OPTION_CHOICE:
        if (is_choice(row->choices, text)) {
            *(const char **)row->value = text;
            return 0;
        }
        command_error(page->command, "%s '%s' is not one of: %s", shown_name(row, name), text,
                      row->choices);
        return -1;
    }
    return -1;
}

/* ---- the line --------------------------------------------------------------------------- */

/* getopt's tables, from ours. Codes from 256 up are row numbers. */
static int make_tables(const struct option_row *rows, struct option *names, char *letters)
{
    int count = 0;
    *letters++ = ':';
    *letters++ = 'h';
    for (; rows[count].name && count < ROWS_MAX; count++) {
        int has_arg = takes_argument(&rows[count]) ? required_argument : no_argument;
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

int options_read(const struct option_page *page, int argc, char **argv, int *exit_code)
{
    struct option names[ROWS_MAX + 2];
    char letters[2 * ROWS_MAX + 3];
    int count = make_tables(page->rows, names, letters);
    *exit_code = CMD_USAGE;
    opterr = 0;
    optind = 1;
    for (;;) {
        int at = optind;
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
        if (take(page, row, optarg) < 0)
            return -1;
    }
    int given = argc - optind;
    if (given > page->operand_max)
        return usage_error(page, "too many arguments:", argv[optind + page->operand_max]);
    if (given < page->operand_min) {
        command_error(page->command, "%s is missing; 'pcluster %s -h' shows what is possible",
                      page->operands, page->command);
        return -1;
    }
    return optind;
}
