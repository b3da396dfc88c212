/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of a cluster in the background, kept within a limit. Every process of the cluster writes
 * to the same open file, so there is no moment at which all could be given another one: what was
 * written is moved to an old file, and this one begins anew.
 */
#ifndef PC_PARENT_LOGFILE_H
#define PC_PARENT_LOGFILE_H

#include <stdint.h>

#include "lib/err.h"

#define PARENT_LOG_FILES_MAX 100

struct parent;

/* Looks now and then; needs the loop, and a log. */
void parent_log_watch(struct parent *parent);

/* When the file open as `fd`, which is that of `path`, has more than max_bytes: "path.1" becomes
 * "path.2" and so on, as far as `files`, and what is in it "path.1". Bytes that are written between
 * the last look and the cut are lost: some microseconds' worth. 1: it was done; 0: it was not
 * necessary, or somebody else has put another file in its place. */
int parent_log_turn(int fd, const char *path, int64_t max_bytes, long files, struct pc_err *err);

#endif
