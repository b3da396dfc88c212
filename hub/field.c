/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/field.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/mem.h"
#include "lib/proto.h"

static void set_number(struct hub_value *value, int64_t number)
{
    value->type = HUB_VALUE_NUMBER;
    value->number = number;
}

static void set_text(struct hub_value *value, const char *text, size_t size)
{
    value->type = HUB_VALUE_TEXT;
    value->text = text;
    value->size = size;
}

/* Takes the text over; NULL: an empty one. */
static void set_owned(struct hub_value *value, char *text, size_t size)
{
    value->owned = text;
    set_text(value, text ? text : "", text ? size : 0);
}

/* ---- who and where ---------------------------------------------------------------------- */

static void get_msg_id(const struct hub_task *task, struct hub_value *value)
{
    hub_id_print(&task->key, value->few);
    set_text(value, value->few, strlen(value->few));
}

static void get_client(const struct hub_task *task, struct hub_value *value)
{
    hub_id_print(&task->key, value->few);
    set_text(value, value->few, 16);
}

static void get_engine_id(const struct hub_task *task, struct hub_value *value)
{
    if (task->engine_id != PC_NO_ENGINE)
        set_number(value, task->engine_id);
}

static void get_engine_uuid(const struct hub_task *task, struct hub_value *value)
{
    if (!task->has_engine_uuid)
        return;
    pc_hex_encode(task->engine_uuid, HUB_UUID_SIZE, value->few);
    set_text(value, value->few, (size_t)2 * HUB_UUID_SIZE);
}

static void get_resubmitted(const struct hub_task *task, struct hub_value *value)
{
    if (!task->resubmitted.session)
        return;
    hub_id_print(&task->resubmitted, value->few);
    set_text(value, value->few, strlen(value->few));
}

static void get_label(const struct hub_task *task, struct hub_value *value)
{
    if (task->label)
        set_text(value, task->label->text, task->label->size);
}

static void get_word(struct hub_value *value, const char *word)
{
    set_text(value, word, strlen(word));
}

static void get_queue(const struct hub_task *task, struct hub_value *value)
{
    get_word(value, task->is_balanced ? "task" : "mux");
}

static void get_kind(const struct hub_task *task, struct hub_value *value)
{
    static const char *const names[] = {"unknown", "apply", "execute", "push", "pull", "clear"};
    get_word(value, names[task->kind < sizeof(names) / sizeof(names[0]) ? task->kind : 0]);
}

static void get_run_flags(const struct hub_task *task, struct hub_value *value)
{
    set_number(value, task->body_size > 2 ? task->body[2] : 0);
}

static void get_state(const struct hub_task *task, struct hub_value *value)
{
    if (hub_task_has_ended(task))
        get_word(value, task->status == PC_STATUS_OK ? "done" : "failed");
    else
        get_word(value, task->event == PC_RECORD_STARTED ? "running" : "waiting");
}

static void get_status(const struct hub_task *task, struct hub_value *value)
{
    if (hub_task_has_ended(task))
        get_word(value, task->status == PC_STATUS_OK ? "ok" : "error");
}

/* ---- when and how much ------------------------------------------------------------------ */

static void set_time(struct hub_value *value, int64_t us)
{
    if (us)
        set_number(value, us);
}

static void get_submitted(const struct hub_task *task, struct hub_value *value)
{
    set_time(value, task->submitted_us);
}

static void get_started(const struct hub_task *task, struct hub_value *value)
{
    set_time(value, task->started_us);
}

static void get_completed(const struct hub_task *task, struct hub_value *value)
{
    set_time(value, task->completed_us);
}

static void get_received(const struct hub_task *task, struct hub_value *value)
{
    set_time(value, task->received_us);
}

static void get_request_bytes(const struct hub_task *task, struct hub_value *value)
{
    set_number(value, (int64_t)task->request_bytes);
}

static void get_result_bytes(const struct hub_task *task, struct hub_value *value)
{
    if (hub_task_has_ended(task))
        set_number(value, (int64_t)task->result_bytes);
}

/* ---- what it came after ----------------------------------------------------------------- */

static void set_needs(struct hub_value *value, const struct pc_submit_needs *needs)
{
    if (!needs->count)
        return;
    value->type = HUB_VALUE_IDS;
    value->ids = needs->tasks;
    value->count = needs->count;
}

static void get_after(const struct hub_task *task, struct hub_value *value)
{
    struct pc_submit_body body;
    if (hub_task_body(task, &body) == 0)
        set_needs(value, &body.after);
}

static void get_follow(const struct hub_task *task, struct hub_value *value)
{
    struct pc_submit_body body;
    if (hub_task_body(task, &body) == 0)
        set_needs(value, &body.follow);
}

/* ---- what it said ----------------------------------------------------------------------- */

