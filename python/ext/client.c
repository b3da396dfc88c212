/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * client.c - the type Client: one connection.
 *
 * Closing while other threads are inside: `inside` counts them (guarded by the interpreter lock).
 * close() ends the connection, which makes them return; the last one out releases the handle.
 */
#include "ext.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A thread that waits looks for signals and for close() at least this often, in milliseconds: a
 * signal that comes just before the library sleeps must not be lost until the next message. */
#define SLICE_MS 200

/* Grows in a forked child, so that nothing there touches the locks of a client of its parent. */
static unsigned forks;

/* The clients whose descriptors a forked child closes. */
static struct client_object *open_clients;
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;

static void enlist(struct client_object *client)
{
    pthread_mutex_lock(&open_lock);
    client->next = open_clients;
    client->link = &open_clients;
    if (client->next)
        client->next->link = &client->next;
    open_clients = client;
    pthread_mutex_unlock(&open_lock);
}

static void delist(struct client_object *client)
{
    pthread_mutex_lock(&open_lock);
    if (client->link) {
        *client->link = client->next;
        if (client->next)
            client->next->link = client->link;
        client->link = NULL;
    }
    pthread_mutex_unlock(&open_lock);
}

/* Around every fork(), also by threads without the interpreter lock: the list is whole. */
static void before_fork(void)
{
    pthread_mutex_lock(&open_lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&open_lock);
}

/* Only what is safe between fork() and its return. */
static void in_child(void)
{
    forks++;
    for (struct client_object *client = open_clients; client; client = client->next) {
        pc_client_forked(client->handle);
        client->link = NULL;
    }
    open_clients = NULL;
    pthread_mutex_unlock(&open_lock);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- entering and leaving ---------------------------------------------------------------- */

static int enter(struct client_object *client)
{
    struct pc_err err = {.code = PC_OK};
    if (client->handle && client->forks != forks) {
        err.code = PC_E_FORKED;
        strcpy(err.text, "this client was made before a fork, in the parent process; make a new "
                         "Client in the child");
    } else if (!client->handle || client->is_closing) {
        err.code = PC_E_CLOSED;
        strcpy(err.text, "the client was closed");
    } else {
        client->inside++;
        return 0;
    }
    ext_raise(ext_state((PyObject *)client), &err);
    return -1;
}

static void release(struct client_object *client)
{
    struct pc_client *handle = client->handle;
    delist(client);
    client->handle = NULL;
    PyThreadState *thread = PyEval_SaveThread();
    if (client->forks == forks)
        sender_stop(&client->sender);
    pc_client_close(handle);
    PyEval_RestoreThread(thread);
}

static void leave(struct client_object *client)
{
    if (--client->inside == 0 && client->is_closing)
        release(client);
}

/* The library came back because of a signal or a slice of time: may the wait go on? */
static bool may_go_on(struct client_object *client, const struct pc_err *err)
{
    if (err->code != PC_E_INTERRUPTED && err->code != PC_E_TIMEOUT)
        return false;
    return PyErr_CheckSignals() == 0 && !client->is_closing;
}

static PyObject *fail(struct client_object *client, struct pc_err *err)
{
    if (PyErr_Occurred())
        return NULL;
    if (client->is_closing) {
        err->code = PC_E_CLOSED;
        strcpy(err->text, "the client was closed");
    }
    return ext_raise(ext_state((PyObject *)client), err);
}

/* Seconds, or None for no limit, as milliseconds; -1 stands for no limit. -2: an exception. */
static int64_t timeout_ms(PyObject *seconds)
{
    if (seconds == Py_None)
        return -1;
    double value = PyFloat_AsDouble(seconds);
    if (value == -1 && PyErr_Occurred())
        return -2;
    if (value < 0 || value > INT_MAX / 1000)
        return -1;
    int64_t ms = (int64_t)(value * 1000);
    return (double)ms < value * 1000 ? ms + 1 : ms;
}

struct patience {
    int64_t deadline; /* -1: none */
    int slice;        /* what to pass to the library next */
};

static struct patience patience_of(int64_t ms)
{
    bool is_short = ms >= 0 && ms <= SLICE_MS;
    return (struct patience){.deadline = ms < 0 ? -1 : now_ms() + ms,
                             .slice = is_short ? (int)ms : SLICE_MS};
}

/* False when the time is over. */
static bool next_slice(struct patience *patience)
{
    if (patience->deadline < 0)
        return true;
    int64_t left = patience->deadline - now_ms();
    patience->slice = left < SLICE_MS ? (int)left : SLICE_MS;
    return left > 0;
}

/* ---- opening and closing ----------------------------------------------------------------- */

static PyObject *client_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static const char *const names[] = {"file",        "json",       "profile",
                                        "profile_dir", "cluster_id", "timeout_ms",
                                        "transport",   "python",     NULL};
    struct pc_connect how = {.timeout_ms = 10000, .keeps_results = true};
    int transport = PC_TRANSPORT_ANY;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|$zzzzziiz", (char **)(uintptr_t)names,
                                     &how.file, &how.json, &how.profile, &how.profile_dir,
                                     &how.cluster_id, &how.timeout_ms, &transport, &how.python))
        return NULL;
    how.transport = (enum pc_transport)transport;
    struct module_state *state = PyType_GetModuleState(type);
    struct pc_client *handle = NULL;
    struct pc_err err = {.code = PC_OK};
    int64_t end = now_ms() + how.timeout_ms;
    int failed;
    do {
        PyThreadState *thread = PyEval_SaveThread();
        failed = pc_client_open(&handle, &how, &err);
        PyEval_RestoreThread(thread);
        if (PyErr_CheckSignals() != 0) {
            if (!failed)
                pc_client_close(handle);
            return NULL;
        }
        how.timeout_ms = end > now_ms() ? (int)(end - now_ms()) : 1;
    } while (failed && err.code == PC_E_INTERRUPTED);
    if (failed)
        return ext_raise(state, &err);
    struct client_object *client = PyObject_GC_New(struct client_object, type);
    if (!client) {
        pc_client_close(handle);
        return NULL;
    }
    client->handle = handle;
    client->inside = 0;
    client->is_closing = false;
    client->raises_when_full = false;
    client->forks = forks;
    sender_init(&client->sender, handle);
    enlist(client);
    client->announced = PyDict_New();
    PyObject_GC_Track(client);
    if (!client->announced)
        Py_CLEAR(client);
    return (PyObject *)client;
}

