/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster config: the settings that a command would run with now, and where each comes from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/settings.h"
#include "cmd/table.h"
#include "lib/json.h"
#include "lib/mem.h"

struct config {
    const char *command;
    struct ask_where where; /* of which the file is never set */
    pc_json *settings;      /* NULL until the command was found */
    struct pc_err err;
    int status;
};

/* ---- values ----------------------------------------------------------------------------- */

static void put_value(pc_json *object, const struct option_row *row)
{
    switch (row->kind) {
    case OPTION_SET:
    case OPTION_CLEAR:
        pc_json_put_bool(object, "value", *(bool *)row->value == (row->kind == OPTION_SET));
        return;
    case OPTION_NUMBER:
    case OPTION_SIZE:
        pc_json_put_i64(object, "value", *(long *)row->value);
        return;
    case OPTION_TEXT:
    case OPTION_CHOICE:
        pc_json_put_str(object, "value", *(const char **)row->value);
        return;
    case OPTION_TAGS:
        pc_json_put_str(object, "value", row->value);
    }
}

/* What the help says is there without a value: behind "(default: ". */
static char *default_text(const char *help)
{
    static const char before[] = "(default: ";
    const char *at = strstr(help, before);
    char *text = pc_xstrdup(at ? at + strlen(before) : "-");
    if (at)
        text[strcspn(text, ")")] = '\0';
    return text;
}

static char *value_text(const struct option_row *row)
{
    switch (row->kind) {
    case OPTION_SET:
    case OPTION_CLEAR:
        return pc_xstrdup(*(bool *)row->value == (row->kind == OPTION_SET) ? "yes" : "no");
    case OPTION_NUMBER:
    case OPTION_SIZE:
        return pc_xasprintf("%ld", *(long *)row->value);
    case OPTION_TAGS:
        return pc_xstrdup(*(const char *)row->value ? row->value : "-");
    case OPTION_TEXT:
    case OPTION_CHOICE:
        break;
    }
    const char *text = *(const char **)row->value;
    return text ? pc_xstrdup(text) : default_text(row->help);
}

static void add_setting(pc_json *settings, const struct option_row *row,
                        const struct option_origin *origin)
{
    static const char *const sources[] = {"default", "file", "environment", "command line"};
    char *shown = value_text(row);
    pc_json *one = pc_json_object();
    pc_json_put_str(one, "name", row->name);
    put_value(one, row);
    pc_json_put_str(one, "shown", shown);
    pc_json_put_str(one, "source", sources[origin->source]);
    if (origin->source == OPTION_FROM_FILE) {
        pc_json_put_str(one, "file", origin->file);
        pc_json_put_i64(one, "line", origin->line);
    }
    if (origin->source == OPTION_FROM_ENV) {
        char *variable = settings_variable(row->name);
        pc_json_put_str(one, "variable", variable);
        free(variable);
    }
    pc_json_append(settings, one);
    free(shown);
}

/* ---- the command asked about ------------------------------------------------------------ */

/* As if it had been given there. What the environment gave us it gives that command, too. */
static void give(const struct option_row *row, struct option_origin *origin, const char *value)
{
    char *variable = settings_variable(row->name);
    if (value && value != getenv(variable)) {
        *(const char **)row->value = value;
        origin->source = OPTION_FROM_LINE;
    }
    free(variable);
}

static void read_page(const struct option_page *page, void *arg)
{
    struct config *config = arg;
    struct option_origin origins[OPTION_ROWS_MAX] = {0};
    if (!page->has_settings)
        return;
    for (const struct option_row *row = page->rows; row->name; row++) {
        if (strcmp(row->name, "profile") == 0)
            give(row, &origins[row - page->rows], config->where.profile);
        if (strcmp(row->name, "profile-dir") == 0)
            give(row, &origins[row - page->rows], config->where.profile_dir);
        if (strcmp(row->name, "cluster-id") == 0)
            give(row, &origins[row - page->rows], config->where.cluster_id);
    }
    config->status = settings_apply(page, origins, &config->err);
    config->settings = pc_json_array();
    for (const struct option_row *row = page->rows; row->name; row++)
        if (row->reach != OPTION_LINE_ONLY)
            add_setting(config->settings, row, &origins[row - page->rows]);
}

/* ---- showing ---------------------------------------------------------------------------- */

static void print_settings(const pc_json *settings)
{
    static const char *const titles[] = {"setting", "value", "from"};
    struct table table;
    table_init(&table, titles, 3);
    for (const pc_json *one = pc_json_first(settings); one; one = pc_json_next(one)) {
        const char *file = pc_json_str_or(one, "file", NULL);
        const char *variable = pc_json_str_or(one, "variable", NULL);
        table_add(&table, "%s", pc_json_str_or(one, "name", ""));
        table_add(&table, "%s", pc_json_str_or(one, "shown", ""));
        if (file)
            table_add(&table, "%s, line %lld", file, (long long)pc_json_i64_or(one, "line", 0));
        else
            table_add(&table, "%s", variable ? variable : pc_json_str_or(one, "source", ""));
    }
    table_print(&table);
    table_fini(&table);
}

static void print_file(const char *path)
{
    printf("%s%s\n", path, access(path, F_OK) == 0 ? "" : " (not there)");
}

static void show(const struct config *config, const char *profile_path, bool as_json)
{
    char system_path[1024];
    settings_system_path(system_path, sizeof(system_path));
    if (!as_json) {
        print_settings(config->settings);
        putchar('\n');
        print_file(profile_path);
        print_file(system_path);
        return;
    }
    pc_json *reply = pc_json_object();
    pc_json *files = pc_json_array();
    pc_json_append_str(files, profile_path);
    pc_json_append_str(files, system_path);
    pc_json_put_str(reply, "command", config->command);
    pc_json_put(reply, "files", files);
    pc_json_put(reply, "settings", pc_json_copy(config->settings));
    json_show(reply);
    pc_json_free(reply);
}

static void find_command(struct config *config)
{
    for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
        if (!cmd->more && strcmp(cmd->name, config->command) == 0)
            options_visit(cmd->run, read_page, config);
}

int cmd_config(int argc, char **argv)
{
    struct config config = {.command = "start"};
    bool as_json = false;
    const struct option_page page = {
        .command = "config",
        .operands = "[COMMAND]",
        .about = "Shows the settings that a command (start, controller or engine; default: start)\n"
                 "would run with now, and where each came from: the environment, a line of\n"
                 "pcluster.conf in the profile or in /etc, or nowhere.",
        .shared = {{ask_name_rows, &config.where}, {option_json_rows, &as_json}},
        .operand_max = 1,
        .operand_choices = "start controller engine",
    };
    char profile_path[1024];
    int exit_code;
    int operand = options_read(&page, argc, argv, &exit_code);
    if (operand < 0)
        return exit_code;
    if (operand < argc)
        config.command = argv[operand];
    if (settings_profile_path(config.where.profile, config.where.profile_dir, profile_path,
                              sizeof(profile_path), &config.err) < 0) {
        command_error("config", "%s", config.err.text);
        return CMD_FAILED;
    }
    find_command(&config);
    if (!config.settings) {
        command_error("config",
                      "'%s' is no command with settings: start, controller and engine are",
                      config.command);
        return CMD_USAGE;
    }
    if (config.status < 0)
        command_error("config", "%s", config.err.text);
    else
        show(&config, profile_path, as_json);
    pc_json_free(config.settings);
    return config.status < 0 ? CMD_FAILED : CMD_OK;
}
