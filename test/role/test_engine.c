/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The nursery and its engines, with a parent and a scheduler that this test plays: what they do
 * when others are slow, break the rules, or go away.
 */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cradle.h"
#include "engine/engine.h"
#include "engine/tail.h"
#include "lib/proto.h"
#include "lib/proto_task.h"

/* ---- life and death --------------------------------------------------------------------- */

static void test_life(void **state)
{
    struct cradle cradle;
    struct cradle_engine one, two;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &one);
    cradle_engine(&cradle, &two);
    assert_string_not_equal(one.uuid, two.uuid);
    char *text = cradle_do(&one, "print(6 * 7)");
    assert_string_equal(text, "42\n");
    free(text);
    free(cradle_do(&one, "a = 1"));
    text = cradle_do(&two, "print('a' in globals())"); /* engines share nothing */
    assert_string_equal(text, "False\n");
    free(text);
    cradle_dismiss(&cradle, &one);
    cradle_dismiss(&cradle, &two);
    cradle_close(&cradle);
}

/* A controller that has no place for a moment is tried again. */
static void test_dropped(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle.drops = 5;
    cradle_engine(&cradle, &engine);
    assert_int_equal(cradle.drops, 0);
    free(cradle_do(&engine, "pass"));
    cradle_dismiss(&cradle, &engine);
    cradle_close(&cradle);
}

static void test_no_nursery(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "\"use_nursery\":false,\"preload\":[\"colorsys\"]");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    char *text = cradle_do(&engine, "import sys; print('colorsys' in sys.modules)");
    assert_string_equal(text, "True\n");
    free(text);
    cradle_run(&engine, PC_KIND_EXECUTE, 0,
               "import os, sys\n"
               "print('last words', file=sys.stderr)\nos._exit(9)");
    pc_json *ended = cradle_exit(&cradle, &engine);
    assert_int_equal(pc_json_i64_or(ended, "code", -1), 9);
    pc_json_free(ended);
    cradle_engine_close(&engine);
    cradle_close(&cradle);
}

/* From the parent, which can't know whether a pid is still that of its engine. */
static void test_signals(void **state)
{
    struct cradle cradle;
    struct cradle_engine one, other;
    char body[128];
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &one);
    cradle_engine(&cradle, &other);
    cradle_run(&one, PC_KIND_EXECUTE, 0, "while True: pass");
    snprintf(body, sizeof(body), "{\"uuids\":[\"nobody\",\"%s\"],\"signal\":10}", one.uuid);
    cradle_send(&cradle.parent, PC_MSG_SIGNAL, body, strlen(body));
    pc_json *ended = cradle_exit(&cradle, &one);
    assert_int_equal(pc_json_i64_or(ended, "signal", -1), SIGUSR1);
    pc_json_free(ended);
    cradle_send(&cradle.parent, PC_MSG_SIGNAL, body, strlen(body)); /* it is gone */
    free(cradle_do(&other, "1"));
    cradle_dismiss(&cradle, &other);
    cradle_engine_close(&one);
    cradle_close(&cradle);
}

/* What is on stderr survives every kind of death. */
static void test_deaths(void **state)
{
    static const struct {
        const char *source;
        int signal, code;
        const char *words;
    } deaths[] = {
        {"import os, sys\nprint('bye', file=sys.stderr, flush=True)\nos._exit(3)", 0, 3, "bye"},
        {"import os\nos.write(2, b'bytes\\xff\\x1b')\nos.kill(os.getpid(), 9)", 9, 0, "bytes??"},
        {"import ctypes\nctypes.string_at(0)", SIGSEGV, 0, "Segmentation fault"},
        {"import os\nos.write(2, b'x' * 5000 + b'\\nend of it')\nos._exit(4)", 0, 4, "end of it"},
    };
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    for (size_t i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++) {
        cradle_engine(&cradle, &engine);
        cradle_run(&engine, PC_KIND_EXECUTE, 0, deaths[i].source);
        pc_json *ended = cradle_exit(&cradle, &engine);
        assert_int_equal(pc_json_i64_or(ended, "signal", -1), deaths[i].signal);
        assert_int_equal(pc_json_i64_or(ended, "code", -1), deaths[i].code);
        if (!strstr(pc_json_str_or(ended, "tail", ""), deaths[i].words))
            fail_msg("no '%s' in '%s'", deaths[i].words, pc_json_str_or(ended, "tail", ""));
        pc_json_free(ended);
        cradle_await_end(&engine.work);
        cradle_await_end(&engine.control);
        cradle_engine_close(&engine);
    }
    cradle_close(&cradle);
}

