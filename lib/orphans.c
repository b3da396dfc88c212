/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/orphans.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"

#define ROUND_PIDS 1024

void pc_orphans_adopt(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* The kernel lists our children as pids with blanks between. */
static size_t list_children(pid_t *pids, size_t max)
{
    char path[64], text[16384];
    size_t count = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    for (char *at = text; count < max;) {
        char *end;
        long pid = strtol(at, &end, 10);
        /* A number at the very end of the buffer may be cut. */
        if (end == at || (end == text + sizeof(text) - 1))
            break;
        pids[count++] = (pid_t)pid;
        at = end;
    }
    return count;
}

bool pc_orphans_exist(void)
{
    pid_t pid;
    return list_children(&pid, 1) > 0;
}

int pc_orphans_end(int limit_ms)
{
    int64_t until_ms = pc_clock_ms() + limit_ms;
    do {
        pid_t pids[ROUND_PIDS];
        size_t count = list_children(pids, ROUND_PIDS);
        for (size_t i = 0; i < count; i++)
            kill(pids[i], SIGKILL);
        if (count == 0 && waitpid(-1, NULL, WNOHANG) < 0)
            return 0;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        usleep(1000);
    } while (pc_clock_ms() < until_ms);
    return -1;
}
