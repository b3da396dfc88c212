/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pcluster.h - talk to a pcluster from a C program.
 *
 * One `struct pc_client` is one connection. Calls are submitted to chosen engines or to "any
 * engine", and each is followed through its own `struct pc_call`.
 *
 * Threads: every function may be called from any thread, on the same client too, unless its
 * comment says otherwise. The library starts no thread: the thread that waits reads the socket.
 * It prints nothing, installs no signal handler, never exits and keeps no global state.
 *
 * Errors: functions return 0 (or a pointer) on success and -1 (or NULL) on failure; then *err,
 * when given, holds a code and one line of text. Out-parameters are written only on success.
 *
 * fork: in a forked child every call on an inherited client fails with PC_E_FORKED; only
 * pc_client_forked, pc_client_close and the unref functions are of use there, and they send
 * nothing.
 */
#ifndef PCLUSTER_H
#define PCLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PC_PUBLIC __attribute__((visibility("default")))
#else
#define PC_PUBLIC
#endif

enum pc_errc {
    PC_OK = 0,
    PC_E_INVALID,     /* an argument is wrong */
    PC_E_SYSTEM,      /* the operating system said no; the text has its reason */
    PC_E_NO_FILE,     /* no connection file, no such profile */
    PC_E_BAD_FILE,    /* the connection file is not one, or is for another role */
    PC_E_STALE,       /* the file is there but nobody listens: the cluster is gone */
    PC_E_REFUSED,     /* the address refused the connection */
    PC_E_UNREACHABLE, /* no route, unknown host, or no answer */
    PC_E_TIMEOUT,     /* not in the time given */
    PC_E_KEY,         /* the key is wrong or was revoked */
    PC_E_ROLE,        /* the key is not for this: an engine's key used by a client */
    PC_E_VERSION,     /* the other side speaks another protocol version */
    PC_E_CLUSTER,     /* another cluster answers at this address */
    PC_E_PROTOCOL,    /* the other side broke the protocol */
    PC_E_LOST,        /* the connection was lost; pending calls have failed */
    PC_E_CLOSED,      /* the client was closed */
    PC_E_FORKED,      /* this client belongs to the parent process */
    PC_E_NO_ENGINE,   /* no such engine, or none at all */
    PC_E_INTERRUPTED, /* a signal arrived while waiting; call again to go on waiting */
    PC_E_MEMORY,      /* out of memory */
    PC_E_REMOTE,      /* the controller refused the request; the text has its reason */
    PC_E_FULL,        /* so much is under way that this would have to wait, and it must not */
    PC_E_START,       /* a cluster could not be started; the text is what pcluster said */
    PC_E_TASK,        /* the call has failed; the text has why, and pc_call_failure the traceback */
};

struct pc_err {
    enum pc_errc code;
    char text[508];
};

/* Version of the library, "0.1.0". */
PC_PUBLIC const char *pc_version(void);

/* ---- connecting ------------------------------------------------------------------------- */

struct pc_client; /* opaque; made by pc_client_open, released by pc_client_close */

enum pc_transport {
    PC_TRANSPORT_ANY = 0, /* the Unix socket where it is on this machine, else TCP */
    PC_TRANSPORT_UNIX,
    PC_TRANSPORT_TCP,
    PC_TRANSPORT_UNIX_ENCRYPTED, /* to see what encryption alone costs */
};

/* How to find the cluster. Zero-initialise, then set what differs. Strings are copied. */
struct pc_connect {
    const char *file;        /* path of a connection file; wins over the fields below */
    const char *json;        /* text of a connection file; wins over everything */
    const char *profile;     /* NULL: $PCLUSTER_PROFILE_DIR, $PCLUSTER_PROFILE, or "default" */
    const char *profile_dir; /* wins over profile */
    const char *cluster_id;  /* NULL: $PCLUSTER_CLUSTER_ID, or "", the one without a name */
    int timeout_ms;          /* for the whole connect; 0: 10000 */
    enum pc_transport transport;
    const char *python; /* "3.11" when the caller sends pickled functions, else NULL */
    bool keeps_results; /* see pc_client_find */
};

/* Connects and authenticates. *client is the caller's to close. -1 with PC_E_INTERRUPTED when a
 * signal came meanwhile: nothing was opened; call again to start over. */
