/* SPDX-License-Identifier: BSD-3-Clause */
/* questions.c - the methods of Client that ask the controller, or the library, for something. */
#include "client.h"

#include <stdlib.h>
#include <string.h>

PyObject *client_query(PyObject *self, PyObject *args)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    const char *json;
    PyObject *seconds = Py_None;
    char *reply = NULL;
    int failed;
    if (!PyArg_ParseTuple(args, "s|O", &json, &seconds))
        return NULL;
    int64_t ms = client_timeout_ms(seconds);
    if (ms == -2 || client_enter(client) != 0)
        return NULL;
    do {
        PyThreadState *thread = PyEval_SaveThread();
        failed = pc_query(client->handle, json, ms > 0 ? (int)ms : 0, &reply, &err);
        PyEval_RestoreThread(thread);
    } while (failed && err.code == PC_E_INTERRUPTED && client_may_go_on(client, &err));
    PyObject *text = failed ? client_fail(client, &err)
                            : PyUnicode_DecodeUTF8(reply, (Py_ssize_t)strlen(reply), "replace");
    free(reply);
    client_leave(client);
    return text;
}

/* abort(calls, flags), interrupt(ids): until the controller has taken note. */
PyObject *client_abort(PyObject *self, PyObject *const *args, Py_ssize_t arg_count)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_call *single, **handles;
    struct pc_err err = {.code = PC_OK};
    if (arg_count != 2) {
        PyErr_SetString(PyExc_TypeError, "abort() takes calls and flags");
        return NULL;
    }
    unsigned long flags = PyLong_AsUnsignedLong(args[1]);
    if (PyErr_Occurred())
        return NULL;
    Py_ssize_t count = call_array(ext_state(self), args[0], &single, &handles);
    if (count < 0)
        return NULL;
    PyObject *answer = NULL;
    if (client_enter(client) == 0) {
        int failed;
        do {
            PyThreadState *thread = PyEval_SaveThread();
            failed = pc_abort(client->handle, handles, (size_t)count, (unsigned)flags, &err);
            PyEval_RestoreThread(thread);
        } while (failed && err.code == PC_E_INTERRUPTED && client_may_go_on(client, &err));
        answer = failed ? client_fail(client, &err) : Py_NewRef(Py_None);
        client_leave(client);
    }
    if (handles != &single)
        PyMem_Free(handles);
    return answer;
}

/* fetch(what, ids): ids as pairs of 64-bit numbers in native order. */
PyObject *client_fetch(PyObject *self, PyObject *args)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    PyObject *calls = NULL;
    const char *ids;
    Py_ssize_t size;
    int what, failed;
    if (!PyArg_ParseTuple(args, "iy#", &what, &ids, &size))
        return NULL;
    size_t count = (size_t)size / sizeof(struct pc_task_id);
    struct pc_task_id *tasks = PyMem_Malloc((size_t)size + 1);
    struct pc_call **handles = PyMem_Malloc((count + 1) * sizeof(*handles));
    if (!tasks || !handles) {
        PyErr_NoMemory();
    } else if (client_enter(client) == 0) {
        memcpy(tasks, ids, (size_t)size);
        do {
            PyThreadState *thread = PyEval_SaveThread();
            failed = pc_fetch(client->handle, (enum pc_fetch)what, tasks, count, handles, &err);
            PyEval_RestoreThread(thread);
        } while (failed && client_may_go_on(client, &err));
        calls =
            failed ? client_fail(client, &err) : client_wrap_calls(ext_state(self), handles, count);
        client_leave(client);
    }
    PyMem_Free(handles);
    PyMem_Free(tasks);
    return calls;
}

PyObject *client_interrupt(PyObject *self, PyObject *arg)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    unsigned long id = PyLong_AsUnsignedLong(arg);
    if ((id == (unsigned long)-1 && PyErr_Occurred()) || client_enter(client) != 0)
        return NULL;
    uint32_t engine = id < UINT32_MAX ? (uint32_t)id : UINT32_MAX;
    int failed;
    do {
        PyThreadState *thread = PyEval_SaveThread();
        failed = pc_interrupt(client->handle, &engine, 1, &err);
        PyEval_RestoreThread(thread);
    } while (failed && err.code == PC_E_INTERRUPTED && client_may_go_on(client, &err));
    PyObject *answer = failed ? client_fail(client, &err) : Py_NewRef(Py_None);
    client_leave(client);
    return answer;
}

static PyObject *engine_tuple(const struct pc_engine *engine)
{
    return Py_BuildValue("(IIssss)", engine->id, engine->pid, engine->host, engine->python,
                         engine->uuid, engine->tags);
}

PyObject *client_engines(PyObject *self, PyObject *unused)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    struct pc_engine *engines = NULL;
    PyObject *list = NULL;
    size_t count = 0;
    int failed;
    if (client_enter(client) != 0)
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    failed = pc_client_engines(client->handle, &engines, &count, &err);
    PyEval_RestoreThread(thread);
    if (failed)
        client_fail(client, &err);
    else
        list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *item = engine_tuple(&engines[i]);
        if (!item || PyList_SetItem(list, (Py_ssize_t)i, item) != 0)
            Py_CLEAR(list);
    }
    pc_engines_free(engines);
    client_leave(client);
    return list;
}

/* What pc_client_outstanding or pc_client_kept lists. */
static PyObject *list_calls(PyObject *self, int (*list)(struct pc_client *, struct pc_call ***,
                                                        size_t *, struct pc_err *))
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    struct pc_call **handles;
    PyObject *calls = NULL;
    size_t count;
    int failed;
    if (client_enter(client) != 0)
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    failed = list(client->handle, &handles, &count, &err);
    PyEval_RestoreThread(thread);
    if (failed) {
        client_fail(client, &err);
    } else {
        calls = client_wrap_calls(ext_state(self), handles, count);
        pc_calls_free(handles);
    }
    client_leave(client);
    return calls;
}

PyObject *client_outstanding(PyObject *self, PyObject *unused)
{
    return list_calls(self, pc_client_outstanding);
}

PyObject *client_kept(PyObject *self, PyObject *unused)
{
    return list_calls(self, pc_client_kept);
}

PyObject *client_find(PyObject *self, PyObject *args)
{
    struct client_object *client = (struct client_object *)self;
    unsigned long long sequence;
    int only_kept = 0;
    if (!PyArg_ParseTuple(args, "K|p", &sequence, &only_kept) || client_enter(client) != 0)
        return NULL;
    struct pc_call *handle = pc_client_find(client->handle, sequence, only_kept);
    client_leave(client);
    return handle ? call_wrap(ext_state(self), handle) : Py_NewRef(Py_None);
}

PyObject *client_check(PyObject *self, PyObject *unused)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    int failed;
    if (client_enter(client) != 0)
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    failed = pc_client_check(client->handle, &err);
    PyEval_RestoreThread(thread);
    PyObject *answer = failed ? client_fail(client, &err) : Py_NewRef(Py_None);
    client_leave(client);
    return answer;
}
