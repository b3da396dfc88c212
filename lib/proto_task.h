/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bodies of the messages that carry work. Fixed-width, little-endian; decoders need the whole
 * body and nothing more. Frame fields used: session and sequence name the task, engine_id the
 * engine that runs or ran it.
 */
#ifndef PC_LIB_PROTO_TASK_H
#define PC_LIB_PROTO_TASK_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/known.h"
#include "lib/msg.h"
#include "lib/tags.h"

#define PC_TARGETS_MAX       100000
#define PC_NEEDS_MAX         20000
#define PC_LABEL_MAX         1024
#define PC_SUBMIT_BALANCED   0x01
#define PC_SUBMIT_OPTIONS    0x02 /* of a balanced one: options follow */
#define PC_SUBMIT_RETRY_SAME 0x04 /* among them: may be tried again where it failed */
#define PC_SUBMIT_NAMED      0x08 /* an APPLY whose function is not among the parts */
#define PC_SUBMIT_DURABLE    0x10 /* a balanced one without targets: on disk before it may begin */

/* SUBMIT: kind u8, flags u8 (PC_SUBMIT_*), run_flags u8, zero u8, target_count u32,
 * targets u32[], label_size u16, label. The frame's sequence is the first task's; target i of a
 * direct submission is task sequence + i.
 * Options: priority i32, retries u32, timeout_ms u32, run_timeout_ms u32 (0: none), tags_size u16,
 * tags (as in tags.h), then the needs `after` and `follow`, each: rule u8 (PC_NEED_*), zero u8[3],
 * count u32, and count pairs of session u64, sequence u64.
 * With PC_SUBMIT_NAMED at the end: the name of the function. */
struct pc_submit_needs {
    uint8_t rule;
    uint32_t count;
    const uint8_t *tasks; /* PC_ACK_SIZE bytes each */
};

struct pc_submit_body {
    uint8_t kind; /* enum pc_kind */
    uint8_t flags;
    uint8_t run_flags;
    uint32_t target_count;
    const uint8_t *targets; /* little-endian u32s; read with pc_load_u32(targets + 4 * i) */
    uint16_t label_size;
    const char *label; /* not terminated */
    /* with PC_SUBMIT_OPTIONS */
    int32_t priority;
    uint32_t retries, timeout_ms, run_timeout_ms;
    uint16_t tags_size;
    const char *tags; /* not terminated */
    struct pc_submit_needs after, follow;
    const uint8_t *function; /* with PC_SUBMIT_NAMED */
};

int pc_submit_encode(struct pc_buf *out, const struct pc_submit_body *body);
int pc_submit_decode(const struct pc_msg *msg, struct pc_submit_body *body, struct pc_err *err);

/* RUN: kind u8, run_flags u8, zero u16, zero u32, then the name of the function when an APPLY has
 * one. Parts: those of the submission. */
#define PC_RUN_BODY_SIZE  8
#define PC_RUN_NAMED_SIZE (PC_RUN_BODY_SIZE + PC_FUNCTION_NAME_SIZE)
struct pc_run_body {
    uint8_t kind;
    uint8_t run_flags;
    const uint8_t *function; /* NULL: it is part 0 */
};

/* Returns the size of the body. */
size_t pc_run_encode(uint8_t out[PC_RUN_NAMED_SIZE], const struct pc_run_body *body);
int pc_run_decode(const struct pc_msg *msg, struct pc_run_body *body, struct pc_err *err);

/* FUNCTION: the name. Part 0: the pickled function, at most PC_FUNCTION_MAX bytes. Messages after
 * it may name it; see known.h. */
struct pc_msg *pc_function_msg(const void *data, size_t size);
/* Also checks that it is not known yet and that the name is the one of this pickle. */
int pc_function_decode(const struct pc_msg *msg, const struct pc_known *known, struct pc_err *err);

/* RESULT: status u8 (enum pc_status, not PENDING), flags u8 (PC_RESULT_*), zero u8[6],
 * submitted_us i64, started_us i64, completed_us i64. */
#define PC_RESULT_BODY_SIZE 32
#define PC_RESULT_UNMET     0x01 /* with ERROR: the task says that this engine does not suit it */
struct pc_result_body {
    uint8_t status;
    uint8_t flags;
    int64_t submitted_us; /* filled in by the scheduler */
    int64_t started_us;
    int64_t completed_us;
};

void pc_result_encode(uint8_t out[PC_RESULT_BODY_SIZE], const struct pc_result_body *body);
int pc_result_decode(const struct pc_msg *msg, struct pc_result_body *body, struct pc_err *err);

/* RESULT_ACK: pairs of session u64, sequence u64: the client (or the hub) has these results. From
 * a client the sessions must be its own. */
