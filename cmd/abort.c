/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster abort: end tasks early, whoever submitted them. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/options.h"

#define TASKS_MAX 10000

struct choice {
    const char *label;
    bool all, interrupt;
    char **names;
    int name_count;
};

static pc_json *make_query(const struct choice *choice)
{
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "query", "abort");
    pc_json_put_bool(json, "anybody", true);
    pc_json_put_bool(json, "interrupt", choice->interrupt);
    if (choice->label)
        pc_json_put_str(json, "label", choice->label);
    if (choice->all)
        pc_json_put_bool(json, "all", true);
    if (choice->name_count) {
        pc_json *tasks = pc_json_array();
        for (int i = 0; i < choice->name_count; i++)
            pc_json_append_str(tasks, choice->names[i]);
        pc_json_put(json, "tasks", tasks);
    }
    return json;
}

static void show(const pc_json *reply, void *arg)
{
    const struct choice *choice = arg;
    long long unknown = (long long)pc_json_i64_or(reply, "unknown", 0);
    printf("aborted: %lld tasks that waited; %s: %lld that engines have\n",
           (long long)pc_json_i64_or(reply, "ended", 0),
           choice->interrupt ? "interrupted" : "will not begin",
           (long long)pc_json_i64_or(reply, "passed_on", 0));
    if (unknown)
        printf("%lld have ended already, or never were\n", unknown);
}

int cmd_abort(int argc, char **argv)
{
    struct ask_where where = {0};
    struct choice choice = {0};
    bool as_json = false;
    const struct option_row rows[] = {
        {0, "label", OPTION_TEXT, &choice.label, "TEXT", "every task with this label"},
        {0, "all", OPTION_SET, &choice.all, NULL, "every task"},
        {0, "interrupt", OPTION_SET, &choice.interrupt, NULL,
         "also interrupt those that run; an engine where that does not help is ended"},
        {0},
    };
    const struct option_page page = {
        .command = "abort",
        .operands = "[MSG_ID ...]",
        .about = "Takes back tasks of any client: those that have not begun never will.",
        .rows = rows,
        .shared = {{ask_name_rows, &where}, {ask_file_rows, &where}, {option_json_rows, &as_json}},
        .operand_max = TASKS_MAX,
    };
    int exit_code;
    int first = options_read(&page, argc, argv, &exit_code);
    if (first < 0)
        return exit_code;
    choice.names = argv + first;
    choice.name_count = argc - first;
    if ((choice.label != NULL) + choice.all + (choice.name_count > 0) != 1) {
        command_error("abort", "say which tasks: by their ids, with --label, or --all");
        return CMD_USAGE;
    }
    return ask_once("abort", &where, make_query(&choice), as_json ? NULL : show, &choice);
}
