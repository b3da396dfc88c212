/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A cluster of the program's own. It is the executable `pcluster` in the background, which ends
 * with this process however that ends (--end-with). It is held by a descriptor, so that a pid that
 * is used again is never meant.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/birthmark.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/json.h"
#include "lib/key.h"
#include "lib/pcluster.h"

#define START_LIMIT_MS 60000
#define STOP_LIMIT_MS  10000
#define KILL_LIMIT_MS  5000
#define WORDS_MAX      16384 /* bytes of what pcluster says */
#define ARGUMENTS_MAX  256

struct pc_cluster {
    struct pc_birthmark birthmark;
    int pidfd;
    int64_t pid;
    char *file, *log;
};

/* ---- the executable --------------------------------------------------------------------- */

static bool is_executable(const char *path)
{
    return access(path, X_OK) == 0;
}

/* Beside this library: in the tree that it was built in, or where it was installed. */
static bool find_beside(char *path, size_t size)
{
    static const char *const places[] = {"../cmd", "../bin", "../../bin"};
    Dl_info info;
    char real[PATH_MAX];
    if (!dladdr((void *)(uintptr_t)find_beside, &info) || !realpath(info.dli_fname, real))
        return false;
    *strrchr(real, '/') = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if (snprintf(path, size, "%s/%s/pcluster", real, places[i]) < (int)size &&
            is_executable(path))
            return true;
    return false;
}

static bool find_in_path(char *path, size_t size)
{
    const char *rest = getenv("PATH");
    while (rest && *rest) {
        int length = (int)strcspn(rest, ":");
        if (length && snprintf(path, size, "%.*s/pcluster", length, rest) < (int)size &&
            is_executable(path))
            return true;
        rest += length + (rest[length] == ':');
    }
    return false;
}

static int find_executable(const char *given, char *path, size_t size, struct pc_err *err)
{
    if (!given)
        given = getenv("PCLUSTER_EXE");
    if (given && *given) {
        if (snprintf(path, size, "%s", given) < (int)size && is_executable(path))
            return 0;
        return pc_err_set(err, PC_E_NO_FILE, "'%s' is no executable 'pcluster'", given);
    }
    if (find_beside(path, size) || find_in_path(path, size))
        return 0;
    return pc_err_set(err, PC_E_NO_FILE,
                      "the executable 'pcluster' is neither beside libpcluster.so nor in PATH; "
                      "install it, or say in PCLUSTER_EXE where it is");
}

/* ---- running it ------------------------------------------------------------------------- */

struct command {
    char *argv[ARGUMENTS_MAX + 24];
    size_t count;
    char engines[24], end_with[24], cluster_id[48];
};

static void add(struct command *command, const char *option, const char *value)
{
    command->argv[command->count++] = (char *)(uintptr_t)option;
    if (value)
        command->argv[command->count++] = (char *)(uintptr_t)value;
}

static int make_command(struct command *command, const char *path,
                        const struct pc_cluster_options *options, struct pc_err *err)
{
    uint32_t random;
    *command = (struct command){0};
    pc_random(&random, sizeof(random));
    snprintf(command->cluster_id, sizeof(command->cluster_id), "%" PRId64 "-%08" PRIx32,
             (int64_t)time(NULL), random);
    snprintf(command->engines, sizeof(command->engines), "%u", options->engines);
    snprintf(command->end_with, sizeof(command->end_with), "%d", (int)getpid());
    add(command, path, "start");
    add(command, "--daemonize", "--json");
    add(command, "--end-with", command->end_with);
    add(command, "--cluster-id", options->cluster_id ? options->cluster_id : command->cluster_id);
    if (options->engines)
        add(command, "-n", command->engines);
    if (options->profile_dir)
        add(command, "--profile-dir", options->profile_dir);
    else if (options->profile)
        add(command, "--profile", options->profile);
    for (size_t i = 0; options->arguments && options->arguments[i]; i++) {
        if (i == ARGUMENTS_MAX)
            return pc_err_set(err, PC_E_INVALID, "more than %d arguments for pcluster start",
                              ARGUMENTS_MAX);
        add(command, options->arguments[i], NULL);
    }
    return 0;
}

/* What it says on one of its streams. */
struct words {
    int ends[2];
    size_t size;
    char text[WORDS_MAX + 1];
};

