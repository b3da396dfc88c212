/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/clock.h"

#include <stdatomic.h>
#include <time.h>

/* Only tests write it; atomic because libpcluster is used from many threads. */
static _Atomic int64_t fake_ms = -1;

static int64_t read_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t pc_clock_us(void)
{
    int64_t fake = atomic_load_explicit(&fake_ms, memory_order_relaxed);
    return fake >= 0 ? fake * 1000 : read_us(CLOCK_MONOTONIC);
}

int64_t pc_clock_ms(void)
{
    return pc_clock_us() / 1000;
}

int64_t pc_wall_us(void)
{
    return read_us(CLOCK_REALTIME);
}

void pc_clock_fake_ms(int64_t now_ms)
{
    atomic_store(&fake_ms, now_ms);
}