/* The pid of a process that user code has started and that would outlive everybody. */
static pid_t start_sleeper(struct cradle_engine *engine)
{
    char *text = cradle_do(engine, "import subprocess\n"
                                   "print(subprocess.Popen(['sleep', '3600']).pid)");
    pid_t pid = (pid_t)strtol(text, NULL, 10);
    free(text);
    assert_true(pid > 1);
    return pid;
}

static void await_no_process(pid_t pid)
{
    for (int waited_ms = 0; kill(pid, 0) == 0; waited_ms += 10) {
        char path[64], line[256] = "";
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        FILE *file = fopen(path, "re");
        if (file) {
            char *got = fgets(line, sizeof(line), file);
            fclose(file);
            if (got && strstr(line, ") Z ")) /* nobody looks at it in this container */
                return;
        }
        assert_true(waited_ms < CRADLE_LIMIT_MS);
        usleep(10000);
    }
}

/* The parent is gone: so is everything else, whatever it does. */
static void test_parent_gone(void **state)
{
    struct cradle cradle;
    struct cradle_engine busy, idle;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &busy);
    cradle_engine(&cradle, &idle);
    pid_t sleeper = start_sleeper(&idle);
    cradle_run(&busy, PC_KIND_EXECUTE, 0, "while True: pass");
    pc_sock_close(&cradle.parent);
    cradle_wait(&cradle);
    cradle_await_end(&busy.work);
    cradle_await_end(&idle.work);
    await_no_process(busy.pid);
    await_no_process(idle.pid);
    await_no_process(sleeper);
    cradle_engine_close(&busy);
    cradle_engine_close(&idle);
    cradle_free(&cradle);
}

/* The controller is gone, or talks nonsense: the engine leaves, with all that it started. */
static void test_controller_gone(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    for (int way = 0; way < 3; way++) {
        cradle_engine(&cradle, &engine);
        pid_t sleeper = start_sleeper(&engine);
        if (way == 0) {
            cradle_run(&engine, PC_KIND_EXECUTE, 0, "while True: pass");
            pc_sock_close(&engine.control);
        } else if (way == 1) {
            pc_sock_close(&engine.work);
        } else {
            cradle_send(&engine.work, PC_MSG_RUN, "nonsense", 8);
        }
        pc_json *ended = cradle_exit(&cradle, &engine);
        assert_int_equal(pc_json_i64_or(ended, "signal", -1), 0);
        assert_int_equal(pc_json_i64_or(ended, "code", -1), 4);
        pc_json_free(ended);
        await_no_process(sleeper);
        cradle_engine_close(&engine);
    }
    cradle_close(&cradle);
}

static void test_shutdown_while_busy(void **state)
{
    static const char body[] = "{\"reason\":\"test\",\"grace_ms\":50}";
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    cradle_run(&engine, PC_KIND_EXECUTE, 0, "while True: pass");
    cradle_send(&engine.control, PC_MSG_SHUTDOWN, body, strlen(body));
    pc_json *ended = cradle_exit(&cradle, &engine);
    assert_int_equal(pc_json_i64_or(ended, "code", -1), 0);
    pc_json_free(ended);
    cradle_engine_close(&engine);
    cradle_close(&cradle);
}

/* A task that ends within the grace time still delivers, and exit handlers run. */
static void test_shutdown_finishes(void **state)
{
    static const char body[] = "{\"reason\":\"test\",\"grace_ms\":20000}";
    struct cradle cradle;
    struct cradle_engine engine;
    struct pc_buf output[2] = {0};
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    free(cradle_do(&engine, "import atexit, sys, os\n"
                            "atexit.register(os.write, 2, b'registered')\n"));
    cradle_run(&engine, PC_KIND_EXECUTE, PC_RUN_SILENT,
               "print('started', flush=True)\nimport time; time.sleep(0.3)\nprint('ended')");
    pc_msg_unref(cradle_await(&engine.work, PC_MSG_STREAM));
    cradle_send(&engine.control, PC_MSG_SHUTDOWN, body, strlen(body));
    pc_msg_unref(cradle_result(&engine, output));
    assert_int_equal(output[0].size, strlen("ended\n"));
    pc_json *ended = cradle_exit(&cradle, &engine);
    assert_int_equal(pc_json_i64_or(ended, "code", -1), 0);
    assert_non_null(strstr(pc_json_str_or(ended, "tail", ""), "registered"));
    pc_json_free(ended);
    pc_buf_fini(&output[0]);
    pc_buf_fini(&output[1]);
    cradle_engine_close(&engine);
    cradle_close(&cradle);
}

