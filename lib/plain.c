/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests without pickle. Each is an ordinary request whose flags say how its parts are to be
 * read; the other half is engine/pcluster_plain.py.
 */
#include "lib/client.h"

#include <stdlib.h>
#include <string.h>

static struct pc_bytes text_part(const char *text)
{
    return (struct pc_bytes){.data = text, .size = strlen(text)};
}

/* Submits `how` with these parts, and its own parts after them. */
static int submit(struct pc_client *client, const struct pc_request *how, enum pc_kind kind,
                  const struct pc_bytes *first, size_t first_count, struct pc_call **calls,
                  struct pc_err *err)
{
    static const struct pc_request anywhere = {.is_balanced = true};
    struct pc_request request = how ? *how : anywhere;
    struct pc_bytes *parts = NULL;
    request.kind = kind;
    if (request.function)
        return pc_err_set(err, PC_E_INVALID, "a request without pickle has no pickled function");
    if (!(request.flags & (PC_RUN_JSON | PC_RUN_BYTES)))
        request.flags |= PC_RUN_JSON | PC_RUN_BYTES;
    if (request.part_count) {
        if (pc_request_check(&request, err))
            return -1;
        parts = calloc(first_count + request.part_count, sizeof(*parts));
        if (!parts)
            return pc_err_set(err, PC_E_MEMORY, "out of memory");
        memcpy(parts, first, first_count * sizeof(*parts));
        memcpy(parts + first_count, request.parts, request.part_count * sizeof(*parts));
    }
    request.parts = parts ? parts : first;
    request.part_count += first_count;
    int failed = pc_submit(client, &request, calls, err);
    free(parts);
    return failed;
}

int pc_apply(struct pc_client *client, const struct pc_request *how, const char *function,
             const char *arguments, struct pc_call **calls, struct pc_err *err)
{
    if (!function || !*function)
        return pc_err_set(err, PC_E_INVALID, "no function was named");
    struct pc_bytes parts[] = {text_part(function), text_part(arguments ? arguments : "")};
    return submit(client, how, PC_KIND_APPLY, parts, 2, calls, err);
}

int pc_execute(struct pc_client *client, const struct pc_request *how, const char *source,
               struct pc_call **calls, struct pc_err *err)
{
    if (!source)
        return pc_err_set(err, PC_E_INVALID, "no source text was given");
    if (how && how->part_count)
        return pc_err_set(err, PC_E_INVALID, "source text takes no parts");
    struct pc_bytes part = text_part(source);
    return submit(client, how, PC_KIND_EXECUTE, &part, 1, calls, err);
}

int pc_push(struct pc_client *client, const struct pc_request *how, const char *values,
            struct pc_call **calls, struct pc_err *err)
{
    if (!values)
        return pc_err_set(err, PC_E_INVALID, "no values to push were given");
    struct pc_bytes part = text_part(values);
    return submit(client, how, PC_KIND_PUSH, &part, 1, calls, err);
}

int pc_pull(struct pc_client *client, const struct pc_request *how, const char *names,
            struct pc_call **calls, struct pc_err *err)
{
    if (!names)
        return pc_err_set(err, PC_E_INVALID, "no names to pull were given");
    if (how && how->part_count)
        return pc_err_set(err, PC_E_INVALID, "pulling takes no parts");
    struct pc_bytes part = text_part(names);
    return submit(client, how, PC_KIND_PULL, &part, 1, calls, err);
}
