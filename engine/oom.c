/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/oom.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The number in a line "oom_kill N". -1: there is none. */
static int read_count(const char *path, uint64_t *count)
{
    char line[256];
    int found = -1;
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    while (found < 0 && fgets(line, sizeof(line), file))
        if (sscanf(line, "oom_kill %" SCNu64, count) == 1)
            found = 0;
    fclose(file);
    return found;
}

static bool try_path(struct eng_oom *oom, const char *root, const char *folder, const char *name)
{
    int size = snprintf(oom->path, sizeof(oom->path), "%s%s/%s", root, folder, name);
    return size > 0 && (size_t)size < sizeof(oom->path) && read_count(oom->path, &oom->seen) == 0;
}

static bool has_memory(const char *controllers)
{
    const char *at = strstr(controllers, "memory");
    return at && (at == controllers || at[-1] == ',') && (at[6] == ',' || !at[6]);
}

/* One line of /proc/self/cgroup: "0::/user.slice/x", or of the first version
 * "4:memory:/user.slice/x". Inside a container the folder may be the host's word for what is the
 * root here. */
static bool try_line(struct eng_oom *oom, const char *root, char *line)
{
    char top[512];
    char *controllers = strchr(line, ':');
    char *folder = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!folder)
        return false;
    *folder++ = '\0';
    folder[strcspn(folder, "\n")] = '\0';
    if (!*++controllers)
        return try_path(oom, root, folder, "memory.events") ||
               try_path(oom, root, "", "memory.events");
    if (!has_memory(controllers))
        return false;
    snprintf(top, sizeof(top), "%s/memory", root);
    return try_path(oom, top, folder, "memory.oom_control") ||
           try_path(oom, top, "", "memory.oom_control");
}

void eng_oom_init(struct eng_oom *oom, const char *cgroup, const char *root, const char *vmstat)
{
    char line[1024];
    bool found = false;
    FILE *file = fopen(cgroup, "re");
    *oom = (struct eng_oom){0};
    while (file && !found && fgets(line, sizeof(line), file))
        found = try_line(oom, root, line);
    if (file)
        fclose(file);
    if (found)
        return;
    snprintf(oom->path, sizeof(oom->path), "%s", vmstat);
    if (read_count(vmstat, &oom->seen) < 0)
        oom->path[0] = '\0';
}

int eng_oom_below(struct eng_oom *oom, const char *folder)
{
    struct eng_oom got = {0};
    if (!try_path(&got, folder, "", "memory.events"))
        return -1;
    *oom = got;
    return 0;
}

bool eng_oom_take(struct eng_oom *oom)
{
    uint64_t count;
    if (!oom->path[0] || read_count(oom->path, &count) < 0 || count <= oom->seen)
        return false;
    oom->seen++;
    return true;
}
