/* SPDX-License-Identifier: BSD-3-Clause */
/* Functions of a client: made once, sent once per connection; see known.h. */
#include <stdlib.h>

#include "lib/client.h"

_Static_assert(PC_FUNCTION_BYTES_MAX == PC_FUNCTION_MAX, "what the header says is the protocol's");

struct pc_function *pc_function_new(const void *pickle, size_t size, struct pc_err *err)
{
    if (!pickle) {
        pc_err_set(err, PC_E_INVALID, "no pickled function was given");
        return NULL;
    }
    if (size > PC_FUNCTION_MAX) {
        pc_err_set(err, PC_E_INVALID, "a function of %zu bytes; at most %zu are possible", size,
                   PC_FUNCTION_BYTES_MAX);
        return NULL;
    }
    struct pc_function *function = malloc(sizeof(*function));
    struct pc_msg *msg = function ? pc_function_msg(pickle, size) : NULL;
    if (!msg) {
        free(function);
        pc_err_set(err, PC_E_MEMORY, "out of memory");
        return NULL;
    }
    atomic_init(&function->refs, 1);
    function->msg = msg;
    return function;
}

struct pc_bytes pc_function_bytes(const struct pc_function *function)
{
    if (!function)
        return (struct pc_bytes){0};
    const struct pc_part *part = &function->msg->parts[0];
    return (struct pc_bytes){.data = part->data, .size = part->size};
}

struct pc_function *pc_function_ref(struct pc_function *function)
{
    if (function)
        atomic_fetch_add_explicit(&function->refs, 1, memory_order_relaxed);
    return function;
}

void pc_function_unref(struct pc_function *function)
{
    if (!function || atomic_fetch_sub_explicit(&function->refs, 1, memory_order_acq_rel) != 1)
        return;
    pc_msg_unref(function->msg);
    free(function);
}