/* Engines that nobody told, and that ignore SIGTERM, don't keep the nursery from leaving. */
static void test_nursery_shutdown(void **state)
{
    static const char body[] = "{\"reason\":\"test\",\"grace_ms\":50}";
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    free(cradle_do(&engine, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"));
    cradle_run(&engine, PC_KIND_EXECUTE, 0, "while True: pass");
    cradle_send(&cradle.parent, PC_MSG_SHUTDOWN, body, strlen(body));
    pc_json *ended = cradle_exit(&cradle, &engine);
    assert_int_equal(pc_json_i64_or(ended, "signal", -1), SIGKILL);
    pc_json_free(ended);
    int status = cradle_wait(&cradle);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cradle_engine_close(&engine);
    cradle_free(&cradle);
}

static void test_failures(void **state)
{
    static const struct {
        const char *config, *text;
    } failures[] = {
        {"\"preload\":[\"no_such_module\"]", "can't preload 'no_such_module': ModuleNotFoundError"},
        {"\"preload\":[1]", "a module to preload is no name"},
        {"\"transport\":\"pigeon\"", "unknown transport 'pigeon'"},
    };
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        struct cradle cradle;
        struct pc_err err;
        cradle_open(&cradle, failures[i].config);
        struct pc_msg *msg = pc_sock_receive(&cradle.parent, CRADLE_LIMIT_MS, &err);
        assert_non_null(msg);
        assert_int_equal(msg->head.type, PC_MSG_FAILED);
        pc_json *json = pc_json_of_msg(msg, NULL);
        if (!strstr(pc_json_str_or(json, "text", ""), failures[i].text))
            fail_msg("'%s'", pc_json_str_or(json, "text", ""));
        pc_json_free(json);
        pc_msg_unref(msg);
        int status = cradle_wait(&cradle);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        cradle_free(&cradle);
    }
}

/* ---- windows ---------------------------------------------------------------------------- */

static void ping(struct cradle_engine *engine)
{
    cradle_send(&engine->control, PC_MSG_PING, NULL, 0);
    pc_msg_unref(cradle_await(&engine->control, PC_MSG_PONG));
}

/* Takes in output until no more comes; how much it was. */
static uint64_t take_output(struct cradle_engine *engine)
{
    uint64_t sum = 0;
    while (cradle_has_more(&engine->work)) {
        struct pc_msg *msg = cradle_await(&engine->work, PC_MSG_STREAM);
        sum += msg->parts[0].size;
        pc_msg_unref(msg);
    }
    return sum;
}

/* Without credit output stops, however it is made, and the engine still answers. */
static void test_output_window(void **state)
{
    static const char *const ways[] = {
        "print('x' * 1000000, end='')",
        "for i in range(10000): print('x' * 99)",
        "import subprocess; subprocess.run(['head', '-c', '1000000', '/dev/zero'])",
        "import os\nfor i in range(100): os.write(2, b'x' * 10000)",
        "import sys\nsys.stderr.buffer.write(b'x' * 1000000)",
    };
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        cradle_engine(&cradle, &engine);
        cradle_run(&engine, PC_KIND_EXECUTE, PC_RUN_SILENT, ways[i]);
        uint64_t sum = take_output(&engine);
        assert_int_equal(sum, PC_OUTPUT_WINDOW);
        ping(&engine);
        struct pc_msg *credit = pc_credit_new(&(struct pc_credit_body){.bytes = 1000});
        assert_int_equal(pc_sock_send(&engine.control, credit, NULL), 0);
        assert_int_equal(take_output(&engine), 1000);
        credit->body[2] = 1; /* and 65536 more */
        assert_int_equal(pc_sock_send(&engine.control, credit, NULL), 0);
        pc_msg_unref(credit);
        struct pc_buf output[2] = {0};
        pc_msg_unref(cradle_result(&engine, output));
        sum += 1000 + output[0].size + output[1].size;
        assert_int_equal(sum, 1000000);
        pc_buf_fini(&output[0]);
        pc_buf_fini(&output[1]);
        cradle_dismiss(&cradle, &engine);
    }
    cradle_close(&cradle);
}

