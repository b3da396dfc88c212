/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster status: one cluster, as it says itself. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/table.h"
#include "lib/clock.h"

#define DEATHS_SHOWN 5

static long long number(const pc_json *object, const char *name)
{
    return object ? (long long)pc_json_i64_or(object, name, 0) : 0;
}

static void print_store(const pc_json *store)
{
    char bytes[32], limit[32];
    size_text(pc_json_i64_or(store, "bytes", -1), bytes, sizeof(bytes));
    size_text(pc_json_i64_or(store, "limit_bytes", -1), limit, sizeof(limit));
    printf("store    %s: %lld of %lld tasks, %s of %s", pc_json_str_or(store, "kind", "?"),
           number(store, "tasks"), number(store, "limit_tasks"), bytes, limit);
    if (number(store, "limit_age_s"))
        printf(", up to %lld s old", number(store, "limit_age_s"));
    if (number(store, "dropped_tasks") || number(store, "dropped_results"))
        printf("; dropped %lld tasks, %lld results", number(store, "dropped_tasks"),
               number(store, "dropped_results"));
    putchar('\n');
    const char *trouble = pc_json_str_or(store, "trouble", NULL);
    if (trouble)
        printf("         %s\n", trouble);
}

static void print_head(const pc_json *status)
{
    const pc_json *sched = pc_json_member(status, "sched");
    char bytes[32];
    const pc_json *pids = pc_json_member(status, "pids");
    const pc_json *tasks = pc_json_member(status, "tasks");
    const char *cluster_id = pc_json_str_or(status, "cluster_id", "");
    const char *unix_path = pc_json_str_or(status, "unix", NULL);
    int64_t up_s = (pc_wall_us() - pc_json_i64_or(status, "started_us", 0)) / 1000000;
    printf("cluster  %s%sprofile '%s', up for %" PRId64 " s\n", cluster_id,
           cluster_id[0] ? " in " : "", pc_json_str_or(status, "profile", "?"), up_s);
    printf("address  %s\n", pc_json_str_or(status, "url", "?"));
    if (unix_path)
        printf("         unix:%s\n", unix_path);
    printf("pids     parent %lld, scheduler %lld, hub %lld\n", number(pids, "parent"),
           number(pids, "scheduler"), number(pids, "hub"));
    printf("clients  %lld\n", number(status, "clients"));
    printf("tasks    %lld submitted, %lld done, %lld failed, %lld pending\n",
           number(tasks, "submitted"), number(tasks, "done"), number(tasks, "failed"),
           number(tasks, "pending"));
    print_store(pc_json_member(status, "store"));
    if (number(sched, "lost_bodies") || number(sched, "lost_records"))
        printf(
            "         the hub was away for too long: %lld requests and results, %lld records are "
            "lost\n",
            number(sched, "lost_bodies"), number(sched, "lost_records"));
    size_text(pc_json_i64_or(sched, "max_bytes", -1), bytes, sizeof(bytes));
    printf("queue    %lld wait for an engine; a client may have %lld unfinished, with %s\n",
           number(sched, "waiting"), number(sched, "max_tasks"), bytes);
}

/* The latest processes that ended without being told to. */
static void print_deaths(const pc_json *status)
{
    const pc_json *rows = pc_json_member(status, "deaths");
    size_t count = pc_json_count(rows), first = count > DEATHS_SHOWN ? count - DEATHS_SHOWN : 0;
    if (!count)
        return;
    printf("deaths   %lld", number(status, "death_count"));
    if (number(status, "engine_restarts"))
        printf("; engines started again: %lld", number(status, "engine_restarts"));
    puts(":");
    for (size_t i = first; i < count; i++) {
        const pc_json *row = pc_json_item(rows, i);
        printf("         %lld s ago: %s\n", (pc_wall_us() - number(row, "time_us")) / 1000000,
               pc_json_str_or(row, "why", "?"));
    }
}

