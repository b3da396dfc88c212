/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of a client: shared by the files that make up the client library. */
#ifndef PC_LIB_CLIENT_H
#define PC_LIB_CLIENT_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "lib/birthmark.h"
#include "lib/buf.h"
#include "lib/capture.h"
#include "lib/connfile.h"
#include "lib/failure.h"
#include "lib/index.h"
#include "lib/json.h"
#include "lib/pcluster.h"
#include "lib/proto_task.h"
#include "lib/roster.h"
#include "lib/sock.h"

struct pc_call {
    uint64_t sequence;
    struct pc_call *prev, *next; /* in client.pending_first, then perhaps in client.kept_first */
    struct pc_client *client;
    _Atomic uint32_t refs;
    _Atomic int status;      /* enum pc_status; everything below is final when it is not PENDING */
    uint32_t engine_id;      /* also before the end, when it is known; then guarded by the lock */
    uint8_t kind, run_flags; /* of the request */
    bool is_durable;
    _Atomic bool is_accepted; /* it is on disk */
    bool is_announced;
    bool is_fetched; /* it stands for this task of any client: */
    struct pc_task_id fetched;
    bool is_kept, is_pinned; /* see keep.c; guarded by the lock */
    _Atomic bool is_read;    /* somebody has looked at the result */
    uint64_t bytes;          /* of the submission, counted in the window */
    uint64_t number;         /* of its message, see lifeline.h */
    int64_t submitted_us, received_us;
    struct pc_result_body times;
    char *label; /* of the request, or NULL */
    /* Until it has ended, for a scheduler that is started again: the SUBMIT, when its memory is
     * ours, with the function that it names; what was asked of the hub; whether it was aborted. */
    struct pc_msg *request;
    struct pc_function *function;
    uint8_t fetch; /* enum pc_fetch */
    bool is_aborted;
    uint8_t abort_flags;
    struct pc_msg *result;
    struct pc_capture *output[3]; /* by enum pc_stream; made when needed; guarded by the lock */
    struct pc_msg *published;     /* the last STREAM of kind DATA; guarded by the lock */
    struct pc_call *next_ended;   /* in client.ended_first */
    _Atomic(void *) user;         /* the program's */
    struct pc_call *next_news;    /* in loop.news_first; this and what follows is loop.c's */
    bool is_news, is_told;        /* ... and its end was told */
    uint64_t told_output[2];      /* bytes of output that were told */
};

/* A thread that waits for a REPLY; lives on its stack. */
struct pc_question {
    struct pc_question *next;
    uint64_t sequence;
    struct pc_msg *msg; /* once is_sent */
    struct pc_msg *reply;
    bool is_sent;
    bool is_lost; /* the scheduler was started again, and asking twice could do it twice */
};

struct pc_loop;

struct pc_client {
    pthread_mutex_t lock;
    pthread_cond_t filed; /* something was filed, or there is no reader now */
    pthread_cond_t ended; /* for pc_next_ended */
    _Atomic uint32_t refs;
    struct pc_birthmark birthmark;

    struct pc_sock sock;
    int wake_fd; /* ends the reader's poll */
    bool is_reading, is_sending;
    bool reader_writes;     /* ... and waits until it can write, too */
    bool background_reads;  /* the reader is a thread in pc_next_ended */
    bool background_sleeps; /* it waits without a limit: signal `ended` to rouse it */
    bool is_woken;
    _Atomic bool lingers; /* submissions are queued that nobody is sending */
    int64_t written_us;   /* when something was written last */
    int polling;          /* threads in poll() on the socket, without the lock */
    int waiting;          /* threads waiting on `filed` */
    int wants_reading;    /* of those, the ones the background thread makes room for */
    int64_t read_ms;      /* when a thread that waits for its call last read */
    int64_t took_ms;      /* when any thread did */
    uint64_t filed_count; /* messages so far */

    struct pc_lifeline lifeline; /* of the session; used when grace_ms is not 0 */
    struct pc_connfile file;
    enum pc_transport transport;
    char token[64];           /* the session's secret */
    int grace_ms;             /* how long a connection may be away; 0: not at all */
    bool is_cut;              /* the connection broke, and may come back ... */
    struct pc_err cut_why;    /* ... because of that */
    int64_t cut_until_ms;     /* then it is lost */
    int64_t try_ms, pause_ms; /* the next attempt, and how long to wait after that */

    uint64_t session, sequence;    /* the next call's number */
    struct pc_index calls;         /* all that live; see keep.c */
    struct pc_call *pending_first; /* in the order of submission; owns a reference to each */
    struct pc_call *kept_first;    /* likewise; the oldest first */
    size_t pending, kept_count;
    size_t awaited; /* pending calls that are announced */
    uint64_t kept_bytes;
    bool keeps_results;
    uint64_t pending_bytes, window_bytes;
    size_t window_count;
    bool takes_durable;    /* as WELCOME says: durable tasks are possible ... */
    bool all_durable;      /* ... and all are that can be */
    struct pc_known known; /* functions that the controller has */
    struct pc_buf acks;    /* of results received and not yet acknowledged */
    uint64_t acked_bytes;
    struct pc_call *ended_first, *ended_last; /* announced and ended */
    struct pc_question *questions;
    struct pc_roster roster;

