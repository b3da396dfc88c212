/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/ask.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/options.h"

int ask_connect(struct pc_client **client, const struct ask_where *where, struct pc_err *err)
{
    struct pc_connect how = {
        .file = where->file,
        .profile = where->profile,
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
