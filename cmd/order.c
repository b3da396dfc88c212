/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/order.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/cmd.h"
#include "cmd/table.h"
#include "cmd/targets.h"
#include "lib/clock.h"
#include "lib/mem.h"

#define LIMIT_MS 60000

const struct option_row order_rows[] = {
    {0, "no-wait", OPTION_SET, OPTION_AT(struct order, never_waits), NULL,
     "return when the order was taken"},
    {0},
};

/* What is to be seen when it was carried out. */
struct watch {
    struct pc_client *client;
    uint32_t *ids; /* the chosen ones */
    size_t count;
    uint32_t next_id; /* engines from here on are new */
    size_t fresh_count;
};

/* Chooses the engines. */
static int begin(struct watch *watch, const struct order *order, struct pc_err *err)
{
    struct pc_engine *engines;
    size_t count;
    if (ask_connect(&watch->client, &order->where, err) < 0 ||
        pc_client_engines(watch->client, &engines, &count, err) < 0)
        return -1;
    int status = order->targets
                     ? targets_read(order->targets, engines, count, &watch->ids, &watch->count, err)
                     : 0;
    watch->next_id = count ? engines[count - 1].id + 1 : 0;
    watch->fresh_count = order->will_replace ? watch->count : order->fresh_count;
    pc_engines_free(engines);
    return status;
}

static void put_ids(pc_json *object, const char *name, const uint32_t *ids, size_t count)
{
    pc_json *list = pc_json_array();
    for (size_t i = 0; i < count; i++)
        pc_json_append_i64(list, ids[i]);
    pc_json_put(object, name, list);
}

static int ask(const struct watch *watch, const struct order *order, pc_json *details,
               struct pc_err *err)
{
    pc_json_put_str(details, "query", order->query);
    if (order->targets)
        put_ids(details, "ids", watch->ids, watch->count);
    pc_json *reply = ask_json(watch->client, details, LIMIT_MS, err);
    if (!reply)
        return -1;
    size_t gone = pc_json_count(pc_json_member(reply, "gone"));
    pc_json_free(reply);
    if (gone == 0)
        return 0;
    return pc_err_set(err, PC_E_NO_ENGINE,
                      "%zu of these engines can't be reached: they have ended, or the process that "
                      "started them is not connected",
                      gone);
}

/* ---- waiting ---------------------------------------------------------------------------- */

static bool is_chosen(const struct watch *watch, uint32_t id)
{
    for (size_t i = 0; i < watch->count; i++)
        if (watch->ids[i] == id)
            return true;
    return false;
}

static bool is_done(const struct watch *watch, const struct order *order,
                    const struct pc_engine *engines, size_t count)
{
    size_t fresh_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (order->will_end && is_chosen(watch, engines[i].id))
            return false;
        fresh_count += engines[i].id >= watch->next_id;
    }
    return fresh_count >= watch->fresh_count;
}

/* The engines then, for the caller to free. */
static int wait_done(const struct watch *watch, const struct order *order,
                     struct pc_engine **engines, size_t *count, struct pc_err *err)
{
    int64_t limit_ms = LIMIT_MS + order->grace_s * 1000;
    int64_t until_ms = pc_clock_ms() + limit_ms;
    for (;;) {
        if (pc_client_engines(watch->client, engines, count, err) < 0)
            return -1;
        if (order->never_waits || is_done(watch, order, *engines, *count))
            return 0;
        pc_engines_free(*engines);
        int64_t left_ms = until_ms - pc_clock_ms();
        if (left_ms <= 0)
            return pc_err_set(err, PC_E_TIMEOUT,
                              "the order was taken, but is not carried out after %" PRId64
                              " s; 'pcluster engines' shows what there is",
                              limit_ms / 1000);
        if (pc_dispatch(watch->client, (int)left_ms, err) < 0 && err->code != PC_E_INTERRUPTED)
            return -1;
    }
}

/* ---- saying what was done --------------------------------------------------------------- */

static void say(const char *how, const char *what, const uint32_t *ids, size_t count)
{
    char text[200];
    targets_text(ids, count, text, sizeof(text));
    printf("%s%s: engine%s %s\n", how, what, count == 1 ? "" : "s", text);
}

static void show(const struct watch *watch, const struct order *order,
                 const struct pc_engine *engines, size_t engine_count)
{
    uint32_t *fresh = pc_xcalloc(engine_count + 1, sizeof(*fresh));
    size_t count = 0;
    for (size_t i = 0; i < engine_count && watch->fresh_count && !order->never_waits; i++)
        if (engines[i].id >= watch->next_id)
            fresh[count++] = engines[i].id;
    if (order->as_json) {
        pc_json *json = pc_json_object();
        if (order->done)
            put_ids(json, order->done, watch->ids, watch->count);
        put_ids(json, "started", fresh, count);
        json_show(json);
        pc_json_free(json);
    } else {
        if (order->done)
            say(order->never_waits ? "to be " : "", order->done, watch->ids, watch->count);
        if (count)
            say("", "started", fresh, count);
        else if (order->fresh_count)
            printf("%zu engine%s will start\n", order->fresh_count,
                   order->fresh_count == 1 ? "" : "s");
    }
    free(fresh);
}

/* Targets that are none are wrong usage. */
static int failed(const struct order *order, const struct pc_err *err)
{
    int exit_code = ask_error(order->command, err);
    return err->code == PC_E_INVALID ? CMD_USAGE : exit_code;
}

/* ---- all of it -------------------------------------------------------------------------- */

int order_give(const struct order *order, pc_json *details)
{
    struct watch watch = {0};
    struct pc_engine *engines;
    struct pc_err err;
    size_t count;
    int exit_code = CMD_OK;
    if (begin(&watch, order, &err) < 0) {
        pc_json_free(details);
        exit_code = failed(order, &err);
    } else if (ask(&watch, order, details, &err) < 0 ||
               wait_done(&watch, order, &engines, &count, &err) < 0) {
        exit_code = failed(order, &err);
    } else {
        show(&watch, order, engines, count);
        pc_engines_free(engines);
    }
    free(watch.ids);
    pc_client_close(watch.client);
    return exit_code;
}
