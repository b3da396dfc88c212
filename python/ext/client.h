/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * client.h - what the files of the type Client share: client.c (the type itself), inside.c (threads
 * in it), submit.c (its methods for calls), questions.c (its methods that ask).
 *
 * Every method that uses the handle does so between client_enter() and client_leave().
 */
#ifndef PC_PYTHON_EXT_CLIENT_H
#define PC_PYTHON_EXT_CLIENT_H

#include "ext.h"

/* A thread that waits looks for signals and for close() at least this often, in milliseconds: a
 * signal that comes just before the library sleeps must not be lost until the next message. */
#define SLICE_MS 200

struct patience {
    int64_t deadline; /* -1: none */
    int slice;        /* what to pass to the library next */
};

struct patience patience_of(int64_t ms);

/* False when the time is over. */
bool next_slice(struct patience *patience);

/* Of the monotonic clock. */
int64_t client_now_ms(void);

/* Seconds, or None for no limit, as milliseconds; -1 stands for no limit. -2: an exception. */
int64_t client_timeout_ms(PyObject *seconds);

/* It was just opened; from now on a fork is noticed. */
void client_enlist(struct client_object *client);

/* Whether this is a child of the process that opened it. */
bool client_is_forked(const struct client_object *client);

/* 0, or -1 with an exception. */
int client_enter(struct client_object *client);
void client_leave(struct client_object *client);

/* Gives the handle back. Nobody is inside. */
void client_release(struct client_object *client);

/* The library came back because of a signal or a slice of time: may the wait go on? */
bool client_may_go_on(struct client_object *client, const struct pc_err *err);

/* Raises what the library has said, unless something was raised already. Always returns NULL. */
PyObject *client_fail(struct client_object *client, struct pc_err *err);

/* A tuple of Calls; takes over all of the handles. */
PyObject *client_wrap_calls(struct module_state *state, struct pc_call **handles, size_t count);

/* Methods: see the table in client.c. */
PyObject *client_submit(PyObject *self, PyObject *const *args, Py_ssize_t arg_count);
PyObject *client_wait(PyObject *self, PyObject *const *args, Py_ssize_t arg_count);
PyObject *client_announce(PyObject *self, PyObject *arg);
PyObject *client_next_ended(PyObject *self, PyObject *seconds);
PyObject *client_wake(PyObject *self, PyObject *unused);
PyObject *client_dispatch(PyObject *self, PyObject *seconds);
PyObject *client_query(PyObject *self, PyObject *args);
PyObject *client_abort(PyObject *self, PyObject *const *args, Py_ssize_t arg_count);
PyObject *client_fetch(PyObject *self, PyObject *args);
PyObject *client_interrupt(PyObject *self, PyObject *arg);
PyObject *client_engines(PyObject *self, PyObject *unused);
PyObject *client_outstanding(PyObject *self, PyObject *unused);
PyObject *client_kept(PyObject *self, PyObject *unused);
PyObject *client_find(PyObject *self, PyObject *args);
PyObject *client_check(PyObject *self, PyObject *unused);

#endif
