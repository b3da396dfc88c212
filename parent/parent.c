/* SPDX-License-Identifier: BSD-3-Clause */
#include "parent/parent.h"
#include "parent/logfile.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/noise.h"
#include "lib/orphans.h"
#include "lib/spawn.h"
#include "parent/limits.h"
#include "parent/python.h"
#include "parent/state.h"

/* Without a sign of life for so long a start has failed. Importing what --preload names counts as
 * silence, and may take its time. */
#define START_LIMIT_MS 120000
#define SWEEP_LIMIT_MS 2000

/* ---- how it goes ------------------------------------------------------------------------ */

void parent_fail(struct parent *parent, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    if (parent->state >= PARENT_STOPPING)
        return;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0)
        pc_fatal(1, "out of memory");
    parent->exit_code = 1;
    if (parent->state == PARENT_STARTING) {
        free(parent->failure);
        parent->failure = text;
        parent_stop(parent, "the start failed");
    } else {
        pc_error("%s", text);
        parent_stop(parent, text);
        free(text);
    }
}

/* The same for programs. */
static char *describe(const struct parent *parent, const char *address)
{
    const struct parent_files *files = &parent->files;
    bool has_controller = parent->options->with_controller;
    pc_json *json = pc_json_object();
    pc_json_put_i64(json, "pid", getpid());
    pc_json_put_str(json, "uuid", parent->home);
    pc_json_put_i64(json, "engines", parent->engines.wanted_count);
    pc_json_put_str(json, "profile", files->profile.name);
    pc_json_put_str(json, "profile_dir", files->profile.dir);
    pc_json_put_str(json, "cluster_id", files->cluster_id);
    pc_json_put_str(json, "address", address);
    pc_json_put_str(json, "file", has_controller ? files->client_path : NULL);
    pc_json_put_str(json, "log", parent->log_path[0] ? parent->log_path : NULL);
    char *text = pc_json_print(json);
    pc_json_free(json);
    return text;
}

static void say_ready(struct parent *parent)
{
    const struct parent_options *options = parent->options;
    const struct pc_connfile *file = &parent->files.client;
    char what[64] = "controller";
    char where[1200];
    char text[1400];
    double seconds = (double)(pc_clock_us() - parent->begun_us) / 1e6;
    uint32_t count = parent->engines.wanted_count;
    if (options->engine_count)
        snprintf(what, sizeof(what), "%u engine%s", count, count == 1 ? "" : "s");
    if (options->with_controller) {
        parent_url(file, where, sizeof(where));
        size_t used = strlen(where);
        snprintf(where + used, sizeof(where) - used, " (unix:%s)", file->unix_path);
    } else {
        snprintf(where, sizeof(where), "%s", parent->address);
    }
    snprintf(text, sizeof(text), "%s at %s in %.2f s", what, where, seconds);
    if (!parent_tell_is_in_log(&parent->tell)) /* else it would be there twice */
        pc_info("ready: %s", text);
    parent_service_tell(&parent->service, "READY=1");
    char *json = options->as_json ? describe(parent, where) : NULL;
    parent_lifetime_tell(parent);
    if (parent_tell_ready(&parent->tell, json ? json : text) < 0)
        parent_fail(parent, "the command that started this cluster was ended meanwhile");
    free(json);
}

static void show_progress(struct parent *parent)
{
    char text[128];
    uint32_t wanted = parent->engines.wanted_count;
    if (wanted == 0)
        return;
    snprintf(text, sizeof(text), "starting %u engine%s: %u answered", wanted,
             wanted == 1 ? "" : "s", parent->engines.ready_count);
    parent_tell_progress(&parent->tell, text);
}

static void on_start_limit(uv_timer_t *timer)
{
    struct parent *parent = timer->data;
    parent_fail(parent, "%u of %u engines answered, and then nothing happened for %d s",
                parent->engines.ready_count, parent->engines.wanted_count, START_LIMIT_MS / 1000);
}

void parent_check_ready(struct parent *parent)
{
    parent_service_status(parent);
    if (parent->state != PARENT_STARTING)
        return;
    uv_timer_start(&parent->start_timer, on_start_limit, START_LIMIT_MS, 0);
    bool has_controller = parent->options->with_controller;
    if (!parent->scheduler.is_ready || (has_controller && !parent->hub.is_ready) ||
        parent->engines.ready_count < parent->engines.wanted_count) {
        show_progress(parent);
        return;
    }
    uv_timer_stop(&parent->start_timer);
    parent->state = PARENT_READY;
    say_ready(parent);
}

/* ---- signals ---------------------------------------------------------------------------- */

