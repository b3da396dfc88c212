/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/mem.h"

#define NAMES "abcdefghijklmnopqrstuvwxyz0123456789-"

/* A part of the text. */
struct span {
    const char *at;
    size_t size;
};

static bool is_blank(char character)
{
    return character == ' ' || character == '\t';
}

static struct span trimmed(struct span span)
{
    while (span.size > 0 && is_blank(span.at[0])) {
        span.at++;
        span.size--;
    }
    while (span.size > 0 && is_blank(span.at[span.size - 1]))
        span.size--;
    return span;
}

static char *copy(struct span span)
{
    char *text = pc_xcalloc(span.size + 1, 1);
    memcpy(text, span.at, span.size);
    return text;
}

/* What of a value is before its comment. */
static struct span without_comment(struct span span)
{
    for (size_t i = 0; i < span.size; i++)
        if (span.at[i] == '#' && (i == 0 || is_blank(span.at[i - 1])))
            span.size = i;
    return trimmed(span);
}

static bool is_name(struct span span)
{
    for (size_t i = 0; i < span.size; i++)
        if (!memchr(NAMES, span.at[i], strlen(NAMES)))
            return false;
    return span.size > 0;
}

static bool has_control(struct span span)
{
    for (size_t i = 0; i < span.size; i++)
        if (((unsigned char)span.at[i] < ' ' && span.at[i] != '\t') || span.at[i] == 0x7f)
            return true;
    return false;
}

static const struct pc_config_line *find(const struct pc_config *config, struct span name)
{
    for (size_t i = 0; i < config->count; i++)
        if (strlen(config->lines[i].name) == name.size &&
            memcmp(config->lines[i].name, name.at, name.size) == 0)
            return &config->lines[i];
    return NULL;
}

static int take_line(struct pc_config *config, struct span line, unsigned number,
                     struct pc_err *err)
{
    if (line.size > 0 && line.at[line.size - 1] == '\r')
        line.size--;
    line = trimmed(line);
    if (line.size == 0 || line.at[0] == '#')
        return 0;
    if (has_control(line))
        return pc_err_set(err, PC_E_BAD_FILE,
                          "'%.300s' line %u: there is a control character in it", config->path,
                          number);
    const char *equals = memchr(line.at, '=', line.size);
    size_t left = equals ? (size_t)(equals - line.at) : line.size;
    struct span name = trimmed((struct span){line.at, left});
    if (!equals || !is_name(name))
        return pc_err_set(err, PC_E_BAD_FILE,
                          "'%.300s' line %u: '%.*s' is not of the form 'name = value'",
                          config->path, number, (int)(line.size < 80 ? line.size : 80), line.at);
    struct span value = without_comment((struct span){equals + 1, line.size - left - 1});
    if (value.size == 0)
        return pc_err_set(err, PC_E_BAD_FILE, "'%.300s' line %u: no value follows '%.*s ='",
                          config->path, number, (int)(name.size < 80 ? name.size : 80), name.at);
    const struct pc_config_line *before = find(config, name);
    if (before)
        return pc_err_set(err, PC_E_BAD_FILE,
                          "'%.300s' line %u: '%.80s' was set in line %u already", config->path,
                          number, before->name, before->number);
    config->lines = pc_xrealloc(config->lines, config->count + 1, sizeof(*config->lines));
    config->lines[config->count++] =
        (struct pc_config_line){.name = copy(name), .value = copy(value), .number = number};
    return 0;
}

int pc_config_parse(struct pc_config *config, const char *text, size_t size, const char *path,
                    struct pc_err *err)
{
    struct pc_config got = {.path = pc_xstrdup(path)};
    unsigned number = 0;
    for (size_t at = 0; at < size;) {
        const char *newline = memchr(text + at, '\n', size - at);
        size_t length = newline ? (size_t)(newline - text) - at : size - at;
        if (take_line(&got, (struct span){text + at, length}, ++number, err) < 0) {
            pc_config_fini(&got);
            return -1;
        }
        at += length + 1;
    }
    *config = got;
    return 0;
}

/* All of a regular file that is not too large. */
static int read_all(int fd, const char *path, char *text, size_t *size, struct pc_err *err)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return pc_err_sys(err, "can't read '%.300s'", path);
    if (!S_ISREG(status.st_mode))
        return pc_err_set(err, PC_E_BAD_FILE, "'%.300s' is not a file", path);
    for (;;) {
        ssize_t got = read(fd, text + *size, PC_CONFIG_BYTES_MAX + 1 - *size);
        if (got < 0 && errno != EINTR)
            return pc_err_sys(err, "can't read '%.300s'", path);
        *size += got > 0 ? (size_t)got : 0;
        if (*size > PC_CONFIG_BYTES_MAX)
            return pc_err_set(err, PC_E_BAD_FILE,
                              "'%.300s' is no configuration: it has over %d bytes", path,
                              PC_CONFIG_BYTES_MAX);
        if (got == 0)
            return 0;
    }
}

int pc_config_read(struct pc_config *config, const char *path, struct pc_err *err)
{
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        *config = (struct pc_config){.path = pc_xstrdup(path)};
        return 0;
    }
    if (fd < 0)
        return pc_err_sys(err, "can't read '%.300s'", path);
    char *text = pc_xcalloc(PC_CONFIG_BYTES_MAX + 1, 1);
    int status = read_all(fd, path, text, &size, err);
    if (status == 0)
        status = pc_config_parse(config, text, size, path, err);
    free(text);
    close(fd);
    return status;
}

void pc_config_fini(struct pc_config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        free(config->lines[i].name);
        free(config->lines[i].value);
    }
    free(config->lines);
    free(config->path);
    *config = (struct pc_config){0};
}
