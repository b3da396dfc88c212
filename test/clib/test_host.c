/* SPDX-License-Identifier: BSD-3-Clause */
/* Clusters of one's own: they start, or say why not, and they end with the program. */
#include "home.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int setup(void **state)
{
    struct home *home = malloc(sizeof(*home));
    assert_non_null(home);
    home_open(home);
    *state = home;
    return 0;
}

static int start(const char *const *arguments, struct pc_err *err)
{
    struct pc_cluster *cluster = NULL;
    struct pc_cluster_options options = {.engines = 1, .arguments = arguments};
    int failed = pc_cluster_start(&cluster, &options, err);
    assert_int_equal(pc_cluster_stop(cluster, NULL), 0);
    return failed;
}

static void it_starts_and_stops(void **state)
{
    struct home *home = *state;
    struct pc_call *call;
    struct pc_err err;
    home_start(home, 2);
    assert_int_equal(pc_cluster_check(home->cluster, &err), 0);
    assert_int_equal(access(pc_cluster_file(home->cluster), R_OK), 0);
    char *log = strdup(pc_cluster_log(home->cluster));
    assert_int_equal(access(log, R_OK), 0);
    assert_int_equal(pc_execute(home->client, NULL, "1 + 1", &call, &err), 0);
    home_expect(call, PC_FORM_JSON, "2");
    assert_int_not_equal(home_processes(home, 0), 0);
    home_close(home); /* no process is left */
    assert_int_equal(access(log, F_OK), -1);
    free(log);
    home_open(home);
}

static void several_run_beside_each_other(void **state)
{
    struct pc_cluster *clusters[2];
    struct pc_cluster_options options = {.engines = 1};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pc_cluster_start(&clusters[i], &options, NULL), 0);
    assert_string_not_equal(pc_cluster_file(clusters[0]), pc_cluster_file(clusters[1]));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pc_cluster_stop(clusters[i], NULL), 0);
    assert_int_equal(home_processes(*state, HOME_LIMIT_MS), 0);
}

static void a_profile_and_an_id_may_be_given(void **state)
{
    struct pc_cluster *cluster;
    struct pc_cluster_options options = {
        .engines = 1, .profile = "mine", .cluster_id = "first", .timeout_ms = HOME_LIMIT_MS};
    struct pc_client *client;
    struct pc_err err;
    assert_int_equal(pc_cluster_start(&cluster, &options, &err), 0);
    assert_contains(pc_cluster_file(cluster), "/profile_mine/security/pcluster-first-client.json");
    struct pc_connect how = {.profile = "mine", .cluster_id = "first"};
    assert_int_equal(pc_client_open(&client, &how, &err), 0);
    pc_client_close(client);
    struct pc_cluster *second;
    assert_int_equal(pc_cluster_start(&second, &options, &err), -1);
    assert_int_equal(err.code, PC_E_START);
    assert_contains(err.text, "already running");
    assert_int_equal(pc_cluster_stop(cluster, &err), 0);
}

static void it_says_why_it_does_not_start(void **state)
{
    const char *const unknown[] = {"--no-such-option", NULL};
    const char *const broken[] = {"--preload", "no_such_module", NULL};
    const char *too_many[300];
    struct pc_err err;
    assert_int_equal(start(unknown, &err), -1);
    assert_int_equal(err.code, PC_E_START);
    assert_contains(err.text, "--no-such-option");
    assert_int_equal(start(broken, &err), -1);
    assert_int_equal(err.code, PC_E_START);
    assert_contains(err.text, "no_such_module");
    for (size_t i = 0; i < 299; i++)
        too_many[i] = "--daemonize";
    too_many[299] = NULL;
    assert_int_equal(start(too_many, &err), -1);
    assert_int_equal(err.code, PC_E_INVALID);
    assert_int_equal(home_processes(*state, HOME_LIMIT_MS), 0);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    chmod(path, mode);
}

static void the_executable_is_looked_for(void **state)
{
    struct pc_cluster *cluster;
    struct pc_cluster_options options = {.engines = 1, .executable = "/nowhere/pcluster"};
    struct pc_err err;
    char *given = strdup(getenv("PCLUSTER_EXE"));
    assert_int_equal(pc_cluster_start(&cluster, &options, &err), -1);
    assert_int_equal(err.code, PC_E_NO_FILE);
    options.executable = NULL;
    unsetenv("PCLUSTER_EXE");
    if (pc_cluster_start(&cluster, &options, &err)) /* beside the library */
        fail_msg("%s", err.text);
    assert_int_equal(pc_cluster_stop(cluster, &err), 0);
    /* One that ends without a word, and one that says nonsense. */
    write_file("mute", "#!/bin/sh\nexit 0\n", 0755);
    options.executable = "./mute";
    assert_int_equal(pc_cluster_start(&cluster, &options, &err), -1);
    assert_int_equal(err.code, PC_E_START);
    write_file("mad", "#!/bin/sh\necho '{\"pid\": \"x\"}'; head -c 100000 /dev/zero >&2\n", 0755);
    options.executable = "./mad";
    assert_int_equal(pc_cluster_start(&cluster, &options, &err), -1);
    assert_int_equal(err.code, PC_E_START);
    setenv("PCLUSTER_EXE", given, 1);
    free(given);
}

