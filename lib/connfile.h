/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connection files: where a cluster is and the key to it. JSON, mode 0600, written atomically.
 *
 * Fields: "version" 1, "role" "client" | "engine", "cluster_id", "profile", "instance" (32 hex
 * digits: this start of the cluster), "url" "tcp://host:port", "unix" path of the Unix socket or
 * null, "exec_key" this role's private key (64 hex digits), "controller_key" the controller's
 * public key (64 hex digits), "location" host name of the controller, "ssh" (null for now).
 */
#ifndef PC_LIB_CONNFILE_H
#define PC_LIB_CONNFILE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/key.h"

#define PC_INSTANCE_BYTES     16
#define PC_CONNFILE_BYTES_MAX (64 * 1024) /* larger files are refused unread */

struct pc_connfile {
    char path[1024]; /* where it was read from; "" when it came as text */
    char role[16];
    char cluster_id[128];
    char profile[128];
    uint8_t instance[PC_INSTANCE_BYTES];
    char host[256];      /* of the url, without brackets */
    uint16_t port;       /* of the url */
    char unix_path[512]; /* "" when there is none */
    uint8_t exec_key[PC_KEY_SIZE];
    uint8_t controller_key[PC_KEY_SIZE];
    char location[256];
};

/* Reads and checks every field. PC_E_NO_FILE, PC_E_BAD_FILE (names the field), PC_E_SYSTEM; also
 * PC_E_BAD_FILE when other users may read the file. *file is written only on success. */
int pc_connfile_read(struct pc_connfile *file, const char *path, struct pc_err *err);
/* From text; `name` is used in error texts. */
int pc_connfile_parse(struct pc_connfile *file, const char *text, size_t size, const char *name,
                      struct pc_err *err);
/* Text for the caller to wipe and free(). */
char *pc_connfile_print(const struct pc_connfile *file);
/* Writes file->path: a temporary file beside it, fsync, rename. Nothing is left on failure. A
 * process with a limit on file sizes must ignore SIGXFSZ, else it ends here. */
int pc_connfile_write(const struct pc_connfile *file, struct pc_err *err);
void pc_connfile_wipe(struct pc_connfile *file);

#endif