PC_PUBLIC int pc_client_open(struct pc_client **client, const struct pc_connect *how,
                             struct pc_err *err);

/* Ends the connection; calls still pending fail with PC_E_CLOSED. Calls keep their results and
 * must still be unref'd. No other thread may be inside a function on this client, or start one.
 * NULL is fine. */
PC_PUBLIC void pc_client_close(struct pc_client *client);

/* Ends the connection as pc_client_close does but keeps the memory: other threads may be inside
 * functions on this client. Those that wait return, and every call has ended. pc_client_close is
 * still needed, once they have left. */
PC_PUBLIC void pc_client_shutdown(struct pc_client *client);

/* For a handler of pthread_atfork(), in the child: closes the child's copies of the descriptors, so
 * that the controller sees the end of the parent although the child lives on. Async-signal-safe.
 * pc_client_close may be called later. In the process that opened the client it does nothing. */
PC_PUBLIC void pc_client_forked(struct pc_client *client);

/* JSON text about the connection: cluster_id, instance, profile, url, address, session,
 * controller_pid, file, location. Valid until the client is closed. */
PC_PUBLIC const char *pc_client_info(const struct pc_client *client);

/* 0 while connected; else -1 and why not. */
PC_PUBLIC int pc_client_check(struct pc_client *client, struct pc_err *err);

/* ---- engines ---------------------------------------------------------------------------- */

struct pc_engine {
    uint32_t id; /* never reused within a cluster */
    uint32_t pid;
    char host[64];   /* host name, cut to fit */
    char python[16]; /* "3.11" */
    char uuid[40];   /* text form of the engine's identity */
    char tags[128];  /* what it was started with, in alphabetical order: "big,gpu" */
};

/* The engines that are registered now, by rising id, after taking in (without waiting) what the
 * controller has said so far. *list is the caller's to pc_engines_free. */
PC_PUBLIC int pc_client_engines(struct pc_client *client, struct pc_engine **list, size_t *count,
                                struct pc_err *err);
PC_PUBLIC void pc_engines_free(struct pc_engine *list);

/* Grows by one with every arrival and departure that this client was told of. */
PC_PUBLIC uint64_t pc_client_engines_generation(const struct pc_client *client);

/* ---- calls ------------------------------------------------------------------------------ */

struct pc_call; /* opaque, reference counted: one call on one engine */

enum pc_kind {
    PC_KIND_NONE = 0,
    PC_KIND_APPLY = 1,   /* parts: pickled function; pickled (args, kwargs); buffers ... */
    PC_KIND_EXECUTE = 2, /* parts: source text; if it is that of a file, its name; UTF-8 */
    PC_KIND_PUSH = 3,    /* parts: pickled dict; buffers ... */
    PC_KIND_PULL = 4,    /* parts: JSON text, a string or a list of strings (expressions) */
    PC_KIND_CLEAR = 5,   /* no parts: empties the namespace */
};

enum pc_status {
    PC_STATUS_PENDING = 0,
    PC_STATUS_OK = 1,    /* parts: pickled value; buffers ... */
    PC_STATUS_ERROR = 2, /* the code raised. part 0: JSON {ename, evalue, traceback, engine_info} */
    PC_STATUS_FAILED = 3, /* it could not be run or its engine was lost; part 0 as for ERROR */
};

struct pc_bytes {
    const void *data;
    size_t size;
};

/* The id of a task: see pc_call_session and pc_call_sequence. */
struct pc_task_id {
    uint64_t session;
    uint64_t sequence;
};

/* Tasks of any client that must have ended, and how. */
struct pc_needs {
    unsigned rule;
    const struct pc_task_id *tasks;
    size_t count;
};
#define PC_NEED_ALL     0x01 /* all of them; without it one is enough */
#define PC_NEED_SUCCESS 0x02 /* having gone well counts; one of these two must be set */
#define PC_NEED_FAILURE 0x04 /* having failed counts */

