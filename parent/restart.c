/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --restart: whether an engine that ended by itself gets a successor. That is another engine, with
 * an id and a namespace of its own: what was meant for the old one has failed with it.
 *
 * Engines that end again and again are started after longer and longer pauses, and after
 * DEATHS_MAX of them per engine within a minute not any more.
 */
#include <string.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "parent/state.h"

#define DEATHS_MAX    7
#define FIRST_WAIT_MS 100

static bool is_wished(const struct parent *parent, bool has_failed)
{
    const char *policy = parent->options->restart ? parent->options->restart : "never";
    return strcmp(policy, "always") == 0 || (has_failed && strcmp(policy, "on-failure") == 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct parent *parent = timer->data;
    struct pc_err err;
    uint32_t count = parent->restarts.waiting;
    parent->restarts.waiting = 0;
    if (parent->state != PARENT_READY || !count)
        return;
    parent->restarts.done += count;
    if (parent_spawn(parent, count, &err) < 0)
        pc_error("can't start %u engine%s again: %s", count, count == 1 ? "" : "s", err.text);
}

bool parent_restart_engine(struct parent *parent, bool has_failed)
{
    struct parent_restarts *restarts = &parent->restarts;
    uint32_t wanted = parent->engines.wanted_count ? parent->engines.wanted_count : 1;
    int64_t now_ms = pc_clock_ms();
    if (parent->state != PARENT_READY || !is_wished(parent, has_failed))
        return false;
    if (now_ms - restarts->since_ms > 60000) {
        restarts->since_ms = now_ms;
        restarts->deaths = 0;
    }
    uint32_t rounds = restarts->deaths++ / wanted;
    if (rounds >= DEATHS_MAX) {
        pc_error("engines end again and again, %u times within a minute: this one is not started "
                 "again",
                 restarts->deaths);
        return false;
    }
    restarts->waiting++;
    uint64_t wait_ms = rounds ? (uint64_t)FIRST_WAIT_MS << (rounds - 1) : 0;
    if (!uv_is_active((uv_handle_t *)&restarts->timer))
        uv_timer_start(&restarts->timer, on_timer, wait_ms, 0);
    return true;
}

void parent_restarts_init(struct parent *parent)
{
    uv_timer_init(&parent->loop, &parent->restarts.timer);
    parent->restarts.timer.data = parent;
}

void parent_restarts_stop(struct parent *parent)
{
    parent->restarts.waiting = 0;
    uv_timer_stop(&parent->restarts.timer);
}
