/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "hub/kept.h"
#include "hub/parts.h"
#include "hub/state.h"
#include "hub/store_list.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proto.h"

/* A KEPT with tasks of that many bytes is full. */
#define KEPT_BYTES (64u << 10)

/* ---- writing: the registries ------------------------------------------------------------ */

static void put_engine(pc_json *rows, const struct hub_engine *engine)
{
    pc_json *row = pc_json_object();
    pc_json_put_i64(row, "id", engine->id);
    pc_json_put_i64(row, "pid", engine->pid);
    pc_json_put_i64(row, "state", engine->state);
    pc_json_put_str(row, "host", engine->host);
    pc_json_put_str(row, "python", engine->python);
    pc_json_put_str(row, "uuid", engine->uuid);
    pc_json_put_str(row, "tags", engine->tags);
    pc_json_put_str(row, "reason", engine->reason);
    pc_json_put_i64(row, "done", (int64_t)engine->tasks_done);
    pc_json_put_i64(row, "failed", (int64_t)engine->tasks_failed);
    pc_json_put_i64(row, "queued", engine->queued);
    pc_json_put_i64(row, "running", engine->running);
    pc_json_append(rows, row);
}

static pc_json *registries(struct hub *hub)
{
    const struct hub_history *history = &hub->history;
    pc_json *json = pc_json_object(), *engines = pc_json_array(), *clients = pc_json_array();
    struct hub_engine *engine, *next_engine;
    struct hub_client *client, *next_client;
    pc_json_put_i64(json, "recorded", (int64_t)hub->recorded);
    pc_json_put_i64(json, "submitted", (int64_t)history->submitted);
    pc_json_put_i64(json, "done", (int64_t)history->done);
    pc_json_put_i64(json, "failed", (int64_t)history->failed);
    pc_json_put_i64(json, "next_number", (int64_t)history->tasks.next_number);
    pc_json_put_i64(json, "dropped_tasks", (int64_t)history->store.dropped_tasks);
    pc_json_put_i64(json, "dropped_results", (int64_t)history->store.dropped_results);
    pc_json_put_i64(json, "next_id", hub->engines.next_id);
    HASH_ITER (hh, hub->engines.by_id, engine, next_engine)
        put_engine(engines, engine);
    HASH_ITER (hh, hub->clients.by_session, client, next_client) {
        pc_json *row = pc_json_object();
        pc_json_put_u64(row, "session", client->session);
        pc_json_put_i64(row, "pid", client->pid);
        pc_json_put_str(row, "host", client->host);
        pc_json_put_bool(row, "away", client->is_away);
        pc_json_append(clients, row);
    }
    pc_json_put(json, "engines", engines);
    pc_json_put(json, "clients", clients);
    return json;
}

/* ---- writing: tasks --------------------------------------------------------------------- */

struct writer {
    struct hub *hub;
    struct pc_buf body;           /* of the next KEPT */
    const struct pc_msg *request; /* of the task before */
};

static void add(struct writer *writer, struct pc_msg *msg)
{
    if (!msg)
        pc_fatal(1, "out of memory");
    hub_journal_add(&writer->hub->journal, msg);
    pc_msg_unref(msg);
}

static void add_kept(struct writer *writer)
{
    struct pc_buf *body = &writer->body;
    if (body->failed)
        pc_fatal(1, "out of memory");
    if (body->size)
        add(writer, pc_msg_with_body(PC_MSG_KEPT, body->data, body->size));
    body->size = 0;
}

static void write_task(struct writer *writer, const struct hub_task *task)
{
    struct hub_function *function = task->function;
    uint64_t segment = writer->hub->journal.number + 1;
    if (function && function->segment != segment) {
        function->segment = segment;
        add_kept(writer);
        add(writer, pc_msg_ref(function->msg));
    }
    unsigned flags = hub_kept_flags(task, task->request && task->request == writer->request);
    writer->request = task->request;
    if (flags & HUB_KEPT_OUTSIDE) {
        add_kept(writer);
        add(writer, hub_kept_msg(task, flags));
        return;
    }
    hub_kept_put(&writer->body, task, flags);
    if (writer->body.size >= KEPT_BYTES)
        add_kept(writer);
}