static void get_stdout(const struct hub_task *task, struct hub_value *value)
{
    size_t size;
    char *text = hub_task_output(task, PC_STREAM_STDOUT, &size);
    set_owned(value, text, size);
}

static void get_stderr(const struct hub_task *task, struct hub_value *value)
{
    size_t size;
    char *text = hub_task_output(task, PC_STREAM_STDERR, &size);
    set_owned(value, text, size);
}

/* "ZeroDivisionError: division by zero" */
static void get_error(const struct hub_task *task, struct hub_value *value)
{
    if (!hub_task_has_ended(task) || task->status == PC_STATUS_OK || !task->result ||
        !task->result->head.part_count)
        return;
    pc_json *json = pc_json_parse(task->result->parts[0].data, task->result->parts[0].size, NULL);
    if (!json)
        return;
    char *text = pc_xasprintf("%s: %s", pc_json_str_or(json, "ename", "Error"),
                              pc_json_str_or(json, "evalue", ""));
    pc_json_free(json);
    set_owned(value, text, strlen(text));
}

/* The source text of an EXECUTE. */
static void get_input(const struct hub_task *task, struct hub_value *value)
{
    if (task->kind == PC_KIND_EXECUTE && task->request && task->request->head.part_count)
        set_text(value, (const char *)task->request->parts[0].data, task->request->parts[0].size);
}

/* ---- the table -------------------------------------------------------------------------- */

const struct hub_field hub_fields[] = {
    {"msg_id", get_msg_id, false},
    {"client_uuid", get_client, false},
    {"engine_id", get_engine_id, false},
    {"engine_uuid", get_engine_uuid, false},
    {"queue", get_queue, false},
    {"kind", get_kind, false},
    {"run_flags", get_run_flags, false},
    {"label", get_label, false},
    {"state", get_state, false},
    {"status", get_status, false},
    {"submitted", get_submitted, false},
    {"started", get_started, false},
    {"completed", get_completed, false},
    {"received", get_received, false},
    {"resubmitted", get_resubmitted, false},
    {"request_bytes", get_request_bytes, false},
    {"result_bytes", get_result_bytes, false},
    {"after", get_after, false},
    {"follow", get_follow, false},
    {"error", get_error, true},
    {"execute_input", get_input, true},
    {"stdout", get_stdout, true},
    {"stderr", get_stderr, true},
    {0},
};

const struct hub_field *hub_field_find(const char *name)
{
    for (const struct hub_field *field = hub_fields; field->name; field++)
        if (strcmp(field->name, name) == 0)
            return field;
    return NULL;
}

void hub_field_get(const struct hub_field *field, struct hub_store *store, struct hub_task *task,
                   struct hub_value *value)
{
    value->type = HUB_VALUE_NONE;
    value->owned = NULL;
    if (field->is_payload)
        hub_store_load(store, task);
    field->get(task, value);
}

void hub_value_fini(struct hub_value *value)
{
    free(value->owned);
    value->owned = NULL;
}

size_t hub_value_cost(const struct hub_value *value)
{
    return value->type == HUB_VALUE_TEXT  ? value->size + 16
           : value->type == HUB_VALUE_IDS ? value->count * HUB_ID_SIZE
                                          : 16;
}

/* Zeros become a byte that is not UTF-8, which the writer replaces: JSON text can't have them. */
static void put_text(const struct hub_value *value, const char *name, pc_json *object)
{
    char *copy = pc_xrealloc(NULL, value->size + 1, 1);
    for (size_t i = 0; i < value->size; i++)
        copy[i] = value->text[i] ? value->text[i] : '\xff';
    copy[value->size] = '\0';
    pc_json_put_str(object, name, copy);
    free(copy);
}

static void put_ids(const struct hub_value *value, const char *name, pc_json *object)
{
    pc_json *array = pc_json_array();
    char text[HUB_ID_SIZE];
    for (size_t i = 0; i < value->count; i++) {
        struct hub_task_key key = {pc_load_u64(value->ids + i * PC_ACK_SIZE),
                                   pc_load_u64(value->ids + i * PC_ACK_SIZE + 8)};
        hub_id_print(&key, text);
        pc_json_append_str(array, text);
    }
    pc_json_put(object, name, array);
}

void hub_value_put(const struct hub_value *value, const char *name, pc_json *object)
{
    switch (value->type) {
    case HUB_VALUE_NONE:
        pc_json_put_str(object, name, NULL);
        break;
    case HUB_VALUE_NUMBER:
        pc_json_put_i64(object, name, value->number);
        break;
    case HUB_VALUE_TEXT:
        put_text(value, name, object);
        break;
    case HUB_VALUE_IDS:
        put_ids(value, name, object);
        break;
    }
}
