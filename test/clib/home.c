/* SPDX-License-Identifier: BSD-3-Clause */
#include "home.h"

#include <dirent.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const folders[][2] = {
    {"p", "PCLUSTER_DIR"}, {"r", "XDG_RUNTIME_DIR"}, {"e", "PCLUSTER_ETC"}};

void home_enter(const struct home *home)
{
    char path[64];
    assert_int_equal(chdir(home->path), 0);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", home->path, folders[i][0]);
        setenv(folders[i][1], path, 1);
    }
}

void home_open(struct home *home)
{
    const char *asan = getenv("ASAN_OPTIONS");
    char options[512];
    *home = (struct home){.path = "/tmp/pc-XXXXXX"};
    assert_non_null(mkdtemp(home->path));
    home_enter(home);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        assert_int_equal(mkdir(folders[i][0], 0700), 0);
    unsetenv("VIRTUAL_ENV");
    /* Python frees little at its end; this process has read its own options before. */
    snprintf(options, sizeof(options), "%s:detect_leaks=0", asan ? asan : "");
    setenv("ASAN_OPTIONS", options, 1);
}

struct pc_client *home_connect(const struct home *home)
{
    struct pc_client *client = NULL;
    struct pc_connect how = {.file = pc_cluster_file(home->cluster)};
    struct pc_err err;
    if (pc_client_open(&client, &how, &err))
        fail_msg("%s", err.text);
    return client;
}

static void run(const char *format, unsigned number, int pid)
{
    char arguments[64], command[1100];
    snprintf(arguments, sizeof(arguments), format, number, pid);
    snprintf(command, sizeof(command), "'%s' %s >pcluster.out", getenv("PCLUSTER_EXE"), arguments);
    assert_int_equal(system(command), 0);
}

/* Valgrind 3.19 does not know the descriptors of processes by which the library holds a cluster. */
static void start_apart(struct home *home, unsigned engines)
{
    run("start -n %u --daemonize --end-with %d", engines, getpid());
    home->is_apart = true;
    home->client = home_connect(home);
}

void home_stop(struct home *home)
{
    struct pc_err err;
    if (home->is_apart)
        run("stop", 0, 0);
    else if (pc_cluster_stop(home->cluster, &err))
        fail_msg("%s", err.text);
    home->is_apart = false;
    home->cluster = NULL;
}

void home_start(struct home *home, unsigned engines)
{
    if (getenv("CLIB_APART")) {
        start_apart(home, engines);
        return;
    }
    struct pc_cluster_options options = {.engines = engines};
    struct pc_err err;
    if (pc_cluster_start(&home->cluster, &options, &err))
        fail_msg("%s", err.text);
    home->client = home_connect(home);
}

/* Whether the current folder of a process is in ours. */
static bool is_inside(const struct home *home, const char *pid)
{
    char link[300], target[300];
    snprintf(link, sizeof(link), "/proc/%s/cwd", pid);
    ssize_t size = readlink(link, target, sizeof(target) - 1);
    target[size > 0 ? size : 0] = '\0';
    return strncmp(target, home->path, strlen(home->path)) == 0;
}

static int count_processes(const struct home *home)
{
    int count = 0;
    DIR *dir = opendir("/proc");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != getpid())
            count += is_inside(home, entry->d_name);
    closedir(dir);
    return count;
}

int home_processes(const struct home *home, int timeout_ms)
{
    int count;
    while ((count = count_processes(home)) > 0 && timeout_ms > 0) {
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000000}, NULL);
        timeout_ms -= 10;
    }
    return count;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    return remove(path);
}

void home_close(struct home *home)
{
    pc_client_close(home->client);
    home_stop(home);
    int left = home_processes(home, HOME_LIMIT_MS);
    assert_int_equal(chdir("/"), 0);
    nftw(home->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(left, 0);
}

int home_setup(void **state)
{
    struct home *home = malloc(sizeof(*home));
    assert_non_null(home);
    home_open(home);
    home_start(home, 2);
    *state = home;
    return 0;
}

int home_teardown(void **state)
{
    home_close(*state);
    free(*state);
    return 0;
}

void home_expect(struct pc_call *call, enum pc_form form, const char *text)
{
    struct pc_value value;
    struct pc_err err;
    if (pc_call_get(call, HOME_LIMIT_MS, &value, &err))
        fail_msg("%s", err.text);
    assert_int_equal(value.form, form);
    if (text) {
        assert_string_equal(value.data, text);
        assert_int_equal(value.size, strlen(text));
    }
    pc_call_unref(call);
}

void home_expect_error(struct pc_call *call, const char *part)
{
    struct pc_value value;
    struct pc_err err;
    assert_int_equal(pc_call_get(call, HOME_LIMIT_MS, &value, &err), -1);
    assert_int_equal(err.code, PC_E_TASK);
    assert_contains(err.text, part);
    pc_call_unref(call);
}