static PyObject *client_close(PyObject *self, PyObject *unused)
{
    struct client_object *client = (struct client_object *)self;
    if (!client->handle || client->is_closing)
        Py_RETURN_NONE;
    client->is_closing = true;
    if (client->inside > 0 && client->forks == forks)
        pc_client_shutdown(client->handle);
    else
        release(client);
    Py_RETURN_NONE;
}

static int client_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct client_object *)self)->announced);
    return 0;
}

static int client_clear(PyObject *self)
{
    Py_CLEAR(((struct client_object *)self)->announced);
    return 0;
}

static void client_dealloc(PyObject *self)
{
    struct client_object *client = (struct client_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (client->handle)
        release(client);
    Py_XDECREF(client->announced);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* ---- calls ------------------------------------------------------------------------------- */

/* The handles in a tuple of Calls; takes over all of them. */
static PyObject *wrap_calls(struct module_state *state, struct pc_call **handles, size_t count)
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
    } while (failed && may_go_on(client, err));
    return failed;
}

static PyObject *client_submit(PyObject *self, PyObject *const *args, Py_ssize_t arg_count)
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
    request.request.never_waits = client->raises_when_full;
    if (enter(client) != 0)
        goto out;
    if (submit(client, &request.request, handles, &err) != 0)
        fail(client, &err);
    else if (request.is_single)
        calls = call_wrap(ext_state(self), handles[0]);
    else
        calls = wrap_calls(ext_state(self), handles, count);
    leave(client);
out:
    if (handles != few)
        PyMem_Free(handles);
    request_fini(&request);
    return calls;
}

static PyObject *client_wait(PyObject *self, PyObject *const *args, Py_ssize_t arg_count)
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
    int64_t ms = arg_count > 1 ? timeout_ms(args[1]) : -1;
    if (ms == -2)
        return NULL;
    Py_ssize_t count = call_array(ext_state(self), args[0], &single, &handles);
    if (count < 0)
        return NULL;
    if (enter(client) != 0)
        goto out;
    struct patience patience = patience_of(ms);
    for (;;) {
        PyThreadState *thread = PyEval_SaveThread();
        int failed = wait(client->handle, handles, (size_t)count, patience.slice, &err);
        PyEval_RestoreThread(thread);
        if (!failed)
            answer = Py_NewRef(Py_True);
        else if (!may_go_on(client, &err))
            fail(client, &err);
        else if (!next_slice(&patience))
            answer = Py_NewRef(Py_False);
        else
            continue;
        break;
    }
    leave(client);
