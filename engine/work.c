/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/py.h"

#include "engine/work.h"

#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "engine/call.h"
#include "engine/forkfix.h"
#include "engine/intr.h"
#include "engine/outio.h"
#include "engine/recall.h"
#include "engine/run.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proto.h"
#include "lib/proto_task.h"

/* What keeping a result costs besides its bytes. */
#define KEPT_OVERHEAD 256

struct eng_kept {
    struct eng_task_key key;
    struct pc_msg *msg;
    PyObject *owner; /* of the memory of its parts; NULL: the message */
    uint64_t bytes;
    bool is_queued; /* it was sent; before, the task counts as one that runs */
    UT_hash_handle hh;
};

void eng_work_init(struct eng_work *work, struct pc_sock *sock, int control_fd)
{
    *work = (struct eng_work){0};
    eng_lane_init(&work->lane, sock, control_fd);
}

/* ---- results that are kept -------------------------------------------------------------- */

static struct eng_kept *keep_result(struct eng_work *work, struct eng_outcome *outcome)
{
    struct eng_kept *kept = pc_xcalloc(1, sizeof(*kept));
    kept->key = (struct eng_task_key){outcome->msg->head.session, outcome->msg->head.sequence};
    kept->msg = outcome->msg;
    kept->owner = outcome->owner;
    kept->bytes = outcome->msg->parts_bytes + KEPT_OVERHEAD;
    pthread_mutex_lock(&work->lane.lock);
    work->kept_bytes += kept->bytes;
    HASH_ADD(hh, work->kept, key, sizeof(kept->key), kept);
    work->is_running = false;
    pthread_mutex_unlock(&work->lane.lock);
    return kept;
}

static struct eng_kept *take_kept(struct eng_work *work, const struct eng_task_key *key)
{
    struct eng_kept *kept;
    pthread_mutex_lock(&work->lane.lock);
    HASH_FIND(hh, work->kept, key, sizeof(*key), kept);
    if (kept) {
        HASH_DEL(work->kept, kept);
        work->kept_bytes -= kept->bytes;
    }
    pthread_mutex_unlock(&work->lane.lock);
    return kept;
}

static void free_kept(struct eng_kept *kept)
{
    pc_msg_unref(kept->msg);
    if (kept->owner) {
        PyGILState_STATE state = PyGILState_Ensure();
        Py_DECREF(kept->owner);
        PyGILState_Release(state);
    }
    free(kept);
}

static int on_ack(struct eng_work *work, const struct pc_msg *msg, struct pc_err *err)
{
    struct pc_reader reader;
    pc_reader_init(&reader, msg->body, msg->head.body_size);
    if (msg->head.body_size % PC_ACK_SIZE)
        return pc_err_set(err, PC_E_PROTOCOL, "malformed RESULT_ACK");
    while (reader.left) {
        struct eng_task_key key = {.session = pc_get_u64(&reader)};
        key.sequence = pc_get_u64(&reader);
        struct eng_kept *kept = take_kept(work, &key);
        eng_intr_forget(key.session, key.sequence);
        if (kept) /* one that was acknowledged before does no harm */
            free_kept(kept);
    }
    return 0;
}

/* ---- another scheduler ------------------------------------------------------------------ */

/* Those of tasks whose results it does not have. */
static uint64_t send_pieces(struct eng_work *work, struct pc_msg **pieces)
{
    uint64_t bytes = 0;
    for (; *pieces; pieces++) {
        struct eng_task_key key = {(*pieces)->head.session, (*pieces)->head.sequence};
        struct eng_kept *kept;
        HASH_FIND(hh, work->kept, &key, sizeof(key), kept);
        bool is_running = work->is_running && memcmp(&key, &work->running, sizeof(key)) == 0;
        if (!kept && !is_running)
            continue;
        (*pieces)->body[1] |= PC_STREAM_AGAIN;
        eng_lane_queue(&work->lane, *pieces);
        bytes += (*pieces)->parts_bytes;
    }
    return bytes;
}

/* With the lane's lock. */
static void report(void *arg, struct pc_msg **pieces)
{
    struct eng_work *work = arg;
    struct eng_kept *kept, *next;
    struct pc_held_body held = {.begun = eng_recall_restart(), .count = work->is_running};
    uint8_t body[PC_HELD_SIZE];
    eng_out_restart(send_pieces(work, pieces));
    if (work->is_running) {
        held.session = work->running.session;
        held.sequence = work->running.sequence;
    }
    HASH_ITER (hh, work->kept, kept, next) {
        if (kept->is_queued) {
            eng_lane_queue(&work->lane, kept->msg);
        } else { /* its last output is on its way; then it follows */
            held.count = 1;
            held.session = kept->key.session;
            held.sequence = kept->key.sequence;
        }
    }
    pc_held_encode(body, &held);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_HELD, body, sizeof(body));
    eng_lane_queue(&work->lane, msg);
    pc_msg_unref(msg);
}

void eng_work_begin_anew(struct eng_work *work, struct pc_sock *sock, int control_fd)
{
    eng_lane_begin_anew(&work->lane, sock, control_fd, report, work);
}

/* ---- tasks ------------------------------------------------------------------------------ */

enum beginning { BEGINS, WAS_RECALLED, IS_STALE };

/* A RUN of a scheduler that is gone does not begin: the next one was told so, or will be. */
static enum beginning begin(struct eng_work *work, const struct pc_msg *run)
{
    enum beginning how = IS_STALE;
    pthread_mutex_lock(&work->lane.lock);
    if (work->lane.life == work->life)
        how = eng_recall_begin() ? BEGINS : WAS_RECALLED;
    if (how == BEGINS) {
        work->is_running = true;
        work->running = (struct eng_task_key){run->head.session, run->head.sequence};
    }
    pthread_mutex_unlock(&work->lane.lock);
    return how;
}

