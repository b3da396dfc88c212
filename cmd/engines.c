/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pcluster engines: those of a running cluster, on all of its machines; more of them; and an end, a
 * restart or a signal for some.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/group.h"
#include "cmd/options.h"
#include "cmd/order.h"
#include "cmd/table.h"
#include "parent/parent.h"

/* ---- list ------------------------------------------------------------------------------- */

/* Without those that are listed because of how they ended. */
static pc_json *engines_there(const pc_json *status)
{
    pc_json *there = pc_json_array();
    const pc_json *row = pc_json_first(pc_json_member(status, "engines"));
    for (; row; row = pc_json_next(row))
        if (ask_is_up(row))
            pc_json_append(there, pc_json_copy(row));
    return there;
}

static void show_json(const pc_json *status, void *unused)
{
    pc_json *there = engines_there(status);
    json_show(there);
    pc_json_free(there);
}

static void show_table(const pc_json *status, void *unused)
{
    static const char *const titles[] = {">id",  ">pid", "state",   "host",
                                         "uuid", "tags", ">memory", ">queue"};
    pc_json *there = engines_there(status);
    struct table table;
    char text[256];
    table_init(&table, titles, sizeof(titles) / sizeof(titles[0]));
    for (const pc_json *row = pc_json_first(there); row; row = pc_json_next(row)) {
        table_add(&table, "%lld", (long long)pc_json_i64_or(row, "id", 0));
        table_add(&table, "%lld", (long long)pc_json_i64_or(row, "pid", 0));
        table_add(&table, "%s", pc_json_str_or(row, "state", "?"));
        table_add(&table, "%s", pc_json_str_or(row, "host", "?"));
        table_add(&table, "%s", pc_json_str_or(row, "uuid", "?"));
        ask_tags_text(row, text, sizeof(text));
        table_add(&table, "%s", text[0] ? text : "-");
        size_text(pc_json_i64_or(row, "memory_bytes", -1), text, sizeof(text));
        table_add(&table, "%s", text);
        table_add(&table, "%lld", (long long)pc_json_i64_or(row, "queue", 0));
    }
    if (table.cell_count)
        table_print(&table);
    else
        puts("no engines");
    table_fini(&table);
    pc_json_free(there);
}

static int engines_list(int argc, char **argv)
{
    struct ask_where where = {0};
    bool as_json = false;
    const struct option_page page = {
        .command = "engines list",
        .operands = "",
        .about = "Lists the engines of a cluster, on all machines.",
        .shared = {{ask_name_rows, &where}, {ask_file_rows, &where}, {option_json_rows, &as_json}},
    };
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    pc_json *query = pc_json_object();
    pc_json_put_str(query, "query", "status");
    return ask_once("engines list", &where, query, as_json ? show_json : show_table, NULL);
}

/* ---- add -------------------------------------------------------------------------------- */

static int engines_add(int argc, char **argv)
{
    struct order order = {.command = "engines add", .query = "start_engines"};
    const char *host = NULL;
    long count = 0;
    const struct option_row number = {
        .kind = OPTION_NUMBER, .value = &count, .min = 1, .max = PARENT_ENGINES_MAX};
    const struct option_row rows[] = {
        {0, "host", OPTION_TEXT, &host, "NAME",
         "on that machine, where 'pcluster engine' runs (default: that of the controller)"},
        {0},
    };
    const struct option_page page = {
        .command = "engines add",
        .operands = "N",
        .about = "Starts more engines, like those that are there.",
        .rows = rows,
        .shared = {ORDER_GROUPS(order)},
        .operand_min = 1,
        .operand_max = 1,
    };
    struct pc_err err;
    int exit_code, first = options_read(&page, argc, argv, &exit_code);
    if (first < 0)
        return exit_code;
    if (option_take(&number, argv[first], "N", &err) < 0) {
        command_error("engines add", "%s", err.text);
        return CMD_USAGE;
    }
    order.fresh_count = (size_t)count;
    pc_json *details = pc_json_object();
    pc_json_put_i64(details, "count", count);
    if (host)
        pc_json_put_str(details, "host", host);
    return order_give(&order, details);
}

