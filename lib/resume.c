/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection that breaks is not the end: the thread that would read the socket connects again
 * instead, says which session goes on, and what had not arrived is sent again, see lifeline.h.
 * Calls stay pending meanwhile. It is the end when nobody listens at the address any more, when
 * another cluster does, when the controller refuses, and after the grace time.
 */
#include "lib/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/proto.h"

#define SLICE_MS       2500 /* one attempt; others who wait may have their turn then */
#define POLL_MS        50   /* ... of somebody who does not want to wait */
#define PAUSE_FIRST_MS 2    /* before the second attempt; then twice that, and so on */
#define PAUSE_MAX_MS   200

void pc_client_cut(struct pc_client *client, const struct pc_err *why)
{
    if (client->lost.code != PC_OK || client->is_cut)
        return;
    if (why->code != PC_E_LOST || client->goodbye[0] || !client->grace_ms) {
        pc_client_lose_connection(client, why);
        return;
    }
    client->is_cut = true;
    client->cut_why = *why;
    client->cut_until_ms = pc_clock_ms() + client->grace_ms;
    client->try_ms = 0;
    client->pause_ms = PAUSE_FIRST_MS;
    client->lingers = false; /* all of it is kept */
    /* The number of the descriptor stays ours: somebody may be polling it. */
    shutdown(client->sock.fd, SHUT_RDWR);
    pc_wire_fini(&client->sock.wire);
    pthread_cond_broadcast(&client->filed);
    pthread_cond_broadcast(&client->ended); /* the background thread may be the one to connect */
}

int pc_client_queue(struct pc_client *client, struct pc_msg *msg)
{
    return client->is_cut ? pc_lifeline_keep(&client->lifeline, msg)
                          : pc_wire_send(&client->sock.wire, msg);
}

/* ---- connecting again ------------------------------------------------------------------- */

static char *hello_text(const struct pc_client *client)
{
    struct pc_keypair pair;
    char key[2 * PC_KEY_SIZE + 1];
    pc_keypair_from_private(&pair, client->file.exec_key);
    pc_hex_encode(pair.public_key, PC_KEY_SIZE, key);
    pc_wipe(&pair, sizeof(pair));
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "role", "client");
    pc_json_put_str(json, "public_key", key);
    pc_json_put_u64(json, "session", client->session);
    pc_json_put_str(json, "token", client->token);
    pc_json_put_u64(json, "received", client->lifeline.received);
    char *text = pc_json_print(json);
    pc_json_free(json);
    return text;
}

/* Without the lock: nobody else changes what it uses while the connection is cut. */
static int connect_again(const struct pc_client *client, struct pc_sock *sock, int timeout_ms,
                         pc_json **said, struct pc_err *err)
{
    int64_t deadline_ms = pc_clock_ms() + timeout_ms;
    if (pc_sock_connect(sock, &client->file, client->transport, timeout_ms, NULL, 0, err))
        return -1;
    char *hello = hello_text(client);
    int64_t left = deadline_ms - pc_clock_ms();
    struct pc_msg *welcome =
        hello ? pc_sock_hello(sock, hello, left > 0 ? (int)left : 0, err) : NULL;
    if (hello)
        pc_wipe(hello, strlen(hello));
    free(hello);
    *said = welcome ? pc_json_of_msg(welcome, err) : NULL;
    pc_msg_unref(welcome);
    if (!*said)
        pc_sock_close(sock);
    return *said ? 0 : -1;
}

/* Calls whose submission has not arrived and was too large to be kept. */
static void fail_given_up(struct pc_client *client)
{
    struct pc_call *call, *next;
    struct pc_result_body body = {.status = PC_STATUS_FAILED, .completed_us = pc_wall_us()};
    for (size_t i = 0; i < client->lifeline.count; i++) {
        uint64_t number;
        if (pc_lifeline_kept(&client->lifeline, i, &number))
            continue;
        DL_FOREACH_SAFE (client->pending_first, call, next)
            if (call->number == number)
                pc_client_end_call(
                    client, call,
                    pc_failure_new("ConnectionLost",
                                   "the connection to the controller broke while the call was on "
                                   "its way; it did not arrive, and is too large to be kept here: "
                                   "submit it again"),
                    &body);
    }
}

/* Queues what the other side does not have. -1: out of memory. */
static int queue_missing(struct pc_client *client, const pc_json *welcome, bool is_new)
{
    if (is_new)
        return pc_client_repeat(client, welcome);
    fail_given_up(client);
    return pc_wire_resume(&client->sock.wire);
}

