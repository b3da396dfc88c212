/* SPDX-License-Identifier: BSD-3-Clause */
/* client.c - the type Client: one connection. How threads are in it: inside.c. */
#include "client.h"

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
    int64_t end = client_now_ms() + how.timeout_ms;
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
        how.timeout_ms = end > client_now_ms() ? (int)(end - client_now_ms()) : 1;
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
    sender_init(&client->sender, handle);
    client_enlist(client);
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
    if (client->inside > 0 && !client_is_forked(client))
        pc_client_shutdown(client->handle);
    else
        client_release(client);
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
        client_release(client);
    Py_XDECREF(client->announced);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* ---- the type ---------------------------------------------------------------------------- */

static PyObject *client_get_generation(PyObject *self, void *unused)
{
    struct client_object *client = (struct client_object *)self;
    if (client_enter(client) != 0)
        return NULL;
    uint64_t generation = pc_client_engines_generation(client->handle);
    client_leave(client);
    return PyLong_FromUnsignedLongLong(generation);
}

static PyObject *client_get_pending(PyObject *self, void *unused)
{
    struct client_object *client = (struct client_object *)self;
    if (client_enter(client) != 0)
        return NULL;
    size_t pending = pc_client_pending(client->handle);
    client_leave(client);
    return PyLong_FromSize_t(pending);
}

/* (calls, bytes, most calls, most bytes) */
static PyObject *client_get_window(PyObject *self, void *unused)
{
    struct client_object *client = (struct client_object *)self;
    struct pc_window window = {0};
    if (client_enter(client) != 0)
        return NULL;
    pc_client_window(client->handle, &window);
    client_leave(client);
    return Py_BuildValue("(KKKK)", (unsigned long long)window.calls,
                         (unsigned long long)window.bytes, (unsigned long long)window.max_calls,
                         (unsigned long long)window.max_bytes);
}

static PyObject *client_get_info(PyObject *self, void *unused)
{
    struct client_object *client = (struct client_object *)self;
    if (client_enter(client) != 0)
        return NULL;
    PyObject *info = PyUnicode_FromString(pc_client_info(client->handle));
    client_leave(client);
    return info;
}

static PyObject *client_get_closed(PyObject *self, void *unused)
{
    struct client_object *client = (struct client_object *)self;
    return PyBool_FromLong(!client->handle || client->is_closing);
}

static PyMethodDef client_methods[] = {
    {"submit", (PyCFunction)(void (*)(void))client_submit, METH_FASTCALL,
     "submit(kind, targets, balanced, run_flags, label, parts, will_wait, options, never_waits): a "
     "Call for an id or a balanced request, else a tuple of Calls. The buffers in `parts` are not "
     "copied. With never_waits it raises when as much is under way as may be."},
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
