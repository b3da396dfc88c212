/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The nursery: initialises Python once, forks engines from it, reaps them and says how they ended.
 * One thread, plain poll and no libuv, so that a fork of the initialised interpreter is sound.
 *
 * With --no-nursery the engines are started anew and this process holds no Python at all.
 */
#include "engine/py.h"

#include "engine/engine.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/children.h"
#include "engine/setup.h"
#include "engine/spawn.h"
#include "lib/clock.h"
#include "lib/dispatch.h"
#include "lib/key.h"
#include "lib/orphans.h"
#include "lib/proto.h"
#include "lib/sock.h"
#include "lib/spawn.h"

#define GRACE_DEFAULT_MS 2000
#define FORCE_AFTER_MS   400 /* from SIGTERM to SIGKILL */
#define ORPHANS_LIMIT_MS 2000
#define UUID_SIZE        16

enum state {
    RUNNING,
    STOPPING, /* engines were told to leave */
    ENDING,   /* those that are left got SIGTERM */
    KILLING,  /* those that are left got SIGKILL */
};

struct nursery {
    struct pc_sock parent;
    int signal_fd;
    struct eng_config config;
    pc_json *config_json;
    struct eng_children children;
    int thread_count; /* before there was Python: more than 1 under a sanitizer */
    unsigned wanted;  /* engines still to be started */
    enum state state;
    int64_t deadline_ms; /* of a state other than RUNNING */
};

/* The parent is gone, or there is no talking to it: nothing may stay behind. */
static _Noreturn void leave(struct nursery *n, int exit_code)
{
    eng_children_signal(&n->children, SIGKILL);
    pc_orphans_end(ORPHANS_LIMIT_MS);
    _exit(exit_code);
}

static void tell(struct nursery *n, uint8_t type, pc_json *json)
{
    struct pc_err err;
    struct pc_msg *msg = pc_json_msg(type, json);
    if (pc_sock_send(&n->parent, msg, &err))
        leave(n, 1);
    pc_msg_unref(msg);
}

static _Noreturn void fail(struct nursery *n, const char *text)
{
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "text", text);
    tell(n, PC_MSG_FAILED, json);
    leave(n, 1);
}

/* ---- starting --------------------------------------------------------------------------- */

static void receive_config(struct nursery *n)
{
    struct pc_err err;
    struct pc_msg *msg = pc_sock_receive(&n->parent, -1, &err);
    if (!msg)
        leave(n, 1);
    if (msg->head.type != PC_MSG_CONFIG)
        fail(n, "the first message was no CONFIG");
    n->config_json = pc_json_of_msg(msg, &err);
    if (!n->config_json || eng_config_parse(&n->config, n->config_json, &err))
        fail(n, err.text);
    pc_log_set_level(n->config.log_level);
    pc_msg_unref(msg);
}

/* A thread would not be there in the forked engines, and what it holds would stay held. */
static void check_threads(struct nursery *n, const char *module)
{
    char text[512];
    int count = eng_py_thread_count() - n->thread_count;
    if (count <= 0)
        return;
    snprintf(text, sizeof(text),
             "the module '%s' has started %d thread%s, so engines can't be forked from an "
             "interpreter that has loaded it; leave it out of --preload, or use --no-nursery",
             module, count, count == 1 ? "" : "s");
    fail(n, text);
}

static void warm_up(struct nursery *n)
{
    struct pc_err err;
    n->thread_count = eng_py_thread_count();
    if (eng_py_init(n->config.python, &err))
        fail(n, err.text);
    check_threads(n, "site");
    eng_py_import_cloudpickle();
    check_threads(n, "cloudpickle");
    for (const pc_json *name = pc_json_first(n->config.preload); name; name = pc_json_next(name)) {
        if (eng_py_import(pc_json_text(name), &err))
            fail(n, err.text);
        check_threads(n, pc_json_text(name));
    }
    eng_py_freeze();
}

/* Signals come through a descriptor. Only now: what Python starts while it loads modules must
 * find them as usual. */
static void watch_signals(struct nursery *n)
{
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGHUP);
    sigaddset(&watched, SIGINT);
    sigprocmask(SIG_SETMASK, &watched, NULL);
    n->signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (n->signal_fd < 0)
        fail(n, "can't watch signals");
}

