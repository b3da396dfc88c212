/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/forkfix.h"

#include <assert.h>
#include <pthread.h>
#include <unistd.h>

#include "engine/outio.h"
#include "lib/log.h"

#define GUARDED_MAX 8

static int guarded[GUARDED_MAX];
static int guarded_count;
static bool is_child; /* fork() was used; what a bare system call made has only its pid */
static pid_t engine;

/* Runs between fork() and its return: only what is safe there. */
static void in_child(void)
{
    is_child = true;
    for (int i = 0; i < guarded_count; i++)
        close(guarded[i]);
    guarded_count = 0;
    eng_out_forget();
}

void eng_forkfix_install(void)
{
    engine = getpid();
    if (pthread_atfork(NULL, NULL, in_child) != 0)
        pc_fatal(1, "out of memory");
}

void eng_forkfix_guard(int fd)
{
    assert(guarded_count < GUARDED_MAX);
    guarded[guarded_count++] = fd;
}

void eng_forkfix_replace(int before, int now)
{
    for (int i = 0; i < guarded_count; i++)
        if (guarded[i] == before)
            guarded[i] = now;
}

bool eng_forkfix_is_child(void)
{
    return is_child || getpid() != engine;
}

void eng_forkfix_leave(void)
{
    if (eng_forkfix_is_child())
        _exit(0);
}
