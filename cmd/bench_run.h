/* SPDX-License-Identifier: BSD-3-Clause */
/* One measurement of the scheduler: a controller and simulated engines of its own, and a client. */
#ifndef PC_CMD_BENCH_RUN_H
#define PC_CMD_BENCH_RUN_H

#include <stdbool.h>

#include "lib/pcluster.h"

struct bench_options {
    unsigned tasks, engines, payload;
    enum pc_transport transport;
    bool is_queued;     /* all are submitted before the first one is answered */
    bool is_dependent;  /* all but the first come after the first */
    const char *scheme; /* NULL: the default */
};

struct bench_result {
    double submit_s;     /* submitting */
    double run_s;        /* from then on (queued), or altogether, until the last has ended */
    double scheduler_us; /* CPU time of the scheduler per task */
    double client_us;    /* and of the client */
    double queued_bytes; /* what the scheduler has grown by per queued task, with its payload */
};

/* -1: err says why; a signal that was caught ends it, too. */
int bench_run(const struct bench_options *options, struct bench_result *result, struct pc_err *err);

#endif
