/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster task: what the hub remembers of tasks, of all clients. */
#include "cmd/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/group.h"
#include "cmd/options.h"
#include "cmd/table.h"
#include "lib/clock.h"

#define LIMIT     20
#define LIMIT_MAX 1000000

int task_id_read(const char *text, struct pc_task_id *id)
{
    int end = 0;
    if (strlen(text) < 18 || text[16] != '_' ||
        sscanf(text, "%16" SCNx64 "_%" SCNu64 "%n", &id->session, &id->sequence, &end) != 2 ||
        text[end])
        return -1;
    return 0;
}

/* Asks as long as there is a next page; `take` gets each. Takes the question. NULL error: done. */
static int ask_pages(struct pc_client *client, pc_json *question, long limit,
                     void (*take)(const pc_json *reply, void *into), void *into, struct pc_err *err)
{
    int64_t next = 0;
    do {
        pc_json *page = pc_json_copy(question);
        if (next)
            pc_json_put_i64(page, "after", next);
        if (limit >= 0)
            pc_json_put_i64(page, "limit", limit);
        pc_json *reply = ask_json(client, page, ASK_TIMEOUT_MS, err);
        if (!reply)
            break;
        take(reply, into);
        if (limit >= 0)
            limit -= (long)pc_json_count(pc_json_member(reply, "rows"));
        next = limit ? pc_json_i64_or(reply, "next", 0) : 0;
        pc_json_free(reply);
        if (!next) {
            pc_json_free(question);
            return 0;
        }
    } while (true);
    pc_json_free(question);
    return -1;
}

static void take_rows(const pc_json *reply, void *into)
{
    const pc_json *rows = pc_json_member(reply, "rows");
    for (const pc_json *row = pc_json_first(rows); row; row = pc_json_next(row))
        pc_json_append(into, pc_json_copy(row));
}

/* ---- list ------------------------------------------------------------------------------- */

static void add_time(struct table *table, const pc_json *row)
{
    char text[32] = "-";
    int64_t us = pc_json_i64_or(row, "submitted", 0);
    time_t seconds = (time_t)(us / 1000000);
    struct tm local;
    if (us && localtime_r(&seconds, &local))
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
    table_add(table, "%s", text);
}

static void add_duration(struct table *table, const pc_json *row)
{
    int64_t started = pc_json_i64_or(row, "started", 0);
    int64_t completed = pc_json_i64_or(row, "completed", 0);
    if (started && completed >= started)
        table_add(table, "%.3f s", (double)(completed - started) / 1e6);
    else
        table_add(table, "-");
}

static void print_list(const pc_json *rows)
{
    static const char *const titles[] = {"id",    "kind",      "state",    ">engine",
                                         "label", "submitted", ">running", ">result"};
    struct table table;
    char bytes[32];
    table_init(&table, titles, sizeof(titles) / sizeof(titles[0]));
    for (const pc_json *row = pc_json_first(rows); row; row = pc_json_next(row)) {
        int64_t engine = pc_json_i64_or(row, "engine_id", -1);
        size_text(pc_json_i64_or(row, "result_bytes", -1), bytes, sizeof(bytes));
        table_add(&table, "%s", pc_json_str_or(row, "msg_id", "?"));
        table_add(&table, "%s", pc_json_str_or(row, "kind", "?"));
        table_add(&table, "%s", pc_json_str_or(row, "state", "?"));
        if (engine < 0)
            table_add(&table, "-");
        else
            table_add(&table, "%lld", (long long)engine);
        table_add(&table, "%s", pc_json_str_or(row, "label", "-"));
        add_time(&table, row);
        add_duration(&table, row);
        table_add(&table, "%s", bytes);
    }
    table_print(&table);
    table_fini(&table);
}

static pc_json *list_question(const char *label, const char *state, long engine)
{
    static const char *const keys[] = {"msg_id",  "kind",      "state",        "engine_id", "label",
                                       "started", "completed", "result_bytes", "submitted"};
    pc_json *question = pc_json_object(), *filter = pc_json_object(), *names = pc_json_array();
    if (label) {
        pc_json *like = pc_json_object();
        pc_json_put_str(like, strpbrk(label, "*?[") ? "$glob" : "$eq", label);
        pc_json_put(filter, "label", like);
    }
    if (state)
        pc_json_put_str(filter, "state", state);
    if (engine >= 0)
        pc_json_put_i64(filter, "engine_id", engine);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        pc_json_append_str(names, keys[i]);
    pc_json_put_str(question, "query", "find");
    pc_json_put(question, "filter", filter);
    pc_json_put(question, "keys", names);
    pc_json_put_bool(question, "newest", true);
    return question;
}

static int task_list(int argc, char **argv)
{
    struct ask_where where = {0};
    const char *label = NULL, *state = NULL;
    long limit = LIMIT, engine = -1;
    bool as_json = false;
    const struct option_row rows[] = {
        {'n', "limit", OPTION_NUMBER, &limit, "N", "how many (default: 20)", .min = 1,
         .max = LIMIT_MAX},
        {0, "label", OPTION_TEXT, &label, "PATTERN",
         "those with this label; * and ? as in a shell"},
        {0, "state", OPTION_CHOICE, &state, "STATE", "those that are waiting running done failed",
         .choices = "waiting running done failed"},
        {0, "engine", OPTION_NUMBER, &engine, "ID", "those of this engine", .min = 0,
         .max = UINT32_MAX - 1},
        {0},
    };
    const struct option_page page = {
        .command = "task list",
        .operands = "",
        .about = "Lists the latest tasks of all clients, newest first.",
        .rows = rows,
        .shared = {{ask_name_rows, &where}, {ask_file_rows, &where}, {option_json_rows, &as_json}},
    };
    struct pc_client *client;
    struct pc_err err;
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    if (ask_connect(&client, &where, &err) < 0)
        return ask_error("task list", &err);
    pc_json *found = pc_json_array();
    exit_code = CMD_OK;
    if (ask_pages(client, list_question(label, state, engine), limit, take_rows, found, &err) < 0)
        exit_code = ask_error("task list", &err);
    else if (as_json)
        json_show(found);
    else if (pc_json_count(found))
        print_list(found);
    else
        puts("no tasks");
    pc_client_close(client);
    pc_json_free(found);
    return exit_code;
}

