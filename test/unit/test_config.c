/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/config.c: what is a setting, and what is said about a line that is none. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/config.h"

static struct pc_config parsed(const char *text)
{
    struct pc_config config;
    struct pc_err err = {0};
    if (pc_config_parse(&config, text, strlen(text), "/a.conf", &err) < 0)
        fail_msg("%s", err.text);
    return config;
}

static void assert_line(const struct pc_config *config, size_t index, const char *name,
                        const char *value, unsigned number)
{
    assert_true(index < config->count);
    assert_string_equal(config->lines[index].name, name);
    assert_string_equal(config->lines[index].value, value);
    assert_int_equal(config->lines[index].number, number);
}

static void test_settings(void **state)
{
    struct pc_config config = parsed("# a comment\n"
                                     "\n"
                                     "engines = 4\n"
                                     "\tlog-level=info  \r\n"
                                     "preload = numpy, scipy # both\n"
                                     "python = /opt/a#b = c");
    assert_int_equal(config.count, 4);
    assert_string_equal(config.path, "/a.conf");
    assert_line(&config, 0, "engines", "4", 3);
    assert_line(&config, 1, "log-level", "info", 4);
    assert_line(&config, 2, "preload", "numpy, scipy", 5);
    assert_line(&config, 3, "python", "/opt/a#b = c", 6);
    pc_config_fini(&config);
    config = parsed("");
    assert_int_equal(config.count, 0);
    pc_config_fini(&config);
}

static void test_bad_lines_are_named(void **state)
{
    static const char *const bad[][2] = {
        {"engines 4", "'/a.conf' line 1: 'engines 4' is not of the form 'name = value'"},
        {"\n\n= 4", "'/a.conf' line 3: '= 4' is not of the form 'name = value'"},
        {"[start]", "'/a.conf' line 1: '[start]' is not of the form 'name = value'"},
        {"Engines = 4", "'/a.conf' line 1: 'Engines = 4' is not of the form 'name = value'"},
        {"a b = 4", "'/a.conf' line 1: 'a b = 4' is not of the form 'name = value'"},
        {"ip =", "'/a.conf' line 1: no value follows 'ip ='"},
        {"ip = # none", "'/a.conf' line 1: no value follows 'ip ='"},
        {"ip = 1\nport = 2\nip = 3", "'/a.conf' line 3: 'ip' was set in line 1 already"},
        {"ip = a\x01", "'/a.conf' line 1: there is a control character in it"},
        {"ip = \x7f", "'/a.conf' line 1: there is a control character in it"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pc_config config;
        struct pc_err err = {0};
        assert_int_equal(pc_config_parse(&config, bad[i][0], strlen(bad[i][0]), "/a.conf", &err),
                         -1);
        assert_int_equal(err.code, PC_E_BAD_FILE);
        assert_string_equal(err.text, bad[i][1]);
    }
}

static void test_nul_is_no_blank(void **state)
{
    struct pc_config config;
    struct pc_err err = {0};
    assert_int_equal(pc_config_parse(&config, "ip = a\0", 7, "/a.conf", &err), -1);
    assert_non_null(strstr(err.text, "control character"));
}

static void test_files(void **state)
{
    struct pc_config config;
    struct pc_err err = {0};
    char path[] = "/tmp/pc-config-XXXXXX";
    assert_int_equal(pc_config_read(&config, "/nowhere/pcluster.conf", &err), 0);
    assert_int_equal(config.count, 0);
    pc_config_fini(&config);
    assert_int_equal(pc_config_read(&config, "/tmp", &err), -1);
    assert_string_equal(err.text, "'/tmp' is not a file");
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "port = 1\n", 9), 9);
    assert_int_equal(pc_config_read(&config, path, &err), 0);
    assert_line(&config, 0, "port", "1", 1);
    pc_config_fini(&config);
    assert_int_equal(ftruncate(fd, PC_CONFIG_BYTES_MAX + 1), 0);
    assert_int_equal(pc_config_read(&config, path, &err), -1);
    assert_non_null(strstr(err.text, "is no configuration: it has over 65536 bytes"));
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_bad_lines_are_named),
        cmocka_unit_test(test_nul_is_no_blank),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
