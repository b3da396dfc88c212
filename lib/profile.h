/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Profile folders: ~/.pcluster/profile_<name>/ (or below $PCLUSTER_DIR) with security/, log/ and
 * run/, all 0700; and the names of the files in them.
 */
#ifndef PC_LIB_PROFILE_H
#define PC_LIB_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

struct pc_profile {
    char name[128];
    char dir[768];        /* absolute */
    bool is_named_by_dir; /* the name alone does not lead there */
};

/* Names are letters, digits, '_', '-', '.', not starting with '.'; PC_E_INVALID otherwise.
 * `dir` wins over `name`, and the profile is then called after the folder, or "custom" when that is
 * no name; both NULL: $PCLUSTER_PROFILE_DIR, $PCLUSTER_PROFILE, or "default". Touches nothing. */
int pc_profile_resolve(struct pc_profile *profile, const char *name, const char *dir,
                       struct pc_err *err);
bool pc_cluster_id_is_valid(const char *cluster_id); /* same characters; "" is valid */
bool pc_profile_exists(const struct pc_profile *profile);
/* Makes the folder and its sub-folders with mode 0700; PC_E_SYSTEM, or PC_E_INVALID when one
 * exists and belongs to someone else or is open to others. */
int pc_profile_create(const struct pc_profile *profile, struct pc_err *err);

/* "<dir>/security/pcluster[-<cluster_id>]-<role>.json" */
int pc_profile_connfile(const struct pc_profile *profile, const char *cluster_id, const char *role,
                        char *path, size_t size, struct pc_err *err);
/* Path for the Unix socket: in $XDG_RUNTIME_DIR/pcluster (made when missing) when usable, that is
 * ours alone and short enough, else in "<dir>/run". The whole path may have at most 107 bytes
 * (PC_E_INVALID, naming the path and PCLUSTER_DIR). */
#define PC_SOCKET_PATH_MAX 107
int pc_profile_socket(const struct pc_profile *profile, const char *cluster_id, char *path,
                      size_t size, struct pc_err *err);

/* Calls `visit` for every profile below the usual place, in order of their names. Stops when it
 * returns non-zero and returns that; -1 with *err set when they can't be listed. No profile at all
 * is no error. */
int pc_profile_list(int (*visit)(const struct pc_profile *profile, void *arg), void *arg,
                    struct pc_err *err);
/* Calls `visit` for every connection file of role "client" in each of them. Otherwise the same. */
int pc_profile_each(int (*visit)(const struct pc_profile *profile, const char *cluster_id,
                                 const char *path, void *arg),
                    void *arg, struct pc_err *err);

#endif
