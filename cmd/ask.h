/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding a running cluster and asking it. Only ever by connecting: no pid file is believed. */
#ifndef PC_CMD_ASK_H
#define PC_CMD_ASK_H

#include "lib/err.h"
#include "lib/json.h"

#define ASK_TIMEOUT_MS 5000

/* Which cluster: the options that status, exec and stop share. */
struct ask_where {
    const char *profile;
    const char *cluster_id;
    const char *file; /* wins */
    int timeout_ms;   /* 0: ASK_TIMEOUT_MS */
};

int ask_connect(struct pc_client **client, const struct ask_where *where, struct pc_err *err);
/* The reply to a query without arguments; NULL also when the controller refused it. */
pc_json *ask_query(struct pc_client *client, const char *query, int timeout_ms, struct pc_err *err);
/* True for the errors that mean: there is no such cluster. */
bool ask_is_nothing(const struct pc_err *err);
/* Reports an error of a command; returns its exit code, 1 or 11. */
int ask_error(const char *command, const struct pc_err *err);

#endif
