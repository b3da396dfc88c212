/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One task as the hub remembers it: what the scheduler's records said, and what of its request,
 * result and output is kept.
 */
#ifndef PC_HUB_TASK_H
#define PC_HUB_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hub/engines.h"
#include "lib/capture.h"
#include "lib/key.h"
#include "lib/msg.h"
#include "lib/proto_record.h"
#include "lib/proto_task.h"

#include <uthash.h>

struct hub_task_key {
    uint64_t session;
    uint64_t sequence;
};

/* A text that many tasks have in common. Owned by hub_tasks; lives while a task has it. */
struct hub_label {
    struct hub_task *tasks; /* in the order of submission */
    UT_hash_handle hh;      /* hub_tasks.labels */
    uint32_t size;
    char text[]; /* terminated */
};

/* The function of an APPLY that many tasks call. Owned by hub_tasks; lives while a task has it. */
struct hub_function {
    uint8_t name[PC_FUNCTION_NAME_SIZE];
    UT_hash_handle hh;  /* hub_tasks.functions */
    struct pc_msg *msg; /* FUNCTION */
    struct hub_tasks *tasks;
    uint64_t segment; /* of the journal whose snapshot has it */
    unsigned users;
};

/* What a task prints and displays: collected while it runs, then as text. Owned by its task. */
struct hub_output {
    struct pc_capture *live[PC_STREAM_TEXTS]; /* NULL: nothing yet, or it has ended */
    char *text[PC_STREAM_TEXTS];
    size_t size[PC_STREAM_TEXTS];
};

/* A client that asked for a result that is not there yet; owned by the task's list, and in
 * hub_watches.all. */
struct hub_watch {
    struct hub_watch *next, *prev;
    struct hub_watch *all_next, *all_prev;
    struct hub_task *task;
    uint64_t session, sequence; /* under which it is answered */
};

/* Owned by hub_tasks; a store that keeps tasks elsewhere owns those that it makes from there. */
struct hub_task {
    struct hub_task_key key;
    uint64_t number;                      /* in the order of submission, over all clients */
    struct hub_task *end_next, *end_prev; /* in the order of ending, see store_memory.c; of one
                                           * that has not: in hub_history.unwritten */
    struct hub_task *label_next, *label_prev;
    struct hub_label *label;                                     /* NULL: none */
    int64_t submitted_us, started_us, completed_us, received_us; /* 0: not (or not known) */
    uint64_t request_bytes, result_bytes;                        /* also when not kept */
    struct hub_task_key resubmitted;                             /* as that task; session 0: not */
    struct pc_msg *request, *result;                             /* their parts; NULL: not kept */
    struct hub_function *function; /* the first part of the request, when that has it not */
    struct hub_output *output;     /* NULL: none */
    struct hub_watch *watches;
    uint8_t *body; /* of SUBMIT; NULL: not known */
    uint32_t body_size;
    uint32_t engine_id;
    uint8_t engine_uuid[HUB_UUID_SIZE];
    uint8_t kind, status;
    uint8_t event; /* the latest: enum pc_record_event */
    bool is_balanced;
    bool has_gap;  /* in its output */
    bool was_kept; /* the result was here and was dropped to make room */
    bool has_engine_uuid;
    bool is_elsewhere; /* it is in the store, which has to load request, result and output ... */
    bool is_loaded;    /* ... and has done so */
    bool is_durable;   /* its submission is on disk while it has not ended */
    bool is_orphan;    /* no scheduler has it, as far as is known */
};

/* Tasks that have not been looked at for a while are in no cache. These have the processor fetch
 * one that comes next, and what it has, while something else is done. */
static inline void hub_task_come(const struct hub_task *task)
{
    for (size_t at = 0; at < sizeof(*task); at += 64)
        __builtin_prefetch((const uint8_t *)task + at);
}

static inline void hub_task_payload_come(const struct hub_task *task)
{
    const void *const pieces[] = {task->request, task->result, task->body};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        __builtin_prefetch(pieces[i]);
        __builtin_prefetch((const uint8_t *)pieces[i] + 64);
    }
}

void hub_task_free(struct hub_task *task);
static inline bool hub_task_has_ended(const struct hub_task *task)
{
    return task->event == PC_RECORD_ENDED;
}

/* "0123456789abcdef_12" */
#define HUB_ID_SIZE 40
void hub_id_print(const struct hub_task_key *key, char text[HUB_ID_SIZE]);
int hub_id_parse(const char *text, struct hub_task_key *key);

/* Takes over what a SUBMIT body says; a broken one is ignored (-1). The label is left to the
 * caller. *fields: the body decoded; its pointers are into task->body. */
int hub_task_set_body(struct hub_task *task, const void *body, size_t size,
                      struct pc_submit_body *fields);
/* The body decoded; its pointers are into task->body. -1: it is not known. */
int hub_task_body(const struct hub_task *task, struct pc_submit_body *body);

/* The parts of its request with the function first, in a new message; NULL: they are not kept. */
struct pc_msg *hub_task_request(const struct hub_task *task);

/* A piece of its output. Returns how many of the first bytes were there already. */
size_t hub_task_print(struct hub_task *task, const struct pc_stream_body *body, const void *data,
                      size_t size);
/* What hub_task_output gave, before anything is printed. */
void hub_task_load_output(struct hub_task *task, uint8_t stream, const void *text, size_t size);
/* No more output comes: gives back the room that it does not need. */
void hub_task_close_output(struct hub_task *task);
/* A copy for the caller to free(); NULL: nothing. */
char *hub_task_output(const struct hub_task *task, uint8_t stream, size_t *size);

/* Forgets request, result and output. */
void hub_task_drop_payload(struct hub_task *task);
/* Bytes of them. */
uint64_t hub_task_payload(const struct hub_task *task);
/* Memory of a task without them. */
uint64_t hub_task_cost(const struct hub_task *task);

#endif
