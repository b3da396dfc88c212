/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/clock.h"
#include "lib/failure.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proto.h"

#define STREAM_BYTES (64 * 1024)

/* ---- answering -------------------------------------------------------------------------- */

/* Whom it is sent to, and what of the output was there before: the hub was killed meanwhile. */
struct asker {
    struct pc_conn *conn; /* NULL: nobody */
    uint64_t session, sequence;
    uint64_t seen[PC_STREAM_TEXTS]; /* bytes; where output has a gap they are not exact */
};

/* Takes msg. */
static void send_as(const struct asker *to, struct pc_msg *msg, uint32_t engine_id)
{
    if (!msg)
        pc_fatal(1, "out of memory");
    msg->head.session = to->session;
    msg->head.sequence = to->sequence;
    msg->head.engine_id = engine_id;
    if (to->conn)
        pc_conn_send(to->conn, msg);
    else
        pc_msg_unref(msg);
}

static void send_failure(const struct asker *to, const char *ename, const char *text)
{
    send_as(to, pc_failure_new(ename, text), PC_NO_ENGINE);
}

static void send_output(const struct asker *to, const struct hub_task *task)
{
    for (uint8_t stream = 0; stream < PC_STREAM_TEXTS; stream++) {
        size_t size;
        char *text = hub_task_output(task, stream, &size);
        for (size_t done = to->seen[stream]; done < size;) {
            size_t some = size - done < STREAM_BYTES ? size - done : STREAM_BYTES;
            send_as(to, pc_stream_new(stream, 0, text + done, some), task->engine_id);
            done += some;
        }
        free(text);
    }
}

/* Why the hub does not have it. */
static void explain(char *text, size_t size, const struct hub_task *task, const char *what,
                    uint64_t bytes)
{
    char id[HUB_ID_SIZE];
    hub_id_print(&task->key, id);
    if (task->was_kept)
        snprintf(text, size,
                 "the %s of %s was dropped to stay within the limits of the store "
                 "(pcluster start --store-bytes, --store-age)",
                 what, id);
    else
        snprintf(text, size,
                 "the %s of %s was not kept: it has %" PRIu64
                 " bytes (pcluster start --keep-bytes, --store-bytes)",
                 what, id, bytes);
}

static void send_result(const struct asker *to, struct hub_history *history, struct hub_task *task)
{
    uint8_t body[PC_RESULT_BODY_SIZE];
    char text[320];
    struct pc_result_body fields = {.status = task->status,
                                    .submitted_us = task->submitted_us,
                                    .started_us = task->started_us,
                                    .completed_us = task->completed_us};
    hub_store_load(&history->store, task);
    send_output(to, task);
    if (!task->result) {
        explain(text, sizeof(text), task, "result", task->result_bytes);
        send_failure(to, "ResultNotKept", text);
        return;
    }
    pc_result_encode(body, &fields);
    send_as(to, pc_msg_sharing(PC_MSG_RESULT, body, sizeof(body), task->result), task->engine_id);
}

static void send_request(const struct asker *to, struct hub_history *history, struct hub_task *task)
{
    uint8_t body[PC_RESULT_BODY_SIZE];
    char text[320];
    struct pc_result_body fields = {.status = PC_STATUS_OK, .completed_us = pc_wall_us()};
    hub_store_load(&history->store, task);
    struct pc_msg *request = hub_task_request(task);
    if (!request) {
        explain(text, sizeof(text), task, "request", task->request_bytes);
        send_failure(to, "ResultNotKept", text);
        return;
    }
    pc_result_encode(body, &fields);
    send_as(to, pc_msg_sharing(PC_MSG_RESULT, body, sizeof(body), request), PC_NO_ENGINE);
    pc_msg_unref(request);
}

/* Once more, as a task of the one who asks. What it came after is not asked for again. */
static void submit_again(const struct asker *to, struct hub_history *history, struct hub_task *task)
{
    struct pc_submit_body fields;
    struct pc_buf body;
    char text[320];
    hub_store_load(&history->store, task);
    struct pc_msg *request = hub_task_request(task);
    if (!request || hub_task_body(task, &fields)) {
        explain(text, sizeof(text), task, "request", task->request_bytes);
        send_failure(to, "ResultNotKept", text);
        return;
    }
    fields.after.count = fields.follow.count = 0;
    fields.flags &= (uint8_t)~PC_SUBMIT_NAMED; /* it is the first part now */
    fields.function = NULL;
    pc_buf_init(&body, 0);
    if (pc_submit_encode(&body, &fields))
        pc_fatal(1, "out of memory");
    send_as(to, pc_msg_sharing(PC_MSG_SUBMIT, body.data, body.size, request), PC_NO_ENGINE);
    pc_msg_unref(request);
    pc_buf_fini(&body);
    task->resubmitted = (struct hub_task_key){to->session, to->sequence};
    if (task->is_elsewhere)
        history->store.kind->resubmitted(&history->store, task);
}

/* ---- waiting ---------------------------------------------------------------------------- */

