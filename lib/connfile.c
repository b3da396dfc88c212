/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connection files. What is read comes from a path that a user typed, so it may be anything: a
 * folder, a pipe, somebody's holiday pictures. What is written is a secret that must be complete
 * or not there at all.
 */
#include "lib/connfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/json.h"
#include "lib/profile.h"

#define FILE_VERSION 1
#define HINT         "start the cluster again to get a good connection file"

/* ---- fields ------------------------------------------------------------------------------ */

/* A text of less than `size` bytes. */
static int get_text(const pc_json *json, const char *name, char *out, size_t size,
                    struct pc_err *err)
{
    const char *text;
    if (pc_json_get_str(json, name, &text, err) < 0)
        return -1;
    if (strlen(text) >= size)
        return pc_err_set(err, PC_E_BAD_FILE, "field '%s' is longer than %zu bytes", name,
                          size - 1);
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

/* The text is never shown: it may be a key. */
static int get_hex(const pc_json *json, const char *name, uint8_t *out, size_t size,
                   struct pc_err *err)
{
    const char *text;
    if (pc_json_get_str(json, name, &text, err) < 0)
        return -1;
    if (pc_hex_decode(text, out, size) < 0)
        return pc_err_set(err, PC_E_BAD_FILE, "field '%s' is not %zu hexadecimal digits", name,
                          2 * size);
    return 0;
}

static bool is_host(const char *host, size_t size, bool is_bracketed)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    static const char address[] = "abcdefABCDEF0123456789:.";
    if (!is_bracketed)
        return size > 0 && host[0] != '-' && strspn(host, name) == size;
    size_t digits = strspn(host, address);
    /* fe80::1%eth0: the zone is the name of an interface. */
    if (host[digits] == '%' && digits < size)
        digits += 1 + strspn(host + digits + 1, name);
    return digits == size && memchr(host, ':', size) != NULL;
}

/* "tcp://name:port" or "tcp://[address]:port". */
static int parse_url(struct pc_connfile *file, const char *url)
{
    if (strncmp(url, "tcp://", 6) != 0)
        return -1;
    const char *host = url + 6;
    bool is_bracketed = *host == '[';
    host += is_bracketed;
    const char *end = is_bracketed ? strchr(host, ']') : strchr(host, ':');
    if (!end || (size_t)(end - host) >= sizeof(file->host))
        return -1;
    size_t size = (size_t)(end - host);
    const char *port = end + is_bracketed;
    if (!is_host(host, size, is_bracketed) || *port++ != ':')
        return -1;
    size_t digits = strspn(port, "0123456789");
    if (digits == 0 || digits > 5 || port[digits] != '\0' || *port == '0' || atoi(port) > 65535)
        return -1;
    memcpy(file->host, host, size);
    file->host[size] = '\0';
    file->port = (uint16_t)atoi(port);
    return 0;
}

static int get_url(const pc_json *json, struct pc_connfile *file, struct pc_err *err)
{
    const char *url;
    if (pc_json_get_str(json, "url", &url, err) < 0)
        return -1;
    if (parse_url(file, url) < 0)
        return pc_err_set(err, PC_E_BAD_FILE,
                          "field 'url' is '%.100s' where 'tcp://host:port' is expected", url);
    return 0;
}

static int get_unix(const pc_json *json, struct pc_connfile *file, struct pc_err *err)
{
    const pc_json *member = pc_json_member(json, "unix");
    file->unix_path[0] = '\0';
    if (!member || pc_json_is_null(member))
        return 0;
    if (get_text(json, "unix", file->unix_path, sizeof(file->unix_path), err) < 0)
        return -1;
    if (file->unix_path[0] != '/')
        return pc_err_set(err, PC_E_BAD_FILE, "field 'unix' is not an absolute path: '%.100s'",
                          file->unix_path);
    if (strlen(file->unix_path) > PC_SOCKET_PATH_MAX)
        return pc_err_set(err, PC_E_BAD_FILE, "field 'unix' is longer than a socket's %d bytes",
                          PC_SOCKET_PATH_MAX);
    return 0;
}

