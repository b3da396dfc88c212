/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/profile.c: where things are, and who may look at them. Folders are made by a child that has
 * given up being root: root owns everything it makes and reads everything others made.
 */
#include "unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/profile.h"
#include "nobody.h"

static char folder[64]; /* a fresh one for each test, and PCLUSTER_DIR */

static int set_up(void **state)
{
    strcpy(folder, "/tmp/pc-profile-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    unsetenv("XDG_RUNTIME_DIR");
    return setenv("PCLUSTER_DIR", folder, 1);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

static int tear_down(void **state)
{
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct pc_profile resolved(const char *name)
{
    struct pc_err err = {0};
    struct pc_profile profile;
    if (pc_profile_resolve(&profile, name, NULL, &err) < 0)
        fail_msg("%s", err.text);
    return profile;
}

/* ---- names ------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    char expected[128];
    struct pc_profile profile = resolved(NULL);
    assert_string_equal(profile.name, "default");
    snprintf(expected, sizeof(expected), "%s/profile_default", folder);
    assert_string_equal(profile.dir, expected);
    setenv("PCLUSTER_PROFILE", "other", 1);
    profile = resolved(NULL);
    assert_string_equal(profile.name, "other");
    setenv("PCLUSTER_PROFILE_DIR", "/elsewhere/profile_far", 1);
    profile = resolved(NULL);
    assert_string_equal(profile.name, "far");
    assert_string_equal(profile.dir, "/elsewhere/profile_far");
    assert_true(profile.is_named_by_dir);
    assert_string_equal(resolved("near").name, "near"); /* a name that is given wins */
    unsetenv("PCLUSTER_PROFILE_DIR");
    setenv("PCLUSTER_PROFILE", "", 1);
    profile = resolved(NULL);
    assert_string_equal(profile.name, "default");
    unsetenv("PCLUSTER_PROFILE");
    profile = resolved("My-2nd_one.v1");
    snprintf(expected, sizeof(expected), "%s/profile_My-2nd_one.v1", folder);
    assert_string_equal(profile.dir, expected);
    assert_false(pc_profile_exists(&profile)); /* nothing was touched */
}

static void test_bad_names_are_refused(void **state)
{
    char too_long[129];
    snprintf(too_long, sizeof(too_long), "%0128d", 1);
    const char *const bad[] = {"",         ".",   "..", ".hidden", "a/b",  "../x", "a b",   "a\n",
                               "\xc3\xa9", "a:b", "~",  "$HOME",   "a\\b", "*",    too_long};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pc_err err = {0};
        struct pc_profile profile;
        assert_int_equal(pc_profile_resolve(&profile, bad[i], NULL, &err), -1);
        assert_int_equal(err.code, PC_E_INVALID);
        assert_non_null(strstr(err.text, bad[i]));
        assert_non_null(strstr(err.text, "is not a profile name: letters, digits,"));
        assert_true(*bad[i] ? !pc_cluster_id_is_valid(bad[i]) : pc_cluster_id_is_valid(""));
    }
    assert_false(pc_cluster_id_is_valid(NULL));
    assert_true(pc_cluster_id_is_valid("a-1_B.2"));
}

static void test_folder_wins_over_name(void **state)
{
    struct pc_profile profile;
    assert_int_equal(pc_profile_resolve(&profile, "x", "/a/profile_night/", NULL), 0);
    assert_string_equal(profile.dir, "/a/profile_night");
    assert_string_equal(profile.name, "night");
    assert_int_equal(pc_profile_resolve(&profile, NULL, "/a/plain", NULL), 0);
    assert_string_equal(profile.name, "plain");
    assert_int_equal(pc_profile_resolve(&profile, NULL, "/a/b c", NULL), 0);
    assert_string_equal(profile.dir, "/a/b c");
    assert_string_equal(profile.name, "custom");
    assert_int_equal(pc_profile_resolve(&profile, NULL, "/", NULL), 0);
    assert_string_equal(profile.dir, "/");
}

static void test_relative_folders_become_absolute(void **state)
{
    char expected[128], here[4096];
    struct pc_profile profile;
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(folder), 0);
    setenv("PCLUSTER_DIR", "sub", 1);
    profile = resolved("x");
    snprintf(expected, sizeof(expected), "%s/sub/profile_x", folder);
    assert_string_equal(profile.dir, expected);
    assert_int_equal(pc_profile_resolve(&profile, NULL, "y", NULL), 0);
    snprintf(expected, sizeof(expected), "%s/y", folder);
    assert_string_equal(profile.dir, expected);
    assert_int_equal(chdir(here), 0);
}

