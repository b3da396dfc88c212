/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/py.h"

#include <dirent.h>
#include <marshal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine/forkfix.h"
#include "engine/modules.h"
#include "engine/pymod.h"
#include "lib/log.h"
#include "lib/mem.h"

/* ---- starting --------------------------------------------------------------------------- */

/* One engine per core is the rule: libraries that bring threads of their own would multiply. */
static void limit_library_threads(void)
{
    static const char *const names[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                                        "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        setenv(names[i], "1", 0);
}

static int check_status(PyStatus status, struct pc_err *err)
{
    if (!PyStatus_Exception(status))
        return 0;
    return pc_err_set(err, PC_E_SYSTEM, "can't start Python: %s%s%s",
                      status.err_msg ? status.err_msg : "it wants to exit",
                      status.func ? " in " : "", status.func ? status.func : "");
}

/* `python` NULL: that of the build. Another one may have a standard library that does not fit the
 * linked libpython, so that part stays ours; see pcluster_site.py. */
static int init_interpreter(const char *python, struct pc_err *err)
{
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    config.install_signal_handlers = 1;
    config.configure_c_stdio = 0;
    config.faulthandler = 1;
    /* What a virtual environment and sys.executable follow from. */
    int failed = check_status(
        PyConfig_SetBytesString(&config, &config.program_name, python ? python : ENG_PYTHON), err);
    if (!failed && python)
        failed = check_status(PyConfig_SetBytesString(&config, &config.home, ENG_PYTHON_HOME), err);
    if (!failed)
        failed = check_status(Py_InitializeFromConfig(&config), err);
    PyConfig_Clear(&config);
    return failed;
}

/* As in an interactive session: modules beside us are importable. */
static int add_current_folder(void)
{
    PyObject *flags = PySys_GetObject("flags"), *path = PySys_GetObject("path");
    PyObject *safe = flags ? PyObject_GetAttrString(flags, "safe_path") : NULL;
    int is_safe = safe ? PyObject_IsTrue(safe) : 0;
    Py_XDECREF(safe);
    PyErr_Clear();
    if (is_safe || !path)
        return 0;
    PyObject *empty = PyUnicode_FromString("");
    int failed = !empty || PyList_Insert(path, 0, empty) < 0;
    Py_XDECREF(empty);
    return failed ? -1 : 0;
}

static int load_modules(struct pc_err *err)
{
    if (PyImport_GetMagicNumber() != eng_modules_magic)
        return pc_err_set(err, PC_E_SYSTEM,
                          "this pcluster was built for another Python than the libpython it finds "
                          "(%s); build it again",
                          Py_GetVersion());
    if (eng_pymod_register() < 0)
        goto fail;
    for (const struct eng_module *module = eng_modules; module->name; module++) {
        PyObject *code =
            PyMarshal_ReadObjectFromString((const char *)module->code, (Py_ssize_t)module->size);
        PyObject *loaded = code ? PyImport_ExecCodeModule(module->name, code) : NULL;
        Py_XDECREF(code);
        Py_XDECREF(loaded);
        if (!loaded)
            goto fail;
    }
    return 0;
fail:;
    char text[300];
    eng_py_take_error(text, sizeof(text));
    return pc_err_set(err, PC_E_SYSTEM, "can't load the engine's Python modules: %s", text);
}

/* What is importable shall be what `python` can import. */
static int adopt_packages(const char *python, struct pc_err *err)
{
    char text[300];
    PyObject *adopt = eng_py_ours("pcluster_site", "adopt");
    PyObject *path = PyUnicode_DecodeFSDefault(python);
    PyObject *done = path ? PyObject_CallFunction(adopt, "Os", path, ENG_PYTHON) : NULL;
    Py_DECREF(adopt);
    Py_XDECREF(path);
    Py_XDECREF(done);
    if (done)
        return 0;
    eng_py_take_error(text, sizeof(text));
    return pc_err_set(err, PC_E_INVALID, "can't find the packages of '%s': %s", python, text);
}

int eng_py_init(const char *python, struct pc_err *err)
{
    if (python && !*python)
        python = NULL;
    limit_library_threads();
    if (init_interpreter(python, err))
        return -1;
    if (add_current_folder() < 0)
        PyErr_Clear();
    if (load_modules(err))
        return -1;
    return python ? adopt_packages(python, err) : 0;
}

int eng_py_import(const char *name, struct pc_err *err)
{
    char text[300];
    PyObject *module = PyImport_ImportModule(name);
    Py_XDECREF(module);
    if (module)
        return 0;
    eng_py_take_error(text, sizeof(text));
    return pc_err_set(err, PC_E_INVALID, "can't preload '%s': %s", name, text);
}

void eng_py_import_cloudpickle(void)
{
    struct pc_err err;
    if (eng_py_import("cloudpickle", &err) < 0)
        pc_warn("functions can't be sent to these engines by value: %s", err.text);
}

int eng_py_thread_count(void)
{
    DIR *folder = opendir("/proc/self/task");
    int count = 0;
    struct dirent *entry;
    if (!folder)
        return 1;
    while ((entry = readdir(folder)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

/* ---- forking ---------------------------------------------------------------------------- */

/* Calls module.name() and forgets what comes of it. */
static void call_quietly(const char *module, const char *name)
{
    PyObject *where = PyImport_ImportModule(module);
    PyObject *result = where ? PyObject_CallMethod(where, name, NULL) : NULL;
    Py_XDECREF(where);
    Py_XDECREF(result);
    PyErr_Clear();
}

void eng_py_freeze(void)
{
    call_quietly("gc", "collect");
    /* What the collector never looks at, it never writes to: the pages stay shared. */
    call_quietly("gc", "freeze");
}

static void flush_stream(const char *name)
{
    PyObject *stream = PySys_GetObject(name);
    PyObject *result =
        stream && stream != Py_None ? PyObject_CallMethod(stream, "flush", NULL) : NULL;
    Py_XDECREF(result);
    PyErr_Clear();
}

pid_t eng_py_fork(void)
{
    flush_stream("stdout");
    flush_stream("stderr");
    fflush(NULL);
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0)
        PyOS_AfterFork_Child();
    else
        PyOS_AfterFork_Parent();
    return pid;
}

void eng_py_reseed(void)
{
    /* The module random does this itself after a fork. */
    PyObject *modules = PyImport_GetModuleDict();
    if (PyDict_GetItemString(modules, "numpy.random"))
        call_quietly("numpy.random", "seed");
}

const char *engine_python_version(void)
{
    static char version[32]; /* what Py_GetVersion says goes on with the compiler */
    snprintf(version, sizeof(version), "%.*s", (int)strcspn(Py_GetVersion(), " "), Py_GetVersion());
    return version;
}

/* ---- conversions ------------------------------------------------------------------------ */

PyObject *eng_py_ours(const char *module, const char *name)
{
    PyObject *where = PyImport_ImportModule(module);
    PyObject *found = where ? PyObject_GetAttrString(where, name) : NULL;
    Py_XDECREF(where);
    if (!found)
        pc_fatal(1, "the engine's own module %s lacks %s", module, name);
    return found;
}

PyObject *eng_py_take_exception(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!type)
        return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
}

void eng_py_take_error(char *text, size_t size)
{
    PyObject *error = eng_py_take_exception();
    PyObject *str = error ? PyObject_Str(error) : NULL;
    PyErr_Clear();
    char *what = str ? eng_py_text(str) : pc_xstrdup("no text");
    snprintf(text, size, "%s: %s", error ? Py_TYPE(error)->tp_name : "no exception", what);
    for (char *p = text; *p; p++)
        if (*p == '\n')
            *p = ' ';
    free(what);
    Py_XDECREF(str);
    Py_XDECREF(error);
}

void eng_py_run_signals(void)
{
    while (PyErr_CheckSignals() < 0) {
        if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
            PyErr_Clear(); /* nothing runs that it could interrupt */
        else
            PyErr_WriteUnraisable(NULL);
    }
    eng_forkfix_leave(); /* a handler's child has nothing to go back to */
}

char *eng_py_text(PyObject *str)
{
    PyObject *bytes = PyUnicode_AsEncodedString(str, "utf-8", "backslashreplace");
    if (!bytes) {
        PyErr_Clear();
        return pc_xstrdup("");
    }
    const char *from = PyBytes_AS_STRING(bytes);
    size_t size = (size_t)PyBytes_GET_SIZE(bytes), nuls = 0;
    for (size_t i = 0; i < size; i++)
        nuls += from[i] == '\0';
    char *text = pc_xcalloc(1, size + nuls + 1), *out = text;
    for (size_t i = 0; i < size; i++) {
        if (from[i] == '\0')
            *out++ = '\\';
        *out++ = from[i] == '\0' ? '0' : from[i];
    }
    Py_DECREF(bytes);
    return text;
}
