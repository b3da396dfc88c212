/* SPDX-License-Identifier: BSD-3-Clause */
/* The body of CONFIG. */
#include <stdlib.h>
#include <string.h>

#include "engine/setup.h"
#include "lib/mem.h"

static int parse_transport(const char *name, enum pc_transport *transport, struct pc_err *err)
{
    if (strcmp(name, "any") == 0)
        *transport = PC_TRANSPORT_ANY;
    else if (strcmp(name, "unix") == 0)
        *transport = PC_TRANSPORT_UNIX;
    else if (strcmp(name, "tcp") == 0)
        *transport = PC_TRANSPORT_TCP;
    else
        return pc_err_set(err, PC_E_PROTOCOL, "unknown transport '%s'", name);
    return 0;
}

static int check_preload(const pc_json *names, struct pc_err *err)
{
    for (const pc_json *name = names ? pc_json_first(names) : NULL; name; name = pc_json_next(name))
        if (!pc_json_text(name))
            return pc_err_set(err, PC_E_PROTOCOL, "a module to preload is no name");
    return 0;
}

int eng_config_parse(struct eng_config *config, const pc_json *json, struct pc_err *err)
{
    const char *connection;
    const pc_json *preload = pc_json_member(json, "preload");
    int level = pc_log_level_parse(pc_json_str_or(json, "log_level", "info"));
    *config = (struct eng_config){
        .log_level = level < 0 ? PC_LOG_INFO : (enum pc_log_level)level,
        .use_nursery = pc_json_bool_or(json, "use_nursery", true),
    };
    if (pc_json_get_str(json, "connection", &connection, err) ||
        pc_connfile_parse(&config->file, connection, strlen(connection), "the connection file",
                          err) ||
        parse_transport(pc_json_str_or(json, "transport", "any"), &config->transport, err) ||
        check_preload(preload, err))
        return -1;
    config->python = pc_xstrdup(pc_json_str_or(json, "python", ""));
    config->tags = pc_xstrdup(pc_json_str_or(json, "tags", ""));
    config->home = pc_xstrdup(pc_json_str_or(json, "home", ""));
    config->preload = preload ? pc_json_copy(preload) : pc_json_array();
    return 0;
}

void eng_config_fini(struct eng_config *config)
{
    pc_connfile_wipe(&config->file);
    pc_json_free(config->preload);
    free(config->python);
    free(config->tags);
    free(config->home);
}
