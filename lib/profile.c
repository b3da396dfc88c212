/* SPDX-License-Identifier: BSD-3-Clause */
/* Profile folders: names, places and permissions. Nothing here knows what is in the files. */
#include "lib/profile.h"

#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_PREFIX "profile_"
#define FILE_PREFIX   "pcluster"
#define CLIENT_SUFFIX "-client.json"
#define NAME_RULE     "letters, digits, '_', '-' and '.' are allowed, and no '.' first"

static bool is_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    size_t size = strlen(name);
    return size > 0 && size < sizeof(((struct pc_profile *)0)->name) && name[0] != '.' &&
           strspn(name, allowed) == size;
}

bool pc_cluster_id_is_valid(const char *cluster_id)
{
    return cluster_id && (!*cluster_id || is_name(cluster_id));
}

/* ---- where ------------------------------------------------------------------------------- */

/* snprintf that refuses to cut. */
static int join(char *out, size_t size, struct pc_err *err, const char *a, const char *b,
                const char *c)
{
    int length = snprintf(out, size, "%s%s%s", a, b, c);
    if (length < 0 || (size_t)length >= size)
        return pc_err_set(
            err, PC_E_INVALID,
            "the path '%.200s%.100s%.100s' is longer than %zu bytes; set PCLUSTER_DIR "
            "to a shorter folder",
            a, b, c, size - 1);
    return 0;
}

static int make_absolute(const char *path, char *out, size_t size, struct pc_err *err)
{
    char here[4096];
    if (path[0] == '/') {
        if (join(out, size, err, path, "", "") < 0)
            return -1;
    } else {
        if (!getcwd(here, sizeof(here)))
            return pc_err_sys(err, "can't tell the current folder for '%.200s'", path);
        if (join(out, size, err, strcmp(here, "/") == 0 ? "" : here, "/", path) < 0)
            return -1;
    }
    for (size_t length = strlen(out); length > 1 && out[length - 1] == '/'; length--)
        out[length - 1] = '\0';
    return 0;
}

/* $PCLUSTER_DIR or ~/.pcluster: the folder with all profiles. */
static int find_base(char *out, size_t size, struct pc_err *err)
{
    const char *dir = getenv("PCLUSTER_DIR");
    if (dir && *dir)
        return make_absolute(dir, out, size, err);
    char home[sizeof(((struct pc_profile *)0)->dir)], buffer[4096];
    const char *set = getenv("HOME");
    if (set && *set) {
        if (make_absolute(set, home, sizeof(home), err) < 0)
            return -1;
    } else {
        struct passwd user, *found = NULL;
        if (getpwuid_r(geteuid(), &user, buffer, sizeof(buffer), &found) != 0 || !found)
            return pc_err_set(err, PC_E_INVALID,
                              "there is no home folder to look for profiles in; set HOME or "
                              "PCLUSTER_DIR");
        if (make_absolute(user.pw_dir, home, sizeof(home), err) < 0)
            return -1;
    }
    return join(out, size, err, strcmp(home, "/") == 0 ? "" : home, "/.pcluster", "");
}

static void name_after_folder(struct pc_profile *profile)
{
    const char *base = strrchr(profile->dir, '/') + 1;
    if (strncmp(base, FOLDER_PREFIX, strlen(FOLDER_PREFIX)) == 0)
        base += strlen(FOLDER_PREFIX);
    strcpy(profile->name, is_name(base) ? base : "custom");
}

int pc_profile_resolve(struct pc_profile *profile, const char *name, const char *dir,
                       struct pc_err *err)
{
    struct pc_profile got = {0};
    if (!name && !dir)
        dir = getenv("PCLUSTER_PROFILE_DIR");
    if (dir && *dir) {
        got.is_named_by_dir = true;
        if (make_absolute(dir, got.dir, sizeof(got.dir), err) < 0)
            return -1;
        name_after_folder(&got);
    } else {
        char base[sizeof(got.dir)];
        const char *set = getenv("PCLUSTER_PROFILE");
        name = name ? name : set && *set ? set : "default";
        if (!is_name(name))
            return pc_err_set(err, PC_E_INVALID, "'%.200s' is not a profile name: " NAME_RULE,
                              name);
        if (find_base(base, sizeof(base), err) < 0 ||
            join(got.dir, sizeof(got.dir), err, base, "/" FOLDER_PREFIX, name) < 0)
            return -1;
        strcpy(got.name, name);
    }
    *profile = got;
    return 0;
}

