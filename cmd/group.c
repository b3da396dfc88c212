/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/group.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cmd/options.h"

static void print_commands(const struct group *group, FILE *out)
{
    fprintf(out, "usage: pcluster %s %s [options] [arguments]\n\n%s\n\ncommands:\n", group->name,
            group->plain ? "[COMMAND]" : "COMMAND", group->about);
    for (const struct cmd *cmd = group->commands; cmd->name; cmd++)
        fprintf(out, "  %-12s %s\n", cmd->name, cmd->help);
}

/* With the options of each. */
static int print_help(const struct group *group, char *help)
{
    print_commands(group, stdout);
    for (const struct cmd *cmd = group->commands; cmd->name; cmd++) {
        char *page[] = {(char *)(uintptr_t)cmd->name, help, NULL};
        putchar('\n');
        cmd->run(2, page);
    }
    return CMD_OK;
}

int group_run(const struct group *group, int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0))
        return print_help(group, argv[1]);
    for (const struct cmd *cmd = group->commands; argc > 1 && cmd->name; cmd++)
        if (strcmp(cmd->name, argv[1]) == 0)
            return cmd->run(argc - 1, argv + 1);
    if (group->plain && (argc < 2 || argv[1][0] == '-'))
        return group->plain(argc, argv);
    if (argc > 1) {
        command_error(group->name, "no such command: '%s'; 'pcluster %s -h' lists them", argv[1],
                      group->name);
        return CMD_USAGE;
    }
    print_commands(group, stderr);
    fprintf(stderr, "\n'pcluster %s -h' shows their options.\n", group->name);
    return CMD_USAGE;
}
