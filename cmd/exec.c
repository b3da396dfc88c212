/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster exec: runs code on engines; what they print comes line by line, with the engine's id. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/targets.h"
#include "lib/mem.h"

#define TURN_MS 1000 /* nothing depends on it: just how long one wait may last */

/* One engine's share: its call, and the beginnings of lines that have not ended yet. */
struct share {
    uint32_t engine_id;
    struct pc_call *call;
    char *unfinished[2];
    size_t unfinished_size[2];
    bool has_ended;
};

struct exec {
    struct pc_client *client;
    struct share *shares;
    size_t count;
    size_t ended_count;
    bool has_failed;
};

/* ---- output ----------------------------------------------------------------------------- */

static FILE *file_of(enum pc_stream stream)
{
    return stream == PC_STREAM_STDOUT ? stdout : stderr;
}

static void print_line(const struct share *share, enum pc_stream stream, const char *text,
                       size_t size)
{
    FILE *out = file_of(stream);
    fprintf(out, "[%u] ", share->engine_id);
    fwrite(text, 1, size, out);
    fputc('\n', out);
}

/* Lines are printed whole; a share's streams mix, but not within a line. */
static void print_output(struct share *share, enum pc_stream stream, const char *text, size_t size)
{
    char **rest = &share->unfinished[stream];
    size_t *rest_size = &share->unfinished_size[stream];
    const char *newline;
    while ((newline = memchr(text, '\n', size))) {
        size_t length = (size_t)(newline - text);
        *rest = pc_xrealloc(*rest, *rest_size + length + 1, 1);
        memcpy(*rest + *rest_size, text, length);
        print_line(share, stream, *rest, *rest_size + length);
        *rest_size = 0;
        size -= length + 1;
        text = newline + 1;
    }
    if (size > 0) {
        *rest = pc_xrealloc(*rest, *rest_size + size, 1);
        memcpy(*rest + *rest_size, text, size);
        *rest_size += size;
    }
}

static void take_output(struct share *share)
{
    for (int stream = PC_STREAM_STDOUT; stream <= PC_STREAM_STDERR; stream++) {
        char *text;
        size_t size;
        if (pc_call_take_output(share->call, (enum pc_stream)stream, &text, &size) < 0)
            continue;
        if (text)
            print_output(share, (enum pc_stream)stream, text, size);
        free(text);
    }
}

static void finish_lines(struct share *share)
{
    for (int stream = PC_STREAM_STDOUT; stream <= PC_STREAM_STDERR; stream++) {
        if (share->unfinished_size[stream] > 0)
            print_line(share, (enum pc_stream)stream, share->unfinished[stream],
                       share->unfinished_size[stream]);
        share->unfinished_size[stream] = 0;
    }
}

/* ---- results ---------------------------------------------------------------------------- */

/* The remote traceback; for a call that never ran, its reason. */
static void print_failure(struct share *share)
{
    struct pc_err err;
    void *data;
    size_t size;
    pc_json *error = NULL;
    if (pc_call_part(share->call, 0, &data, &size) == 0)
        error = pc_json_parse(data, size, &err);
    const char *traceback = error ? pc_json_str_or(error, "traceback", "") : "";
    if (traceback[0]) {
        print_output(share, PC_STREAM_STDERR, traceback, strlen(traceback));
    } else {
        char *text =
            pc_xasprintf("%s: %s", error ? pc_json_str_or(error, "ename", "Error") : "Error",
                         error ? pc_json_str_or(error, "evalue", "") : "it failed");
        print_output(share, PC_STREAM_STDERR, text, strlen(text));
        free(text);
    }
    pc_json_free(error);
}

static void look_at(struct exec *exec)
{
    for (size_t i = 0; i < exec->count; i++) {
        struct share *share = &exec->shares[i];
        if (share->has_ended)
            continue;
        /* The status first: all output comes before the result. */
        enum pc_status status = pc_call_status(share->call);
        take_output(share);
        if (status == PC_STATUS_PENDING)
            continue;
        share->has_ended = true;
        exec->ended_count++;
        if (status != PC_STATUS_OK) {
            exec->has_failed = true;
            print_failure(share);
        }
        finish_lines(share);
    }
    fflush(stdout);
    fflush(stderr);
}

