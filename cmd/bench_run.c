/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything is private: a folder under /tmp with a profile in it, a controller started from this
 * executable, engines that answer without Python. All of it ends here, whatever happens.
 */
#include "cmd/bench_run.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/ask.h"
#include "cmd/bench_engines.h"
#include "lib/clock.h"

#define READY_LIMIT_MS 60000
#define BATCH          500 /* submissions between two looks at what came back */

struct bench {
    const struct bench_options *options;
    char folder[32], client_file[128];
    pid_t controller, engines, scheduler;
    int gate[2];
    struct pc_client *client;
    struct pc_call **calls;
    unsigned submitted;
};

static volatile sig_atomic_t is_interrupted;

static void on_signal(int number)
{
    is_interrupted = 1;
}

static int check_signals(struct pc_err *err)
{
    return is_interrupted ? pc_err_set(err, PC_E_INTERRUPTED, "interrupted") : 0;
}

/* ---- the private cluster ---------------------------------------------------------------- */

static _Noreturn void exec_controller(const struct bench *b, int out)
{
    char profiles[64], runtime[64];
    snprintf(profiles, sizeof(profiles), "%s/p", b->folder);
    snprintf(runtime, sizeof(runtime), "%s/r", b->folder);
    setenv("PCLUSTER_DIR", profiles, 1);
    setenv("XDG_RUNTIME_DIR", runtime, 1);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(out, STDOUT_FILENO);
    const char *scheme = b->options->scheme ? b->options->scheme : "leastload";
    execl("/proc/self/exe", "pcluster", "controller", "--scheme", scheme, NULL);
    _exit(127);
}

/* Waits for its line "ready". */
static int start_controller(struct bench *b, struct pc_err *err)
{
    char path[64], line[512] = "";
    int out[2];
    snprintf(b->folder, sizeof(b->folder), "/tmp/pcb-%d-XXXXXX", (int)getpid());
    if (!mkdtemp(b->folder))
        return pc_err_sys(err, "can't make the folder %s for the measurement", b->folder);
    snprintf(path, sizeof(path), "%s/r", b->folder);
    if (mkdir(path, 0700) || pipe2(out, O_CLOEXEC))
        return pc_err_sys(err, "can't prepare %s for the measurement", b->folder);
    b->controller = fork();
    if (b->controller == 0)
        exec_controller(b, out[1]);
    close(out[1]);
    FILE *said = fdopen(out[0], "r");
    bool is_ready = said && fgets(line, sizeof(line), said) && strstr(line, "ready");
    if (said)
        fclose(said);
    if (!is_ready)
        return pc_err_set(err, PC_E_SYSTEM, "the controller did not start: %s", line);
    snprintf(b->client_file, sizeof(b->client_file),
             "%s/p/profile_default/security/pcluster-client.json", b->folder);
    return 0;
}

static int start_engines(struct bench *b, struct pc_err *err)
{
    struct pc_connfile file;
    char path[128];
    snprintf(path, sizeof(path), "%s/p/profile_default/security/pcluster-engine.json", b->folder);
    if (pc_connfile_read(&file, path, err))
        return -1;
    int gate = b->options->is_queued ? b->gate[0] : -1;
    b->engines = bench_engines_start(&file, b->options->engines, b->options->transport, gate, err);
    return b->engines < 0 ? -1 : 0;
}

static int wait_for_engines(struct bench *b, struct pc_err *err)
{
    int64_t deadline = pc_clock_ms() + READY_LIMIT_MS;
    size_t count = 0;
    while (count < b->options->engines) {
        struct pc_engine *list;
        if (check_signals(err) || pc_client_engines(b->client, &list, &count, err))
            return -1;
        pc_engines_free(list);
        if (waitpid(b->engines, NULL, WNOHANG) != 0 || pc_clock_ms() > deadline)
            return pc_err_set(err, PC_E_TIMEOUT, "only %zu of %u simulated engines registered",
                              count, b->options->engines);
        if (count < b->options->engines)
            pc_dispatch(b->client, 100, NULL);
    }
    return 0;
}

static int find_scheduler(struct bench *b, struct pc_err *err)
{
    pc_json *reply = ask_query(b->client, "{\"query\":\"status\",\"memory\":false}", 0, err);
    if (!reply)
        return -1;
    b->scheduler = (pid_t)pc_json_i64_or(pc_json_member(reply, "pids"), "scheduler", 0);
    pc_json_free(reply);
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    return remove(path);
}

