/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ext.h - what the files of the extension module pcluster._client share.
 *
 * The module is a thin cover over <pcluster.h>: one Python type per opaque handle, no policy. It
 * uses the stable ABI of CPython 3.11 only, so that one file serves every newer Python, too.
 * Everything that may block does so without the interpreter lock.
 */
#ifndef PC_PYTHON_EXT_H
#define PC_PYTHON_EXT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>

#include <pcluster.h>

struct module_state {
    PyObject *client_type;
    PyObject *call_type;
    PyObject *part_type;
    PyObject *function_type;
    PyObject *errors; /* dict: enum pc_errc -> exception class; set by pcluster.error */
    PyObject *loads;  /* pickle.loads */
    PyObject *empty;  /* (), for calls with keywords only */
};

/* Writes what submissions left behind when nobody else does: see pc_submit. Its thread is started
 * when there is something for the first time. */
struct sender {
    struct pc_client *handle;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t roused;
    bool has_thread, is_asleep, is_stopping;
};

struct client_object {
    PyObject ob_base;
    struct pc_client *handle;    /* NULL once closed */
    PyObject *announced;         /* dict: handle -> Call that next_ended will hand out */
    int inside;                  /* threads that are using `handle` now */
    unsigned forks;              /* how often the process had been forked off when it was opened */
    struct client_object **link; /* what points to us in the list of open clients, or NULL ... */
    struct client_object *next;  /* ... and the one after us there */
    bool is_closing;
    struct sender sender;
};

struct function_object {
    PyObject ob_base;
    struct pc_function *handle;
};

struct call_object {
    PyObject ob_base;
    struct pc_call *handle;
    PyObject *data; /* whatever the Python side keeps with the call */
    PyObject *weakrefs;
};

struct module_state *ext_state(PyObject *object);

/* Raises the class that stands for err->code, with err->text. Always returns NULL. */
PyObject *ext_raise(struct module_state *state, const struct pc_err *err);

/* A Call that takes over the reference to `handle`, also when it fails. */
PyObject *call_wrap(struct module_state *state, struct pc_call *handle);

/* `calls` (a Call, or a tuple of them: it can't change meanwhile) as an array; *array is `single`
 * for one Call, else memory to PyMem_Free. Returns the count, -1 with an exception. */
Py_ssize_t call_array(struct module_state *state, PyObject *calls, struct pc_call **single,
                      struct pc_call ***array);

/* A request together with what it borrows. */
struct ext_request {
    struct pc_request request;
    bool is_single;         /* one call is the answer, not a tuple */
    Py_buffer *views;       /* part_count of them */
    struct pc_bytes *parts; /* what the views show */
    uint32_t *targets;
    Py_buffer few_views[4]; /* used instead of memory from the heap for short requests */
    struct pc_bytes few_parts[4];
    uint32_t few_targets[8];
    struct pc_task_options options;
    struct pc_task_id *needs; /* of after, then of follow */
    PyObject *label;          /* UTF-8, keeps request.label alive */
};

/* From the arguments of Client.submit: kind, targets, balanced, run_flags, label, parts,
 * will_wait, options, never_waits. */
int request_init(struct module_state *state, struct ext_request *request, PyObject *const *args,
                 Py_ssize_t count);
void request_fini(struct ext_request *request);

void sender_init(struct sender *sender, struct pc_client *handle);
/* After a submission, without the interpreter lock. */
void sender_rouse(struct sender *sender);
/* Ends its thread. Not in a forked child. */
void sender_stop(struct sender *sender);

/* Once per process: makes clients notice a fork. */
int client_watch_forks(void);

extern PyType_Spec client_spec;
extern PyType_Spec call_spec;
extern PyType_Spec part_spec;
extern PyType_Spec function_spec;

#endif
