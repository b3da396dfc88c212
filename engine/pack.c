/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/pack.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"
#include "lib/proto.h"

#define BUFFER_MIN 1024   /* smaller buffers go within the pickle */
#define COPY_MAX   65536  /* larger pickles are sent from where Python has them */
#define LARGE_MIN  131072 /* bytes from this size on are buffers; memoryviews always ... */
#define DEPTH_MAX  8      /* ... looked for so deep in lists, tuples and dicts ... */
#define ITEMS_MAX  256    /* ... that have so many items together */

static PyObject *plain_loads, *plain_dumps;       /* of the module pickle */
static PyObject *our_load, *our_plain, *our_dump; /* of pcluster_load ... */
static PyObject *can_map;                         /* ... and what is to be rewritten */
static PyObject *protocol, *load_names, *dump_names;

/* ---- parts as Python buffers ------------------------------------------------------------ */

/* One part of a message as an object with a writable buffer; keeps the message. */
struct part_object {
    PyObject_HEAD struct pc_msg *msg;
    uint16_t index;
};

static int part_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    struct part_object *part = (struct part_object *)self;
    const struct pc_part *bytes = &part->msg->parts[part->index];
    return PyBuffer_FillInfo(view, self, bytes->data, (Py_ssize_t)bytes->size, 0, flags);
}

static void part_dealloc(PyObject *self)
{
    pc_msg_unref(((struct part_object *)self)->msg);
    PyObject_Free(self);
}

static PyBufferProcs part_as_buffer = {.bf_getbuffer = part_getbuffer};

static PyTypeObject part_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pcluster_engine.Part",
    .tp_basicsize = sizeof(struct part_object),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = part_dealloc,
    .tp_as_buffer = &part_as_buffer,
};

static PyObject *part_view(struct pc_msg *msg, uint16_t index)
{
    struct part_object *part = PyObject_New(struct part_object, &part_type);
    if (!part)
        return NULL;
    part->msg = pc_msg_ref(msg);
    part->index = index;
    PyObject *view = PyMemoryView_FromObject((PyObject *)part);
    Py_DECREF(part);
    return view;
}

void eng_pack_init(void)
{
    if (PyType_Ready(&part_type) < 0)
        abort();
    plain_loads = eng_py_ours("pickle", "loads");
    plain_dumps = eng_py_ours("pickle", "dumps");
    our_load = eng_py_ours("pcluster_load", "load");
    our_plain = eng_py_ours("pcluster_load", "plain");
    our_dump = eng_py_ours("pcluster_load", "dump");
    can_map = eng_py_ours("pcluster_load", "can_map");
    protocol = PyLong_FromLong(5);
    load_names = Py_BuildValue("(s)", "buffers");
    dump_names = Py_BuildValue("(s)", "buffer_callback");
    if (!protocol || !load_names || !dump_names)
        abort();
}

/* ---- unpacking -------------------------------------------------------------------------- */

PyObject *eng_list_parts(struct pc_msg *msg, uint16_t first)
{
    PyObject *list = PyList_New(msg->head.part_count - first);
    for (uint16_t i = first; list && i < msg->head.part_count; i++) {
        PyObject *view = part_view(msg, i);
        if (!view)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i - first, view);
    }
    return list;
}

static bool has_text(const struct pc_part *part, const char *text)
{
    return memmem(part->data, part->size, text, strlen(text)) != NULL;
}

/* Only functions by value need our loader, and they name the module that packed them. */
static bool is_plain(const struct pc_part *part)
{
    return !has_text(part, "cloudpickle") && !has_text(part, "dill");
}

static PyObject *unpack(const struct pc_part *part, PyObject *buffers)
{
    PyObject *data =
        PyMemoryView_FromMemory((char *)part->data, (Py_ssize_t)part->size, PyBUF_READ);
    if (!data)
        return NULL;
    PyObject *arguments[] = {data, buffers};
    PyObject *value = PyObject_Vectorcall(is_plain(part) ? plain_loads : our_load, arguments, 1,
                                          buffers ? load_names : NULL);
    Py_DECREF(data);
    return value;
}

