/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int read_file(uint32_t pid, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%" PRIu32 "/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    if (got <= 0)
        return -1;
    text[got] = '\0';
    return 0;
}

int64_t hub_memory_of(uint32_t pid)
{
    char text[1024];
    int64_t value;
    if (read_file(pid, "smaps_rollup", text, sizeof(text)) == 0) {
        const char *line = strstr(text, "\nPss:");
        if (line && sscanf(line, "\nPss: %" SCNd64 " kB", &value) == 1)
            return value * 1024;
    }
    if (read_file(pid, "statm", text, sizeof(text)) == 0 &&
        sscanf(text, "%*d %" SCNd64, &value) == 1)
        return value * sysconf(_SC_PAGESIZE);
    return -1;
}
