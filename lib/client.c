/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client: one connection, many calls, no thread of its own. Everything is guarded by
 * client->lock. call.c has the calls, submit.c sends them, filing.c takes in what comes back, and
 * waiting.c decides which thread reads.
 */
#include "lib/client.h"

#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/proto.h"

#define CLOSE_LIMIT_MS 1000
#define CLOSE_SLICE_MS 100

const char *pc_version(void)
{
    return PC_VERSION;
}

size_t pc_client_pending(const struct pc_client *client)
{
    struct pc_client *c = (struct pc_client *)(uintptr_t)client;
    if (pc_client_enter(c, NULL))
        return 0;
    size_t pending = c->pending;
    pc_client_leave(c);
    return pending;
}

int pc_client_window(const struct pc_client *client, struct pc_window *window)
{
    struct pc_client *c = (struct pc_client *)(uintptr_t)client;
    if (pc_client_enter(c, NULL))
        return -1;
    *window = (struct pc_window){.calls = c->pending,
                                 .bytes = c->pending_bytes,
                                 .max_calls = c->window_count,
                                 .max_bytes = c->window_bytes};
    pc_client_leave(c);
    return 0;
}

int pc_client_outstanding(struct pc_client *client, struct pc_call ***calls, size_t *count,
                          struct pc_err *err)
{
    struct pc_call *call, **list;
    size_t n = 0;
    if (pc_client_enter(client, err))
        return -1;
    while (client->lost.code == PC_OK && !client->is_reading && pc_client_take_in(client) > 0)
        ;
    list = malloc((client->pending + 1) * sizeof(struct pc_call *));
    if (list) {
        DL_FOREACH (client->pending_first, call)
            if (!call->is_fetched)
                list[n++] = pc_call_ref(call);
    }
    pc_client_leave(client);
    if (!list)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    *calls = list;
    *count = n;
    return 0;
}

void pc_calls_free(struct pc_call **calls)
{
    free(calls);
}

/* ---- engines ---------------------------------------------------------------------------- */

int pc_client_check(struct pc_client *client, struct pc_err *err)
{
    if (pc_client_enter(client, err))
        return -1;
    while (client->lost.code == PC_OK && !client->is_reading && pc_client_take_in(client) > 0)
        ;
    int result = client->lost.code == PC_OK ? 0 : pc_client_lost_error(client, err);
    pc_client_leave(client);
    return result;
}

int pc_client_engines(struct pc_client *client, struct pc_engine **list, size_t *count,
                      struct pc_err *err)
{
    int result = -1;
    if (pc_client_enter(client, err))
        return -1;
    while (client->lost.code == PC_OK && !client->is_reading && pc_client_take_in(client) > 0)
        ;
    if (client->lost.code != PC_OK)
        pc_client_lost_error(client, err);
    else
        result = pc_roster_copy(&client->roster, list, count, err);
    pc_client_leave(client);
    return result;
}

void pc_engines_free(struct pc_engine *list)
{
    free(list);
}

uint64_t pc_client_engines_generation(const struct pc_client *client)
{
    return client ? atomic_load_explicit(&client->roster.generation, memory_order_relaxed) : 0;
}

const char *pc_client_info(const struct pc_client *client)
{
    return client ? client->info : NULL;
}

/* ---- closing ---------------------------------------------------------------------------- */

struct pc_client *pc_client_ref(struct pc_client *client)
{
    atomic_fetch_add_explicit(&client->refs, 1, memory_order_relaxed);
    return client;
}

void pc_client_forked(struct pc_client *client)
{
    if (!client || pc_birthmark_is_here(&client->birthmark))
        return;
    int fds[] = {client->sock.fd, client->wake_fd};
    client->sock.fd = client->wake_fd = -1; /* the numbers will be somebody else's */
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (client->loop)
        pc_loop_forked(client->loop);
}

static void wipe_secrets(struct pc_client *client)
{
    pc_connfile_wipe(&client->file);
    pc_wipe(client->token, sizeof(client->token));
}

/* What the lock guarded is given up: a thread of the parent may have been in the middle of it, and
 * destroying what such a thread waited on would wait for it. */
static void unref_in_child(struct pc_client *client)
{
    pc_client_forked(client);
    pc_loop_free(client->loop);
    wipe_secrets(client);
    pc_birthmark_fini(&client->birthmark);
    free(client->info);
    free(client);
}

void pc_client_unref(struct pc_client *client)
{
    if (!client || atomic_fetch_sub_explicit(&client->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (!pc_birthmark_is_here(&client->birthmark)) {
        unref_in_child(client);
        return;
    }
    pc_sock_close(&client->sock);
    wipe_secrets(client);
    pc_lifeline_fini(&client->lifeline);
    pc_roster_fini(&client->roster);
    pc_loop_free(client->loop);
    pc_known_fini(&client->known);
    pc_index_fini(&client->calls);
    pc_buf_fini(&client->acks);
    pthread_cond_destroy(&client->filed);
    pthread_cond_destroy(&client->ended);
    pthread_mutex_destroy(&client->lock);
    if (client->wake_fd >= 0)
        close(client->wake_fd);
    pc_birthmark_fini(&client->birthmark);
    free(client->info);
    free(client);
}

static void drop_ended(struct pc_client *client)
{
    struct pc_call *call;
    while ((call = pc_client_take_ended(client)) != NULL)
        pc_call_drop(call);
}

/* What lingers was submitted: it must not be lost because the system is slow to take it. */
static void write_last(struct pc_client *client)
{
    int64_t deadline = pc_clock_ms() + CLOSE_LIMIT_MS;
    while (pc_client_write_out(client) == 0 && client->lingers && pc_clock_ms() < deadline) {
        struct pollfd polled = {.fd = client->sock.fd, .events = POLLOUT};
        pc_client_poll(client, &polled, 1, CLOSE_SLICE_MS);
        if (client->lost.code != PC_OK || client->is_cut)
            return;
    }
}

static void end_connection(struct pc_client *client)
{
    if (client->lost.code == PC_OK) {
        struct pc_msg *msg = pc_msg_with_body(PC_MSG_GOODBYE, "{}", 2);
        pc_client_send_acks(client);
        if (msg && !client->is_cut && pc_client_queue(client, msg) == 0)
            write_last(client);
        pc_msg_unref(msg);
    }
    pc_client_lose(client, PC_E_CLOSED, "the client was closed");
}

void pc_client_shutdown(struct pc_client *client)
{
    if (!client || !pc_birthmark_is_here(&client->birthmark))
        return;
    pthread_mutex_lock(&client->lock);
    end_connection(client);
    if (client->is_reading)
        pc_client_wake_reader(client);
    pthread_mutex_unlock(&client->lock);
}

void pc_client_close(struct pc_client *client)
{
    if (!client)
        return;
    if (pc_birthmark_is_here(&client->birthmark)) {
        pthread_mutex_lock(&client->lock);
        end_connection(client);
        pc_client_drop_kept(client);
        drop_ended(client);
        if (client->loop)
            pc_loop_silence(client);
        pthread_mutex_unlock(&client->lock);
    } else {
        /* The parent still uses the connection; say nothing on it. */
        pc_client_forked(client);
    }
    pc_client_unref(client);
}
