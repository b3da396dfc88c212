/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the scheduler knows. One struct sched per process; every object in it is owned by the
 * table or list that its comment names.
 *
 *   knock ---> peer ---> client | engine lane | host
 *   a connection that        one that has said HELLO
 *   has proved nothing yet
 */
#ifndef PC_SCHED_STATE_H
#define PC_SCHED_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include <uthash.h>
#include <uv.h>

#include "lib/buf.h"
#include "lib/conn.h"
#include "lib/index.h"
#include "lib/json.h"
#include "lib/key.h"
#include "lib/link.h"
#include "lib/log.h"
#include "lib/preamble.h"
#include "lib/proto.h"
#include "lib/proto_record.h"
#include "lib/proto_task.h"
#include "sched/begun.h"
#include "sched/group.h"
#include "sched/ledger.h"
#include "sched/more.h"

#define SCHED_UUID_SIZE  16
#define SCHED_TOKEN_SIZE 16

/* Acknowledgements travel with the next RUN, or alone when there are so many. */
#define SCHED_ACK_COUNT 32
#define SCHED_ACK_BYTES (1024 * 1024)
/* Calls sent ahead to an engine that were addressed to it: it never waits for the wire. */
#define SCHED_DIRECT_AHEAD 16
/* Balanced tasks outstanding per engine, unless CONFIG or the user says otherwise. */
#define SCHED_HWM 1
/* Beyond that limit, to an engine whose last results took no time: see ahead.c. */
#define SCHED_AHEAD           8 /* tasks outstanding then, and more that are shorter */
#define SCHED_AHEAD_MOST      32
#define SCHED_AHEAD_WAKE_US   50  /* what it takes to wake an engine up, about */
#define SCHED_AHEAD_AFTER     4   /* results in a row ... */
#define SCHED_AHEAD_US        100 /* ... of which none took longer */
#define SCHED_AHEAD_RECALL_MS 5   /* without a result, until they are called back */
/* A client may have that much submitted and unfinished, likewise. */
#define SCHED_WINDOW_COUNT 1000000
#define SCHED_WINDOW_BYTES (INT64_C(1) << 30)
/* A client that has more than this queued for it is slow: output towards it waits. */
#define SCHED_SLOW_BYTES (1024 * 1024)
/* After an engine's connection broke: time for the report that says why. */
#define SCHED_EXIT_WAIT_MS 50
/* After it was told to leave, or killed: time for the report that says what it had begun. */
#define SCHED_KILL_WAIT_MS 1000
/* A task that was interrupted has that long until its engine is ended. */
#define SCHED_INTERRUPT_GRACE_MS 5000
/* Requests and results up to this size are sent to the hub, unless CONFIG says otherwise. */
#define SCHED_KEEP_BYTES (64 * 1024)
/* What the hub was told and does not have yet may take that much memory, unless CONFIG says
 * otherwise. */
#define SCHED_LEDGER_BYTES (128 * 1024 * 1024)
/* When an engine is gone that is replaced: so long tasks wait for that one to come. */
#define SCHED_COMING_MS 10000
/* Beats without an answer before an engine counts as dead. */
#define SCHED_BEATS_MISSED 4

struct sched;
struct client;
struct engine;
struct home;

/* One whose connection broke, and that may come back: see away.c. Embedded in one of these. */
struct away {
    bool is_away;
    int64_t until_ms;
    struct client *client;
    struct engine *engine;
    struct home *home;
    struct away *next, *prev; /* in sched.away */
};

/* The parent process of engines: ours, or one on another machine. It alone can start engines and
 * signal their processes. Embedded in sched, or owned by the peer. */
struct home {
    uint8_t uuid[SCHED_UUID_SIZE];
    char host[256];
    int64_t pid;
    struct peer *peer; /* NULL: ours, or it is away */
    struct away away;
    struct pc_lifeline lifeline;
    pc_json *chosen; /* uuids for the order that is being put together */
    unsigned chosen_count;
    struct home *next, *prev; /* in sched.homes */
};

/* One accepted connection that has said HELLO. Embedded conn; freed in its on_closed. */
struct peer {
    struct pc_conn conn;
    struct sched *sched;
    enum pc_sender sender;    /* what it may send */
    struct client *client;    /* PC_FROM_CLIENT; NULL once detached */
    struct engine *engine;    /* PC_FROM_CONTROL, PC_FROM_WORK; NULL once detached */
    struct home *home;        /* PC_FROM_HOST */
    struct peer *next, *prev; /* in sched.hosts when PC_FROM_HOST, else in sched.strangers */
    char name[64];            /* for log lines */
};

