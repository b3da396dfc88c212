/* SPDX-License-Identifier: BSD-3-Clause */
/* submit.c - the methods of Client that submit calls, wait for them, and hand out what ended. */
#include "client.h"

#include <limits.h>

PyObject *client_wrap_calls(struct module_state *state, struct pc_call **handles, size_t count)
{
    PyObject *calls = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; i < count; i++) {
        PyObject *call = calls ? call_wrap(state, handles[i]) : NULL;
        if (!calls)
            pc_call_unref(handles[i]);
        else if (!call || PyTuple_SetItem(calls, (Py_ssize_t)i, call) != 0)
            Py_CLEAR(calls);
    }
    return calls;
}

static int submit(struct client_object *client, const struct pc_request *request,
                  struct pc_call **handles, struct pc_err *err)
{
    int failed;
    do {
        PyThreadState *thread = PyEval_SaveThread();
        failed = pc_submit(client->handle, request, handles, err);
        if (pc_client_lingers(client->handle))
            sender_rouse(&client->sender);
        PyEval_RestoreThread(thread);
    } while (failed && client_may_go_on(client, err));
    return failed;
}

PyObject *client_submit(PyObject *self, PyObject *const *args, Py_ssize_t arg_count)
{
    struct client_object *client = (struct client_object *)self;
    struct ext_request request;
    struct pc_call *few[8];
    struct pc_call **handles = few;
    struct pc_err err = {.code = PC_OK};
    PyObject *calls = NULL;
    if (request_init(ext_state(self), &request, args, arg_count) != 0)
        return NULL;
    size_t count = request.request.is_balanced ? 1 : request.request.target_count;
    if (count > sizeof(few) / sizeof(few[0])) {
        handles = PyMem_Malloc(count * sizeof(*handles));
        if (!handles) {
            PyErr_NoMemory();
            goto out;
        }
    }
    if (client_enter(client) != 0)
        goto out;
    if (submit(client, &request.request, handles, &err) != 0)
        client_fail(client, &err);
    else if (request.is_single)
        calls = call_wrap(ext_state(self), handles[0]);
    else
        calls = client_wrap_calls(ext_state(self), handles, count);
    client_leave(client);
out:
    if (handles != few)
        PyMem_Free(handles);
    request_fini(&request);
    return calls;
}

PyObject *client_wait(PyObject *self, PyObject *const *args, Py_ssize_t arg_count)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_call *single, **handles;
    struct pc_err err = {.code = PC_OK};
    PyObject *answer = NULL;
    if (arg_count < 1 || arg_count > 3) {
        PyErr_SetString(PyExc_TypeError, "wait() takes calls, a timeout and what for");
        return NULL;
    }
    typeof(pc_wait) *wait = arg_count > 2 && args[2] == Py_True ? pc_wait_accepted : pc_wait;
    int64_t ms = arg_count > 1 ? client_timeout_ms(args[1]) : -1;
    if (ms == -2)
        return NULL;
    Py_ssize_t count = call_array(ext_state(self), args[0], &single, &handles);
    if (count < 0)
        return NULL;
    if (client_enter(client) != 0)
        goto out;
    struct patience patience = patience_of(ms);
    for (;;) {
        PyThreadState *thread = PyEval_SaveThread();
        int failed = wait(client->handle, handles, (size_t)count, patience.slice, &err);
        PyEval_RestoreThread(thread);
        if (!failed)
            answer = Py_NewRef(Py_True);
        else if (!client_may_go_on(client, &err))
            client_fail(client, &err);
        else if (!next_slice(&patience))
            answer = Py_NewRef(Py_False);
        else
            continue;
        break;
    }
    client_leave(client);
out:
    if (handles != &single)
        PyMem_Free(handles);
    return answer;
}

PyObject *client_announce(PyObject *self, PyObject *arg)
{
    struct client_object *client = (struct client_object *)self;
    if ((PyObject *)Py_TYPE(arg) != ext_state(self)->call_type) {
        PyErr_SetString(PyExc_TypeError, "announce() takes a Call");
        return NULL;
    }
    struct pc_call *handle = ((struct call_object *)arg)->handle;
    PyObject *key = PyLong_FromVoidPtr(handle);
    if (!key)
        return NULL;
    int failed = client_enter(client);
    if (!failed && !(failed = PyDict_SetItem(client->announced, key, arg)))
        pc_call_announce(handle);
    Py_DECREF(key);
    if (failed)
        return NULL;
    client_leave(client);
    Py_RETURN_NONE;
}

/* The Call object that was announced for this handle; releases the reference to the handle. */
static PyObject *take_announced(struct client_object *client, struct pc_call *handle)
{
    PyObject *key = PyLong_FromVoidPtr(handle);
    PyObject *call = key ? PyDict_GetItemWithError(client->announced, key) : NULL;
    Py_XINCREF(call);
    if (call && PyDict_DelItem(client->announced, key) != 0)
        Py_CLEAR(call);
    else if (!call && !PyErr_Occurred())
        PyErr_SetString(PyExc_SystemError, "a call ended that was not announced");
    Py_XDECREF(key);
    pc_call_unref(handle);
    return call;
}

PyObject *client_next_ended(PyObject *self, PyObject *seconds)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    PyObject *call = NULL;
    int64_t ms = client_timeout_ms(seconds);
    if (ms == -2)
        return NULL;
    if (client->is_closing && !client_is_forked(client) && PyDict_Size(client->announced) > 0) {
        /* Every call has ended, also what the library no longer hands out. */
        PyObject *item = PyObject_CallMethod(client->announced, "popitem", NULL);
        call = item ? Py_NewRef(PyTuple_GetItem(item, 1)) : NULL;
        Py_XDECREF(item);
        return call;
    }
    if (client_enter(client) != 0)
        return NULL;
    struct pc_call *handle;
    PyThreadState *thread = PyEval_SaveThread();
    handle = pc_next_ended(client->handle, ms > INT_MAX ? -1 : (int)ms, &err);
    PyEval_RestoreThread(thread);
    if (handle)
        call = take_announced(client, handle);
    else if (client->is_closing || client_may_go_on(client, &err))
        call = PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    else
        client_fail(client, &err);
    client_leave(client);
    return call;
}

PyObject *client_wake(PyObject *self, PyObject *unused)
{
    struct client_object *client = (struct client_object *)self;
    if (client->handle && !client_is_forked(client))
        pc_client_wake(client->handle);
    Py_RETURN_NONE;
}

PyObject *client_dispatch(PyObject *self, PyObject *seconds)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    int64_t ms = client_timeout_ms(seconds);
    int count;
    if (ms == -2 || client_enter(client) != 0)
        return NULL;
    struct patience patience = patience_of(ms);
    do {
        PyThreadState *thread = PyEval_SaveThread();
        count = pc_dispatch(client->handle, patience.slice, &err);
        PyEval_RestoreThread(thread);
        if (count < 0 && client_may_go_on(client, &err))
            count = 0;
        if (count == 0 && PyErr_CheckSignals() != 0)
            count = -1;
    } while (count == 0 && !client->is_closing && next_slice(&patience));
    PyObject *answer = count < 0 ? client_fail(client, &err) : PyLong_FromLong(count);
    client_leave(client);
    return answer;
}