out:
    if (handles != &single)
        PyMem_Free(handles);
    return answer;
}

static PyObject *client_announce(PyObject *self, PyObject *arg)
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
    int failed = enter(client);
    if (!failed && !(failed = PyDict_SetItem(client->announced, key, arg)))
        pc_call_announce(handle);
    Py_DECREF(key);
    if (failed)
        return NULL;
    leave(client);
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

static PyObject *client_next_ended(PyObject *self, PyObject *seconds)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    PyObject *call = NULL;
    int64_t ms = timeout_ms(seconds);
    if (ms == -2)
        return NULL;
    if (client->is_closing && client->forks == forks && PyDict_Size(client->announced) > 0) {
        /* Every call has ended, also what the library no longer hands out. */
        PyObject *item = PyObject_CallMethod(client->announced, "popitem", NULL);
        call = item ? Py_NewRef(PyTuple_GetItem(item, 1)) : NULL;
        Py_XDECREF(item);
        return call;
    }
    if (enter(client) != 0)
        return NULL;
    struct pc_call *handle;
    PyThreadState *thread = PyEval_SaveThread();
    handle = pc_next_ended(client->handle, ms > INT_MAX ? -1 : (int)ms, &err);
    PyEval_RestoreThread(thread);
    if (handle)
        call = take_announced(client, handle);
    else if (client->is_closing || may_go_on(client, &err))
        call = PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    else
        fail(client, &err);
    leave(client);
    return call;
}

static PyObject *client_wake(PyObject *self, PyObject *unused)
{
    struct client_object *client = (struct client_object *)self;
    if (client->handle && client->forks == forks)
        pc_client_wake(client->handle);
    Py_RETURN_NONE;
}

static PyObject *client_dispatch(PyObject *self, PyObject *seconds)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    int64_t ms = timeout_ms(seconds);
    int count;
    if (ms == -2 || enter(client) != 0)
        return NULL;
    struct patience patience = patience_of(ms);
    do {
        PyThreadState *thread = PyEval_SaveThread();
        count = pc_dispatch(client->handle, patience.slice, &err);
        PyEval_RestoreThread(thread);
        if (count < 0 && may_go_on(client, &err))
            count = 0;
        if (count == 0 && PyErr_CheckSignals() != 0)
            count = -1;
    } while (count == 0 && !client->is_closing && next_slice(&patience));
    PyObject *answer = count < 0 ? fail(client, &err) : PyLong_FromLong(count);
    leave(client);
    return answer;
}

/* ---- questions --------------------------------------------------------------------------- */

static PyObject *client_query(PyObject *self, PyObject *args)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    const char *json;
    PyObject *seconds = Py_None;
    char *reply = NULL;
    int failed;
    if (!PyArg_ParseTuple(args, "s|O", &json, &seconds))
        return NULL;
    int64_t ms = timeout_ms(seconds);
    if (ms == -2 || enter(client) != 0)
        return NULL;
    do {
        PyThreadState *thread = PyEval_SaveThread();
        failed = pc_query(client->handle, json, ms > 0 ? (int)ms : 0, &reply, &err);
        PyEval_RestoreThread(thread);
    } while (failed && err.code == PC_E_INTERRUPTED && may_go_on(client, &err));
    PyObject *text = failed ? fail(client, &err)
                            : PyUnicode_DecodeUTF8(reply, (Py_ssize_t)strlen(reply), "replace");
    free(reply);
    leave(client);
    return text;
}

/* abort(calls, flags), interrupt(ids): until the controller has taken note. */
static PyObject *client_abort(PyObject *self, PyObject *const *args, Py_ssize_t arg_count)
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
    if (enter(client) == 0) {
        int failed;
        do {
            PyThreadState *thread = PyEval_SaveThread();
            failed = pc_abort(client->handle, handles, (size_t)count, (unsigned)flags, &err);
            PyEval_RestoreThread(thread);
        } while (failed && err.code == PC_E_INTERRUPTED && may_go_on(client, &err));
        answer = failed ? fail(client, &err) : Py_NewRef(Py_None);
        leave(client);
    }
    if (handles != &single)
        PyMem_Free(handles);
    return answer;
}

/* fetch(what, ids): ids as pairs of 64-bit numbers in native order. */
static PyObject *client_fetch(PyObject *self, PyObject *args)
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
    } else if (enter(client) == 0) {
        memcpy(tasks, ids, (size_t)size);
        do {
            PyThreadState *thread = PyEval_SaveThread();
            failed = pc_fetch(client->handle, (enum pc_fetch)what, tasks, count, handles, &err);
            PyEval_RestoreThread(thread);
        } while (failed && may_go_on(client, &err));
        calls = failed ? fail(client, &err) : wrap_calls(ext_state(self), handles, count);
        leave(client);
    }
    PyMem_Free(handles);
    PyMem_Free(tasks);
    return calls;
}