/* A task that waits for credit can be told to leave. */
static void test_shutdown_while_printing(void **state)
{
    static const char body[] = "{\"reason\":\"test\",\"grace_ms\":50}";
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    cradle_run(&engine, PC_KIND_EXECUTE, 0, "while True: print('x' * 1000)");
    assert_int_equal(take_output(&engine), PC_OUTPUT_WINDOW);
    cradle_send(&engine.control, PC_MSG_SHUTDOWN, body, strlen(body));
    pc_json_free(cradle_exit(&cradle, &engine));
    cradle_engine_close(&engine);
    cradle_close(&cradle);
}

/* Output comes while the task runs, and all of it before the result, in order per stream. */
static void test_output_order(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    struct pc_buf output[2] = {0};
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    cradle_run(&engine, PC_KIND_EXECUTE, PC_RUN_SILENT,
               "print('live')\nimport time\n"
               "while True: time.sleep(1)");
    struct pc_msg *msg = cradle_await(&engine.work, PC_MSG_STREAM);
    assert_memory_equal(msg->parts[0].data, "live\n", 5);
    assert_int_equal(kill(engine.pid, SIGINT), 0); /* here, as Ctrl-C would */
    struct pc_msg *result = cradle_result(&engine, NULL);
    assert_non_null(strstr((char *)result->parts[0].data, "\"KeyboardInterrupt\""));
    pc_msg_unref(msg);
    pc_msg_unref(result);
    for (int i = 0; i < 20; i++) {
        cradle_run(&engine, PC_KIND_EXECUTE, PC_RUN_SILENT,
                   "import ctypes, os, sys\nprint('1', flush=True)\nos.system('echo 2')\n"
                   "ctypes.CDLL(None).printf(b'3')\nprint('e', file=sys.stderr)");
        pc_msg_unref(cradle_result(&engine, output));
    }
    pc_buf_put_u8(&output[0], 0);
    for (int i = 0; i < 20; i++)
        assert_memory_equal(output[0].data + 5 * i, "1\n2\n3", 5);
    assert_int_equal(output[0].size, 20 * 5 + 1);
    assert_int_equal(output[1].size, 20 * 2);
    pc_buf_fini(&output[0]);
    pc_buf_fini(&output[1]);
    cradle_dismiss(&cradle, &engine);
    cradle_close(&cradle);
}

/* Results that nobody acknowledges are kept, within limits: then no task starts. */
static void test_result_window(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    for (int i = 0; i < 3; i++) {
        cradle_run(&engine, PC_KIND_PULL, 0, "\"bytes(30 << 20)\"");
        struct pc_msg *msg = cradle_result(&engine, NULL);
        assert_true(msg->parts_bytes > 30 << 20);
        pc_msg_unref(msg);
    }
    cradle_run(&engine, PC_KIND_PULL, 0, "\"1\"");
    cradle_run(&engine, PC_KIND_PULL, 0, "[\"2\", \"3\"]");
    assert_false(cradle_has_more(&engine.work));
    ping(&engine);
    cradle_ack(&engine, 1);
    engine.sequence = 4;
    pc_msg_unref(cradle_result(&engine, NULL));
    engine.sequence = 5;
    pc_msg_unref(cradle_result(&engine, NULL));
    cradle_ack(&engine, 1); /* again, and one that was never there */
    cradle_ack(&engine, 99);
    cradle_dismiss(&cradle, &engine);
    cradle_close(&cradle);
}

/* ---- forks in user code ----------------------------------------------------------------- */