bool pc_profile_exists(const struct pc_profile *profile)
{
    struct stat status;
    return stat(profile->dir, &status) == 0 && S_ISDIR(status.st_mode);
}

/* ---- making the folders ------------------------------------------------------------------ */

static bool is_private_folder(const struct stat *status)
{
    return S_ISDIR(status->st_mode) && status->st_uid == geteuid() && !(status->st_mode & 077);
}

static int check_folder(const char *path, struct pc_err *err)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return pc_err_sys(err, "can't look at the folder '%.300s'", path);
    if (!S_ISDIR(status.st_mode))
        return pc_err_set(err, PC_E_INVALID,
                          "'%.300s' is not a folder; move it away or use another profile", path);
    if (status.st_uid != geteuid())
        return pc_err_set(err, PC_E_INVALID,
                          "the folder '%.300s' belongs to user %u, not to you (%u); use another "
                          "profile or set PCLUSTER_DIR",
                          path, status.st_uid, geteuid());
    if (status.st_mode & 077)
        return pc_err_set(err, PC_E_INVALID,
                          "the folder '%.300s' is open to other users (mode %04o): run "
                          "'chmod 700' on it",
                          path, (unsigned)(status.st_mode & 07777));
    return 0;
}

/* One folder with mode 0700, whatever the umask says; fine when it is there already. */
static int make_folder(const char *path)
{
    if (mkdir(path, 0700) == 0)
        return chmod(path, 0700);
    return errno == EEXIST ? 0 : -1;
}

/* What is missing above `path`. */
static int make_parents(const char *path, struct pc_err *err)
{
    char part[sizeof(((struct pc_profile *)0)->dir)];
    struct stat status;
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        if (stat(part, &status) < 0 && make_folder(part) < 0)
            return pc_err_sys(err, "can't make the folder '%.300s'", part);
    }
    return 0;
}

