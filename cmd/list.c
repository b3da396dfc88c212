/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster list: the clusters of all profiles, each asked at its address. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/table.h"
#include "lib/profile.h"

struct list {
    pc_json *rows;
    size_t running_count;
};

/* Those that some engine has, each once. */
static pc_json *tags_of(const pc_json *engines)
{
    pc_json *list = pc_json_array();
    for (const pc_json *row = pc_json_first(engines); row; row = pc_json_next(row)) {
        if (!ask_is_up(row))
            continue;
        const pc_json *tag = pc_json_first(pc_json_member(row, "tags"));
        for (; tag; tag = pc_json_next(tag)) {
            const pc_json *same = pc_json_first(list);
            while (same && strcmp(pc_json_text(same), pc_json_text(tag)) != 0)
                same = pc_json_next(same);
            if (!same)
                pc_json_append_str(list, pc_json_text(tag));
        }
    }
    return list;
}

static int add_cluster(const struct pc_profile *profile, const char *cluster_id, const char *path,
                       void *arg)
{
    struct list *list = arg;
    struct ask_where where = {.file = path};
    struct pc_client *client;
    struct pc_err err;
    pc_json *status = NULL;
    pc_json *row = pc_json_object();
    pc_json_put_str(row, "profile", profile->name);
    pc_json_put_str(row, "cluster_id", cluster_id);
    pc_json_put_str(row, "file", path);
    if (ask_connect(&client, &where, &err) == 0) {
        status = ask_query(client, "{\"query\":\"status\",\"memory\":false}", ASK_TIMEOUT_MS, &err);
        pc_client_close(client);
    }
    if (status) {
        list->running_count++;
        pc_json_put_str(row, "state", "running");
        pc_json_put_str(row, "url", pc_json_str_or(status, "url", ""));
        pc_json_put_i64(row, "engines", (int64_t)ask_count_up(pc_json_member(status, "engines")));
        pc_json_put(row, "tags", tags_of(pc_json_member(status, "engines")));
        pc_json_put_i64(row, "clients", pc_json_i64_or(status, "clients", 0));
        pc_json_put_i64(row, "started_us", pc_json_i64_or(status, "started_us", 0));
        pc_json_put(row, "pids", pc_json_copy(pc_json_member(status, "pids")));
    } else {
        pc_json_put_str(row, "state", ask_is_nothing(&err) ? "stale" : "unknown");
        pc_json_put_str(row, "error", err.text);
    }
    pc_json_free(status);
    pc_json_append(list->rows, row);
    return 0;
}

static void print_rows(const pc_json *rows)
{
    static const char *const titles[] = {"profile",  "id",       "state",
                                         ">engines", ">clients", "address"};
    struct table table;
    table_init(&table, titles, sizeof(titles) / sizeof(titles[0]));
    for (const pc_json *row = pc_json_first(rows); row; row = pc_json_next(row)) {
        const char *cluster_id = pc_json_str_or(row, "cluster_id", "");
        table_add(&table, "%s", pc_json_str_or(row, "profile", "?"));
        table_add(&table, "%s", cluster_id[0] ? cluster_id : "-");
        table_add(&table, "%s", pc_json_str_or(row, "state", "?"));
        table_add(&table, "%lld", (long long)pc_json_i64_or(row, "engines", 0));
        table_add(&table, "%lld", (long long)pc_json_i64_or(row, "clients", 0));
        table_add(&table, "%s", pc_json_str_or(row, "url", pc_json_str_or(row, "error", "")));
    }
    table_print(&table);
    table_fini(&table);
}

int cmd_list(int argc, char **argv)
{
    bool as_json = false;
    const struct option_page page = {
        .command = "list",
        .operands = "",
        .about = "Lists the clusters of all profiles, and files left by clusters that are gone.",
        .shared = {{option_json_rows, &as_json}},
    };
    struct list list = {0};
    struct pc_err err;
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    list.rows = pc_json_array();
    if (pc_profile_each(add_cluster, &list, &err) < 0) {
        pc_json_free(list.rows);
        return ask_error("list", &err);
    }
    if (as_json) {
        json_show(list.rows);
    } else if (pc_json_count(list.rows) > 0) {
        print_rows(list.rows);
    } else {
        puts("no cluster runs");
    }
    pc_json_free(list.rows);
    return list.running_count ? CMD_OK : CMD_NOTHING;
}
