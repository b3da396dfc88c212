/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/call.h"

#include <stdlib.h>
#include <string.h>

#include "engine/pack.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proto_task.h"

/* What the engine keeps with a function that it knows by name. */
struct held {
    struct pc_msg *msg; /* FUNCTION */
    PyObject *loaded;   /* (callable, pairs of carried globals), when one serves several calls */
};

static PyObject *load_callable, *merge; /* of pcluster_load */
static PyObject *namespace;             /* of __main__ */
static PyObject *frameless;             /* what stands for some builtins, see pcluster_load */
static PyObject *no_arguments;
static struct pc_known known;

static void drop_held(void *data)
{
    struct held *held = data;
    Py_XDECREF(held->loaded);
    pc_msg_unref(held->msg);
    free(held);
}

void eng_call_init(void)
{
    load_callable = eng_py_ours("pcluster_load", "load_callable");
    merge = eng_py_ours("pcluster_load", "merge");
    namespace = eng_py_ours("pcluster_load", "namespace");
    frameless = eng_py_ours("pcluster_load", "frameless");
    no_arguments = PyTuple_New(0);
    known.drop = drop_held;
    if (!no_arguments)
        abort();
}

/* ---- functions that are known by name ---------------------------------------------------- */

int eng_call_learn(struct pc_msg *msg, struct pc_err *err)
{
    if (pc_function_decode(msg, &known, err))
        return -1;
    struct held *held = pc_xcalloc(1, sizeof(*held));
    held->msg = pc_msg_ref(msg);
    if (!pc_known_add(&known, msg->body, msg->parts_bytes, held))
        pc_fatal(1, "out of memory");
    return 0;
}

int eng_call_use(const uint8_t *name, struct pc_err *err)
{
    if (pc_known_use(&known, name))
        return 0;
    return pc_err_set(err, PC_E_PROTOCOL, "RUN names a function that was not sent");
}

void eng_call_forget(void)
{
    pc_known_fini(&known);
    known.drop = drop_held;
}

void eng_call_clear(void)
{
    for (size_t i = 0; i < known.count; i++)
        Py_CLEAR(((struct held *)known.functions[i].data)->loaded);
}

/* A function that was called in between may have carried the same names with other values. */
static int refresh_globals(PyObject *pairs)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(pairs); i++) {
        PyObject *pair = PyTuple_GET_ITEM(pairs, i);
        if (PyDict_GetItem(namespace, PyTuple_GET_ITEM(pair, 0)) == PyTuple_GET_ITEM(pair, 1))
            continue;
        PyObject *done = PyObject_CallOneArg(merge, pairs);
        Py_XDECREF(done);
        return done ? 0 : -1;
    }
    return 0;
}

/* A new reference to what load_callable() says. */
static PyObject *load(const struct pc_part *part)
{
    PyObject *data =
        PyMemoryView_FromMemory((char *)part->data, (Py_ssize_t)part->size, PyBUF_READ);
    PyObject *loaded = data ? PyObject_CallOneArg(load_callable, data) : NULL;
    Py_XDECREF(data);
    return loaded;
}

/* Of a function that is known by name. */
static PyObject *get_known(const uint8_t *name)
{
    struct held *held = pc_known_find(&known, name)->data;
    PyObject *callable = NULL;
    if (held->loaded) {
        callable = Py_NewRef(PyTuple_GET_ITEM(held->loaded, 0));
        if (refresh_globals(PyTuple_GET_ITEM(held->loaded, 1)) < 0)
            Py_CLEAR(callable);
        return callable;
    }
    PyObject *loaded = load(&held->msg->parts[0]);
    if (!loaded)
        return NULL;
    callable = Py_NewRef(PyTuple_GET_ITEM(loaded, 0));
    if (PyTuple_GET_ITEM(loaded, 2) == Py_True)
        held->loaded = Py_NewRef(loaded);
    Py_DECREF(loaded);
    return callable;
}

/* ---- calling ---------------------------------------------------------------------------- */

/* pickle.dumps(((), {}), 5), as every Python since 3.8 writes it. */
static bool has_no_arguments(const struct pc_part *part)
{
    static const uint8_t empty[] = {0x80, 5, ')', '}', 0x94, 0x86, 0x94, '.'};
    return part->size == sizeof(empty) && memcmp(part->data, empty, sizeof(empty)) == 0;
}

static PyObject *call_with(PyObject *callable, PyObject *arguments)
{
    if (!PyTuple_Check(arguments) || PyTuple_GET_SIZE(arguments) != 2 ||
        !PyTuple_Check(PyTuple_GET_ITEM(arguments, 0)) ||
        !PyDict_Check(PyTuple_GET_ITEM(arguments, 1))) {
        PyErr_SetString(PyExc_TypeError, "the arguments of an apply are no (args, kwargs)");
        return NULL;
    }
    return PyObject_Call(callable, PyTuple_GET_ITEM(arguments, 0), PyTuple_GET_ITEM(arguments, 1));
}

PyObject *eng_call(struct pc_msg *run, const uint8_t *name)
{
    PyObject *callable = name ? get_known(name) : eng_unpack_alone(&run->parts[0]);
    uint16_t rest = name ? 0 : 1;
    if (!callable)
        return NULL;
    PyObject *stand_in =
        PyCFunction_CheckExact(callable) ? PyDict_GetItem(frameless, callable) : NULL;
    if (stand_in)
        Py_SETREF(callable, Py_NewRef(stand_in));
    PyObject *value = NULL;
    if (has_no_arguments(&run->parts[rest])) {
        value = PyObject_Call(callable, no_arguments, NULL);
    } else {
        PyObject *arguments = eng_unpack(run, rest);
        if (arguments) {
            value = call_with(callable, arguments);
            Py_DECREF(arguments);
        }
    }
    Py_DECREF(callable);
    return value;
}
