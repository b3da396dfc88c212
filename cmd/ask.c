/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/table.h"

#define AT(member) OPTION_AT(struct ask_where, member)

const struct option_row ask_name_rows[] = {
    {0, "profile", OPTION_TEXT, AT(profile), "NAME", "profile (default: default)",
     .reach = OPTION_NAMES_CLUSTER},
    {0, "profile-dir", OPTION_TEXT, AT(profile_dir), "PATH",
     "folder of the profile, when it is elsewhere", .reach = OPTION_NAMES_CLUSTER},
    {0, "cluster-id", OPTION_TEXT, AT(cluster_id), "ID",
     "name of the cluster, when a profile has several", .reach = OPTION_NAMES_CLUSTER},
    {0},
};

const struct option_row ask_file_rows[] = {
    {0, "file", OPTION_TEXT, AT(file), "PATH",
     "connection file (default: pcluster-client.json of the profile)"},
    {0},
};

int ask_connect(struct pc_client **client, const struct ask_where *where, struct pc_err *err)
{
    struct pc_connect how = {
        .file = where->file,
        .profile = where->profile,
        .profile_dir = where->profile_dir,
        .cluster_id = where->cluster_id,
        .timeout_ms = where->timeout_ms ? where->timeout_ms : ASK_TIMEOUT_MS,
    };
    return pc_client_open(client, &how, err);
}

pc_json *ask_query(struct pc_client *client, const char *query, int timeout_ms, struct pc_err *err)
{
    char *text;
    if (pc_query(client, query, timeout_ms, &text, err) < 0)
        return NULL;
    pc_json *reply = pc_json_parse(text, strlen(text), err);
    free(text);
    if (reply && !pc_json_bool_or(reply, "ok", false)) {
        pc_err_set(err, PC_E_REMOTE, "the controller refused: %s",
                   pc_json_str_or(reply, "error", "it did not say why"));
        pc_json_free(reply);
        return NULL;
    }
    return reply;
}

pc_json *ask_json(struct pc_client *client, pc_json *query, int timeout_ms, struct pc_err *err)
{
    char *text = pc_json_print(query);
    pc_json_free(query);
    pc_json *reply = ask_query(client, text, timeout_ms, err);
    free(text);
    return reply;
}

int ask_once(const char *command, const struct ask_where *where, pc_json *query,
             void (*show)(const pc_json *reply, void *arg), void *arg)
{
    struct pc_client *client;
    struct pc_err err;
    if (ask_connect(&client, where, &err) < 0) {
        pc_json_free(query);
        return ask_error(command, &err);
    }
    pc_json *reply = ask_json(client, query, ASK_TIMEOUT_MS, &err);
    pc_client_close(client);
    if (!reply)
        return ask_error(command, &err);
    if (show)
        show(reply, arg);
    else
        json_show(reply);
    pc_json_free(reply);
    return CMD_OK;
}

bool ask_is_up(const pc_json *engine)
{
    return strcmp(pc_json_str_or(engine, "state", ""), "down") != 0;
}

size_t ask_count_up(const pc_json *engines)
{
    size_t count = 0;
    for (const pc_json *row = pc_json_first(engines); row; row = pc_json_next(row))
        count += ask_is_up(row);
    return count;
}

void ask_tags_text(const pc_json *engine, char *text, size_t size)
{
    size_t used = 0;
    const pc_json *tag = pc_json_first(pc_json_member(engine, "tags"));
    text[0] = '\0';
    for (; tag && used < size - 1; tag = pc_json_next(tag))
        used +=
            (size_t)snprintf(text + used, size - used, "%s%s", used ? "," : "", pc_json_text(tag));
}

bool ask_is_nothing(const struct pc_err *err)
{
    switch (err->code) {
    case PC_E_NO_FILE:
    case PC_E_STALE:
    case PC_E_REFUSED:
    case PC_E_CLUSTER:
        return true;
    default:
        return false;
    }
}

int ask_error(const char *command, const struct pc_err *err)
{
    command_error(command, "%s", err->text);
    return ask_is_nothing(err) ? CMD_NOTHING : CMD_FAILED;
}
