/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/settings.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "lib/config.h"
#include "lib/mem.h"
#include "lib/profile.h"

#define FILE_NAME "pcluster.conf"

/* Options point into what was read, to the end of the process. */
struct kept {
    struct pc_config config;
    struct kept *next;
};
static struct kept *all_kept;

static const struct option_row *find_row(const struct option_page *page, const char *name)
{
    for (const struct option_row *row = page->rows; row->name; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

/* ---- the environment -------------------------------------------------------------------- */

char *settings_variable(const char *option)
{
    char *name = pc_xasprintf("PCLUSTER_%s", option);
    for (char *at = name; *at; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    return name;
}

static int apply_variable(const struct option_row *row, struct option_origin *origin,
                          struct pc_err *err)
{
    char *name = settings_variable(row->name);
    const char *value = getenv(name);
    int status = 0;
    if (value && *value && origin->source == OPTION_BY_DEFAULT) {
        status = option_take(row, value, name, err);
        origin->source = OPTION_FROM_ENV;
    }
    free(name);
    return status;
}

static bool takes_variable(const struct option_page *page, const struct option_row *row)
{
    return row->reach == OPTION_NAMES_CLUSTER ||
           (row->reach == OPTION_SETTING && page->has_settings);
}

static int apply_environment(const struct option_page *page, struct option_origin *origins,
                             struct pc_err *err)
{
    const struct option_row *profile = find_row(page, "profile");
    bool has_profile = profile && origins[profile - page->rows].source == OPTION_FROM_LINE;
    for (const struct option_row *row = page->rows; row->name; row++) {
        /* A folder would win over the name, and a variable must not win over the line. */
        if (has_profile && strcmp(row->name, "profile-dir") == 0)
            continue;
        if (takes_variable(page, row) && apply_variable(row, &origins[row - page->rows], err) < 0)
            return -1;
    }
    return 0;
}

/* ---- the files -------------------------------------------------------------------------- */

int settings_profile_path(const char *profile, const char *dir, char *path, size_t size,
                          struct pc_err *err)
{
    struct pc_profile found;
    if (pc_profile_resolve(&found, profile, dir, err) < 0)
        return -1;
    snprintf(path, size, "%s/" FILE_NAME, found.dir);
    return 0;
}

void settings_system_path(char *path, size_t size)
{
    const char *etc = getenv("PCLUSTER_ETC");
    snprintf(path, size, "%s/" FILE_NAME, etc && *etc ? etc : "/etc");
}

static const char *text_of(const struct option_page *page, const char *name)
{
    const struct option_row *row = find_row(page, name);
    return row ? *(const char **)row->value : NULL;
}

/* What is wrong with the profile's name or folder is said by who uses it. */
static bool has_profile_file(const struct option_page *page, char *path, size_t size)
{
    const char *profile = text_of(page, "profile"), *dir = text_of(page, "profile-dir");
    if (settings_profile_path(profile, dir, path, size, NULL) < 0)
        return false;
    char *slash = strrchr(path, '/');
    *slash = '\0';
    bool can_enter = access(path, X_OK) == 0;
    *slash = '/';
    return can_enter;
}

/* A setting that may be one of another command. */
struct search {
    const struct pc_config_line *line;
    const char *shown;
    struct pc_err *err;
    bool is_known;
    enum option_reach reach;
    int status;
};

static void search_page(const struct option_page *page, void *arg)
{
    struct search *search = arg;
    const struct option_row *row = page->has_settings ? find_row(page, search->line->name) : NULL;
    if (!row || search->is_known)
        return;
    search->is_known = true;
    search->reach = row->reach;
    search->status = row->reach == OPTION_SETTING
                         ? option_check(row, search->line->value, search->shown, search->err)
                         : -1;
}

static int refuse_line(const struct pc_config_line *line, const char *path, enum option_reach reach,
                       struct pc_err *err)
{
    char *variable = settings_variable(line->name);
    if (reach == OPTION_NAMES_CLUSTER)
        pc_err_set(err, PC_E_BAD_FILE,
                   "'%.300s' line %u: '%s' can't be set in a file: use --%s or %s", path,
                   line->number, line->name, line->name, variable);
    else
        pc_err_set(err, PC_E_BAD_FILE,
                   "'%.300s' line %u: '%s' can't be set in a file: it is about one run, use --%s",
                   path, line->number, line->name, line->name);
    free(variable);
    return -1;
}

static int check_line(const struct pc_config_line *line, const char *path, const char *shown,
                      struct pc_err *err)
{
    struct search search = {.line = line, .shown = shown, .err = err};
    for (const struct cmd *cmd = cmd_table; cmd->name; cmd++)
        if (!cmd->more)
            options_visit(cmd->run, search_page, &search);
    if (!search.is_known)
        return pc_err_set(
            err, PC_E_BAD_FILE,
            "'%.300s' line %u: there is no setting '%.80s'; 'pcluster config' lists them", path,
            line->number, line->name);
    if (search.reach != OPTION_SETTING)
        return refuse_line(line, path, search.reach, err);
    return search.status;
}

static int apply_line(const struct option_page *page, struct option_origin *origins,
                      const struct pc_config_line *line, const char *path, struct pc_err *err)
{
    char *shown = pc_xasprintf("'%.300s' line %u: %s", path, line->number, line->name);
    int status = check_line(line, path, shown, err);
    const struct option_row *row = find_row(page, line->name);
    if (status == 0 && row && origins[row - page->rows].source == OPTION_BY_DEFAULT) {
        status = option_take(row, line->value, shown, err);
        origins[row - page->rows] =
            (struct option_origin){.source = OPTION_FROM_FILE, .file = path, .line = line->number};
    }
    free(shown);
    return status;
}

static int apply_file(const struct option_page *page, struct option_origin *origins,
                      const char *path, struct pc_err *err)
{
    struct kept *kept = pc_xcalloc(1, sizeof(*kept));
    if (pc_config_read(&kept->config, path, err) < 0) {
        free(kept);
        return -1;
    }
    kept->next = all_kept;
    all_kept = kept;
    for (size_t i = 0; i < kept->config.count; i++)
        if (apply_line(page, origins, &kept->config.lines[i], kept->config.path, err) < 0)
            return -1;
    return 0;
}

int settings_apply(const struct option_page *page, struct option_origin *origins,
                   struct pc_err *err)
{
    char path[1024];
    if (apply_environment(page, origins, err) < 0)
        return -1;
    if (!page->has_settings)
        return 0;
    if (has_profile_file(page, path, sizeof(path)) && apply_file(page, origins, path, err) < 0)
        return -1;
    settings_system_path(path, sizeof(path));
    return apply_file(page, origins, path, err);
}
