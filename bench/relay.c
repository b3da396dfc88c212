/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor of this machine for a call through a scheduler: one message of 128 bytes goes
 * client -> relay -> worker -> relay -> client over Unix socketpairs, one at a time, with blocking
 * reads and writes and nothing else done. Every round trip is timed; one line of JSON says how
 * they spread. Ratios to the median of this are what bench/README.md quotes.
 *
 * usage: relay [round trips]
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_SIZE  128
#define WARM_UP       200
#define DEFAULT_TRIPS 3000
#define MOST_TRIPS    1000000

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* A socketpair keeps no message boundaries, but with one message under way a read returns all. */
static void pass(int from, int to)
{
    uint8_t message[MESSAGE_SIZE];
    ssize_t size = read(from, message, sizeof(message));
    if (size <= 0)
        _exit(0); /* the other side is done */
    if (write(to, message, (size_t)size) != size)
        _exit(1);
}

/* Starts a process that runs `turn` until a descriptor is closed. */
static void start(void (*turn)(const int *fds), const int *fds, const int *close_fds, int count)
{
    pid_t pid = fork();
    if (pid < 0)
        die("relay: fork");
    if (pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < count; i++)
        close(close_fds[i]);
    for (;;)
        turn(fds);
}

static void relay_turn(const int *fds)
{
    pass(fds[0], fds[1]);
    pass(fds[1], fds[0]);
}

static void worker_turn(const int *fds)
{
    pass(fds[0], fds[0]);
}

static double round_trip(int fd)
{
    uint8_t message[MESSAGE_SIZE] = {0};
    double begin = now_us();
    if (write(fd, message, sizeof(message)) != sizeof(message))
        die("relay: write");
    if (read(fd, message, sizeof(message)) != sizeof(message))
        die("relay: read");
    return now_us() - begin;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(double *times, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += times[i];
    qsort(times, count, sizeof(*times), by_value);
    printf("{\"round_trips\": %zu, \"median_us\": %.2f, \"mean_us\": %.2f, \"p10_us\": %.2f, "
           "\"p90_us\": %.2f}\n",
           count, times[count / 2], sum / (double)count, times[count / 10],
           times[count - 1 - count / 10]);
}

int main(int argc, char **argv)
{
    char *end = NULL;
    unsigned long count = argc > 1 ? strtoul(argv[1], &end, 10) : DEFAULT_TRIPS;
    if (argc > 2 || (end && *end) || count < 1 || count > MOST_TRIPS) {
        fprintf(stderr, "usage: relay [round trips, 1 to %d]\n", MOST_TRIPS);
        return 2;
    }
    int near[2], far[2]; /* client and relay; relay and worker */
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, near) || socketpair(AF_UNIX, SOCK_STREAM, 0, far))
        die("relay: socketpair");
    start(relay_turn, (int[]){near[1], far[0]}, (int[]){near[0], far[1]}, 2);
    start(worker_turn, (int[]){far[1]}, (int[]){near[0], near[1], far[0]}, 3);
    close(near[1]);
    close(far[0]);
    close(far[1]);

    double *times = calloc(count, sizeof(*times));
    if (!times)
        die("relay: calloc");
    for (int i = 0; i < WARM_UP; i++)
        round_trip(near[0]);
    for (unsigned long i = 0; i < count; i++)
        times[i] = round_trip(near[0]);
    report(times, count);
    free(times);
    close(near[0]);
    while (wait(NULL) > 0)
        continue;
    return 0;
}