/* The new connection takes the place of the old one. */
static void adopt(struct pc_client *client, struct pc_sock *fresh, const pc_json *welcome)
{
    struct pc_err err;
    uint64_t arrived;
    bool is_new = pc_json_bool_or(welcome, "new", false); /* it knows nothing of the session */
    if (!is_new && (pc_json_get_u64(welcome, "received", &arrived, &err) ||
                    pc_lifeline_resume(&client->lifeline, arrived, &err))) {
        pc_sock_close(fresh);
        pc_client_lose_connection(client, &err);
        return;
    }
    dup3(fresh->fd, client->sock.fd, O_CLOEXEC);
    close(fresh->fd);
    client->sock.wire = fresh->wire;
    client->sock.wire.lifeline = &client->lifeline;
    client->is_cut = false;
    if (queue_missing(client, welcome, is_new))
        pc_client_lose(client, PC_E_MEMORY, "out of memory while sending");
    else if (pc_client_write_out(client) >= 0)
        pc_client_file_all(client); /* what came right behind WELCOME */
    if (client->loop)
        pc_loop_ring(client); /* the program's poll has lost the socket */
    pthread_cond_broadcast(&client->filed);
}

/* Whether what went wrong may be better at the next attempt. */
static bool is_passing(enum pc_errc code)
{
    return code == PC_E_TIMEOUT || code == PC_E_UNREACHABLE || code == PC_E_LOST ||
           code == PC_E_PROTOCOL || code == PC_E_REFUSED || code == PC_E_SYSTEM;
}

static void give_up(struct pc_client *client, const char *why)
{
    struct pc_err lost = {.code = PC_E_LOST};
    snprintf(lost.text, sizeof(lost.text), "%.150s; %.300s", client->cut_why.text, why);
    pc_client_lose_connection(client, &lost);
}

/* Sleeps without the lock, until then or until somebody wants the reader. */
static int pause_until(struct pc_client *client, int64_t until_ms)
{
    struct pollfd polled = {.fd = client->wake_fd, .events = POLLIN};
    int64_t left = until_ms - pc_clock_ms();
    int ready = pc_client_poll(client, &polled, 1, left > 0 ? (int)left : 0);
    if (ready > 0)
        pc_client_take_wake(client);
    return ready < 0 && errno == EINTR ? -1 : 0;
}

int pc_client_reconnect_turn(struct pc_client *client, int64_t deadline_ms, struct pc_err *err)
{
    struct pc_sock fresh;
    struct pc_err why;
    char text[64];
    pc_json *welcome = NULL;
    int64_t now_ms = pc_clock_ms(), left_ms = client->cut_until_ms - now_ms;
    if (left_ms <= 0) {
        snprintf(text, sizeof(text), "it did not come back within %.3g s", client->grace_ms / 1e3);
        give_up(client, text);
        return 0;
    }
    int64_t budget_ms = left_ms < SLICE_MS ? left_ms : SLICE_MS;
    if (deadline_ms >= 0 && deadline_ms - now_ms < budget_ms)
        budget_ms = deadline_ms - now_ms > POLL_MS ? deadline_ms - now_ms : POLL_MS;
    client->is_reading = true;
    int failed = 0;
    if (client->try_ms > now_ms) {
        int64_t until_ms = client->try_ms;
        if (deadline_ms >= 0 && until_ms > deadline_ms)
            until_ms = deadline_ms;
        failed = pause_until(client, until_ms);
        why = (struct pc_err){.code = PC_E_INTERRUPTED, .text = "interrupted by a signal"};
    } else {
        pthread_mutex_unlock(&client->lock);
        failed = connect_again(client, &fresh, (int)budget_ms, &welcome, &why);
        pthread_mutex_lock(&client->lock);
        client->try_ms = pc_clock_ms() + client->pause_ms;
        client->pause_ms =
            2 * client->pause_ms < PAUSE_MAX_MS ? 2 * client->pause_ms : PAUSE_MAX_MS;
        if (!failed && client->lost.code != PC_OK)
            pc_sock_close(&fresh); /* the client was closed meanwhile */
        else if (!failed)
            adopt(client, &fresh, welcome);
    }
    pc_json_free(welcome);
    client->is_reading = false;
    pthread_cond_broadcast(&client->filed);
    if (failed && why.code == PC_E_INTERRUPTED)
        return pc_err_set(err, PC_E_INTERRUPTED, "%s", why.text);
    if (failed && client->lost.code == PC_OK && !is_passing(why.code))
        give_up(client, why.text);
    else if (client->is_cut && deadline_ms >= 0 && pc_clock_ms() >= deadline_ms)
        return pc_err_set(err, PC_E_TIMEOUT, "no answer in time");
    return 0;
}
