/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/py.h"

#include "engine/intr.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <uthash.h>

#include "lib/log.h"
#include "lib/mem.h"

/* Of the real-time signals one that libraries leave alone; the first ones are popular. */
#define SIGNAL_NUMBER (SIGRTMIN + 13)
/* Orders for tasks that never come are forgotten beyond that, the oldest first. */
#define ABORTED_MAX 10000

struct aborted_key {
    uint64_t session, sequence;
};

struct aborted {
    struct aborted_key key;
    UT_hash_handle hh;
};

static pthread_t main_thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Under the lock. */
static struct aborted_key current_key;
static struct aborted *aborted;
static uint64_t count;
/* Number of the task that runs, and of the one to be interrupted; 0: none. A number, so that they
 * can be compared in one step. */
static _Atomic uint64_t current, wanted;

/* ---- raising ---------------------------------------------------------------------------- */

/* True for the first who asks while the task that was meant runs. */
static bool take_request(void)
{
    uint64_t number = atomic_exchange(&wanted, 0);
    return number != 0 && number == atomic_load(&current);
}

static PyObject *on_signal(PyObject *self, PyObject *args)
{
    if (!take_request())
        Py_RETURN_NONE;
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    return NULL;
}

static int on_pending_call(void *argument)
{
    if (!take_request())
        return 0;
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    return -1;
}

void eng_intr_init(void)
{
    static PyMethodDef method = {"interrupt", on_signal, METH_VARARGS, NULL};
    main_thread = pthread_self();
    PyObject *handler = PyCFunction_New(&method, NULL);
    /* Not `signal`, which would load enum into every engine: a MiB of private memory each. */
    PyObject *set = eng_py_ours("_signal", "signal");
    PyObject *before = handler ? PyObject_CallFunction(set, "iO", SIGNAL_NUMBER, handler) : NULL;
    if (!before)
        pc_fatal(1, "can't install the handler for interrupts");
    Py_DECREF(before);
    Py_DECREF(handler);
    Py_DECREF(set);
}

/* ---- the list --------------------------------------------------------------------------- */

static struct aborted *find(const struct aborted_key *key)
{
    struct aborted *found;
    HASH_FIND(hh, aborted, key, sizeof(*key), found);
    return found;
}

static void drop(struct aborted *entry)
{
    HASH_DEL(aborted, entry);
    free(entry);
}

static void note(const struct aborted_key *key)
{
    if (find(key))
        return;
    if (HASH_COUNT(aborted) >= ABORTED_MAX)
        drop(aborted);
    struct aborted *entry = pc_xcalloc(1, sizeof(*entry));
    entry->key = *key;
    HASH_ADD(hh, aborted, key, sizeof(entry->key), entry);
}

/* ---- main thread ------------------------------------------------------------------------ */

bool eng_intr_begin(uint64_t session, uint64_t sequence)
{
    struct aborted_key key = {.session = session, .sequence = sequence};
    pthread_mutex_lock(&lock);
    struct aborted *entry = aborted ? find(&key) : NULL;
    if (entry) {
        drop(entry);
    } else {
        current_key = key;
        atomic_store(&current, ++count);
    }
    pthread_mutex_unlock(&lock);
    return !entry;
}

/* A signal is only sent under the lock. So when this returns one that was meant for the task has
 * been sent, and arrives with our next system call at the latest, before another task begins. */
void eng_intr_end(void)
{
    pthread_mutex_lock(&lock);
    atomic_store(&current, 0);
    pthread_mutex_unlock(&lock);
}

void eng_intr_forget(uint64_t session, uint64_t sequence)
{
    struct aborted_key key = {.session = session, .sequence = sequence};
    pthread_mutex_lock(&lock);
    struct aborted *entry = aborted ? find(&key) : NULL;
    if (entry)
        drop(entry);
    pthread_mutex_unlock(&lock);
}

/* ---- control thread --------------------------------------------------------------------- */

/* Unless user code gave it back to the system, for which it is deadly. */
static void send_signal(void)
{
    struct sigaction now;
    if (sigaction(SIGNAL_NUMBER, NULL, &now) == 0 && now.sa_handler != SIG_DFL &&
        now.sa_handler != SIG_IGN)
        pthread_kill(main_thread, SIGNAL_NUMBER);
}

bool eng_intr_insist(void)
{
    pthread_mutex_lock(&lock);
    uint64_t number = atomic_load(&wanted);
    bool is_open = number != 0 && number == atomic_load(&current);
    if (is_open)
        send_signal();
    pthread_mutex_unlock(&lock);
    return is_open;
}

void eng_intr_abort(uint64_t session, uint64_t sequence, bool may_interrupt)
{
    struct aborted_key key = {.session = session, .sequence = sequence};
    pthread_mutex_lock(&lock);
    bool is_current = atomic_load(&current) != 0 && current_key.session == session &&
                      current_key.sequence == sequence;
    if (!is_current) {
        note(&key);
    } else if (may_interrupt) {
        atomic_store(&wanted, atomic_load(&current));
        send_signal();
    }
    pthread_mutex_unlock(&lock);
    if (is_current && may_interrupt)
        Py_AddPendingCall(on_pending_call, NULL);
}