static int words_init(struct words words[2], struct pc_err *err)
{
    for (int i = 0; i < 2; i++) {
        words[i].ends[0] = words[i].ends[1] = -1;
        words[i].size = 0;
    }
    for (int i = 0; i < 2; i++) {
        if (pipe2(words[i].ends, O_CLOEXEC) < 0)
            return pc_err_sys(err, "can't make a pipe");
        /* Above the standard streams, which a program may have closed. */
        int end = fcntl(words[i].ends[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (end < 0)
            return pc_err_sys(err, "can't make a pipe");
        close(words[i].ends[1]);
        words[i].ends[1] = end;
    }
    return 0;
}

static void words_fini(struct words words[2])
{
    for (int i = 0; i < 2; i++) {
        for (int end = 0; end < 2; end++)
            if (words[i].ends[end] >= 0)
                close(words[i].ends[end]);
    }
}

/* The program's signals, and its descriptors but for the pipes, are none of the cluster's. */
static int spawn(pid_t *pid, char **argv, struct words words[2], struct pc_err *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    int failed =
        posix_spawn_file_actions_adddup2(&actions, words[0].ends[1], STDOUT_FILENO) ||
        posix_spawn_file_actions_adddup2(&actions, words[1].ends[1], STDERR_FILENO) ||
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) ||
        posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    int why = failed ? ENOMEM : posix_spawn(pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    for (int i = 0; i < 2; i++) {
        close(words[i].ends[1]);
        words[i].ends[1] = -1;
    }
    errno = why;
    return why ? pc_err_sys(err, "can't run '%s'", argv[0]) : 0;
}

/* Reads one of them; what is beyond WORDS_MAX is dropped. */
static void hear(struct words *words)
{
    char some[4096];
    ssize_t got = read(words->ends[0], some, sizeof(some));
    if (got > 0) {
        size_t room = WORDS_MAX - words->size;
        size_t taken = (size_t)got < room ? (size_t)got : room;
        memcpy(words->text + words->size, some, taken);
        words->size += taken;
        words->text[words->size] = '\0';
    } else if (got == 0 || errno != EINTR) {
        close(words->ends[0]);
        words->ends[0] = -1;
    }
}

/* Until it has nothing more to say. */
static int hear_out(struct words words[2], int64_t deadline_ms, struct pc_err *err)
{
    while (words[0].ends[0] >= 0 || words[1].ends[0] >= 0) {
        struct pollfd polled[2] = {{.fd = words[0].ends[0], .events = POLLIN},
                                   {.fd = words[1].ends[0], .events = POLLIN}};
        int64_t left = deadline_ms - pc_clock_ms();
        int ready = poll(polled, 2, left > 0 ? (int)left : 0);
        if (ready == 0)
            return pc_err_set(err, PC_E_TIMEOUT, "the cluster was not ready in time");
        for (int i = 0; i < 2; i++)
            if (ready > 0 && polled[i].revents)
                hear(&words[i]);
    }
    return 0;
}

/* Waits for our child, unless the program has done so. */
static void reap(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
}

/* ---- starting --------------------------------------------------------------------------- */

static char *member(const pc_json *json, const char *name)
{
    const char *text = pc_json_str_or(json, name, NULL);
    return text ? strdup(text) : NULL;
}

/* From the line that says what is ready; else *err is what it says instead. */
static struct pc_cluster *make_cluster(struct words words[2], struct pc_err *err)
{
    pc_json *json = words[0].size ? pc_json_parse(words[0].text, words[0].size, NULL) : NULL;
    int64_t pid = pc_json_i64_or(json, "pid", 0);
    struct pc_cluster *cluster = NULL;
    if (pid <= 0) {
        const char *said = words[1].size ? words[1].text : "pcluster start ended without a word";
        pc_err_set(err, PC_E_START, "%.*s", (int)strcspn(said, "\n"), said);
        goto out;
    }
    cluster = calloc(1, sizeof(*cluster));
    if (cluster) {
        pc_birthmark_init(&cluster->birthmark);
        cluster->pid = pid;
        cluster->file = member(json, "file");
        cluster->log = member(json, "log");
        cluster->pidfd = pidfd_open((pid_t)pid, 0);
        if (cluster->pidfd < 0)
            pc_err_sys(err, "the cluster ended as soon as it was ready, see '%s'",
                       cluster->log ? cluster->log : "its log");
    } else {
        kill((pid_t)pid, SIGTERM);
        pc_err_set(err, PC_E_MEMORY, "out of memory");
    }
out:
    pc_json_free(json);
    return cluster;
}

static void cluster_free(struct pc_cluster *cluster)
{
    if (cluster->pidfd >= 0)
        close(cluster->pidfd);
    pc_birthmark_fini(&cluster->birthmark);
    free(cluster->file);
    free(cluster->log);
    free(cluster);
}

int pc_cluster_start(struct pc_cluster **out, const struct pc_cluster_options *options,
                     struct pc_err *err)
{
    static const struct pc_cluster_options defaults;
    struct command command;
    struct words words[2];
    char path[PATH_MAX];
    pid_t pid;
    int failed = -1;
    if (!options)
        options = &defaults;
    if (find_executable(options->executable, path, sizeof(path), err) ||
        make_command(&command, path, options, err))
        return -1;
    int timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : START_LIMIT_MS;
    if (words_init(words, err) || spawn(&pid, command.argv, words, err))
        goto out;
    if (hear_out(words, pc_clock_ms() + timeout_ms, err)) {
        kill(pid, SIGKILL); /* the process in the background finds that nobody waits for it */
        reap(pid);
        goto out;
    }
    reap(pid);
    struct pc_cluster *cluster = make_cluster(words, err);
    if (cluster && (cluster->pidfd < 0 || !cluster->file)) {
        if (cluster->pidfd >= 0)
            pc_err_set(err, PC_E_START, "'%s' did not say where its connection file is", path);
        pc_cluster_stop(cluster, NULL);
    } else if (cluster) {
        *out = cluster;
        failed = 0;
    }
out:
    words_fini(words);
    return failed;
}

/* ---- using and stopping ----------------------------------------------------------------- */

const char *pc_cluster_file(const struct pc_cluster *cluster)
{
    return cluster ? cluster->file : NULL;
}

const char *pc_cluster_log(const struct pc_cluster *cluster)
{
    return cluster ? cluster->log : NULL;
}

static bool has_ended(const struct pc_cluster *cluster, int timeout_ms)
{
    int64_t deadline = pc_clock_ms() + timeout_ms;
    struct pollfd polled = {.fd = cluster->pidfd, .events = POLLIN};
    for (;;) {
        int64_t left = deadline - pc_clock_ms();
        int ready = poll(&polled, 1, left > 0 ? (int)left : 0);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return true;
        if (ready == 0 || left <= 0)
            return false;
    }
}

int pc_cluster_check(const struct pc_cluster *cluster, struct pc_err *err)
{
    if (!cluster)
        return pc_err_set(err, PC_E_INVALID, "no cluster was given");
    if (has_ended(cluster, 0))
        return pc_err_set(err, PC_E_STALE, "the cluster (process %" PRId64 ") has ended, see '%s'",
                          cluster->pid, cluster->log ? cluster->log : "its log");
    return 0;
}

static int end(struct pc_cluster *cluster, struct pc_err *err)
{
    if (pidfd_send_signal(cluster->pidfd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
        return pc_err_sys(err, "can't stop the cluster (process %" PRId64 ")", cluster->pid);
    if (has_ended(cluster, STOP_LIMIT_MS)) {
        if (cluster->log)
            unlink(cluster->log);
        return 0;
    }
    pidfd_send_signal(cluster->pidfd, SIGKILL, NULL, 0);
    has_ended(cluster, KILL_LIMIT_MS);
    return pc_err_set(err, PC_E_TIMEOUT,
                      "the cluster (process %" PRId64 ") did not end in time and was killed, "
                      "see '%s'",
                      cluster->pid, cluster->log ? cluster->log : "its log");
}

int pc_cluster_stop(struct pc_cluster *cluster, struct pc_err *err)
{
    int failed = 0;
    if (!cluster)
        return 0;
    if (cluster->pidfd >= 0 && pc_birthmark_is_here(&cluster->birthmark))
        failed = end(cluster, err);
    cluster_free(cluster);
    return failed;
}
