/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The connection of a host to a controller elsewhere: opening it, and opening it again when it
 * broke, see lib/lifeline.h. Its engines do the same for themselves. Meanwhile everything goes on;
 * after the grace time, or when nobody listens there any more, the host ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/key.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "parent/state.h"

#define JOIN_LIMIT_MS  10000
#define AGAIN_LIMIT_MS 1000 /* one attempt; nobody is served meanwhile */
#define PAUSE_FIRST_MS 10
#define PAUSE_MAX_MS   500
#define HOST_MAX       64 /* of what a system is called; HELLO has room for no more */

/* `again`: it goes on where it was. */
static char *host_hello(const struct parent *parent, bool again)
{
    struct pc_keypair pair;
    char host[256] = "", key[2 * PC_KEY_SIZE + 1];
    pc_keypair_from_private(&pair, parent->files.engine.exec_key);
    pc_hex_encode(pair.public_key, PC_KEY_SIZE, key);
    pc_wipe(&pair, sizeof(pair));
    pc_json *hello = pc_json_object();
    pc_json_put_str(hello, "role", "host");
    pc_json_put_str(hello, "public_key", key);
    pc_json_put_str(hello, "uuid", parent->home);
    gethostname(host, HOST_MAX);
    pc_json_put_i64(hello, "pid", getpid());
    pc_json_put_str(hello, "host", host);
    if (again) {
        pc_json_put_str(hello, "token", parent->rejoin.token);
        pc_json_put_u64(hello, "received", parent->scheduler.lifeline.received);
    } else {
        pc_json_put_str(hello, "python", PC_EMBED_PYTHON);
    }
    char *text = pc_json_print(hello);
    pc_json_free(hello);
    return text;
}

static enum pc_transport transport_of(const char *name)
{
    if (name && strcmp(name, "unix") == 0)
        return PC_TRANSPORT_UNIX;
    return name && strcmp(name, "tcp") == 0 ? PC_TRANSPORT_TCP : PC_TRANSPORT_ANY;
}

/* Connects and says HELLO; the answer. */
static pc_json *say_hello(struct parent *parent, struct pc_sock *sock, bool again, int limit_ms,
                          struct pc_err *err)
{
    if (pc_sock_connect(sock, &parent->files.engine, transport_of(parent->options->transport),
                        limit_ms, parent->address, sizeof(parent->address), err) < 0)
        return NULL;
    char *hello = host_hello(parent, again);
    struct pc_msg *welcome = pc_sock_hello(sock, hello, limit_ms, err);
    pc_wipe(hello, strlen(hello));
    free(hello);
    pc_json *json = welcome ? pc_json_of_msg(welcome, err) : NULL;
    pc_msg_unref(welcome);
    if (!json)
        pc_sock_close(sock);
    return json;
}

int parent_join_controller(struct parent *parent, struct pc_err *err)
{
    struct parent_rejoin *rejoin = &parent->rejoin;
    struct pc_sock sock;
    pc_json *welcome = say_hello(parent, &sock, false, JOIN_LIMIT_MS, err);
    if (!welcome)
        return -1;
    snprintf(rejoin->token, sizeof(rejoin->token), "%s", pc_json_str_or(welcome, "token", ""));
    rejoin->grace_ms = pc_json_i64_or(welcome, "grace_ms", 0);
    pc_json_free(welcome);
    if (rejoin->grace_ms > 0)
        sock.wire.lifeline = &parent->scheduler.lifeline;
    int status = parent_role_join(&parent->scheduler, &sock, err);
    pc_sock_close(&sock);
    return status;
}

/* ---- again ------------------------------------------------------------------------------ */

static bool is_passing(enum pc_errc code)
{
    return code == PC_E_TIMEOUT || code == PC_E_UNREACHABLE || code == PC_E_LOST ||
           code == PC_E_PROTOCOL || code == PC_E_REFUSED || code == PC_E_SYSTEM;
}

/* To a scheduler that knows nothing of us: from the beginning, with what the one before it may not
 * have got. */
static void begin_anew(struct pc_lifeline *lifeline)
{
    uint64_t number;
    size_t count = lifeline->count;
    struct pc_msg **kept = pc_xcalloc(count + 1, sizeof(*kept));
    for (size_t i = 0; i < count; i++)
        kept[i] = pc_msg_ref(pc_lifeline_kept(lifeline, i, &number));
    pc_lifeline_restart(lifeline);
    for (size_t i = 0; i < count; i++) {
        if (pc_lifeline_keep(lifeline, kept[i]))
            pc_fatal(1, "out of memory");
        pc_msg_unref(kept[i]);
    }
    free(kept);
}

static int try_again(struct parent *parent, struct pc_err *err)
{
    struct pc_lifeline *lifeline = &parent->scheduler.lifeline;
    struct pc_sock sock;
    uint64_t arrived = 0;
    pc_json *welcome = say_hello(parent, &sock, true, AGAIN_LIMIT_MS, err);
    if (!welcome)
        return -1;
    bool is_new = pc_json_bool_or(welcome, "new", false);
    sock.wire.lifeline = lifeline;
    if (is_new)
        begin_anew(lifeline);
    int status = is_new ? 0 : pc_json_get_u64(welcome, "received", &arrived, err);
    if (status == 0)
        status = pc_lifeline_resume(lifeline, arrived, err);
    if (status == 0 && pc_wire_resume(&sock.wire))
        status = pc_err_set(err, PC_E_MEMORY, "out of memory");
    if (status == 0)
        status = parent_role_join(&parent->scheduler, &sock, err);
    if (status == 0 && is_new)
        parent_report_ends(parent);
    if (status == 0)
        pc_conn_flush(&parent->scheduler.conn);
    pc_json_free(welcome);
    pc_sock_close(&sock);
    return status;
}

static void on_timer(uv_timer_t *timer)
{
    struct parent *parent = timer->data;
    struct parent_rejoin *rejoin = &parent->rejoin;
    struct pc_err err;
    if (try_again(parent, &err) == 0) {
        rejoin->until_ms = 0;
        pc_info("the connection to the controller at %s is back", parent->address);
    } else if (is_passing(err.code) && pc_clock_ms() < rejoin->until_ms) {
        uv_timer_start(timer, on_timer, rejoin->pause_ms, 0);
        rejoin->pause_ms =
            2 * rejoin->pause_ms < PAUSE_MAX_MS ? 2 * rejoin->pause_ms : PAUSE_MAX_MS;
    } else {
        parent->scheduler.is_cut = false;
        parent_fail(parent, "the connection to the controller at %s is lost: %s", parent->address,
                    err.text);
    }
}

bool parent_rejoin_begin(struct parent *parent)
{
    struct parent_rejoin *rejoin = &parent->rejoin;
    const struct parent_role *scheduler = &parent->scheduler;
    if (!scheduler->is_cut || scheduler->has_told || rejoin->grace_ms <= 0)
        return false;
    pc_warn("the connection to the controller at %s broke: opening it again", parent->address);
    rejoin->until_ms = pc_clock_ms() + rejoin->grace_ms;
    rejoin->pause_ms = PAUSE_FIRST_MS;
    uv_timer_start(&rejoin->timer, on_timer, 0, 0);
    return true;
}
