/* SPDX-License-Identifier: BSD-3-Clause */
#include "cable.h"

#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_S 20

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(strlen(path) < sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    return address;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
        close(fd);
        return -1;
    }
    return fd;
}

static void end_strand(int strand[2])
{
    for (int side = 0; side < 2; side++) {
        if (strand[side] >= 0)
            close(strand[side]);
        strand[side] = -1;
    }
}

static void take_in(struct cable *cable)
{
    int fd = accept4(cable->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    for (int i = 0; i < CABLE_STRANDS_MAX; i++)
        if (cable->strands[i][0] < 0) {
            cable->strands[i][0] = fd;
            cable->strands[i][1] = cable->is_silent ? -1 : connect_to(cable->to);
            if (cable->strands[i][1] < 0 && !cable->is_silent)
                end_strand(cable->strands[i]);
            break;
        }
    cable->count++;
    pthread_cond_broadcast(&cable->changed);
}

/* What has come from one side goes to the other. */
static void pass_on(int strand[2], int side)
{
    char bytes[65536];
    ssize_t got = recv(strand[side], bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got < 0 && errno != EAGAIN)
        got = 0;
    for (ssize_t done = 0; done < got;) {
        ssize_t sent = send(strand[!side], bytes + done, (size_t)(got - done), MSG_NOSIGNAL);
        if (sent < 0)
            return; /* gone; what it said before still has to go the other way, up to its end */
        done += sent;
    }
    if (got == 0)
        end_strand(strand);
}

static void *run(void *argument)
{
    struct cable *cable = argument;
    pthread_mutex_lock(&cable->lock);
    while (!cable->is_over) {
        struct pollfd polled[2 + 2 * CABLE_STRANDS_MAX] = {
            {.fd = cable->listen_fd, .events = POLLIN}, {.fd = cable->wake[0], .events = POLLIN}};
        for (int i = 0; i < 2 * CABLE_STRANDS_MAX; i++) {
            const int *strand = cable->strands[i / 2];
            bool is_passed = strand[0] >= 0 && strand[1] >= 0 && !cable->is_frozen[i % 2];
            polled[2 + i] = (struct pollfd){.fd = is_passed ? strand[i % 2] : -1, .events = POLLIN};
        }
        pthread_mutex_unlock(&cable->lock);
        poll(polled, 2 + 2 * CABLE_STRANDS_MAX, -1);
        pthread_mutex_lock(&cable->lock);
        char byte;
        if (polled[1].revents && read(cable->wake[0], &byte, 1) == 1)
            continue; /* the strands may be others now */
        if (polled[0].revents)
            take_in(cable);
        for (int i = 0; i < 2 * CABLE_STRANDS_MAX; i++)
            if (polled[2 + i].revents && cable->strands[i / 2][i % 2] == polled[2 + i].fd)
                pass_on(cable->strands[i / 2], i % 2);
    }
    pthread_mutex_unlock(&cable->lock);
    return NULL;
}

static void wake(struct cable *cable)
{
    assert_int_equal(write(cable->wake[1], "", 1), 1);
}

void cable_open(struct cable *cable, const char *to)
{
    *cable = (struct cable){.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    snprintf(cable->to, sizeof(cable->to), "%s", to);
    snprintf(cable->path, sizeof(cable->path), "%.90s-%p", to, (void *)cable);
    struct sockaddr_un address = address_of(cable->path);
    assert_int_equal(bind(cable->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(cable->listen_fd, 16), 0);
    assert_int_equal(pipe(cable->wake), 0);
    memset(cable->strands, 0xff, sizeof(cable->strands));
    pthread_mutex_init(&cable->lock, NULL);
    pthread_cond_init(&cable->changed, NULL);
    assert_int_equal(pthread_create(&cable->thread, NULL, run, cable), 0);
}

void cable_close(struct cable *cable)
{
    pthread_mutex_lock(&cable->lock);
    cable->is_over = true;
    wake(cable);
    pthread_mutex_unlock(&cable->lock);
    pthread_join(cable->thread, NULL);
    for (int i = 0; i < CABLE_STRANDS_MAX; i++)
        end_strand(cable->strands[i]);
    close(cable->listen_fd);
    unlink(cable->path);
    close(cable->wake[0]);
    close(cable->wake[1]);
    pthread_cond_destroy(&cable->changed);
    pthread_mutex_destroy(&cable->lock);
}

void cable_lead_to(struct cable *cable, const char *to)
{
    pthread_mutex_lock(&cable->lock);
    snprintf(cable->to, sizeof(cable->to), "%s", to);
    pthread_mutex_unlock(&cable->lock);
}

void cable_cut(struct cable *cable)
{
    pthread_mutex_lock(&cable->lock);
    for (int i = 0; i < CABLE_STRANDS_MAX; i++)
        end_strand(cable->strands[i]);
    wake(cable);
    pthread_mutex_unlock(&cable->lock);
}

void cable_freeze(struct cable *cable, int side, bool is_frozen)
{
    pthread_mutex_lock(&cable->lock);
    cable->is_frozen[side] = is_frozen;
    wake(cable);
    pthread_mutex_unlock(&cable->lock);
}

void cable_silence(struct cable *cable, bool is_silent)
{
    pthread_mutex_lock(&cable->lock);
    cable->is_silent = is_silent;
    wake(cable);
    pthread_mutex_unlock(&cable->lock);
}

void cable_await(struct cable *cable, unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LIMIT_S;
    pthread_mutex_lock(&cable->lock);
    while (cable->count < count)
        if (pthread_cond_timedwait(&cable->changed, &cable->lock, &until))
            fail_msg("only %u of %u connections came", cable->count, count);
    pthread_mutex_unlock(&cable->lock);
}
