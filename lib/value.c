/* SPDX-License-Identifier: BSD-3-Clause */
/* What a call has given, in a form that a program without pickle can use. */
#include "lib/client.h"

#include <stdlib.h>
#include <string.h>

#define PICKLE_MARK 0x80 /* every pickle begins so, and no JSON text */

/* ---- errors ----------------------------------------------------------------------------- */

static size_t size_of(const char *text)
{
    return strlen(text) + 1;
}

static const char *put(char **at, const char *text)
{
    char *copy = *at;
    *at = stpcpy(copy, text) + 1;
    return copy;
}

static struct pc_failure *failure_new(const pc_json *json, uint32_t engine_id)
{
    const pc_json *info = pc_json_member(json, "engine_info");
    const char *name = pc_json_str_or(json, "ename", "Error");
    const char *text = pc_json_str_or(json, "evalue", "it gave no reason");
    const char *traceback = pc_json_str_or(json, "traceback", "");
    const char *method = pc_json_str_or(info, "method", "");
    struct pc_failure *failure = malloc(sizeof(*failure) + size_of(name) + size_of(text) +
                                        size_of(traceback) + size_of(method));
    if (!failure)
        return NULL;
    char *at = (char *)(failure + 1);
    failure->engine_id = engine_id;
    failure->name = put(&at, name);
    failure->text = put(&at, text);
    failure->traceback = put(&at, traceback);
    failure->method = put(&at, method);
    return failure;
}

int pc_call_failure(const struct pc_call *call, struct pc_failure **failure, struct pc_err *err)
{
    struct pc_result result;
    void *data = NULL;
    size_t size = 0;
    if (pc_call_result(call, &result) || result.status == PC_STATUS_OK)
        return pc_err_set(err, PC_E_INVALID, "the call has not failed");
    pc_json *json =
        pc_call_part(call, 0, &data, &size) == 0 ? pc_json_parse(data, size, NULL) : NULL;
    struct pc_failure *found = failure_new(json, result.engine_id);
    pc_json_free(json);
    if (!found)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    *failure = found;
    return 0;
}

static int raise(const struct pc_call *call, struct pc_err *err)
{
    struct pc_failure *failure;
    if (pc_call_failure(call, &failure, err))
        return -1;
    int size = (int)strcspn(failure->text, "\n"); /* hints are in further lines */
    if (failure->engine_id == UINT32_MAX)
        pc_err_set(err, PC_E_TASK, "%s: %.*s", failure->name, size, failure->text);
    else
        pc_err_set(err, PC_E_TASK, "[%u%s%s] %s: %.*s", failure->engine_id,
                   *failure->method ? ":" : "", failure->method, failure->name, size,
                   failure->text);
    free(failure);
    return -1;
}

/* ---- values ----------------------------------------------------------------------------- */

int pc_call_value(const struct pc_call *call, struct pc_value *value, struct pc_err *err)
{
    static const char none[] = "null";
    struct pc_result result;
    void *data = NULL;
    size_t size = 0;
    if (!value)
        return pc_err_set(err, PC_E_INVALID, "there is no place for the value");
    if (pc_call_result(call, &result))
        return pc_err_set(err, PC_E_INVALID, "the call has not ended");
    if (result.status != PC_STATUS_OK)
        return raise(call, err);
    if (pc_call_part(call, 0, &data, &size)) {
        *value = (struct pc_value){.form = PC_FORM_JSON, .data = none, .size = strlen(none)};
        return 0;
    }
    bool is_pickle = size > 0 && *(const unsigned char *)data == PICKLE_MARK;
    *value = (struct pc_value){
        .form = is_pickle ? PC_FORM_PICKLE : PC_FORM_JSON, .data = data, .size = size};
    if (size)
        return 0;
    value->form = PC_FORM_BYTES;
    value->count = result.part_count - 1;
    if (pc_call_part(call, 1, &data, &size) == 0) {
        value->data = data;
        value->size = size;
    }
    return 0;
}

int pc_call_get(struct pc_call *call, int timeout_ms, struct pc_value *value, struct pc_err *err)
{
    if (!call)
        return pc_err_set(err, PC_E_INVALID, "no call was given");
    if (pc_call_status(call) == PC_STATUS_PENDING &&
        pc_wait(call->client, &call, 1, timeout_ms, err))
        return -1;
    return pc_call_value(call, value, err);
}

/* ---- for the program -------------------------------------------------------------------- */

void pc_call_set_user(struct pc_call *call, void *user)
{
    if (call)
        atomic_store_explicit(&call->user, user, memory_order_release);
}

void *pc_call_user(const struct pc_call *call)
{
    return call ? atomic_load_explicit(&call->user, memory_order_acquire) : NULL;
}