/* What follows what is in task.c, and drawn in doc/TASKS.md. */
enum task_state {
    TASK_WAITING,  /* for other tasks, or for nothing but to be placed */
    TASK_READY,    /* in a lane of its group, or in its engine's queue */
    TASK_ASSIGNED, /* sent to its engine, in engine.running, not the first there */
    TASK_RUNNING,  /* the first in engine.running */
    TASK_LOST,     /* its engine is gone; the next step follows at once */
    TASK_DONE,     /* from here on it is over: its result went to the client, */
    TASK_FAILED,   /* ... which has not acknowledged it */
    TASK_ABORTED,
};

struct task_key {
    uint64_t session;
    uint64_t sequence;
};

/* Owned by sched.tasks. */
struct task {
    struct task_key key;
    struct client *client;
    struct engine *engine;    /* NULL while it waits for any engine, or when that one is gone */
    struct group *group;      /* of a balanced task: where it may run; NULL when it is over */
    struct lane *lane;        /* of its group, while it waits there */
    struct pc_msg *request;   /* the submission, shared by all its tasks; NULL when it is over */
    struct pc_msg *function;  /* FUNCTION, when it was named; NULL when it is over */
    struct task *next, *prev; /* in the list that its state names */
    struct task *client_next, *client_prev; /* in client.tasks */
    struct edge *dependents;                /* what waits for its end */
    struct more *more;                      /* NULL: a plain task */
    struct pc_msg *unread; /* its result, too large to be recorded, until the client has it */
    int64_t submitted_us;
    int64_t sent_ms; /* to its engine, by the clock of the loop */
    uint64_t result_bytes;
    int32_t priority; /* larger: earlier */
    uint32_t starts;  /* of a durable one: how often it was given to an engine */
    uint32_t run;     /* the number of its RUN, see engine.runs */
    uint8_t kind, run_flags;
    uint8_t state; /* enum task_state */
    bool is_balanced, is_aborted;
    bool is_start_known; /* to the hub */
    bool was_spared;     /* its engine ended before it began */
    bool is_again;       /* the hub submitted it, on behalf of its client, or it came once more */
    bool is_repeated;    /* an earlier scheduler knew it, perhaps */
    bool has_output_gap; /* the hub was not sent all of it */
    bool is_durable;
    bool is_held;       /* ... and waits until it is on disk: nothing is done with it before */
    bool waits_for_hub; /* over while its client was not there: the hub will say that it has it */
};

/* What a client has submitted that has not ended, and the most that it was told it may. */
struct window {
    uint64_t count, bytes;
    uint64_t told_count, told_bytes;
};

/* A client's session. Lives until it has left and its last task has ended. */
struct client {
    uint64_t session;
    UT_hash_handle hh; /* sched.clients */
    struct peer *peer; /* NULL: away, or it has left */
    struct away away;
    struct pc_lifeline lifeline;
    struct task *tasks; /* all of its tasks, also those that are over */
    struct window window;
    struct question *questions; /* to the hub, not answered */
    struct question *unasked;   /* the first of them that it was not asked (again) */
    unsigned fetching;          /* tasks that it was asked for, see questions.c */
    struct engine *stalled;     /* engines whose output credit waits for this client to read */
    struct pc_known functions;  /* that it has sent, with the FUNCTION */
    bool is_returning;          /* an earlier scheduler knew it, and RESUMED has not come, ... */
    bool has_returned;          /* ... or has */
    bool has_left;              /* ... it had left before */
};

enum engine_state {
    ENGINE_ASKING, /* control lane open, the hub is asked for an id */
    ENGINE_HALF,   /* it has an id, the work lane is missing */
    ENGINE_UP,
    ENGINE_LEAVING, /* told to: it takes nothing more */
    ENGINE_LOST,    /* a lane broke; waiting for the report that says why */
};

/* Owned by sched.engines_by_uuid. */
struct engine {
    uint8_t uuid[SCHED_UUID_SIZE];
    uint8_t home[SCHED_UUID_SIZE]; /* as it says: it only has itself to lose */
    UT_hash_handle hh_uuid;
    uint32_t id; /* PC_NO_ENGINE while ASKING */
    UT_hash_handle hh_id;
    struct sched *sched;
    enum engine_state state;
    struct peer *control, *work;
    struct pc_lifeline control_line, work_line;
    struct away away; /* while it is: one of its lanes is missing, or both */
    pc_json *about;   /* {id, pid, host, python, uuid}, as told to clients */
    int64_t heard_ms;
    bool is_unreported; /* an earlier scheduler knew it, and HELD has not come */
    uint32_t offered;   /* results that came before */

    char tags[PC_TAGS_MAX + 1];
    struct member *members; /* the groups it is in */
    struct load load;       /* tasks in `running`, and when the last was given */
    bool is_free;           /* can take a balanced task */

    struct task *queue;     /* addressed to it, READY */
    struct task *running;   /* RUNNING, then ASSIGNED, oldest first */
    struct task *delivered; /* over: it keeps their results until they are acknowledged */

