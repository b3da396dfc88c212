/* SPDX-License-Identifier: BSD-3-Clause */
/* parent/logfile.c: a log that begins anew, and what becomes of the older ones. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parent/logfile.h"

static char folder[64], path[96];

static int set_up(void **state)
{
    strcpy(folder, "/tmp/pc-log-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/log", folder);
    return 0;
}

static int tear_down(void **state)
{
    char name[128];
    unlink(path);
    for (int i = 1; i < 6; i++) {
        snprintf(name, sizeof(name), "%s.%d", path, i);
        unlink(name);
    }
    return rmdir(folder);
}

static int open_log(void)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void write_text(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* `number` 0: of the log itself. "-": there is no such file. */
static void assert_text(int number, const char *expected)
{
    char name[128], text[64] = "";
    snprintf(name, sizeof(name), number ? "%s.%d" : "%s", path, number);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        assert_string_equal(expected, "-");
        return;
    }
    assert_true(read(fd, text, sizeof(text) - 1) >= 0);
    assert_string_equal(text, expected);
    close(fd);
}

static void test_older_ones_are_kept(void **state)
{
    static const char *const texts[] = {"first\n", "second\n", "third\n", "fourth\n"};
    struct pc_err err;
    int fd = open_log();
    for (int i = 0; i < 4; i++) {
        write_text(fd, texts[i]);
        assert_int_equal(parent_log_turn(fd, path, 10, 2, &err), 0); /* it fits */
        assert_int_equal(parent_log_turn(fd, path, 3, 2, &err), 1);
        assert_text(0, "");
        assert_text(1, texts[i]);
        assert_text(2, i ? texts[i - 1] : "-");
        assert_text(3, "-");
    }
    /* Whoever has it open goes on at its beginning. */
    write_text(fd, "again\n");
    assert_text(0, "again\n");
    close(fd);
}

static void test_old_logs_are_private(void **state)
{
    struct pc_err err;
    struct stat status;
    char name[128];
    int fd = open_log();
    umask(0);
    write_text(fd, "secret\n");
    assert_int_equal(parent_log_turn(fd, path, 3, 1, &err), 1);
    snprintf(name, sizeof(name), "%s.1", path);
    assert_int_equal(stat(name, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    close(fd);
}

static void test_none_is_kept(void **state)
{
    struct pc_err err;
    int fd = open_log();
    write_text(fd, "first\n");
    assert_int_equal(parent_log_turn(fd, path, 3, 0, &err), 1);
    assert_text(0, "");
    assert_text(1, "-");
    close(fd);
}

static void test_a_file_that_is_not_ours_any_more(void **state)
{
    struct pc_err err;
    char name[128];
    int fd = open_log(), other;
    write_text(fd, "first\n");
    snprintf(name, sizeof(name), "%s.5", path);
    assert_int_equal(rename(path, name), 0);
    assert_int_equal(parent_log_turn(fd, path, 3, 2, &err), 0);
    other = open_log();
    write_text(other, "of somebody else\n");
    assert_int_equal(parent_log_turn(fd, path, 3, 2, &err), 0);
    assert_text(0, "of somebody else\n");
    assert_text(1, "-");
    close(other);
    close(fd);
}

static void test_no_place_for_an_old_one(void **state)
{
    struct pc_err err;
    char name[128];
    int fd = open_log();
    snprintf(name, sizeof(name), "%s.1", path);
    assert_int_equal(mkdir(name, 0700), 0);
    write_text(fd, "first\n");
    assert_int_equal(parent_log_turn(fd, path, 3, 1, &err), -1);
    assert_non_null(strstr(err.text, name));
    assert_text(0, ""); /* it keeps to its limit all the same */
    assert_int_equal(rmdir(name), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_older_ones_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_logs_are_private, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_none_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_is_not_ours_any_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_place_for_an_old_one, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
