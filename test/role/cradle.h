/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A cradle for engines: the real nursery and real engines, with this test as their parent and
 * scheduler. The scheduler played here does nothing by itself: it answers no output with credit
 * and acknowledges no result unless a test does so.
 */
#ifndef PC_TEST_CRADLE_H
#define PC_TEST_CRADLE_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/connfile.h"
#include "lib/json.h"
#include "lib/sock.h"

#define CRADLE_LIMIT_MS 30000 /* nothing here takes so long unless it hangs */
#define CRADLE_SESSION  7

struct cradle {
    pid_t pid; /* of the nursery */
    char dir[64];
    int listen_fd;
    struct pc_sock parent; /* our end */
    uint32_t next_id;
    int drops; /* so many connections are dropped before one is taken in, every other after HELLO */
};

/* Fields of CONFIG besides the connection, as JSON text: "" or "\"preload\":[\"json\"]". Waits for
 * nothing. */
void cradle_open(struct cradle *cradle, const char *config_fields);
/* Waits for READY. */
void cradle_ready(struct cradle *cradle);
/* Ends the nursery with a SHUTDOWN and checks that it leaves with code 0; no engine may be left
 * in the test's hands that was not told to leave. */
void cradle_close(struct cradle *cradle);
/* Waits until the nursery is gone; returns the status of waitpid. */
int cradle_wait(struct cradle *cradle);
/* Frees what is left here. */
void cradle_free(struct cradle *cradle);

struct cradle_engine {
    struct pc_sock control, work;
    uint32_t id;
    pid_t pid;
    char uuid[33];
    uint64_t sequence; /* of the last task */
};

/* Has one engine started and takes in both its lanes. */
void cradle_engine(struct cradle *cradle, struct cradle_engine *engine);
void cradle_engine_close(struct cradle_engine *engine);

/* The next message of this type, passing over others. */
struct pc_msg *cradle_await(struct pc_sock *sock, uint8_t type);
/* Waits until the other side closes. */
void cradle_await_end(struct pc_sock *sock);
/* False: nothing came for as long as a message takes that is on its way. */
bool cradle_has_more(struct pc_sock *sock);
void cradle_send(struct pc_sock *sock, uint8_t type, const void *body, size_t size);
/* EXITED of this engine. */
pc_json *cradle_exit(struct cradle *cradle, const struct cradle_engine *engine);

/* Sends source text, or (kind PULL) JSON, to run. */
void cradle_run(struct cradle_engine *engine, uint8_t kind, uint8_t flags, const char *text);
/* Waits for the result of the last task. Output before it is appended to *output[stream] when
 * given, and credited. */
struct pc_msg *cradle_result(struct cradle_engine *engine, struct pc_buf *output);
/* Runs source text; fails the test unless it ends well. Returns its stdout, to be freed. */
char *cradle_do(struct cradle_engine *engine, const char *source);
void cradle_ack(struct cradle_engine *engine, uint64_t sequence);
/* The whole SHUTDOWN of an engine: it must leave by itself. */
void cradle_dismiss(struct cradle *cradle, struct cradle_engine *engine);

#endif