static int run_task(struct eng_work *work, struct pc_msg *msg, PyThreadState **thread,
                    struct pc_err *err)
{
    struct eng_outcome outcome;
    enum beginning how = begin(work, msg);
    if (how != BEGINS)
        return how == WAS_RECALLED ? eng_run_pass(msg, err) : 0;
    eng_out_begin(msg->head.session, msg->head.sequence);
    PyEval_RestoreThread(*thread);
    eng_py_run_signals(); /* what came while idle; from the next line on they are for the task */
    bool may_run = eng_intr_begin(msg->head.session, msg->head.sequence);
    int failed = eng_run_task(msg, may_run, &outcome, err);
    *thread = PyEval_SaveThread();
    eng_forkfix_leave(); /* pickling or describing what came of it is user code, too */
    eng_intr_end();
    if (failed)
        return -1;
    struct eng_kept *kept = keep_result(work, &outcome);
    eng_out_end(outcome.msg, &kept->is_queued);
    return 0;
}

static int learn(struct pc_msg *msg, PyThreadState **thread, struct pc_err *err)
{
    PyEval_RestoreThread(*thread);
    int failed = eng_call_learn(msg, err); /* forgetting another one may run user code */
    *thread = PyEval_SaveThread();
    return failed;
}

/* In the order in which they came: a task may need a function that came just before it. */
static int do_next(struct eng_work *work, struct pc_msg *msg, PyThreadState **thread,
                   struct pc_err *err)
{
    if (msg->head.type == PC_MSG_FUNCTION)
        return learn(msg, thread, err);
    return run_task(work, msg, thread, err);
}

static bool may_start(const struct eng_work *work)
{
    return work->kept_bytes <= PC_RESULT_WINDOW;
}

static void put_waiting(struct eng_work *work, struct pc_msg *msg)
{
    if (work->waiting_first) {
        memmove(work->waiting, work->waiting + work->waiting_first,
                work->waiting_count * sizeof(*work->waiting));
        work->waiting_first = 0;
    }
    if (work->waiting_count == work->waiting_capacity) {
        work->waiting_capacity = 2 * work->waiting_capacity + 16;
        work->waiting = pc_xrealloc(work->waiting, work->waiting_capacity, sizeof(*work->waiting));
    }
    work->waiting[work->waiting_count++] = pc_msg_ref(msg);
}

static struct pc_msg *take_waiting(struct eng_work *work)
{
    struct pc_msg *msg = work->waiting[work->waiting_first++];
    if (--work->waiting_count == 0)
        work->waiting_first = 0;
    return msg;
}

static int on_message(struct eng_work *work, struct pc_msg *msg, PyThreadState **thread,
                      struct pc_err *err)
{
    switch (msg->head.type) {
    case PC_MSG_FUNCTION:
    case PC_MSG_RUN:
        if (work->waiting_count || !may_start(work)) {
            put_waiting(work, msg);
            return 0;
        }
        return do_next(work, msg, thread, err);
    case PC_MSG_RESULT_ACK:
        return on_ack(work, msg, err);
    default:
        return pc_err_set(err, PC_E_PROTOCOL, "%s on the work lane", pc_msg_name(msg->head.type));
    }
}

/* From the scheduler that there was come no acknowledgements any more, and what it had sent and has
 * not begun the next one knows from the clients. */
static void change_scheduler(struct eng_work *work, uint32_t life, PyThreadState **thread)
{
    while (work->waiting_count)
        pc_msg_unref(take_waiting(work));
    PyEval_RestoreThread(*thread);
    eng_call_forget();
    *thread = PyEval_SaveThread();
    work->life = life;
}

/* The next message, waiting for it, also for another connection when this one broke. NULL: the end.
 * A signal lets Python's handlers run. */
static struct pc_msg *receive(struct eng_work *work, PyThreadState **thread, struct pc_err *err)
{
    for (;;) {
        uint32_t life = work->life;
        struct pc_msg *msg = eng_lane_receive(&work->lane, &life, err);
        if (life != work->life)
            change_scheduler(work, life, thread);
        bool is_lost = !msg && err->code == PC_E_LOST;
        if (msg || (!is_lost && err->code != PC_E_INTERRUPTED))
            return msg;
        if (is_lost && (atomic_load(&work->is_stopping) || !eng_lane_wait(&work->lane)))
            return NULL;
        PyEval_RestoreThread(*thread);
        eng_py_run_signals();
        *thread = PyEval_SaveThread();
    }
}

enum eng_work_end eng_work_loop(struct eng_work *work, struct pc_err *why)
{
    PyThreadState *thread = PyEval_SaveThread();
    int failed = 0;
    while (!failed && !atomic_load(&work->is_stopping)) {
        struct pc_msg *msg = NULL;
        if (work->waiting_count && may_start(work)) {
            msg = take_waiting(work);
            failed = do_next(work, msg, &thread, why);
        } else if ((msg = receive(work, &thread, why)) != NULL) {
            failed = on_message(work, msg, &thread, why);
        } else {
            failed = -1;
        }
        eng_forkfix_leave(); /* releasing a kept result or function may have run user code */
        pc_msg_unref(msg);
    }
    PyEval_RestoreThread(thread);
    if (atomic_load(&work->is_stopping))
        return ENG_WORK_STOPPED;
    return why->code == PC_E_PROTOCOL ? ENG_WORK_BROKEN : ENG_WORK_LOST;
}