    struct pc_known functions; /* that it has */
    uint32_t runs;             /* sent so far, modulo 2^32 */
    uint32_t recalled;         /* the first of those that were called back */
    bool is_recalling;         /* no answer has come yet: it gets nothing meanwhile */
    uint8_t quick_count;       /* results in a row that took no time, up to SCHED_AHEAD_AFTER */
    uint8_t quick_limit;       /* tasks outstanding when that is reached */
    uint32_t quick_us;         /* the longest of late */
    int64_t progress_ms;       /* when its first task became that */
    bool is_ahead;             /* in sched.ahead */
    struct engine *ahead_next, *ahead_prev;

    bool has_starts; /* in sched.starting */
    struct engine *starting_next, *starting_prev;

    struct pc_buf acks;
    uint64_t acked_bytes;

    uint64_t owed;             /* output that was passed on and not credited yet */
    struct client *stalled_on; /* in that client's stalled list */
    struct engine *stalled_next, *stalled_prev;

    uv_timer_t exit_timer;
    bool has_exited;     /* the report came ... */
    int64_t reported_ms; /* ... then */
    bool knows_begun;    /* ... and it says to which RUN the engine had come */
    uint32_t begun;
    bool is_killed;    /* by us: `why` says why */
    bool is_dismissed; /* ... because a client wanted it */
    char why[1536];    /* why it is gone */
};

/* See keys.c. An even number of them. */
#define SCHED_KEYS_MAX        16
#define SCHED_KEYS_OVERLAP_MS 5000 /* as long as a knock lives */

struct known_key {
    uint8_t key[PC_KEY_SIZE]; /* the public one */
    bool is_client;           /* else an engine's, or a host's */
    int64_t until_ms;         /* when new peers can't use it any more; 0: it is in force */
};

struct knock;
struct claim;

struct sched {
    uv_loop_t loop;
    struct pc_conns conns;
    struct pc_conn parent;
    struct pc_link hub;
    int handover_fd; /* -1: none */
    struct ledger ledger;
    struct question *questions; /* of clients, to the hub, not answered */
    bool is_hub_missed;         /* it has been away for longer than they wait */
    bool is_configured, is_listening, is_stopping;
    bool is_leaving; /* ... and only the hub is not done */
    bool parent_is_gone;
    uv_timer_t beat_timer, record_timer, knock_timer, stop_timer, hub_timer;

    /* identity */
    char cluster_id[128], profile[128];
    uint8_t instance[PC_INSTANCE_SIZE];
    uint8_t private_key[PC_KEY_SIZE];
    struct known_key keys[SCHED_KEYS_MAX]; /* in force, then older and older ones */
    unsigned key_count;
    int64_t controller_pid;
    unsigned heartbeat_ms;
    int64_t beat_ms; /* when engines were last looked at */

    /* sessions */
    uint8_t token_key[32];
    unsigned grace_ms; /* how long who was cut off may stay away; 0: not at all */
    struct away *away; /* the first to be given up comes first */
    uv_timer_t away_timer;

    /* listeners and who knocks */
    uv_poll_t unix_poll, tcp_poll;
    int unix_fd, tcp_fd, spare_fd;
    struct knock *knocks; /* oldest first */
    unsigned knock_count; /* those over TCP */
    int64_t busy_logged_ms;
    struct pc_log_limit stranger_limit;

    struct peer *strangers; /* connected, answered with REFUSED or waiting for the hub */
    struct peer *hosts;
    struct home home, *homes; /* our parent's, and all */
    struct client *clients;
    struct engine *engines_by_uuid, *engines_by_id;
    struct pc_index tasks; /* struct task */

    /* balanced tasks */
    struct group *groups;
    struct group *everybody; /* without restriction */
    struct group *unmatched; /* to be matched with engines when nothing is held any more ... */
    struct heap matching;    /* ... in this order */
    unsigned held;
    struct tag_set *tag_sets;
    struct more *watched; /* of WAITING tasks that may run on some engines only */
    const struct policy *policy;
    unsigned hwm;                        /* tasks outstanding per engine; 0: no limit */
    uint64_t window_count, window_bytes; /* of each client */
    uint64_t turn;                       /* counts what is given and queued */
    uint64_t seed;
    unsigned ready_count; /* balanced, READY */
    struct engine *ahead; /* engines that may have more than hwm */
    uv_timer_t ahead_timer;
    struct coming *coming;
    uv_timer_t coming_timer;
    struct heap deadlines;
    uv_timer_t deadline_timer;
    struct edge *due; /* dependencies of what has ended, to be settled */
    bool is_settling;
    struct past_chunk *past, *past_last;

