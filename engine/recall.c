/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/recall.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t *begun; /* RUNs that the main thread has come to; the nursery looks at it, too */
static struct pc_recall_body recalled;
static bool is_ahead; /* it has not come to the last of those yet */

void eng_recall_init(uint32_t *memory)
{
    begun = memory;
}

bool eng_recall_begin(void)
{
    pthread_mutex_lock(&lock);
    uint32_t number = ++*begun;
    bool may_run = !is_ahead || number - recalled.first > recalled.last - recalled.first;
    if (number == recalled.last)
        is_ahead = false;
    pthread_mutex_unlock(&lock);
    return may_run;
}

uint32_t eng_recall_restart(void)
{
    pthread_mutex_lock(&lock);
    uint32_t number = *begun;
    is_ahead = false;
    pthread_mutex_unlock(&lock);
    return number;
}

void eng_recall(struct pc_recall_body *body)
{
    pthread_mutex_lock(&lock);
    int32_t count = (int32_t)(body->last - body->first + 1);
    int32_t late = (int32_t)(*begun + 1 - body->first); /* of them have begun */
    /* There is one range: what neither meets it nor follows it has to be asked for again. */
    if (is_ahead && (int32_t)(body->first - recalled.last) > 1)
        late = count;
    if (late > count)
        late = count;
    if (late > 0)
        body->first += (uint32_t)late;
    if (body->first != body->last + 1) {
        if (!is_ahead || (int32_t)(body->first - recalled.first) < 0)
            recalled.first = body->first;
        recalled.last = body->last;
        is_ahead = true;
    }
    pthread_mutex_unlock(&lock);
}
