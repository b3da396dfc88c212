/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An engine from its first moment as one to its last: it opens both lanes, starts the control
 * thread, and then the main thread runs tasks.
 */
#include "engine/py.h"

#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/control.h"
#include "engine/forkfix.h"
#include "engine/intr.h"
#include "engine/outio.h"
#include "engine/pymod.h"
#include "engine/run.h"
#include "engine/setup.h"
#include "engine/spawn.h"
#include "engine/work.h"
#include "lib/clock.h"
#include "lib/key.h"
#include "lib/mem.h"
#include "lib/proto.h"
#include "lib/spawn.h"

#define CONNECT_LIMIT_MS 30000
#define RETRY_FIRST_MS   10
#define RETRY_MAX_MS     500

/* ---- joining ---------------------------------------------------------------------------- */

/* HELLO of a lane; `token` NULL: the control lane. */
static char *make_hello(const struct eng_setup *setup, uint32_t engine_id, const char *token)
{
    struct pc_keypair pair;
    char key[2 * PC_KEY_SIZE + 1], host[256] = "", python[16];
    pc_keypair_from_private(&pair, setup->config->file.exec_key);
    pc_hex_encode(pair.public_key, PC_KEY_SIZE, key);
    pc_wipe(&pair, sizeof(pair));
    gethostname(host, sizeof(host) - 1);
    snprintf(python, sizeof(python), "%d.%d", PY_MAJOR_VERSION, PY_MINOR_VERSION);
    pc_json *hello = pc_json_object();
    pc_json_put_str(hello, "role", "engine");
    pc_json_put_str(hello, "lane", token ? "work" : "control");
    pc_json_put_str(hello, "public_key", key);
    pc_json_put_i64(hello, "pid", getpid());
    pc_json_put_str(hello, "host", host);
    pc_json_put_str(hello, "python", python);
    pc_json_put_str(hello, "uuid", setup->uuid);
    if (!token && setup->config->tags[0])
        pc_json_put_str(hello, "tags", setup->config->tags);
    if (token) {
        pc_json_put_i64(hello, "engine_id", engine_id);
        pc_json_put_str(hello, "token", token);
    } else if (setup->config->home[0]) {
        pc_json_put_str(hello, "home", setup->config->home);
    }
    char *text = pc_json_print(hello);
    pc_json_free(hello);
    if (!text)
        pc_fatal(ENG_EXIT_FAILED, "out of memory");
    return text;
}

/* Many engines that start at once may find no place for a moment. */
static bool is_worth_retrying(enum pc_errc code)
{
    return code == PC_E_REFUSED || code == PC_E_LOST || code == PC_E_PROTOCOL;
}

/* One attempt: the answer to HELLO, or NULL. */
static struct pc_msg *try_lane(struct pc_sock *sock, const struct eng_setup *setup,
                               const char *hello, bool *may_retry, struct pc_err *err)
{
    const struct eng_config *config = setup->config;
    if (pc_sock_connect(sock, &config->file, config->transport, CONNECT_LIMIT_MS, NULL, 0, err)) {
        *may_retry = is_worth_retrying(err->code);
        return NULL;
    }
    struct pc_msg *welcome = pc_sock_hello(sock, hello, CONNECT_LIMIT_MS, err);
    if (!welcome)
        pc_sock_close(sock);
    *may_retry = err->code == PC_E_LOST; /* a refusal is final */
    return welcome;
}

/* Opens a lane and says HELLO. The answer, for the caller to free. */
static pc_json *join_lane(struct pc_sock *sock, const struct eng_setup *setup, uint32_t engine_id,
                          const char *token)
{
    char *hello = make_hello(setup, engine_id, token);
    int64_t deadline_ms = pc_clock_ms() + CONNECT_LIMIT_MS;
    unsigned pause_ms = RETRY_FIRST_MS;
    bool may_retry;
    struct pc_err err;
    struct pc_msg *welcome;
    while (!(welcome = try_lane(sock, setup, hello, &may_retry, &err))) {
        if (!may_retry || pc_clock_ms() > deadline_ms)
            pc_fatal(ENG_EXIT_FAILED, "can't join the cluster: %s", err.text);
        uint8_t random;
        pc_random(&random, sizeof(random));
        usleep(1000 * (pause_ms / 2 + pause_ms * random / 256));
        pause_ms = 2 * pause_ms < RETRY_MAX_MS ? 2 * pause_ms : RETRY_MAX_MS;
    }
    pc_json *json = pc_json_of_msg(welcome, &err);
    if (!json)
        pc_fatal(ENG_EXIT_FAILED, "can't join the cluster: %s", err.text);
    pc_wipe(hello, strlen(hello)); /* has the token */
    free(hello);
    pc_msg_unref(welcome);
    return json;
}

/* Opens both lanes. Returns the id that the hub gave. */
static uint32_t join(const struct eng_setup *setup, struct pc_sock *control, struct pc_sock *work)
{
    struct pc_err err;
    uint32_t id;
    const char *token;
    pc_json *welcome = join_lane(control, setup, 0, NULL);
    if (pc_json_get_u32(welcome, "engine_id", &id, &err) ||
        pc_json_get_str(welcome, "token", &token, &err))
        pc_fatal(ENG_EXIT_FAILED, "can't join the cluster: %s", err.text);
    pc_json_free(join_lane(work, setup, id, token));
    pc_json_free(welcome);
    return id;
}