static int get_fields(const pc_json *json, struct pc_connfile *file, struct pc_err *err)
{
    uint32_t version;
    if (pc_json_get_u32(json, "version", &version, err) < 0)
        return -1;
    if (version != FILE_VERSION)
        return pc_err_set(err, PC_E_BAD_FILE,
                          "field 'version' is %u, this pcluster knows version %d", version,
                          FILE_VERSION);
    if (get_text(json, "role", file->role, sizeof(file->role), err) < 0)
        return -1;
    if (strcmp(file->role, "client") != 0 && strcmp(file->role, "engine") != 0)
        return pc_err_set(err, PC_E_BAD_FILE,
                          "field 'role' is '%s' where 'client' or 'engine' is expected",
                          file->role);
    if (get_text(json, "cluster_id", file->cluster_id, sizeof(file->cluster_id), err) < 0)
        return -1;
    if (!pc_cluster_id_is_valid(file->cluster_id))
        return pc_err_set(err, PC_E_BAD_FILE, "field 'cluster_id' is not a cluster id: '%s'",
                          file->cluster_id);
    if (get_text(json, "profile", file->profile, sizeof(file->profile), err) < 0 ||
        get_hex(json, "instance", file->instance, sizeof(file->instance), err) < 0 ||
        get_url(json, file, err) < 0 || get_unix(json, file, err) < 0 ||
        get_hex(json, "exec_key", file->exec_key, sizeof(file->exec_key), err) < 0 ||
        get_hex(json, "controller_key", file->controller_key, sizeof(file->controller_key), err) <
            0 ||
        get_text(json, "location", file->location, sizeof(file->location), err) < 0)
        return -1;
    return 0;
}

/* cJSON frees its strings as they are: not with a key in them. */
static void wipe_key(const pc_json *json)
{
    const char *text = pc_json_text(pc_json_member(json, "exec_key"));
    if (text)
        pc_wipe((char *)(uintptr_t)text, strlen(text));
}

int pc_connfile_parse(struct pc_connfile *file, const char *text, size_t size, const char *name,
                      struct pc_err *err)
{
    struct pc_err why = {0};
    struct pc_connfile got = {0};
    int status = -1;
    pc_json *json = pc_json_parse(text, size, &why);
    if (json && !pc_json_is_object(json))
        pc_err_set(&why, PC_E_BAD_FILE, "it is JSON, but not an object");
    else if (json)
        status = get_fields(json, &got, &why);
    wipe_key(json);
    pc_json_free(json);
    if (status == 0)
        *file = got;
    else if (why.code == PC_E_MEMORY)
        pc_err_set(err, PC_E_MEMORY, "out of memory for '%.300s'", name);
    else
        pc_err_set(err, PC_E_BAD_FILE, "'%.200s' is not a connection file: %.200s; " HINT, name,
                   why.text);
    pc_connfile_wipe(&got);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* A descriptor of a regular file that is ours alone. Never waits: a pipe without a writer would
 * otherwise block the open. */
static int open_checked(const char *path, struct pc_err *err)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return pc_err_set(err, PC_E_NO_FILE,
                          "there is no connection file '%.300s'; start a cluster with "
                          "'pcluster start', or name another file",
                          path);
    if (fd < 0)
        return pc_err_sys(err, "can't open the connection file '%.300s'", path);
    if (fstat(fd, &status) < 0)
        pc_err_sys(err, "can't look at the connection file '%.300s'", path);
    else if (S_ISDIR(status.st_mode))
        pc_err_set(err, PC_E_BAD_FILE,
                   "'%.300s' is a folder, not a connection file; name the file in it", path);
    else if (!S_ISREG(status.st_mode))
        pc_err_set(err, PC_E_BAD_FILE,
                   "'%.300s' is not a regular file; name a connection file instead", path);
    else if (status.st_mode & 077)
        pc_err_set(err, PC_E_BAD_FILE,
                   "'%.300s' holds a secret key but is open to other users (mode %04o); if nobody "
                   "else has read it, run 'chmod 600' on it, else start the cluster again",
                   path, (unsigned)(status.st_mode & 07777));
    else
        return fd;
    close(fd);
    return -1;
}

/* Reads until the end or until the buffer is full; -1 with errno. */
static ssize_t read_all(int fd, char *text, size_t size)
{
    size_t have = 0;
    while (have < size) {
        ssize_t count = read(fd, text + have, size - have);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        if (count == 0)
            break;
        have += (size_t)count;
    }
    return (ssize_t)have;
}

int pc_connfile_read(struct pc_connfile *file, const char *path, struct pc_err *err)
{
    struct pc_connfile got;
    int status = -1;
    if (strlen(path) >= sizeof(got.path))
        return pc_err_set(err, PC_E_INVALID,
                          "the path of the connection file is longer than %zu bytes: '%.100s...'",
                          sizeof(got.path) - 1, path);
    int fd = open_checked(path, err);
    if (fd < 0)
        return -1;
    char *text = malloc(PC_CONNFILE_BYTES_MAX + 1);
    ssize_t size = text ? read_all(fd, text, PC_CONNFILE_BYTES_MAX + 1) : 0;
    if (!text)
        pc_err_set(err, PC_E_MEMORY, "out of memory for '%.300s'", path);
    else if (size < 0)
        pc_err_sys(err, "can't read the connection file '%.300s'", path);
    else if (size > PC_CONNFILE_BYTES_MAX)
        pc_err_set(err, PC_E_BAD_FILE,
                   "'%.300s' is larger than 64 KiB, so it is not a connection file; name another",
                   path);
    else
        status = pc_connfile_parse(&got, text, (size_t)size, path, err);
    if (status == 0) {
        memcpy(got.path, path, strlen(path) + 1);
        *file = got;
        pc_connfile_wipe(&got);
    }
    if (text)
        pc_wipe(text, PC_CONNFILE_BYTES_MAX + 1);
    free(text);
    close(fd);
    return status;
}

