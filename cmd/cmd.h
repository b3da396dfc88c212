/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The subcommands. Each is one function in the file of its name; what they share is in options.h
 * (reading the command line) and ask.h (finding and asking a cluster).
 */
#ifndef PC_CMD_CMD_H
#define PC_CMD_CMD_H

enum cmd_exit {
    CMD_OK = 0,
    CMD_FAILED = 1,
    CMD_USAGE = 2,
    CMD_NOTHING = 11, /* nothing runs that could be stopped, shown ... */
};

struct cmd {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand; returns enum cmd_exit */
    const char *help;                  /* one line */
    const struct cmd *more;            /* commands of its own, which have the options; or NULL */
};

/* Both end with name NULL. */
extern const struct cmd cmd_table[];
extern const struct cmd engines_commands[];
extern const struct cmd task_commands[];

int cmd_start(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_controller(int argc, char **argv);
int cmd_engine(int argc, char **argv);
int cmd_engines(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_abort(int argc, char **argv);
int cmd_sched(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_completion(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_task(int argc, char **argv);
int cmd_install_service(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* Hidden: a child of the parent, `pcluster --role NAME`. */
int cmd_role(const char *name);

#endif
