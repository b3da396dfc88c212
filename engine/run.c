/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/call.h"
#include "engine/forkfix.h"
#include "engine/pack.h"
#include "engine/plain.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/proto.h"
#include "lib/proto_task.h"

static uint32_t my_id;
static char my_uuid[40];
static PyObject *execute, *push, *pull, *clear, *describe, *exit_code; /* of pcluster_run */

void eng_run_init(uint32_t engine_id, const char *uuid)
{
    my_id = engine_id;
    snprintf(my_uuid, sizeof(my_uuid), "%s", uuid);
    eng_pack_init();
    eng_call_init();
    eng_plain_init();
    execute = eng_py_ours("pcluster_run", "execute");
    push = eng_py_ours("pcluster_run", "push");
    pull = eng_py_ours("pcluster_run", "pull");
    clear = eng_py_ours("pcluster_run", "clear");
    describe = eng_py_ours("pcluster_run", "describe");
    exit_code = eng_py_ours("pcluster_run", "exit_code");
}

/* ---- the kinds of task ------------------------------------------------------------------ */

static PyObject *text_of(const struct pc_part *part)
{
    return PyUnicode_DecodeUTF8((const char *)part->data, (Py_ssize_t)part->size, "strict");
}

static PyObject *run_execute(struct pc_msg *run, const struct pc_run_body *what)
{
    PyObject *is_silent = what->run_flags & PC_RUN_SILENT ? Py_True : Py_False;
    PyObject *source = text_of(&run->parts[0]), *name = NULL, *value = NULL;
    if (source && run->head.part_count > 1)
        name = text_of(&run->parts[1]);
    if (source && !PyErr_Occurred())
        value = PyObject_CallFunctionObjArgs(execute, source, is_silent, name, NULL);
    Py_XDECREF(name);
    Py_XDECREF(source);
    return value;
}

static PyObject *run_push(struct pc_msg *run, const struct pc_run_body *what)
{
    PyObject *values = eng_unpack(run, 0);
    PyObject *done = NULL;
    if (values && !PyDict_Check(values))
        PyErr_SetString(PyExc_TypeError, "what is pushed is no dict");
    else if (values)
        done = PyObject_CallOneArg(push, values);
    Py_XDECREF(values);
    return done;
}

/* The JSON of a PULL as a str or a list of str; NULL with an exception. */
static PyObject *wanted(const struct pc_part *part)
{
    struct pc_err err;
    pc_json *json = pc_json_parse(part->data, part->size, &err);
    if (!json)
        return PyErr_Format(PyExc_ValueError, "malformed PULL: %s", err.text);
    PyObject *found = NULL;
    if (pc_json_text(json)) {
        found = PyUnicode_FromString(pc_json_text(json));
    } else if (pc_json_is_array(json)) {
        found = PyList_New(0);
        for (const pc_json *item = pc_json_first(json); item && found; item = pc_json_next(item)) {
            PyObject *name = pc_json_text(item) ? PyUnicode_FromString(pc_json_text(item))
                                                : PyErr_Format(PyExc_TypeError, "not a str");
            if (!name || PyList_Append(found, name) < 0)
                Py_CLEAR(found);
            Py_XDECREF(name);
        }
    } else {
        PyErr_SetString(PyExc_TypeError, "names to pull are a str or a list of str");
    }
    pc_json_free(json);
    return found;
}

static PyObject *run_pull(struct pc_msg *run, const struct pc_run_body *what)
{
    PyObject *names = wanted(&run->parts[0]);
    PyObject *value = names ? PyObject_CallOneArg(pull, names) : NULL;
    Py_XDECREF(names);
    return value;
}

static PyObject *run_clear(struct pc_msg *run, const struct pc_run_body *what)
{
    eng_call_clear();
    return PyObject_CallNoArgs(clear);
}

static PyObject *run_apply(struct pc_msg *run, const struct pc_run_body *what)
{
    return eng_call(run, what->function);
}

static const struct kind {
    const char *name;
    uint16_t parts_min;
    bool has_value; /* a None is sent back, too */
    PyObject *(*run)(struct pc_msg *run, const struct pc_run_body *what);
} kinds[] = {
    [PC_KIND_APPLY] = {"apply", 2, true, run_apply},
    [PC_KIND_EXECUTE] = {"execute", 1, false, run_execute},
    [PC_KIND_PUSH] = {"push", 1, false, run_push},
    [PC_KIND_PULL] = {"pull", 1, true, run_pull},
    [PC_KIND_CLEAR] = {"clear", 0, false, run_clear},
};

/* ---- errors ----------------------------------------------------------------------------- */

static pc_json *error_json(const char *ename, const char *evalue, const char *traceback,
                           const char *method)
{
    pc_json *json = pc_json_object(), *info = pc_json_object();
    pc_json_put_str(json, "ename", ename);
    pc_json_put_str(json, "evalue", evalue);
    pc_json_put_str(json, "traceback", traceback);
    pc_json_put_i64(info, "engine_id", my_id);
    pc_json_put_str(info, "engine_uuid", my_uuid);
    pc_json_put_str(info, "method", method);
    pc_json_put(json, "engine_info", info);
    return json;
}