static void test_forked_child(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    /* The child has none of the engine's sockets and comes back: one result, and its output. */
    char *text =
        cradle_do(&engine, "import os\n"
                           "pid = os.fork()\n"
                           "if pid == 0:\n"
                           "    fds = os.listdir('/proc/self/fd')\n"
                           "    links = [os.readlink(f'/proc/self/fd/{fd}')\n"
                           "             for fd in fds if os.path.lexists(f'/proc/self/fd/{fd}')]\n"
                           "    print('child', sum('socket' in link for link in links))\n"
                           "else:\n"
                           "    print('status', os.waitpid(pid, 0)[1], flush=True)\n");
    assert_non_null(strstr(text, "child 0\n"));
    assert_non_null(strstr(text, "status 0\n"));
    free(text);
    text = cradle_do(&engine, "import os, sys\n"
                              "pid = os.fork()\n"
                              "if pid == 0: sys.exit(7)\n"
                              "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n");
    assert_string_equal(text, "7\n");
    free(text);
    /* A child that lives on does not hide the engine's death. */
    text = cradle_do(&engine, "import os, time\n"
                              "has_left, leaves = os.pipe()\n"
                              "pid = os.fork()\n"
                              "if pid == 0:\n"
                              "    os.setsid()\n"
                              "    os.write(leaves, b'.')\n"
                              "    time.sleep(3600)\n"
                              "    os._exit(0)\n"
                              "os.read(has_left, 1)\n" /* else it dies with the engine's group */
                              "print(pid)\n");
    pid_t child = (pid_t)strtol(text, NULL, 10);
    free(text);
    cradle_run(&engine, PC_KIND_EXECUTE, 0, "os._exit(5)");
    cradle_await_end(&engine.work);
    cradle_await_end(&engine.control);
    pc_json_free(cradle_exit(&cradle, &engine));
    assert_int_equal(kill(child, SIGKILL), 0);
    cradle_engine_close(&engine);
    cradle_close(&cradle);
}

/* ---- the tail --------------------------------------------------------------------------- */

static void test_tail(void **state)
{
    struct eng_tail *tail = eng_tail_new();
    char text[ENG_TAIL_KEPT + 1], line[64];
    eng_tail_read(tail, text);
    assert_string_equal(text, "");
    eng_tail_put(tail, "one\n\xc3\xa4\x01\xff\xc3", 9);
    eng_tail_read(tail, text);
    assert_string_equal(text, "one\n\xc3\xa4???");
    for (int i = 0; i < 10000; i++) {
        int size = snprintf(line, sizeof(line), "line %d\n", i);
        eng_tail_put(tail, line, (size_t)size);
    }
    eng_tail_read(tail, text);
    assert_true(strlen(text) > ENG_TAIL_KEPT - 16 && strlen(text) <= ENG_TAIL_KEPT);
    assert_memory_equal(text, "line 9", 6);
    assert_string_equal(text + strlen(text) - 10, "line 9999\n");
    /* Read, and the end came before it was put, or after that. */
    memcpy(eng_tail_land(tail), "rescued\n", 8);
    for (int twice = 0; twice < 2; twice++) {
        eng_tail_rescue(tail);
        eng_tail_read(tail, text);
        assert_string_equal(text + strlen(text) - 18, "line 9999\nrescued\n");
    }
    char *large = calloc(1, 10000);
    memset(large, 'x', 9999);
    eng_tail_put(tail, large, 9999);
    eng_tail_read(tail, text);
    assert_int_equal(strlen(text), ENG_TAIL_KEPT);
    free(large);
    eng_tail_free(tail);
    assert_ptr_equal(eng_tail_new(), tail);
    eng_tail_read(tail, text);
    assert_string_equal(text, "");
    eng_tail_free(tail);
}

/* ---- abort and interrupt ------------------------------------------------------------------ */

static void send_abort(struct cradle_engine *engine, uint64_t sequence, uint8_t flags)
{
    struct pc_buf body;
    uint8_t pair[PC_ACK_SIZE];
    pc_store_u64(pair, CRADLE_SESSION);
    pc_store_u64(pair + 8, sequence);
    pc_buf_init(&body, 0);
    pc_abort_encode(&body, &(struct pc_abort_body){.flags = flags, .count = 1, .tasks = pair});
    cradle_send(&engine->control, PC_MSG_ABORT, body.data, body.size);
    pc_buf_fini(&body);
}

/* The last task ended with this exception (or went well: NULL). */
static void expect_end(struct cradle_engine *engine, const char *ename)
{
    struct pc_msg *msg = cradle_result(engine, NULL);
    if (!ename) {
        assert_int_equal(msg->body[0], PC_STATUS_OK);
    } else {
        pc_json *json = pc_json_parse(msg->parts[0].data, msg->parts[0].size, NULL);
        assert_string_equal(pc_json_str_or(json, "ename", "?"), ename);
        pc_json_free(json);
    }
    pc_msg_unref(msg);
}

