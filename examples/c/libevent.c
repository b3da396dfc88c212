/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside somebody else's loop, here that of libevent: a clock ticks twenty times a second while
 * tasks run, what they print appears as they print it, and the loop ends with the last of them.
 *
 * usage: libevent [TASKS]     with a running cluster: pcluster start --daemonize
 */
#include <pcluster.h>

#include <event2/event.h>

#include <stdio.h>
#include <stdlib.h>

struct state {
    struct event_base *base;
    struct pc_client *client;
    int left, ticks, failed;
};

static int fail(const char *why)
{
    fprintf(stderr, "libevent: %s\n", why);
    return 1;
}

/* ---- told by pc_dispatch ----------------------------------------------------------------- */

static void engine_came(struct pc_client *client, const struct pc_engine *engine, void *arg)
{
    printf("engine %u on %s, process %u\n", engine->id, engine->host, engine->pid);
}

static void output(struct pc_call *call, enum pc_stream stream, const char *text, size_t size,
                   void *arg)
{
    printf("[%u] ", pc_call_engine(call));
    fwrite(text, 1, size, stdout);
}

static void ended(struct pc_call *call, void *arg)
{
    struct state *state = arg;
    struct pc_value value;
    struct pc_err err;
    if (pc_call_value(call, &value, &err))
        state->failed = fail(err.text);
    if (--state->left == 0)
        event_base_loopbreak(state->base);
}

/* ---- told by libevent -------------------------------------------------------------------- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct state *state = arg;
    struct pc_err err;
    if (pc_dispatch(state->client, 0, &err) < 0) {
        state->failed = fail(err.text);
        event_base_loopbreak(state->base);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    ((struct state *)arg)->ticks++;
}

int main(int argc, char **argv)
{
    static const struct timeval tick = {.tv_usec = 50000};
    struct state state = {.left = argc > 1 ? atoi(argv[1]) : 4};
    struct pc_listener listener = {
        .engine_came = engine_came, .output = output, .ended = ended, .arg = &state};
    struct pc_err err;
    if (pc_client_open(&state.client, NULL, &err) ||
        pc_client_listen(state.client, &listener, &err))
        return fail(err.text);
    int fd = pc_client_fd(state.client, &err);
    if (fd < 0)
        return fail(err.text);
    state.base = event_base_new();
    struct event *readable = event_new(state.base, fd, EV_READ | EV_PERSIST, on_readable, &state);
    struct event *clock = event_new(state.base, -1, EV_PERSIST, on_tick, &state);
    event_add(readable, NULL);
    event_add(clock, &tick);
    for (int i = 0; i < state.left; i++) {
        struct pc_call *call;
        char source[128];
        snprintf(source, sizeof(source),
                 "import time\nprint('task %d begins', flush=True)\ntime.sleep(0.2)\n", i);
        if (pc_execute(state.client, NULL, source, &call, &err))
            return fail(err.text);
        pc_call_unref(call);
    }
    event_base_dispatch(state.base);
    printf("done; the clock has %s meanwhile\n", state.ticks > 1 ? "ticked" : "stood still");
    event_free(clock);
    event_free(readable);
    event_base_free(state.base);
    pc_client_close(state.client);
    return state.failed;
}
