/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values for options that were not given on the command line: from the environment
 * (PCLUSTER_LOG_LEVEL for --log-level), then the profile's pcluster.conf, then that of /etc. Only
 * commands that start something have settings; every command takes PCLUSTER_PROFILE,
 * PCLUSTER_PROFILE_DIR and PCLUSTER_CLUSTER_ID, which name a cluster and so can't be in a file.
 */
#ifndef PC_CMD_SETTINGS_H
#define PC_CMD_SETTINGS_H

#include "cmd/options.h"
#include "lib/err.h"

/* `origins` has one for each row: those that are OPTION_BY_DEFAULT may get a value. Both files are
 * checked as a whole, whatever wins. -1 with file, line and what was expected. */
int settings_apply(const struct option_page *page, struct option_origin *origins,
                   struct pc_err *err);

/* "PCLUSTER_LOG_LEVEL" for "log-level", for the caller to free(). */
char *settings_variable(const char *option);
/* The files, whether they are there or not; -1 when the profile has no valid name. */
int settings_profile_path(const char *profile, const char *dir, char *path, size_t size,
                          struct pc_err *err);
void settings_system_path(char *path, size_t size);

#endif
