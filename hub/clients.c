/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/clients.h"

#include <stdlib.h>

#include "lib/mem.h"

struct hub_client *hub_clients_find(struct hub_clients *clients, uint64_t session)
{
    struct hub_client *client;
    HASH_FIND(hh, clients->by_session, &session, sizeof(session), client);
    return client;
}

static void client_free(struct hub_clients *clients, struct hub_client *client)
{
    HASH_DEL(clients->by_session, client);
    free(client->host);
    free(client);
}

void hub_clients_fini(struct hub_clients *clients)
{
    struct hub_client *client, *next;
    HASH_ITER (hh, clients->by_session, client, next)
        client_free(clients, client);
}

void hub_clients_add(struct hub_clients *clients, uint64_t session, uint32_t pid, const char *host)
{
    struct hub_client *client = hub_clients_find(clients, session);
    if (!client) {
        client = pc_xcalloc(1, sizeof(*client));
        client->session = session;
        HASH_ADD(hh, clients->by_session, session, sizeof(client->session), client);
    }
    client->pid = pid;
    free(client->host);
    client->host = pc_xstrdup(host);
}

void hub_clients_set_away(struct hub_clients *clients, uint64_t session, bool is_away)
{
    struct hub_client *client = hub_clients_find(clients, session);
    if (client)
        client->is_away = is_away;
}

bool hub_clients_is_there(struct hub_clients *clients, uint64_t session)
{
    const struct hub_client *client = hub_clients_find(clients, session);
    return client && !client->is_away;
}

void hub_clients_remove(struct hub_clients *clients, uint64_t session)
{
    struct hub_client *client = hub_clients_find(clients, session);
    if (client)
        client_free(clients, client);
}

unsigned hub_clients_count(const struct hub_clients *clients)
{
    return HASH_COUNT(clients->by_session);
}
