/* SPDX-License-Identifier: BSD-3-Clause */
/* What can be asked of a task, by name, and the value of that. */
#ifndef PC_HUB_FIELD_H
#define PC_HUB_FIELD_H

#include "hub/store.h"

enum hub_value_type {
    HUB_VALUE_NONE,
    HUB_VALUE_NUMBER,
    HUB_VALUE_TEXT,
    HUB_VALUE_IDS, /* of tasks */
};

struct hub_value {
    enum hub_value_type type;
    int64_t number;
    const char *text; /* not terminated: it may contain zeros */
    size_t size;
    const uint8_t *ids; /* PC_ACK_SIZE bytes each */
    size_t count;
    char *owned; /* memory of `text` that hub_value_fini frees */
    char few[HUB_ID_SIZE];
};

struct hub_field {
    const char *name;
    void (*get)(const struct hub_task *task, struct hub_value *value);
    bool is_payload; /* made from request, result or output */
};

/* NULL: there is no such field. */
const struct hub_field *hub_field_find(const char *name);
/* All of them, in the order in which they are shown; ends with name NULL. */
extern const struct hub_field hub_fields[];

/* Call hub_value_fini afterwards. */
void hub_field_get(const struct hub_field *field, struct hub_store *store, struct hub_task *task,
                   struct hub_value *value);
void hub_value_fini(struct hub_value *value);
/* Puts it under that name. */
void hub_value_put(const struct hub_value *value, const char *name, pc_json *object);
/* Bytes that it takes in a reply, roughly. */
size_t hub_value_cost(const struct hub_value *value);

#endif