/* Its first line: the last words of an engine follow. */
static void add_reason(struct table *table, const char *reason)
{
    table_add(table, "%.*s", (int)strcspn(reason, ";\n"), reason);
}

static void add_engine(struct table *table, const pc_json *row)
{
    char memory[32];
    size_text(pc_json_i64_or(row, "memory_bytes", -1), memory, sizeof(memory));
    table_add(table, "%lld", number(row, "id"));
    table_add(table, "%lld", number(row, "pid"));
    table_add(table, "%s", pc_json_str_or(row, "state", "?"));
    table_add(table, "%s", pc_json_str_or(row, "host", "?"));
    table_add(table, "%s", pc_json_str_or(row, "python", "-"));
    table_add(table, "%s", memory);
    table_add(table, "%lld", number(row, "tasks_done"));
    table_add(table, "%lld", number(row, "tasks_failed"));
    table_add(table, "%lld", number(row, "queue"));
}

static void print_engines(const pc_json *engines)
{
    const char *titles[TABLE_COLUMNS_MAX] = {">id",     ">pid",  "state",   "host",  "python",
                                             ">memory", ">done", ">failed", ">queue"};
    size_t columns = 9;
    bool has_reason = false, has_tags = false;
    const pc_json *first = engines ? pc_json_first(engines) : NULL;
    struct table table;
    char tags[256];
    if (!first) {
        puts("engines  none");
        return;
    }
    for (const pc_json *row = first; row; row = pc_json_next(row)) {
        has_reason = has_reason || pc_json_str_or(row, "reason", NULL);
        has_tags = has_tags || pc_json_count(pc_json_member(row, "tags")) > 0;
    }
    if (has_tags)
        titles[columns++] = "tags";
    if (has_reason)
        titles[columns++] = "reason";
    putchar('\n');
    table_init(&table, titles, columns);
    for (const pc_json *row = first; row; row = pc_json_next(row)) {
        add_engine(&table, row);
        ask_tags_text(row, tags, sizeof(tags));
        if (has_tags)
            table_add(&table, "%s", tags);
        if (has_reason)
            add_reason(&table, pc_json_str_or(row, "reason", ""));
    }
    table_print(&table);
    table_fini(&table);
}

int cmd_status(int argc, char **argv)
{
    struct ask_where where = {0};
    bool as_json = false;
    const struct option_page page = {
        .command = "status",
        .operands = "",
        .about = "Shows a cluster: its address, processes, engines and tasks.",
        .shared = {{ask_name_rows, &where}, {ask_file_rows, &where}, {option_json_rows, &as_json}},
    };
    struct pc_client *client;
    struct pc_err err;
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    if (ask_connect(&client, &where, &err) < 0)
        return ask_error("status", &err);
    pc_json *status = ask_query(client, "{\"query\":\"status\"}", ASK_TIMEOUT_MS, &err);
    pc_json *sched =
        status ? ask_query(client, "{\"query\":\"sched\"}", ASK_TIMEOUT_MS, &err) : NULL;
    pc_json *processes =
        sched ? ask_query(client, "{\"query\":\"processes\"}", ASK_TIMEOUT_MS, &err) : NULL;
    pc_client_close(client);
    if (sched)
        pc_json_put(status, "sched", sched);
    if (processes) {
        pc_json_put(status, "deaths", pc_json_copy(pc_json_member(processes, "deaths")));
        pc_json_put_i64(status, "death_count", number(processes, "death_count"));
        pc_json_put_i64(status, "engine_restarts", number(processes, "engine_restarts"));
    }
    pc_json_free(processes);
    if (!status || !sched || !processes) {
        pc_json_free(status);
        return ask_error("status", &err);
    }
    if (as_json) {
        json_show(status);
    } else {
        print_head(status);
        print_deaths(status);
        print_engines(pc_json_member(status, "engines"));
    }
    pc_json_free(status);
    return CMD_OK;
}
