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
#include "hub/journal.h"
#include "lib/link.h"

struct hub {
    uv_loop_t loop;
    struct pc_conns conns;
    struct pc_conn parent;
    struct pc_link scheduler;
    int handover_fd; /* -1: none */
    bool is_stopping;
    int exit_code;

    struct hub_engines engines;
    struct hub_clients clients;
    struct hub_history history;
    struct hub_watches watches;
    struct hub_journal journal;
    uint64_t recorded; /* messages that need not be sent again, since the cluster was started */
    bool has_news;     /* some of them were not acknowledged */
    bool is_restoring; /* a snapshot; with what the next task in it may need: */
    struct pc_msg *restored_function, *restored_request;
    uint64_t functions_left; /* of that snapshot's table, which follows its end */
    uv_check_t turn_end;
    uv_idle_t no_pause;
    uv_timer_t tick_timer;

    /* from CONFIG */
    char *cluster_id, *profile, *instance, *url;
    char *unix_path; /* NULL: none */
    int64_t started_us;
    uint32_t controller_pid, scheduler_pid;
};

#endif
