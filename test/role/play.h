/* SPDX-License-Identifier: BSD-3-Clause */
/* What tests of the scheduler do as a client. All of it fails the test when it does not succeed. */
#ifndef PC_TEST_PLAY_H
#define PC_TEST_PLAY_H

#include "lib/pcluster.h"
#include "stage.h"

struct pc_client *play_open(struct stage *stage, enum pc_transport transport);
/* Fails to open; returns the error's code. */
enum pc_errc play_open_fails(const struct pc_connfile *file, enum pc_transport transport,
                             struct pc_err *err);
struct pc_call *play_submit(struct pc_client *client, const uint32_t *target, const char *source);
void play_wait(struct pc_client *client, struct pc_call *call);
void play_expect_part(struct pc_call *call, const char *text);
void play_expect_error(struct pc_call *call, const char *ename, const char *within);
/* One call there and back: the scheduler is well. */
void play_check(struct stage *stage, struct fake_engine *engine);

#endif