/* Of a balanced request. Zeros are the defaults. */
struct pc_task_options {
    int priority;            /* larger: earlier */
    unsigned retries;        /* how often it is tried again, on another engine, when it fails */
    bool retry_same;         /* also where it failed, when no other engine is left */
    unsigned timeout_ms;     /* not started within: fails with TaskTimeout */
    unsigned run_timeout_ms; /* runs longer: is interrupted, then its engine is ended */
    const char *tags;        /* runs on an engine that has all of them: "big,gpu"; may be NULL */
    struct pc_needs after;   /* starts only then */
    struct pc_needs follow;  /* and runs on an engine where one of these (or all) ran */
    bool durable;            /* is on disk before it begins, see pc_wait_accepted */
};

/*
 * A pickled function that travels once: a request that has one sends its bytes only when the
 * connection does not carry them yet, and so does the controller towards engines. Reference
 * counted; may be used by several clients and threads.
 */
struct pc_function;
#define PC_FUNCTION_BYTES_MAX ((size_t)8 << 20) /* a larger one must be a part of each request */

/* Copies the pickle. NULL: too large, or out of memory. */
PC_PUBLIC struct pc_function *pc_function_new(const void *pickle, size_t size, struct pc_err *err);
/* Its pickle; good as long as a reference to it. */
PC_PUBLIC struct pc_bytes pc_function_bytes(const struct pc_function *function);
PC_PUBLIC struct pc_function *pc_function_ref(struct pc_function *function);
PC_PUBLIC void pc_function_unref(struct pc_function *function); /* NULL is fine */

struct pc_request {
    enum pc_kind kind;
    uint8_t flags;           /* handed to the engine unread; see PC_RUN_* */
    bool is_balanced;        /* one engine of `targets` (none given: of all) runs it */
    const uint32_t *targets; /* engine ids; when not balanced, each of them runs it */
    size_t target_count;
    const char *label;                     /* kept in the record; may be NULL */
    const struct pc_task_options *options; /* NULL: none */
    struct pc_function *function; /* APPLY: instead of the part that is the function; may be NULL */
    const struct pc_bytes *parts;
    size_t part_count;
    bool never_waits; /* PC_E_FULL instead of waiting while too much is under way */
    bool will_wait;   /* the caller waits for it at once: don't rouse a thread in pc_next_ended */
    bool may_linger;  /* a small one that follows closely on another may go with the next write */
};

#define PC_RUN_SILENT 0x01 /* EXECUTE: don't send the value of the last expression back */
/* Nothing is pickled, see pc_apply; the value comes back as JSON, or as bytes, or, with both, as
 * bytes if it consists of bytes and as JSON else. */
#define PC_RUN_JSON  0x02
#define PC_RUN_BYTES 0x04

/*
 * Sends one request. calls[] receives one call for a balanced request and target_count calls
 * otherwise, each with one reference owned by the caller.
 * The parts are not copied and may be reused when this returns: it returns when the system has
 * taken every byte. It waits while the window for submissions is used up, and receives meanwhile;
 * PC_E_INTERRUPTED is possible only there, and then nothing was sent. (A signal that comes later,
 * in the middle of a large part, makes it copy what is left and return.)
 *
 * With `may_linger` a small request that comes within 250 us of the last write is copied and waits
 * for company: it is written with a later submission, by whatever waits for something, by
 * pc_client_flush or pc_client_close. A thousand submissions in a row then take a few writes.
 */
PC_PUBLIC int pc_submit(struct pc_client *client, const struct pc_request *request,
                        struct pc_call **calls, struct pc_err *err);
/* Whether something waits for company. Takes no lock. */
PC_PUBLIC bool pc_client_lingers(const struct pc_client *client);
/* Writes it unless that has just happened; never waits. For who goes on to do something else. */
PC_PUBLIC void pc_client_flush(struct pc_client *client);

/* ---- requests without pickle ------------------------------------------------------------- */

/*
 * These fill in kind and parts of a request, and submit it. `how` says the rest: where it is to
 * run, options, label. Its flags may say in which form the value is wanted (PC_RUN_JSON,
 * PC_RUN_BYTES; neither means either), its parts are bytes that go along as they are. NULL: any one
 * engine, no options. Texts are UTF-8. For everything else see pc_submit.
 *
 * pc_apply calls a function by name: "module:function", "module:Class.method", or without a module
 * a name of the engine's namespace or a builtin. `arguments` is a JSON array, or an object of
 * arguments by name; NULL: none. Parts follow as further positional arguments, each a bytes.
 */
