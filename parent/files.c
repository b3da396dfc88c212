/* SPDX-License-Identifier: BSD-3-Clause */
#include "parent/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/sock.h"

/* How long an old address may take to answer before we say that it does not. */
#define ASK_LIMIT_MS 3000

int parent_files_init(struct parent_files *files, const char *profile, const char *dir,
                      const char *cluster_id, struct pc_err *err)
{
    *files = (struct parent_files){.lock_fd = -1, .is_elsewhere = dir != NULL};
    if (!pc_cluster_id_is_valid(cluster_id) || strlen(cluster_id) >= sizeof(files->cluster_id))
        return pc_err_set(err, PC_E_INVALID,
                          "'%s' is no cluster id: letters, digits, '_', '-' and '.' are allowed",
                          cluster_id);
    strcpy(files->cluster_id, cluster_id);
    if (pc_profile_resolve(&files->profile, profile, dir, err) < 0 ||
        pc_profile_connfile(&files->profile, cluster_id, "client", files->client_path,
                            sizeof(files->client_path), err) < 0 ||
        pc_profile_connfile(&files->profile, cluster_id, "engine", files->engine_path,
                            sizeof(files->engine_path), err) < 0)
        return -1;
    snprintf(files->lock_path, sizeof(files->lock_path), "%s/run/pcluster%s%s.lock",
             files->profile.dir, cluster_id[0] ? "-" : "", cluster_id);
    return 0;
}

/* ---- one parent per cluster ------------------------------------------------------------- */

/* 1: locked; 0: another process has it; -1: error. A file that its last owner removed between our
 * open and lock is not the one that others see: then again. */
