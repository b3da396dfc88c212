/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/lifeline.h"

#include <stdlib.h>

#include "lib/proto.h"

#define DUE_COUNT 64
#define DUE_BYTES (256 * 1024)
/* More than a connection can hold: who has read it and acknowledges nothing costs us memory. */
#define UNTOLD_COUNT_MAX 1000000
#define UNTOLD_BYTES_MAX (UINT64_C(1) << 30)
#define UNTOLD_FEW       4096 /* of these the bytes don't matter */
#define KEPT_OVERHEAD    64

static uint64_t get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_acquire);
}

static void set(_Atomic uint64_t *value, uint64_t to)
{
    atomic_store_explicit(value, to, memory_order_release);
}

static uint64_t cost_of(const struct pc_msg *msg)
{
    return msg ? msg->parts_bytes + msg->head.body_size + KEPT_OVERHEAD : 0;
}

/* Lets go of what has arrived. */
void pc_lifeline_trim(struct pc_lifeline *lifeline)
{
    uint64_t arrived = get(&lifeline->arrived), sent = get(&lifeline->sent);
    while (lifeline->count && sent - lifeline->count < arrived) {
        struct pc_msg *msg = lifeline->kept[lifeline->first];
        lifeline->first = (lifeline->first + 1) & (lifeline->capacity - 1);
        lifeline->count--;
        lifeline->kept_bytes -= cost_of(msg);
        pc_msg_unref(msg);
    }
}

void pc_lifeline_fini(struct pc_lifeline *lifeline)
{
    for (size_t i = 0; i < lifeline->count; i++)
        pc_msg_unref(lifeline->kept[(lifeline->first + i) & (lifeline->capacity - 1)]);
    free(lifeline->kept);
    *lifeline = (struct pc_lifeline){.is_told_apart = lifeline->is_told_apart,
                                     .hears_apart = lifeline->hears_apart};
}

void pc_lifeline_restart(struct pc_lifeline *lifeline)
{
    pc_lifeline_fini(lifeline);
}

static int grow(struct pc_lifeline *lifeline)
{
    size_t capacity = lifeline->capacity ? 2 * lifeline->capacity : 4;
    struct pc_msg **kept = malloc(capacity * sizeof(*kept));
    if (!kept)
        return -1;
    for (size_t i = 0; i < lifeline->count; i++)
        kept[i] = lifeline->kept[(lifeline->first + i) & (lifeline->capacity - 1)];
    free(lifeline->kept);
    lifeline->kept = kept;
    lifeline->first = 0;
    lifeline->capacity = capacity;
    return 0;
}

int pc_lifeline_keep(struct pc_lifeline *lifeline, struct pc_msg *msg)
{
    pc_lifeline_trim(lifeline);
    if (lifeline->count == lifeline->capacity && grow(lifeline))
        return -1;
    lifeline->kept[(lifeline->first + lifeline->count++) & (lifeline->capacity - 1)] =
        pc_msg_ref(msg);
    lifeline->kept_bytes += cost_of(msg);
    set(&lifeline->sent, get(&lifeline->sent) + 1);
    return 0;
}

void pc_lifeline_give_up(struct pc_lifeline *lifeline, const struct pc_msg *msg)
{
    pc_lifeline_trim(lifeline);
    for (size_t i = lifeline->count; i-- > 0;) { /* it is one of the last */
        struct pc_msg **kept = &lifeline->kept[(lifeline->first + i) & (lifeline->capacity - 1)];
        if (*kept != msg)
            continue;
        lifeline->kept_bytes -= cost_of(msg);
        pc_msg_unref(*kept);
        *kept = NULL;
        return;
    }
}

uint64_t pc_lifeline_tell_apart(struct pc_lifeline *lifeline)
{
    uint64_t received = get(&lifeline->received);
    set(&lifeline->told, received);
    return received;
}

uint16_t pc_lifeline_tell(struct pc_lifeline *lifeline)
{
    return lifeline->is_told_apart ? 0 : (uint16_t)pc_lifeline_tell_apart(lifeline);
}

int pc_lifeline_arrived(struct pc_lifeline *lifeline, uint64_t arrived, struct pc_err *err)
{
    if (arrived > get(&lifeline->sent))
        return pc_err_set(err, PC_E_PROTOCOL, "%llu messages are said to have come, of %llu sent",
                          (unsigned long long)arrived, (unsigned long long)get(&lifeline->sent));
    if (arrived > get(&lifeline->arrived)) /* not said before the connection broke */
        set(&lifeline->arrived, arrived);
    return 0;
}

static int take_count(struct pc_lifeline *lifeline, const struct pc_msg *msg, uint16_t arrived,
                      struct pc_err *err)
{
    uint64_t before = get(&lifeline->arrived);
    /* Acknowledgements never go back, and come often enough. */
    uint64_t now = before + (uint16_t)(arrived - (uint16_t)before);
    if (now > get(&lifeline->sent))
        return pc_err_set(err, PC_E_PROTOCOL, "%s acknowledges a message that was not sent",
                          pc_msg_name(msg->head.type));
    set(&lifeline->arrived, now);
    pc_lifeline_trim(lifeline);
    return 0;
}

int pc_lifeline_take(struct pc_lifeline *lifeline, const struct pc_msg *msg, uint16_t arrived,
                     struct pc_err *err)
{
    uint64_t told = get(&lifeline->told);
    if (!lifeline->hears_apart && take_count(lifeline, msg, arrived, err))
        return -1;
    if (told != lifeline->seen_told) {
        lifeline->seen_told = told;
        lifeline->bytes = 0;
    }
    if (msg->head.type == PC_MSG_RECEIVED)
        return 0;
    lifeline->bytes += msg->parts_bytes;
    set(&lifeline->received, get(&lifeline->received) + 1);
    return 0;
}

bool pc_lifeline_is_ignored(const struct pc_lifeline *lifeline)
{
    return !lifeline->hears_apart &&
           (lifeline->count > UNTOLD_COUNT_MAX ||
            (lifeline->count > UNTOLD_FEW && lifeline->kept_bytes > UNTOLD_BYTES_MAX));
}

bool pc_lifeline_is_due(const struct pc_lifeline *lifeline)
{
    uint64_t untold = get(&lifeline->received) - get(&lifeline->told);
    return untold >= DUE_COUNT || (untold && lifeline->bytes >= DUE_BYTES);
}

int pc_lifeline_resume(struct pc_lifeline *lifeline, uint64_t arrived, struct pc_err *err)
{
    if (arrived < get(&lifeline->arrived) || arrived > get(&lifeline->sent))
        return pc_err_set(err, PC_E_PROTOCOL,
                          "it goes on with a session after %llu messages; from %llu to %llu are "
                          "possible",
                          (unsigned long long)arrived, (unsigned long long)get(&lifeline->arrived),
                          (unsigned long long)get(&lifeline->sent));
    set(&lifeline->arrived, arrived);
    pc_lifeline_trim(lifeline);
    set(&lifeline->told, get(&lifeline->received)); /* the handshake said so */
    return 0;
}

struct pc_msg *pc_lifeline_kept(const struct pc_lifeline *lifeline, size_t index, uint64_t *number)
{
    *number = get(&lifeline->sent) - lifeline->count + index + 1;
    return lifeline->kept[(lifeline->first + index) & (lifeline->capacity - 1)];
}