static void on_stop_signal(uv_signal_t *handle, int number)
{
    struct parent *parent = handle->data;
    char reason[32];
    snprintf(reason, sizeof(reason), "got SIG%s", sigabbrev_np(number));
    if (parent->state == PARENT_STARTING)
        parent_fail(parent, "interrupted before the cluster was ready");
    else if (parent->state == PARENT_READY)
        parent_stop(parent, reason);
    else
        parent_stop_now(parent);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    parent_reload(handle->data);
}

static void on_child_signal(uv_signal_t *handle, int number)
{
    parent_reap(handle->data);
}

/* As nohup leaves it. */
static bool is_ignored(int number)
{
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static void watch_signal(struct parent *parent, uv_signal_t *handle, uv_signal_cb callback,
                         int number)
{
    uv_signal_init(&parent->loop, handle);
    handle->data = parent;
    uv_signal_start(handle, callback, number);
}

static void watch_stop_signals(struct parent *parent)
{
    watch_signal(parent, &parent->on_sigint, on_stop_signal, SIGINT);
    watch_signal(parent, &parent->on_sigterm, on_stop_signal, SIGTERM);
    if (parent->options->daemonize || parent_service_exists(&parent->service))
        watch_signal(parent, &parent->on_sighup, on_hangup, SIGHUP);
    else if (!is_ignored(SIGHUP))
        watch_signal(parent, &parent->on_sighup, on_stop_signal, SIGHUP);
}

/* ---- life ------------------------------------------------------------------------------- */

static int parent_init(struct parent *parent, struct pc_err *err)
{
    if (uv_loop_init(&parent->loop) < 0 || pc_conns_init(&parent->conns, &parent->loop) < 0)
        return pc_err_set(err, PC_E_SYSTEM,
                          "can't make an event loop: no memory or file descriptor is left");
    watch_signal(parent, &parent->on_sigchld, on_child_signal, SIGCHLD);
    uv_timer_t *timers[] = {&parent->stop_timer, &parent->start_timer, &parent->end_timer};
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        uv_timer_init(&parent->loop, timers[i]);
        timers[i]->data = parent;
    }
    parent_service_start(parent);
    parent_restarts_init(parent);
    parent_log_watch(parent);
    uv_timer_init(&parent->loop, &parent->rejoin.timer);
    parent->rejoin.timer.data = parent;
    parent_role_init(parent, &parent->scheduler, "scheduler", PC_FROM_SCHED);
    parent_role_init(parent, &parent->hub, "hub", PC_FROM_HUB);
    parent_role_init(parent, &parent->nursery, "nursery", PC_FROM_NURSERY);
    if (parent->options->grace_ms > 0) /* else nobody would come back to it */
        parent->scheduler.restart = parent_start_scheduler;
    parent->hub.restart = parent_start_hub;
    parent->nursery.restart = parent_start_nursery;
    return 0;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void parent_fini(struct parent *parent)
{
    /* Processes that engines started became ours as orphans. */
    if (!parent->has_other_children && pc_orphans_end(SWEEP_LIMIT_MS) < 0)
        pc_warn("processes that engines started could not be ended");
    /* Connections to processes that could not be ended may still be there: with their polls. */
    uv_walk(&parent->loop, close_handle, NULL);
    uv_run(&parent->loop, UV_RUN_DEFAULT);
    uv_loop_close(&parent->loop);
    if (parent->unix_fd >= 0 && parent->unix_fd != parent->service.unix_fd) {
        unlink(parent->files.socket_path);
        close(parent->unix_fd);
    }
    if (parent->tcp_fd >= 0 && parent->tcp_fd != parent->service.tcp_fd)
        close(parent->tcp_fd);
    int more[] = {parent->end_with_fd, parent->journal_fds[0], parent->journal_fds[1],
                  parent->scheduler.handover_fd, parent->hub.handover_fd};
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
        if (more[i] >= 0)
            close(more[i]);
    parent_engines_fini(&parent->engines);
    pc_lifeline_fini(&parent->scheduler.lifeline);
    pc_wipe(&parent->rejoin.token, sizeof(parent->rejoin.token));
    free(parent->scheduler.failure);
    free(parent->hub.failure);
    free(parent->nursery.failure);
    parent_files_fini(&parent->files);
}

/* With everything checked that can be: starts, waits for the end, cleans up. */
static void run(struct parent *parent)
{
    struct pc_err err;
    if (parent_init(parent, &err) < 0) {
        parent->failure = pc_xstrdup(err.text);
        parent->exit_code = 1;
        parent_files_fini(&parent->files);
        return;
    }
    /* Without a controller we own no file, and may have to wait long for one elsewhere to answer:
     * until then a signal just ends us, and the nursery sees that. */
    bool has_controller = parent->options->with_controller;
    if (has_controller)
        watch_stop_signals(parent);
    if (parent_lifetime_watch(parent, &err) < 0 || parent_start(parent, &err) < 0)
        parent_fail(parent, "%s", err.text);
    if (!has_controller)
        watch_stop_signals(parent);
    parent_check_ready(parent);
    while (parent->state != PARENT_ENDED)
        uv_run(&parent->loop, UV_RUN_ONCE);
    parent_fini(parent);
}

/* The log of a cluster in the background; its folder is made with the profile. */
static int go_to_background(struct parent *parent, int *exit_code, struct pc_err *err)
{
    const struct parent_files *files = &parent->files;
    const char *given = parent->options->log_file;
    if (pc_profile_create(&files->profile, err) < 0)
        return -1;
    if (given)
        snprintf(parent->log_path, sizeof(parent->log_path), "%s", given);
    else
        snprintf(parent->log_path, sizeof(parent->log_path), "%s/log/pcluster%s%s%s.log",
                 files->profile.dir, files->cluster_id[0] ? "-" : "", files->cluster_id,
                 parent->options->with_controller ? "" : "-engine");
    return parent_daemonize(&parent->tell, parent->log_path, exit_code, err);
}

static int check(struct parent *parent, struct pc_err *err)
{
    const struct parent_options *options = parent->options;
    if (pc_noise_init() < 0)
        return pc_err_set(err, PC_E_SYSTEM, "libsodium can't be used: no source of randomness");
    if (parent_lifetime_find(parent, err) < 0 ||
        parent_raise_limits(options->engine_count, &parent->open_files, err) < 0 ||
        parent_choose_python(options->python, parent->python, sizeof(parent->python), err) < 0 ||
        parent_cgroup_init(&parent->cgroup, getenv("PCLUSTER_CGROUP"), options->engine_memory_max,
                           options->engine_cpu, err) < 0)
        return -1;
    return options->with_controller ? parent_files_claim(&parent->files, err) : 0;
}

static void set_title(const struct parent *parent)
{
    char title[200];
    snprintf(title, sizeof(title), "pcluster: %s in profile %s%s%s",
             parent->options->with_controller ? "cluster" : "engines", parent->files.profile.name,
             parent->files.cluster_id[0] ? ", id " : "", parent->files.cluster_id);
    pc_title_set(title);
}

static void tell_failed(struct parent *parent, const char *text)
{
    parent_service_tell(&parent->service, "STATUS=%s", text);
    parent_tell_failed(&parent->tell, text);
}

const char *parent_default_log_level(const struct parent *parent)
{
    bool is_watched = !parent->options->daemonize && !parent_service_exists(&parent->service);
    return is_watched ? "warn" : "info";
}

int parent_main(const struct parent_options *options)
{
    struct pc_err err;
    int exit_code = 1;
    struct parent *parent = pc_xcalloc(1, sizeof(*parent));
    parent->options = options;
    parent->begun_us = pc_clock_us();
    parent->begun_wall_us = pc_wall_us();
    parent->tcp_fd = parent->unix_fd = parent->end_with_fd = -1;
    parent->journal_fds[0] = parent->journal_fds[1] = -1;
    parent->configured_count = options->engine_count;
    int status = parent_service_init(&parent->service, !options->daemonize, &err);
    parent->log_level = options->log_level ? options->log_level : parent_default_log_level(parent);
    pc_log_init("parent", (enum pc_log_level)pc_log_level_parse(parent->log_level));
    parent_tell_init(&parent->tell, options->command);
    parent->tell.is_json = options->as_json;

    if (status == 0)
        status = parent_files_init(&parent->files, options->profile, options->profile_dir,
                                   options->cluster_id ? options->cluster_id : "", &err);
    if (status == 0 && options->daemonize)
        status = go_to_background(parent, &exit_code, &err);
    if (status == 0) {
        pc_ignore_signals_of_files();
        parent->has_other_children = pc_orphans_exist();
        pc_orphans_adopt();
        set_title(parent);
        status = check(parent, &err);
    }
    if (status == 0) {
        run(parent);
        exit_code = parent->exit_code;
        if (parent->failure)
            tell_failed(parent, parent->failure);
    } else if (status < 0) {
        parent_files_fini(&parent->files);
        tell_failed(parent, err.text);
        /* A service manager need not try that again. */
        if (err.code == PC_E_INVALID && parent_service_exists(&parent->service))
            exit_code = 2;
    }
    parent_service_fini(&parent->service);
    free(parent->failure);
    free(parent);
    return exit_code;
}