PyObject *eng_unpack(struct pc_msg *msg, uint16_t index)
{
    if (msg->head.part_count == index + 1)
        return unpack(&msg->parts[index], NULL);
    PyObject *buffers = eng_list_parts(msg, index + 1);
    PyObject *value = buffers ? unpack(&msg->parts[index], buffers) : NULL;
    Py_XDECREF(buffers);
    return value;
}

PyObject *eng_unpack_alone(const struct pc_part *part)
{
    return unpack(part, NULL);
}

/* ---- packing ---------------------------------------------------------------------------- */

/* buffer_callback: `list` is where large buffers go. True: goes within the pickle. */
static PyObject *on_buffer(PyObject *list, PyObject *object)
{
    const Py_buffer *view = PyPickleBuffer_GetBuffer(object);
    if (!view)
        return NULL;
    if (view->len < BUFFER_MIN || !PyBuffer_IsContiguous(view, 'A') ||
        PyList_GET_SIZE(list) >= PC_PARTS_MAX - 1)
        Py_RETURN_TRUE;
    if (PyList_Append(list, object) < 0)
        return NULL;
    Py_RETURN_FALSE;
}

static PyMethodDef on_buffer_def = {"buffer_callback", on_buffer, METH_O, NULL};

static bool has_no_buffers(PyObject *value)
{
    return value == Py_None || PyBool_Check(value) || PyLong_CheckExact(value) ||
           PyFloat_CheckExact(value) || PyUnicode_CheckExact(value) ||
           (PyBytes_CheckExact(value) && PyBytes_GET_SIZE(value) < LARGE_MIN);
}

static bool is_large(PyObject *value)
{
    return (PyBytes_CheckExact(value) && PyBytes_GET_SIZE(value) >= LARGE_MIN) ||
           (PyByteArray_CheckExact(value) && PyByteArray_GET_SIZE(value) >= LARGE_MIN) ||
           PyMemoryView_Check(value);
}

/* Appends to `found` what pickle would copy, or can't do, although it could be sent as it is: the
 * same thing perhaps twice. Looks at no more than *left items. */
static int find_large(PyObject *value, int depth, Py_ssize_t *left, PyObject *found)
{
    bool is_dict = PyDict_CheckExact(value);
    if (is_large(value))
        return PyList_Append(found, value);
    if (depth == 0 || !(is_dict || PyList_CheckExact(value) || PyTuple_CheckExact(value)))
        return 0;
    Py_ssize_t count = is_dict ? PyDict_GET_SIZE(value) : PySequence_Fast_GET_SIZE(value);
    if (count > *left)
        return 0;
    *left -= count;
    PyObject *item;
    for (Py_ssize_t i = 0; is_dict && PyDict_Next(value, &i, NULL, &item);)
        if (find_large(item, depth - 1, left, found) < 0)
            return -1;
    for (Py_ssize_t i = 0; !is_dict && i < count; i++)
        if (find_large(PySequence_Fast_GET_ITEM(value, i), depth - 1, left, found) < 0)
            return -1;
    return 0;
}

/* What refers to `__main__` means ours, and the client has another. */
static bool names_our_main(PyObject *pickle)
{
    static const char name[] = "__main__";
    return memmem(PyBytes_AS_STRING(pickle), (size_t)PyBytes_GET_SIZE(pickle), name,
                  sizeof(name) - 1) != NULL;
}

/* With plain pickle. */
static PyObject *pack_plain(PyObject *value, PyObject *large, PyObject *callback)
{
    if (PyList_GET_SIZE(large) || PyDict_GET_SIZE(can_map))
        return PyObject_CallFunctionObjArgs(our_plain, value, large, callback, NULL);
    PyObject *arguments[] = {value, protocol, callback};
    return PyObject_Vectorcall(plain_dumps, arguments, 2, dump_names);
}

