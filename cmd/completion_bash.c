/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The script for bash: a fixed part that looks at the line, and three functions with a case for
 * each command, which say what its options are, what follows an option, and what its operands are.
 */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/completion.h"

static const char head[] =
    "# Completion of pcluster for bash, made by 'pcluster completion bash'.\n"
    "\n"
    "# What there is now: profiles, clusters, engines or tasks, where the line says.\n"
    "_pcluster_ask()\n"
    "{\n"
    "    local -a where=()\n"
    "    local i next\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        case ${COMP_WORDS[i]} in\n"
    "        --profile | --profile-dir | --cluster-id | --file)\n"
    "            next=$((i + 1))\n"
    "            [[ ${COMP_WORDS[next]} == = ]] && next=$((i + 2))\n"
    "            ((next < COMP_CWORD)) && where+=(\"${COMP_WORDS[i]}\" \"${COMP_WORDS[next]}\")\n"
    "            ;;\n"
    "        esac\n"
    "    done\n"
    "    \"${COMP_WORDS[0]}\" completion \"$1\" \"${where[@]}\" 2>/dev/null\n"
    "}\n";

static const char tail[] =
    "\n"
    "_pcluster()\n"
    "{\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
    "    local command=${COMP_WORDS[1]} found\n"
    "    COMPREPLY=()\n"
    "    if [[ $current == = ]]; then\n"
    "        current=\n"
    "    elif [[ $before == = ]]; then\n"
    "        before=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    fi\n"
    "    if ((COMP_CWORD == 1)); then\n"
    "        found=$(_pcluster_operands '')\n"
    "    else\n"
    "        [[ $COMP_CWORD -gt 2 && -n $(_pcluster_options \"$command ${COMP_WORDS[2]}\") ]] &&\n"
    "            command=\"$command ${COMP_WORDS[2]}\"\n"
    "        if ! found=$(_pcluster_values \"$command\" \"$before\"); then\n"
    "            case $current in\n"
    "            -*) found=$(_pcluster_options \"$command\") ;;\n"
    "            *) found=$(_pcluster_operands \"$command\") ;;\n"
    "            esac\n"
    "        fi\n"
    "    fi\n"
    "    if [[ $found == files ]]; then\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
    "    else\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$found\" -- \"$current\")\n"
    "    fi\n"
    "}\n"
    "\n"
    "complete -F _pcluster pcluster\n";

/* What prints the candidates, as a command of the shell. */
static void print_source(enum completion completion, const char *words)
{
    const char *question = completion_question(completion);
    if (question)
        printf("_pcluster_ask %s", question);
    else
        printf("echo '%s'", completion == COMPLETION_FILES ? "files" : words ? words : "");
}

static void print_names(const struct option_row *row, const char *between)
{
    if (row->letter)
        printf("-%c%s", row->letter, between);
    printf("--%s", row->name);
}

static void print_options(const struct option_page *page, void *unused)
{
    printf("    '%s') echo '", page->command);
    for (const struct option_row *row = page->rows; row->name; row++) {
        print_names(row, " ");
        putchar(' ');
    }
    puts("-h --help' ;;");
}

static void print_values(const struct option_page *page, void *unused)
{
    for (const struct option_row *row = page->rows; row->name; row++) {
        const char *words = NULL;
        if (!option_has_argument(row))
            continue;
        enum completion completion = completion_of_row(row, &words);
        if (row->letter)
            printf("    '%s -%c' | ", page->command, row->letter);
        else
            fputs("    ", stdout);
        printf("'%s --%s') ", page->command, row->name);
        print_source(completion, words);
        puts(" ;;");
    }
}

static void print_operands(const struct option_page *page, void *unused)
{
    const char *words = NULL;
    enum completion completion = completion_of_operands(page, &words);
    if (completion == COMPLETION_NONE)
        return;
    printf("    '%s') ", page->command);
    print_source(completion, words);
    puts(" ;;");
}

static void print_commands(const char *name, const struct cmd *commands)
{
    printf("    '%s') echo '", name);
    for (const struct cmd *cmd = commands; cmd->name; cmd++)
        printf("%s%s", cmd->name, cmd[1].name ? " " : "");
    puts("' ;;");
}

/* For each command that has options. */
static void each(option_visit *visit)
{
    for (const struct cmd *cmd = cmd_table; cmd->name; cmd++) {
        if (!cmd->more)
            options_visit(cmd->run, visit, NULL);
        for (const struct cmd *sub = cmd->more; sub && sub->name; sub++)
            options_visit(sub->run, visit, NULL);
    }
}

static void begin(const char *name, const char *about, const char *word)
{
    printf("\n# %s\n%s()\n{\n    case %s in\n", about, name, word);
}

void completion_bash(void)
{
    fputs(head, stdout);
    begin("_pcluster_options", "The options of a command.", "$1");
    each(print_options);
    puts("    esac\n}");
    begin("_pcluster_values", "What follows an option; fails when nothing must.", "\"$1 $2\"");
    each(print_values);
    puts("    *) return 1 ;;\n    esac\n}");
    begin("_pcluster_operands", "What else a command takes.", "$1");
    print_commands("", cmd_table);
    for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
        if (cmd->more)
            print_commands(cmd->name, cmd->more);
    each(print_operands);
    puts("    esac\n}");
    fputs(tail, stdout);
}