static PyObject *client_interrupt(PyObject *self, PyObject *arg)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    unsigned long id = PyLong_AsUnsignedLong(arg);
    if ((id == (unsigned long)-1 && PyErr_Occurred()) || enter(client) != 0)
        return NULL;
    uint32_t engine = id < UINT32_MAX ? (uint32_t)id : UINT32_MAX;
    int failed;
    do {
        PyThreadState *thread = PyEval_SaveThread();
        failed = pc_interrupt(client->handle, &engine, 1, &err);
        PyEval_RestoreThread(thread);
    } while (failed && err.code == PC_E_INTERRUPTED && may_go_on(client, &err));
    PyObject *answer = failed ? fail(client, &err) : Py_NewRef(Py_None);
    leave(client);
    return answer;
}

static PyObject *engine_tuple(const struct pc_engine *engine)
{
    return Py_BuildValue("(IIssss)", engine->id, engine->pid, engine->host, engine->python,
                         engine->uuid, engine->tags);
}

static PyObject *client_engines(PyObject *self, PyObject *unused)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    struct pc_engine *engines = NULL;
    PyObject *list = NULL;
    size_t count = 0;
    int failed;
    if (enter(client) != 0)
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    failed = pc_client_engines(client->handle, &engines, &count, &err);
    PyEval_RestoreThread(thread);
    if (failed)
        fail(client, &err);
    else
        list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *item = engine_tuple(&engines[i]);
        if (!item || PyList_SetItem(list, (Py_ssize_t)i, item) != 0)
            Py_CLEAR(list);
    }
    pc_engines_free(engines);
    leave(client);
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
    if (enter(client) != 0)
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    failed = list(client->handle, &handles, &count, &err);
    PyEval_RestoreThread(thread);
    if (failed) {
        fail(client, &err);
    } else {
        calls = wrap_calls(ext_state(self), handles, count);
        pc_calls_free(handles);
    }
    leave(client);
    return calls;
}

static PyObject *client_outstanding(PyObject *self, PyObject *unused)
{
    return list_calls(self, pc_client_outstanding);
}

static PyObject *client_kept(PyObject *self, PyObject *unused)
{
    return list_calls(self, pc_client_kept);
}

static PyObject *client_find(PyObject *self, PyObject *args)
{
    struct client_object *client = (struct client_object *)self;
    unsigned long long sequence;
    int only_kept = 0;
    if (!PyArg_ParseTuple(args, "K|p", &sequence, &only_kept) || enter(client) != 0)
        return NULL;
    struct pc_call *handle = pc_client_find(client->handle, sequence, only_kept);
    leave(client);
    return handle ? call_wrap(ext_state(self), handle) : Py_NewRef(Py_None);
}

static PyObject *client_check(PyObject *self, PyObject *unused)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_err err = {.code = PC_OK};
    int failed;
    if (enter(client) != 0)
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    failed = pc_client_check(client->handle, &err);
    PyEval_RestoreThread(thread);
    PyObject *answer = failed ? fail(client, &err) : Py_NewRef(Py_None);
    leave(client);
    return answer;
}

static PyObject *client_get_generation(PyObject *self, void *unused)
{
    struct client_object *client = (struct client_object *)self;
    if (enter(client) != 0)
        return NULL;
    uint64_t generation = pc_client_engines_generation(client->handle);
    leave(client);
    return PyLong_FromUnsignedLongLong(generation);
}

static PyObject *client_get_pending(PyObject *self, void *unused)
{
    struct client_object *client = (struct client_object *)self;
    if (enter(client) != 0)
        return NULL;
    size_t pending = pc_client_pending(client->handle);
    leave(client);
    return PyLong_FromSize_t(pending);
}

/* (calls, bytes, most calls, most bytes) */
static PyObject *client_get_window(PyObject *self, void *unused)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_window window = {0};
    if (enter(client) != 0)
        return NULL;
    pc_client_window(client->handle, &window);
    leave(client);
    return Py_BuildValue("(KKKK)", (unsigned long long)window.calls,
                         (unsigned long long)window.bytes, (unsigned long long)window.max_calls,
                         (unsigned long long)window.max_bytes);
}