/* When plain pickle did not do: with cloudpickle, which raises what the user gets to see. */
static int pack_by_value(PyObject *value, PyObject *large, PyObject *callback,
                         struct eng_packed *packed)
{
    PyObject *error = packed->pickle ? NULL : eng_py_take_exception();
    if (!packed->pickle && !PyErr_GivenExceptionMatches(error, PyExc_Exception)) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error); /* KeyboardInterrupt and the like */
        Py_DECREF(error);
        return -1;
    }
    PyObject *plain_buffers = PyList_GetSlice(packed->buffers, 0, PY_SSIZE_T_MAX);
    PyList_SetSlice(packed->buffers, 0, PY_SSIZE_T_MAX, NULL);
    PyObject *pickle = PyObject_CallFunctionObjArgs(our_dump, value, large, callback,
                                                    error ? error : Py_None, NULL);
    Py_XDECREF(error);
    if (pickle == Py_None) { /* no cloudpickle, but the first attempt has worked */
        Py_DECREF(pickle);
        Py_SETREF(packed->buffers, plain_buffers);
        return 0;
    }
    Py_XDECREF(plain_buffers);
    Py_XSETREF(packed->pickle, pickle);
    return pickle ? 0 : -1;
}

int eng_pack(PyObject *value, struct eng_packed *packed)
{
    *packed = (struct eng_packed){0};
    if (has_no_buffers(value)) {
        PyObject *arguments[] = {value, protocol};
        packed->pickle = PyObject_Vectorcall(plain_dumps, arguments, 2, NULL);
        return packed->pickle ? 0 : -1;
    }
    packed->buffers = PyList_New(0);
    PyObject *callback = packed->buffers ? PyCFunction_New(&on_buffer_def, packed->buffers) : NULL;
    PyObject *large = PyList_New(0);
    Py_ssize_t left = ITEMS_MAX;
    int failed = -1;
    if (callback && large && find_large(value, DEPTH_MAX, &left, large) == 0) {
        packed->pickle = pack_plain(value, large, callback);
        failed = packed->pickle && !names_our_main(packed->pickle)
                     ? 0
                     : pack_by_value(value, large, callback, packed);
    }
    Py_XDECREF(large);
    Py_XDECREF(callback);
    if (failed)
        eng_packed_clear(packed);
    return failed;
}

void eng_packed_clear(struct eng_packed *packed)
{
    Py_CLEAR(packed->pickle);
    Py_CLEAR(packed->buffers);
}

struct pc_msg *eng_packed_msg(uint8_t type, const void *body, size_t body_size,
                              struct eng_packed *packed, PyObject **owner)
{
    Py_ssize_t buffer_count = packed->buffers ? PyList_GET_SIZE(packed->buffers) : 0;
    uint64_t sum = (uint64_t)PyBytes_GET_SIZE(packed->pickle);
    struct pc_bytes first = {PyBytes_AS_STRING(packed->pickle), sum};
    struct pc_msg *msg = NULL;
    *owner = NULL;
    if (buffer_count == 0 && sum <= COPY_MAX) {
        msg = pc_msg_new(type, body_size, &sum, 1);
        if (msg) {
            memcpy(msg->body, body, body_size);
            memcpy(msg->parts[0].data, first.data, first.size);
        }
        eng_packed_clear(packed);
        return msg ? msg : (struct pc_msg *)PyErr_NoMemory();
    }
    struct pc_bytes *parts = pc_xcalloc((size_t)buffer_count + 1, sizeof(*parts));
    parts[0] = first;
    for (Py_ssize_t i = 0; i < buffer_count; i++) {
        const Py_buffer *view = PyPickleBuffer_GetBuffer(PyList_GET_ITEM(packed->buffers, i));
        parts[i + 1] = (struct pc_bytes){view->buf, (size_t)view->len};
        sum += (uint64_t)view->len;
    }
    if (sum > PC_PARTS_BYTES_MAX)
        PyErr_Format(PyExc_OverflowError, "a result of %llu bytes is too large: at most %llu",
                     (unsigned long long)sum, (unsigned long long)PC_PARTS_BYTES_MAX);
    else if (!(msg = pc_msg_borrowing(type, body, body_size, parts, (uint16_t)(buffer_count + 1))))
        PyErr_NoMemory();
    free(parts);
    if (msg)
        *owner = PyTuple_Pack(2, packed->pickle, packed->buffers ? packed->buffers : Py_None);
    if (msg && !*owner) {
        pc_msg_unref(msg);
        msg = NULL;
    }
    eng_packed_clear(packed);
    return msg;
}
