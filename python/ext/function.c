/* SPDX-License-Identifier: BSD-3-Clause */
/* function.c - the type Function: a pickled function that travels once per connection. */
#include "ext.h"

static PyObject *function_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    const char *pickle;
    Py_ssize_t size;
    struct pc_err err = {.code = PC_OK};
    if (!PyArg_ParseTuple(args, "y#", &pickle, &size))
        return NULL;
    struct pc_function *handle = pc_function_new(pickle, (size_t)size, &err);
    if (!handle)
        return ext_raise(PyType_GetModuleState(type), &err);
    struct function_object *function = PyObject_New(struct function_object, type);
    if (!function) {
        pc_function_unref(handle);
        return NULL;
    }
    function->handle = handle;
    return (PyObject *)function;
}

static void function_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    pc_function_unref(((struct function_object *)self)->handle);
    PyObject_Free(self);
    Py_DECREF(type);
}

static Py_ssize_t function_length(PyObject *self)
{
    return (Py_ssize_t)pc_function_bytes(((struct function_object *)self)->handle).size;
}

/* The pickle. */
static int function_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    struct pc_bytes bytes = pc_function_bytes(((struct function_object *)self)->handle);
    return PyBuffer_FillInfo(view, self, (void *)(uintptr_t)bytes.data, (Py_ssize_t)bytes.size, 1,
                             flags);
}

static char function_doc[] = "Function(pickle): a pickled function, in the place of part 0. A "
                             "connection carries its bytes once, whatever is done with it.";

static PyType_Slot function_slots[] = {
    {Py_tp_doc, function_doc},
    {Py_tp_new, function_new},
    {Py_tp_dealloc, function_dealloc},
    {Py_sq_length, function_length},
    {Py_bf_getbuffer, function_getbuffer},
    {0, NULL},
};

PyType_Spec function_spec = {
    .name = "pcluster._client.Function",
    .basicsize = sizeof(struct function_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = function_slots,
};
