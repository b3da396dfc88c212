/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pcluster task result: what a task printed and returned. The value is a Python object; a Python is
 * started to show it, and --raw does without.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
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

static void print_output(struct pc_call *call)
{
    for (int stream = PC_STREAM_STDOUT; stream <= PC_STREAM_STDERR; stream++) {
        char *text = NULL;
        size_t size = 0;
        pc_call_take_output(call, (enum pc_stream)stream, &text, &size);
        if (text)
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

static int print_value(const struct pc_call *call)
{
    int ends[2], status;
    if (pipe(ends) < 0)
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[0], STDIN_FILENO);
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

static void print_failure(const struct pc_call *call)
{
    void *data;
    size_t size;
    pc_json *error =
        pc_call_part(call, 0, &data, &size) == 0 ? pc_json_parse(data, size, NULL) : NULL;
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
                  struct pc_err *err)
{
    for (;;) {
        /* The hub answers at once when it can; a task that runs on is what --wait is for. */
        int failed = pc_wait(client, &call, 1, will_wait ? 1000 : 2000, err);
        print_output(call);
        if (!failed)
            return 0;
        if (err->code != PC_E_INTERRUPTED && (err->code != PC_E_TIMEOUT || !will_wait))
            return -1;
    }
}

int cmd_task_result(int argc, char **argv)
{
    struct ask_where where = {0};
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
        .shared = {{ask_name_rows, &where}, {ask_file_rows, &where}},
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
    if (task_id_read(argv[first], &id) < 0) {
        command_error("task result", "'%s' is not the id of a task; 'pcluster task list' shows ids",
                      argv[first]);
        return CMD_USAGE;
    }
    if (ask_connect(&client, &where, &err) < 0)
        return ask_error("task result", &err);
    if (pc_fetch(client, PC_FETCH_RESULT, &id, 1, &call, &err) < 0) {
        exit_code = ask_error("task result", &err);
    } else if (follow(client, call, will_wait, &err) < 0) {
        command_error("task result", "%s",
                      err.code == PC_E_TIMEOUT ? "it has not ended; --wait waits for it"
                                               : err.text);
        exit_code = CMD_FAILED;
    } else if (pc_call_status(call) != PC_STATUS_OK) {
        print_failure(call);
        exit_code = CMD_FAILED;
    } else if (is_raw) {
        write_all(call, stdout, false);
        exit_code = CMD_OK;
    } else {
        exit_code = print_value(call) < 0 ? CMD_FAILED : CMD_OK;
    }
    pc_call_unref(call);
    pc_client_close(client);
    return exit_code;
}
