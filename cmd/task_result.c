/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pcluster task result: what a task printed and returned. The value is a Python object; a Python is
 * started to show it, and --raw does without.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/table.h"
#include "cmd/task.h"
#include "lib/buf.h"
#include "lib/json.h"

/* Reads the parts, each after its size, and prints the value unless it is None. */
static const char show_value[] =
    "import pickle, struct, sys\n"
    "data, parts = sys.stdin.buffer, []\n"
    "while head := data.read(8):\n"
    "    parts.append(data.read(struct.unpack('<Q', head)[0]))\n"
    "if parts and not parts[0].startswith(b'\\x80'):\n"
    "    for part in parts[:1] if parts[0] else parts[1:]:\n"
    "        print(part.decode(errors='backslashreplace'))\n"
    "    sys.exit()\n"
    "try:\n"
    "    value = pickle.loads(parts[0], buffers=parts[1:]) if parts else None\n"
    "except Exception as e:\n"
    "    sys.exit(f'the value needs more than Python itself to be shown: {e}')\n"
    "if value is not None:\n"
    "    print(repr(value))\n";

/* Printed as it comes; with --json it is collected. */
struct output {
    bool is_collected;
    struct pc_buf texts[2];
};

static void take_output(struct pc_call *call, struct output *output)
{
    for (int stream = PC_STREAM_STDOUT; stream <= PC_STREAM_STDERR; stream++) {
        char *text = NULL;
        size_t size = 0;
        pc_call_take_output(call, (enum pc_stream)stream, &text, &size);
        if (text && output->is_collected)
            pc_buf_put(&output->texts[stream], text, size);
        else if (text)
            fwrite(text, 1, size, stream == PC_STREAM_STDOUT ? stdout : stderr);
        free(text);
    }
    fflush(stdout);
}

static void write_all(const struct pc_call *call, FILE *out, bool with_sizes)
{
    void *data;
    size_t size;
    for (size_t i = 0; pc_call_part(call, i, &data, &size) == 0; i++) {
        uint8_t head[8];
        pc_store_u64(head, size);
        if (with_sizes)
            fwrite(head, 1, sizeof(head), out);
        fwrite(data, 1, size, out);
    }
    fflush(out);
}

/* To descriptor `out_fd`. */
static int print_value(const struct pc_call *call, int out_fd)
{
    int ends[2], status;
    if (pipe(ends) < 0)
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[0], STDIN_FILENO);
        dup2(out_fd, STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp("python3", "python3", "-c", show_value, (char *)NULL);
        command_error("task result", "can't start python3 to show the value; use --raw");
        _exit(CMD_FAILED);
    }
    close(ends[0]);
    FILE *out = fdopen(ends[1], "w");
    if (out && pid > 0)
        write_all(call, out, true);
    if (out)
        fclose(out);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

/* What print_value prints, without its last newline; NULL: that went wrong, or there is nothing. */
static char *value_text(const struct pc_call *call, int *failed)
{
    char *text = NULL;
    int fd = memfd_create("value", MFD_CLOEXEC);
    *failed = fd < 0 ? -1 : print_value(call, fd);
    off_t size = *failed ? 0 : lseek(fd, 0, SEEK_END);
    if (size > 0 && (text = malloc((size_t)size)) != NULL &&
        pread(fd, text, (size_t)size, 0) == size)
        text[size - 1] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

static pc_json *error_of(const struct pc_call *call)
{
    void *data;
    size_t size;
    return pc_call_part(call, 0, &data, &size) == 0 ? pc_json_parse(data, size, NULL) : NULL;
}

static int show_json(const struct pc_call *call, const char *id, struct output *output)
{
    static const char *const names[] = {"stdout", "stderr"};
    bool is_ok = pc_call_status(call) == PC_STATUS_OK;
    int failed = 0;
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "msg_id", id);
    pc_json_put_str(json, "status", is_ok ? "ok" : "error");
    for (int i = 0; i < 2; i++) {
        pc_buf_put(&output->texts[i], "", 1);
        pc_json_put_str(json, names[i], (const char *)output->texts[i].data);
    }
    char *value = is_ok ? value_text(call, &failed) : NULL;
    pc_json_put_str(json, "repr", is_ok && !failed && !value ? "None" : value);
    free(value);
    if (!is_ok)
        pc_json_put(json, "error", error_of(call));
    json_show(json);
    pc_json_free(json);
    return is_ok && !failed ? CMD_OK : CMD_FAILED;
}

