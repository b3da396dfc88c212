/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "hub/parts.h"
#include "hub/state.h"
#include "hub/store_list.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proto.h"

/* Of KEPT: its parts, and more. */
enum {
    HAS_REQUEST = 0x01,
    HAS_RESULT = 0x02,
    HAS_STDOUT = 0x04,
    HAS_STDERR = 0x08,
    HAS_DISPLAY = 0x10,
    HAS_PARTS = HAS_REQUEST | HAS_RESULT | HAS_STDOUT | HAS_STDERR | HAS_DISPLAY,
    HAS_FUNCTION = 0x20, /* its name follows */
    SAME_REQUEST = 0x40, /* as the KEPT before */
    HAS_GAP = 0x80,
    WAS_KEPT = 0x100,
    HAS_UUID = 0x200, /* of its engine */
    IS_DURABLE = 0x400,
    IS_ORPHAN = 0x800,
};

#define PARTS (2 + PC_STREAM_TEXTS)

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
        pc_json_append(clients, row);
    }
    pc_json_put(json, "engines", engines);
    pc_json_put(json, "clients", clients);
    return json;
}

/* ---- writing: tasks --------------------------------------------------------------------- */

/* What the parts are; to be freed. */
struct payload {
    void *data[PARTS];
    uint64_t size[PARTS];
};

static void pack(struct payload *payload, int index, const struct pc_msg *msg)
{
    size_t size = 0;
    payload->data[index] = msg ? hub_parts_pack(msg, &size) : NULL;
    payload->size[index] = size;
}

static unsigned collect(struct payload *payload, const struct hub_task *task, bool is_same)
{
    unsigned flags = 0;
    *payload = (struct payload){0};
    pack(payload, 0, is_same ? NULL : task->request);
    pack(payload, 1, task->result);
    for (int i = 0; i < PC_STREAM_TEXTS; i++) {
        size_t size = 0;
        payload->data[2 + i] = hub_task_output(task, (uint8_t)i, &size);
        payload->size[2 + i] = size;
    }
    for (int i = 0; i < PARTS; i++)
        flags |= payload->data[i] ? 1u << i : 0;
    return flags;
}

static void put_body(struct pc_buf *out, const struct hub_task *task, unsigned flags)
{
    pc_buf_put_u64(out, task->key.session);
    pc_buf_put_u64(out, task->key.sequence);
    pc_buf_put_u64(out, task->number);
    pc_buf_put_u64(out, (uint64_t)task->submitted_us);
    pc_buf_put_u64(out, (uint64_t)task->started_us);
    pc_buf_put_u64(out, (uint64_t)task->completed_us);
    pc_buf_put_u64(out, (uint64_t)task->received_us);
    pc_buf_put_u64(out, task->request_bytes);
    pc_buf_put_u64(out, task->result_bytes);
    pc_buf_put_u64(out, task->resubmitted.session);
    pc_buf_put_u64(out, task->resubmitted.sequence);
    pc_buf_put_u32(out, task->engine_id);
    pc_buf_put_u8(out, task->kind);
    pc_buf_put_u8(out, task->status);
    pc_buf_put_u8(out, task->event);
    pc_buf_put_u16(out, (uint16_t)flags);
    if (flags & HAS_UUID)
        pc_buf_put(out, task->engine_uuid, HUB_UUID_SIZE);
    if (flags & HAS_FUNCTION)
        pc_buf_put(out, task->function->name, PC_FUNCTION_NAME_SIZE);
    pc_buf_put_u32(out, task->body_size);
    if (task->body_size)
        pc_buf_put(out, task->body, task->body_size);
}

static struct pc_msg *kept(struct pc_buf *body, const struct hub_task *task, bool is_same)
{
    struct payload payload;
    unsigned flags = collect(&payload, task, is_same);
    flags |= (is_same ? SAME_REQUEST : 0u) | (task->has_gap ? HAS_GAP : 0u) |
             (task->was_kept ? WAS_KEPT : 0u) | (task->has_engine_uuid ? HAS_UUID : 0u) |
             (task->function ? HAS_FUNCTION : 0u) | (task->is_durable ? IS_DURABLE : 0u) |
             (task->is_orphan ? IS_ORPHAN : 0u);
    body->size = 0;
    put_body(body, task, flags);
    struct pc_msg *msg =
        pc_msg_new(PC_MSG_KEPT, body->size, payload.size, flags & HAS_PARTS ? PARTS : 0);
    if (!msg || body->failed)
        pc_fatal(1, "out of memory");
    memcpy(msg->body, body->data, body->size);
    for (int i = 0; i < PARTS; i++) {
        if (payload.size[i])
            memcpy(msg->parts[i].data, payload.data[i], payload.size[i]);
        free(payload.data[i]);
    }
    return msg;
}

struct writer {
    struct hub *hub;
    struct pc_buf body;
    const struct pc_msg *request; /* of the task before */
};

static void add(struct writer *writer, struct pc_msg *msg)
{
    hub_journal_add(&writer->hub->journal, msg);
    pc_msg_unref(msg);
}

