/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * call.c - the types Call (one call on one engine) and Part (one piece of its result).
 *
 * A Part shows the library's memory through the buffer protocol without copying it; it owns a
 * reference to the Call, so whatever was unpickled on top of it keeps the memory alive.
 */
#include "ext.h"

#include <stdlib.h>
#include <string.h>
#include <structmember.h>

/* Below this a copy costs less than the two objects that a view needs. */
#define COPY_BELOW 4096

struct part_object {
    PyObject ob_base;
    PyObject *owner;
    void *data;
    Py_ssize_t size;
};

static int part_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    static char nothing;
    struct part_object *part = (struct part_object *)self;
    void *data = part->size ? part->data : &nothing;
    return PyBuffer_FillInfo(view, self, data, part->size, 0, flags);
}

static void part_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((struct part_object *)self)->owner);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyType_Slot part_slots[] = {
    {Py_tp_dealloc, part_dealloc},
    {Py_bf_getbuffer, part_getbuffer},
    {0, NULL},
};

PyType_Spec part_spec = {
    .name = "pcluster._client.Part",
    .basicsize = sizeof(struct part_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = part_slots,
};

/* A writable memoryview of one part. */
static PyObject *part_view(struct call_object *call, size_t index)
{
    struct module_state *state = ext_state((PyObject *)call);
    void *data;
    size_t size;
    if (pc_call_part(call->handle, index, &data, &size) != 0) {
        PyErr_SetString(PyExc_IndexError, "the result has no such part");
        return NULL;
    }
    struct part_object *part = PyObject_New(struct part_object, (PyTypeObject *)state->part_type);
    if (!part)
        return NULL;
    part->owner = Py_NewRef((PyObject *)call);
    part->data = data;
    part->size = (Py_ssize_t)size;
    PyObject *view = PyMemoryView_FromObject((PyObject *)part);
    Py_DECREF(part);
    return view;
}

PyObject *call_wrap(struct module_state *state, struct pc_call *handle)
{
    struct call_object *call =
        PyObject_GC_New(struct call_object, (PyTypeObject *)state->call_type);
    if (!call) {
        pc_call_unref(handle);
        return NULL;
    }
    call->handle = handle;
    call->data = NULL;
    call->weakrefs = NULL;
    PyObject_GC_Track(call);
    return (PyObject *)call;
}

Py_ssize_t call_array(struct module_state *state, PyObject *calls, struct pc_call **single,
                      struct pc_call ***array)
{
    PyTypeObject *type = (PyTypeObject *)state->call_type;
    if (Py_TYPE(calls) == type) {
        *single = ((struct call_object *)calls)->handle;
        *array = single;
        return 1;
    }
    if (!PyTuple_Check(calls)) {
        PyErr_SetString(PyExc_TypeError, "expected a Call, or a tuple of them");
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(calls);
    struct pc_call **handles = PyMem_Malloc((size_t)(count + 1) * sizeof(*handles));
    if (!handles) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyTuple_GetItem(calls, i);
        if (Py_TYPE(item) != type) {
            PyMem_Free(handles);
            PyErr_SetString(PyExc_TypeError, "expected a Call, or a tuple of them");
            return -1;
        }
        handles[i] = ((struct call_object *)item)->handle;
    }
    *array = handles;
    return count;
}

static int result_of(struct call_object *call, struct pc_result *result)
{
    if (pc_call_result(call->handle, result) == 0)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "the call has not ended");
    return -1;
}

static PyObject *engine_or_none(uint32_t id)
{
    return id == UINT32_MAX ? Py_NewRef(Py_None) : PyLong_FromUnsignedLong(id);
}

static PyObject *call_result(PyObject *self, PyObject *unused)
{
    struct pc_result result;
    if (result_of((struct call_object *)self, &result) != 0)
        return NULL;
    PyObject *engine = engine_or_none(result.engine_id);
    if (!engine)
        return NULL;
    return Py_BuildValue("(iNLLLL)", (int)result.status, engine, (long long)result.submitted_us,
                         (long long)result.started_us, (long long)result.completed_us,
                         (long long)result.received_us);
}

static PyObject *views_from(struct call_object *call, size_t first, size_t count)
{
    PyObject *views = PyList_New((Py_ssize_t)(count - first));
    for (size_t i = first; views && i < count; i++) {
        PyObject *view = part_view(call, i);
        if (!view || PyList_SetItem(views, (Py_ssize_t)(i - first), view) != 0)
            Py_CLEAR(views);
    }
    return views;
}

static PyObject *call_parts(PyObject *self, PyObject *unused)
{
    struct pc_result result;
    if (result_of((struct call_object *)self, &result) != 0)
        return NULL;
    return views_from((struct call_object *)self, 0, result.part_count);
}

