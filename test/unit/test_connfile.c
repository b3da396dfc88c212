/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/connfile.c: every field checked, anything else than a good file refused with a text that
 * helps, writing all or nothing. Root may do everything, so what is about permissions runs in a
 * child that has given up being root.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/connfile.h"
#include "lib/json.h"
#include "nobody.h"

static char folder[64]; /* a fresh one for each test */

static int make_folder(void **state)
{
    strcpy(folder, "/tmp/pc-connfile-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static void each_entry(void (*visit)(const char *path))
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            visit(path);
    }
    closedir(dir);
}

static void remove_entry(const char *path)
{
    assert_int_equal(remove(path), 0);
}

static int remove_folder(void **state)
{
    chmod(folder, 0700);
    each_entry(remove_entry);
    return rmdir(folder);
}

static int entries;

static void count_entry(const char *path)
{
    entries++;
}

static int count_entries(void)
{
    entries = 0;
    each_entry(count_entry);
    return entries;
}

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void put_file(const char *name, const void *data, size_t size, mode_t mode)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static struct pc_connfile example(void)
{
    struct pc_connfile file = {.role = "client",
                               .cluster_id = "a-1",
                               .profile = "default",
                               .host = "192.0.2.7",
                               .port = 40001,
                               .unix_path = "/run/user/1000/pcluster/x.sock",
                               .location = "host.example"};
    memset(file.instance, 0x11, sizeof(file.instance));
    memset(file.exec_key, 0xe5, sizeof(file.exec_key));
    memset(file.controller_key, 0xc0, sizeof(file.controller_key));
    snprintf(file.path, sizeof(file.path), "%s", in_folder("pcluster-client.json"));
    return file;
}

static void assert_same(const struct pc_connfile *a, const struct pc_connfile *b)
{
    assert_string_equal(a->role, b->role);
    assert_string_equal(a->cluster_id, b->cluster_id);
    assert_string_equal(a->profile, b->profile);
    assert_memory_equal(a->instance, b->instance, sizeof(a->instance));
    assert_string_equal(a->host, b->host);
    assert_int_equal(a->port, b->port);
    assert_string_equal(a->unix_path, b->unix_path);
    assert_memory_equal(a->exec_key, b->exec_key, sizeof(a->exec_key));
    assert_memory_equal(a->controller_key, b->controller_key, sizeof(a->controller_key));
    assert_string_equal(a->location, b->location);
}

/* ---- text -------------------------------------------------------------------------------- */

static void test_print_and_parse(void **state)
{
    struct pc_err err = {0};
    struct pc_connfile file = example(), got;
    char *text = pc_connfile_print(&file);
    assert_non_null(strstr(text, "\"url\":\t\"tcp://192.0.2.7:40001\""));
    assert_non_null(strstr(text, "\"ssh\":\tnull"));
    assert_int_equal(pc_connfile_parse(&got, text, strlen(text), "text", &err), 0);
    assert_same(&file, &got);
    assert_string_equal(got.path, "");
    free(text);

    /* An address with colons gets brackets; no Unix socket is null. */
    strcpy(file.host, "fe80::1%eth0");
    strcpy(file.unix_path, "");
    strcpy(file.role, "engine");
    text = pc_connfile_print(&file);
    assert_non_null(strstr(text, "\"tcp://[fe80::1%eth0]:40001\""));
    assert_non_null(strstr(text, "\"unix\":\tnull"));
    assert_int_equal(pc_connfile_parse(&got, text, strlen(text), "text", &err), 0);
    assert_same(&file, &got);
    free(text);
}

/* The example with one field replaced by `json`, or removed when NULL. */
static char *with_field(const char *name, const char *json)
{
    struct pc_connfile file = example();
    char *text = pc_connfile_print(&file);
    pc_json *old = pc_json_parse(text, strlen(text), NULL), *changed = pc_json_object();
    free(text);
    for (const pc_json *member = pc_json_first(old); member; member = pc_json_next(member))
        if (strcmp(pc_json_name(member), name) != 0)
            pc_json_put(changed, pc_json_name(member), pc_json_copy(member));
    if (json) {
        pc_json *value = pc_json_parse(json, strlen(json), NULL);
        assert_non_null(value);
        pc_json_put(changed, name, value);
    }
    text = pc_json_print(changed);
    pc_json_free(old);
    pc_json_free(changed);
    return text;
}