static void write_task(struct writer *writer, const struct hub_task *task)
{
    struct hub_function *function = task->function;
    uint64_t segment = writer->hub->journal.number + 1;
    if (function && function->segment != segment) {
        function->segment = segment;
        add(writer, pc_msg_ref(function->msg));
    }
    add(writer, kept(&writer->body, task, task->request && task->request == writer->request));
    writer->request = task->request;
}

static void write_tasks(struct writer *writer)
{
    const struct hub_history *history = &writer->hub->history;
    struct hub_task *task;
    for (task = history->store.oldest; task; task = task->end_next)
        write_task(writer, task);
    for (uint64_t number = 0; (task = hub_tasks_after(&history->tasks, number, NULL)) != NULL;
         number = task->number)
        if (!hub_task_has_ended(task))
            write_task(writer, task);
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

static void take_numbers(struct hub_task *task, struct pc_reader *reader)
{
    task->submitted_us = (int64_t)pc_get_u64(reader);
    task->started_us = (int64_t)pc_get_u64(reader);
    task->completed_us = (int64_t)pc_get_u64(reader);
    task->received_us = (int64_t)pc_get_u64(reader);
    task->request_bytes = pc_get_u64(reader);
    task->result_bytes = pc_get_u64(reader);
    task->resubmitted.session = pc_get_u64(reader);
    task->resubmitted.sequence = pc_get_u64(reader);
    task->engine_id = pc_get_u32(reader);
    task->kind = pc_get_u8(reader);
    task->status = pc_get_u8(reader);
    task->event = pc_get_u8(reader);
}

static int take_variable(struct hub *hub, struct hub_task *task, struct pc_reader *reader,
                         unsigned flags)
{
    const uint8_t *uuid = flags & HAS_UUID ? pc_get_bytes(reader, HUB_UUID_SIZE) : NULL;
    const uint8_t *name = flags & HAS_FUNCTION ? pc_get_bytes(reader, PC_FUNCTION_NAME_SIZE) : NULL;
    uint32_t size = pc_get_u32(reader);
    const uint8_t *body = pc_get_bytes(reader, size);
    struct pc_submit_body fields;
    if (!pc_reader_done(reader))
        return -1;
    if (uuid)
        memcpy(task->engine_uuid, uuid, HUB_UUID_SIZE);
    task->has_engine_uuid = uuid;
    if (hub_task_set_body(task, body, size, &fields) == 0)
        hub_tasks_set_label(&hub->history.tasks, task, fields.label, fields.label_size);
    return name ? hub_tasks_use_function(&hub->history.tasks, task, name, hub->restored_function)
                : 0;
}

static int take_payload(struct hub *hub, struct hub_task *task, struct pc_msg *msg, unsigned flags)
{
    const struct pc_part *parts = msg->parts;
    if (flags & HAS_PARTS && msg->head.part_count != PARTS)
        return -1;
    if (flags & HAS_REQUEST && !(task->request = hub_parts_unpack(parts[0].data, parts[0].size)))
        return -1;
    if (flags & HAS_RESULT && !(task->result = hub_parts_unpack(parts[1].data, parts[1].size)))
        return -1;
    for (uint8_t i = 0; i < PC_STREAM_TEXTS; i++)
        if (flags & (HAS_STDOUT << i))
            hub_task_load_output(task, i, parts[2 + i].data, parts[2 + i].size);
    if (flags & SAME_REQUEST && hub->restored_request)
        task->request = pc_msg_ref(hub->restored_request);
    pc_msg_unref(hub->restored_request);
    hub->restored_request = task->request ? pc_msg_ref(task->request) : NULL;
    return 0;
}

int hub_snapshot_take_task(struct hub *hub, struct pc_msg *msg, struct pc_err *err)
{
    struct hub_history *history = &hub->history;
    struct pc_reader reader;
    struct hub_task_key key;
    pc_reader_init(&reader, msg->body, msg->head.body_size);
    key.session = pc_get_u64(&reader);
    key.sequence = pc_get_u64(&reader);
    uint64_t number = pc_get_u64(&reader);
    if (reader.failed || !hub->is_restoring || !number || number >= history->tasks.next_number ||
        hub_tasks_at(&history->tasks, number) || hub_tasks_find(&history->tasks, &key))
        return pc_err_set(err, PC_E_PROTOCOL, "malformed KEPT");
    if (hub_history_is_stored(history, &key)) {
        struct hub_task old = {0}; /* it ended later, and was written */
        take_numbers(&old, &reader);
        hub_history_leave_engine(&hub->engines, &old);
        return 0;
    }
    struct hub_task *task = hub_tasks_restore(&history->tasks, &key, number);
    take_numbers(task, &reader);
    unsigned flags = pc_get_u16(&reader);
    task->has_gap = flags & HAS_GAP;
    task->was_kept = flags & WAS_KEPT;
    task->is_durable = flags & IS_DURABLE;
    task->is_orphan = flags & IS_ORPHAN;
    if (take_variable(hub, task, &reader, flags) || take_payload(hub, task, msg, flags)) {
        hub_tasks_remove(&history->tasks, task);
        return pc_err_set(err, PC_E_PROTOCOL, "malformed KEPT");
    }
    if (hub_task_has_ended(task)) {
        hub_task_close_output(task);
        hub_list_append(&history->store, task);
    } else if (task->request) {
        history->pending_bytes += task->request_bytes;
    }
    return 0;
}
