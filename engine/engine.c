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
#include "engine/recall.h"
#include "engine/rejoin.h"
#include "engine/run.h"
#include "engine/setup.h"
#include "engine/spawn.h"
#include "engine/work.h"
#include "lib/mem.h"
#include "lib/proto.h"
#include "lib/spawn.h"

#define CONNECT_LIMIT_MS 30000

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
    static struct eng_membership membership;
    static char role[32];
    struct pc_sock work_sock;
    struct pc_err why = {0};
    pc_log_init("engine", setup->config->log_level);
    eng_join(&membership, setup, &control.sock, &work_sock);
    snprintf(role, sizeof(role), "engine %u", membership.id);
    pc_log_init(role, setup->config->log_level);
    char title[64];
    snprintf(title, sizeof(title), "pcluster: %s", role);
    pc_title_set(title);

    control.work = &work;
    control.membership = &membership;
    control.pipes[0] = setup->out_read;
    control.pipes[1] = setup->err_read;
    control.starter = setup->starter;
    eng_forkfix_install();
    eng_forkfix_guard(control.sock.fd);
    eng_forkfix_guard(work_sock.fd);
    eng_forkfix_guard(setup->out_read);
    eng_forkfix_guard(setup->err_read);
    eng_work_init(&work, &work_sock, control.sock.fd);
    eng_out_init(&work.lane, setup->tail, control.pipes);
    eng_pymod_start(membership.id, setup->uuid);
    eng_run_init(membership.id, setup->uuid);
    eng_intr_init();
    eng_recall_init(&setup->tail->begun);
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
