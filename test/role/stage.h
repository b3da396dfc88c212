/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stage for the scheduler: the real role in a process of its own, with this test as its parent
 * and hub, and helpers that play clients and engines.
 */
#ifndef PC_TEST_STAGE_H
#define PC_TEST_STAGE_H

#include <sys/types.h>

#include "lib/connfile.h"
#include "lib/json.h"
#include "lib/sock.h"

/* The uuid that CONFIG gives the parent. */
#define STAGE_HOME     "00000000000000000000000000000001"
#define STAGE_LIMIT_MS 20000 /* nothing here takes so long unless it hangs */

struct stage {
    pid_t pid;
    char dir[64];
    struct pc_sock parent, hub; /* our ends */
    struct pc_connfile client, engine;
    int handover_fd;
    uint32_t next_id;
    const char *home; /* of the engines played from now on: uuid of STAGE_HOME or of a host */
};

/* heartbeat_ms as in CONFIG. */
void stage_open(struct stage *stage, int heartbeat_ms);
/* ledger_bytes as in CONFIG; the hub says nothing yet. */
void stage_open_quiet(struct stage *stage, int64_t ledger_bytes);
/* Where durable tasks are possible; the file in which it notes what begins stays the caller's. */
void stage_open_durable(struct stage *stage, int begun_fd);
/* From the hub: it has so many messages. The first time that is its greeting. */
void stage_hub_recorded(struct stage *stage, uint64_t number);
/* The parent connects it to another hub, which has not said anything yet: stage->hub. The one
 * before it may be closed, or stay. */
void stage_new_hub(struct stage *stage);
/* Other keys for who comes from now on; those of before are good for that long. */
void stage_new_keys(struct stage *stage, int overlap_ms);
/* With a grace time for clients and engines that are cut off. */
void stage_open_patient(struct stage *stage, int heartbeat_ms, int grace_ms);
/* Ends the role by the parent's end of file and checks that it left by itself with code 0. */
void stage_close(struct stage *stage);

/* A connection that has said HELLO with these fields; fails the test when it is refused. */
void stage_connect(struct stage *stage, struct pc_sock *sock, const struct pc_connfile *file,
                   enum pc_transport transport, const char *hello_fields, struct pc_msg **welcome);
/* The HELLO text with the file's public key added to the fields, for the caller to free(). */
char *stage_hello(const struct pc_connfile *file, const char *fields);

/* An engine played by the test: both lanes open, registered. */
struct fake_engine {
    struct pc_sock control, work;
    uint32_t id;
    char uuid[33], token[33];
    /* What its answers say that tasks took. Who takes 0.1 ms or less gets some ahead, and has to
     * answer RECALL. */
    int64_t took_us;
};
void stage_engine(struct stage *stage, struct fake_engine *engine, enum pc_transport transport);
/* Its two halves. */
void stage_engine_control(struct stage *stage, struct fake_engine *engine,
                          enum pc_transport transport);
void stage_engine_work(struct stage *stage, struct fake_engine *engine,
                       enum pc_transport transport);
void fake_engine_close(struct fake_engine *engine);
/* The next message of this type, passing over others. */
struct pc_msg *stage_await(struct pc_sock *sock, uint8_t type);
/* Waits until the other side closes. */
void stage_await_end(struct pc_sock *sock);
/* Answers a RUN with status OK and one part. */
void fake_engine_answer(struct fake_engine *engine, const struct pc_msg *run, const char *value);
/* From the parent: how a process ended; `is_oom`: the kernel killed it because memory ran out. */
void stage_exited(struct stage *stage, const struct fake_engine *engine, int signal_number,
                  bool is_oom, const char *tail);

#endif