/* A RESULT whose only part is this text; frees `json`. */
static struct pc_msg *error_msg(const uint8_t *body, pc_json *json)
{
    char *text = pc_json_print(json);
    uint64_t size = text ? strlen(text) : 0;
    struct pc_msg *msg = pc_msg_new(PC_MSG_RESULT, PC_RESULT_BODY_SIZE, &size, 1);
    if (!text || !msg)
        pc_fatal(1, "out of memory");
    memcpy(msg->body, body, PC_RESULT_BODY_SIZE);
    memcpy(msg->parts[0].data, text, size);
    free(text);
    pc_json_free(json);
    return msg;
}

/* What pcluster_run.describe says about it; the bare type's name when even that fails. */
static pc_json *describe_error(PyObject *error, const char *method)
{
    PyObject *told = PyObject_CallOneArg(describe, error);
    if (!told) { /* out of memory, or interrupted once more */
        PyErr_Clear();
        return error_json(Py_TYPE(error)->tp_name, "", "", method);
    }
    char *texts[3];
    for (int i = 0; i < 3; i++)
        texts[i] = eng_py_text(PyTuple_GET_ITEM(told, i));
    pc_json *json = error_json(texts[0], texts[1], texts[2], method);
    for (int i = 0; i < 3; i++)
        free(texts[i]);
    Py_DECREF(told);
    return json;
}

/* User code forked, and this is the child coming back: it must not answer in our place. */
static _Noreturn void leave_child(PyObject *value)
{
    int status = 0;
    if (!value) {
        PyObject *error = eng_py_take_exception();
        PyObject *code = error ? PyObject_CallOneArg(exit_code, error) : NULL;
        status = code ? (int)PyLong_AsLong(code) : 1;
    }
    _exit(status);
}

/* ---- results ---------------------------------------------------------------------------- */

/* The message with this value, which is released; NULL with an exception. */
static struct pc_msg *value_msg(const struct kind *kind, const struct pc_run_body *what,
                                PyObject *value, const uint8_t *body, PyObject **owner)
{
    struct eng_packed packed;
    if (value == Py_None && !kind->has_value) {
        struct pc_msg *msg = pc_msg_with_body(PC_MSG_RESULT, body, PC_RESULT_BODY_SIZE);
        Py_DECREF(value);
        return msg ? msg : (struct pc_msg *)PyErr_NoMemory();
    }
    int failed = eng_plain_is(what) ? eng_plain_pack(value, what->run_flags, &packed)
                                    : eng_pack(value, &packed);
    Py_DECREF(value);
    return failed ? NULL : eng_packed_msg(PC_MSG_RESULT, body, PC_RESULT_BODY_SIZE, &packed, owner);
}

/* Runs it and makes the message. */
static struct pc_msg *run_kind(const struct kind *kind, const struct pc_run_body *what,
                               struct pc_msg *run, int64_t started_us, struct eng_outcome *outcome)
{
    uint8_t body[PC_RESULT_BODY_SIZE];
    struct pc_result_body result = {.status = PC_STATUS_OK, .started_us = started_us};
    PyObject *value = eng_plain_is(what) ? eng_plain_run(run, what) : kind->run(run, what);
    if (eng_forkfix_is_child())
        leave_child(value);
    result.completed_us = pc_wall_us();
    if (value) {
        pc_result_encode(body, &result);
        struct pc_msg *msg = value_msg(kind, what, value, body, &outcome->owner);
        if (msg)
            return msg;
    }
    PyObject *error = eng_py_take_exception();
    result.status = PC_STATUS_ERROR;
    if (error && strcmp(_PyType_Name(Py_TYPE(error)), "UnmetDependency") == 0)
        result.flags = PC_RESULT_UNMET;
    pc_result_encode(body, &result);
    if (!error)
        return error_msg(
            body, error_json("SystemError", "an error without an exception", "", kind->name));
    pc_json *json = describe_error(error, kind->name);
    Py_DECREF(error);
    return error_msg(body, json);
}

/* The outcome of what was not run. */
static struct pc_msg *refusal(const struct kind *kind, const char *ename, const char *evalue)
{
    uint8_t body[PC_RESULT_BODY_SIZE];
    int64_t now_us = pc_wall_us();
    struct pc_result_body result = {
        .status = PC_STATUS_FAILED, .started_us = now_us, .completed_us = now_us};
    pc_result_encode(body, &result);
    return error_msg(body, error_json(ename, evalue, "", kind->name));
}

int eng_run_pass(struct pc_msg *run, struct pc_err *err)
{
    struct pc_run_body what;
    if (pc_run_decode(run, &what, err))
        return -1;
    return what.function ? eng_call_use(what.function, err) : 0;
}

int eng_run_task(struct pc_msg *run, bool may_run, struct eng_outcome *outcome, struct pc_err *err)
{
    struct pc_run_body what;
    int64_t started_us = pc_wall_us();
    *outcome = (struct eng_outcome){0};
    if (pc_run_decode(run, &what, err) || (what.function && eng_call_use(what.function, err)))
        return -1;
    const struct kind *kind = &kinds[what.kind];
    if (!may_run) {
        outcome->msg = refusal(kind, "TaskAborted", "the task was aborted before it started");
    } else if (run->head.part_count + (what.function != NULL) < kind->parts_min) {
        outcome->msg = refusal(kind, "ProtocolError", "the request lacks a part");
    } else {
        outcome->msg = run_kind(kind, &what, run, started_us, outcome);
    }
    outcome->msg->head.session = run->head.session;
    outcome->msg->head.sequence = run->head.sequence;
    outcome->msg->head.engine_id = my_id;
    return 0;
}
