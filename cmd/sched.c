/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster sched: show and change how a running scheduler chooses engines, and its limits. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/table.h"

/* What is given is changed; -1 and NULL: not given. */
struct change {
    const char *scheme;
    long hwm, max_tasks, max_bytes;
};

static pc_json *make_query(const struct change *change)
{
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "query", "sched");
    if (change->scheme)
        pc_json_put_str(json, "scheme", change->scheme);
    if (change->hwm >= 0)
        pc_json_put_i64(json, "hwm", change->hwm);
    if (change->max_tasks >= 0)
        pc_json_put_i64(json, "max_tasks", change->max_tasks);
    if (change->max_bytes >= 0)
        pc_json_put_i64(json, "max_bytes", change->max_bytes);
    return json;
}

static void show_clients(const pc_json *clients)
{
    static const char *const titles[] = {"client", ">tasks", ">bytes", ""};
    char bytes[32];
    struct table table;
    table_init(&table, titles, 4);
    for (const pc_json *row = pc_json_first(clients); row; row = pc_json_next(row)) {
        long long tasks = (long long)pc_json_i64_or(row, "tasks", 0);
        if (tasks == 0)
            continue;
        size_text(pc_json_i64_or(row, "bytes", 0), bytes, sizeof(bytes));
        table_add(&table, "%s", pc_json_str_or(row, "session", "?"));
        table_add(&table, "%lld", tasks);
        table_add(&table, "%s", bytes);
        table_add(&table, "%s", pc_json_bool_or(row, "connected", true) ? "" : "gone");
    }
    if (table.cell_count)
        table_print(&table);
    table_fini(&table);
}

static void show(const pc_json *reply, void *arg)
{
    char bytes[32];
    size_text(pc_json_i64_or(reply, "max_bytes", 0), bytes, sizeof(bytes));
    printf("scheme %s, hwm %lld, %lld tasks wait for an engine\n",
           pc_json_str_or(reply, "scheme", "?"), (long long)pc_json_i64_or(reply, "hwm", 0),
           (long long)pc_json_i64_or(reply, "waiting", 0));
    printf("each client may have %lld tasks unfinished, with %s\n",
           (long long)pc_json_i64_or(reply, "max_tasks", 0), bytes);
    show_clients(pc_json_member(reply, "clients"));
}

int cmd_sched(int argc, char **argv)
{
    struct ask_where where = {0};
    struct change change = {.hwm = -1, .max_tasks = -1, .max_bytes = -1};
    bool as_json = false;
    const struct option_row rows[] = {
        {0, "scheme", OPTION_CHOICE, &change.scheme, "NAME", "choose engines by: " OPTIONS_SCHEMES,
         .choices = OPTIONS_SCHEMES},
        {0, "hwm", OPTION_NUMBER, &change.hwm, "N", "tasks outstanding per engine; 0: no limit",
         .min = 0, .max = OPTIONS_HWM_MAX},
        {0, "max-tasks", OPTION_NUMBER, &change.max_tasks, "N",
         "tasks that a client may have unfinished", .min = 1, .max = OPTIONS_TASKS_MAX},
        {0, "max-bytes", OPTION_SIZE, &change.max_bytes, "SIZE",
         "bytes that these may have: 64K, 2G ...", .min = OPTIONS_BYTES_MIN,
         .max = OPTIONS_BYTES_MAX},
        {0},
    };
    const struct option_page page = {
        .command = "sched",
        .operands = "",
        .about = "Shows how the scheduler of a running cluster places tasks and what it admits,\n"
                 "and changes it.",
        .rows = rows,
        .shared = {{ask_name_rows, &where}, {ask_file_rows, &where}, {option_json_rows, &as_json}},
    };
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    return ask_once("sched", &where, make_query(&change), as_json ? NULL : show, NULL);
}