PC_PUBLIC int pc_apply(struct pc_client *client, const struct pc_request *how, const char *function,
                       const char *arguments, struct pc_call **calls, struct pc_err *err);
/* Runs Python source text in the engine's namespace. Its value is that of the last statement, if
 * that is an expression, else None. */
PC_PUBLIC int pc_execute(struct pc_client *client, const struct pc_request *how, const char *source,
                         struct pc_call **calls, struct pc_err *err);
/* Sets names in the engine's namespace: `values` is a JSON object; or, when the values are bytes,
 * a name in JSON or an array of names, with as many parts. */
PC_PUBLIC int pc_push(struct pc_client *client, const struct pc_request *how, const char *values,
                      struct pc_call **calls, struct pc_err *err);
/* Gets the value of an expression, which is a JSON string: "\"n\""; or those of several, which are
 * an array of them, as an array, or as so many pieces of bytes. */
PC_PUBLIC int pc_pull(struct pc_client *client, const struct pc_request *how, const char *names,
                      struct pc_call **calls, struct pc_err *err);

enum pc_form {
    PC_FORM_JSON = 1, /* JSON text, UTF-8 */
    PC_FORM_BYTES,    /* bytes; when they are several, pc_call_part 1 ... count are the pieces */
    PC_FORM_PICKLE,   /* of a request that did not ask for another form */
};

struct pc_value {
    enum pc_form form;
    const void *data; /* of the first piece; a zero byte follows. NULL: there is none */
    size_t size;
    size_t count; /* pieces of bytes */
};

/* The value of a call that ended well, valid as long as a reference to the call. -1: PC_E_INVALID,
 * it has not ended; PC_E_TASK, it failed: the text names the engine, the exception and its text. */
PC_PUBLIC int pc_call_value(const struct pc_call *call, struct pc_value *value, struct pc_err *err);
/* Waits as pc_wait does for this one call, then pc_call_value. */
PC_PUBLIC int pc_call_get(struct pc_call *call, int timeout_ms, struct pc_value *value,
                          struct pc_err *err);

/* Why a call ended with PC_STATUS_ERROR or PC_STATUS_FAILED. */
struct pc_failure {
    uint32_t engine_id;    /* UINT32_MAX when it never reached an engine */
    const char *name;      /* of the exception: "ZeroDivisionError", "EngineError" ... */
    const char *text;      /* "division by zero" */
    const char *traceback; /* several lines, as Python prints it on the engine; "": there is none */
    const char *method;    /* "apply", "execute" ...; "": unknown */
};

/* *failure is one block, the caller's to free(). -1 with PC_E_INVALID: the call has not failed. */
PC_PUBLIC int pc_call_failure(const struct pc_call *call, struct pc_failure **failure,
                              struct pc_err *err);

/* ---- calls: what became of them ---------------------------------------------------------- */

/* A pointer of the program's own that goes with the call; NULL at first. */
PC_PUBLIC void pc_call_set_user(struct pc_call *call, void *user);
PC_PUBLIC void *pc_call_user(const struct pc_call *call);

PC_PUBLIC struct pc_call *pc_call_ref(struct pc_call *call);
PC_PUBLIC void pc_call_unref(struct pc_call *call); /* NULL is fine */

/* Session (same for all calls of a client) and number: together the id of the task. */
PC_PUBLIC uint64_t pc_call_session(const struct pc_call *call);
PC_PUBLIC uint64_t pc_call_sequence(const struct pc_call *call);

/* What was asked for: of its request. The label may be NULL and lives as long as the call. */
PC_PUBLIC enum pc_kind pc_call_kind(const struct pc_call *call);
PC_PUBLIC unsigned pc_call_flags(const struct pc_call *call);
PC_PUBLIC const char *pc_call_label(const struct pc_call *call);

/* The engine that it was sent to, as far as is known: of a balanced call when output has come, or
 * it has ended; UINT32_MAX before. */
PC_PUBLIC uint32_t pc_call_engine(struct pc_call *call);

PC_PUBLIC enum pc_status pc_call_status(const struct pc_call *call);

/*
 * Waits until all of the calls have ended, however they ended. 0: all ended. -1 with PC_E_TIMEOUT
 * (timeout_ms < 0: none; 0: only takes in what has arrived), PC_E_INTERRUPTED (a signal came, or
 * may have come while another thread was reading: look, then call again), or PC_E_FORKED.
 * When the connection is lost every pending call ends as PC_STATUS_FAILED, so this returns.
 */
