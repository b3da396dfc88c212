/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first five minutes of the README, in C: say hello on every engine, keep something in their
 * namespaces, spread tasks over those that are free, and see an error.
 *
 * usage: hello [PROFILE]     with a running cluster: pcluster start -n 4 --daemonize
 */
#include <pcluster.h>

#include <stdio.h>
#include <stdlib.h>

#define SQUARES 8

static _Noreturn void die(const struct pc_err *err)
{
    fprintf(stderr, "hello: %s\n", err->text);
    exit(1);
}

/* Prints the value of each call, in one line. */
static void show(const char *title, struct pc_call **calls, size_t count)
{
    struct pc_err err;
    struct pc_value value;
    printf("%s:", title);
    for (size_t i = 0; i < count; i++) {
        if (pc_call_get(calls[i], -1, &value, &err))
            die(&err);
        printf(" %s", (const char *)value.data);
        pc_call_unref(calls[i]);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    struct pc_connect how = {.profile = argc > 1 ? argv[1] : NULL};
    struct pc_client *client;
    struct pc_err err;
    if (pc_client_open(&client, &how, &err))
        die(&err);

    struct pc_engine *engines;
    size_t count;
    if (pc_client_engines(client, &engines, &count, &err))
        die(&err);
    uint32_t *ids = calloc(count + 1, sizeof(*ids));
    struct pc_call **calls = calloc(count + SQUARES, sizeof(struct pc_call *));
    if (!ids || !calls)
        return 1;
    for (size_t i = 0; i < count; i++)
        ids[i] = engines[i].id;
    pc_engines_free(engines);

    /* Everyone: one call on each engine. */
    struct pc_request everyone = {.targets = ids, .target_count = count};
    if (pc_execute(client, &everyone, "'Hello, World'", calls, &err))
        die(&err);
    show("hello", calls, count);

    /* Engines keep a namespace between calls. */
    if (pc_push(client, &everyone, "{\"n\": 10}", calls, &err))
        die(&err);
    show("push", calls, count);
    if (pc_execute(client, &everyone, "total = sum(range(n))", calls, &err))
        die(&err);
    show("execute", calls, count);
    if (pc_pull(client, &everyone, "\"total\"", calls, &err))
        die(&err);
    show("pull", calls, count);

    /* Each task goes to an engine that is free. */
    for (int i = 0; i < SQUARES; i++) {
        char arguments[32];
        snprintf(arguments, sizeof(arguments), "[%d, 2]", i);
        if (pc_apply(client, NULL, "builtins:pow", arguments, &calls[i], &err))
            die(&err);
    }
    show("squares", calls, SQUARES);

    /* Errors come back with the engine's traceback. */
    struct pc_value value;
    struct pc_failure *failure;
    if (pc_execute(client, NULL, "1 / 0", &calls[0], &err))
        die(&err);
    if (pc_call_get(calls[0], -1, &value, &err) == 0 || err.code != PC_E_TASK)
        return 1;
    printf("error: %s\n", err.text);
    if (pc_call_failure(calls[0], &failure, &err))
        die(&err);
    printf("%s", failure->traceback);
    free(failure);
    pc_call_unref(calls[0]);

    free(calls);
    free(ids);
    pc_client_close(client);
    return 0;
}
