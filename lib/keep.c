/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which calls a client still knows. client.calls has, by number, every call that somebody holds;
 * it owns none of them. A pending call is held by client.pending_first; one that ended and that
 * its last holder dropped unread may be held by client.kept_first, within limits: the oldest go.
 * All of it is guarded by the client's lock.
 */
#include "lib/client.h"

#include <stdlib.h>
#include <utlist.h>

#define KEEP_COUNT 10000
#define KEEP_BYTES ((uint64_t)64 * 1024 * 1024)

static uint64_t cost_of(const struct pc_call *call)
{
    uint64_t bytes = sizeof(*call) + (call->result ? call->result->parts_bytes : 0);
    if (call->published)
        bytes += call->published->parts_bytes;
    for (int i = 0; i < 3; i++)
        if (call->output[i])
            bytes += call->output[i]->head.size + call->output[i]->tail.size;
    return bytes;
}

/* A reference that nobody else can take any more is none: such a call is being given back. */
static bool try_ref(struct pc_call *call)
{
    uint32_t refs = atomic_load_explicit(&call->refs, memory_order_relaxed);
    while (refs > 0)
        if (atomic_compare_exchange_weak_explicit(&call->refs, &refs, refs + 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    return false;
}

/* Takes it out of those that are kept; its reference is the caller's now. */
static void take_kept(struct pc_client *client, struct pc_call *call)
{
    DL_DELETE(client->kept_first, call);
    call->is_kept = false;
    client->kept_count--;
    client->kept_bytes -= call->bytes;
}

static void drop_kept(struct pc_client *client, struct pc_call *call)
{
    take_kept(client, call);
    call->is_pinned = false;
    atomic_store_explicit(&call->is_read, true, memory_order_relaxed);
    pc_call_drop(call);
}

/* Keeps a call that nobody holds any more, if it may be asked for. */
static bool keep(struct pc_client *client, struct pc_call *call)
{
    uint64_t bytes = cost_of(call);
    bool is_read = atomic_load_explicit(&call->is_read, memory_order_relaxed);
    if (!client->keeps_results || call->is_fetched || pc_call_status(call) == PC_STATUS_PENDING ||
        (is_read && !call->is_pinned) || bytes > KEEP_BYTES)
        return false;
    atomic_store_explicit(&call->refs, 1, memory_order_relaxed);
    DL_APPEND(client->kept_first, call);
    call->is_kept = true;
    client->kept_count++;
    client->kept_bytes += call->bytes = bytes; /* its submission is of no interest any more */
    while (client->kept_count > KEEP_COUNT || client->kept_bytes > KEEP_BYTES)
        drop_kept(client, client->kept_first);
    return true;
}

bool pc_client_release(struct pc_client *client, struct pc_call *call)
{
    if (keep(client, call))
        return false;
    pc_index_remove(&client->calls, 0, call->sequence);
    return true;
}

void pc_client_drop_kept(struct pc_client *client)
{
    client->keeps_results = false;
    while (client->kept_first)
        drop_kept(client, client->kept_first);
}

/* ---- for users -------------------------------------------------------------------------- */

static bool is_listed(const struct pc_call *call)
{
    return call->is_kept || (call->is_pinned && pc_call_status(call) != PC_STATUS_PENDING);
}

struct pc_call *pc_client_find(struct pc_client *client, uint64_t sequence, bool only_kept)
{
    if (pc_client_enter(client, NULL))
        return NULL;
    struct pc_call *call = pc_index_find(&client->calls, 0, sequence);
    if (call && call->is_fetched)
        call = NULL; /* it is another task */
    if (call && only_kept && !is_listed(call))
        call = NULL;
    if (call && !only_kept)
        call->is_pinned = false;
    if (call && call->is_kept && !only_kept)
        take_kept(client, call);
    else if (call && !try_ref(call))
        call = NULL;
    pc_client_leave(client);
    return call;
}

struct listing {
    struct pc_call **calls;
    size_t count;
};

static void list_call(void *item, void *with)
{
    struct pc_call *call = item;
    struct listing *listing = with;
    if (is_listed(call) && try_ref(call))
        listing->calls[listing->count++] = call;
}

static int by_sequence(const void *a, const void *b)
{
    uint64_t x = (*(struct pc_call *const *)a)->sequence;
    uint64_t y = (*(struct pc_call *const *)b)->sequence;
    return (x > y) - (x < y);
}

int pc_client_kept(struct pc_client *client, struct pc_call ***calls, size_t *count,
                   struct pc_err *err)
{
    struct listing listing = {0};
    if (pc_client_enter(client, err))
        return -1;
    listing.calls = malloc((client->calls.count + 1) * sizeof(struct pc_call *));
    if (listing.calls)
        pc_index_each(&client->calls, list_call, &listing);
    pc_client_leave(client);
    if (!listing.calls)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    qsort(listing.calls, listing.count, sizeof(struct pc_call *), by_sequence);
    *calls = listing.calls;
    *count = listing.count;
    return 0;
}

void pc_call_pin(struct pc_call *call)
{
    if (!call || pc_client_enter(call->client, NULL))
        return;
    call->is_pinned = true;
    pc_client_leave(call->client);
}

void pc_call_forget(struct pc_call *call)
{
    struct pc_client *client = call ? call->client : NULL;
    if (pc_client_enter(client, NULL))
        return;
    call->is_pinned = false;
    atomic_store_explicit(&call->is_read, true, memory_order_relaxed);
    if (call->is_kept)
        drop_kept(client, call); /* the caller has a reference of its own */
    pc_client_leave(client);
}
