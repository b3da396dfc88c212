/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that uses all processors without anybody having to start something before: it hosts a
 * cluster of its own, has it count the words of files, and takes it down again. Killed in the
 * middle it leaves nothing behind either.
 *
 * usage: embed FILE...
 */
#include <pcluster.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file {
    const char *path;
    char *text;
    size_t size;
    struct pc_call *call;
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "embed: %s%s%s\n", what, *what ? ": " : "", why);
    return 1;
}

/* The whole of a file. */
static int slurp(struct file *file)
{
    FILE *in = fopen(file->path, "rb");
    if (!in)
        return -1;
    size_t room = 0;
    bool failed = false;
    while (!failed && !feof(in)) {
        if (file->size == room) {
            room = room ? 2 * room : 65536;
            char *more = realloc(file->text, room);
            failed = !more;
            file->text = more ? more : file->text;
        }
        if (!failed)
            file->size += fread(file->text + file->size, 1, room - file->size, in);
        failed = failed || ferror(in);
    }
    fclose(in);
    return failed ? -1 : 0;
}

/* Each file goes to an engine as bytes; a number comes back. */
static int count_words(struct pc_client *client, struct file *files, int count)
{
    struct pc_err err;
    struct pc_value value;
    long total = 0;
    for (int i = 0; i < count; i++) {
        struct pc_bytes part = {.data = files[i].text, .size = files[i].size};
        struct pc_request request = {.is_balanced = true, .parts = &part, .part_count = 1};
        if (pc_apply(client, &request, "word_count", NULL, &files[i].call, &err))
            return fail("", err.text);
    }
    for (int i = 0; i < count; i++) {
        if (pc_call_get(files[i].call, -1, &value, &err))
            return fail(files[i].path, err.text);
        printf("%8s %s\n", (const char *)value.data, files[i].path);
        total += atol(value.data);
    }
    printf("%8ld in all\n", total);
    return 0;
}

/* A function for every engine to come. */
static int define(struct pc_client *client)
{
    struct pc_engine *engines;
    size_t count;
    struct pc_err err;
    struct pc_value value;
    int failed = 0;
    if (pc_client_engines(client, &engines, &count, &err))
        return fail("", err.text);
    for (size_t i = 0; i < count && !failed; i++) {
        struct pc_request there = {.targets = &engines[i].id, .target_count = 1};
        struct pc_call *call;
        if (pc_execute(client, &there, "def word_count(text): return len(text.split())", &call,
                       &err))
            failed = fail("", err.text);
        else if (pc_call_get(call, -1, &value, &err))
            failed = fail("", err.text);
        if (!failed)
            pc_call_unref(call);
    }
    pc_engines_free(engines);
    return failed;
}

int main(int argc, char **argv)
{
    int count = argc - 1, failed = 0;
    struct pc_cluster *cluster;
    struct pc_client *client;
    struct pc_err err;
    struct file *files = calloc((size_t)argc, sizeof(*files));
    if (!files)
        return 1;
    for (int i = 0; i < count && !failed; i++) {
        files[i].path = argv[i + 1];
        if (slurp(&files[i]))
            failed = fail(files[i].path, "can't be read");
    }
    if (failed || pc_cluster_start(&cluster, NULL, &err)) {
        failed = failed ? failed : fail("", err.text);
        goto out;
    }
    struct pc_connect how = {.file = pc_cluster_file(cluster)};
    if (pc_client_open(&client, &how, &err)) {
        failed = fail("", err.text);
    } else {
        failed = define(client) || count_words(client, files, count);
        pc_client_close(client);
    }
    if (pc_cluster_stop(cluster, &err))
        failed = fail("", err.text);
out:
    for (int i = 0; i < count; i++) {
        pc_call_unref(files[i].call);
        free(files[i].text);
    }
    free(files);
    return failed;
}