static int take_lock(struct parent_files *files, struct pc_err *err)
{
    for (;;) {
        struct stat ours, seen;
        int fd = open(files->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return pc_err_sys(err, "can't make '%s'", files->lock_path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            int error = errno;
            close(fd);
            if (error == EWOULDBLOCK)
                return 0;
            errno = error;
            return pc_err_sys(err, "can't lock '%s'", files->lock_path);
        }
        if (fstat(fd, &ours) == 0 && stat(files->lock_path, &seen) == 0 &&
            ours.st_ino == seen.st_ino && ours.st_dev == seen.st_dev) {
            files->lock_fd = fd;
            return 1;
        }
        close(fd);
    }
}

static void stop_command(const struct parent_files *files, char *text, size_t size)
{
    bool is_default = strcmp(files->profile.name, "default") == 0;
    if (files->is_elsewhere) {
        snprintf(text, size, "pcluster stop --file %s", files->client_path);
        return;
    }
    snprintf(text, size, "pcluster stop%s%s%s%s", is_default ? "" : " --profile ",
             is_default ? "" : files->profile.name, files->cluster_id[0] ? " --cluster-id " : "",
             files->cluster_id);
}

static int running_error(const struct parent_files *files, const char *address, struct pc_err *err)
{
    char command[1200];
    stop_command(files, command, sizeof(command));
    return pc_err_set(err, PC_E_INVALID,
                      "a cluster%s%s is already running in profile '%s' (%s); stop it with '%s'",
                      files->cluster_id[0] ? " with the id " : "", files->cluster_id,
                      files->profile.name, address, command);
}

/* 1: a cluster answers at `address`; 0: the file is missing or stale; -1: not clear, or worse. */
static int ask_old_address(const struct parent_files *files, char *address, size_t size,
                           struct pc_err *err)
{
    struct pc_connfile old;
    struct pc_sock sock;
    struct pc_err why;
    if (pc_connfile_read(&old, files->client_path, &why) < 0) {
        if (why.code == PC_E_BAD_FILE)
            pc_warn("replacing '%s': %s", files->client_path, why.text);
        return 0;
    }
    int status = pc_sock_connect(&sock, &old, PC_TRANSPORT_ANY, ASK_LIMIT_MS, address, size, &why);
    pc_connfile_wipe(&old);
    if (status == 0) {
        pc_sock_close(&sock);
        return 1;
    }
    switch (why.code) {
    case PC_E_STALE:
    case PC_E_REFUSED:
    case PC_E_CLUSTER: /* somebody else has got that port by now */
    case PC_E_KEY:
    case PC_E_VERSION:
    case PC_E_PROTOCOL:
        pc_debug("replacing the stale '%s': %s", files->client_path, why.text);
        return 0;
    default:
        return pc_err_set(err, why.code,
                          "can't tell whether the cluster of '%s' still runs: %s; if it is gone, "
                          "remove that file",
                          files->client_path, why.text);
    }
}

int parent_files_claim(struct parent_files *files, struct pc_err *err)
{
    char address[1100] = "";
    if (pc_profile_create(&files->profile, err) < 0)
        return -1;
    int locked = take_lock(files, err);
    if (locked < 0)
        return -1;
    int answers = ask_old_address(files, address, sizeof(address), err);
    if (answers > 0)
        return running_error(files, address, err);
    if (!locked)
        return running_error(files, "it is just starting or stopping", err);
    if (answers < 0)
        return -1;
    return pc_profile_socket(&files->profile, files->cluster_id, files->socket_path,
                             sizeof(files->socket_path), err);
}

/* ---- what the files say ----------------------------------------------------------------- */

static void fill_one(const struct parent_files *files, struct pc_connfile *file, const char *role,
                     const char *path, const char *host, uint16_t port)
{
    *file = (struct pc_connfile){.port = port};
    snprintf(file->path, sizeof(file->path), "%s", path);
    snprintf(file->role, sizeof(file->role), "%s", role);
    snprintf(file->cluster_id, sizeof(file->cluster_id), "%s", files->cluster_id);
    snprintf(file->profile, sizeof(file->profile), "%s", files->profile.name);
    snprintf(file->host, sizeof(file->host), "%s", host);
    snprintf(file->unix_path, sizeof(file->unix_path), "%s", files->socket_path);
    if (gethostname(file->location, sizeof(file->location) - 1) < 0)
        strcpy(file->location, "localhost");
    memcpy(file->controller_key, files->controller.public_key, PC_KEY_SIZE);
}

void parent_files_renew(struct parent_files *files)
{
    struct pc_keypair client, engine;
    pc_keypair_generate(&client);
    pc_keypair_generate(&engine);
    memcpy(files->client.exec_key, client.private_key, PC_KEY_SIZE);
    memcpy(files->engine.exec_key, engine.private_key, PC_KEY_SIZE);
    pc_wipe(&client, sizeof(client));
    pc_wipe(&engine, sizeof(engine));
}

void parent_files_fill(struct parent_files *files, const char *host, uint16_t port)
{
    uint8_t instance[PC_INSTANCE_BYTES];
    pc_keypair_generate(&files->controller);
    pc_random(instance, sizeof(instance));
    fill_one(files, &files->client, "client", files->client_path, host, port);
    fill_one(files, &files->engine, "engine", files->engine_path, host, port);
    parent_files_renew(files);
    memcpy(files->client.instance, instance, sizeof(instance));
    memcpy(files->engine.instance, instance, sizeof(instance));
}

/* The client's file comes last: it is what says that there is a cluster. */
int parent_files_write(struct parent_files *files, struct pc_err *err)
{
    if (pc_connfile_write(&files->engine, err) < 0)
        return -1;
    files->is_written = true;
    return pc_connfile_write(&files->client, err);
}

void parent_files_fini(struct parent_files *files)
{
    if (files->is_written) {
        unlink(files->client_path);
        unlink(files->engine_path);
        files->is_written = false;
    }
    /* Still locked: whoever waits for it finds another file in its place, or none. */
    if (files->lock_fd >= 0) {
        unlink(files->lock_path);
        close(files->lock_fd);
        files->lock_fd = -1;
    }
    pc_connfile_wipe(&files->client);
    pc_connfile_wipe(&files->engine);
    pc_wipe(&files->controller, sizeof(files->controller));
}

void parent_url(const struct pc_connfile *file, char *url, size_t size)
{
    bool is_v6 = strchr(file->host, ':') != NULL;
    snprintf(url, size, "tcp://%s%s%s:%u", is_v6 ? "[" : "", file->host, is_v6 ? "]" : "",
             file->port);
}
