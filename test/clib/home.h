/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the C library share: folders of their own, in which they host a cluster through
 * the library itself. They see <pcluster.h> and link libpcluster.so, as any program does.
 */
#ifndef PC_TEST_CLIB_HOME_H
#define PC_TEST_CLIB_HOME_H

#include "unit.h"

#include <stdbool.h>

#include <pcluster.h>

#define HOME_LIMIT_MS 60000

struct home {
    char path[32];
    bool is_apart;              /* the cluster is not hosted: $CLIB_APART, for valgrind */
    struct pc_cluster *cluster; /* NULL when there is none, or is_apart */
    struct pc_client *client;   /* of it, or NULL */
};

/* Private folders, in the environment and as current folder. */
void home_open(struct home *home);
void home_enter(const struct home *home);             /* again, after another one */
void home_start(struct home *home, unsigned engines); /* a cluster, and a client of it */
void home_stop(struct home *home);                    /* the cluster only */
struct pc_client *home_connect(const struct home *home);
/* Stops what runs; fails when a process is left. */
void home_close(struct home *home);

/* For groups of tests that share a cluster of two engines: *state is a struct home. */
int home_setup(void **state);
int home_teardown(void **state);

/* Processes of this test, besides itself, that end within the time are none. */
int home_processes(const struct home *home, int timeout_ms);

/* The value of a call, which is released; fails unless it has this form, and, when given, text. */
void home_expect(struct pc_call *call, enum pc_form form, const char *text);
/* The same of a call that fails: a part of the error's text. */
void home_expect_error(struct pc_call *call, const char *part);

#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (!strstr(text, part))                                                                   \
            fail_msg("no '%s' in '%s'", part, text);                                               \
    } while (0)

#endif