    bool is_unrecorded; /* only what must not be lost is recorded */
    struct pc_buf records, record_body;
    struct pc_buf record_kept; /* session and sequence of results in `records` that must be kept */
    struct engine *starting;   /* engines with tasks whose start the hub does not know */
    struct pc_known hub_functions; /* that were sent to the hub */
    uint64_t keep_bytes;           /* larger requests and results are not sent to the hub */

    /* in place of an earlier scheduler; see again.c */
    bool is_successor;
    bool has_heritage;                    /* the hub has said whom that one knew */
    bool is_again;                        /* some engines have not reported */
    unsigned unreported, lost_unreported; /* these, and those that are gone without */
    struct claim *claims;

    /* durable tasks */
    bool takes_durable; /* they are possible */
    bool all_durable;   /* all are, that can be */
    bool has_revived;   /* those of an earlier life have all come from the hub */
    uint64_t revived;   /* up to this one of them */
    struct begun begun;
};

/* ---- face.c: from an accepted descriptor to a peer ---- */
int face_listen(struct sched *sched, struct pc_err *err);
void face_close(struct sched *sched);

/* ---- hello.c: what a peer's HELLO makes of it ---- */
/* Takes over the descriptor of an authenticated peer (static_key NULL when it is not encrypted: on
 * the Unix socket the kernel vouched for it) whose wire holds the bytes of its HELLO. */
void hello_accept(struct sched *sched, struct pc_sock *sock, const uint8_t *static_key,
                  const char *name);
void hello_refuse(struct peer *peer, const char *code, const char *text);

/* ---- keys.c: who may come in ---- */
/* From CONFIG: the keys in force from now on; those before become known ones. */
int keys_take(struct sched *s, const pc_json *config, struct pc_err *err);
/* NULL: not ours. */
const struct known_key *keys_find(const struct sched *s, const uint8_t key[PC_KEY_SIZE]);
/* It was replaced, and only its clients that were here already may use it. */
bool key_is_over(struct sched *s, const struct known_key *known);

/* ---- peers.c: messages of clients, engines and hosts ---- */
extern const struct pc_conn_events peer_events;
void peer_detach(struct peer *peer, const char *why);

/* ---- away.c: who was cut off and may come back ---- */
enum token_kind { TOKEN_CLIENT = 'c', TOKEN_ENGINE = 'e', TOKEN_HOST = 'h' };
void token_key_make(struct sched *sched);
/* The secret of the client, engine or host of this name, as text: what its HELLO has to show. */
void token_put(const struct sched *sched, enum token_kind kind, const void *name, size_t size,
               pc_json *welcome);
bool token_is_right(const struct sched *sched, enum token_kind kind, const void *name, size_t size,
                    const pc_json *hello);
/* To a peer that may be away (NULL). Takes msg. */
void session_send(struct peer *peer, struct pc_lifeline *lifeline, struct pc_msg *msg);
void client_send(struct client *client, struct pc_msg *msg);
/* Over its control lane; dropped when it is on its way out. Takes msg. */
void engine_tell(struct engine *engine, struct pc_msg *msg);
/* Its connection broke. */
void away_client(struct sched *sched, struct client *client);
void away_engine(struct engine *engine);
void away_home(struct sched *sched, struct home *home);
void away_client_back(struct sched *sched, struct client *client);
/* It is back, or given up. */
void away_end(struct sched *sched, struct away *away);

/* An earlier scheduler knew it. */
void away_begin_client(struct sched *sched, struct client *client);

/* ---- again.c: in place of a scheduler that was killed ---- */
/* Asks the hub who was there. */
void again_ask(struct sched *sched);
/* True: `reply` was the answer, and from now on they may come. */
bool again_answered(struct sched *sched, const struct pc_msg *reply);
void again_fini(struct sched *sched);
/* What nobody has spoken of by now has ended, or is lost: of this session, or of clients that are
 * not there (0). And the answer of the hub. */
void again_settle(struct sched *sched, uint64_t session);
void again_settled(struct sched *sched, const pc_json *reply);
/* RESULT and HELD of an engine that has not reported. */
int again_result(struct engine *engine, struct pc_msg *msg, struct pc_err *err);
int again_held(struct engine *engine, struct pc_msg *msg, struct pc_err *err);
/* It has, or has nothing to report. */
void again_reported(struct engine *engine);
void again_engine_gone(struct engine *engine);
/* RESUMED. */
int again_resumed(struct sched *sched, struct client *client, const struct pc_msg *msg,
                  struct pc_err *err);
/* It will not come back. */
void again_client_lost(struct sched *sched, struct client *client);
/* Whether an engine has the result of this task, of which nobody else has spoken; then that is the
 * end of it. */
