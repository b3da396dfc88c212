/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/proto.h"

bool pc_journal_is_stream(int fd, const char *journal_stream)
{
    struct stat status;
    unsigned long long device, inode;
    int end = 0;
    if (!journal_stream || sscanf(journal_stream, "%llu:%llu%n", &device, &inode, &end) != 2 ||
        journal_stream[end] || fstat(fd, &status) < 0)
        return false;
    return status.st_dev == device && status.st_ino == inode;
}

int pc_journal_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The digits of "engine 3", else NULL. */
static const char *engine_of(const char *role)
{
    static const char before[] = "engine ";
    const char *digits = role + strlen(before);
    if (strncmp(role, before, strlen(before)) != 0 || !*digits ||
        digits[strspn(digits, "0123456789")])
        return NULL;
    return digits;
}

/* The lines for PCLUSTER_ENGINE and PCLUSTER_TASK. */
static void write_fields(const char *role, const struct pc_log_subject *subject, char *text,
                         size_t size)
{
    const char *engine = engine_of(role);
    size_t used = 0;
    text[0] = '\0';
    if (subject && subject->engine_id != PC_NO_ENGINE)
        used = (size_t)snprintf(text, size, "PCLUSTER_ENGINE=%" PRIu32 "\n", subject->engine_id);
    else if (engine)
        used = (size_t)snprintf(text, size, "PCLUSTER_ENGINE=%.20s\n", engine);
    if (subject && subject->sequence)
        snprintf(text + used, size - used, "PCLUSTER_TASK=%016" PRIx64 "_%" PRIu64 "\n",
                 subject->session, subject->sequence);
}

int pc_journal_send(int fd, int priority, const char *role, const struct pc_log_subject *subject,
                    const char *message)
{
    char text[3072], fields[120];
    write_fields(role, subject, fields, sizeof(fields));
    /* The message last: it may be cut. A line break in it would begin another field. */
    int size = snprintf(text, sizeof(text),
                        "PRIORITY=%d\nSYSLOG_IDENTIFIER=pcluster\nPCLUSTER_ROLE=%.40s\n%s"
                        "MESSAGE=%s",
                        priority, role, fields, message);
    size_t used = size < 0 ? 0 : (size_t)size > sizeof(text) - 2 ? sizeof(text) - 2 : (size_t)size;
    for (char *at = strstr(text, "MESSAGE="); at < text + used; at++)
        if ((unsigned char)*at < ' ' && *at != '\t')
            *at = ' ';
    text[used] = '\n';
    return send(fd, text, used + 1, MSG_NOSIGNAL) < 0 ? -1 : 0;
}