/* Those that have not ended are mostly the latest ones: the others need not be looked at. */
static uint64_t before_the_first_pending(const struct hub_history *history)
{
    uint64_t number = UINT64_MAX;
    const struct hub_task *task;
    for (size_t left = history->tasks.by_key.count - history->store.count;
         left && (task = hub_tasks_before(&history->tasks, number)) != NULL; number = task->number)
        left -= !hub_task_has_ended(task);
    return number - 1;
}

static void write_tasks(struct writer *writer)
{
    const struct hub_history *history = &writer->hub->history;
    struct hub_task *task;
    for (task = history->store.oldest; task; task = task->end_next) {
        hub_list_look_ahead(task->end_next);
        write_task(writer, task);
    }
    for (uint64_t number = before_the_first_pending(history);
         (task = hub_tasks_after(&history->tasks, number, NULL)) != NULL; number = task->number)
        if (!hub_task_has_ended(task))
            write_task(writer, task);
    add_kept(writer);
}

static void write_end(struct writer *writer)
{
    const struct hub_history *history = &writer->hub->history;
    pc_json *json = pc_json_object();
    pc_json_put_bool(json, "end", true);
    pc_json_put_i64(json, "functions", (int64_t)history->functions.count);
    struct pc_msg *last = history->last_request, *msg = pc_json_msg(PC_MSG_SNAPSHOT, json);
    if (last) {
        size_t size;
        void *data = hub_parts_pack(last, &size);
        uint64_t part = size;
        struct pc_msg *with_part = pc_msg_new(PC_MSG_SNAPSHOT, msg->head.body_size, &part, 1);
        if (!with_part)
            pc_fatal(1, "out of memory");
        memcpy(with_part->body, msg->body, msg->head.body_size);
        memcpy(with_part->parts[0].data, data, size);
        free(data);
        pc_msg_unref(msg);
        msg = with_part;
    }
    add(writer, msg);
    for (size_t i = 0; i < history->functions.count; i++)
        add(writer, pc_msg_ref(history->functions.functions[i].data));
}

void hub_snapshot_write(struct hub *hub)
{
    struct writer writer = {.hub = hub};
    pc_buf_init(&writer.body, 0);
    hub_journal_begin(&hub->journal);
    add(&writer, pc_json_msg(PC_MSG_SNAPSHOT, registries(hub)));
    write_tasks(&writer);
    write_end(&writer);
    hub_journal_complete(&hub->journal);
    pc_buf_fini(&writer.body);
}

/* ---- reading: the registries ------------------------------------------------------------ */

static int take_engine(struct hub *hub, const pc_json *row, struct pc_err *err)
{
    struct hub_engines *engines = &hub->engines;
    uint32_t id, pid;
    const char *host, *uuid;
    if (pc_json_get_u32(row, "id", &id, err) < 0 || pc_json_get_u32(row, "pid", &pid, err) < 0 ||
        pc_json_get_str(row, "host", &host, err) < 0 ||
        pc_json_get_str(row, "uuid", &uuid, err) < 0)
        return -1;
    engines->next_id = id;
    struct hub_engine *engine =
        hub_engines_add(engines, uuid, pid, host, pc_json_str_or(row, "python", ""),
                        pc_json_str_or(row, "tags", ""));
    if (!engine || engine->id != id)
        return pc_err_set(err, PC_E_PROTOCOL, "engine %u is there twice", id);
    int64_t state = pc_json_i64_or(row, "state", HUB_ENGINE_UP);
    if (state == HUB_ENGINE_DOWN)
        hub_engines_set_down(engines, id, pc_json_str_or(row, "reason", "not known why"));
    else if (state == HUB_ENGINE_UP)
        hub_engines_set_up(engines, id);
    engine = hub_engines_find(engines, id);
    if (!engine)
        return 0;
    engine->tasks_done = (uint64_t)pc_json_i64_or(row, "done", 0);
    engine->tasks_failed = (uint64_t)pc_json_i64_or(row, "failed", 0);
    engine->queued = (uint32_t)pc_json_i64_or(row, "queued", 0);
    engine->running = (uint32_t)pc_json_i64_or(row, "running", 0);
    return 0;
}