static int submit(struct exec *exec, const char *code, size_t code_size, const uint32_t *targets,
                  size_t count, struct pc_err *err)
{
    struct pc_bytes part = {.data = code, .size = code_size};
    struct pc_request request = {
        .kind = PC_KIND_EXECUTE,
        .flags = PC_RUN_SILENT,
        .targets = targets,
        .target_count = count,
        .label = "exec",
        .parts = &part,
        .part_count = 1,
    };
    struct pc_call **calls = pc_xcalloc(count, sizeof(struct pc_call *));
    int status = pc_submit(exec->client, &request, calls, err);
    if (status == 0) {
        exec->shares = pc_xcalloc(count, sizeof(*exec->shares));
        exec->count = count;
        for (size_t i = 0; i < count; i++) {
            exec->shares[i].engine_id = targets[i];
            exec->shares[i].call = calls[i];
        }
    }
    free(calls);
    return status;
}

static int run(struct exec *exec, const char *targets_text, const char *code, size_t code_size,
               struct pc_err *err)
{
    struct pc_engine *engines;
    size_t engine_count, count;
    uint32_t *targets;
    if (pc_client_engines(exec->client, &engines, &engine_count, err) < 0)
        return -1;
    int status = targets_read(targets_text, engines, engine_count, &targets, &count, err);
    pc_engines_free(engines);
    if (status < 0)
        return -1;
    status = submit(exec, code, code_size, targets, count, err);
    free(targets);
    if (status < 0)
        return -1;
    while (exec->ended_count < exec->count) {
        /* When the connection is lost every call ends as failed, and says so. */
        pc_dispatch(exec->client, TURN_MS, NULL);
        look_at(exec);
    }
    return 0;
}

static void exec_fini(struct exec *exec)
{
    for (size_t i = 0; i < exec->count; i++) {
        pc_call_unref(exec->shares[i].call);
        free(exec->shares[i].unfinished[0]);
        free(exec->shares[i].unfinished[1]);
    }
    free(exec->shares);
    pc_client_close(exec->client);
}

/* ---- the command ------------------------------------------------------------------------ */

static char *read_stdin(size_t *size)
{
    char *text = NULL;
    size_t used = 0;
    for (;;) {
        text = pc_xrealloc(text, used + 65536, 1);
        size_t got = fread(text + used, 1, 65536, stdin);
        used += got;
        if (got == 0)
            break;
    }
    *size = used;
    return text;
}

int cmd_exec(int argc, char **argv)
{
    struct ask_where where = {0};
    const char *targets = "all";
    const struct option_row rows[] = {
        {'t', "targets", OPTION_TEXT, &targets, "TARGETS",
         "engines: all, or a list like 0-3,7 (default: all)"},
        {0},
    };
    const struct option_page page = {
        .command = "exec",
        .operands = "CODE|-",
        .about = "Runs Python code on engines and shows what it prints, each line after the id of "
                 "its\nengine. With '-' the code comes from standard input. The names that the "
                 "code binds\nstay on the engines.",
        .rows = rows,
        .shared = {{ask_name_rows, &where}, {ask_file_rows, &where}},
        .operand_min = 1,
        .operand_max = 1,
    };
    struct exec exec = {0};
    struct pc_err err;
    int exit_code;
    int operand = options_read(&page, argc, argv, &exit_code);
    if (operand < 0)
        return exit_code;
    if (ask_connect(&exec.client, &where, &err) < 0)
        return ask_error("exec", &err);
    bool from_stdin = strcmp(argv[operand], "-") == 0;
    size_t size = strlen(argv[operand]);
    char *code = from_stdin ? read_stdin(&size) : pc_xstrdup(argv[operand]);
    int status = run(&exec, targets, code, size, &err);
    free(code);
    exec_fini(&exec);
    if (status < 0) {
        command_error("exec", "%s", err.text);
        return err.code == PC_E_INVALID ? CMD_USAGE : CMD_FAILED;
    }
    return exec.has_failed ? CMD_FAILED : CMD_OK;
}