#define PC_ACK_SIZE 16

/* ACCEPTED: the same pairs: these durable tasks are on disk. With a part they can't be, and end;
 * the part says why. */
#define PC_ACCEPTED_TASKS_MAX 4000
#define PC_ACCEPTED_WHY_MAX   1024
int pc_accepted_check(const struct pc_msg *msg, struct pc_err *err);
/* `pairs`: `size` bytes of them; `why` NULL: they are on disk. NULL: out of memory. */
struct pc_msg *pc_accepted_new(const void *pairs, size_t size, const char *why);

/* ABORT: flags u8 (PC_ABORT_*), zero u8[7], then pairs of session u64, sequence u64. Without a pair
 * it means the task that runs on the engine in the frame's engine_id. */
#define PC_ABORT_HEAD_SIZE 8
#define PC_ABORT_TASKS_MAX 4000
struct pc_abort_body {
    uint8_t flags;
    uint32_t count;
    const uint8_t *tasks; /* PC_ACK_SIZE bytes each */
};
int pc_abort_encode(struct pc_buf *out, const struct pc_abort_body *body);
int pc_abort_decode(const struct pc_msg *msg, struct pc_abort_body *body, struct pc_err *err);

/* RECALL: first u32, last u32: RUNs of this work lane, counted from 1 by both sides, modulo 2^32.
 * None: first is last + 1. */
#define PC_RECALL_SIZE 8
struct pc_recall_body {
    uint32_t first, last;
};
void pc_recall_encode(uint8_t out[PC_RECALL_SIZE], const struct pc_recall_body *body);
int pc_recall_decode(const struct pc_msg *msg, struct pc_recall_body *body, struct pc_err *err);

/* HELD: begun u32: the number of the last RUN that the engine had come to; count u32, 0 or 1:
 * whether it runs a task; session u64, sequence u64 of that. The results that it keeps go first. */
#define PC_HELD_SIZE 24
struct pc_held_body {
    uint32_t begun, count;
    uint64_t session, sequence;
};
void pc_held_encode(uint8_t out[PC_HELD_SIZE], const struct pc_held_body *body);
int pc_held_decode(const struct pc_msg *msg, struct pc_held_body *body, struct pc_err *err);

/* RESUMED: is_last u8, zero u8[7], then the sequence u64 of each unfinished call that the client
 * can't submit again. */
#define PC_RESUMED_HEAD_SIZE 8
#define PC_RESUMED_MAX       4000
struct pc_resumed_body {
    bool is_last;
    uint32_t count;
    const uint8_t *sequences; /* 8 bytes each */
};
int pc_resumed_decode(const struct pc_msg *msg, struct pc_resumed_body *body, struct pc_err *err);
/* NULL: out of memory. */
struct pc_msg *pc_resumed_new(const struct pc_resumed_body *body);

/* STREAM: stream u8 (enum pc_stream), flags u8 (PC_STREAM_AGAIN), zero u8[6], at u64: bytes of this
 * stream that this attempt at the task had put out before. Part 0: the bytes. */
#define PC_STREAM_AGAIN     0x01 /* the earlier scheduler was sent it: it may be there already */
#define PC_STREAM_DATA      3    /* what the task has published: a pickle, replaces the last one */
#define PC_STREAM_TEXTS     3    /* those below are text, which the hub keeps */
#define PC_DATA_MAX         (64 * 1024) /* bytes of that */
#define PC_STREAM_BODY_SIZE 16
struct pc_stream_body {
    uint8_t stream;
    uint8_t flags;
    uint64_t at;
};
int pc_stream_decode(const struct pc_msg *msg, struct pc_stream_body *body, struct pc_err *err);
/* Of an attempt that has put out `at` bytes before. */
struct pc_msg *pc_stream_new(uint8_t stream, uint64_t at, const void *data, size_t size);

/* OUTPUT_CREDIT: bytes u64: the engine may send that many more bytes of output; came u64: how many
 * messages of its work lane have come so far, see lifeline.h. */
#define PC_CREDIT_SIZE 16

struct pc_credit_body {
    uint64_t bytes, came;
};

int pc_credit_decode(const struct pc_msg *msg, struct pc_credit_body *body, struct pc_err *err);
struct pc_msg *pc_credit_new(const struct pc_credit_body *body);

/* Bytes of output an engine may have under way; each OUTPUT_CREDIT gives some back. */
#define PC_OUTPUT_WINDOW (256 * 1024)
/* Bytes of results an engine keeps until they are acknowledged; beyond, it starts no task. */
#define PC_RESULT_WINDOW (UINT64_C(64) << 20)

#endif
