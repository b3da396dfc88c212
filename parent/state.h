/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of the supervisor; only for the files of this room.
 *
 * A reader should think of three children that may each be starting, working or gone, and of one
 * state for the whole: starting until everything answered, then ready, then stopping until the last
 * child is gone. Everything that goes wrong leads to parent_fail, everything that ends to
 * parent_stop; nothing else ends a child. A child that dies in between is started again.
 */
#ifndef PC_PARENT_STATE_H
#define PC_PARENT_STATE_H

#include <sys/types.h>

#include "lib/conn.h"
#include "lib/json.h"
#include "lib/proto.h"
#include "parent/cgroup.h"
#include "parent/engines.h"
#include "parent/files.h"
#include "parent/losses.h"
#include "parent/parent.h"
#include "parent/service.h"
#include "parent/tell.h"

/* A client's order to start engines, until they are there. Owned by parent.starts. */
struct parent_order {
    uint64_t session, sequence; /* of the QUERY */
    uint32_t count, left;
    struct parent_order *next, *prev;
};

/* Engines that ended by themselves and are started again. */
struct parent_restarts {
    uv_timer_t timer;
    uint32_t waiting; /* to be started when it fires */
    uint32_t deaths;  /* in the minute that began at: */
    int64_t since_ms;
    uint64_t done; /* ever */
};

enum parent_state { PARENT_STARTING, PARENT_READY, PARENT_STOPPING, PARENT_ENDED };

struct parent;

/* One child process and the connection to it. It is gone when both are. For the engines of a host
 * the scheduler is such a "child", too: a connection only, to a process somewhere else. */
struct parent_role {
    const char *name;
    uint32_t sender; /* what it may send: PC_FROM_SCHED ... */
    struct parent *parent;
    pid_t pid; /* 0: no process (any more) */
    pid_t last_pid;
    int wait_status;
    bool has_conn;
    bool is_remote; /* no process of ours */
    bool is_ready;
    bool is_told;  /* to stop */
    bool has_told; /* us to stop: a controller elsewhere */
    bool is_cut;   /* the connection broke; to a controller elsewhere it may be opened again */
    char *failure; /* what it said in FAILED */
    struct pc_conn conn;
    uv_timer_t linger;
    int handover_fd; /* our end, see lib/link.h; -1: none */
    /* Starts it once more; NULL: the cluster ends with it. */
    int (*restart)(struct parent *parent, struct pc_err *err);
    uv_timer_t restart_timer;
    int death_count; /* in the minute that began at: */
    int64_t deaths_since_ms;
    struct pc_lifeline lifeline; /* to a controller elsewhere */
};

/* The connection to a controller elsewhere, while it is opened again; see rejoin.c. */
struct parent_rejoin {
    char token[64];
    int64_t grace_ms, until_ms; /* until_ms 0: it is well */
    uint64_t pause_ms;
    uv_timer_t timer;
};

struct parent {
    const struct parent_options *options;
    enum parent_state state;
    struct parent_files files;
    struct parent_tell tell;
    struct parent_engines engines;
    struct parent_service service;
    uint32_t configured_count; /* engines, as the settings said last */
    bool has_new_keys;         /* that the scheduler was told, and that are in no file */
    struct parent_order *starts;
    char home[33]; /* uuid of this parent: the home of its engines */
    const char *log_level;
    char python[1024];
    char log_path[1200]; /* in the background */
    uv_timer_t log_timer;
    struct parent_cgroup cgroup;
    int64_t open_files; /* the user's soft limit, before it was raised for the roles */
    char address[1100]; /* without a controller: where ours is */
    int64_t begun_us;
    int64_t begun_wall_us;

    uv_loop_t loop;
    struct pc_conns conns;
    uv_signal_t on_sigint, on_sigterm, on_sighup, on_sigchld;
    uv_poll_t on_end_with;
    uv_poll_t on_command; /* in the foreground, that waits for us; data NULL: none */
    int end_with_fd;      /* pidfd of options->end_with; -1: none */
    uv_timer_t stop_timer, start_timer, end_timer;
    struct parent_role scheduler, hub, nursery;
    struct parent_rejoin rejoin;
    int tcp_fd, unix_fd;
    int journal_fds[2]; /* memory in which the hub writes down what it must not forget; -1: none */

    struct parent_losses losses;
    struct parent_restarts restarts;

    int stop_rounds;
    bool is_leaving;         /* the scheduler was told that everybody else has left */
    bool is_hurried;         /* told to stop twice: nobody is waited for */
    bool has_other_children; /* of the program that became this one by exec */
    int exit_code;
    char *failure; /* told at the end, when the cluster never was ready */
};

/* ---- parent.c --------------------------------------------------------------------------- */

/* Something that the cluster can't go on without is wrong: stops it with exit code 1. Before the
 * cluster is ready the text is for the user, afterwards for the log. */
