/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding a running cluster and asking it. Only ever by connecting: no pid file is believed. */
#ifndef PC_CMD_ASK_H
#define PC_CMD_ASK_H

#include "cmd/options.h"
#include "lib/err.h"
#include "lib/json.h"

#define ASK_TIMEOUT_MS 5000

/* Which cluster is meant. */
struct ask_where {
    const char *profile;
    const char *profile_dir; /* wins over profile */
    const char *cluster_id;
    const char *file; /* wins over all of them */
    int timeout_ms;   /* 0: ASK_TIMEOUT_MS */
};

/* Its options; the base is a struct ask_where. */
extern const struct option_row ask_name_rows[]; /* profile, profile-dir, cluster-id */
extern const struct option_row ask_file_rows[]; /* file */

int ask_connect(struct pc_client **client, const struct ask_where *where, struct pc_err *err);
/* The reply to a query; NULL also when the controller refused it. */
pc_json *ask_query(struct pc_client *client, const char *query, int timeout_ms, struct pc_err *err);
/* The same for a query that has more than its name; takes it. */
pc_json *ask_json(struct pc_client *client, pc_json *query, int timeout_ms, struct pc_err *err);
/* Connects, asks one question, which it takes, and hands the reply to `show`, or prints it as JSON
 * when show is NULL. Returns the exit code of the command; what went wrong is said. */
int ask_once(const char *command, const struct ask_where *where, pc_json *query,
             void (*show)(const pc_json *reply, void *arg), void *arg);
/* Of an engine in the answer to `status`: it is there, and not listed because of how it ended. */
bool ask_is_up(const pc_json *engine);
size_t ask_count_up(const pc_json *engines);
/* Its tags, "big,gpu". */
void ask_tags_text(const pc_json *engine, char *text, size_t size);
/* True for the errors that mean: there is no such cluster. */
bool ask_is_nothing(const struct pc_err *err);
/* Reports an error of a command; returns its exit code, 1 or 11. */
int ask_error(const char *command, const struct pc_err *err);

#endif