static void print_failure(const struct pc_call *call)
{
    pc_json *error = error_of(call);
    const char *traceback = pc_json_str_or(error, "traceback", "");
    if (traceback[0])
        fprintf(stderr, "%s\n", traceback);
    else
        command_error("task result", "%s: %s", pc_json_str_or(error, "ename", "Error"),
                      pc_json_str_or(error, "evalue", "it failed"));
    pc_json_free(error);
}

/* Shows output as it comes. */
static int follow(struct pc_client *client, struct pc_call *call, bool will_wait,
                  struct output *output, struct pc_err *err)
{
    for (;;) {
        /* The hub answers at once when it can; a task that runs on is what --wait is for. */
        int failed = pc_wait(client, &call, 1, will_wait ? 1000 : 2000, err);
        take_output(call, output);
        if (!failed)
            return 0;
        if (err->code != PC_E_INTERRUPTED && (err->code != PC_E_TIMEOUT || !will_wait))
            return -1;
    }
}

int cmd_task_result(int argc, char **argv)
{
    struct ask_where where = {0};
    struct output output = {0};
    bool is_raw = false, will_wait = false;
    const struct option_row rows[] = {
        {0, "wait", OPTION_SET, &will_wait, NULL, "wait for its end, showing what it prints"},
        {0, "raw", OPTION_SET, &is_raw, NULL, "write the value as it is, a pickle"},
        {0},
    };
    const struct option_page page = {
        .command = "task result",
        .operands = "ID",
        .about = "Shows what a task printed and returned, whoever submitted it.",
        .rows = rows,
        .shared = {{ask_name_rows, &where},
                   {ask_file_rows, &where},
                   {option_json_rows, &output.is_collected}},
        .operand_min = 1,
        .operand_max = 1,
    };
    struct pc_client *client;
    struct pc_call *call = NULL;
    struct pc_task_id id;
    struct pc_err err;
    int exit_code;
    int first = options_read(&page, argc, argv, &exit_code);
    if (first < 0)
        return exit_code;
    if (is_raw && output.is_collected) {
        command_error("task result", "--raw and --json exclude each other");
        return CMD_USAGE;
    }
    if (task_id_read(argv[first], &id) < 0) {
        command_error("task result", "'%s' is not the id of a task; 'pcluster task list' shows ids",
                      argv[first]);
        return CMD_USAGE;
    }
    if (ask_connect(&client, &where, &err) < 0)
        return ask_error("task result", &err);
    if (pc_fetch(client, PC_FETCH_RESULT, &id, 1, &call, &err) < 0) {
        exit_code = ask_error("task result", &err);
    } else if (follow(client, call, will_wait, &output, &err) < 0) {
        command_error("task result", "%s",
                      err.code == PC_E_TIMEOUT ? "it has not ended; --wait waits for it"
                                               : err.text);
        exit_code = CMD_FAILED;
    } else if (output.is_collected) {
        exit_code = show_json(call, argv[first], &output);
    } else if (pc_call_status(call) != PC_STATUS_OK) {
        print_failure(call);
        exit_code = CMD_FAILED;
    } else if (is_raw) {
        write_all(call, stdout, false);
        exit_code = CMD_OK;
    } else {
        exit_code = print_value(call, STDOUT_FILENO) < 0 ? CMD_FAILED : CMD_OK;
    }
    for (int i = 0; i < 2; i++)
        pc_buf_fini(&output.texts[i]);
    pc_call_unref(call);
    pc_client_close(client);
    return exit_code;
}