static void clean_up(struct bench *b)
{
    for (unsigned i = 0; i < b->submitted; i++)
        pc_call_unref(b->calls[i]);
    free(b->calls);
    pc_client_close(b->client);
    if (b->engines > 0) {
        kill(b->engines, SIGKILL);
        while (waitpid(b->engines, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (b->controller > 0) {
        kill(b->controller, SIGTERM);
        while (waitpid(b->controller, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    for (int i = 0; i < 2; i++)
        if (b->gate[i] >= 0)
            close(b->gate[i]);
    if (b->folder[0])
        nftw(b->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- measuring -------------------------------------------------------------------------- */

static double cpu_us(pid_t pid)
{
    char path[64];
    unsigned long long ns = 0;
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%llu", &ns) != 1)
        ns = 0;
    if (file)
        fclose(file);
    return (double)ns / 1e3;
}

static double resident_bytes(pid_t pid)
{
    char path[64];
    unsigned long long pages = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int submit_all(struct bench *b, struct pc_err *err)
{
    char *payload = calloc(1, b->options->payload + 1);
    struct pc_bytes part = {payload, b->options->payload};
    struct pc_task_id first = {0};
    struct pc_task_options after = {
        .after = {.rule = PC_NEED_ALL | PC_NEED_SUCCESS, .count = 1, .tasks = &first}};
    struct pc_request request = {.kind = PC_KIND_EXECUTE,
                                 .is_balanced = true,
                                 .parts = &part,
                                 .part_count = 1,
                                 .may_linger = true};
    int failed = 0;
    while (!failed && b->submitted < b->options->tasks) {
        failed = check_signals(err) || pc_submit(b->client, &request, &b->calls[b->submitted], err);
        if (!failed && b->submitted++ == 0 && b->options->is_dependent) {
            first = (struct pc_task_id){.session = pc_call_session(b->calls[0]),
                                        .sequence = pc_call_sequence(b->calls[0])};
            request.options = &after;
        }
        if (!failed && b->submitted % BATCH == 0)
            pc_dispatch(b->client, 0, NULL);
    }
    free(payload);
    return failed ? -1 : 0;
}

static int wait_all(struct bench *b, struct pc_err *err)
{
    while (pc_wait(b->client, b->calls, b->submitted, 1000, err))
        if (check_signals(err) || (err->code != PC_E_TIMEOUT && err->code != PC_E_INTERRUPTED))
            return -1;
    for (unsigned i = 0; i < b->submitted; i++)
        if (pc_call_status(b->calls[i]) != PC_STATUS_OK)
            return pc_err_set(err, PC_E_REMOTE, "task %u of %u failed", i + 1, b->submitted);
    return 0;
}

/* The reply comes when everything before it was taken in. */
static int settle(struct bench *b, struct pc_err *err)
{
    char *reply;
    if (pc_query(b->client, "{\"query\":\"sched\"}", READY_LIMIT_MS, &reply, err))
        return -1;
    free(reply);
    return 0;
}

static int measure(struct bench *b, struct bench_result *result, struct pc_err *err)
{
    double scheduler = cpu_us(b->scheduler), me = cpu_us(getpid());
    double before = resident_bytes(b->scheduler), tasks = b->options->tasks;
    int64_t begin = pc_clock_us();
    if (submit_all(b, err))
        return -1;
    int64_t submitted = pc_clock_us();
    if (b->options->is_queued) {
        if (settle(b, err))
            return -1;
        submitted = pc_clock_us();
        result->queued_bytes = (resident_bytes(b->scheduler) - before) / tasks;
        if (write(b->gate[1], "", 1) != 1)
            return pc_err_sys(err, "can't open the gate");
    }
    if (wait_all(b, err))
        return -1;
    int64_t end = pc_clock_us();
    result->submit_s = (double)(submitted - begin) / 1e6;
    result->run_s = (double)(end - (b->options->is_queued ? submitted : begin)) / 1e6;
    result->scheduler_us = (cpu_us(b->scheduler) - scheduler) / tasks;
    result->client_us = (cpu_us(getpid()) - me) / tasks;
    return 0;
}

static int open_client(struct bench *b, struct pc_err *err)
{
    struct pc_connect how = {
        .file = b->client_file, .transport = b->options->transport, .timeout_ms = READY_LIMIT_MS};
    b->calls = calloc(b->options->tasks, sizeof(struct pc_call *));
    if (!b->calls)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    return pc_client_open(&b->client, &how, err);
}

/* As many files as are allowed: the controller inherits it. */
static void raise_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

int bench_run(const struct bench_options *options, struct bench_result *result, struct pc_err *err)
{
    struct bench b = {.options = options, .gate = {-1, -1}};
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    raise_files();
    *result = (struct bench_result){0};
    int failed = pipe2(b.gate, O_CLOEXEC) ? pc_err_sys(err, "can't make a pipe") : 0;
    failed = failed || start_controller(&b, err) || start_engines(&b, err) ||
             open_client(&b, err) || wait_for_engines(&b, err) || find_scheduler(&b, err) ||
             measure(&b, result, err);
    clean_up(&b);
    return failed ? check_signals(err), -1 : 0; /* that is why, whatever it led to */
}
