/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is connected as a client. */
#ifndef PC_HUB_CLIENTS_H
#define PC_HUB_CLIENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/json.h"

#include <uthash.h>

/* Owned by hub_clients. */
struct hub_client {
    uint64_t session;
    uint32_t pid;
    bool is_away; /* its connection broke, and it may come back */
    char *host;
    UT_hash_handle hh;
};

struct hub_clients {
    struct hub_client *by_session;
};

void hub_clients_fini(struct hub_clients *clients);
/* A session that is known already is only brought up to date. */
void hub_clients_add(struct hub_clients *clients, uint64_t session, uint32_t pid, const char *host);
void hub_clients_set_away(struct hub_clients *clients, uint64_t session, bool is_away);
/* NULL: it has left, or was never here. */
struct hub_client *hub_clients_find(struct hub_clients *clients, uint64_t session);
/* Neither away nor gone. */
bool hub_clients_is_there(struct hub_clients *clients, uint64_t session);
void hub_clients_remove(struct hub_clients *clients, uint64_t session);
unsigned hub_clients_count(const struct hub_clients *clients);

#endif