PC_PUBLIC int pc_wait(struct pc_client *client, struct pc_call *const *calls, size_t count,
                      int timeout_ms, struct pc_err *err);

/*
 * Waits until all of these durable calls are on disk, or have ended: one that can't be written ends
 * with PC_STATUS_FAILED and the failure NotDurable. As pc_wait; PC_E_INVALID: one is not durable.
 * From then on the task runs whatever happens to this client and to the cluster.
 */
PC_PUBLIC int pc_wait_accepted(struct pc_client *client, struct pc_call *const *calls, size_t count,
                               int timeout_ms, struct pc_err *err);
/* Whether that is so now, as far as what has arrived says. */
PC_PUBLIC bool pc_call_accepted(const struct pc_call *call);

struct pc_result {
    enum pc_status status;
    uint32_t engine_id;   /* UINT32_MAX when it never reached an engine */
    int64_t submitted_us; /* microseconds since 1970, UTC; 0 when unknown */
    int64_t started_us;
    int64_t completed_us;
    int64_t received_us;
    size_t part_count;
};

/* What came back. -1 while the call is pending. */
PC_PUBLIC int pc_call_result(const struct pc_call *call, struct pc_result *result);
/* Part `index` of the result. The memory is writable, belongs to the call, is aligned to 64 bytes
 * when it is larger than 4096, has a zero byte behind it, and lives as long as a reference to the
 * call. -1: there is none. */
PC_PUBLIC int pc_call_part(const struct pc_call *call, size_t index, void **data, size_t *size);

/* What a task displayed is JSON, one object with `data` and `metadata` on each line. */
enum pc_stream { PC_STREAM_STDOUT = 0, PC_STREAM_STDERR = 1, PC_STREAM_DISPLAY = 2 };

/* Output captured so far, as a copy for the caller to free(): the first and the last MiB (of what
 * was displayed, the first and last 8 MiB), with a line between that says how much is missing.
 * `take` also removes it, so that a follower loses nothing. *data is NULL when there is none. -1 in
 * a forked child. */
PC_PUBLIC int pc_call_output(struct pc_call *call, enum pc_stream stream, char **data,
                             size_t *size);
/* Only what came after the first *since bytes, which becomes the number of all so far: for who
 * follows the output and leaves it there. */
PC_PUBLIC int pc_call_output_since(struct pc_call *call, enum pc_stream stream, uint64_t *since,
                                   char **data, size_t *size);
PC_PUBLIC int pc_call_take_output(struct pc_call *call, enum pc_stream stream, char **data,
                                  size_t *size);

/* What the task has published so far, a pickled dict, as a copy for the caller to free(). *data is
 * NULL when it has published nothing. -1: no memory, or in a forked child. */
PC_PUBLIC int pc_call_published(struct pc_call *call, void **data, size_t *size);

/* Marks a call (pending or ended) to be handed out once by pc_next_ended; takes a reference that
 * pc_next_ended passes on. */
PC_PUBLIC void pc_call_announce(struct pc_call *call);

/*
 * The next announced call that has ended, with a reference for the caller; waits for it as pc_wait
 * does, but while another thread reads the socket this one lets it. NULL with PC_E_TIMEOUT,
 * PC_E_INTERRUPTED, PC_E_CLOSED ... For a thread that runs callbacks.
 */
PC_PUBLIC struct pc_call *pc_next_ended(struct pc_client *client, int timeout_ms,
                                        struct pc_err *err);
/* Makes a thread that waits in pc_next_ended return with PC_E_INTERRUPTED. */
PC_PUBLIC void pc_client_wake(struct pc_client *client);

/* ---- in the program's own loop ------------------------------------------------------------ */

/*
 * A descriptor for poll(2), epoll(7) or an event library: readable means that pc_dispatch has
 * something to do. It stays the same as long as the client lives, belongs to the client, and is
 * for polling only. -1: none can be made, or in a forked child.
 */
PC_PUBLIC int pc_client_fd(struct pc_client *client, struct pc_err *err);