bool again_is_claimed(struct sched *sched, const struct task_key *key);
void again_claim(struct sched *sched, struct task *task);
/* As client_place, unless it is one that may have begun on an engine that is gone: that ends. */
void again_place(struct sched *sched, struct task *task, const struct pc_submit_body *body);
/* Whether the result of this task has to wait until its client has spoken of it; and does so. */
bool again_defers(const struct task *task);
void again_defer(struct task *task, struct pc_msg *result);
/* When all have reported what waits may begin. */
void again_check(struct sched *sched);

/* ---- clients.c ---- */
struct client *client_new(struct sched *sched, struct peer *peer, const pc_json *hello);
/* The client that HELLO names comes back. NULL, with the reason: it can't. */
struct client *client_resume(struct sched *sched, struct peer *peer, const pc_json *hello,
                             struct pc_err *err);
/* It comes back for the first time to this scheduler, which has to be told everything. */
bool client_is_new(const struct client *client);
/* It is connected, or may come back. */
bool client_is_there(const struct client *client);
void client_lost(struct sched *sched, struct client *client);
/* Its connection broke: the hub gets the results that it may not have, and that are recorded only
 * without their content. */
void client_keep_unread(struct sched *sched, struct client *client);
/* Frees a disconnected client without tasks. */
void client_check(struct sched *sched, struct client *client);
int client_submit(struct sched *sched, struct client *client, struct pc_msg *msg,
                  struct pc_err *err);
int client_function(struct client *client, struct pc_msg *msg, struct pc_err *err);
int client_ack(struct sched *sched, struct client *client, struct pc_msg *msg, struct pc_err *err);
/* The hub has this result, which nobody else has. */
void client_stored(struct sched *sched, uint64_t session, uint64_t sequence);
/* The hub submits for a client again what was submitted before. */
void client_resubmit(struct sched *sched, struct pc_msg *msg);
int client_abort(struct sched *sched, struct client *client, struct pc_msg *msg,
                 struct pc_err *err);
/* The query `abort`. */
pc_json *abort_answer(struct sched *sched, struct client *client, const pc_json *query);
int client_query(struct sched *sched, struct client *client, struct pc_msg *msg,
                 struct pc_err *err);
/* The question goes to the parent, which answers it. */
void client_ask_parent(struct sched *sched, struct client *client, const struct pc_msg *msg);
void client_drained(struct sched *sched, struct client *client);
/* To every client, host, the hub and the parent. */
void clients_tell_engines(struct sched *sched, pc_json *engines);
/* The ENGINES message with every engine that is up. */
struct pc_msg *engines_list(struct sched *sched);

/* What the hub had of a client that is not there. */
int client_revive(struct sched *sched, struct pc_msg *submit, struct pc_err *err);
/* A task that came once more: if an engine has its result it ends, and true is returned. */
bool client_takes_claim(struct sched *sched, struct task *task, const struct pc_submit_body *body);
/* The balanced task goes its way: `body` is that of its request. */
void client_place(struct sched *sched, struct task *task, const struct pc_submit_body *body);
/* The client of this session; if there is none, one that has left. */
struct client *client_of_past(struct sched *sched, uint64_t session);

/* ---- durable.c: tasks that are on disk before they begin ---- */
/* From CONFIG. */
void durable_configure(struct sched *sched, const pc_json *config);
/* Adds to WELCOME what is possible. */
void durable_tell(const struct sched *sched, pc_json *json);
/* Whether this submission is one; that is then said in `body`. */
bool durable_is(const struct sched *sched, struct pc_submit_body *body, bool is_again);
/* Tells its client once more that it was accepted. */
void durable_tell_accepted(struct sched *sched, const struct task *task);
/* A new one: it waits until the hub has written it. */
void durable_hold(struct sched *sched, struct task *task);
/* ACCEPTED of the hub. */
int durable_accepted(struct sched *sched, const struct pc_msg *msg, struct pc_err *err);
/* The hub stays away: ends those that wait for it. */
void durable_refuse_all(struct sched *sched, const char *why);
/* Asks the hub for those of an earlier life of the cluster, ... */
void durable_ask(struct sched *sched);
/* ... which come as SUBMIT, and then a REPLY. */
int durable_revive(struct sched *sched, struct pc_msg *submit, struct pc_err *err);
int durable_answered(struct sched *sched, const struct pc_msg *reply); /* 0 */

/* ---- engines.c ---- */
void engine_hello_control(struct sched *sched, struct peer *peer, const pc_json *hello);
void engine_hello_work(struct sched *sched, struct peer *peer, const pc_json *hello);
void engine_got_id(struct sched *sched, struct pc_msg *msg);
/* One that an earlier scheduler knew, as ENGINES has it. False: it makes no sense. */
bool engine_inherit(struct sched *sched, const pc_json *about);
void engines_ask_again(struct sched *sched);
/* A lane broke. False: it may not come back. */
bool engine_cut(struct engine *engine);
/* Ends its lanes: what still comes from it is of no use to anybody. */
void engine_detach(struct engine *engine);
struct engine *engine_find(struct sched *sched, uint32_t id);
/* By the `uuid` in what was said of it. NULL: it is not there. */
struct engine *engine_named(struct sched *sched, const pc_json *json);