static void it_does_not_wait_for_ever(void **state)
{
    struct pc_cluster *cluster;
    struct pc_cluster_options options = {.executable = "./slow", .timeout_ms = 100};
    struct pc_err err;
    write_file("slow", "#!/bin/sh\nexec sleep 1000\n", 0755);
    assert_int_equal(pc_cluster_start(&cluster, &options, &err), -1);
    assert_int_equal(err.code, PC_E_TIMEOUT);
    assert_int_equal(home_processes(*state, HOME_LIMIT_MS), 0);
    write_file("sleepy.py", "import time\ntime.sleep(1000)\n", 0644);
    const char *const arguments[] = {"--preload", "sleepy", NULL};
    options = (struct pc_cluster_options){.arguments = arguments, .timeout_ms = 500};
    assert_int_equal(pc_cluster_start(&cluster, &options, &err), -1);
    assert_int_equal(err.code, PC_E_TIMEOUT);
    assert_int_equal(home_processes(*state, HOME_LIMIT_MS), 0);
}

/* A program may have closed its standard streams, and have its own mind about children. */
static void odd_programs_have_clusters_too(void **state)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct pc_cluster *cluster;
        struct pc_cluster_options options = {.engines = 1};
        sigset_t all;
        for (int fd = 0; fd < 3; fd++)
            close(fd);
        signal(SIGCHLD, SIG_IGN);
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        _exit(pc_cluster_start(&cluster, &options, NULL) ? 1
              : pc_cluster_stop(cluster, NULL)           ? 2
                                                         : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(home_processes(*state, HOME_LIMIT_MS), 0);
}

static void it_ends_with_the_program(void **state)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct pc_cluster *cluster;
        struct pc_cluster_options options = {.engines = 1};
        if (pc_cluster_start(&cluster, &options, NULL) || write(ends[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_not_equal(home_processes(*state, 0), 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(home_processes(*state, HOME_LIMIT_MS), 0);
    close(ends[0]);
    close(ends[1]);
}

static void a_forked_child_leaves_it_alone(void **state)
{
    struct home *home = *state;
    home_start(home, 1);
    pid_t pid = fork();
    if (pid == 0) {
        pc_client_close(home->client);
        _exit(pc_cluster_stop(home->cluster, NULL) == 0 ? 0 : 1);
    }
    int status;
    struct pc_call *call;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(pc_cluster_check(home->cluster, NULL), 0);
    assert_int_equal(pc_execute(home->client, NULL, "1", &call, NULL), 0);
    home_expect(call, PC_FORM_JSON, "1");
    home_close(home);
    home_open(home);
}

/* It is gone in the middle: calls fail, and nothing waits. */
static void one_that_dies_is_noticed(void **state)
{
    struct home *home = *state;
    struct pc_call *call, *reply;
    struct pc_err err;
    home_start(home, 1);
    assert_int_equal(pc_execute(home->client, NULL, "import time; time.sleep(1000)", &call, &err),
                     0);
    char *info = strdup(pc_client_info(home->client));
    const char *pid = strstr(info, "\"controller_pid\":");
    assert_non_null(pid);
    kill(atoi(pid + strlen("\"controller_pid\":")), SIGKILL);
    home_expect_error(call, "ConnectionLost");
    assert_int_equal(pc_client_check(home->client, &err), -1);
    assert_int_equal(pc_execute(home->client, NULL, "1", &reply, &err), -1);
    assert_int_equal(home_processes(home, HOME_LIMIT_MS), 0);
    assert_int_equal(pc_cluster_check(home->cluster, &err), -1);
    assert_int_equal(err.code, PC_E_STALE);
    free(info);
    home_close(home);
    home_open(home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_starts_and_stops),
        cmocka_unit_test(several_run_beside_each_other),
        cmocka_unit_test(a_profile_and_an_id_may_be_given),
        cmocka_unit_test(it_says_why_it_does_not_start),
        cmocka_unit_test(the_executable_is_looked_for),
        cmocka_unit_test(it_does_not_wait_for_ever),
        cmocka_unit_test(odd_programs_have_clusters_too),
        cmocka_unit_test(it_ends_with_the_program),
        cmocka_unit_test(a_forked_child_leaves_it_alone),
        cmocka_unit_test(one_that_dies_is_noticed),
    };
    return cmocka_run_group_tests(tests, setup, home_teardown);
}
