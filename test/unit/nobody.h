/* SPDX-License-Identifier: BSD-3-Clause */
/* What a test does as a user who is not root. */
#ifndef PC_TEST_NOBODY_H
#define PC_TEST_NOBODY_H

#include <stdio.h>

#define NOBODY 65534

/* Runs `body` in a child without any privilege that owns the folder; it ends with 0 when every
 * expectation held, else with the number of the line. */
void as_nobody(const char *folder, int (*body)(void));

/* In the child no assertion of cmocka's can be used. */
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            return __LINE__ % 256 ? __LINE__ : 1;                                                  \
        }                                                                                          \
    } while (0)

#endif
