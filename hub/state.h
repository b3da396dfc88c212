/* SPDX-License-Identifier: BSD-3-Clause */
/* The state of the role; only for the files of this room. */
#ifndef PC_HUB_STATE_H
#define PC_HUB_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "hub/clients.h"
#include "hub/engines.h"
#include "hub/fetch.h"
#include "hub/history.h"
#include "lib/conn.h"

struct hub {
    uv_loop_t loop;
    struct pc_conns conns;
    struct pc_conn parent;
    struct pc_conn scheduler;
    bool is_stopping;
    int exit_code;

    struct hub_engines engines;
    struct hub_clients clients;
    struct hub_history history;
    struct hub_watches watches;
    struct pc_buf acks; /* of results that are stored, for the scheduler */
    uv_timer_t tick_timer;

    /* from CONFIG */
    char *cluster_id, *profile, *instance, *url;
    char *unix_path; /* NULL: none */
    int64_t started_us;
    uint32_t controller_pid, scheduler_pid;
};

#endif