void parent_fail(struct parent *parent, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Where no --log-level says otherwise: whoever watches a terminal needs less than a log. */
const char *parent_default_log_level(const struct parent *parent);
/* Called with every answer; says "ready" when the last one came. */
void parent_check_ready(struct parent *parent);

/* ---- start.c ---------------------------------------------------------------------------- */

/* Listeners and roles, or the connection to a controller elsewhere. */
int parent_start(struct parent *parent, struct pc_err *err);
/* These three once more. */
int parent_start_nursery(struct parent *parent, struct pc_err *err);
int parent_start_scheduler(struct parent *parent, struct pc_err *err);
int parent_start_hub(struct parent *parent, struct pc_err *err);
/* What they are told again while they work; the nursery all that it was told first. */
pc_json *parent_keys_config(const struct parent *parent);
pc_json *parent_nursery_config(const struct parent *parent);
/* Without a controller: what says where ours is. */
int parent_read_engine_file(struct parent *parent, struct pc_err *err);

/* ---- lifetime.c ------------------------------------------------------------------------- */

/* Finds the process that the cluster is to end with; call before it can have ended unnoticed. */
int parent_lifetime_find(struct parent *parent, struct pc_err *err);
int parent_lifetime_watch(struct parent *parent, struct pc_err *err);
/* The command is told the last that it will hear. */
void parent_lifetime_tell(struct parent *parent);

/* ---- rejoin.c --------------------------------------------------------------------------- */

/* Connects to a controller elsewhere. */
int parent_join_controller(struct parent *parent, struct pc_err *err);
/* The connection to it broke: opens it again. False: it is over. */
bool parent_rejoin_begin(struct parent *parent);

/* ---- reload.c --------------------------------------------------------------------------- */

void parent_reload(struct parent *parent);
/* The scheduler goes by the keys that it was told last. */
void parent_keys_hold(struct parent *parent);

/* ---- roles.c ---------------------------------------------------------------------------- */

void parent_role_init(struct parent *parent, struct parent_role *role, const char *name,
                      uint32_t sender);
/* Starts the process and connects to it; more_fds follow its end of the connection, and those its
 * end of a handover socket, unless it is the nursery. */
int parent_role_start(struct parent_role *role, int death_signal, const int *more_fds,
                      int more_count, struct pc_err *err);
/* Takes over a connection to a process that is not ours. */
int parent_role_join(struct parent_role *role, struct pc_sock *sock, struct pc_err *err);
void parent_role_send(struct parent_role *role, uint8_t type, pc_json *body);
/* Hands over a descriptor that leads to `other`; a role that is gone gets nothing. */
void parent_role_link(struct parent_role *role, const struct parent_role *other, int fd);
bool parent_role_exists(const struct parent_role *role);
void parent_role_exited(struct parent_role *role, int wait_status);
void parent_role_kill(struct parent_role *role);
/* "the hub (pid 7) was killed by signal 9 (SIGKILL)" */
void parent_role_death(const struct parent_role *role, char *text, size_t size);
/* "was killed by signal 9 (SIGKILL)" or "ended with exit code 1" */
void parent_end_text(int signal, int code, char *text, size_t size);

/* ---- messages.c ------------------------------------------------------------------------- */

/* 0, or -1: the role broke the protocol. */
int parent_take_message(struct parent_role *role, struct pc_msg *msg, struct pc_err *err);

/* ---- orders.c --------------------------------------------------------------------------- */

/* So many more, with the answer to `query` (NULL: none is wanted) when they are there. */
int parent_start_engines(struct parent *parent, uint32_t count, const struct pc_msg *query,
                         struct pc_err *err);
/* The nursery has forked one of those that are wanted, or could not. */
void parent_engine_spawned(struct parent *parent);
void parent_engines_missing(struct parent *parent, uint32_t count, const char *why);
/* It has ended as it was told to. True: another one takes its place. */
bool parent_engine_ended(struct parent *parent, bool was_wanted);
/* Of those that were being started none will come. */
void parent_starts_failed(struct parent *parent, const char *why);
/* Answers a client: well (takes `reply`), or not. */
void parent_reply(struct parent *parent, uint64_t session, uint64_t sequence, pc_json *reply);
void parent_refuse(struct parent *parent, uint64_t session, uint64_t sequence, const char *why);
/* END and SIGNAL of the scheduler. */
int parent_end_some(struct parent *parent, const pc_json *order, struct pc_err *err);
void parent_signal_some(struct parent *parent, struct pc_msg *order);

/* So many engines, now or when there is a nursery. */
int parent_spawn(struct parent *parent, uint32_t count, struct pc_err *err);

/* ---- restart.c -------------------------------------------------------------------------- */

void parent_restarts_init(struct parent *parent);
/* Nothing that waits is started. */
void parent_restarts_stop(struct parent *parent);
/* An engine ended by itself; has_failed: not with exit code 0. True: another takes its place. */
bool parent_restart_engine(struct parent *parent, bool has_failed);

/* ---- death.c ---------------------------------------------------------------------------- */

/* The process has been reaped and its connection has said its last. */
void parent_role_gone(struct parent_role *role);
/* Ends with all their children the engines that a nursery left. */
void parent_end_engines(struct parent *parent, const char *why);
void parent_kill_group(uint32_t pid);
/* To a scheduler that was started again: those of which the one before has not said that they are
 * down. */
void parent_report_ends(struct parent *parent);
/* After SIGCHLD: takes note of our roles, and buries the orphans of engines. */
void parent_reap(struct parent *parent);

/* ---- stop.c ----------------------------------------------------------------------------- */

/* Begins the orderly end; repeatable. */
void parent_stop(struct parent *parent, const char *reason);
/* The hub died before it was told to: another one writes what is in the journal and on the way. */
void parent_stop_with_hub(struct parent *parent);
/* Stops waiting for those who don't end. */
void parent_stop_now(struct parent *parent);
/* One of them is gone: goes on with the next, or is done. */
void parent_stop_step(struct parent *parent);

#endif
