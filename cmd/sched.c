/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster sched: show and change how a running scheduler chooses engines. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/options.h"

static char *make_query(const char *scheme, long hwm)
{
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "query", "sched");
    if (scheme)
        pc_json_put_str(json, "scheme", scheme);
    if (hwm >= 0)
        pc_json_put_i64(json, "hwm", hwm);
    char *text = pc_json_print(json);
    pc_json_free(json);
    return text;
}

static void show(pc_json *reply, bool as_json)
{
    if (as_json) {
        char *text = pc_json_print_pretty(reply);
        puts(text);
        free(text);
        return;
    }
    printf("scheme %s, hwm %lld, %lld tasks wait for an engine\n",
           pc_json_str_or(reply, "scheme", "?"), (long long)pc_json_i64_or(reply, "hwm", 0),
           (long long)pc_json_i64_or(reply, "waiting", 0));
}

int cmd_sched(int argc, char **argv)
{
    struct ask_where where = {0};
    const char *scheme = NULL;
    long hwm = -1;
    bool as_json = false;
    const struct option_row rows[] = {
        {0, "scheme", OPTION_CHOICE, &scheme, "NAME", "choose engines by: " OPTIONS_SCHEMES,
         .choices = OPTIONS_SCHEMES},
        {0, "hwm", OPTION_NUMBER, &hwm, "N", "tasks outstanding per engine; 0: no limit", .min = 0,
         .max = OPTIONS_HWM_MAX},
        {0, "profile", OPTION_TEXT, &where.profile, "NAME", "profile (default: default)"},
        {0, "cluster-id", OPTION_TEXT, &where.cluster_id, "ID",
         "name of the cluster, when a profile has several"},
        {0, "file", OPTION_TEXT, &where.file, "PATH",
         "connection file (default: pcluster-client.json of the profile)"},
        {0, "json", OPTION_SET, &as_json, NULL, "print JSON"},
        {0},
    };
    const struct option_page page = {
        .command = "sched",
        .operands = "",
        .about = "Shows how the scheduler of a running cluster places tasks, and changes it.",
        .rows = rows,
    };
    struct pc_client *client;
    struct pc_err err;
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    if (ask_connect(&client, &where, &err) < 0)
        return ask_error("sched", &err);
    char *query = make_query(scheme, hwm);
    pc_json *reply = ask_query(client, query, ASK_TIMEOUT_MS, &err);
    free(query);
    pc_client_close(client);
    if (!reply)
        return ask_error("sched", &err);
    show(reply, as_json);
    pc_json_free(reply);
    return CMD_OK;
}