/* Waits until the running task has printed something: it is in user code. */
static void await_output(struct cradle_engine *engine)
{
    pc_msg_unref(cradle_await(&engine->work, PC_MSG_STREAM));
}

/* Asks for the RUNs first to last; returns the first that will not begin. */
static uint32_t recall(struct cradle_engine *engine, uint32_t first, uint32_t last)
{
    uint8_t bytes[PC_RECALL_SIZE];
    struct pc_recall_body body;
    pc_recall_encode(bytes, &(struct pc_recall_body){.first = first, .last = last});
    cradle_send(&engine->control, PC_MSG_RECALL, bytes, sizeof(bytes));
    struct pc_msg *msg = cradle_await(&engine->control, PC_MSG_RECALL);
    assert_int_equal(pc_recall_decode(msg, &body, NULL), 0);
    assert_int_equal(body.last, last);
    pc_msg_unref(msg);
    return body.first;
}

/* While one task runs those behind it are called back; those that come later are run. */
static void test_recall(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    char path[100], source[300];
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    snprintf(path, sizeof(path), "%s/go", cradle.dir);
    snprintf(source, sizeof(source),
             "import time, os\nprint('on', flush=True)\n"
             "while not os.path.exists('%s'): time.sleep(0.01)",
             path);
    cradle_run(&engine, PC_KIND_EXECUTE, 0, source);
    await_output(&engine);
    uint64_t first = engine.sequence;
    for (int i = 0; i < 3; i++)
        cradle_run(&engine, PC_KIND_EXECUTE, 0, "raise SystemError('this was called back')");
    assert_int_equal(recall(&engine, 1, 4), 2); /* the one that runs has begun */
    cradle_run(&engine, PC_KIND_EXECUTE, 0, "raise SystemError('this one, too')");
    assert_int_equal(recall(&engine, 5, 5), 5);
    assert_int_equal(recall(&engine, 1, 5), 2); /* some of them again */
    uint64_t kept = engine.sequence;
    cradle_run(&engine, PC_KIND_EXECUTE, 0, "pass");
    cradle_run(&engine, PC_KIND_EXECUTE, 0, "raise SystemError('not called back')");
    assert_int_equal(recall(&engine, 7, 7), 8); /* not before the first range is passed */
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    uint64_t last = engine.sequence;
    engine.sequence = first;
    expect_end(&engine, NULL);
    engine.sequence = kept + 1;
    expect_end(&engine, NULL);
    engine.sequence = last;
    expect_end(&engine, "SystemError");
    assert_int_equal(recall(&engine, 1, 7), 8); /* all have ended */
    unlink(path);
    cradle_dismiss(&cradle, &engine);
    cradle_close(&cradle);
}

/* The last words say how far it had come: what was sent ahead had not begun, called back or not. */
static void test_begun(void **state)
{
    static const char *const configs[] = {"", "\"use_nursery\":false"};
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        struct cradle cradle;
        struct cradle_engine engine;
        cradle_open(&cradle, configs[i]);
        cradle_ready(&cradle);
        for (int begun = 0; begun < 2; begun++) { /* the next one begins with nothing */
            cradle_engine(&cradle, &engine);
            for (int j = 0; j < begun; j++)
                free(cradle_do(&engine, "1"));
            cradle_run(&engine, PC_KIND_EXECUTE, 0, "print('on', flush=True)\nwhile True: pass");
            await_output(&engine);
            cradle_run(&engine, PC_KIND_EXECUTE, 0, "pass");
            cradle_run(&engine, PC_KIND_EXECUTE, 0, "pass");
            assert_int_equal(recall(&engine, (uint32_t)begun + 3, (uint32_t)begun + 3), begun + 3);
            kill(engine.pid, SIGSTOP);
            kill(engine.pid, SIGKILL);
            pc_json *ended = cradle_exit(&cradle, &engine);
            assert_int_equal(pc_json_i64_or(ended, "begun", -1), begun + 1);
            pc_json_free(ended);
            cradle_engine_close(&engine);
        }
        cradle_close(&cradle);
    }
}

