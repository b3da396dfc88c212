/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster completion: the scripts for shells, and the answers to what these ask. */
#include "cmd/completion.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "lib/profile.h"

#define TASKS "50"

static const char *const questions[] = {
    [COMPLETION_PROFILES] = "profiles",
    [COMPLETION_CLUSTERS] = "clusters",
    [COMPLETION_ENGINES] = "engines",
    [COMPLETION_TASKS] = "tasks",
};

const char *completion_question(enum completion completion)
{
    return completion >= COMPLETION_PROFILES ? questions[completion] : NULL;
}

enum completion completion_of_row(const struct option_row *row, const char **words)
{
    if (row->choices) {
        *words = row->choices;
        return COMPLETION_WORDS;
    }
    if (!row->arg)
        return COMPLETION_NONE;
    if (strcmp(row->name, "profile") == 0)
        return COMPLETION_PROFILES;
    if (strcmp(row->name, "cluster-id") == 0)
        return COMPLETION_CLUSTERS;
    if (strcmp(row->name, "targets") == 0 || strcmp(row->name, "engine") == 0)
        return COMPLETION_ENGINES;
    return strcmp(row->arg, "PATH") == 0 ? COMPLETION_FILES : COMPLETION_NONE;
}

enum completion completion_of_operands(const struct option_page *page, const char **words)
{
    if (page->operand_choices) {
        *words = page->operand_choices;
        return COMPLETION_WORDS;
    }
    if (strstr(page->operands, "TARGETS"))
        return COMPLETION_ENGINES;
    if (strstr(page->operands, "ID"))
        return COMPLETION_TASKS;
    return COMPLETION_NONE;
}

/* ---- answers ---------------------------------------------------------------------------- */

/* What can't be found out is not offered: somebody is typing, and wants no error text. */
static pc_json *answer(const struct ask_where *where, const char *query)
{
    struct pc_client *client;
    struct ask_where soon = *where;
    struct pc_err err;
    soon.timeout_ms = 1000;
    if (ask_connect(&client, &soon, &err) < 0)
        return NULL;
    pc_json *reply = ask_query(client, query, soon.timeout_ms, &err);
    pc_client_close(client);
    return reply;
}

static int print_profile(const struct pc_profile *profile, void *arg)
{
    puts(profile->name);
    return 0;
}

static void list_profiles(const struct ask_where *where)
{
    pc_profile_list(print_profile, NULL, NULL);
}

static int print_cluster(const struct pc_profile *profile, const char *cluster_id, const char *path,
                         void *arg)
{
    const struct ask_where *where = arg;
    struct pc_profile meant;
    if (cluster_id[0] &&
        pc_profile_resolve(&meant, where->profile, where->profile_dir, NULL) == 0 &&
        strcmp(meant.dir, profile->dir) == 0)
        puts(cluster_id);
    return 0;
}

static void list_clusters(const struct ask_where *where)
{
    pc_profile_each(print_cluster, (void *)(uintptr_t)where, NULL);
}

static void list_engines(const struct ask_where *where)
{
    pc_json *status = answer(where, "{\"query\":\"status\",\"memory\":false}");
    if (!status)
        return;
    puts("all");
    const pc_json *row = pc_json_first(pc_json_member(status, "engines"));
    for (; row; row = pc_json_next(row))
        if (ask_is_up(row))
            printf("%" PRId64 "\n", pc_json_i64_or(row, "id", 0));
    pc_json_free(status);
}

static void list_tasks(const struct ask_where *where)
{
    pc_json *found = answer(where, "{\"query\":\"find\",\"filter\":{},\"keys\":[\"msg_id\"],"
                                   "\"newest\":true,\"limit\":" TASKS "}");
    const pc_json *row = found ? pc_json_first(pc_json_member(found, "rows")) : NULL;
    for (; row; row = pc_json_next(row))
        puts(pc_json_str_or(row, "msg_id", ""));
    pc_json_free(found);
}

/* ---- the command ------------------------------------------------------------------------ */

static void script_bash(const struct ask_where *where)
{
    completion_bash();
}

static void script_zsh(const struct ask_where *where)
{
    completion_zsh();
}

static const struct {
    const char *name;
    void (*print)(const struct ask_where *where);
} kinds[] = {
    {"bash", script_bash},       {"zsh", script_zsh},       {"profiles", list_profiles},
    {"clusters", list_clusters}, {"engines", list_engines}, {"tasks", list_tasks},
};

int cmd_completion(int argc, char **argv)
{
    struct ask_where where = {0};
    const struct option_page page = {
        .command = "completion",
        .operands = "bash|zsh|profiles|clusters|engines|tasks",
        .about = "Prints a script that lets a shell complete command lines of pcluster; or the "
                 "names that\nsuch a script offers.",
        .shared = {{ask_name_rows, &where}, {ask_file_rows, &where}},
        .operand_min = 1,
        .operand_max = 1,
        .operand_choices = "bash zsh profiles clusters engines tasks",
    };
    int exit_code, first = options_read(&page, argc, argv, &exit_code);
    if (first < 0)
        return exit_code;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, argv[first]) == 0) {
            kinds[i].print(&where);
            return CMD_OK;
        }
    command_error("completion",
                  "there is no completion for '%s'; 'pcluster completion -h' shows "
                  "what there is",
                  argv[first]);
    return CMD_USAGE;
}
