/* SPDX-License-Identifier: BSD-3-Clause */
/* The one executable: a table of its subcommands, and no logic. */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "lib/spawn.h"

const struct cmd cmd_table[] = {
    {"start", cmd_start, "start a cluster: controller and engines on this machine"},
    {"stop", cmd_stop, "stop a cluster"},
    {"status", cmd_status, "show a cluster: processes, engines, tasks"},
    {"engines", cmd_engines, "list engines, start more, end, restart or signal some",
     engines_commands},
    {"list", cmd_list, "list the clusters of all profiles"},
    {"exec", cmd_exec, "run code on engines and show what it prints"},
    {"abort", cmd_abort, "end tasks early"},
    {"task", cmd_task, "list tasks, show them, get their results", task_commands},
    {"sched", cmd_sched, "show and change how tasks are given to engines"},
    {"controller", cmd_controller, "start a controller without engines"},
    {"engine", cmd_engine, "start engines for a controller that runs already, anywhere"},
    {"bench", cmd_bench, "measure the scheduler without Python"},
    {"completion", cmd_completion, "print a script that lets a shell complete command lines"},
    {"config", cmd_config, "show the settings in force and where each came from"},
    {"install-service", cmd_install_service, "let the service manager of this user run a cluster"},
    {"version", cmd_version, "show the versions of pcluster and of what it is made with"},
    {0},
};

static void print_help(FILE *out)
{
    fputs("usage: pcluster COMMAND [options] [arguments]\n\n"
          "Interactive parallel computing for Python.\n\ncommands:\n",
          out);
    for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
        fprintf(out, "  %-15s %s\n", cmd->name, cmd->help);
    fputs("\n'pcluster COMMAND -h' shows the options of a command.\n"
          "exit codes: 0 done, 1 failed, 2 wrong usage, 11 nothing runs\n",
          out);
}

int main(int argc, char **argv)
{
    pc_open_standard();
    pc_title_init(argc, argv);
    if (argc == 3 && strcmp(argv[1], "--role") == 0)
        return cmd_role(argv[2]);
    if (argc < 2) {
        print_help(stderr);
        return CMD_USAGE;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return CMD_OK;
    }
    const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
        if (strcmp(cmd->name, name) == 0)
            return cmd->run(argc - 1, argv + 1);
    fprintf(stderr, "pcluster: no such command: '%s'; 'pcluster -h' lists them\n", name);
    return CMD_USAGE;
}