/* ---- writing ----------------------------------------------------------------------------- */

char *pc_connfile_print(const struct pc_connfile *file)
{
    char hex[2 * PC_KEY_SIZE + 1], url[sizeof(file->host) + 32];
    bool is_address = strchr(file->host, ':') != NULL;
    pc_json *json = pc_json_object();
    pc_json_put_i64(json, "version", FILE_VERSION);
    pc_json_put_str(json, "role", file->role);
    pc_json_put_str(json, "cluster_id", file->cluster_id);
    pc_json_put_str(json, "profile", file->profile);
    pc_hex_encode(file->instance, sizeof(file->instance), hex);
    pc_json_put_str(json, "instance", hex);
    snprintf(url, sizeof(url), "tcp://%s%s%s:%u", is_address ? "[" : "", file->host,
             is_address ? "]" : "", file->port);
    pc_json_put_str(json, "url", url);
    pc_json_put_str(json, "unix", file->unix_path[0] ? file->unix_path : NULL);
    pc_hex_encode(file->exec_key, PC_KEY_SIZE, hex);
    pc_json_put_str(json, "exec_key", hex);
    pc_hex_encode(file->controller_key, PC_KEY_SIZE, hex);
    pc_json_put_str(json, "controller_key", hex);
    pc_json_put_str(json, "location", file->location);
    pc_json_put_str(json, "ssh", NULL);
    char *text = pc_json_print_pretty(json);
    wipe_key(json);
    pc_json_free(json);
    return text;
}

static int write_all(int fd, const char *text, size_t size)
{
    while (size) {
        ssize_t count = write(fd, text, size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        text += count;
        size -= (size_t)count;
    }
    return 0;
}

/* Makes the file `name` in `folder` and puts the text onto the disk; -1 with errno, and then the
 * file may be there, incomplete. The mode is set again because of the umask. */
static int write_new(int folder, const char *name, const char *text)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int status = 0;
    if (fchmod(fd, 0600) < 0 || write_all(fd, text, strlen(text)) < 0 ||
        write_all(fd, "\n", 1) < 0 || fsync(fd) < 0)
        status = -1;
    int error = errno;
    if (close(fd) < 0 && status == 0)
        return -1;
    errno = error;
    return status;
}

/* Some file systems can't sync folders and say EINVAL; they have done what they can. */
static int sync_folder(int folder)
{
    return fsync(folder) < 0 && errno != EINVAL ? -1 : 0;
}

/* In the folder of that descriptor: everything, or nothing and errno. */
static int replace(int folder, const char *name, const char *text)
{
    uint8_t random[8];
    char hex[2 * sizeof(random) + 1], temporary[sizeof(hex) + 16];
    pc_random(random, sizeof(random));
    pc_hex_encode(random, sizeof(random), hex);
    snprintf(temporary, sizeof(temporary), ".connection-%s", hex);
    if (write_new(folder, temporary, text) < 0)
        goto fail;
    if (renameat(folder, temporary, folder, name) < 0)
        goto fail;
    if (sync_folder(folder) < 0) {
        int error = errno;
        unlinkat(folder, name, 0);
        errno = error;
        return -1;
    }
    return 0;
fail:;
    int error = errno;
    unlinkat(folder, temporary, 0);
    errno = error;
    return -1;
}

int pc_connfile_write(const struct pc_connfile *file, struct pc_err *err)
{
    char folder_path[sizeof(file->path)];
    const char *slash = strrchr(file->path, '/'), *name = slash ? slash + 1 : file->path;
    if (!*name)
        return pc_err_set(err, PC_E_INVALID, "'%.300s' is not the path of a file", file->path);
    snprintf(folder_path, sizeof(folder_path), "%.*s", slash ? (int)(slash - file->path) + 1 : 2,
             slash ? file->path : "./");
    int folder = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return pc_err_sys(err, "can't write the connection file '%.300s': can't open its folder",
                          file->path);
    char *text = pc_connfile_print(file);
    int status = -1;
    if (!text)
        pc_err_set(err, PC_E_MEMORY, "out of memory for '%.300s'", file->path);
    else if ((status = replace(folder, name, text)) < 0)
        pc_err_sys(err, "can't write the connection file '%.300s'", file->path);
    if (text)
        pc_wipe(text, strlen(text));
    free(text);
    close(folder);
    return status;
}

void pc_connfile_wipe(struct pc_connfile *file)
{
    pc_wipe(file, sizeof(*file));
}
