/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/pymod.h"

#include "engine/py.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "engine/forkfix.h"
#include "engine/outio.h"
#include "lib/log.h"
#include "lib/pcluster.h"
#include "lib/proto_task.h"

/* ---- writing ---------------------------------------------------------------------------- */

static int write_plain(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n;
        Py_BEGIN_ALLOW_THREADS n = write(fd, data, size);
        Py_END_ALLOW_THREADS if (n >= 0)
        {
            data += n;
            size -= (size_t)n;
        }
        else if (errno != EINTR)
        {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        else if (PyErr_CheckSignals() < 0)
        {
            return -1;
        }
    }
    return 0;
}

/* -1: an exception is set, for one by a signal handler. */
static int put_on(int stream, const char *data, size_t size)
{
    for (;;) {
        bool is_done;
        size_t n;
        Py_BEGIN_ALLOW_THREADS is_done = eng_out_write(stream, data, size, &n);
        Py_END_ALLOW_THREADS if (is_done) return 0;
        if (PyErr_CheckSignals() < 0)
            return -1;
        data += n;
        size -= n;
    }
}

/* What a print() ends in. */
static int put(int fd, const char *data, size_t size)
{
    int stream = fd == STDERR_FILENO ? PC_STREAM_STDERR : PC_STREAM_STDOUT;
    if (eng_forkfix_is_child())
        return write_plain(fd, data, size);
    return eng_out_try_write(stream, data, size) ? 0 : put_on(stream, data, size);
}

/* Stream.write: `self` is the descriptor. */
static PyObject *write_text(PyObject *self, PyObject *text)
{
    if (!PyUnicode_Check(text))
        return PyErr_Format(PyExc_TypeError, "write() argument must be str, not %.100s",
                            Py_TYPE(text)->tp_name);
    Py_ssize_t size;
    PyObject *escaped = NULL;
    const char *data = PyUnicode_AsUTF8AndSize(text, &size);
    if (!data) {
        PyErr_Clear();
        escaped = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
        if (!escaped)
            return NULL;
        data = PyBytes_AS_STRING(escaped);
        size = PyBytes_GET_SIZE(escaped);
    }
    int failed = put((int)PyLong_AsLong(self), data, (size_t)size);
    Py_XDECREF(escaped);
    return failed ? NULL : PyLong_FromSsize_t(PyUnicode_GET_LENGTH(text));
}

static PyMethodDef write_text_def = {"write", write_text, METH_O,
                                     "write(text)\n--\n\nPuts text out."};

static PyObject *writer(PyObject *module, PyObject *descriptor)
{
    if (!PyLong_Check(descriptor))
        return PyErr_Format(PyExc_TypeError, "a descriptor is an int");
    return PyCFunction_New(&write_text_def, descriptor);
}

static PyObject *write_bytes(PyObject *module, PyObject *args)
{
    int fd;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "iy*:write_bytes", &fd, &view))
        return NULL;
    int failed = put(fd, view.buf, (size_t)view.len);
    Py_ssize_t size = view.len;
    PyBuffer_Release(&view);
    return failed ? NULL : PyLong_FromSsize_t(size);
}

static PyObject *flush(PyObject *module, PyObject *descriptor)
{
    int stream = PyLong_AsLong(descriptor) == STDERR_FILENO ? PC_STREAM_STDERR : PC_STREAM_STDOUT;
    bool is_done = eng_forkfix_is_child();
    while (!is_done) {
        Py_BEGIN_ALLOW_THREADS is_done = eng_out_flush(stream);
        Py_END_ALLOW_THREADS if (!is_done && PyErr_CheckSignals() < 0) return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *publish(PyObject *module, PyObject *args)
{
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "y*:publish", &view))
        return NULL;
    bool is_done = eng_forkfix_is_child(), is_large = view.len > PC_DATA_MAX;
    while (!is_done && !is_large) {
        Py_BEGIN_ALLOW_THREADS is_done = eng_out_publish(view.buf, (size_t)view.len);
        Py_END_ALLOW_THREADS if (!is_done && PyErr_CheckSignals() < 0) break;
    }
    if (is_large)
        PyErr_Format(PyExc_ValueError,
                     "what this task has published makes %zd bytes, and at most %d are possible; "
                     "assign large values to a global name and pull() it",
                     view.len, PC_DATA_MAX);
    PyBuffer_Release(&view);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *display(PyObject *module, PyObject *args)
{
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "y*:display", &view))
        return NULL;
    int failed = !eng_forkfix_is_child() && put_on(PC_STREAM_DISPLAY, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *task_number(PyObject *module, PyObject *unused)
{
    return PyLong_FromUnsignedLongLong(eng_out_task_number());
}

/* ---- the module ------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"writer", writer, METH_O, "writer(descriptor)\n--\n\nA function that puts text out there."},
    {"write_bytes", write_bytes, METH_VARARGS,
     "write_bytes(descriptor, data)\n--\n\nPuts bytes out there."},
    {"flush", flush, METH_O, "flush(descriptor)\n--\n\nSends what was put out there."},
    {"publish", publish, METH_VARARGS,
     "publish(pickle)\n--\n\nReplaces what the task has published. See pcluster.datapub."},
    {"display", display, METH_VARARGS,
     "display(line)\n--\n\nSends a line of JSON that stands for what the task displays."},
    {"task_number", task_number, METH_NOARGS, "task_number()\n--\n\nGrows with every task."},
    {0},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pcluster_engine",
    .m_doc = "The engine that runs this code: engine_id, engine_uuid.",
    .m_size = -1,
    .m_methods = methods,
};

static PyObject *the_module; /* lives as long as the interpreter */

int eng_pymod_register(void)
{
    the_module = PyModule_Create(&definition);
    if (!the_module)
        return -1;
    return PyDict_SetItemString(PyImport_GetModuleDict(), "pcluster_engine", the_module);
}

void eng_pymod_start(uint32_t engine_id, const char *uuid)
{
    PyObject *install = eng_py_ours("pcluster_stream", "install");
    PyObject *show = eng_py_ours("pcluster_display", "install");
    PyObject *note_start = eng_py_ours("pcluster_run", "start");
    PyObject *a = NULL, *b = NULL, *c = NULL;
    if (PyModule_AddIntConstant(the_module, "engine_id", engine_id) < 0 ||
        PyModule_AddStringConstant(the_module, "engine_uuid", uuid) < 0 ||
        !(a = PyObject_CallNoArgs(install)) || !(b = PyObject_CallNoArgs(show)) ||
        !(c = PyObject_CallNoArgs(note_start))) {
        char text[300];
        eng_py_take_error(text, sizeof(text));
        pc_fatal(1, "can't set up Python for the engine: %s", text);
    }
    Py_DECREF(install);
    Py_DECREF(show);
    Py_DECREF(note_start);
    Py_DECREF(a);
    Py_DECREF(b);
    Py_DECREF(c);
}