/* ---- death.c: how engines go ---- */
/* Its grace time is over. */
void engine_stayed_away(struct engine *engine);
/* Why it is going, as the end of a sentence: "was killed by signal 9". */
void engine_set_why(struct engine *engine, const char *what);
void engine_set_left(struct engine *engine); /* with its home */
void engine_lane_lost(struct engine *engine, const char *why);
/* The end of an engine and of all that it had. */
void engine_finish(struct engine *engine);
/* EXITED, from one who has started engines. */
void engine_exited(struct sched *sched, struct pc_msg *msg, const struct home *from);
/* Tells it to leave; it takes nothing more. `why` as for engine_set_why. */
void engine_dismiss(struct engine *engine, const char *why, int64_t grace_ms);
void engines_beat(struct sched *sched);
void engines_shutdown(struct sched *sched, const struct pc_msg *shutdown);
void engines_drop(struct sched *sched);

/* ---- orders.c: what clients want done with engines ---- */
void homes_init(struct sched *sched, const pc_json *config);
/* A host was welcomed. False: it has no uuid of its own. */
bool home_add(struct sched *sched, struct peer *peer, const pc_json *hello);
/* One comes back; is_new: to a scheduler that knows nothing of it. False, with the reason: it
 * can't. */
bool home_resume(struct sched *sched, struct peer *peer, const pc_json *hello, bool *is_new,
                 struct pc_err *err);
void home_send(struct sched *sched, struct home *home, struct pc_msg *msg); /* takes msg */
void home_remove(struct sched *sched, struct home *home);
void homes_drop(struct sched *sched); /* at the end: those that are away */
/* It said goodbye, and ends its engines: those whose connections broke already don't come back. */
void home_leave(struct sched *sched, struct home *home);
/* The parent of the engine was there, and is not any more. */
bool home_has_left(const struct engine *engine);
/* Answers the query, or passes it on: false when it is none of ours. */
bool order_take(struct sched *sched, struct client *client, const struct pc_msg *msg,
                const pc_json *query);
/* END of a home: it should have fewer engines. -1: that was no END. */
int order_fewer(struct sched *sched, struct home *home, const struct pc_msg *msg,
                struct pc_err *err);
/* Has its parent make sure that it ends, and start another in its place. */
void order_replacement(struct engine *engine);
/* At once. False: nobody is there who could do it. */
bool order_kill(struct engine *engine);

/* ---- queue.c: which task runs where ---- */
void queue_direct(struct sched *sched, struct task *task, struct engine *engine);
void queue_balanced(struct sched *sched, struct task *task);
void queue_engine_up(struct engine *engine);
/* Takes a READY task out of where it waits. */
void queue_withdraw(struct task *task);
/* One of the tasks that an engine had ended. */
void queue_finished(struct task *task);
/* An ASSIGNED task that this engine runs already. */
void queue_attach(struct engine *engine, struct task *task);
/* Something of this engine has changed: sends it what it can take. */
void queue_advance(struct engine *engine);
/* It takes nothing more. */
void queue_engine_down(struct engine *engine);
/* Nor does one that is away, but it stays among those that tasks wait for. */
void queue_engine_away(struct engine *engine);
void queue_engine_gone(struct engine *engine);
/* The limit of tasks per engine has changed. */
void queue_set_hwm(struct sched *sched, unsigned hwm);

/* Takes a READY task back to WAITING. */
void queue_recall(struct task *task);
/* Takes back a task that its engine will not run. */
void queue_take_back(struct task *task);
/* Of a durable task: it was given to an engine once more, or that did not count (-1). */
void queue_note_start(struct sched *sched, struct task *task, int change);
/* Ends what waits for nobody any more. */
void queue_check_stranded(struct sched *sched);
/* What happens until the release is decided together, see there. */
void queue_hold(struct sched *sched);
void queue_release(struct sched *sched);

/* ---- ahead.c: short tasks are sent ahead, and called back when they turn out long ---- */
/* How many balanced tasks it may have; 0: no limit. */
unsigned ahead_limit(const struct engine *engine);
/* How many balanced tasks it gets in a row. */
unsigned ahead_portion(const struct engine *engine);
/* While it has more than the limit somebody must look whether it gets on. */
void ahead_watch(struct engine *engine);
/* It was given a task. */
void ahead_assigned(struct engine *engine);
/* A result came, which says how long it took. */
void ahead_measure(struct engine *engine, const struct pc_result_body *body);
/* Looks whom to call back from. */
void ahead_check(struct sched *sched);
/* Calls back what it has not begun from the first aborted task on. */
void ahead_aborted(struct engine *engine);
/* It was told to leave: what it has not begun is called back. */
void ahead_leaving(struct engine *engine);
/* RECALL: what the engine will not begin. */
int ahead_recalled(struct engine *engine, struct pc_msg *msg, struct pc_err *err);
void ahead_engine_gone(struct engine *engine);

