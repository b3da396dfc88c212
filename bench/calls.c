/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls of source text on one engine through the C library, one at a time: the median of a round
 * trip in microseconds, as one line of JSON.
 *
 * usage: calls FILE [calls]     FILE: connection file of a cluster with an engine
 */
#include <pcluster.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WARM_UP       300
#define DEFAULT_CALLS 3000
#define MOST_CALLS    1000000

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static void die(const char *what)
{
    fprintf(stderr, "calls: %s\n", what);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

/* One round trip: from the text to its value. */
static void call_once(struct pc_client *client, const struct pc_request *there)
{
    struct pc_call *call;
    struct pc_value value;
    struct pc_err err;
    if (pc_execute(client, there, "None", &call, &err) || pc_call_get(call, -1, &value, &err))
        die(err.text);
    pc_call_unref(call);
}

int main(int argc, char **argv)
{
    struct pc_connect how = {.file = argc > 1 ? argv[1] : NULL};
    long count = argc > 2 ? atol(argv[2]) : DEFAULT_CALLS;
    struct pc_client *client;
    struct pc_engine *engines;
    size_t engine_count;
    struct pc_err err;
    if (count < 1 || count > MOST_CALLS)
        die("usage: calls FILE [calls]");
    if (pc_client_open(&client, &how, &err) ||
        pc_client_engines(client, &engines, &engine_count, &err))
        die(err.text);
    if (engine_count == 0)
        die("there is no engine");
    struct pc_request there = {.targets = &engines[0].id, .target_count = 1, .will_wait = true};
    double *times = calloc((size_t)count, sizeof(*times));
    if (!times)
        die("out of memory");
    for (long i = -WARM_UP; i < count; i++) {
        double begin = now_us();
        call_once(client, &there);
        if (i >= 0)
            times[i] = now_us() - begin;
    }
    qsort(times, (size_t)count, sizeof(*times), compare);
    printf("{\"median_us\": %.3f, \"calls\": %ld}\n", times[count / 2], count);
    free(times);
    pc_engines_free(engines);
    pc_client_close(client);
    return 0;
}