int pc_profile_create(const struct pc_profile *profile, struct pc_err *err)
{
    static const char *const names[] = {"", "/security", "/log", "/run"};
    if (make_parents(profile->dir, err) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[sizeof(profile->dir) + 16];
        snprintf(path, sizeof(path), "%s%s", profile->dir, names[i]);
        if (make_folder(path) < 0)
            return pc_err_sys(err, "can't make the folder '%.300s'", path);
        if (check_folder(path, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- files ------------------------------------------------------------------------------- */

static int check_cluster_id(const char *cluster_id, struct pc_err *err)
{
    if (pc_cluster_id_is_valid(cluster_id))
        return 0;
    return pc_err_set(err, PC_E_INVALID, "'%.200s' is not a cluster id: " NAME_RULE,
                      cluster_id ? cluster_id : "");
}

int pc_profile_connfile(const struct pc_profile *profile, const char *cluster_id, const char *role,
                        char *path, size_t size, struct pc_err *err)
{
    char name[300];
    if (check_cluster_id(cluster_id, err) < 0)
        return -1;
    snprintf(name, sizeof(name), FILE_PREFIX "%s%s-%s.json", *cluster_id ? "-" : "", cluster_id,
             role);
    return join(path, size, err, profile->dir, "/security/", name);
}

/* Profiles of the same name below different PCLUSTER_DIRs share $XDG_RUNTIME_DIR, so their
 * sockets are told apart by a digest of the folder (FNV-1a). */
static uint64_t digest(const char *dir, const char *cluster_id)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    const char *const texts[] = {dir, cluster_id};
    for (size_t i = 0; i < 2; i++)
        for (const char *p = texts[i];; p++) {
            hash = (hash ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
            if (!*p)
                break;
        }
    return hash;
}

/* True when there is a path for the socket below $XDG_RUNTIME_DIR, in a folder of ours alone. */
static bool socket_in_runtime_dir(const struct pc_profile *profile, const char *cluster_id,
                                  char *path, size_t size)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    struct stat status;
    char folder[PC_SOCKET_PATH_MAX + 1];
    if (!base || base[0] != '/' || stat(base, &status) < 0 || !is_private_folder(&status))
        return false;
    int length = snprintf(folder, sizeof(folder), "%s/pcluster", base);
    if (length < 0 || (size_t)length >= sizeof(folder))
        return false;
    length = snprintf(path, size, "%s/%.16s-%016llx.sock", folder, profile->name,
                      (unsigned long long)digest(profile->dir, cluster_id));
    if (length < 0 || (size_t)length >= size || length > PC_SOCKET_PATH_MAX)
        return false;
    return make_folder(folder) == 0 && lstat(folder, &status) == 0 && is_private_folder(&status);
}

int pc_profile_socket(const struct pc_profile *profile, const char *cluster_id, char *path,
                      size_t size, struct pc_err *err)
{
    char name[300];
    if (check_cluster_id(cluster_id, err) < 0)
        return -1;
    if (socket_in_runtime_dir(profile, cluster_id, path, size))
        return 0;
    snprintf(name, sizeof(name), FILE_PREFIX "%s%s.sock", *cluster_id ? "-" : "", cluster_id);
    if (join(path, size, err, profile->dir, "/run/", name) < 0)
        return -1;
    if (strlen(path) > PC_SOCKET_PATH_MAX)
        return pc_err_set(err, PC_E_INVALID,
                          "the path of the Unix socket has %zu bytes, at most %d are possible: "
                          "'%.300s'; set PCLUSTER_DIR to a shorter folder",
                          strlen(path), PC_SOCKET_PATH_MAX, path);
    return 0;
}

/* ---- all of them ------------------------------------------------------------------------- */

typedef int visit_fn(const struct pc_profile *profile, const char *cluster_id, const char *path,
                     void *arg);

static void free_list(struct dirent **list, int count)
{
    for (int i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

/* The cluster id in "pcluster[-<id>]-client.json". */
static bool cluster_id_of(const char *name, char *cluster_id, size_t size)
{
    size_t prefix = strlen(FILE_PREFIX), suffix = strlen(CLIENT_SUFFIX), length = strlen(name);
    if (length < prefix + suffix || strncmp(name, FILE_PREFIX, prefix) != 0 ||
        strcmp(name + length - suffix, CLIENT_SUFFIX) != 0)
        return false;
    size_t middle = length - prefix - suffix;
    if (middle == 1 || middle > size || (middle && name[prefix] != '-'))
        return false;
    snprintf(cluster_id, size, "%.*s", middle ? (int)middle - 1 : 0, name + prefix + 1);
    return pc_cluster_id_is_valid(cluster_id);
}

struct visitor {
    visit_fn *visit;
    void *arg;
};

static int visit_profile(const struct pc_profile *profile, void *arg)
{
    const struct visitor *visitor = arg;
    char folder[sizeof(profile->dir) + 16], path[1024], cluster_id[sizeof(profile->name)];
    struct dirent **list = NULL;
    snprintf(folder, sizeof(folder), "%s/security", profile->dir);
    /* A folder that can't be listed has no cluster of ours. */
    int count = scandir(folder, &list, NULL, alphasort), result = 0;
    for (int i = 0; i < count && result == 0; i++) {
        if (!cluster_id_of(list[i]->d_name, cluster_id, sizeof(cluster_id)))
            continue;
        if (pc_profile_connfile(profile, cluster_id, "client", path, sizeof(path), NULL) == 0)
            result = visitor->visit(profile, cluster_id, path, visitor->arg);
    }
    free_list(list, count);
    return result;
}

int pc_profile_list(int (*visit)(const struct pc_profile *profile, void *arg), void *arg,
                    struct pc_err *err)
{
    char base[sizeof(((struct pc_profile *)0)->dir)];
    struct dirent **list = NULL;
    if (find_base(base, sizeof(base), err) < 0)
        return -1;
    int count = scandir(base, &list, NULL, alphasort), result = 0;
    if (count < 0 && errno == ENOENT)
        return 0;
    if (count < 0)
        return pc_err_sys(err, "can't list the profiles in '%.300s'", base);
    for (int i = 0; i < count && result == 0; i++) {
        struct pc_profile profile;
        const char *name = list[i]->d_name;
        if (strncmp(name, FOLDER_PREFIX, strlen(FOLDER_PREFIX)) == 0 &&
            pc_profile_resolve(&profile, name + strlen(FOLDER_PREFIX), NULL, NULL) == 0 &&
            pc_profile_exists(&profile))
            result = visit(&profile, arg);
    }
    free_list(list, count);
    return result;
}

int pc_profile_each(visit_fn *visit, void *arg, struct pc_err *err)
{
    struct visitor visitor = {.visit = visit, .arg = arg};
    return pc_profile_list(visit_profile, &visitor, err);
}