static void assert_field_refused(const char *name, const char *json, const char *why)
{
    struct pc_err err = {0};
    struct pc_connfile got, before;
    char *text = with_field(name, json), quoted[64];
    memset(&got, 0x5a, sizeof(got));
    memset(&before, 0x5a, sizeof(before));
    if (pc_connfile_parse(&got, text, strlen(text), "/some/file.json", &err) == 0)
        fail_msg("%s %s was taken", name, json);
    assert_memory_equal(&got, &before, sizeof(got));
    assert_int_equal(err.code, PC_E_BAD_FILE);
    snprintf(quoted, sizeof(quoted), "field '%s' is ", name);
    if (!strstr(err.text, quoted) || !strstr(err.text, why) ||
        !strstr(err.text, "'/some/file.json'") || !strstr(err.text, "start the cluster again"))
        fail_msg("%s", err.text);
    free(text);
}

static void test_every_field_must_be_there(void **state)
{
    static const char *const names[] = {"version",  "role",           "cluster_id",
                                        "profile",  "instance",       "url",
                                        "exec_key", "controller_key", "location"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_field_refused(names[i], NULL, "missing");
        assert_field_refused(names[i], "null", "not a ");
        assert_field_refused(names[i], "[1]", "not a ");
    }
    /* This one may be absent. */
    struct pc_connfile got;
    char *text = with_field("unix", NULL);
    assert_int_equal(pc_connfile_parse(&got, text, strlen(text), "text", NULL), 0);
    assert_string_equal(got.unix_path, "");
    free(text);
}

static void test_bad_fields_are_refused(void **state)
{
    char text[1200], digits[65];
    assert_field_refused("version", "2", "is 2, this pcluster knows version 1");
    assert_field_refused("version", "1.5", "not a whole number");
    assert_field_refused("role", "\"hub\"", "'hub' where 'client' or 'engine'");
    assert_field_refused("role", "\"clientclientclient\"", "longer than 15 bytes");
    assert_field_refused("cluster_id", "\"../x\"", "not a cluster id");
    assert_field_refused("cluster_id", "\".x\"", "not a cluster id");
    assert_field_refused("instance", "\"1111\"", "not 32 hexadecimal digits");
    assert_field_refused("instance", "\"zz111111111111111111111111111111\"", "not 32 hexadecimal");
    assert_field_refused("unix", "\"run/x\"", "not an absolute path");
    assert_field_refused("unix", "\"\"", "not an absolute path");
    assert_field_refused("unix", "7", "not a string");
    snprintf(text, sizeof(text), "\"/%0107d\"", 1);
    assert_field_refused("unix", text, "longer than a socket's 107 bytes");
    snprintf(text, sizeof(text), "\"/%0900d\"", 1);
    assert_field_refused("unix", text, "longer than 511 bytes");
    snprintf(text, sizeof(text), "\"%0256d\"", 1);
    assert_field_refused("location", text, "longer than 255 bytes");
    snprintf(text, sizeof(text), "\"%0128d\"", 1);
    assert_field_refused("profile", text, "longer than 127 bytes");
    snprintf(digits, sizeof(digits), "%063d", 7);
    snprintf(text, sizeof(text), "\"%s\"", digits);
    assert_field_refused("exec_key", text, "not 64 hexadecimal digits");
    assert_field_refused("controller_key", text, "not 64 hexadecimal digits");
}

static void test_bad_urls_are_refused(void **state)
{
    static const char *const urls[] = {
        "",
        "tcp://",
        "tcp://host",
        "tcp://host:",
        "tcp://:1",
        "tcp://host:0",
        "tcp://host:65536",
        "tcp://host:99999",
        "tcp://host:0080",
        "tcp://host:123456",
        "tcp://host:-1",
        "tcp://host:+1",
        "tcp://host: 1",
        "tcp://host:1 ",
        "tcp://host:1/",
        "tcp://user@host:1",
        "tcp://ho st:1",
        "tcp://-host:1",
        "tcp://::1:1",
        "tcp://[::1]",
        "tcp://[::1]1",
        "tcp://[::1:1",
        "tcp://[]:1",
        "tcp://[host]:1",
        "tcp://[::1%]x]:1",
        "tcp://[1.2.3.4]:1",
        "http://host:1",
        "TCP://host:1",
        " tcp://host:1",
    };
    char json[64];
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        snprintf(json, sizeof(json), "\"%s\"", urls[i]);
        assert_field_refused("url", json, "'tcp://host:port' is expected");
    }
    char longer[400];
    snprintf(longer, sizeof(longer), "\"tcp://%0256d:1\"", 1);
    assert_field_refused("url", longer, "'tcp://host:port' is expected");
}