/* ---- coming.c: engines that will come in place of others ---- */
/* Its parent is told to replace it. */
void coming_expect(const struct engine *engine);
void coming_engine_gone(const struct engine *engine);
/* It may be one of those. */
void coming_engine_up(const struct engine *engine);
/* Whether one of them will have these tags. */
bool coming_include(const struct sched *sched, const char *tags);
/* Looks who should have come by now. */
void coming_check(struct sched *sched);
void coming_fini(struct sched *sched);

/* ---- deps.c: who waits for whom ---- */
/* Takes in what a new task depends on, and places it if that is met. */
void deps_submit(struct sched *sched, struct task *task, const struct pc_submit_body *body);
/* Places a WAITING task if what it depends on is met, ends it if that can't be any more. */
void deps_advance(struct sched *sched, struct task *task);
/* Whether what it follows may still add to the engines on which it may run. */
bool deps_place_is_open(const struct more *more);
/* It waits for nothing any more. */
void deps_forget(struct task *task);
/* Its dependents become due ... */
void deps_ended(struct sched *sched, struct task *task, bool is_ok);
/* ... and are told. Call when the task that ended is dealt with. */
void deps_run(struct sched *sched);

/* ---- past.c: how tasks ended that are over ---- */
void past_add(struct sched *sched, const struct task *task, bool is_ok);
bool past_find(struct sched *sched, const struct task_key *key, bool *is_ok, uint32_t *engine_id);
void past_fini(struct sched *sched);

/* ---- tagsets.c: which tags there are ---- */
/* An engine came that has them. */
void tagsets_add(struct sched *sched, const char *tags);
/* Whether there was ever an engine that had all of them. */
bool tagsets_include(const struct sched *sched, const char *tags);
void tagsets_fini(struct sched *sched);

/* ---- place.c: where a balanced task may run ---- */
/* A WAITING task whose dependencies are met: gives it to an engine or queues it, or ends it. */
void place_task(struct sched *sched, struct task *task);
/* A WAITING task that still waits for others: ends it when it can't be placed afterwards, and
 * watches over it until it is placed. */
void place_watch(struct sched *sched, struct task *task);
void place_unwatch(struct sched *sched, struct task *task);
/* Ends those for which that one was the last. */
void place_engine_gone(struct sched *sched);
/* Whether a READY task belongs to another group by now, because tasks that it follows have ended.
 * If it does not it keeps its turn. */
bool place_has_moved(struct sched *sched, struct task *task);
/* Whether it waits in this group while nobody is in it. */
bool place_may_wait(struct sched *sched, const struct group *group, const struct more *more);
/* Whether it is tried again after an attempt that failed, or on an engine that does not suit it. */
bool place_may(const struct task *task, bool is_unmet);
/* Does so; `error` is the RESULT of the attempt. */
void place_again(struct sched *sched, struct task *task, struct pc_msg *error, bool is_unmet);

/* ---- timeouts.c ---- */
void timeouts_init(struct sched *sched);
void timeouts_fini(struct sched *sched);
/* Not sent to an engine by then: it ends. */
void timeouts_start_by(struct sched *sched, struct task *task, uint32_t in_ms);
/* It waits again for its first start. */
void timeouts_again(struct sched *sched, struct task *task);
void timeouts_clear(struct sched *sched, struct task *task);
/* It is the engine's first task now. */
void timeouts_running(struct sched *sched, struct task *task);
/* It was interrupted: from now on it has its grace time. */
void timeouts_told(struct sched *sched, struct task *task);
void timeouts_expire(struct sched *sched);

/* ---- settings.c: the scheme and the limit, at the start and while running ---- */
int settings_take(struct sched *sched, const pc_json *json, struct pc_err *err);
pc_json *settings_answer(struct sched *sched, const pc_json *query);

/* ---- window.c: how much a client may have under way ---- */
/* A SUBMIT of so many tasks came. -1: it may not. */
int window_take(struct client *client, const struct pc_msg *submit, uint32_t count, bool is_again,
                struct pc_err *err);
/* A task has ended; it still has its request. */
void window_give_back(const struct task *task);
/* Adds the limits to what the client is told. */
void window_tell(const struct sched *sched, struct client *client, pc_json *json);
/* New limits for all clients; they are in range. */
void windows_set(struct sched *sched, int64_t count, int64_t bytes);
int windows_check(int64_t count, int64_t bytes, struct pc_err *err);
/* What each client has under way. */
pc_json *windows_json(const struct sched *sched);

