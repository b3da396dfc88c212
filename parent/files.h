/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cluster's files in its profile: a lock that lives as long as the parent, and the two
 * connection files, written when the scheduler answers and removed at the end. Whether a cluster
 * runs is asked at its address; a file is never believed.
 */
#ifndef PC_PARENT_FILES_H
#define PC_PARENT_FILES_H

#include <stdbool.h>

#include "lib/connfile.h"
#include "lib/profile.h"

struct parent_files {
    struct pc_profile profile;
    char cluster_id[128];
    bool is_elsewhere; /* not where --profile would find it */
    char client_path[1024], engine_path[1024];
    char socket_path[512];
    char lock_path[1024];
    int lock_fd; /* -1: none */
    bool is_written;
    struct pc_connfile client, engine; /* what the files say */
    struct pc_keypair controller;
};

/* Finds the names. */
int parent_files_init(struct parent_files *files, const char *profile, const char *dir,
                      const char *cluster_id, struct pc_err *err);
/* Makes the profile's folders, and makes sure that this is the only parent of that cluster and
 * that no cluster answers at the address of files left from before. */
int parent_files_claim(struct parent_files *files, struct pc_err *err);
/* Fresh keys and instance; where the cluster will listen. */
void parent_files_fill(struct parent_files *files, const char *host, uint16_t port);
/* Fresh keys for who connects from now on; the controller's stays. */
void parent_files_renew(struct parent_files *files);
int parent_files_write(struct parent_files *files, struct pc_err *err);
/* Removes what was made and wipes the keys. Repeatable. */
void parent_files_fini(struct parent_files *files);

/* "tcp://127.0.0.1:4000" */
void parent_url(const struct pc_connfile *file, char *url, size_t size);

#endif
