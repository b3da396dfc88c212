/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sender.c - a thread that writes what submissions left behind.
 *
 * Of submissions in a rush each write takes many, so the last ones wait for company that may not
 * come: the program may have gone on to compute. It sleeps while nothing is left behind, and never
 * holds the interpreter lock.
 */
#include "ext.h"

#include <signal.h>
#include <time.h>

/* How long what was left behind may wait. */
#define TICK_NS 1000000

static void sleep_tick(struct sender *sender)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&sender->roused, &sender->lock, &until);
}

static void *run(void *argument)
{
    struct sender *sender = argument;
    pthread_mutex_lock(&sender->lock);
    while (!sender->is_stopping) {
        if (!pc_client_lingers(sender->handle)) {
            sender->is_asleep = true;
            pthread_cond_wait(&sender->roused, &sender->lock);
            continue;
        }
        sleep_tick(sender);
        pthread_mutex_unlock(&sender->lock);
        pc_client_flush(sender->handle);
        pthread_mutex_lock(&sender->lock);
    }
    pthread_mutex_unlock(&sender->lock);
    return NULL;
}

void sender_init(struct sender *sender, struct pc_client *handle)
{
    pthread_condattr_t attributes;
    *sender = (struct sender){.handle = handle};
    pthread_mutex_init(&sender->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&sender->roused, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Signals are for the interpreter's threads. */
static bool start(struct sender *sender)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&sender->thread, NULL, run, sender);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !failed;
}

void sender_rouse(struct sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    if (!sender->has_thread && !sender->is_stopping)
        sender->has_thread = start(sender);
    if (sender->is_asleep) {
        sender->is_asleep = false;
        pthread_cond_signal(&sender->roused);
    }
    bool is_alone = !sender->has_thread;
    pthread_mutex_unlock(&sender->lock);
    if (is_alone) { /* the system gives us no thread */
        nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
        pc_client_flush(sender->handle);
    }
}

void sender_stop(struct sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    bool has_thread = sender->has_thread;
    sender->has_thread = false;
    sender->is_stopping = true;
    pthread_cond_signal(&sender->roused);
    pthread_mutex_unlock(&sender->lock);
    if (has_thread)
        pthread_join(sender->thread, NULL);
    pthread_cond_destroy(&sender->roused);
    pthread_mutex_destroy(&sender->lock);
}