/* ---- world.c: what decisions do to others; tests of decisions have their own world ---- */
void world_run(struct engine *engine, const struct task *task);
void world_acks(struct engine *engine);
/* False: nobody records what happens. */
bool world_has_hub(const struct sched *sched);
int64_t world_now_ms(struct sched *sched);
/* timeouts_expire is called then. */
void world_wake_at(struct sched *sched, int64_t at_ms);
/* Calls back the RUNs first to engine->runs. */
void world_recall(struct engine *engine, uint32_t first);
/* ahead_check is called then. */
void world_check_ahead(struct sched *sched, unsigned in_ms);
/* engine_finish is called after that time at the latest. */
void world_await_exit(struct engine *engine, unsigned in_ms);
/* coming_check is called then. */
void world_check_coming(struct sched *sched, unsigned in_ms);
/* Ends the process of an engine; `why` as for engine_set_why. */
void world_kill(struct engine *engine, const char *why);
void world_abort(struct engine *engine, const struct task *task, uint8_t flags);
void world_result(struct client *client, struct pc_msg *msg); /* takes msg */
/* Tells a client its limits; takes json. */
void world_window(struct client *client, pc_json *json);
/* Answers a message of a client; takes json. */
void world_reply(struct client *client, const struct pc_msg *to, pc_json *json);

/* ---- task.c ---- */
struct task *task_new(struct sched *sched, struct client *client, uint64_t sequence,
                      struct pc_msg *request, const struct pc_submit_body *body);
/* NULL: its request has all of it. */
void task_set_function(struct task *task, struct pc_msg *function);
struct task *task_find(struct sched *sched, uint64_t session, uint64_t sequence);
void task_set_state(struct task *task, enum task_state state);
bool task_is_over(const struct task *task);
void task_free(struct sched *sched, struct task *task);
/* The engine may forget the result: with its next RUN, or now when much has come together. */
void task_acknowledge(struct engine *engine, const struct task *task);
void engine_acknowledge(struct engine *engine, const struct task_key *key, uint64_t bytes);
/* A task of which only the name is known. Its request may follow. */
struct task *task_new_unknown(struct sched *sched, struct client *client, uint64_t sequence);
/* Takes back the request of such a task, as far as it goes; it runs already. */
void task_learn(struct task *task, struct pc_msg *request, const struct pc_submit_body *body);
/* It was not here. */
void task_forget(struct sched *sched, struct task *task);
/* At the end, when there is no engine any more. */
void tasks_drop(struct sched *sched);
/* Sends the client this result and keeps the task until it is acknowledged. Takes `result`. */
void task_deliver(struct sched *sched, struct task *task, struct pc_msg *result);
/* Ends a task that could not be run, with an error of this name and text. */
void task_fail(struct sched *sched, struct task *task, const char *ename, const char *text);
int task_result(struct engine *engine, struct pc_msg *msg, struct pc_err *err);
/* Its engine is gone; engine->why says why. */
void task_lost(struct engine *engine, struct task *task);

/* ---- output.c ---- */
/* Something came on its work lane: tells the engine when much has. */
void output_acknowledge(struct engine *engine);
int output_forward(struct engine *engine, struct pc_msg *msg, struct pc_err *err);
void output_unstall(struct client *client);
void output_engine_gone(struct engine *engine);

/* ---- questions.c: what clients ask the hub ---- */
/* `msg` is the QUERY as the hub gets it, `query` its body. */
void question_ask(struct sched *sched, struct client *client, struct pc_msg *msg,
                  const pc_json *query);
/* REPLY, RESULT, STREAM or SUBMIT of the hub. False: nobody waits for it (any more). */
bool question_answered(struct sched *sched, const struct pc_msg *answer);
/* It has taken something in, or is back. */
void questions_advance(struct sched *sched, struct client *client);
/* The client is gone. */
void questions_forget(struct sched *sched, struct client *client);
/* The hub is gone; it is back. */
void questions_wait(struct sched *sched);
void questions_repeat(struct sched *sched);

/* ---- records.c ---- */
void records_init(struct sched *sched);
void records_submitted(struct sched *sched, const struct task *task,
                       const struct pc_submit_body *body);
void records_started(struct sched *sched, struct task *task);
/* `must_keep`: nobody else has the result; client_stored is called when the hub has it. */
void records_ended(struct sched *sched, const struct task *task, struct pc_msg *result,
                   bool must_keep);
/* The client left before it had task->unread: that is recorded after all, and must be kept. */
void records_unread(struct sched *sched, struct task *task);
/* A STREAM message. */
void records_output(struct sched *sched, struct pc_msg *output);
/* All that has happened goes to the hub now. */
void records_flush(struct sched *sched);
void records_engine_gone(struct engine *engine);

#endif
