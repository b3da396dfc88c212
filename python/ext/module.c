/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * module.c - the module pcluster._client: its types, its constants, and how an error of the
 * library becomes an exception.
 */
#include "ext.h"

#include <string.h>

struct module_state *ext_state(PyObject *object)
{
    return PyType_GetModuleState(Py_TYPE(object));
}

PyObject *ext_raise(struct module_state *state, const struct pc_err *err)
{
    PyObject *code = PyLong_FromLong(err->code);
    PyObject *class = code ? PyDict_GetItemWithError(state->errors, code) : NULL;
    Py_XDECREF(code);
    if (!class && PyErr_Occurred())
        return NULL;
    /* The text may quote bytes that came from outside. */
    PyObject *text = PyUnicode_DecodeUTF8(err->text, (Py_ssize_t)strlen(err->text), "replace");
    if (!text)
        return NULL;
    PyErr_SetObject(class ? class : PyExc_RuntimeError, text);
    Py_DECREF(text);
    return NULL;
}

static PyObject *set_errors(PyObject *module, PyObject *classes)
{
    struct module_state *state = PyModule_GetState(module);
    if (!PyDict_Check(classes)) {
        PyErr_SetString(PyExc_TypeError, "set_errors() takes a dict of code and class");
        return NULL;
    }
    PyObject *copy = PyDict_Copy(classes);
    if (!copy)
        return NULL;
    PyObject *old = state->errors;
    state->errors = copy;
    Py_DECREF(old);
    Py_RETURN_NONE;
}

static PyObject *set_loads(PyObject *module, PyObject *loads)
{
    struct module_state *state = PyModule_GetState(module);
    PyObject *old = state->loads;
    state->loads = Py_NewRef(loads);
    Py_DECREF(old);
    Py_RETURN_NONE;
}

static PyObject *library_version(PyObject *module, PyObject *unused)
{
    return PyUnicode_FromString(pc_version());
}

static PyMethodDef methods[] = {
    {"set_errors", set_errors, METH_O, "Set the exception class for each PC_E_* code."},
    {"set_loads", set_loads, METH_O, "Set what results are unpickled with: loads(data, buffers=)."},
    {"library_version", library_version, METH_NOARGS, "Version of libpcluster, as text."},
    {NULL, NULL, 0, NULL},
};

static const struct {
    const char *name;
    long value;
} constants[] = {
    {"KIND_APPLY", PC_KIND_APPLY},
    {"KIND_EXECUTE", PC_KIND_EXECUTE},
    {"KIND_PUSH", PC_KIND_PUSH},
    {"KIND_PULL", PC_KIND_PULL},
    {"KIND_CLEAR", PC_KIND_CLEAR},
    {"RUN_SILENT", PC_RUN_SILENT},
    {"RUN_PLAIN", PC_RUN_JSON | PC_RUN_BYTES},
    {"NEED_ALL", PC_NEED_ALL},
    {"NEED_SUCCESS", PC_NEED_SUCCESS},
    {"NEED_FAILURE", PC_NEED_FAILURE},
    {"ABORT_INTERRUPT", PC_ABORT_INTERRUPT},
    {"ABORT_KILL", PC_ABORT_KILL},
    {"FETCH_RESULT", PC_FETCH_RESULT},
    {"FETCH_REQUEST", PC_FETCH_REQUEST},
    {"FETCH_AGAIN", PC_FETCH_AGAIN},
    {"STATUS_PENDING", PC_STATUS_PENDING},
    {"STATUS_OK", PC_STATUS_OK},
    {"STATUS_ERROR", PC_STATUS_ERROR},
    {"STATUS_FAILED", PC_STATUS_FAILED},
    {"STREAM_STDOUT", PC_STREAM_STDOUT},
    {"STREAM_STDERR", PC_STREAM_STDERR},
    {"STREAM_DISPLAY", PC_STREAM_DISPLAY},
    {"TRANSPORT_ANY", PC_TRANSPORT_ANY},
    {"TRANSPORT_UNIX", PC_TRANSPORT_UNIX},
    {"TRANSPORT_TCP", PC_TRANSPORT_TCP},
    {"E_INVALID", PC_E_INVALID},
    {"E_SYSTEM", PC_E_SYSTEM},
    {"E_NO_FILE", PC_E_NO_FILE},
    {"E_BAD_FILE", PC_E_BAD_FILE},
    {"E_STALE", PC_E_STALE},
    {"E_REFUSED", PC_E_REFUSED},
    {"E_UNREACHABLE", PC_E_UNREACHABLE},
    {"E_TIMEOUT", PC_E_TIMEOUT},
    {"E_KEY", PC_E_KEY},
    {"E_ROLE", PC_E_ROLE},
    {"E_VERSION", PC_E_VERSION},
    {"E_CLUSTER", PC_E_CLUSTER},
    {"E_PROTOCOL", PC_E_PROTOCOL},
    {"E_LOST", PC_E_LOST},
    {"E_CLOSED", PC_E_CLOSED},
    {"E_FORKED", PC_E_FORKED},
    {"E_NO_ENGINE", PC_E_NO_ENGINE},
    {"E_INTERRUPTED", PC_E_INTERRUPTED},
    {"E_MEMORY", PC_E_MEMORY},
    {"E_REMOTE", PC_E_REMOTE},
    {"E_FULL", PC_E_FULL},
    {"E_START", PC_E_START},
    {"E_TASK", PC_E_TASK},
};

static PyObject *add_type(PyObject *module, PyType_Spec *spec, const char *name)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type && PyModule_AddObjectRef(module, name, type) != 0)
        Py_CLEAR(type);
    return type;
}

static int module_exec(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);
    PyObject *pickle = PyImport_ImportModule("pickle");
    if (!pickle)
        return -1;
    state->loads = PyObject_GetAttrString(pickle, "loads");
    Py_DECREF(pickle);
    state->errors = PyDict_New();
    state->empty = PyTuple_New(0);
    state->client_type = add_type(module, &client_spec, "Client");
    state->call_type = add_type(module, &call_spec, "Call");
    state->part_type = PyType_FromModuleAndSpec(module, &part_spec, NULL);
    state->function_type = add_type(module, &function_spec, "Function");
    if (!state->loads || !state->errors || !state->empty || !state->client_type ||
        !state->call_type || !state->part_type || !state->function_type)
        return -1;
    if (client_watch_forks() != 0) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) != 0)
            return -1;
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct module_state *state = PyModule_GetState(module);
    Py_VISIT(state->client_type);
    Py_VISIT(state->call_type);
    Py_VISIT(state->part_type);
    Py_VISIT(state->function_type);
    Py_VISIT(state->errors);
    Py_VISIT(state->loads);
    Py_VISIT(state->empty);
    return 0;
}

static int module_clear(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->client_type);
    Py_CLEAR(state->call_type);
    Py_CLEAR(state->part_type);
    Py_CLEAR(state->function_type);
    Py_CLEAR(state->errors);
    Py_CLEAR(state->loads);
    Py_CLEAR(state->empty);
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pcluster._client",
    .m_doc = "libpcluster for Python: connections and calls, without policy.",
    .m_size = sizeof(struct module_state),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__client(void);
PyMODINIT_FUNC PyInit__client(void)
{
    return PyModuleDef_Init(&definition);
}