static PyObject *load_with_buffers(struct module_state *state, struct call_object *call,
                                   PyObject *pickled, size_t count)
{
    PyObject *buffers = views_from(call, 1, count);
    if (!buffers)
        return NULL;
    PyObject *value = NULL;
    PyObject *keywords = Py_BuildValue("{sN}", "buffers", buffers);
    PyObject *arguments = keywords ? PyTuple_Pack(1, pickled) : NULL;
    if (arguments)
        value = PyObject_Call(state->loads, arguments, keywords);
    Py_XDECREF(arguments);
    Py_XDECREF(keywords);
    return value;
}

static PyObject *part_bytes(struct call_object *call, size_t index)
{
    void *data;
    size_t size;
    if (pc_call_part(call->handle, index, &data, &size) != 0)
        return PyErr_NoMemory();
    return PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
}

/* What a program without pickle had asked for. */
static PyObject *load_plain(struct call_object *call, const struct pc_value *value)
{
    if (value->form == PC_FORM_JSON) {
        PyObject *json = PyImport_ImportModule("json");
        PyObject *found =
            json ? PyObject_CallMethod(json, "loads", "y#", value->data, (Py_ssize_t)value->size)
                 : NULL;
        Py_XDECREF(json);
        return found;
    }
    if (value->count == 1)
        return part_bytes(call, 1);
    PyObject *list = PyList_New((Py_ssize_t)value->count);
    for (size_t i = 0; list && i < value->count; i++) {
        PyObject *bytes = part_bytes(call, i + 1);
        if (!bytes || PyList_SetItem(list, (Py_ssize_t)i, bytes) != 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *call_load(PyObject *self, PyObject *unused)
{
    struct module_state *state = ext_state(self);
    struct call_object *call = (struct call_object *)self;
    struct pc_result result;
    if (result_of(call, &result) != 0)
        return NULL;
    if (result.part_count == 0)
        Py_RETURN_NONE;
    struct pc_value plain;
    if (pc_call_value(call->handle, &plain, NULL) == 0 && plain.form != PC_FORM_PICKLE)
        return load_plain(call, &plain);
    void *data;
    size_t size;
    PyObject *pickled;
    if (pc_call_part(call->handle, 0, &data, &size) == 0 && size < COPY_BELOW)
        pickled = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
    else
        pickled = part_view(call, 0);
    if (!pickled)
        return NULL;
    PyObject *value = result.part_count == 1
                          ? PyObject_CallFunctionObjArgs(state->loads, pickled, NULL)
                          : load_with_buffers(state, call, pickled, result.part_count);
    Py_DECREF(pickled);
    return value;
}

static PyObject *output(PyObject *self, PyObject *arg,
                        int (*get)(struct pc_call *, enum pc_stream, char **, size_t *))
{
    long stream = PyLong_AsLong(arg);
    if (stream == -1 && PyErr_Occurred())
        return NULL;
    if (stream < PC_STREAM_STDOUT || stream > PC_STREAM_DISPLAY) {
        PyErr_SetString(PyExc_ValueError, "no such stream");
        return NULL;
    }
    char *data = NULL;
    size_t size = 0;
    if (get(((struct call_object *)self)->handle, (enum pc_stream)stream, &data, &size) != 0)
        return PyErr_NoMemory();
    PyObject *text = PyUnicode_DecodeUTF8(data ? data : "", (Py_ssize_t)size, "replace");
    free(data);
    return text;
}

static PyObject *call_output(PyObject *self, PyObject *stream)
{
    return output(self, stream, pc_call_output);
}

static PyObject *call_take_output(PyObject *self, PyObject *stream)
{
    return output(self, stream, pc_call_take_output);
}

static PyObject *call_output_since(PyObject *self, PyObject *args)
{
    struct call_object *call = (struct call_object *)self;
    int stream;
    unsigned long long given;
    if (!PyArg_ParseTuple(args, "iK", &stream, &given))
        return NULL;
    if (stream < PC_STREAM_STDOUT || stream > PC_STREAM_DISPLAY) {
        PyErr_SetString(PyExc_ValueError, "no such stream");
        return NULL;
    }
    uint64_t since = given;
    char *data = NULL;
    size_t size = 0;
    if (pc_call_output_since(call->handle, (enum pc_stream)stream, &since, &data, &size) != 0)
        return PyErr_NoMemory();
    PyObject *answer = Py_BuildValue("(y#K)", data ? data : "", (Py_ssize_t)size, since);
    free(data);
    return answer;
}

static PyObject *call_published(PyObject *self, PyObject *unused)
{
    void *data;
    size_t size;
    if (pc_call_published(((struct call_object *)self)->handle, &data, &size) != 0)
        return PyErr_NoMemory();
    PyObject *bytes = data ? PyBytes_FromStringAndSize(data, (Py_ssize_t)size) : Py_NewRef(Py_None);
    free(data);
    return bytes;
}

static PyObject *call_pin(PyObject *self, PyObject *unused)
{
    pc_call_pin(((struct call_object *)self)->handle);
    Py_RETURN_NONE;
}

static PyObject *call_forget(PyObject *self, PyObject *unused)
{
    pc_call_forget(((struct call_object *)self)->handle);
    Py_RETURN_NONE;
}

static PyObject *call_get_status(PyObject *self, void *unused)
{
    return PyLong_FromLong(pc_call_status(((struct call_object *)self)->handle));
}

static PyObject *call_get_session(PyObject *self, void *unused)
{
    return PyLong_FromUnsignedLongLong(pc_call_session(((struct call_object *)self)->handle));
}

static PyObject *call_get_sequence(PyObject *self, void *unused)
{
    return PyLong_FromUnsignedLongLong(pc_call_sequence(((struct call_object *)self)->handle));
}

static PyObject *call_get_engine(PyObject *self, void *unused)
{
    return engine_or_none(pc_call_engine(((struct call_object *)self)->handle));
}

static PyObject *call_get_kind(PyObject *self, void *unused)
{
    return PyLong_FromLong(pc_call_kind(((struct call_object *)self)->handle));
}

static PyObject *call_get_flags(PyObject *self, void *unused)
{
    return PyLong_FromUnsignedLong(pc_call_flags(((struct call_object *)self)->handle));
}

static PyObject *call_get_label(PyObject *self, void *unused)
{
    const char *label = pc_call_label(((struct call_object *)self)->handle);
    if (!label)
        Py_RETURN_NONE;
    return PyUnicode_DecodeUTF8(label, (Py_ssize_t)strlen(label), "replace");
}

static int call_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct call_object *)self)->data);
    return 0;
}