static void watch_free(struct hub_watches *watches, struct hub_watch *watch)
{
    DL_DELETE(watch->task->watches, watch);
    DL_DELETE2(watches->all, watch, all_prev, all_next);
    watches->count--;
    free(watch);
}

void hub_watches_fini(struct hub_watches *watches)
{
    while (watches->all)
        watch_free(watches, watches->all);
}

void hub_watches_drop(struct hub_watches *watches, uint64_t session)
{
    struct hub_watch *watch, *next;
    DL_FOREACH_SAFE2 (watches->all, watch, next, all_next)
        if (watch->session == session)
            watch_free(watches, watch);
}

static void watch_add(struct hub_watches *watches, const struct asker *to, struct hub_task *task)
{
    if (watches->count >= HUB_WATCHES_MAX) {
        send_failure(to, "ResultNotKept",
                     "too many results are waited for; ask again when some have come");
        return;
    }
    struct hub_watch *watch = pc_xcalloc(1, sizeof(*watch));
    watch->task = task;
    watch->session = to->session;
    watch->sequence = to->sequence;
    DL_APPEND(task->watches, watch);
    DL_APPEND2(watches->all, watch, all_prev, all_next);
    watches->count++;
    send_as(to, pc_stream_new(PC_STREAM_STDOUT, 0, NULL, 0),
            task->engine_id); /* see question_answered */
    send_output(to, task);
}

void hub_watches_print(struct hub_task *task, struct pc_conn *to, const struct pc_msg *output,
                       size_t known)
{
    struct hub_watch *watch;
    const struct pc_part *part = &output->parts[0];
    if (known == part->size)
        return;
    DL_FOREACH (task->watches, watch) {
        const struct asker asker = {to, watch->session, watch->sequence, {0}};
        send_as(&asker, pc_stream_new(output->body[0], 0, part->data + known, part->size - known),
                task->engine_id);
    }
}

/* Their output has been sent as it came. */
void hub_watches_end(struct hub_watches *watches, struct hub_history *history,
                     struct hub_task *task, struct pc_conn *to)
{
    struct hub_output *output = task->output;
    task->output = NULL;
    while (task->watches) {
        struct hub_watch *watch = task->watches;
        const struct asker asker = {to, watch->session, watch->sequence, {0}};
        send_result(&asker, history, task);
        watch_free(watches, watch);
    }
    task->output = output;
}

/* ---- the question ----------------------------------------------------------------------- */

static void fetch_result(struct hub_history *history, struct hub_watches *watches,
                         const struct asker *to, struct hub_task *task)
{
    if (hub_task_has_ended(task))
        send_result(to, history, task);
    else
        watch_add(watches, to, task);
}

static void send_unknown(const struct asker *to, const struct hub_history *history, const char *id)
{
    const struct hub_store *store = &history->store;
    char text[400], kept[200] = "";
    if (!store->kind->forget)
        snprintf(kept, sizeof(kept), "; it forgets tasks when they end (--store none)");
    else if (store->dropped_tasks)
        snprintf(kept, sizeof(kept),
                 "; it has dropped %" PRIu64 " older ones to stay within its limits",
                 store->dropped_tasks);
    snprintf(text, sizeof(text), "the hub knows no task %.60s%s", id, kept);
    send_failure(to, "NoSuchTask", text);
}

static void take_seen(struct asker *to, const pc_json *seen)
{
    for (size_t i = 0; i < PC_STREAM_TEXTS; i++) {
        const char *text = seen ? pc_json_text(pc_json_item(seen, i)) : NULL;
        to->seen[i] = text ? strtoull(text, NULL, 10) : 0;
    }
}

int hub_fetch(struct hub_history *history, struct hub_watches *watches, struct pc_conn *to,
              const struct pc_frame *head, const pc_json *question, struct pc_err *err)
{
    const char *what = pc_json_str_or(question, "what", "");
    const pc_json *ids = pc_json_member(question, "tasks");
    bool is_request = strcmp(what, "request") == 0, is_again = strcmp(what, "again") == 0;
    if (!is_request && !is_again && strcmp(what, "result") != 0)
        return pc_err_set(err, PC_E_INVALID, "'what' is result, request or again");
    if (!pc_json_is_array(ids))
        return pc_err_set(err, PC_E_INVALID, "'tasks' is a list of ids");
    struct asker asker = {to, head->session, head->sequence, {0}};
    take_seen(&asker, pc_json_member(question, "seen"));
    for (const pc_json *id = pc_json_first(ids); id; id = pc_json_next(id), asker.sequence++) {
        struct hub_task_key key;
        const char *text = pc_json_text(id);
        bool is_id = text && hub_id_parse(text, &key) == 0;
        struct hub_task *task = is_id ? hub_store_get(&history->store, &key) : NULL;
        if (!task)
            send_unknown(&asker, history, text ? text : "?");
        else if (is_request)
            send_request(&asker, history, task);
        else if (is_again)
            submit_again(&asker, history, task);
        else
            fetch_result(history, watches, &asker, task);
    }
    return 0;
}