/* ---- engines ---------------------------------------------------------------------------- */

static void report_exit(struct nursery *n, const struct eng_exit *ended)
{
    pc_json *json = pc_json_object();
    pc_json_put_i64(json, "pid", ended->pid);
    pc_json_put_str(json, "uuid", ended->uuid);
    pc_json_put_i64(json, "signal", ended->signal);
    pc_json_put_i64(json, "code", ended->code);
    pc_json_put_i64(json, "begun", ended->begun);
    if (ended->is_oom)
        pc_json_put_bool(json, "oom", true);
    pc_json_put_str(json, "tail", ended->tail);
    tell(n, PC_MSG_EXITED, json);
}

/* Those that are there go on: the parent knows what to do without the others. */
static void report_missing(struct nursery *n, const char *why)
{
    pc_json *json = pc_json_object();
    pc_json_put_i64(json, "missing", 1 + (int64_t)n->wanted);
    pc_json_put_str(json, "text", why);
    n->wanted = 0;
    tell(n, PC_MSG_SPAWNED, json);
}

static void start_engine(struct nursery *n)
{
    uint8_t random[UUID_SIZE];
    char uuid[2 * UUID_SIZE + 1];
    struct eng_spawned spawned;
    struct pc_err err;
    pc_random(random, sizeof(random));
    pc_hex_encode(random, sizeof(random), uuid);
    int failed = n->config.use_nursery ? eng_spawn_fork(&n->config, uuid, &spawned, &err)
                                       : eng_spawn_anew(n->config_json, uuid, &spawned, &err);
    if (failed) {
        report_missing(n, err.text);
        return;
    }
    eng_children_add(&n->children, uuid, &spawned);
    pc_json *json = pc_json_object();
    pc_json_put_i64(json, "pid", spawned.pid);
    pc_json_put_str(json, "uuid", uuid);
    tell(n, PC_MSG_SPAWNED, json);
}

static void reap(struct nursery *n)
{
    struct eng_exit ended;
    while (eng_children_reap(&n->children, &ended))
        report_exit(n, &ended);
}

/* ---- messages of the parent ------------------------------------------------------------- */

static int on_spawn(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct nursery *n = role;
    uint32_t count;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    int failed = pc_json_get_u32(body, "count", &count, err);
    pc_json_free(body);
    if (!failed && n->state == RUNNING)
        n->wanted += count;
    return failed;
}

/* Once more: for engines from now on. What was imported is. */
static int on_config(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct nursery *n = role;
    struct eng_config config;
    pc_json *json = pc_json_of_msg(msg, err);
    pc_wipe(msg->body, msg->head.body_size);
    if (!json || eng_config_parse(&config, json, err)) {
        pc_json_free(json);
        return -1;
    }
    eng_config_fini(&n->config);
    pc_json_free(n->config_json);
    n->config = config;
    n->config_json = json;
    pc_log_set_level(config.log_level);
    return 0;
}

/* The scheduler has told the engines. */
static int on_shutdown(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct nursery *n = role;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    if (n->state == RUNNING) {
        n->state = STOPPING;
        n->wanted = 0;
        n->deadline_ms = pc_clock_ms() + pc_json_i64_or(body, "grace_ms", GRACE_DEFAULT_MS);
    }
    pc_json_free(body);
    return 0;
}

/* Only we may: as long as we have not reaped an engine its pid is its own. */
static int on_signal(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct nursery *n = role;
    uint32_t number;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    int failed = pc_json_get_u32(body, "signal", &number, err);
    bool with_group = pc_json_bool_or(body, "group", false);
    const pc_json *uuids = pc_json_member(body, "uuids");
    for (const pc_json *row = uuids && !failed ? pc_json_first(uuids) : NULL; row;
         row = pc_json_next(row)) {
        const char *uuid = pc_json_text(row);
        if (!uuid || !eng_children_signal_one(&n->children, uuid, (int)number, with_group))
            pc_debug("no engine '%s' to send signal %u to", uuid ? uuid : "?", number);
    }
    pc_json_free(body);
    return failed;
}

static int on_ping(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    return 0;
}