static int call_clear(PyObject *self)
{
    Py_CLEAR(((struct call_object *)self)->data);
    return 0;
}

static void call_dealloc(PyObject *self)
{
    struct call_object *call = (struct call_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (call->weakrefs)
        PyObject_ClearWeakRefs(self);
    Py_XDECREF(call->data);
    pc_call_unref(call->handle);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef call_methods[] = {
    {"result", call_result, METH_NOARGS,
     "(status, engine id or None, submitted, started, completed, received), in microseconds."},
    {"parts", call_parts, METH_NOARGS, "The parts of the result, as writable memoryviews."},
    {"load", call_load, METH_NOARGS, "The value of a call that ended well."},
    {"output", call_output, METH_O, "Text that the call has written to a stream so far."},
    {"take_output", call_take_output, METH_O, "Like output(), and remove it."},
    {"output_since", call_output_since, METH_VARARGS,
     "output_since(stream, n): (what was written after the first n bytes, how many that makes)."},
    {"published", call_published, METH_NOARGS, "The pickle that the task has published, or None."},
    {"pin", call_pin, METH_NOARGS, "Keep the result findable although somebody looks at it."},
    {"forget", call_forget, METH_NOARGS, "Don't keep the result findable."},
    {NULL, NULL, 0, NULL},
};

static PyObject *call_get_accepted(PyObject *self, void *unused)
{
    return PyBool_FromLong(pc_call_accepted(((struct call_object *)self)->handle));
}

static PyGetSetDef call_getset[] = {
    {"status", call_get_status, NULL, "One of STATUS_*.", NULL},
    {"session", call_get_session, NULL, "Id of the client's session.", NULL},
    {"sequence", call_get_sequence, NULL, "Number of the call in its session.", NULL},
    {"engine", call_get_engine, NULL, "Id of the engine that has it, or None.", NULL},
    {"kind", call_get_kind, NULL, "One of KIND_*.", NULL},
    {"flags", call_get_flags, NULL, "RUN_* of the request.", NULL},
    {"label", call_get_label, NULL, "Label of the request, or None.", NULL},
    {"accepted", call_get_accepted, NULL, "Whether it is on disk, or has ended.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef call_members[] = {
    {"data", T_OBJECT, offsetof(struct call_object, data), 0, "Kept for the caller."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct call_object, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static char call_doc[] = "One call on one engine.";

static PyType_Slot call_slots[] = {
    {Py_tp_doc, call_doc},           {Py_tp_dealloc, call_dealloc},
    {Py_tp_traverse, call_traverse}, {Py_tp_clear, call_clear},
    {Py_tp_methods, call_methods},   {Py_tp_getset, call_getset},
    {Py_tp_members, call_members},   {0, NULL},
};

PyType_Spec call_spec = {
    .name = "pcluster._client.Call",
    .basicsize = sizeof(struct call_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = call_slots,
};