static void test_home(void **state)
{
    char *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    struct pc_profile profile;
    unsetenv("PCLUSTER_DIR");
    setenv("HOME", "/home/someone", 1);
    assert_string_equal(resolved("x").dir, "/home/someone/.pcluster/profile_x");
    setenv("PCLUSTER_DIR", "", 1); /* as good as unset */
    assert_string_equal(resolved("x").dir, "/home/someone/.pcluster/profile_x");
    setenv("HOME", "/", 1);
    assert_string_equal(resolved("x").dir, "/.pcluster/profile_x");
    unsetenv("HOME"); /* then the user database knows */
    profile = resolved("x");
    assert_non_null(strstr(profile.dir, "/.pcluster/profile_x"));
    if (home)
        setenv("HOME", home, 1);
    free(home);
}

static void test_too_long_a_folder(void **state)
{
    struct pc_err err = {0};
    struct pc_profile profile;
    char path[1200];
    snprintf(path, sizeof(path), "/%0900d", 1);
    assert_int_equal(pc_profile_resolve(&profile, NULL, path, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    setenv("PCLUSTER_DIR", path, 1);
    assert_int_equal(pc_profile_resolve(&profile, "x", NULL, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    assert_non_null(strstr(err.text, "set PCLUSTER_DIR"));
}

static void test_connection_file_names(void **state)
{
    struct pc_err err = {0};
    struct pc_profile profile = {.name = "p", .dir = "/d"};
    char path[64];
    assert_int_equal(pc_profile_connfile(&profile, "", "client", path, sizeof(path), NULL), 0);
    assert_string_equal(path, "/d/security/pcluster-client.json");
    assert_int_equal(pc_profile_connfile(&profile, "x-1", "engine", path, sizeof(path), NULL), 0);
    assert_string_equal(path, "/d/security/pcluster-x-1-engine.json");
    assert_int_equal(pc_profile_connfile(&profile, "../x", "client", path, sizeof(path), &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    assert_non_null(strstr(err.text, "'../x' is not a cluster id"));
    assert_int_equal(pc_profile_connfile(&profile, "", "client", path, 32, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    assert_int_equal(pc_profile_connfile(&profile, "", "client", path, 33, &err), 0);
}

/* ---- the socket -------------------------------------------------------------------------- */

static void make_runtime_dir(mode_t mode)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/runtime", folder);
    mkdir(path, 0700);
    assert_int_equal(chmod(path, mode), 0);
    setenv("XDG_RUNTIME_DIR", path, 1);
}

static const char *socket_of(const char *profile_name, const char *cluster_id)
{
    static char path[256];
    struct pc_err err = {0};
    struct pc_profile profile = resolved(profile_name);
    if (pc_profile_socket(&profile, cluster_id, path, sizeof(path), &err) < 0)
        fail_msg("%s", err.text);
    return path;
}

static void test_socket_in_the_profile(void **state)
{
    char expected[128];
    snprintf(expected, sizeof(expected), "%s/profile_p/run/pcluster.sock", folder);
    assert_string_equal(socket_of("p", ""), expected);
    snprintf(expected, sizeof(expected), "%s/profile_p/run/pcluster-x.sock", folder);
    assert_string_equal(socket_of("p", "x"), expected);
    /* Not usable: not there, relative, open to others. */
    setenv("XDG_RUNTIME_DIR", "/nonexistent/folder", 1);
    assert_string_equal(socket_of("p", "x"), expected);
    setenv("XDG_RUNTIME_DIR", "tmp", 1);
    assert_string_equal(socket_of("p", "x"), expected);
    make_runtime_dir(0755);
    assert_string_equal(socket_of("p", "x"), expected);
    make_runtime_dir(0700);
    char other[128];
    snprintf(other, sizeof(other), "%s/runtime/pcluster", folder);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(chmod(other, 0777), 0);
    assert_string_equal(socket_of("p", "x"), expected);
    assert_int_equal(rmdir(other), 0);
    assert_int_equal(symlink("/tmp", other), 0);
    assert_string_equal(socket_of("p", "x"), expected);
}

static void test_socket_in_the_runtime_folder(void **state)
{
    char start[128], first[256];
    struct stat status;
    make_runtime_dir(0700);
    snprintf(start, sizeof(start), "%s/runtime/pcluster/p-", folder);
    strcpy(first, socket_of("p", ""));
    assert_memory_equal(first, start, strlen(start));
    start[strlen(start) - 3] = '\0';
    assert_int_equal(stat(start, &status), 0);
    assert_int_equal(status.st_mode, S_IFDIR | 0700);
    assert_string_equal(socket_of("p", ""), first);
    assert_string_not_equal(socket_of("p", "x"), first);
    assert_string_not_equal(socket_of("q", ""), first);
    /* The same names below another PCLUSTER_DIR are another cluster. */
    setenv("PCLUSTER_DIR", "/elsewhere", 1);
    assert_string_not_equal(socket_of("p", ""), first);
    /* Long names still fit. */
    char name[128];
    snprintf(name, sizeof(name), "%0127d", 1);
    assert_true(strlen(socket_of(name, name)) <= PC_SOCKET_PATH_MAX);
}

static void test_too_long_a_socket_path_is_refused(void **state)
{
    struct pc_err err = {0};
    struct pc_profile profile = {.name = "p"};
    char path[256] = "";
    size_t rest = strlen("/run/pcluster.sock");
    snprintf(profile.dir, sizeof(profile.dir), "/%0*d", (int)(PC_SOCKET_PATH_MAX - rest - 1), 1);
    assert_int_equal(pc_profile_socket(&profile, "", path, sizeof(path), &err), 0);
    assert_int_equal(strlen(path), PC_SOCKET_PATH_MAX);
    assert_int_equal(pc_profile_socket(&profile, "x", path, sizeof(path), &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    assert_non_null(strstr(err.text, "at most 107 are possible"));
    assert_non_null(strstr(err.text, "/run/pcluster-x.sock'"));
    assert_non_null(strstr(err.text, "PCLUSTER_DIR"));
    /* A runtime folder with room for it helps; one that is too long itself does not. */
    make_runtime_dir(0700);
    assert_int_equal(pc_profile_socket(&profile, "x", path, sizeof(path), &err), 0);
    char longer[256];
    snprintf(longer, sizeof(longer), "%s/%0100d", folder, 1);
    assert_int_equal(mkdir(longer, 0700), 0);
    setenv("XDG_RUNTIME_DIR", longer, 1);
    assert_int_equal(pc_profile_socket(&profile, "x", path, sizeof(path), &err), -1);
}

/* ---- folders, as a user who is not root ---------------------------------------------------- */

static const char *const parts[] = {"", "/security", "/log", "/run"};

static int create_as_nobody(void)
{
    struct pc_err err = {0};
    struct pc_profile profile;
    char base[128], path[1024];
    struct stat status;
    /* Also what is above it. */
    snprintf(base, sizeof(base), "%s/deep/er", folder);
    setenv("PCLUSTER_DIR", base, 1);
    EXPECT(pc_profile_resolve(&profile, "p", NULL, &err) == 0);
    umask(0277);
    EXPECT(pc_profile_create(&profile, &err) == 0);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s%s", profile.dir, parts[i]);
        EXPECT(stat(path, &status) == 0 && status.st_mode == (S_IFDIR | 0700));
    }
    EXPECT(stat(base, &status) == 0 && status.st_mode == (S_IFDIR | 0700));
    EXPECT(pc_profile_exists(&profile));
    EXPECT(pc_profile_create(&profile, &err) == 0);
    return 0;
}

static void test_create(void **state)
{
    as_nobody(folder, create_as_nobody);
}

static int open_folders_as_nobody(void)
{
    struct pc_err err = {0};
    struct pc_profile profile;
    EXPECT(pc_profile_resolve(&profile, "p", NULL, &err) == 0);
    EXPECT(pc_profile_create(&profile, &err) == 0);
    for (size_t i = 0; i < 4; i++) {
        char path[1024];
        struct stat status;
        snprintf(path, sizeof(path), "%s%s", profile.dir, parts[i]);
        EXPECT(chmod(path, 0750) == 0);
        EXPECT(pc_profile_create(&profile, &err) < 0 && err.code == PC_E_INVALID);
        EXPECT(strstr(err.text, path) && strstr(err.text, "(mode 0750)"));
        EXPECT(strstr(err.text, "chmod 700"));
        /* Told, not changed behind the user's back. */
        EXPECT(stat(path, &status) == 0 && status.st_mode == (S_IFDIR | 0750));
        EXPECT(chmod(path, 0700) == 0);
    }
    EXPECT(pc_profile_create(&profile, &err) == 0);
    return 0;
}

static void test_open_folders_are_refused(void **state)
{
    as_nobody(folder, open_folders_as_nobody);
}

static int in_the_way_as_nobody(void)
{
    struct pc_err err = {0};
    struct pc_profile profile;
    EXPECT(pc_profile_resolve(&profile, "p", NULL, &err) == 0);
    int fd = open(profile.dir, O_WRONLY | O_CREAT, 0600);
    close(fd);
    EXPECT(!pc_profile_exists(&profile));
    EXPECT(pc_profile_create(&profile, &err) < 0 && err.code == PC_E_INVALID);
    EXPECT(strstr(err.text, profile.dir) && strstr(err.text, "is not a folder"));
    /* No permission to make one. */
    EXPECT(chmod(folder, 0500) == 0);
    EXPECT(pc_profile_resolve(&profile, "q", NULL, &err) == 0);
    EXPECT(pc_profile_create(&profile, &err) < 0 && err.code == PC_E_SYSTEM);
    EXPECT(strstr(err.text, profile.dir) && strstr(err.text, "Permission denied"));
    EXPECT(chmod(folder, 0700) == 0);
    return 0;
}

static void test_something_in_the_way(void **state)
{
    as_nobody(folder, in_the_way_as_nobody);
}

static int foreign_as_nobody(void)
{
    struct pc_err err = {0};
    struct pc_profile profile;
    char path[256];
    EXPECT(pc_profile_resolve(&profile, "p", NULL, &err) == 0);
    EXPECT(pc_profile_create(&profile, &err) < 0 && err.code == PC_E_INVALID);
    EXPECT(strstr(err.text, profile.dir) && strstr(err.text, "belongs to user 0, not to you"));
    /* Nor is a runtime folder of someone else used for the socket. */
    EXPECT(pc_profile_socket(&profile, "", path, sizeof(path), &err) == 0);
    EXPECT(strstr(path, "/profile_p/run/pcluster.sock"));
    return 0;
}

static void test_folders_of_another_user_are_refused(void **state)
{
    char path[128];
    if (geteuid() != 0) {
        print_message("skipped: only root can make a folder of another user\n");
        skip();
    }
    snprintf(path, sizeof(path), "%s/profile_p", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    make_runtime_dir(0700);
    as_nobody(folder, foreign_as_nobody);
}

/* ---- all of them ------------------------------------------------------------------------- */

struct seen {
    char text[512];
    int stop_after;
};

static int note(const struct pc_profile *profile, const char *cluster_id, const char *path,
                void *arg)
{
    struct seen *seen = arg;
    assert_int_equal(access(path, F_OK), 0);
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof(seen->text) - used, "%s:%s ", profile->name, cluster_id);
    return --seen->stop_after == 0 ? 42 : 0;
}

static void touch(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void test_each(void **state)
{
    struct pc_err err = {0};
    struct seen seen = {.text = ""};
    assert_int_equal(pc_profile_each(note, &seen, &err), 0);
    const char *const names[] = {"b", "a", "empty"};
    for (size_t i = 0; i < 3; i++) {
        struct pc_profile profile = resolved(names[i]);
        assert_int_equal(pc_profile_create(&profile, &err), 0);
    }
    touch("profile_a/security/pcluster-client.json");
    touch("profile_a/security/pcluster-engine.json");
    touch("profile_a/security/pcluster-x-client-client.json");
    touch("profile_b/security/pcluster-7-client.json");
    /* None of these is one. */
    touch("profile_b/security/pcluster--client.json");
    touch("profile_b/security/pclusterx-client.json");
    touch("profile_b/security/pcluster-.x-client.json");
    touch("profile_b/security/.connection-0123");
    touch("profile_b/security/pcluster-client.json.bak");
    touch("profile_b/security/client.json");
    touch("profile_file");
    touch("x");
    assert_int_equal(pc_profile_each(note, &seen, &err), 0);
    assert_string_equal(seen.text, "a: a:x-client b:7 ");

    seen = (struct seen){.stop_after = 2};
    assert_int_equal(pc_profile_each(note, &seen, &err), 42);
    assert_string_equal(seen.text, "a: a:x-client ");
}

static void test_each_without_any(void **state)
{
    struct pc_err err = {0};
    struct seen seen = {.text = ""};
    setenv("PCLUSTER_DIR", "/nonexistent/folder", 1);
    assert_int_equal(pc_profile_each(note, &seen, &err), 0);
    touch("file");
    char path[128];
    snprintf(path, sizeof(path), "%s/file", folder);
    setenv("PCLUSTER_DIR", path, 1);
    assert_int_equal(pc_profile_each(note, &seen, &err), -1);
    assert_int_equal(err.code, PC_E_SYSTEM);
    assert_non_null(strstr(err.text, path));
    assert_string_equal(seen.text, "");
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_names),
        IN_FOLDER(test_bad_names_are_refused),
        IN_FOLDER(test_folder_wins_over_name),
        IN_FOLDER(test_relative_folders_become_absolute),
        IN_FOLDER(test_home),
        IN_FOLDER(test_too_long_a_folder),
        IN_FOLDER(test_connection_file_names),
        IN_FOLDER(test_socket_in_the_profile),
        IN_FOLDER(test_socket_in_the_runtime_folder),
        IN_FOLDER(test_too_long_a_socket_path_is_refused),
        IN_FOLDER(test_create),
        IN_FOLDER(test_open_folders_are_refused),
        IN_FOLDER(test_something_in_the_way),
        IN_FOLDER(test_folders_of_another_user_are_refused),
        IN_FOLDER(test_each),
        IN_FOLDER(test_each_without_any),
    };
    return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
