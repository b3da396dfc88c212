/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster bench sched: how fast the scheduler is by itself, without Python. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/bench_run.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/table.h"
#include "lib/json.h"

#define TRANSPORTS "unix tcp unix-encrypted"

static enum pc_transport transport_of(const char *name)
{
    if (strcmp(name, "tcp") == 0)
        return PC_TRANSPORT_TCP;
    return strcmp(name, "unix") == 0 ? PC_TRANSPORT_UNIX : PC_TRANSPORT_UNIX_ENCRYPTED;
}

static void show(const struct bench_options *options, const struct bench_result *result,
                 const char *transport, bool as_json)
{
    double rate = options->tasks / result->run_s;
    if (!as_json) {
        printf("%u tasks, %u engines, %s: %.0f tasks/s (%.3f s); %.2f us of the scheduler's CPU "
               "time per task, %.2f us of the client's\n",
               options->tasks, options->engines, transport, rate, result->run_s,
               result->scheduler_us, result->client_us);
        if (options->is_queued)
            printf("queued in %.3f s before; %.0f bytes of the scheduler's memory per queued task "
                   "with its %u bytes\n",
                   result->submit_s, result->queued_bytes, options->payload);
        return;
    }
    pc_json *json = pc_json_object();
    pc_json_put_i64(json, "tasks", options->tasks);
    pc_json_put_i64(json, "engines", options->engines);
    pc_json_put_str(json, "transport", transport);
    pc_json_put_double(json, "tasks_per_s", rate);
    pc_json_put_double(json, "submit_s", result->submit_s);
    pc_json_put_double(json, "run_s", result->run_s);
    pc_json_put_double(json, "scheduler_us", result->scheduler_us);
    pc_json_put_double(json, "client_us", result->client_us);
    if (options->is_queued)
        pc_json_put_double(json, "queued_bytes", result->queued_bytes);
    json_show(json);
    pc_json_free(json);
}

int cmd_bench(int argc, char **argv)
{
    struct bench_options options = {0};
    struct bench_result result;
    struct pc_err err;
    const char *transport = "unix";
    long tasks = 300000, engines = 10, payload = 64;
    bool as_json = false;
    const struct option_row rows[] = {
        {0, "tasks", OPTION_NUMBER, &tasks, "N", "how many (default: 300000)", .min = 1,
         .max = 10000000},
        {0, "engines", OPTION_NUMBER, &engines, "N", "simulated engines (default: 10)", .min = 1,
         .max = 10000},
        {0, "transport", OPTION_CHOICE, &transport, "HOW",
         "how client and engines connect: unix; tcp, encrypted; unix-encrypted, to see what "
         "encryption alone costs (default: unix)",
         .choices = TRANSPORTS},
        {0, "scheme", OPTION_CHOICE, &options.scheme, "NAME",
         "how tasks are given to engines: " OPTIONS_SCHEMES " (default: leastload)",
         .choices = OPTIONS_SCHEMES},
        {0, "payload", OPTION_NUMBER, &payload, "BYTES", "what each task carries (default: 64)",
         .min = 0, .max = 1000000},
        {0, "queued", OPTION_SET, &options.is_queued, NULL,
         "queue all of them before the first one is answered"},
        {0, "dependent", OPTION_SET, &options.is_dependent, NULL,
         "let all of them depend on the first"},
        {0},
    };
    const struct option_page page = {
        .command = "bench",
        .operands = "sched",
        .about = "Measures the scheduler without Python: a controller of its own, engines that do\n"
                 "nothing, and a client in C. Disturbs no cluster.",
        .rows = rows,
        .shared = {{option_json_rows, &as_json}},
        .operand_min = 1,
        .operand_max = 1,
        .operand_choices = "sched",
    };
    int exit_code, first = options_read(&page, argc, argv, &exit_code);
    if (first < 0)
        return exit_code;
    if (strcmp(argv[first], "sched") != 0) {
        fprintf(stderr, "pcluster bench: can't measure '%s'; it can be 'sched'\n", argv[first]);
        return CMD_USAGE;
    }
    options.tasks = (unsigned)tasks;
    options.engines = (unsigned)engines;
    options.payload = (unsigned)payload;
    options.transport = transport_of(transport);
    if (bench_run(&options, &result, &err)) {
        fprintf(stderr, "pcluster bench: %s\n", err.text);
        return CMD_FAILED;
    }
    show(&options, &result, transport, as_json);
    return CMD_OK;
}
