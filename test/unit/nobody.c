/* SPDX-License-Identifier: BSD-3-Clause */
#include "nobody.h"

#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

void as_nobody(const char *folder, int (*body)(void))
{
    if (geteuid() == 0)
        assert_int_equal(chown(folder, NOBODY, NOBODY), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
                               setresuid(NOBODY, NOBODY, NOBODY) < 0))
            _exit(255);
        _exit(body() % 256);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the child ended with status 0x%x: line (modulo 256) %d", status,
                 WEXITSTATUS(status));
}
