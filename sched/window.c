/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much a client may have submitted that has not ended: so many tasks, so many bytes. The client
 * is told and waits by itself; its connection is always read. One that does not keep to it is
 * dropped like any peer that breaks the rules.
 *
 * What the scheduler counts is never more than what the client does, because results are on their
 * way to it. When the limits get smaller the client may not know it yet: it is held to the largest
 * that it was told.
 */
#include "lib/log.h"
#include "sched/state.h"

#define COUNT_MAX 100000000
#define BYTES_MIN 4096
#define BYTES_MAX (INT64_C(1) << 50)

static uint64_t bytes_of(const struct pc_msg *submit)
{
    return submit->parts_bytes + submit->head.body_size;
}

int window_take(struct client *client, const struct pc_msg *submit, uint32_t count, bool is_again,
                struct pc_err *err)
{
    struct window *window = &client->window;
    if (is_again) { /* the client has room for it, but does not know its bytes */
        window->count += count;
        return 0;
    }
    uint64_t bytes = bytes_of(submit);
    /* One submission may always be under way, however large it is. */
    if (window->count &&
        (window->count + count > window->told_count || window->bytes + bytes > window->told_bytes))
        return pc_err_set(
            err, PC_E_PROTOCOL, "SUBMIT beyond its window of %llu tasks and %llu bytes",
            (unsigned long long)window->told_count, (unsigned long long)window->told_bytes);
    window->count += count;
    window->bytes += bytes;
    return 0;
}

void window_give_back(const struct task *task)
{
    struct window *window = &task->client->window;
    if (!task->request) /* of which it knew nothing */
        return;
    window->count--;
    /* The first one carries the bytes. */
    if (task->key.sequence == task->request->head.sequence && !task->is_again)
        window->bytes -= bytes_of(task->request);
}

void window_tell(const struct sched *s, struct client *client, pc_json *json)
{
    struct window *window = &client->window;
    if (window->told_count < s->window_count)
        window->told_count = s->window_count;
    if (window->told_bytes < s->window_bytes)
        window->told_bytes = s->window_bytes;
    pc_json_put_i64(json, "window_count", (int64_t)s->window_count);
    pc_json_put_i64(json, "window_bytes", (int64_t)s->window_bytes);
}

int windows_check(int64_t count, int64_t bytes, struct pc_err *err)
{
    if (count < 1 || count > COUNT_MAX)
        return pc_err_set(err, PC_E_INVALID, "max_tasks %lld is out of range: 1 to %d are possible",
                          (long long)count, COUNT_MAX);
    if (bytes < BYTES_MIN || bytes > BYTES_MAX)
        return pc_err_set(err, PC_E_INVALID,
                          "max_bytes %lld is out of range: %d to %lld are possible",
                          (long long)bytes, BYTES_MIN, (long long)BYTES_MAX);
    return 0;
}

void windows_set(struct sched *s, int64_t count, int64_t bytes)
{
    struct client *client, *next;
    if ((uint64_t)count == s->window_count && (uint64_t)bytes == s->window_bytes)
        return;
    s->window_count = (uint64_t)count;
    s->window_bytes = (uint64_t)bytes;
    HASH_ITER (hh, s->clients, client, next) {
        pc_json *json = pc_json_object();
        window_tell(s, client, json);
        world_window(client, json);
    }
}

pc_json *windows_json(const struct sched *s)
{
    pc_json *list = pc_json_array();
    for (const struct client *client = s->clients; client; client = client->hh.next) {
        pc_json *row = pc_json_object();
        pc_json_put_u64(row, "session", client->session);
        pc_json_put_bool(row, "connected", client->peer);
        pc_json_put_i64(row, "tasks", (int64_t)client->window.count);
        pc_json_put_i64(row, "bytes", (int64_t)client->window.bytes);
        pc_json_append(list, row);
    }
    return list;
}
