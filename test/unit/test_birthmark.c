/* SPDX-License-Identifier: BSD-3-Clause */
/* A forked child knows that it is one. */
#include "unit.h"

#include <sys/wait.h>
#include <unistd.h>

#include "lib/birthmark.h"

/* Whether a child forked now takes itself for the one that made the mark. */
static bool child_is_here(const struct pc_birthmark *mark)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(pc_birthmark_is_here(mark));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void only_its_maker_is_here(void **state)
{
    struct pc_birthmark mark;
    pc_birthmark_init(&mark);
    assert_true(pc_birthmark_is_here(&mark));
    assert_false(child_is_here(&mark));
    assert_true(pc_birthmark_is_here(&mark));
    pc_birthmark_fini(&mark);
    assert_true(pc_birthmark_is_here(&mark)); /* as where there are no such pages */
    assert_false(child_is_here(&mark));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_its_maker_is_here)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
