/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pi by throwing darts: many balanced tasks, whose results are taken as they come by a loop of our
 * own. It also waits for the keyboard: "q" and Enter ends early, and what is known by then counts.
 *
 * usage: montecarlo [TASKS [DARTS]]     with a running cluster: pcluster start --daemonize
 */
#include <pcluster.h>

#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What an engine runs. Each task has a seed of its own, so a run can be repeated. */
static const char source[] =
    "def throw(seed, darts):\n"
    "    import random\n"
    "    place = random.Random(seed).random\n"
    "    return sum(place() ** 2 + place() ** 2 < 1 for _ in range(darts))\n";

struct tally {
    long tasks, failed;
    double darts, hits;
    long darts_each;
};

static _Noreturn void die(const struct pc_err *err)
{
    fprintf(stderr, "montecarlo: %s\n", err->text);
    exit(1);
}

/* Called by pc_dispatch when a task has ended. */
static void count(struct pc_call *call, void *arg)
{
    struct tally *tally = arg;
    struct pc_value value;
    struct pc_err err;
    bool is_task = pc_call_kind(call) == PC_KIND_APPLY;
    bool is_well = pc_call_value(call, &value, &err) == 0;
    if (!is_task && !is_well)
        die(&err); /* an engine did not take the function */
    if (!is_task)
        return;
    tally->tasks++;
    if (is_well) {
        tally->darts += (double)tally->darts_each;
        tally->hits += atof(value.data);
    } else {
        tally->failed++;
    }
}

/* Every engine gets the function; then each task, in whatever order, is one call of it. */
static void submit(struct pc_client *client, long tasks, long darts)
{
    struct pc_engine *engines;
    size_t engine_count;
    struct pc_err err;
    struct pc_call *call;
    if (pc_client_engines(client, &engines, &engine_count, &err))
        die(&err);
    for (size_t i = 0; i < engine_count; i++) {
        struct pc_request there = {.targets = &engines[i].id, .target_count = 1};
        if (pc_execute(client, &there, source, &call, &err))
            die(&err);
        pc_call_unref(call);
    }
    pc_engines_free(engines);
    struct pc_request anywhere = {.is_balanced = true, .label = "montecarlo", .may_linger = true};
    for (long i = 0; i < tasks; i++) {
        char arguments[64];
        snprintf(arguments, sizeof(arguments), "[%ld, %ld]", i, darts);
        if (pc_apply(client, &anywhere, "throw", arguments, &call, &err))
            die(&err);
        pc_call_unref(call); /* the listener gets to see it all the same */
    }
}

/* Ends what has not ended. */
static void give_up(struct pc_client *client)
{
    struct pc_call **calls;
    size_t call_count;
    struct pc_err err;
    if (pc_client_outstanding(client, &calls, &call_count, &err) ||
        pc_abort(client, calls, call_count, PC_ABORT_INTERRUPT, &err))
        die(&err);
    for (size_t i = 0; i < call_count; i++)
        pc_call_unref(calls[i]);
    pc_calls_free(calls);
}

int main(int argc, char **argv)
{
    long tasks = argc > 1 ? atol(argv[1]) : 100;
    struct tally tally = {.darts_each = argc > 2 ? atol(argv[2]) : 100000};
    struct pc_listener listener = {.ended = count, .arg = &tally};
    struct pc_client *client;
    struct pc_err err;
    if (tasks < 1 || tally.darts_each < 1) {
        fprintf(stderr, "usage: montecarlo [TASKS [DARTS]]\n");
        return 2;
    }
    if (pc_client_open(&client, NULL, &err) || pc_client_listen(client, &listener, &err))
        die(&err);
    struct pollfd polled[] = {{.fd = pc_client_fd(client, &err), .events = POLLIN},
                              {.fd = STDIN_FILENO, .events = POLLIN}};
    if (polled[0].fd < 0)
        die(&err);
    submit(client, tasks, tally.darts_each);
    if (pc_dispatch(client, 0, &err) < 0) /* sends what lingers */
        die(&err);
    while (tally.tasks < tasks) {
        poll(polled, 2, -1);
        if (polled[0].revents && pc_dispatch(client, 0, &err) < 0)
            die(&err);
        if (polled[1].revents) {
            char line[80];
            ssize_t got = read(STDIN_FILENO, line, sizeof(line));
            if (got > 0 && line[0] == 'q')
                give_up(client);
            else if (got <= 0)
                polled[1].fd = -1; /* nobody there: don't ask again */
        }
    }
    pc_client_close(client);
    if (tally.darts == 0) {
        fprintf(stderr, "montecarlo: no task went well\n");
        return 1;
    }
    double pi = 4 * tally.hits / tally.darts;
    printf("pi is %.5f, give or take %.5f: %.0f darts in %ld tasks, %ld of which were ended\n", pi,
           sqrt(pi * (4 - pi) / tally.darts), tally.darts, tally.tasks, tally.failed);
    return 0;
}