/* ---- stop, restart ---------------------------------------------------------------------- */

static int end_engines(struct order *order, const char *about, int argc, char **argv)
{
    order->will_end = true;
    order->grace_s = ORDER_GRACE_S;
    const struct option_row rows[] = {
        {0, "grace", OPTION_NUMBER, &order->grace_s, "SECONDS",
         "so long the task that runs may go on (default: 2)", .min = 0, .max = 86400},
        {0},
    };
    const struct option_page page = {
        .command = order->command,
        .operands = "TARGETS",
        .about = about,
        .rows = rows,
        .shared = {ORDER_GROUPS(*order)},
        .operand_min = 1,
        .operand_max = 1,
    };
    int exit_code, first = options_read(&page, argc, argv, &exit_code);
    if (first < 0)
        return exit_code;
    order->targets = argv[first];
    pc_json *details = pc_json_object();
    pc_json_put_i64(details, "grace_ms", order->grace_s * 1000);
    return order_give(order, details);
}

static int engines_stop(int argc, char **argv)
{
    struct order order = {.command = "engines stop", .query = "stop_engines", .done = "stopped"};
    return end_engines(&order, "Ends engines: all, or those of a list like 0-3,7.", argc, argv);
}

static int engines_restart(int argc, char **argv)
{
    struct order order = {.command = "engines restart",
                          .query = "restart_engines",
                          .done = "stopped",
                          .will_replace = true};
    return end_engines(&order,
                       "Ends engines, all or those of a list like 0-3,7, and starts as many. The "
                       "new ones\nhave new ids and empty namespaces.",
                       argc, argv);
}

/* ---- signal ----------------------------------------------------------------------------- */

/* "INT", "SIGINT", "2"; 0 when it is none. */
static int signal_number(const char *text)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (end != text && !*end && !errno && number > 0 && number <= SIGRTMAX)
        return (int)number;
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (int i = 1; i < NSIG; i++) {
        const char *name = sigabbrev_np(i);
        if (name && strcasecmp(name, text) == 0)
            return i;
    }
    return 0;
}

static int engines_signal(int argc, char **argv)
{
    struct order order = {
        .command = "engines signal", .query = "signal_engines", .done = "signalled"};
    const struct option_page page = {
        .command = "engines signal",
        .operands = "SIGNAL TARGETS",
        .about = "Sends a signal, by number or as INT, USR1 ..., to the processes of engines: all, "
                 "or those\nof a list like 0-3,7.",
        .shared = {{ask_name_rows, &order.where},
                   {ask_file_rows, &order.where},
                   {option_json_rows, &order.as_json}},
        .operand_min = 2,
        .operand_max = 2,
    };
    int exit_code, first = options_read(&page, argc, argv, &exit_code);
    if (first < 0)
        return exit_code;
    int number = signal_number(argv[first]);
    if (number == 0) {
        command_error("engines signal", "there is no signal '%s'; INT, TERM, 15 ... are ones",
                      argv[first]);
        return CMD_USAGE;
    }
    order.targets = argv[first + 1];
    pc_json *details = pc_json_object();
    pc_json_put_i64(details, "signal", number);
    return order_give(&order, details);
}

/* ---- the table -------------------------------------------------------------------------- */

const struct cmd engines_commands[] = {
    {"list", engines_list, "the engines that are there; also what 'pcluster engines' does"},
    {"add", engines_add, "start more"},
    {"stop", engines_stop, "end some"},
    {"restart", engines_restart, "end some and start as many"},
    {"signal", engines_signal, "send them a signal"},
    {0},
};

int cmd_engines(int argc, char **argv)
{
    static const struct group group = {
        .name = "engines",
        .about = "Shows and changes the engines of a running cluster.",
        .commands = engines_commands,
        .plain = engines_list,
    };
    return group_run(&group, argc, argv);
}