static PyObject *client_get_raises(PyObject *self, void *unused)
{
    return PyBool_FromLong(((struct client_object *)self)->raises_when_full);
}

static int client_set_raises(PyObject *self, PyObject *value, void *unused)
{
    int is_true = value ? PyObject_IsTrue(value) : 0;
    if (is_true < 0)
        return -1;
    ((struct client_object *)self)->raises_when_full = is_true;
    return 0;
}

static PyObject *client_get_info(PyObject *self, void *unused)
{
    struct client_object *client = (struct client_object *)self;
    if (enter(client) != 0)
        return NULL;
    PyObject *info = PyUnicode_FromString(pc_client_info(client->handle));
    leave(client);
    return info;
}

static PyObject *client_get_closed(PyObject *self, void *unused)
{
    struct client_object *client = (struct client_object *)self;
    return PyBool_FromLong(!client->handle || client->is_closing);
}

static PyMethodDef client_methods[] = {
    {"submit", (PyCFunction)(void (*)(void))client_submit, METH_FASTCALL,
     "submit(kind, targets, balanced, run_flags, label, parts, will_wait, options): a Call for an "
     "id or a balanced request, else a tuple of Calls. The buffers in `parts` are not copied."},
    {"wait", (PyCFunction)(void (*)(void))client_wait, METH_FASTCALL,
     "wait(calls, seconds=None, accepted=False): False when not all ended (are on disk) in time."},
    {"announce", client_announce, METH_O, "Have next_ended() hand this Call out once it ended."},
    {"next_ended", client_next_ended, METH_O,
     "The next announced Call that has ended; None after the seconds, or after wake()."},
    {"wake", client_wake, METH_NOARGS, "Make next_ended() in another thread return None."},
    {"dispatch", client_dispatch, METH_O, "Take in what arrives, waiting up to the seconds."},
    {"outstanding", client_outstanding, METH_NOARGS,
     "The calls that have not ended, as a tuple of new Calls."},
    {"kept", client_kept, METH_NOARGS,
     "The calls whose results are kept, as a tuple of new Calls."},
    {"find", client_find, METH_VARARGS,
     "find(number, only_kept=False): a new Call for the one with this number; None: not known."},
    {"query", client_query, METH_VARARGS, "query(json, seconds=None): the reply, as JSON text."},
    {"abort", (PyCFunction)(void (*)(void))client_abort, METH_FASTCALL,
     "abort(calls, flags): end calls early; ABORT_* say what becomes of those that run."},
    {"fetch", client_fetch, METH_VARARGS,
     "fetch(what, ids): a tuple of Calls for tasks that the hub remembers; FETCH_* say what is "
     "fetched of them. The ids are pairs of 64-bit numbers, packed."},
    {"interrupt", client_interrupt, METH_O, "Interrupt what runs on this engine."},
    {"engines", client_engines, METH_NOARGS, "List of (id, pid, host, python, uuid, tags)."},
    {"check", client_check, METH_NOARGS, "Raise when the connection is lost."},
    {"close", client_close, METH_NOARGS, "End the connection."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef client_getset[] = {
    {"generation", client_get_generation, NULL, "Grows when engines come and go.", NULL},
    {"pending", client_get_pending, NULL, "Number of calls that have not ended.", NULL},
    {"info", client_get_info, NULL, "About the connection, as JSON text.", NULL},
    {"window", client_get_window, NULL,
     "Under way: (calls, bytes), and the most that may be: (..., calls, bytes).", NULL},
    {"raises_when_full", client_get_raises, client_set_raises,
     "Whether submit() raises when as much is under way as may be, instead of waiting.", NULL},
    {"closed", client_get_closed, NULL, "Whether close() was called.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static char client_doc[] = "A connection: Client(*, file, json, profile, profile_dir, cluster_id, "
                           "timeout_ms, transport, python).";

static PyType_Slot client_slots[] = {
    {Py_tp_doc, client_doc},         {Py_tp_new, client_new},
    {Py_tp_dealloc, client_dealloc}, {Py_tp_traverse, client_traverse},
    {Py_tp_clear, client_clear},     {Py_tp_methods, client_methods},
    {Py_tp_getset, client_getset},   {0, NULL},
};

PyType_Spec client_spec = {
    .name = "pcluster._client.Client",
    .basicsize = sizeof(struct client_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = client_slots,
};

int client_watch_forks(void)
{
    static bool is_watching;
    if (is_watching)
        return 0;
    is_watching = true;
    return pthread_atfork(before_fork, after_fork, in_child);
}
