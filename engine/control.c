/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/control.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#include "engine/forkfix.h"
#include "engine/intr.h"
#include "engine/outio.h"
#include "engine/recall.h"
#include "lib/conn.h"
#include "lib/dispatch.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/proto_task.h"

#define STACK_SIZE    (256 * 1024)
#define PUMP_AGAIN_MS 2    /* when the lane was busy */
#define INSIST_MS     10   /* between two signals for one interrupt */
#define GRACE_DEFAULT 2000 /* ms that a running task gets at a shutdown */

/* All that lives on the loop. */
struct control_loop {
    struct eng_control *control;
    uv_loop_t loop;
    struct pc_conns conns;
    struct pc_conn conn;
    uv_poll_t pipes[2], live; /* live: a buffer of Python's waits to be sent */
    uv_timer_t again, grace, insist;
    bool pipe_ended[2];
    bool pipes_polled;
    int fd;      /* of the connection */
    bool is_cut; /* the connection broke, and the next one is to be opened */
};

void eng_control_lost(const struct eng_control *control, const char *why)
{
    eng_forkfix_leave(); /* the group is the engine's, which goes on */
    pc_warn("leaving: %s", why);
    /* The nursery ends what is left of our process group, and so do we when it is gone, too. */
    if (getppid() != control->starter)
        kill(0, SIGKILL);
    _exit(ENG_EXIT_LOST);
}

/* ---- output ----------------------------------------------------------------------------- */

static void pump(struct control_loop *c);

static void on_pipe(uv_poll_t *poll, int status, int events)
{
    pump(poll->data);
}

static void poll_pipes(struct control_loop *c, bool is_wanted)
{
    if (c->pipes_polled == is_wanted)
        return;
    c->pipes_polled = is_wanted;
    for (int i = 0; i < 2; i++) {
        if (is_wanted && !c->pipe_ended[i])
            uv_poll_start(&c->pipes[i], UV_READABLE, on_pipe);
        else
            uv_poll_stop(&c->pipes[i]);
    }
}

static void on_again(uv_timer_t *timer)
{
    pump(timer->data);
}

static void pump(struct control_loop *c)
{
    bool before[2] = {c->pipe_ended[0], c->pipe_ended[1]};
    enum eng_out_state state = eng_out_pump(c->pipe_ended);
    if (memcmp(before, c->pipe_ended, sizeof(before)) != 0)
        poll_pipes(c, false); /* and again below, without those that have ended */
    /* Credit brings us back here when that is what is missing. */
    poll_pipes(c, state == ENG_OUT_IDLE);
    if (state == ENG_OUT_BUSY)
        uv_timer_start(&c->again, on_again, PUMP_AGAIN_MS, 0);
}

static void on_live(uv_poll_t *poll, int status, int events)
{
    uint64_t count;
    ssize_t ignored = read(eng_out_timer_fd(), &count, sizeof(count));
    (void)ignored;
    pump(poll->data);
}

/* ---- messages --------------------------------------------------------------------------- */

static int on_ping(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    pc_conn_send_body(peer, PC_MSG_PONG, NULL, 0);
    return 0;
}

static int on_credit(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct control_loop *c = role;
    struct pc_credit_body body;
    if (pc_credit_decode(msg, &body, err) ||
        eng_lane_arrived(&c->control->work->lane, body.came, err))
        return -1;
    eng_out_credit(body.bytes);
    pump(c);
    return 0;
}

static void on_insist(uv_timer_t *timer)
{
    if (!eng_intr_insist())
        uv_timer_stop(timer);
}

static int on_abort(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_abort_body body;
    if (pc_abort_decode(msg, &body, err))
        return -1;
    for (uint32_t i = 0; i < body.count; i++) {
        const uint8_t *pair = body.tasks + (size_t)i * PC_ACK_SIZE;
        eng_intr_abort(pc_load_u64(pair), pc_load_u64(pair + 8), body.flags & PC_ABORT_INTERRUPT);
    }
    if (body.flags & PC_ABORT_INTERRUPT)
        uv_timer_start(&((struct control_loop *)role)->insist, on_insist, INSIST_MS, INSIST_MS);
    return 0;
}

static int on_recall(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct pc_recall_body body;
    uint8_t answer[PC_RECALL_SIZE];
    if (pc_recall_decode(msg, &body, err))
        return -1;
    eng_recall(&body);
    pc_recall_encode(answer, &body);
    pc_conn_send_body(peer, PC_MSG_RECALL, answer, sizeof(answer));
    return 0;
}

/* The task had its time. */
static void on_grace(uv_timer_t *timer)
{
    pc_debug("leaving in the middle of a task");
    _exit(0);
}

static int on_shutdown(void *role, void *peer, struct pc_msg *msg, struct pc_err *err)
{
    struct control_loop *c = role;
    pc_json *body = pc_json_of_msg(msg, err);
    if (!body)
        return -1;
    int64_t grace_ms = pc_json_i64_or(body, "grace_ms", GRACE_DEFAULT);
    pc_json_free(body);
    if (!uv_is_active((uv_handle_t *)&c->grace))
        uv_timer_start(&c->grace, on_grace, grace_ms > 0 ? (uint64_t)grace_ms : 0, 0);
    /* The main thread leaves when it next looks, which is now when it waits for a task. */
    atomic_store(&c->control->work->is_stopping, true);
    shutdown(c->control->work->lane.sock.fd, SHUT_RD);
    return 0;
}

