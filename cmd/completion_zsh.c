/* SPDX-License-Identifier: BSD-3-Clause */
/* The script for zsh: a case for each command, whose options are specs for _arguments. */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/completion.h"

static const char head[] =
    "#compdef pcluster\n"
    "# Completion of pcluster for zsh, made by 'pcluster completion zsh'.\n"
    "\n"
    "# What there is now: profiles, clusters, engines or tasks, where the line says.\n"
    "_pcluster_ask() {\n"
    "  local -a where found\n"
    "  local option\n"
    "  for option in --profile --profile-dir --cluster-id --file; do\n"
    "    [[ -n ${opt_args[$option]} ]] && where+=($option ${(Q)opt_args[$option]})\n"
    "  done\n"
    "  found=(${(f)\"$(_call_program $@[-1] pcluster completion $@[-1] $where 2>/dev/null)\"})\n"
    "  compadd \"${@[1,-2]}\" -a found\n"
    "}\n"
    "\n"
    "_pcluster_command() {\n"
    "  case $1 in\n";

static const char tail[] = "  esac\n"
                           "}\n"
                           "\n"
                           "_pcluster() {\n"
                           "  local curcontext=$curcontext state line\n"
                           "  local -A opt_args\n"
                           "  _arguments -C '1:command:->command' '*::argument:->argument'\n"
                           "  case $state in\n"
                           "  command) _pcluster_command '' ;;\n"
                           "  argument) _pcluster_command $words[1] ;;\n"
                           "  esac\n"
                           "}\n"
                           "\n"
                           "_pcluster \"$@\"\n";

/* Within '[...]' of a spec, and single quotes. */
static void print_help(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (*text == '[' || *text == ']' || *text == '\\' || *text == ':')
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

/* The action of a spec. */
static void print_action(enum completion completion, const char *words)
{
    const char *question = completion_question(completion);
    if (question)
        printf("_pcluster_ask %s", question);
    else if (completion == COMPLETION_FILES)
        fputs("_files", stdout);
    else if (completion == COMPLETION_WORDS)
        printf("(%s)", words);
    else
        putchar(' ');
}

static void print_spec(const char *name, const struct option_row *row)
{
    const char *words = NULL;
    printf(" \\\n      '%s[", name);
    print_help(row->help);
    putchar(']');
    if (option_has_argument(row)) {
        putchar(':');
        print_help(row->arg);
        putchar(':');
        enum completion completion = completion_of_row(row, &words);
        print_action(completion, words);
    }
    putchar('\'');
}

static void print_page(const struct option_page *page, void *unused)
{
    char name[64];
    const char *words = NULL;
    printf("  '%s')\n    _arguments -s", page->command);
    for (const struct option_row *row = page->rows; row->name; row++) {
        if (row->letter) {
            snprintf(name, sizeof(name), "-%c", row->letter);
            print_spec(name, row);
        }
        snprintf(name, sizeof(name), "--%s%s", row->name, option_has_argument(row) ? "=" : "");
        print_spec(name, row);
    }
    fputs(" \\\n      '(- *)'{-h,--help}'[show a help text]'", stdout);
    if (page->operand_max > 0) {
        printf(" \\\n      '*:");
        print_help(page->operands);
        putchar(':');
        enum completion completion = completion_of_operands(page, &words);
        print_action(completion, words);
        putchar('\'');
    }
    puts("\n    ;;");
}

static void print_commands(const struct cmd *commands)
{
    puts("    local -a commands=(");
    for (const struct cmd *cmd = commands; cmd->name; cmd++) {
        printf("      '%s:", cmd->name);
        print_help(cmd->help);
        puts("'");
    }
    puts("    )\n    _describe command commands\n    ;;");
}

/* A command with commands of its own. */
static void print_group(const struct cmd *group)
{
    printf("  %s)\n"
           "    if (( CURRENT > 2 )); then\n"
           "      local name=\"$words[1] $words[2]\"\n"
           "      shift words\n"
           "      (( CURRENT-- ))\n"
           "      _pcluster_command $name\n"
           "      return\n"
           "    fi\n",
           group->name);
    print_commands(group->more);
    for (const struct cmd *cmd = group->more; cmd->name; cmd++)
        options_visit(cmd->run, print_page, NULL);
}

void completion_zsh(void)
{
    fputs(head, stdout);
    puts("  '')");
    print_commands(cmd_table);
    for (const struct cmd *cmd = cmd_table; cmd->name; cmd++) {
        if (cmd->more)
            print_group(cmd);
        else
            options_visit(cmd->run, print_page, NULL);
    }
    fputs(tail, stdout);
}
