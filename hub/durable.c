/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "lib/buf.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proto.h"

/* What is sent for one question. */
#define PAGE_TASKS 1000
#define PAGE_BYTES (16u << 20)
/* As the scheduler writes it, see sched/begun.h. */
#define SLOT_SIZE 24

/* ---- to the disk ---------------------------------------------------------------------------- */

/* `why` NULL: they are on disk. */
static void say(struct pc_conn *scheduler, struct pc_buf *pairs, const char *why)
{
    if (!pairs->size)
        return;
    struct pc_msg *msg = pc_accepted_new(pairs->data, pairs->size, why);
    if (!msg || pairs->failed)
        pc_fatal(1, "out of memory");
    pc_conn_send(scheduler, msg);
    pairs->size = 0;
}

static void say_task(struct pc_conn *scheduler, struct pc_buf *pairs, const struct hub_task *task)
{
    pc_buf_put_u64(pairs, task->key.session);
    pc_buf_put_u64(pairs, task->key.sequence);
    if (pairs->size >= PC_ACCEPTED_TASKS_MAX * PC_ACK_SIZE)
        say(scheduler, pairs, NULL);
}

/* The disk has it: nobody else needs to. */
static void settle(struct hub_history *history, struct hub_task *task)
{
    hub_history_leave_unwritten(history, task);
    hub_task_drop_payload(task);
}

static void refuse(struct hub_history *history, struct hub_task *task, struct pc_conn *scheduler,
                   const char *why)
{
    struct pc_buf pair;
    pc_buf_init(&pair, 0);
    pc_buf_put_u64(&pair, task->key.session);
    pc_buf_put_u64(&pair, task->key.sequence);
    settle(history, task);
    task->is_durable = false;
    say(scheduler, &pair, why);
    pc_buf_fini(&pair);
}

/* Those whose requests are not here: they were left out of the journal for their size. */
static void sort_out(struct hub_history *history, struct pc_conn *scheduler, struct pc_buf *pairs)
{
    struct hub_store *store = &history->store;
    struct hub_task *task, *next;
    DL_FOREACH_SAFE2 (history->unwritten, task, next, end_next) {
        if (task->request)
            continue;
        if (store->kind->has_durable && store->kind->has_durable(store, &task->key)) {
            settle(history, task);
            say_task(scheduler, pairs, task);
        } else {
            refuse(history, task, scheduler,
                   "the hub was killed before it was on disk; submit it again");
        }
    }
}

/* One that is too large, say, is no reason to refuse the others. */
static void write_one_by_one(struct hub_history *history, struct pc_conn *scheduler,
                             struct pc_buf *pairs)
{
    struct hub_store *store = &history->store;
    struct hub_task *task, *next;
    struct pc_err err;
    DL_FOREACH_SAFE2 (history->unwritten, task, next, end_next) {
        DL_DELETE2(history->unwritten, task, end_prev, end_next);
        struct hub_task *alone = NULL;
        DL_APPEND2(alone, task, end_prev, end_next);
        int status = store->kind->write_durable(store, alone, &err);
        task->end_prev = task->end_next = NULL;
        if (status < 0) {
            refuse(history, task, scheduler, err.text);
        } else {
            settle(history, task);
            say_task(scheduler, pairs, task);
        }
    }
}

static void write_all(struct hub_history *history, struct pc_conn *scheduler, struct pc_buf *pairs)
{
    struct hub_store *store = &history->store;
    struct pc_err err;
    if (!store->kind->write_durable) {
        const char *why = store->trouble[0] ? store->trouble : "the tasks are not kept on disk";
        while (history->unwritten)
            refuse(history, history->unwritten, scheduler, why);
    } else if (store->kind->write_durable(store, history->unwritten, &err) == 0) {
        while (history->unwritten) {
            struct hub_task *task = history->unwritten;
            settle(history, task);
            say_task(scheduler, pairs, task);
        }
    } else {
        pc_warn("%s; durable tasks are refused", err.text);
        write_one_by_one(history, scheduler, pairs);
    }
}

void hub_durable_write(struct hub_history *history, struct pc_conn *scheduler)
{
    struct pc_buf pairs;
    if (!history->unwritten)
        return;
    pc_buf_init(&pairs, 0);
    sort_out(history, scheduler, &pairs);
    if (history->unwritten)
        write_all(history, scheduler, &pairs);
    say(scheduler, &pairs, NULL);
    pc_buf_fini(&pairs);
}

