/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * request.c - a pc_request from Python objects. Nothing is copied: the parts are the caller's
 * buffers, held by Py_buffer views until the library has sent them.
 */
#include "ext.h"

static int take_targets(struct ext_request *request, PyObject *targets)
{
    request->targets = request->few_targets;
    if (targets == Py_None)
        return 0;
    if (PyLong_Check(targets)) {
        unsigned long id = PyLong_AsUnsignedLong(targets);
        if (id >= UINT32_MAX) {
            PyErr_Format(PyExc_ValueError, "%R is no engine id", targets);
            return -1;
        }
        request->is_single = true;
        request->targets[0] = (uint32_t)id;
        request->request.target_count = 1;
        return 0;
    }
    if (!PyTuple_Check(targets)) {
        PyErr_SetString(PyExc_TypeError, "targets must be None, an id, or a tuple of ids");
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(targets);
    if ((size_t)count > sizeof(request->few_targets) / sizeof(request->few_targets[0])) {
        request->targets = PyMem_Malloc((size_t)count * sizeof(*request->targets));
        if (!request->targets) {
            PyErr_NoMemory();
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyTuple_GetItem(targets, i);
        unsigned long id = PyLong_AsUnsignedLong(item);
        if (id == (unsigned long)-1 && PyErr_Occurred())
            return -1;
        if (id >= UINT32_MAX) {
            PyErr_Format(PyExc_ValueError, "%R is no engine id", item);
            return -1;
        }
        request->targets[i] = (uint32_t)id;
    }
    request->request.target_count = (size_t)count;
    return 0;
}

static int take_parts(struct module_state *state, struct ext_request *request, PyObject *parts)
{
    Py_ssize_t first = 0;
    if (!PyTuple_Check(parts)) {
        PyErr_SetString(PyExc_TypeError, "parts must be a tuple of buffers");
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(parts);
    PyObject *function = count ? PyTuple_GetItem(parts, 0) : NULL;
    if (function && (PyObject *)Py_TYPE(function) == state->function_type) {
        request->request.function = ((struct function_object *)function)->handle;
        first = 1;
        count--;
    }
    if ((size_t)count > sizeof(request->few_views) / sizeof(request->few_views[0])) {
        request->views = PyMem_Calloc((size_t)count, sizeof(*request->views));
        request->parts = PyMem_Calloc((size_t)count, sizeof(*request->parts));
        if (!request->views || !request->parts) {
            PyErr_NoMemory();
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_buffer *view = &request->views[i];
        if (PyObject_GetBuffer(PyTuple_GetItem(parts, first + i), view, PyBUF_SIMPLE) != 0)
            return -1;
        request->request.part_count++;
        request->parts[i] = (struct pc_bytes){.data = view->buf, .size = (size_t)view->len};
    }
    return 0;
}

static Py_ssize_t count_needs(PyObject *needs)
{
    return needs == Py_None ? 0 : PyTuple_Size(PyTuple_GetItem(needs, 1));
}

/* (rule, ((session, number), ...)), or None. */
static int take_needs(struct pc_needs *needs, PyObject *given, struct pc_task_id *ids)
{
    if (given == Py_None)
        return 0;
    PyObject *tasks = PyTuple_GetItem(given, 1);
    needs->rule = (unsigned)PyLong_AsUnsignedLong(PyTuple_GetItem(given, 0));
    needs->count = (size_t)PyTuple_Size(tasks);
    needs->tasks = ids;
    for (size_t i = 0; i < needs->count; i++) {
        unsigned long long session, sequence;
        if (!PyArg_ParseTuple(PyTuple_GetItem(tasks, (Py_ssize_t)i), "KK", &session, &sequence))
            return -1;
        ids[i] = (struct pc_task_id){.session = session, .sequence = sequence};
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int take_options(struct ext_request *request, PyObject *given)
{
    struct pc_task_options *options = &request->options;
    PyObject *after, *follow;
    int may_repeat, is_durable;
    if (given == Py_None)
        return 0;
    if (!PyArg_ParseTuple(given, "iIpIIsOOp", &options->priority, &options->retries, &may_repeat,
                          &options->timeout_ms, &options->run_timeout_ms, &options->tags, &after,
                          &follow, &is_durable))
        return -1;
    options->retry_same = may_repeat;
    options->durable = is_durable;
    Py_ssize_t first = count_needs(after), count = first + count_needs(follow);
    if (PyErr_Occurred())
        return -1;
    if (count && !(request->needs = PyMem_Calloc((size_t)count, sizeof(*request->needs)))) {
        PyErr_NoMemory();
        return -1;
    }
    if (take_needs(&options->after, after, request->needs) != 0 ||
        take_needs(&options->follow, follow, request->needs + first) != 0)
        return -1;
    request->request.options = options;
    return 0;
}

int request_init(struct module_state *state, struct ext_request *request, PyObject *const *args,
                 Py_ssize_t count)
{
    request->request = (struct pc_request){0};
    request->is_single = false;
    request->views = request->few_views;
    request->parts = request->few_parts;
    request->targets = request->few_targets;
    request->label = NULL;
    request->needs = NULL;
    if (count != 9) {
        PyErr_SetString(PyExc_TypeError,
                        "submit() takes kind, targets, balanced, run_flags, label, parts, "
                        "will_wait, options, never_waits");
        return -1;
    }
    long kind = PyLong_AsLong(args[0]);
    int is_balanced = PyObject_IsTrue(args[2]);
    long flags = PyLong_AsLong(args[3]);
    int will_wait = PyObject_IsTrue(args[6]), never_waits = PyObject_IsTrue(args[8]);
    if (PyErr_Occurred() || take_targets(request, args[1]) != 0)
        goto fail;
    request->request.kind = (enum pc_kind)kind;
    request->request.is_balanced = is_balanced;
    request->request.flags = (uint8_t)flags;
    request->request.will_wait = will_wait;
    request->request.never_waits = never_waits;
    request->request.may_linger = true;
    request->is_single |= is_balanced;
    if (args[4] != Py_None) {
        if (!PyUnicode_Check(args[4])) {
            PyErr_Format(PyExc_TypeError, "a label is a str, not %R", args[4]);
            goto fail;
        }
        request->label = PyUnicode_AsUTF8String(args[4]);
        request->request.label = request->label ? PyBytes_AsString(request->label) : NULL;
        if (!request->request.label)
            goto fail;
    }
    if (args[7] != Py_None) {
        request->options = (struct pc_task_options){0};
        if (take_options(request, args[7]) != 0)
            goto fail;
    }
    if (take_parts(state, request, args[5]) != 0)
        goto fail;
    request->request.targets = request->targets;
    request->request.parts = request->parts;
    return 0;
fail:
    request_fini(request);
    return -1;
}

void request_fini(struct ext_request *request)
{
    for (size_t i = 0; i < request->request.part_count; i++)
        PyBuffer_Release(&request->views[i]);
    if (request->views != request->few_views)
        PyMem_Free(request->views);
    if (request->parts != request->few_parts)
        PyMem_Free(request->parts);
    if (request->targets != request->few_targets)
        PyMem_Free(request->targets);
    PyMem_Free(request->needs);
    Py_XDECREF(request->label);
}