/* ---- leaving ---------------------------------------------------------------------------- */

/* In order: what user code wanted done at the end, the last output. The interpreter itself isn't
 * taken apart: that takes long and helps nobody. */
static _Noreturn void leave(struct eng_control *control)
{
    PyObject *run_exitfuncs = eng_py_ours("atexit", "_run_exitfuncs");
    PyObject *done = PyObject_CallNoArgs(run_exitfuncs);
    if (!done)
        PyErr_WriteUnraisable(NULL);
    eng_forkfix_leave();
    Py_BEGIN_ALLOW_THREADS eng_out_flush(PC_STREAM_STDOUT);
    eng_out_flush(PC_STREAM_STDERR);
    Py_END_ALLOW_THREADS fflush(stdout);
    _exit(0);
}

/* ---- living ----------------------------------------------------------------------------- */

void eng_take_descriptors(struct eng_setup *setup)
{
    if (dup2(setup->out_write, STDOUT_FILENO) < 0 || dup2(setup->err_write, STDERR_FILENO) < 0)
        _exit(ENG_EXIT_FAILED);
    int keep[] = {setup->out_read, setup->err_read};
    pc_close_from(STDERR_FILENO + 1, keep, 2);
    setup->out_write = setup->err_write = -1;
    /* Lines of C's printf are seen when they are written. */
    setvbuf(stdout, NULL, _IOLBF, 0);
}

_Noreturn void eng_live(struct eng_setup *setup)
{
    static struct eng_work work;
    static struct eng_control control;
    static char role[32];
    struct pc_sock work_sock;
    struct pc_err why = {0};
    pc_log_init("engine", setup->config->log_level);
    uint32_t id = join(setup, &control.sock, &work_sock);
    snprintf(role, sizeof(role), "engine %u", id);
    pc_log_init(role, setup->config->log_level);
    char title[64];
    snprintf(title, sizeof(title), "pcluster: %s", role);
    pc_title_set(title);

    control.work = &work;
    control.pipes[0] = setup->out_read;
    control.pipes[1] = setup->err_read;
    control.starter = setup->starter;
    eng_forkfix_install();
    eng_forkfix_guard(control.sock.fd);
    eng_forkfix_guard(work_sock.fd);
    eng_forkfix_guard(setup->out_read);
    eng_forkfix_guard(setup->err_read);
    eng_work_init(&work, &work_sock);
    eng_out_init(&work.lane, setup->tail, control.pipes);
    eng_pymod_start(id, setup->uuid);
    eng_run_init(id, setup->uuid);
    eng_intr_init();
    eng_control_start(&control);

    switch (eng_work_loop(&work, &why)) {
    case ENG_WORK_STOPPED:
        leave(&control);
    case ENG_WORK_LOST:
    case ENG_WORK_BROKEN:
    default:
        eng_control_lost(&control, why.text);
    }
}

/* ---- an engine that was not forked by a warm nursery ------------------------------------- */

static pc_json *receive_config(struct pc_err *err)
{
    struct pc_sock sock;
    pc_json *json = NULL;
    pc_sock_init(&sock, ENG_SPAWN_CONFIG, PC_FROM_PARENT);
    struct pc_msg *msg = pc_sock_receive(&sock, CONNECT_LIMIT_MS, err);
    if (msg && msg->head.type != PC_MSG_CONFIG)
        pc_err_set(err, PC_E_PROTOCOL, "%s instead of CONFIG", pc_msg_name(msg->head.type));
    else if (msg)
        json = pc_json_of_msg(msg, err);
    pc_msg_unref(msg);
    pc_sock_close(&sock);
    return json;
}

static struct eng_tail *map_tail(int fd)
{
    void *page = mmap(NULL, ENG_TAIL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return page == MAP_FAILED ? NULL : page;
}

int engine_main(void)
{
    static struct eng_config config;
    struct pc_err err;
    struct eng_setup setup = {.config = &config,
                              .out_read = ENG_SPAWN_OUT_READ,
                              .out_write = ENG_SPAWN_OUT_WRITE,
                              .err_read = ENG_SPAWN_ERR_READ,
                              .err_write = ENG_SPAWN_ERR_WRITE,
                              .starter = getppid()};
    pc_log_init("engine", PC_LOG_INFO);
    pc_title_set("pcluster: engine");
    setup.tail = map_tail(ENG_SPAWN_TAIL);
    pc_json *json = receive_config(&err);
    if (!json || eng_config_parse(&config, json, &err) < 0)
        pc_fatal(ENG_EXIT_FAILED, "bad configuration: %s", err.text);
    snprintf(setup.uuid, sizeof(setup.uuid), "%s", pc_json_str_or(json, ENG_CONFIG_UUID, ""));
    eng_spawn_restore_limit(pc_json_i64_or(json, ENG_CONFIG_FILES, 0));
    pc_json_free(json);
    if (!setup.tail)
        pc_fatal(ENG_EXIT_FAILED, "no memory");
    eng_take_descriptors(&setup);
    if (eng_py_init(config.python, &err) < 0)
        pc_fatal(ENG_EXIT_FAILED, "%s", err.text);
    eng_py_import_cloudpickle();
    for (const pc_json *name = pc_json_first(config.preload); name; name = pc_json_next(name))
        if (eng_py_import(pc_json_text(name), &err) < 0)
            pc_fatal(ENG_EXIT_FAILED, "%s", err.text);
    eng_py_freeze();
    eng_live(&setup);
}