    struct pc_loop *loop; /* NULL: the program has none; see loop.h */

    struct pc_err lost; /* code PC_OK while connected */
    char goodbye[256];  /* what the controller said when it left */
    char address[600];
    char *info;
};

struct pc_function {
    _Atomic uint32_t refs;
    struct pc_msg *msg; /* FUNCTION */
};

struct pc_client *pc_client_ref(struct pc_client *client);
void pc_client_unref(struct pc_client *client);
void pc_client_wake_reader(struct pc_client *client);

/* ---- all of these are called under the client's lock, but pc_client_enter ---- */

/* Takes the lock; PC_E_FORKED in a forked child. */
int pc_client_enter(struct pc_client *client, struct pc_err *err);
void pc_client_leave(struct pc_client *client);
/* Monotonic milliseconds; -1 (no limit) for a negative timeout. */
int64_t pc_deadline_after(int timeout_ms);

/* call.c */
struct pc_call *pc_call_new(struct pc_client *client, uint64_t sequence, uint64_t bytes);
/* Takes the reference to `result`. */
void pc_client_end_call(struct pc_client *client, struct pc_call *call, struct pc_msg *result,
                        const struct pc_result_body *body);
void pc_client_announce(struct pc_client *client, struct pc_call *call);
/* pc_call_unref for who has the lock. */
void pc_call_drop(struct pc_call *call);
/* Of a call that is in no table. */
void pc_call_free(struct pc_call *call);

/* keep.c */
/* Nobody holds this call any more. True: it is the caller's to free; false: it is kept. */
bool pc_client_release(struct pc_client *client, struct pc_call *call);
/* Gives up all that are kept; from now on none is. */
void pc_client_drop_kept(struct pc_client *client);

/* resume.c */
/* The connection broke: it may come back, or is lost. */
void pc_client_cut(struct pc_client *client, const struct pc_err *why);
/* Queues a message, or keeps it for the next connection. -1: out of memory. */
int pc_client_queue(struct pc_client *client, struct pc_msg *msg);
/* In place of pc_client_read_turn while the connection is cut: tries to connect again. */
int pc_client_reconnect_turn(struct pc_client *client, int64_t deadline_ms, struct pc_err *err);

/* repeat.c */
/* The scheduler was started again: `welcome` is its word to a session that it does not know. Queues
 * all that has not ended once more. -1: out of memory. */
int pc_client_repeat(struct pc_client *client, const pc_json *welcome);
/* Drops what a call keeps for that. */
void pc_call_drop_request(struct pc_call *call);

/* filing.c */
void pc_client_lose_connection(struct pc_client *client, const struct pc_err *why);
void pc_client_lose(struct pc_client *client, enum pc_errc code, const char *text);
int pc_client_lost_error(const struct pc_client *client, struct pc_err *err);
void pc_client_send_acks(struct pc_client *client);
int pc_client_file_all(struct pc_client *client);
int pc_client_take_in(struct pc_client *client);
int pc_client_write_out(struct pc_client *client);

/* waiting.c */
/* Takes back what woke the reader. */
void pc_client_take_wake(struct pc_client *client);
int pc_client_poll(struct pc_client *client, struct pollfd *polled, nfds_t count, int timeout_ms);
int pc_client_read_turn(struct pc_client *client, int64_t deadline_ms, struct pc_err *err);
int pc_client_wait_turn(struct pc_client *client, int64_t deadline_ms, struct pc_err *err);
struct pc_call *pc_client_take_ended(struct pc_client *client);

/* ask.c */
/* The ABORT of these calls, or with none of what runs on the engine. NULL: out of memory. */
struct pc_msg *pc_client_abort_message(struct pc_client *client, struct pc_call *const *calls,
                                       size_t count, unsigned flags, uint32_t engine_id);
/* fetch.c */
/* The question for what this fetched call stands for, but for what has come of it. NULL: out of
 * memory. */
struct pc_msg *pc_client_fetch_message(const struct pc_call *call);

/* request.c */
int pc_request_check(const struct pc_request *request, struct pc_err *err);
/* Whether it is to be durable: 1, 0; -1: it can't be. */
int pc_request_durable(const struct pc_client *client, const struct pc_request *request,
                       struct pc_err *err);

/* submit.c */
/* From WELCOME or WINDOW. */
void pc_client_set_window(struct pc_client *client, const pc_json *json);
int pc_client_send_all(struct pc_client *client);
/* Queues the function (NULL: none) unless the controller has it. -1: out of memory. */
int pc_client_send_function(struct pc_client *client, const struct pc_function *function);
int pc_client_register_calls(struct pc_client *client, const struct pc_request *request,
                             struct pc_call **calls, size_t count, uint64_t bytes,
                             struct pc_err *err);
int pc_client_wait_to_send(struct pc_client *client, uint64_t bytes, size_t count, bool never_waits,
                           struct pc_err *err);

#endif
