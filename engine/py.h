/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interpreter: starting it, forking it, and small conversions. Functions that touch Python
 * need the GIL; those that run user code say what becomes of an exception.
 */
#ifndef PC_ENGINE_PY_H
#define PC_ENGINE_PY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "lib/err.h"

/* Starts the interpreter as if `python` (NULL or "": that of the build) ran, with the user's
 * environment, and loads our modules. The caller holds the GIL afterwards. */
int eng_py_init(const char *python, struct pc_err *err);
/* Imports a module by name. -1: the text names the module and the exception. */
int eng_py_import(const char *module, struct pc_err *err);
/* Imports cloudpickle, which functions by value need. Without it engines work, too. */
void eng_py_import_cloudpickle(void);
/* Threads that this process has. */
int eng_py_thread_count(void);
/* Makes what is there now cheap to share with forked children. */
void eng_py_freeze(void);
/* fork() of an initialised, single-threaded interpreter. */
pid_t eng_py_fork(void);
/* In a forked engine: random numbers of its own. */
void eng_py_reseed(void);

/* A new reference to what one of our modules defines; ends the process when it is not there. */
PyObject *eng_py_ours(const char *module, const char *name);
/* "Type: text" of the current exception, which is cleared; one line. */
void eng_py_take_error(char *text, size_t size);
/* The current exception as an object with its traceback attached; cleared. NULL: there is none. */
PyObject *eng_py_take_exception(void);
/* Lets Python-level signal handlers run; what they raise is reported on stderr. For moments
 * without user code, so that a late interrupt doesn't hit the next task. In a child that a
 * handler forked this doesn't return. */
void eng_py_run_signals(void);
/* UTF-8 for the caller to free(); characters that can't be expressed are written as escapes and
 * NUL as "\0". Never NULL, never raises. */
char *eng_py_text(PyObject *str);

#endif