/*
 * Takes in what has arrived, waiting up to timeout_ms (< 0: no limit; 0: not at all) for something
 * to arrive, and calls the listener. Writes, too, what submissions that may linger have left.
 * Returns how much happened, in messages and callbacks; 0: nothing. -1 with PC_E_INTERRUPTED, as
 * pc_wait; with PC_E_INVALID, when called from a callback; with PC_E_LOST, PC_E_CLOSED ... after
 * every call has ended and the listener was told so: nothing more will happen.
 */
PC_PUBLIC int pc_dispatch(struct pc_client *client, int timeout_ms, struct pc_err *err);

/*
 * Whom pc_dispatch tells what has happened, in the thread that calls it. Any of them may be NULL.
 * They may call every function of this library but pc_dispatch on the same client; after
 * pc_client_close none is called any more. What they are given is valid until they return; of a
 * call they may keep a reference of their own. A listener hears
 * - of an engine: those that are there at first, then every arrival and departure;
 * - of output: what a call has printed, piece by piece, before its end; with a line in between that
 *   says how much is missing when it printed more than two MiB from one turn to the next;
 * - of an end: each call of this client once, also when nobody else holds a reference to it.
 */
struct pc_listener {
    void (*engine_came)(struct pc_client *client, const struct pc_engine *engine, void *arg);
    void (*engine_left)(struct pc_client *client, const struct pc_engine *engine, void *arg);
    void (*output)(struct pc_call *call, enum pc_stream stream, const char *text, size_t size,
                   void *arg);
    void (*ended)(struct pc_call *call, void *arg);
    void *arg; /* handed to all of them */
};

/* From now on this one, which is copied; NULL: nobody. */
PC_PUBLIC int pc_client_listen(struct pc_client *client, const struct pc_listener *listener,
                               struct pc_err *err);

/* ---- what is under way -------------------------------------------------------------------- */

/* What a client has under way: calls that have not ended, bytes of their requests; and how much it
 * may. The limits are those of the cluster, see pcluster-sched(1), and may change. */
struct pc_window {
    uint64_t calls, bytes;
    uint64_t max_calls, max_bytes;
};

/* -1 in a forked child. */
PC_PUBLIC int pc_client_window(const struct pc_client *client, struct pc_window *window);

/* Calls that have not ended. */
PC_PUBLIC size_t pc_client_pending(const struct pc_client *client);

/* Those calls, by rising number, each with a reference for the caller, after taking in (without
 * waiting) what has arrived. *calls is the caller's to pc_calls_free. */
PC_PUBLIC int pc_client_outstanding(struct pc_client *client, struct pc_call ***calls,
                                    size_t *count, struct pc_err *err);
PC_PUBLIC void pc_calls_free(struct pc_call **calls); /* the array only, not the references */

/* ---- finding calls again ------------------------------------------------------------------ */

/*
 * The call with this number, with a reference for the caller; NULL when it is not known. Known is
 * what is pending, and what somebody holds. A client that was opened with keeps_results keeps what
 * has ended and was dropped before anybody looked at its result or error: the latest 10,000 of
 * them, and no more than 64 MiB. One that is found is not kept any more, until it is dropped
 * unread again; with `only_kept` nothing else is found, and it stays kept.
 */
PC_PUBLIC struct pc_call *pc_client_find(struct pc_client *client, uint64_t sequence,
                                         bool only_kept);
/* The calls that are kept, or will be, as pc_client_outstanding lists those that are pending. */
PC_PUBLIC int pc_client_kept(struct pc_client *client, struct pc_call ***calls, size_t *count,
                             struct pc_err *err);
/* It is to be kept although somebody looks at it, or not to be kept in any case. */
PC_PUBLIC void pc_call_pin(struct pc_call *call);
PC_PUBLIC void pc_call_forget(struct pc_call *call);

/* ---- ending calls early ----------------------------------------------------------------- */

#define PC_ABORT_INTERRUPT 0x01 /* raise KeyboardInterrupt in those that run */
#define PC_ABORT_KILL      0x02 /* ... and end the engine of one that does not end soon after */

/*
 * Aborts calls. One that has not been sent to an engine ends at once, as PC_STATUS_FAILED with the
 * error TaskAborted, before this returns; one that an engine has but has not begun ends so when
 * its turn comes. One that runs goes on, or is interrupted, as the flags say. Those that have
 * ended stay as they are.
 */
