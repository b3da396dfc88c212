/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka needs these headers before its own. */
#ifndef PC_TEST_UNIT_H
#define PC_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#endif
