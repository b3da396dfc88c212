/* SPDX-License-Identifier: BSD-3-Clause */
/* The scheme, and the limits per engine and per client: from CONFIG, and changed by a query. */
#include "lib/log.h"
#include "sched/state.h"

#define HWM_MAX 1000000

int settings_take(struct sched *s, const pc_json *json, struct pc_err *err)
{
    const char *scheme = pc_json_str_or(json, "scheme", s->policy->name);
    int64_t hwm = pc_json_i64_or(json, "hwm", s->hwm);
    int64_t max_tasks = pc_json_i64_or(json, "max_tasks", (int64_t)s->window_count);
    int64_t max_bytes = pc_json_i64_or(json, "max_bytes", (int64_t)s->window_bytes);
    const struct policy *policy = policy_find(scheme);
    if (!policy)
        return pc_err_set(err, PC_E_INVALID, "there is no scheme '%.60s'", scheme);
    if (hwm < 0 || hwm > HWM_MAX)
        return pc_err_set(err, PC_E_INVALID, "hwm %lld is out of range: 0 to %d are possible",
                          (long long)hwm, HWM_MAX);
    if (windows_check(max_tasks, max_bytes, err))
        return -1;
    windows_set(s, max_tasks, max_bytes);
    if (policy != s->policy)
        groups_set_policy(s, policy);
    if (hwm != s->hwm)
        queue_set_hwm(s, (unsigned)hwm);
    return 0;
}

/* {"query": "sched", "scheme": ..., "hwm": ..., "max_tasks": ..., "max_bytes": ...}: what is given
 * is changed. */
pc_json *settings_answer(struct sched *s, const pc_json *query)
{
    struct pc_err err;
    pc_json *reply = pc_json_object();
    int failed = settings_take(s, query, &err);
    pc_json_put_bool(reply, "ok", !failed);
    if (failed) {
        pc_json_put_str(reply, "error", err.text);
        return reply;
    }
    pc_json_put_str(reply, "scheme", s->policy->name);
    pc_json_put_i64(reply, "hwm", s->hwm);
    pc_json_put_i64(reply, "waiting", s->ready_count);
    pc_json_put_i64(reply, "max_tasks", (int64_t)s->window_count);
    pc_json_put_i64(reply, "max_bytes", (int64_t)s->window_bytes);
    pc_json_put_i64(reply, "unrecorded_bytes", (int64_t)s->ledger.bytes);
    pc_json_put_i64(reply, "lost_bodies", (int64_t)s->ledger.lost_bodies);
    pc_json_put_i64(reply, "lost_records", (int64_t)s->ledger.lost_records);
    pc_json_put(reply, "clients", windows_json(s));
    return reply;
}
