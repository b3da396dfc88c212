/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/query.h"

#include <string.h>
#include <unistd.h>

#include "hub/state.h"

static pc_json *refusal(const char *error)
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

static void answer_status(struct hub *hub, const pc_json *question, pc_json *reply)
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
}

static void answer_tasks(struct hub *hub, const pc_json *question, pc_json *reply)
{
    int64_t limit = pc_json_i64_or(question, "limit", 100);
    if (limit < 0 || limit > HUB_TASKS_KEPT)
        limit = HUB_TASKS_KEPT;
    pc_json_put(reply, "tasks", hub_history_latest(&hub->history, (uint32_t)limit));
}

static const struct {
    const char *name;
    void (*answer)(struct hub *hub, const pc_json *question, pc_json *reply);
} queries[] = {
    {"status", answer_status},
    {"tasks", answer_tasks},
};

pc_json *hub_query_answer(struct hub *hub, const void *text, size_t size)
{
    struct pc_err err;
    const char *name;
    pc_json *reply = NULL;
    pc_json *question = pc_json_parse(text, size, &err);
    if (!question)
        return refusal(err.text);
    if (!pc_json_is_object(question)) {
        reply = refusal("a query is a JSON object");
    } else if (pc_json_get_str(question, "query", &name, &err) < 0) {
        reply = refusal(err.text);
    } else {
        for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]) && !reply; i++) {
            if (strcmp(queries[i].name, name) != 0)
                continue;
            reply = pc_json_object();
            pc_json_put_bool(reply, "ok", true);
            queries[i].answer(hub, question, reply);
        }
        if (!reply) {
            pc_err_set(&err, PC_E_INVALID, "unknown query '%.100s'", name);
            reply = refusal(err.text);
        }
    }
    pc_json_free(question);
    return reply;
}