static const struct pc_handler handlers[] = {
    {PC_MSG_PING, PC_FROM_SCHED, on_ping},         {PC_MSG_ABORT, PC_FROM_SCHED, on_abort},
    {PC_MSG_RECALL, PC_FROM_SCHED, on_recall},     {PC_MSG_OUTPUT_CREDIT, PC_FROM_SCHED, on_credit},
    {PC_MSG_SHUTDOWN, PC_FROM_SCHED, on_shutdown}, {0},
};

static void on_message(struct pc_conn *conn, struct pc_msg *msg)
{
    struct control_loop *c = conn->owner;
    struct pc_err err;
    if (pc_dispatch_msg(handlers, PC_FROM_SCHED, c, conn, msg, &err) < 0)
        eng_control_lost(c->control, err.text);
    pc_msg_unref(msg);
}

static void on_lost(struct pc_conn *conn, const struct pc_err *why)
{
    struct control_loop *c = conn->owner;
    /* After a SHUTDOWN the main thread, or the grace time, ends us: a result may be on its way. */
    if (atomic_load(&c->control->work->is_stopping))
        return;
    if (why->code != PC_E_LOST || !c->control->work->lane.lifeline)
        eng_control_lost(c->control, why->text);
    pc_debug("the control lane broke: %s", why->text);
    c->is_cut = true;
}

static void rejoin(struct control_loop *c);

static void on_closed(struct pc_conn *conn)
{
    struct control_loop *c = conn->owner;
    if (c->is_cut)
        rejoin(c);
}

static const struct pc_conn_events events = {
    .on_message = on_message,
    .on_lost = on_lost,
    .on_closed = on_closed,
};

/* The control lane on its new connection. */
static void take_over(struct control_loop *c, struct eng_return *back)
{
    struct eng_control *control = c->control;
    struct pc_lifeline *lifeline = &control->membership->control;
    struct pc_err err;
    int before = c->fd;
    control->sock = back->control;
    c->fd = control->sock.fd;
    eng_forkfix_replace(before, c->fd);
    control->sock.wire.lifeline = lifeline;
    if (back->is_new)
        pc_lifeline_restart(lifeline);
    else if (pc_lifeline_resume(lifeline, back->control_arrived, &err))
        pc_fatal(ENG_EXIT_FAILED, "can't go on with the controller: %s", err.text);
    if (pc_wire_resume(&control->sock.wire) ||
        pc_conn_adopt(&c->conn, &c->conns, &control->sock, &events, c))
        pc_fatal(ENG_EXIT_FAILED, "can't go on with the controller: out of memory");
    c->is_cut = false;
}

/* Opens both lanes again, and waits for that: there is nothing else to do meanwhile. */
static void rejoin(struct control_loop *c)
{
    struct eng_control *control = c->control;
    struct eng_return back;
    struct pc_err err;
    eng_lane_take(&control->work->lane);
    if (eng_rejoin(control->membership, &back, &err))
        eng_control_lost(control, err.text);
    take_over(c, &back);
    if (back.is_new)
        eng_work_begin_anew(control->work, &back.work, c->fd);
    else
        eng_lane_mend(&control->work->lane, &back.work, back.work_arrived, c->fd);
    pc_conn_flush(&c->conn);
    pc_conn_start(&c->conn); /* what came right behind WELCOME */
    pump(c);                 /* writes what the work lane has to send again */
}

/* ---- the thread ------------------------------------------------------------------------- */

static void init_loop(struct control_loop *c)
{
    int failed = uv_loop_init(&c->loop) || pc_conns_init(&c->conns, &c->loop) ||
                 uv_timer_init(&c->loop, &c->again) || uv_timer_init(&c->loop, &c->grace) ||
                 uv_timer_init(&c->loop, &c->insist) ||
                 uv_poll_init(&c->loop, &c->live, eng_out_timer_fd()) ||
                 uv_poll_init(&c->loop, &c->pipes[0], c->control->pipes[0]) ||
                 uv_poll_init(&c->loop, &c->pipes[1], c->control->pipes[1]) ||
                 pc_conn_adopt(&c->conn, &c->conns, &c->control->sock, &events, c);
    if (failed)
        pc_fatal(ENG_EXIT_FAILED, "can't set up the control thread");
    c->insist.data = c;
    c->again.data = c->grace.data = c->live.data = c->pipes[0].data = c->pipes[1].data = c;
}

static void *run_thread(void *argument)
{
    struct control_loop *c = argument;
    pc_conn_start(&c->conn);
    uv_poll_start(&c->live, UV_READABLE, on_live);
    pump(c); /* what was put out before there was anybody to look */
    for (;;)
        uv_run(&c->loop, UV_RUN_DEFAULT);
    return NULL;
}

void eng_control_start(struct eng_control *control)
{
    static struct control_loop the_loop; /* one engine per process */
    struct control_loop *c = &the_loop;
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    c->control = control;
    c->fd = control->sock.fd;
    /* Before the thread, so that a failure is told while somebody listens. */
    init_loop(c);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int failed = pthread_create(&thread, &attributes, run_thread, c);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        pc_fatal(ENG_EXIT_FAILED, "can't start the control thread: %s", strerror(failed));
    pthread_detach(thread);
}