static void test_good_urls(void **state)
{
    static const struct {
        const char *json, *host;
        int port;
    } urls[] = {
        {"\"tcp://h:1\"", "h", 1},
        {"\"tcp://a_b-c.example:65535\"", "a_b-c.example", 65535},
        {"\"tcp://[::1]:80\"", "::1", 80},
        {"\"tcp://[::ffff:1.2.3.4]:80\"", "::ffff:1.2.3.4", 80},
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct pc_connfile got;
        char *text = with_field("url", urls[i].json);
        assert_int_equal(pc_connfile_parse(&got, text, strlen(text), "text", NULL), 0);
        assert_string_equal(got.host, urls[i].host);
        assert_int_equal(got.port, urls[i].port);
        free(text);
    }
}

static void test_unknown_fields_are_for_later_versions(void **state)
{
    struct pc_connfile got;
    char *text = with_field("relay", "{\"a\":[1,2]}");
    assert_int_equal(pc_connfile_parse(&got, text, strlen(text), "text", NULL), 0);
    free(text);
}

static void test_texts_that_are_no_connection(void **state)
{
    static const char *const texts[] = {"", " ", "[]", "17", "{", "{}", "#!/bin/sh\n", "\xff\xd8"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct pc_err err = {0};
        struct pc_connfile got;
        assert_int_equal(pc_connfile_parse(&got, texts[i], strlen(texts[i]), "x", &err), -1);
        assert_int_equal(err.code, PC_E_BAD_FILE);
        assert_non_null(strstr(err.text, "'x' is not a connection file: "));
    }
}

/* Whatever is wrong with a file, its key must not be in the text about it. */
static void test_keys_are_never_shown(void **state)
{
    struct pc_err err = {0};
    struct pc_connfile got;
    char *text = with_field("exec_key", "\"5ec7e75ec7e7\"");
    assert_int_equal(pc_connfile_parse(&got, text, strlen(text), "x", &err), -1);
    assert_null(strstr(err.text, "5ec7e7"));
    free(text);
}

static void test_wipe(void **state)
{
    static const struct pc_connfile nothing;
    struct pc_connfile file = example();
    pc_connfile_wipe(&file);
    assert_memory_equal(&file, &nothing, sizeof(file));
}

/* ---- files ------------------------------------------------------------------------------- */

static void assert_read_fails(const char *path, enum pc_errc code, const char *why)
{
    struct pc_err err = {0};
    struct pc_connfile got;
    assert_int_equal(pc_connfile_read(&got, path, &err), -1);
    if (err.code != code || !strstr(err.text, why) || !strstr(err.text, path))
        fail_msg("%d %s", err.code, err.text);
    assert_int_equal(pc_connfile_read(&got, path, NULL), -1);
}

static void test_write_and_read(void **state)
{
    struct pc_err err = {0};
    struct pc_connfile file = example(), got;
    struct stat status;
    mode_t mask = umask(0777); /* the mode must not depend on it */
    assert_int_equal(pc_connfile_write(&file, &err), 0);
    umask(mask);
    assert_int_equal(stat(file.path, &status), 0);
    assert_int_equal(status.st_mode, S_IFREG | 0600);
    assert_int_equal(pc_connfile_read(&got, file.path, &err), 0);
    assert_same(&file, &got);
    assert_string_equal(got.path, file.path);

    /* Again, over the old one, which was open to others and read-only. */
    assert_int_equal(chmod(file.path, 0444), 0);
    file.port = 7;
    assert_int_equal(pc_connfile_write(&file, &err), 0);
    assert_int_equal(pc_connfile_read(&got, file.path, &err), 0);
    assert_int_equal(got.port, 7);
    assert_int_equal(count_entries(), 1);
}

static void test_a_link_is_replaced_not_followed(void **state)
{
    struct pc_connfile file = example();
    struct stat status;
    put_file("precious", "x", 1, 0600);
    assert_int_equal(symlink("precious", file.path), 0);
    assert_int_equal(pc_connfile_write(&file, NULL), 0);
    assert_int_equal(lstat(file.path, &status), 0);
    assert_true(S_ISREG(status.st_mode));
    assert_int_equal(stat(in_folder("precious"), &status), 0);
    assert_int_equal(status.st_size, 1);
}