static int take_registries(struct hub *hub, const pc_json *json, struct pc_err *err)
{
    struct hub_history *history = &hub->history;
    const pc_json *engines = pc_json_member(json, "engines");
    const pc_json *clients = pc_json_member(json, "clients");
    uint64_t next_number = (uint64_t)pc_json_i64_or(json, "next_number", 1), session;
    hub->recorded = (uint64_t)pc_json_i64_or(json, "recorded", 0);
    history->submitted = (uint64_t)pc_json_i64_or(json, "submitted", 0);
    history->done = (uint64_t)pc_json_i64_or(json, "done", 0);
    history->failed = (uint64_t)pc_json_i64_or(json, "failed", 0);
    history->store.dropped_tasks = (uint64_t)pc_json_i64_or(json, "dropped_tasks", 0);
    history->store.dropped_results = (uint64_t)pc_json_i64_or(json, "dropped_results", 0);
    if (history->tasks.next_number < next_number)
        history->tasks.next_number = next_number;
    for (const pc_json *row = engines ? pc_json_first(engines) : NULL; row; row = pc_json_next(row))
        if (take_engine(hub, row, err) < 0)
            return -1;
    hub->engines.next_id = (uint32_t)pc_json_i64_or(json, "next_id", 0);
    for (const pc_json *row = clients ? pc_json_first(clients) : NULL; row;
         row = pc_json_next(row)) {
        if (pc_json_get_u64(row, "session", &session, err) < 0)
            return -1;
        hub_clients_add(&hub->clients, session, (uint32_t)pc_json_i64_or(row, "pid", 0),
                        pc_json_str_or(row, "host", ""));
        hub_clients_set_away(&hub->clients, session, pc_json_bool_or(row, "away", false));
    }
    return 0;
}

static int take_end(struct hub *hub, const pc_json *json, struct pc_msg *msg, struct pc_err *err)
{
    struct hub_history *history = &hub->history;
    if (!hub->is_restoring)
        return pc_err_set(err, PC_E_PROTOCOL, "the end of a SNAPSHOT that did not begin");
    if (msg->head.part_count)
        history->last_request = hub_parts_unpack(msg->parts[0].data, msg->parts[0].size);
    hub_snapshot_settle(hub);
    hub->functions_left = (uint64_t)pc_json_i64_or(json, "functions", 0);
    return 0;
}

void hub_snapshot_settle(struct hub *hub)
{
    hub->is_restoring = false;
    pc_msg_unref(hub->restored_function);
    pc_msg_unref(hub->restored_request);
    hub->restored_function = hub->restored_request = NULL;
    hub_tasks_sort_labels(&hub->history.tasks);
}

int hub_snapshot_take(struct hub *hub, struct pc_msg *msg, struct pc_err *err)
{
    pc_json *json = pc_json_of_msg(msg, err);
    if (!json)
        return -1;
    int status;
    if (pc_json_bool_or(json, "end", false)) {
        status = take_end(hub, json, msg, err);
    } else {
        hub->is_restoring = true;
        status = take_registries(hub, json, err);
    }
    pc_json_free(json);
    return status;
}

int hub_snapshot_take_function(struct hub *hub, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_known nothing = {0};
    if (pc_function_decode(msg, &nothing, err))
        return -1;
    pc_msg_unref(hub->restored_function);
    hub->restored_function = pc_msg_ref(msg);
    return 0;
}

/* ---- reading: tasks --------------------------------------------------------------------- */

