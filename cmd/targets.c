/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/targets.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

/* A number at *at, which moves behind it. */
static int read_id(const char **at, uint32_t *id)
{
    char *end;
    if (**at < '0' || **at > '9')
        return -1;
    errno = 0;
    unsigned long value = strtoul(*at, &end, 10);
    if (errno || value >= UINT32_MAX)
        return -1;
    *id = (uint32_t)value;
    *at = end;
    return 0;
}

void targets_text(const uint32_t *ids, size_t count, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count && used + 32 < size; i++) {
        size_t first = i;
        while (i + 1 < count && ids[i + 1] == ids[i] + 1)
            i++;
        used += (size_t)snprintf(text + used, size - used, "%s%u", used ? "," : "", ids[first]);
        if (first != i)
            used += (size_t)snprintf(text + used, size - used, "-%u", ids[i]);
    }
}

static void engines_text(const struct pc_engine *engines, size_t count, char *text, size_t size)
{
    uint32_t *ids = pc_xcalloc(count, sizeof(*ids));
    for (size_t i = 0; i < count; i++)
        ids[i] = engines[i].id;
    targets_text(ids, count, text, size);
    free(ids);
}

/* By rising id; so are the engines. */
static const struct pc_engine *find(const struct pc_engine *engines, size_t count, uint32_t id)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (engines[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && engines[low].id == id ? &engines[low] : NULL;
}

/* Adds first..last; `taken` has a flag per engine. */
static int add_range(const struct pc_engine *engines, size_t engine_count, uint32_t first,
                     uint32_t last, bool *taken, uint32_t *ids, size_t *count, struct pc_err *err)
{
    for (uint32_t id = first; id <= last; id++) {
        const struct pc_engine *engine = find(engines, engine_count, id);
        char there[200];
        if (!engine) {
            engines_text(engines, engine_count, there, sizeof(there));
            return pc_err_set(err, PC_E_NO_ENGINE, "there is no engine %u; there are: %s", id,
                              there);
        }
        if (!taken[engine - engines])
            ids[(*count)++] = id;
        taken[engine - engines] = true;
    }
    return 0;
}

static int read_list(const char *text, const struct pc_engine *engines, size_t engine_count,
                     bool *taken, uint32_t *ids, size_t *count, struct pc_err *err)
{
    for (const char *at = text;; at++) {
        uint32_t first, last;
        int bad = read_id(&at, &first);
        last = first;
        if (!bad && *at == '-') {
            at++;
            bad = read_id(&at, &last);
        }
        if (bad || last < first || (*at && *at != ','))
            return pc_err_set(err, PC_E_INVALID,
                              "targets '%s' are neither 'all' nor a list like '0-3,7'", text);
        if (add_range(engines, engine_count, first, last, taken, ids, count, err) < 0)
            return -1;
        if (!*at)
            return 0;
    }
}

int targets_read(const char *text, const struct pc_engine *engines, size_t engine_count,
                 uint32_t **ids, size_t *count, struct pc_err *err)
{
    if (engine_count == 0)
        return pc_err_set(err, PC_E_NO_ENGINE,
                          "the cluster has no engines; add some with 'pcluster engine -n 4'");
    uint32_t *list = pc_xcalloc(engine_count, sizeof(*list));
    size_t found = 0;
    int status = 0;
    if (strcmp(text, "all") == 0) {
        for (; found < engine_count; found++)
            list[found] = engines[found].id;
    } else {
        bool *taken = pc_xcalloc(engine_count, sizeof(*taken));
        status = read_list(text, engines, engine_count, taken, list, &found, err);
        free(taken);
    }
    if (status < 0) {
        free(list);
        return -1;
    }
    *ids = list;
    *count = found;
    return 0;
}