static void test_write_without_folder_or_name(void **state)
{
    struct pc_err err = {0};
    struct pc_connfile file = example();
    snprintf(file.path, sizeof(file.path), "%s/none/x.json", folder);
    assert_int_equal(pc_connfile_write(&file, &err), -1);
    assert_int_equal(err.code, PC_E_SYSTEM);
    assert_non_null(strstr(err.text, file.path));
    assert_non_null(strstr(err.text, "No such file or directory"));
    snprintf(file.path, sizeof(file.path), "%s/", folder);
    assert_int_equal(pc_connfile_write(&file, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    file.path[0] = '\0';
    assert_int_equal(pc_connfile_write(&file, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    /* A folder is in the way of the file. */
    file = example();
    assert_int_equal(mkdir(file.path, 0700), 0);
    assert_int_equal(pc_connfile_write(&file, &err), -1);
    assert_int_equal(err.code, PC_E_SYSTEM);
    assert_int_equal(count_entries(), 1);
}

static void test_missing_file(void **state)
{
    assert_read_fails(in_folder("none.json"), PC_E_NO_FILE, "pcluster start");
    assert_read_fails("", PC_E_NO_FILE, "there is no connection file ''");
    put_file("file", "x", 1, 0600);
    assert_read_fails(in_folder("file/x.json"), PC_E_NO_FILE, "there is no connection file");
}

static void test_path_too_long(void **state)
{
    struct pc_err err = {0};
    struct pc_connfile got;
    char path[1200];
    snprintf(path, sizeof(path), "/%01100d", 1);
    assert_int_equal(pc_connfile_read(&got, path, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    assert_non_null(strstr(err.text, "longer than 1023 bytes"));
}

/* None of these may make the reader wait; the test's own time limit would tell. */
static void test_what_is_no_regular_file(void **state)
{
    assert_read_fails(folder, PC_E_BAD_FILE, "is a folder");
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_read_fails(in_folder("pipe"), PC_E_BAD_FILE, "not a regular file");
    assert_read_fails("/dev/zero", PC_E_BAD_FILE, "not a regular file");
    assert_read_fails("/dev/full", PC_E_BAD_FILE, "not a regular file");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_read_fails(address.sun_path, PC_E_SYSTEM, "can't open");
    close(fd);
}

static void test_size_is_limited(void **state)
{
    struct pc_connfile file = example(), got;
    size_t large = PC_CONNFILE_BYTES_MAX + 1;
    char *text = pc_connfile_print(&file), *padded = malloc(large);
    memset(padded, ' ', large);
    memcpy(padded, text, strlen(text));
    put_file("full", padded, large - 1, 0600);
    assert_int_equal(pc_connfile_read(&got, in_folder("full"), NULL), 0);
    put_file("over", padded, large, 0600);
    assert_read_fails(in_folder("over"), PC_E_BAD_FILE, "larger than 64 KiB");
    put_file("empty", "", 0, 0600);
    assert_read_fails(in_folder("empty"), PC_E_BAD_FILE, "is not a connection file");
    free(text);
    free(padded);
}

/* ---- as a user who is not root ------------------------------------------------------------ */

static int modes_as_nobody(void)
{
    struct pc_err err = {0};
    struct pc_connfile file = example(), got;
    EXPECT(pc_connfile_write(&file, &err) == 0);
    for (int mode = 0; mode < 01000; mode++) {
        EXPECT(chmod(file.path, (mode_t)mode) == 0);
        int status = pc_connfile_read(&got, file.path, &err);
        if (!(mode & 0400)) {
            EXPECT(status < 0 && err.code == PC_E_SYSTEM);
            EXPECT(strstr(err.text, "Permission denied") && strstr(err.text, file.path));
        } else if (mode & 077) {
            EXPECT(status < 0 && err.code == PC_E_BAD_FILE);
            EXPECT(strstr(err.text, "chmod 600") && strstr(err.text, file.path));
        } else {
            EXPECT(status == 0);
        }
    }
    return 0;
}

static void test_modes(void **state)
{
    as_nobody(folder, modes_as_nobody);
}

static int closed_folder_as_nobody(void)
{
    struct pc_err err = {0};
    struct pc_connfile file = example(), got;
    EXPECT(pc_connfile_write(&file, &err) == 0);
    EXPECT(chmod(folder, 0500) == 0);
    EXPECT(pc_connfile_write(&file, &err) < 0 && err.code == PC_E_SYSTEM);
    EXPECT(strstr(err.text, "Permission denied") && strstr(err.text, file.path));
    EXPECT(pc_connfile_read(&got, file.path, &err) == 0);
    EXPECT(chmod(folder, 0) == 0);
    EXPECT(pc_connfile_read(&got, file.path, &err) < 0 && err.code == PC_E_SYSTEM);
    EXPECT(strstr(err.text, "Permission denied") && strstr(err.text, file.path));
    EXPECT(chmod(folder, 0700) == 0);
    return 0;
}

static void test_folder_without_permission(void **state)
{
    as_nobody(folder, closed_folder_as_nobody);
    assert_int_equal(count_entries(), 1);
}

/* The disk is full after `room` bytes, as far as this process can tell. */
static int full_disk_as_nobody(void)
{
    struct pc_err err = {0};
    struct pc_connfile file = example(), got;
    signal(SIGXFSZ, SIG_IGN);
    EXPECT(pc_connfile_write(&file, &err) == 0);
    struct stat status;
    EXPECT(stat(file.path, &status) == 0);
    file.port = 9;
    for (rlim_t room = 0; room < (rlim_t)status.st_size - 4; room += 50) {
        struct rlimit limit = {room, RLIM_INFINITY};
        EXPECT(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        EXPECT(pc_connfile_write(&file, &err) < 0 && err.code == PC_E_SYSTEM);
        EXPECT(strstr(err.text, "File too large") && strstr(err.text, file.path));
        EXPECT(count_entries() == 1); /* no temporary file is left ... */
        EXPECT(pc_connfile_read(&got, file.path, &err) == 0);
        EXPECT(got.port == 40001); /* ... and the old one is whole */
    }
    EXPECT(remove(file.path) == 0);
    EXPECT(pc_connfile_write(&file, &err) < 0);
    EXPECT(count_entries() == 0);
    return 0;
}

static void test_full_disk_leaves_nothing(void **state)
{
    as_nobody(folder, full_disk_as_nobody);
}

static int no_descriptor_as_nobody(void)
{
    struct pc_err err = {0};
    struct pc_connfile file = example(), got;
    EXPECT(pc_connfile_write(&file, &err) == 0);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(next);
    for (int more = 0; more < 2; more++) {
        struct rlimit limit = {(rlim_t)(next + more), (rlim_t)(next + 8)};
        EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        EXPECT(pc_connfile_write(&file, &err) < 0 && err.code == PC_E_SYSTEM);
        EXPECT(strstr(err.text, "Too many open files"));
    }
    struct rlimit limit = {(rlim_t)next, (rlim_t)(next + 8)};
    EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    EXPECT(pc_connfile_read(&got, file.path, &err) < 0 && err.code == PC_E_SYSTEM);
    EXPECT(strstr(err.text, "Too many open files"));
    return 0;
}

static void test_no_free_descriptor(void **state)
{
    as_nobody(folder, no_descriptor_as_nobody);
    assert_int_equal(count_entries(), 1);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print_and_parse),
        cmocka_unit_test(test_every_field_must_be_there),
        cmocka_unit_test(test_bad_fields_are_refused),
        cmocka_unit_test(test_bad_urls_are_refused),
        cmocka_unit_test(test_good_urls),
        cmocka_unit_test(test_unknown_fields_are_for_later_versions),
        cmocka_unit_test(test_texts_that_are_no_connection),
        cmocka_unit_test(test_keys_are_never_shown),
        cmocka_unit_test(test_wipe),
        IN_FOLDER(test_write_and_read),
        IN_FOLDER(test_a_link_is_replaced_not_followed),
        IN_FOLDER(test_write_without_folder_or_name),
        IN_FOLDER(test_missing_file),
        IN_FOLDER(test_path_too_long),
        IN_FOLDER(test_what_is_no_regular_file),
        IN_FOLDER(test_size_is_limited),
        IN_FOLDER(test_modes),
        IN_FOLDER(test_folder_without_permission),
        IN_FOLDER(test_full_disk_leaves_nothing),
        IN_FOLDER(test_no_free_descriptor),
    };
    return cmocka_run_group_tests_name("connfile", tests, NULL, NULL);
}