void hub_durable_ended(struct hub_history *history)
{
    struct hub_store *store = &history->store;
    if (history->has_durable_end && store->kind->sync)
        store->kind->sync(store);
    history->has_durable_end = false;
}

/* ---- another hub, another scheduler --------------------------------------------------------- */

static struct hub_task *next_durable(struct hub_history *history, uint64_t number)
{
    struct hub_task *task;
    while ((task = hub_tasks_after(&history->tasks, number, NULL)) != NULL) {
        number = task->number;
        if (task->is_durable && !hub_task_has_ended(task))
            return task;
    }
    return NULL;
}

void hub_durable_say(struct hub_history *history, struct pc_conn *scheduler)
{
    struct pc_buf pairs;
    struct hub_task *task;
    hub_durable_ended(history);
    hub_durable_write(history, scheduler);
    pc_buf_init(&pairs, 0);
    for (uint64_t at = 0; (task = next_durable(history, at)) != NULL; at = task->number)
        if (!task->is_orphan)
            say_task(scheduler, &pairs, task);
    say(scheduler, &pairs, NULL);
    pc_buf_fini(&pairs);
}

/* ---- the cluster was started again ---------------------------------------------------------- */

static void take(void *arg, struct hub_task *found)
{
    struct hub_history *history = arg;
    struct pc_submit_body fields;
    struct hub_task *task = hub_tasks_restore(&history->tasks, &found->key, found->number);
    task->submitted_us = found->submitted_us;
    task->kind = found->kind;
    task->request_bytes = found->request_bytes;
    task->event = PC_RECORD_SUBMITTED;
    task->is_durable = task->is_orphan = true;
    history->submitted++;
    if (hub_task_set_body(task, found->body, found->body_size, &fields) == 0)
        hub_tasks_set_label(&history->tasks, task, fields.label, fields.label_size);
}

static void set_retries(struct hub_history *history, struct hub_task *task,
                        struct pc_submit_body *fields, uint32_t retries)
{
    struct hub_store *store = &history->store;
    struct pc_buf body;
    struct pc_err err;
    pc_buf_init(&body, 0);
    fields->retries = retries;
    if (pc_submit_encode(&body, fields))
        pc_fatal(1, "out of memory");
    hub_task_set_body(task, body.data, body.size, fields);
    pc_buf_fini(&body);
    if (store->kind->change_durable(store, task, &err))
        pc_warn("%s", err.text);
}

/* It was given to an engine that often. */
static void take_begun(struct hub_history *history, struct hub_task *task, uint64_t count)
{
    struct pc_submit_body fields;
    bool is_known = hub_task_body(task, &fields) == 0;
    task->is_orphan = false; /* a mark is taken once */
    if (is_known && fields.retries >= count) {
        set_retries(history, task, &fields, (uint32_t)(fields.retries - count));
        task->is_orphan = true;
        return;
    }
    hub_history_fail(history, task, "EngineError",
                     "the task had begun when the whole cluster was killed or stopped; it has no "
                     "retries left to run again");
}

static void take_slots(struct hub_history *history, int fd)
{
    uint8_t slot[SLOT_SIZE];
    for (off_t at = 0; pread(fd, slot, sizeof(slot), at) == sizeof(slot); at += SLOT_SIZE) {
        struct hub_task_key key = {pc_load_u64(slot), pc_load_u64(slot + 8)};
        struct hub_task *task = hub_tasks_find(&history->tasks, &key);
        uint64_t count = pc_load_u64(slot + 16);
        if (task && task->is_orphan && count)
            take_begun(history, task, count);
    }
}

void hub_durable_restore(struct hub_history *history, const char *path)
{
    struct hub_store *store = &history->store;
    if (!store->kind->restore_durable)
        return;
    char *begun = pc_xasprintf("%s-begun", path);
    int fd = open(begun, O_RDWR | O_CLOEXEC);
    uint64_t submitted = history->submitted;
    store->kind->restore_durable(store, take, history);
    if (fd >= 0) {
        take_slots(history, fd);
        hub_durable_ended(history);
        if (ftruncate(fd, 0) < 0)
            pc_warn("can't empty '%s': %s", begun, strerror(errno));
        close(fd);
    } else if (errno != ENOENT) {
        pc_warn("can't read '%s', which says what has begun: %s", begun, strerror(errno));
    }
    if (history->submitted > submitted)
        pc_info("%llu durable tasks of an earlier life of the cluster had not ended",
                (unsigned long long)(history->submitted - submitted));
    free(begun);
}

