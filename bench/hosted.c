/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A cluster of the program's own: how long pc_cluster_start takes until its engines are there, in
 * milliseconds, as one line of JSON.
 *
 * usage: hosted [engines]
 */
#include <pcluster.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

int main(int argc, char **argv)
{
    struct pc_cluster_options options = {.engines = argc > 1 ? (unsigned)atoi(argv[1]) : 4};
    struct pc_cluster *cluster;
    struct pc_err err;
    double begin = now_ms();
    if (pc_cluster_start(&cluster, &options, &err)) {
        fprintf(stderr, "hosted: %s\n", err.text);
        return 1;
    }
    printf("{\"start_ms\": %.3f}\n", now_ms() - begin);
    return pc_cluster_stop(cluster, &err) ? 1 : 0;
}
