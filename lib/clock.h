/* SPDX-License-Identifier: BSD-3-Clause */
/* Time: a monotonic clock for deadlines, a wall clock for records. Tests may install a fake one. */
#ifndef PC_LIB_CLOCK_H
#define PC_LIB_CLOCK_H

#include <stdint.h>

int64_t pc_clock_ms(void); /* monotonic milliseconds */
int64_t pc_clock_us(void); /* monotonic microseconds */
int64_t pc_wall_us(void);  /* microseconds since 1970-01-01 UTC */

/* Replaces the monotonic clock of this process by a fixed time; a negative time removes it. */
void pc_clock_fake_ms(int64_t now_ms);

#endif