/* ---- to a scheduler that has none of them ------------------------------------------------- */

/* Whether the end of that task meets the rule. */
static bool is_met(const struct hub_task *task, uint8_t rule)
{
    return rule & (task->status == PC_STATUS_OK ? PC_NEED_SUCCESS : PC_NEED_FAILURE);
}

/* Leaves out what was met before: the scheduler does not know those tasks. */
static void trim_needs(struct hub_history *history, struct pc_submit_needs *needs,
                       struct pc_buf *left)
{
    bool needs_all = needs->rule & PC_NEED_ALL;
    for (uint32_t i = 0; i < needs->count; i++) {
        const uint8_t *pair = needs->tasks + (size_t)i * PC_ACK_SIZE;
        struct hub_task_key key = {pc_load_u64(pair), pc_load_u64(pair + 8)};
        struct hub_task *task = hub_store_get(&history->store, &key);
        bool has_ended = task && hub_task_has_ended(task);
        if (has_ended && is_met(task, needs->rule) && !needs_all) {
            left->size = 0; /* one is enough */
            break;
        }
        if (!has_ended || !is_met(task, needs->rule))
            pc_buf_put(left, pair, PC_ACK_SIZE);
    }
    needs->count = (uint32_t)(left->size / PC_ACK_SIZE);
    needs->tasks = left->data;
}

/* Of a client that is there it comes from the client, who knows better what has ended. */
static bool is_revived(struct hub_clients *clients, const struct hub_task *task)
{
    return task->is_orphan &&
           (task->is_durable || !hub_clients_is_there(clients, task->key.session));
}

static struct hub_task *next_orphan(struct hub_history *history, uint64_t number)
{
    struct hub_task *task;
    while ((task = hub_tasks_after(&history->tasks, number, NULL)) != NULL) {
        number = task->number;
        if (task->is_orphan && !hub_task_has_ended(task))
            return task;
    }
    return NULL;
}

static struct pc_msg *submission(struct hub_history *history, struct hub_task *task)
{
    struct pc_submit_body fields;
    struct pc_buf body, after;
    hub_store_load(&history->store, task);
    struct pc_msg *request = hub_task_request(task);
    if (!request || hub_task_body(task, &fields)) {
        pc_msg_unref(request);
        return NULL;
    }
    pc_buf_init(&body, 0);
    pc_buf_init(&after, 0);
    fields.flags &= (uint8_t)~PC_SUBMIT_NAMED; /* it is the first part now */
    fields.function = NULL;
    trim_needs(history, &fields.after, &after);
    if (after.failed || pc_submit_encode(&body, &fields))
        pc_fatal(1, "out of memory");
    struct pc_msg *msg = pc_msg_sharing(PC_MSG_SUBMIT, body.data, body.size, request);
    if (!msg)
        pc_fatal(1, "out of memory");
    msg->head.session = task->key.session;
    msg->head.sequence = task->key.sequence;
    pc_buf_fini(&body);
    pc_buf_fini(&after);
    pc_msg_unref(request);
    if (task->is_durable)
        hub_task_drop_payload(task);
    return msg;
}

pc_json *hub_durable_revive(struct hub_history *history, struct hub_clients *clients,
                            const pc_json *question, struct pc_conn *scheduler)
{
    uint64_t at = (uint64_t)pc_json_i64_or(question, "after", 0), bytes = 0;
    struct hub_task *task;
    unsigned count = 0;
    for (; count < PAGE_TASKS && bytes < PAGE_BYTES && (task = next_orphan(history, at)) != NULL;
         at = task->number) {
        struct pc_msg *msg = is_revived(clients, task) ? submission(history, task) : NULL;
        count++;
        if (!msg)
            continue;
        bytes += msg->parts_bytes;
        pc_conn_send(scheduler, msg);
    }
    pc_json *reply = pc_json_object();
    pc_json_put_bool(reply, "ok", true);
    pc_json_put_i64(reply, "next", next_orphan(history, at) ? (int64_t)at : 0);
    return reply;
}
