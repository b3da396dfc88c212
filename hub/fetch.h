/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Results for those who ask for them. A client names tasks, of any client, under numbers of its
 * own, and gets STREAM and RESULT under these: at once, or when the task ends.
 */
#ifndef PC_HUB_FETCH_H
#define PC_HUB_FETCH_H

#include "hub/history.h"
#include "lib/conn.h"

/* Results that are waited for, by all clients together. */
#define HUB_WATCHES_MAX 1000000

struct hub_watches {
    struct hub_watch *all;
    size_t count;
};

void hub_watches_fini(struct hub_watches *watches);
/* The client is gone. */
void hub_watches_drop(struct hub_watches *watches, uint64_t session);

/*
 * Answers a QUERY {"query": "fetch", "what": "result" | "request" | "again", "tasks": [ids]}: task
 * i under the sequence of the message + i. -1: it is not understood, and nothing was sent.
 * With `to` NULL nothing is sent at all, only noted what was submitted again.
 */
int hub_fetch(struct hub_history *history, struct hub_watches *watches, struct pc_conn *to,
              const struct pc_frame *head, const pc_json *question, struct pc_err *err);

/* Passes output of a task on to those who watch it, but for the first bytes, which are known. */
void hub_watches_print(struct hub_task *task, struct pc_conn *to, const struct pc_msg *output,
                       size_t known);
/* The task has ended. */
void hub_watches_end(struct hub_watches *watches, struct hub_history *history,
                     struct hub_task *task, struct pc_conn *to);

#endif
