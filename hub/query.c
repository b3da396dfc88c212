/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/query.h"

#include <string.h>
#include <unistd.h>

#include "hub/find.h"
#include "hub/state.h"

pc_json *hub_query_refusal(const char *error)
{
    pc_json *reply = pc_json_object();
    pc_json_put_bool(reply, "ok", false);
    pc_json_put_str(reply, "error", error);
    return reply;
}

static pc_json *pids(const struct hub *hub)
{
    pc_json *object = pc_json_object();
    pc_json_put_i64(object, "parent", hub->controller_pid);
    pc_json_put_i64(object, "scheduler", hub->scheduler_pid);
    pc_json_put_i64(object, "hub", getpid());
    return object;
}

static void answer_status(struct hub *hub, const pc_json *question, pc_json *reply,
                          struct pc_err *err)
{
    bool with_memory = pc_json_bool_or(question, "memory", true);
    pc_json *engines = pc_json_array();
    struct hub_engine *engine, *next;
    HASH_ITER (hh, hub->engines.by_id, engine, next)
        pc_json_append(engines, hub_engine_json(&hub->engines, engine, with_memory));
    pc_json_put_str(reply, "cluster_id", hub->cluster_id);
    pc_json_put_str(reply, "profile", hub->profile);
    pc_json_put_str(reply, "instance", hub->instance);
    pc_json_put_str(reply, "host", hub->engines.this_host);
    pc_json_put_str(reply, "url", hub->url);
    pc_json_put_str(reply, "unix", hub->unix_path);
    pc_json_put_i64(reply, "started_us", hub->started_us);
    pc_json_put(reply, "pids", pids(hub));
    pc_json_put(reply, "engines", engines);
    pc_json_put_i64(reply, "clients", hub_clients_count(&hub->clients));
    pc_json_put(reply, "tasks", hub_history_totals(&hub->history));
    pc_json_put(reply, "store", hub_store_json(&hub->history.store));
}

static void answer_find(struct hub *hub, const pc_json *question, pc_json *reply,
                        struct pc_err *err)
{
    hub_find(&hub->history, question, reply, err);
}

static void answer_purge(struct hub *hub, const pc_json *question, pc_json *reply,
                         struct pc_err *err)
{
    hub_purge(&hub->history, question, reply, err);
}

static const struct {
    const char *name;
    void (*answer)(struct hub *hub, const pc_json *question, pc_json *reply, struct pc_err *err);
} queries[] = {
    {"status", answer_status},
    {"find", answer_find},
    {"purge", answer_purge},
};

pc_json *hub_query_answer(struct hub *hub, const pc_json *question)
{
    struct pc_err err = {.code = PC_OK};
    const char *name;
    if (!pc_json_is_object(question))
        return hub_query_refusal("a query is a JSON object");
    if (pc_json_get_str(question, "query", &name, &err) < 0)
        return hub_query_refusal(err.text);
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        if (strcmp(queries[i].name, name) != 0)
            continue;
        pc_json *reply = pc_json_object();
        pc_json_put_bool(reply, "ok", true);
        queries[i].answer(hub, question, reply, &err);
        if (err.code == PC_OK)
            return reply;
        pc_json_free(reply);
        return hub_query_refusal(err.text);
    }
    pc_err_set(&err, PC_E_INVALID, "unknown query '%.100s'", name);
    return hub_query_refusal(err.text);
}
