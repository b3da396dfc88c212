/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/call.h"

#include <stdlib.h>
#include <string.h>

#include "engine/pack.h"

#define KEPT_COUNT_MAX 256
#define KEPT_BYTES_MAX ((size_t)8 << 20)
#define KEPT_ONE_MAX   ((size_t)256 << 10)

static PyObject *load_callable, *merge; /* of pcluster_load */
static PyObject *namespace;             /* of __main__ */
static PyObject *no_arguments;

/* Pickle (bytes) -> (callable, pairs of carried globals), least recently used first. */
static PyObject *kept;
static size_t kept_bytes;
/* The entry that was used last: most often the next one, too. Borrowed from `kept`. */
static PyObject *last_key, *last_entry;

void eng_call_init(void)
{
    load_callable = eng_py_ours("pcluster_load", "load_callable");
    merge = eng_py_ours("pcluster_load", "merge");
    namespace = eng_py_ours("pcluster_load", "namespace");
    no_arguments = PyTuple_New(0);
    kept = PyDict_New();
    if (!kept || !no_arguments)
        abort();
}

/* ---- callables that are kept ------------------------------------------------------------ */

void eng_call_clear(void)
{
    last_key = last_entry = NULL;
    kept_bytes = 0;
    PyDict_Clear(kept);
}

static int drop(PyObject *key)
{
    if (key == last_key)
        last_key = last_entry = NULL;
    kept_bytes -= (size_t)PyBytes_GET_SIZE(key);
    return PyDict_DelItem(kept, key);
}

static int keep(PyObject *key, PyObject *entry)
{
    size_t size = (size_t)PyBytes_GET_SIZE(key);
    if (size > KEPT_ONE_MAX)
        return 0;
    while (PyDict_GET_SIZE(kept) >= KEPT_COUNT_MAX || kept_bytes + size > KEPT_BYTES_MAX) {
        Py_ssize_t position = 0;
        PyObject *oldest, *value;
        if (!PyDict_Next(kept, &position, &oldest, &value))
            break;
        Py_INCREF(oldest);
        int failed = drop(oldest);
        Py_DECREF(oldest);
        if (failed)
            return -1;
    }
    if (PyDict_SetItem(kept, key, entry) < 0)
        return -1;
    kept_bytes += size;
    return 0;
}

/* Looks at the last one first: comparing is cheaper than hashing. Borrowed. */
static PyObject *find_kept(const struct pc_part *part, PyObject **key)
{
    if (last_key && (size_t)PyBytes_GET_SIZE(last_key) == part->size &&
        memcmp(PyBytes_AS_STRING(last_key), part->data, part->size) == 0)
        return last_entry;
    *key = PyBytes_FromStringAndSize((const char *)part->data, (Py_ssize_t)part->size);
    if (!*key)
        return NULL;
    PyObject *entry = PyDict_GetItemWithError(kept, *key);
    if (!entry)
        return NULL;
    /* To the end of the order. */
    Py_INCREF(entry);
    int failed = drop(*key) < 0 || keep(*key, entry) < 0;
    Py_DECREF(entry);
    if (failed)
        return NULL;
    last_key = *key; /* `kept` has it */
    last_entry = entry;
    return entry;
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

/* A new reference. */
static PyObject *load(PyObject *key)
{
    PyObject *loaded = PyObject_CallOneArg(load_callable, key), *entry = NULL, *callable = NULL;
    if (!loaded)
        return NULL;
    bool may_keep = PyTuple_GET_ITEM(loaded, 2) == Py_True;
    if (!may_keep || ((entry = PyTuple_GetSlice(loaded, 0, 2)) && keep(key, entry) == 0))
        callable = Py_NewRef(PyTuple_GET_ITEM(loaded, 0));
    Py_XDECREF(entry);
    Py_DECREF(loaded);
    return callable;
}

static PyObject *get_callable(const struct pc_part *part)
{
    PyObject *key = NULL, *callable = NULL;
    PyObject *entry = find_kept(part, &key);
    if (entry) {
        callable = Py_NewRef(PyTuple_GET_ITEM(entry, 0));
        if (refresh_globals(PyTuple_GET_ITEM(entry, 1)) < 0)
            Py_CLEAR(callable);
    } else if (key && !PyErr_Occurred()) {
        callable = load(key);
    }
    Py_XDECREF(key);
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

PyObject *eng_call(struct pc_msg *run)
{
    PyObject *callable = get_callable(&run->parts[0]);
    if (!callable)
        return NULL;
    PyObject *value = NULL;
    if (has_no_arguments(&run->parts[1])) {
        value = PyObject_Call(callable, no_arguments, NULL);
    } else {
        PyObject *arguments = eng_unpack(run, 1);
        if (arguments) {
            value = call_with(callable, arguments);
            Py_DECREF(arguments);
        }
    }
    Py_DECREF(callable);
    return value;
}