PC_PUBLIC int pc_abort(struct pc_client *client, struct pc_call *const *calls, size_t count,
                       unsigned flags, struct pc_err *err);

/* Interrupts what runs on these engines now, whoever sent it. */
PC_PUBLIC int pc_interrupt(struct pc_client *client, const uint32_t *engines, size_t count,
                           struct pc_err *err);

/* ---- asking the controller -------------------------------------------------------------- */

/*
 * Sends a query, JSON text {"query": "status" | "shutdown" | ...}, and waits for the reply's JSON
 * text, which is the caller's to free(). timeout_ms 0: 10000. See pcluster-protocol(7).
 */
PC_PUBLIC int pc_query(struct pc_client *client, const char *json, int timeout_ms, char **reply,
                       struct pc_err *err);

/* ---- tasks that the hub remembers ------------------------------------------------------- */

enum pc_fetch {
    PC_FETCH_RESULT = 1,  /* the call ends as the task did or will, with its output before */
    PC_FETCH_REQUEST = 2, /* the call ends at once; its parts are those of the request */
    PC_FETCH_AGAIN = 3,   /* the task is run again, as a new one of this client */
};

/*
 * Tasks of any client. calls[] receives one call for each, with one reference owned by the caller.
 * With PC_FETCH_AGAIN they are new tasks; else they have the ids of the tasks they stand for, and
 * neither pc_client_outstanding nor pc_client_pending's limits know them. A task or a result that
 * the hub does not have makes its call end as PC_STATUS_FAILED, with the error NoSuchTask or
 * ResultNotKept and a text that says why.
 */
PC_PUBLIC int pc_fetch(struct pc_client *client, enum pc_fetch what, const struct pc_task_id *tasks,
                       size_t count, struct pc_call **calls, struct pc_err *err);

/* ---- a cluster of one's own --------------------------------------------------------------- */

/*
 * A controller and engines on this machine, started by this program and ended with it, however it
 * ends. It is the executable `pcluster` in the background: one process that supervises the others.
 * These functions may be called from any thread, for one cluster by one thread at a time.
 */
struct pc_cluster; /* opaque; made by pc_cluster_start, released by pc_cluster_stop */

/* Zero-initialise, then set what differs. */
struct pc_cluster_options {
    unsigned engines;             /* how many; 0: as many as there are processors */
    const char *executable;       /* NULL: $PCLUSTER_EXE, beside this library, or in $PATH */
    const char *profile;          /* NULL: $PCLUSTER_PROFILE, or "default" */
    const char *profile_dir;      /* wins over profile */
    const char *cluster_id;       /* NULL: a new one */
    const char *const *arguments; /* further ones for pcluster-start(1), up to a NULL; or NULL */
    int timeout_ms;               /* until the engines are there; 0: 60000 */
};

/*
 * Starts a cluster, and returns when its engines are there. options NULL: the defaults. *cluster
 * is the caller's to pc_cluster_stop. -1 with PC_E_NO_FILE: there is no executable; PC_E_START: it
 * said why not; PC_E_TIMEOUT. Then nothing stays behind.
 *
 * Meanwhile there is a child process, as with system(3), which this waits for. A signal does not
 * end the waiting.
 */
PC_PUBLIC int pc_cluster_start(struct pc_cluster **cluster,
                               const struct pc_cluster_options *options, struct pc_err *err);
/* Path of the connection file, for pc_connect.file. Valid until the cluster is stopped. */
PC_PUBLIC const char *pc_cluster_file(const struct pc_cluster *cluster);
/* Path of its log, likewise. pc_cluster_stop removes that file when all went well. */
PC_PUBLIC const char *pc_cluster_log(const struct pc_cluster *cluster);
/* 0 while it runs; else -1, PC_E_STALE. */
PC_PUBLIC int pc_cluster_check(const struct pc_cluster *cluster, struct pc_err *err);
/*
 * Stops it, which takes as long as tasks that run need to be interrupted, at most 15 s, and
 * releases the handle in any case. NULL is fine. -1 with PC_E_TIMEOUT: it had to be killed. In a
 * forked child only the handle is released.
 */
PC_PUBLIC int pc_cluster_stop(struct pc_cluster *cluster, struct pc_err *err);

#ifdef __cplusplus
}
#endif
#endif
