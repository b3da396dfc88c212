/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keys that let somebody in: one for clients and one for engines, and those of before.
 *
 * A key that was replaced is good for a moment more, because somebody may just have read it, and
 * then only for those that were here already: what they have is a token.
 */
#include <string.h>

#include "sched/state.h"

static int hex_key(const pc_json *config, const char *name, uint8_t key[PC_KEY_SIZE],
                   struct pc_err *err)
{
    const char *text;
    if (pc_json_get_str(config, name, &text, err))
        return -1;
    if (pc_hex_decode(text, key, PC_KEY_SIZE))
        return pc_err_set(err, PC_E_INVALID, "'%s' in CONFIG is no key", name);
    return 0;
}

/* The first two are in force; the oldest are forgotten. */
int keys_take(struct sched *s, const pc_json *config, struct pc_err *err)
{
    struct known_key client = {.is_client = true}, engine = {.is_client = false};
    int64_t overlap_ms = pc_json_i64_or(config, "overlap_ms", SCHED_KEYS_OVERLAP_MS);
    if (hex_key(config, "client_public", client.key, err) ||
        hex_key(config, "engine_public", engine.key, err))
        return -1;
    for (unsigned i = 0; i < 2 && i < s->key_count; i++)
        s->keys[i].until_ms = world_now_ms(s) + overlap_ms;
    if (s->key_count < SCHED_KEYS_MAX)
        s->key_count += 2;
    memmove(s->keys + 2, s->keys, (s->key_count - 2) * sizeof(s->keys[0]));
    s->keys[0] = client;
    s->keys[1] = engine;
    return 0;
}

const struct known_key *keys_find(const struct sched *s, const uint8_t key[PC_KEY_SIZE])
{
    for (unsigned i = 0; i < s->key_count; i++)
        if (pc_equal(s->keys[i].key, key, PC_KEY_SIZE))
            return &s->keys[i];
    return NULL;
}

bool key_is_over(struct sched *s, const struct known_key *known)
{
    return known->until_ms && world_now_ms(s) >= known->until_ms;
}