/* ---- show ------------------------------------------------------------------------------- */

static void print_one(const pc_json *row)
{
    for (const pc_json *item = pc_json_first(row); item; item = pc_json_next(item)) {
        const char *name = pc_json_name(item), *text = pc_json_text(item);
        if (pc_json_is_null(item) || (text && !text[0]))
            continue;
        bool has_lines = text && strchr(text, '\n');
        printf("%-13s ", name);
        if (has_lines)
            printf("\n%s%s", text, text[strlen(text) - 1] == '\n' ? "" : "\n");
        else if (text)
            puts(text);
        else if (pc_json_is_array(item))
            for (const pc_json *id = pc_json_first(item); id; id = pc_json_next(id))
                printf("%s%s", pc_json_text(id), pc_json_next(id) ? " " : "\n");
        else
            printf("%.0f\n", pc_json_number(item));
    }
}

static int task_show(int argc, char **argv)
{
    struct ask_where where = {0};
    bool as_json = false;
    const struct option_page page = {
        .command = "task show",
        .operands = "ID",
        .about = "Shows all that is known of a task. Times are microseconds since 1970, UTC.",
        .shared = {{ask_name_rows, &where}, {ask_file_rows, &where}, {option_json_rows, &as_json}},
        .operand_min = 1,
        .operand_max = 1,
    };
    struct pc_client *client;
    struct pc_err err;
    int exit_code;
    int first = options_read(&page, argc, argv, &exit_code);
    if (first < 0)
        return exit_code;
    if (ask_connect(&client, &where, &err) < 0)
        return ask_error("task show", &err);
    pc_json *found = pc_json_array(), *filter = pc_json_object(), *question = pc_json_object();
    pc_json_put_str(filter, "msg_id", argv[first]);
    pc_json_put_str(question, "query", "find");
    pc_json_put(question, "filter", filter);
    exit_code = CMD_OK;
    if (ask_pages(client, question, -1, take_rows, found, &err) < 0) {
        exit_code = ask_error("task show", &err);
    } else if (!pc_json_count(found)) {
        command_error("task show", "the hub knows no task '%s'", argv[first]);
        exit_code = CMD_FAILED;
    } else if (as_json) {
        pc_json *row = pc_json_copy(pc_json_first(found));
        json_show(row);
        pc_json_free(row);
    } else {
        print_one(pc_json_first(found));
    }
    pc_client_close(client);
    pc_json_free(found);
    return exit_code;
}

/* ---- purge ------------------------------------------------------------------------------ */

static void add_purged(const pc_json *reply, void *into)
{
    *(int64_t *)into += pc_json_i64_or(reply, "purged", 0);
}

static int task_purge(int argc, char **argv)
{
    struct ask_where where = {0};
    bool is_all = false, as_json = false;
    const struct option_row rows[] = {
        {0, "all", OPTION_SET, &is_all, NULL, "every task that has ended"},
        {0},
    };
    const struct option_page page = {
        .command = "task purge",
        .operands = "[ID...]",
        .about = "Makes the hub forget tasks that have ended.",
        .rows = rows,
        .shared = {{ask_name_rows, &where}, {ask_file_rows, &where}, {option_json_rows, &as_json}},
        .operand_max = 4000,
    };
    struct pc_client *client;
    struct pc_err err;
    int exit_code;
    int64_t purged = 0;
    int first = options_read(&page, argc, argv, &exit_code);
    if (first < 0)
        return exit_code;
    if (is_all == (first < argc)) {
        command_error("task purge", "name tasks, or say --all");
        return CMD_USAGE;
    }
    if (ask_connect(&client, &where, &err) < 0)
        return ask_error("task purge", &err);
    pc_json *question = pc_json_object(), *ids = pc_json_array();
    for (int i = first; i < argc; i++)
        pc_json_append_str(ids, argv[i]);
    pc_json_put_str(question, "query", "purge");
    pc_json_put_bool(question, "all", is_all);
    pc_json_put(question, "tasks", ids);
    int failed = ask_pages(client, question, -1, add_purged, &purged, &err);
    pc_client_close(client);
    if (failed)
        return ask_error("task purge", &err);
    printf(as_json ? "{\"purged\": %" PRId64 "}\n" : "%" PRId64 " tasks forgotten\n", purged);
    return CMD_OK;
}

/* ---- the table -------------------------------------------------------------------------- */

const struct cmd task_commands[] = {
    {"list", task_list, "the latest tasks of all clients"},
    {"show", task_show, "all that is known of one"},
    {"result", cmd_task_result, "what it printed and returned"},
    {"purge", task_purge, "forget tasks that have ended"},
    {0},
};

int cmd_task(int argc, char **argv)
{
    static const struct group group = {
        .name = "task",
        .about = "What the hub remembers of tasks, of all clients.",
        .commands = task_commands,
    };
    return group_run(&group, argc, argv);
}
