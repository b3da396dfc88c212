/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's count of processes killed for memory, in each of the places where it may be. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/oom.h"

struct tree {
    char top[64];
    char cgroup[96], vmstat[96];
};

static void write_file(const struct tree *tree, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", tree->top, name);
    for (char *slash = strchr(path + strlen(tree->top) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void plant(struct tree *tree)
{
    strcpy(tree->top, "/tmp/pc-oom-XXXXXX");
    assert_non_null(mkdtemp(tree->top));
    snprintf(tree->cgroup, sizeof(tree->cgroup), "%s/cgroup", tree->top);
    snprintf(tree->vmstat, sizeof(tree->vmstat), "%s/vmstat", tree->top);
}

static void fell(const struct tree *tree)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", tree->top);
    assert_int_equal(system(command), 0);
}

/* The count is in this file, whatever lies in the others. */
static void expect_counted_in(const struct tree *tree, const char *name, const char *before,
                              const char *after)
{
    struct eng_oom oom;
    write_file(tree, name, before);
    eng_oom_init(&oom, tree->cgroup, tree->top, tree->vmstat);
    assert_false(eng_oom_take(&oom));
    write_file(tree, name, after); /* two more */
    assert_true(eng_oom_take(&oom));
    assert_true(eng_oom_take(&oom));
    assert_false(eng_oom_take(&oom));
}

static void in_our_cgroup(void **state)
{
    struct tree tree;
    plant(&tree);
    write_file(&tree, "vmstat", "nr_free_pages 7\noom_kill 100\n");
    write_file(&tree, "cgroup", "0::/user.slice/a\n");
    write_file(&tree, "memory.events", "oom_kill 55\n");
    expect_counted_in(&tree, "user.slice/a/memory.events",
                      "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 8\n",
                      "low 0\nhigh 0\nmax 9\noom 6\noom_kill 5\noom_group_kill 8\n");
    fell(&tree);
}

/* Of a folder that is named, whatever our own group says. */
static void below_a_group(void **state)
{
    struct tree tree;
    struct eng_oom oom;
    char folder[128];
    plant(&tree);
    snprintf(folder, sizeof(folder), "%s/service", tree.top);
    assert_int_equal(eng_oom_below(&oom, folder), -1);
    write_file(&tree, "service/memory.events", "oom 1\noom_kill 3\n");
    assert_int_equal(eng_oom_below(&oom, folder), 0);
    assert_false(eng_oom_take(&oom));
    write_file(&tree, "service/memory.events", "oom 2\noom_kill 4\n");
    assert_true(eng_oom_take(&oom));
    fell(&tree);
}

static void in_the_root_of_a_container(void **state)
{
    struct tree tree;
    plant(&tree);
    write_file(&tree, "cgroup", "0::/docker/0123456789\n");
    expect_counted_in(&tree, "memory.events", "oom_kill 0\n", "oom_kill 2\n");
    fell(&tree);
}

static void in_the_first_version(void **state)
{
    struct tree tree;
    plant(&tree);
    write_file(&tree, "cgroup",
               "9:name=systemd:/\n8:memory_other:/x\n4:cpu,memory:/a/b\n1:cpu:/\n0::/\n");
    expect_counted_in(&tree, "memory/a/b/memory.oom_control",
                      "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
                      "oom_kill_disable 0\nunder_oom 0\noom_kill 9\n");
    fell(&tree);
}

static void for_the_machine(void **state)
{
    struct tree tree;
    plant(&tree);
    write_file(&tree, "cgroup", "0::/gone\n");
    expect_counted_in(&tree, "vmstat", "pgfault 9\noom_kill 1\n", "pgfault 10\noom_kill 3\n");
    fell(&tree);
}

static void where_nobody_tells(void **state)
{
    static const char *const bad[] = {"", "0::\n", ":", "0:\n", "4:memory\n", "\n\n"};
    struct tree tree;
    struct eng_oom oom;
    plant(&tree);
    eng_oom_init(&oom, tree.cgroup, tree.top, tree.vmstat);
    assert_string_equal(oom.path, "");
    assert_false(eng_oom_take(&oom));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_file(&tree, "cgroup", bad[i]);
        eng_oom_init(&oom, tree.cgroup, tree.top, tree.vmstat);
        assert_false(eng_oom_take(&oom));
    }
    fell(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(below_a_group),
        cmocka_unit_test(in_our_cgroup),
        cmocka_unit_test(in_the_root_of_a_container),
        cmocka_unit_test(in_the_first_version),
        cmocka_unit_test(for_the_machine),
        cmocka_unit_test(where_nobody_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