static int take_variable(struct hub *hub, struct hub_task *task, const struct hub_kept *kept)
{
    struct pc_submit_body fields;
    task->has_engine_uuid = kept->uuid;
    if (kept->uuid)
        memcpy(task->engine_uuid, kept->uuid, HUB_UUID_SIZE);
    if (hub_task_set_body(task, kept->body, kept->body_size, &fields) < 0)
        return kept->flags & HUB_KEPT_FUNCTION ? -1 : 0;
    hub_tasks_set_label(&hub->history.tasks, task, fields.label, fields.label_size);
    if (!(kept->flags & HUB_KEPT_FUNCTION))
        return 0;
    return fields.function ? hub_tasks_use_function(&hub->history.tasks, task, fields.function,
                                                    hub->restored_function)
                           : -1;
}

/* The next task may have the same. */
static int take_request(struct hub *hub, const struct hub_kept *kept)
{
    const struct pc_part *part = &kept->parts[0];
    if (kept->flags & HUB_KEPT_SAME_REQUEST)
        return 0;
    pc_msg_unref(hub->restored_request);
    hub->restored_request = NULL;
    if (!(kept->flags & HUB_KEPT_REQUEST))
        return 0;
    hub->restored_request = hub_parts_unpack(part->data, part->size);
    return hub->restored_request ? 0 : -1;
}

static int take_payload(struct hub *hub, struct hub_task *task, const struct hub_kept *kept)
{
    const struct pc_part *parts = kept->parts;
    if (hub->restored_request)
        task->request = pc_msg_ref(hub->restored_request);
    if (kept->flags & HUB_KEPT_RESULT &&
        !(task->result = hub_parts_unpack(parts[1].data, parts[1].size)))
        return -1;
    for (uint8_t i = 0; i < PC_STREAM_TEXTS; i++)
        if (kept->flags & (unsigned)HUB_KEPT_OUTPUT << i)
            hub_task_load_output(task, i, parts[2 + i].data, parts[2 + i].size);
    return 0;
}

static int take_task(struct hub *hub, const struct hub_kept *kept)
{
    struct hub_history *history = &hub->history;
    struct hub_tasks *tasks = &history->tasks;
    if (!kept->number || kept->number >= tasks->next_number || hub_tasks_at(tasks, kept->number) ||
        hub_tasks_find(tasks, &kept->key) || take_request(hub, kept))
        return -1;
    if (hub_history_is_stored(history, &kept->key)) {
        struct hub_task old = {0}; /* it ended later, and was written */
        hub_kept_take_numbers(kept, &old);
        hub_history_leave_engine(&hub->engines, &old);
        return 0;
    }
    struct hub_task *task = hub_tasks_restore(tasks, &kept->key, kept->number);
    hub_kept_take_numbers(kept, task);
    task->has_gap = kept->flags & HUB_KEPT_GAP;
    task->was_kept = kept->flags & HUB_KEPT_DROPPED;
    task->is_durable = kept->flags & HUB_KEPT_DURABLE;
    task->is_orphan = kept->flags & HUB_KEPT_ORPHAN;
    if (take_variable(hub, task, kept) || take_payload(hub, task, kept)) {
        hub_tasks_remove(tasks, task);
        return -1;
    }
    if (hub_task_has_ended(task)) {
        hub_task_close_output(task);
        hub_list_append(&history->store, task);
    } else if (task->request) {
        history->pending_bytes += task->request_bytes;
    }
    return 0;
}

int hub_snapshot_take_tasks(struct hub *hub, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_reader reader;
    struct hub_kept kept;
    int status = hub->is_restoring ? 0 : -1;
    pc_reader_init(&reader, msg->body, msg->head.body_size);
    while (reader.left && status == 0)
        status = hub_kept_get(&reader, msg, &kept) || take_task(hub, &kept) ? -1 : 0;
    return status ? pc_err_set(err, PC_E_PROTOCOL, "malformed KEPT") : 0;
}