/* Whatever it is doing, and whatever it did to signals before. */
static void test_interrupt(void **state)
{
    static const char *const sources[] = {
        "import time\nprint('on', flush=True)\ntime.sleep(1000)",
        "import os\nr, w = os.pipe()\nprint('on', flush=True)\nos.read(r, 1)",
#ifndef __SANITIZE_THREAD__ /* it hands signals on in calls of the C library, and here are none */
        "print('on', flush=True)\nwhile True: pass",
#endif
        "import subprocess\nprint('on', flush=True)\nsubprocess.run(['sleep', '1000'])",
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print('on', flush=True)\ntime.sleep(1000)",
        "import signal, time\nsignal.signal(signal.SIGINT, lambda *a: None)\n"
        "print('on', flush=True)\ntime.sleep(1000)",
        "import threading\nprint('on', flush=True)\nthreading.Event().wait()",
        "import asyncio\nprint('on', flush=True)\nasyncio.run(asyncio.sleep(1000))",
        /* it takes every signal: then the order is seen when the lock of Python changes hands */
        "import signal, time\nfor s in signal.valid_signals() - {9, 19, 17}:\n"
        "  signal.signal(s, signal.SIG_DFL)\nprint('on', flush=True)\n"
        "while True: time.sleep(0.01)",
    };
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        cradle_run(&engine, PC_KIND_EXECUTE, 0, sources[i]);
        await_output(&engine);
        send_abort(&engine, engine.sequence, PC_ABORT_INTERRUPT);
        expect_end(&engine, "KeyboardInterrupt");
    }
    char *text = cradle_do(&engine, "print('well')");
    assert_string_equal(text, "well\n");
    free(text);
    cradle_dismiss(&cradle, &engine);
    cradle_close(&cradle);
}

/* An order that comes late, or without the word, does nothing to anybody. */
static void test_late_interrupt(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    for (int i = 0; i < 300; i++) {
        cradle_run(&engine, PC_KIND_EXECUTE, 0, "sum(range(100))");
        send_abort(&engine, engine.sequence, PC_ABORT_INTERRUPT);
        struct pc_msg *msg = cradle_result(&engine, NULL); /* any of three ends is right */
        pc_msg_unref(msg);
        char *text = cradle_do(&engine, "import time\nfor i in range(50): time.sleep(0)\n"
                                        "print('untouched')");
        assert_string_equal(text, "untouched\n");
        free(text);
    }
    cradle_run(&engine, PC_KIND_EXECUTE, 0,
               "print('on', flush=True)\nimport time\ntime.sleep(0.1)");
    await_output(&engine);
    send_abort(&engine, engine.sequence, 0);
    expect_end(&engine, NULL);
    cradle_dismiss(&cradle, &engine);
    cradle_close(&cradle);
}

static void test_abort_before_begin(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    cradle_run(&engine, PC_KIND_EXECUTE, 0,
               "print('on', flush=True)\nimport time\ntime.sleep(1000)");
    await_output(&engine);
    uint64_t first = engine.sequence;
    cradle_run(&engine, PC_KIND_EXECUTE, 0, "aborted = 1");
    uint64_t second = engine.sequence;
    send_abort(&engine, second, 0);
    send_abort(&engine, first, PC_ABORT_INTERRUPT);
    engine.sequence = first;
    expect_end(&engine, "KeyboardInterrupt");
    engine.sequence = second;
    expect_end(&engine, "TaskAborted");
    char *text = cradle_do(&engine, "print('aborted' in globals())");
    assert_string_equal(text, "False\n");
    free(text);
    cradle_dismiss(&cradle, &engine);
    cradle_close(&cradle);
}

int main(int argc, char **argv)
{
    /* What the nursery starts with use_nursery false is this executable. */
    if (argc == 3 && strcmp(argv[1], "--role") == 0)
        return strcmp(argv[2], "engine") == 0 ? engine_main() : 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_no_nursery),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_parent_gone),
        cmocka_unit_test(test_controller_gone),
        cmocka_unit_test(test_shutdown_while_busy),
        cmocka_unit_test(test_shutdown_finishes),
        cmocka_unit_test(test_nursery_shutdown),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_output_window),
        cmocka_unit_test(test_shutdown_while_printing),
        cmocka_unit_test(test_output_order),
        cmocka_unit_test(test_result_window),
        cmocka_unit_test(test_forked_child),
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_begun),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_late_interrupt),
        cmocka_unit_test(test_abort_before_begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
