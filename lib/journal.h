/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines for systemd's journal, with fields (systemd.journal-fields(7)): a datagram for each, of
 * lines "NAME=value". Used when standard error is the journal anyway.
 */
#ifndef PC_LIB_JOURNAL_H
#define PC_LIB_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/log.h"

#define PC_JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Whether descriptor `fd` is what $JOURNAL_STREAM, "device:inode", says. */
bool pc_journal_is_stream(int fd, const char *journal_stream);
/* A descriptor for pc_journal_send; -1 when nobody listens at `path`. */
int pc_journal_open(const char *path);

/* `priority` as of syslog(3): 3 error, 4 warning, 6 info, 7 debug. `role` is "hub", "engine 3". The
 * number of an engine, of the role or of the subject, which may be NULL, becomes PCLUSTER_ENGINE,
 * the id of a task PCLUSTER_TASK. -1 when it was not taken. */
int pc_journal_send(int fd, int priority, const char *role, const struct pc_log_subject *subject,
                    const char *message);

#endif
