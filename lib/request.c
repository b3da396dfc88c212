/* SPDX-License-Identifier: BSD-3-Clause */
/* What is wrong with a request, before anything is made of it. */
#include "lib/client.h"
#include "lib/proto.h"

static int check_needs(const struct pc_needs *needs, struct pc_err *err)
{
    if (needs->count > PC_NEEDS_MAX)
        return pc_err_set(err, PC_E_INVALID, "%zu dependencies; at most %d are possible",
                          needs->count, PC_NEEDS_MAX);
    if (needs->count && !needs->tasks)
        return pc_err_set(err, PC_E_INVALID, "dependencies are counted but not given");
    if (needs->count && !(needs->rule & (PC_NEED_SUCCESS | PC_NEED_FAILURE)))
        return pc_err_set(err, PC_E_INVALID, "a dependency that neither success nor failure meets");
    return 0;
}

static int check_parts(const struct pc_request *request, struct pc_err *err)
{
    uint64_t left = PC_PARTS_BYTES_MAX;
    if (request->part_count > PC_PARTS_MAX)
        return pc_err_set(err, PC_E_INVALID, "%zu buffers in one call; at most %d are possible",
                          request->part_count, PC_PARTS_MAX);
    if (request->part_count && !request->parts)
        return pc_err_set(err, PC_E_INVALID, "parts are counted but not given");
    for (size_t i = 0; i < request->part_count; i++) {
        if (request->parts[i].size && !request->parts[i].data)
            return pc_err_set(err, PC_E_INVALID, "part %zu has a size but no data", i);
        if (request->parts[i].size > left)
            return pc_err_set(err, PC_E_INVALID,
                              "a call with more than %llu GiB; send it in several",
                              (unsigned long long)(PC_PARTS_BYTES_MAX >> 30));
        left -= request->parts[i].size;
    }
    return 0;
}

static int check_targets(const struct pc_request *request, struct pc_err *err)
{
    if (!request->is_balanced && request->target_count == 0)
        return pc_err_set(err, PC_E_NO_ENGINE, "no engine was named");
    if (request->target_count > PC_TARGETS_MAX)
        return pc_err_set(err, PC_E_INVALID, "%zu targets; at most %d are possible",
                          request->target_count, PC_TARGETS_MAX);
    if (request->target_count && !request->targets)
        return pc_err_set(err, PC_E_INVALID, "targets are counted but not given");
    return 0;
}

int pc_request_durable(const struct pc_client *client, const struct pc_request *request,
                       struct pc_err *err)
{
    bool can_be = request->is_balanced && !request->target_count;
    if (!request->options || !request->options->durable)
        return client->all_durable && can_be;
    if (!can_be)
        return pc_err_set(err, PC_E_INVALID,
                          "a durable task can't be restricted to engines by their ids, which mean "
                          "nothing after a restart: let any engine run it, or give it tags");
    if (!client->takes_durable)
        return pc_err_set(err, PC_E_INVALID,
                          "this cluster keeps no tasks on disk, so none can be durable: start it "
                          "with 'pcluster start --store sqlite'");
    return 1;
}

int pc_request_check(const struct pc_request *request, struct pc_err *err)
{
    if (!request)
        return pc_err_set(err, PC_E_INVALID, "no request was given");
    if (request->kind < PC_KIND_APPLY || request->kind > PC_KIND_CLEAR)
        return pc_err_set(err, PC_E_INVALID, "%d is no kind of request", (int)request->kind);
    if (check_targets(request, err))
        return -1;
    if (request->options && !request->is_balanced)
        return pc_err_set(err, PC_E_INVALID, "only balanced requests have options");
    if (request->function && request->kind != PC_KIND_APPLY)
        return pc_err_set(err, PC_E_INVALID, "only APPLY has a function");
    if (request->options &&
        (check_needs(&request->options->after, err) || check_needs(&request->options->follow, err)))
        return -1;
    return check_parts(request, err);
}
