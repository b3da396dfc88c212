/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inside.c - being inside of a Client: entering and leaving it, forks, and waiting there.
 *
 * Closing while other threads are inside: `inside` counts them (guarded by the interpreter lock).
 * close() ends the connection, which makes them return; the last one out releases the handle.
 */
#include "client.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

/* ---- forks ------------------------------------------------------------------------------- */

/* Grows in a forked child, so that nothing there touches the locks of a client of its parent. */
static unsigned forks;

/* The clients whose descriptors a forked child closes. */
static struct client_object *open_clients;
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;

void client_enlist(struct client_object *client)
{
    client->forks = forks;
    pthread_mutex_lock(&open_lock);
    client->next = open_clients;
    client->link = &open_clients;
    if (client->next)
        client->next->link = &client->next;
    open_clients = client;
    pthread_mutex_unlock(&open_lock);
}

static void delist(struct client_object *client)
{
    pthread_mutex_lock(&open_lock);
    if (client->link) {
        *client->link = client->next;
        if (client->next)
            client->next->link = client->link;
        client->link = NULL;
    }
    pthread_mutex_unlock(&open_lock);
}

/* Around every fork(), also by threads without the interpreter lock: the list is whole. */
static void before_fork(void)
{
    pthread_mutex_lock(&open_lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&open_lock);
}

/* Only what is safe between fork() and its return. */
static void in_child(void)
{
    forks++;
    for (struct client_object *client = open_clients; client; client = client->next) {
        pc_client_forked(client->handle);
        client->link = NULL;
    }
    open_clients = NULL;
    pthread_mutex_unlock(&open_lock);
}

bool client_is_forked(const struct client_object *client)
{
    return client->forks != forks;
}

int client_watch_forks(void)
{
    static bool is_watching;
    if (is_watching)
        return 0;
    is_watching = true;
    return pthread_atfork(before_fork, after_fork, in_child);
}

/* ---- entering and leaving ---------------------------------------------------------------- */

int client_enter(struct client_object *client)
{
    struct pc_err err = {.code = PC_OK};
    if (client->handle && client_is_forked(client)) {
        err.code = PC_E_FORKED;
        strcpy(err.text, "this client was made before a fork, in the parent process; make a new "
                         "Client in the child");
    } else if (!client->handle || client->is_closing) {
        err.code = PC_E_CLOSED;
        strcpy(err.text, "the client was closed");
    } else {
        client->inside++;
        return 0;
    }
    ext_raise(ext_state((PyObject *)client), &err);
    return -1;
}

void client_release(struct client_object *client)
{
    struct pc_client *handle = client->handle;
    delist(client);
    client->handle = NULL;
    PyThreadState *thread = PyEval_SaveThread();
    if (!client_is_forked(client))
        sender_stop(&client->sender);
    pc_client_close(handle);
    PyEval_RestoreThread(thread);
}

void client_leave(struct client_object *client)
{
    if (--client->inside == 0 && client->is_closing)
        client_release(client);
}

bool client_may_go_on(struct client_object *client, const struct pc_err *err)
{
    if (err->code != PC_E_INTERRUPTED && err->code != PC_E_TIMEOUT)
        return false;
    return PyErr_CheckSignals() == 0 && !client->is_closing;
}

PyObject *client_fail(struct client_object *client, struct pc_err *err)
{
    if (PyErr_Occurred())
        return NULL;
    if (client->is_closing) {
        err->code = PC_E_CLOSED;
        strcpy(err->text, "the client was closed");
    }
    return ext_raise(ext_state((PyObject *)client), err);
}

/* ---- time -------------------------------------------------------------------------------- */

int64_t client_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t client_timeout_ms(PyObject *seconds)
{
    if (seconds == Py_None)
        return -1;
    double value = PyFloat_AsDouble(seconds);
    if (value == -1 && PyErr_Occurred())
        return -2;
    if (value < 0 || value > INT_MAX / 1000)
        return -1;
    int64_t ms = (int64_t)(value * 1000);
    return (double)ms < value * 1000 ? ms + 1 : ms;
}

struct patience patience_of(int64_t ms)
{
    bool is_short = ms >= 0 && ms <= SLICE_MS;
    return (struct patience){.deadline = ms < 0 ? -1 : client_now_ms() + ms,
                             .slice = is_short ? (int)ms : SLICE_MS};
}

bool next_slice(struct patience *patience)
{
    if (patience->deadline < 0)
        return true;
    int64_t left = patience->deadline - client_now_ms();
    patience->slice = left < SLICE_MS ? (int)left : SLICE_MS;
    return left > 0;
}