static const struct pc_handler handlers[] = {
    {PC_MSG_CONFIG, PC_FROM_PARENT, on_config}, {PC_MSG_SPAWN, PC_FROM_PARENT, on_spawn},
    {PC_MSG_SIGNAL, PC_FROM_PARENT, on_signal}, {PC_MSG_SHUTDOWN, PC_FROM_PARENT, on_shutdown},
    {PC_MSG_PING, PC_FROM_PARENT, on_ping},     {0},
};

/* Handles the messages that are here already. */
static void take_messages(struct nursery *n)
{
    struct pc_err err;
    struct pc_msg *msg;
    while ((msg = pc_wire_next(&n->parent.wire, &err)) != NULL) {
        if (pc_dispatch_msg(handlers, PC_FROM_PARENT, n, NULL, msg, &err) < 0)
            fail(n, err.text);
        pc_msg_unref(msg);
    }
    if (err.code != PC_OK)
        fail(n, err.text);
}

static void read_parent(struct nursery *n)
{
    struct pc_err err;
    if (pc_sock_fill(&n->parent, MSG_DONTWAIT, &err) < 0 && err.code != PC_E_INTERRUPTED)
        leave(n, 0);
    take_messages(n);
}

static void read_signals(struct nursery *n)
{
    struct signalfd_siginfo info;
    while (read(n->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        /* SIGTERM is also how the kernel tells that the parent died. SIGINT is the parent's. */
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGHUP)
            leave(n, 0);
    }
    reap(n);
}

/* ---- the loop --------------------------------------------------------------------------- */

/* The steps of a shutdown, when their time has come. */
static void stop_step(struct nursery *n)
{
    if (n->state == RUNNING || n->state == KILLING || pc_clock_ms() < n->deadline_ms)
        return;
    bool is_first = n->state == STOPPING;
    pc_info("%u engines did not leave in time: %s", eng_children_count(&n->children),
            is_first ? "ending them" : "killing them");
    eng_children_signal(&n->children, is_first ? SIGTERM : SIGKILL);
    n->state = is_first ? ENDING : KILLING;
    n->deadline_ms = pc_clock_ms() + FORCE_AFTER_MS;
}

static int wait_ms(const struct nursery *n)
{
    if (n->wanted)
        return 0;
    if (n->state == RUNNING || n->state == KILLING)
        return -1;
    int64_t left = n->deadline_ms - pc_clock_ms();
    return left > 0 ? (int)left : 0;
}

static void run(struct nursery *n)
{
    while (n->state == RUNNING || eng_children_count(&n->children)) {
        struct pollfd polled[] = {{.fd = n->parent.fd, .events = POLLIN},
                                  {.fd = n->signal_fd, .events = POLLIN}};
        if (poll(polled, 2, wait_ms(n)) < 0 && errno != EINTR)
            fail(n, "can't wait for messages");
        if (polled[1].revents)
            read_signals(n);
        if (polled[0].revents)
            read_parent(n);
        stop_step(n);
        /* One at a time: between two of them the parent may have changed its mind, or died. */
        if (n->wanted) {
            n->wanted--;
            start_engine(n);
        }
    }
}

int nursery_main(void)
{
    static struct nursery nursery;
    struct nursery *n = &nursery;
    pc_log_init("nursery", PC_LOG_INFO);
    pc_title_set("pcluster: nursery");
    pc_orphans_adopt();
    eng_oom_init(&n->children.oom, "/proc/self/cgroup", "/sys/fs/cgroup", "/proc/vmstat");
    pc_sock_init(&n->parent, PC_ROLE_FD, PC_FROM_PARENT);
    receive_config(n);
    const char *cgroup = pc_json_str_or(n->config_json, "cgroup", NULL);
    if (cgroup) /* our own says nothing of engines: theirs are beside it */
        eng_oom_below(&n->children.oom, cgroup);
    eng_spawn_raise_limit(pc_json_i64_or(n->config_json, ENG_CONFIG_FILES, 0));
    if (pc_noise_init())
        fail(n, "no source of random numbers");
    if (n->config.use_nursery)
        warm_up(n);
    watch_signals(n);
    tell(n, PC_MSG_READY, pc_json_object());
    take_messages(n); /* that came with CONFIG */
    run(n);
    _exit(0);
}
