/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starting the children. The nursery comes first: Python needs longer to start than all the rest,
 * which goes on meanwhile. Nobody waits here; answers are taken by messages.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/key.h"
#include "lib/log.h"
#include "lib/spawn.h"
#include "parent/listen.h"
#include "parent/state.h"

/* ---- what they are told ----------------------------------------------------------------- */

static pc_json *common_config(const struct parent *parent)
{
    const struct pc_connfile *file = &parent->files.client;
    char instance[2 * PC_INSTANCE_BYTES + 1], url[300];
    pc_hex_encode(file->instance, PC_INSTANCE_BYTES, instance);
    parent_url(file, url, sizeof(url));
    pc_json *config = pc_json_object();
    pc_json_put_str(config, "cluster_id", parent->files.cluster_id);
    pc_json_put_str(config, "profile", parent->files.profile.name);
    pc_json_put_str(config, "instance", instance);
    pc_json_put_str(config, "log_level", parent->log_level);
    pc_json_put_i64(config, "controller_pid", getpid());
    pc_json_put_str(config, "url", url);
    pc_json_put_str(config, "unix", file->unix_path[0] ? file->unix_path : NULL);
    return config;
}

static void put_key(pc_json *config, const char *name, const uint8_t key[PC_KEY_SIZE])
{
    char text[2 * PC_KEY_SIZE + 1];
    pc_hex_encode(key, PC_KEY_SIZE, text);
    pc_json_put_str(config, name, text);
    pc_wipe(text, sizeof(text));
}

static void put_public_of(pc_json *config, const char *name, const uint8_t private[PC_KEY_SIZE])
{
    struct pc_keypair pair;
    pc_keypair_from_private(&pair, private);
    put_key(config, name, pair.public_key);
    pc_wipe(&pair, sizeof(pair));
}

/* Durable tasks need a database, and a file that says which have begun: `begun_fd`. */
static const char *durable_of(const struct parent_store *store, int begun_fd)
{
    if (strcmp(store->kind, "sqlite") != 0 || begun_fd < 0)
        return "none";
    return store->all_durable ? "all" : "asked";
}

static void put_keys(pc_json *config, const struct parent_files *files)
{
    put_public_of(config, "client_public", files->client.exec_key);
    put_public_of(config, "engine_public", files->engine.exec_key);
}

pc_json *parent_keys_config(const struct parent *parent)
{
    pc_json *config = pc_json_object();
    put_keys(config, &parent->files);
    return config;
}

/* Not the first one: it has to find out what there is. */
static bool is_successor(const struct parent *parent)
{
    return parent->state >= PARENT_READY;
}

static pc_json *scheduler_config(const struct parent *parent, int begun_fd)
{
    pc_json *config = common_config(parent);
    pc_json_put_bool(config, "is_successor", is_successor(parent));
    pc_json_put_str(config, "home", parent->home);
    put_key(config, "controller_private", parent->files.controller.private_key);
    put_keys(config, &parent->files);
    pc_json_put_i64(config, "heartbeat_ms", parent->options->heartbeat_ms);
    pc_json_put_i64(config, "grace_ms", parent->options->grace_ms);
    if (parent->options->scheme)
        pc_json_put_str(config, "scheme", parent->options->scheme);
    pc_json_put_i64(config, "hwm", parent->options->hwm);
    pc_json_put_i64(config, "keep_bytes", parent->options->store.keep_bytes);
    pc_json_put_i64(config, "max_tasks", parent->options->max_tasks);
    pc_json_put_i64(config, "max_bytes", parent->options->max_bytes);
    pc_json_put_str(config, "durable", durable_of(&parent->options->store, begun_fd));
    pc_json_put_bool(config, "has_begun", begun_fd >= 0);
    pc_json_put_bool(config, "has_unix", parent->unix_fd >= 0);
    pc_json_put_bool(config, "has_tcp", parent->tcp_fd >= 0);
    pc_json_put_bool(config, "has_handover", true);
    return config;
}

static void database_path(const struct parent *parent, const char *more, char *path, size_t size)
{
    const char *id = parent->files.cluster_id;
    snprintf(path, size, "%s/tasks%s%s.db%s", parent->files.profile.dir, id[0] ? "-" : "", id,
             more);
}

static pc_json *hub_config(const struct parent *parent)
{
    pc_json *config = common_config(parent);
    const struct parent_store *store = &parent->options->store;
    char path[1024];
    database_path(parent, "", path, sizeof(path));
    pc_json_put_bool(config, "has_journal", true);
    pc_json_put_bool(config, "has_handover", true);
    pc_json_put_i64(config, "started_us", parent->begun_wall_us);
    pc_json_put_i64(config, "scheduler_pid", parent->scheduler.pid);
    pc_json_put_str(config, "store", store->kind);
    pc_json_put_str(config, "store_path", path);
    pc_json_put_i64(config, "store_tasks", store->tasks);
    pc_json_put_i64(config, "store_bytes", store->bytes);
    pc_json_put_i64(config, "store_age_s", store->age_s);
    return config;
}

pc_json *parent_nursery_config(const struct parent *parent)
{
    const struct parent_options *options = parent->options;
    char *connection = pc_connfile_print(&parent->files.engine);
    pc_json *config = pc_json_object();
    pc_json *preload = pc_json_array();
    pc_json_put_str(config, "connection", connection);
    pc_wipe(connection, strlen(connection));
    free(connection);
    for (const char *at = options->preload ? options->preload : ""; *at;) {
        char module[256];
        size_t size = strcspn(at, ",");
        if (size > 0 && size < sizeof(module)) {
            memcpy(module, at, size);
            module[size] = '\0';
            pc_json_append_str(preload, module);
        }
        at += size + (at[size] == ',');
    }
    pc_json_put(config, "preload", preload);
    pc_json_put_str(config, "python", parent->python);
    pc_json_put_str(config, "tags", options->tags ? options->tags : "");
    pc_json_put_str(config, "home", parent->home);
    if (parent->cgroup.path[0])
        pc_json_put_str(config, "cgroup", parent->cgroup.path);
    pc_json_put_i64(config, "open_files", parent->open_files);
    pc_json_put_bool(config, "use_nursery", options->use_nursery);
    pc_json_put_str(config, "log_level", parent->log_level);
    pc_json_put_str(config, "transport", options->transport ? options->transport : "any");
    return config;
}

/* ---- a controller of our own ------------------------------------------------------------ */

/* Those that a service manager opened for us, else our own. */
static int open_listeners(struct parent *parent, struct pc_err *err)
{
    const struct parent_options *options = parent->options;
    const struct parent_service *service = &parent->service;
    struct parent_files *files = &parent->files;
    uint16_t port = options->port;
    char host[256];
    if (service->tcp_fd >= 0)
        parent->tcp_fd = parent_listen_given_tcp(service->tcp_fd, &port, host, sizeof(host), err);
    else
        parent->tcp_fd = parent_listen_tcp(options->ip ? options->ip : "127.0.0.1", &port, host,
                                           sizeof(host), err);
    if (parent->tcp_fd < 0)
        return -1;
    if (service->unix_fd >= 0)
        parent->unix_fd = parent_listen_given_unix(service->unix_fd, files->socket_path,
                                                   sizeof(files->socket_path), err);
    else
        parent->unix_fd = parent_listen_unix(files->socket_path, err);
    if (parent->unix_fd < 0)
        return -1;
    parent_files_fill(&parent->files, host, port);
    return 0;
}

/* Where the scheduler notes which durable tasks have begun. -1: there are none. */
static int open_begun(const struct parent *parent)
{
    char path[1024];
    if (strcmp(parent->options->store.kind, "sqlite") != 0)
        return -1;
    database_path(parent, "-begun", path, sizeof(path));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        pc_warn("can't open '%s': %s; no task can be durable", path, strerror(errno));
    return fd;
}

/* `link`: its end of the pair of sockets between scheduler and hub. */
static int start_scheduler(struct parent *parent, int link, struct pc_err *err)
{
    int begun_fd = open_begun(parent);
    int fds[] = {link, parent->unix_fd, parent->tcp_fd, begun_fd};
    int status = parent_role_start(&parent->scheduler, SIGKILL, fds, begun_fd < 0 ? 3 : 4, err);
    if (begun_fd >= 0)
        close(begun_fd);
    if (status < 0)
        return -1;
    parent_role_send(&parent->scheduler, PC_MSG_CONFIG, scheduler_config(parent, begun_fd));
    pc_conn_flush(&parent->scheduler.conn);
    return 0;
}

static int make_journal(struct parent *parent, struct pc_err *err)
{
    for (int i = 0; i < 2; i++) {
        if (parent->journal_fds[i] < 0)
            parent->journal_fds[i] = memfd_create("pcluster-journal", MFD_CLOEXEC);
        if (parent->journal_fds[i] < 0)
            return pc_err_sys(err, "can't make memory for the journal of the hub");
    }
    return 0;
}

static int start_hub(struct parent *parent, int link, struct pc_err *err)
{
    if (make_journal(parent, err) < 0)
        return -1;
    int fds[] = {link, parent->journal_fds[0], parent->journal_fds[1]};
    if (parent_role_start(&parent->hub, SIGKILL, fds, 3, err) < 0)
        return -1;
    parent_role_send(&parent->hub, PC_MSG_CONFIG, hub_config(parent));
    return 0;
}

static int start_controller(struct parent *parent, struct pc_err *err)
{
    int between[2];
    if (pc_socketpair(between, err) < 0)
        return -1;
    int status = start_scheduler(parent, between[0], err);
    if (status == 0)
        status = start_hub(parent, between[1], err);
    close(between[0]);
    close(between[1]);
    return status;
}

int parent_start_hub(struct parent *parent, struct pc_err *err)
{
    int between[2];
    if (pc_socketpair(between, err) < 0)
        return -1;
    int status = start_hub(parent, between[1], err);
    if (status == 0)
        parent_role_link(&parent->scheduler, &parent->hub, between[0]);
    close(between[0]);
    close(between[1]);
    return status;
}

int parent_start_scheduler(struct parent *parent, struct pc_err *err)
{
    int between[2];
    if (pc_socketpair(between, err) < 0)
        return -1;
    int status = start_scheduler(parent, between[0], err);
    if (status == 0)
        parent_role_link(&parent->hub, &parent->scheduler, between[1]);
    close(between[0]);
    close(between[1]);
    return status;
}

/* A nursery outlives us for a moment, to end its engines and what they started: it sees the end of
 * its connection, and the signal in case it is not looking. */
int parent_start_nursery(struct parent *parent, struct pc_err *err)
{
    if (parent_role_start(&parent->nursery, SIGTERM, NULL, 0, err) < 0)
        return -1;
    parent_role_send(&parent->nursery, PC_MSG_CONFIG, parent_nursery_config(parent));
    pc_conn_flush(&parent->nursery.conn);
    return 0;
}

/* ---- a controller elsewhere ------------------------------------------------------------- */

int parent_read_engine_file(struct parent *parent, struct pc_err *err)
{
    const char *given = parent->options->engine_file;
    struct pc_connfile file;
    if (pc_connfile_read(&file, given ? given : parent->files.engine_path, err) < 0)
        return -1;
    bool is_engine = strcmp(file.role, "engine") == 0;
    if (is_engine)
        parent->files.engine = file;
    else
        pc_err_set(err, PC_E_ROLE,
                   "'%s' is the connection file of a %s: engines need the one named "
                   "pcluster-engine.json beside it",
                   file.path, file.role);
    pc_connfile_wipe(&file);
    return is_engine ? 0 : -1;
}

int parent_start(struct parent *parent, struct pc_err *err)
{
    uint8_t random[16];
    pc_random(random, sizeof(random));
    pc_hex_encode(random, sizeof(random), parent->home);
    bool has_controller = parent->options->with_controller;
    if (has_controller ? open_listeners(parent, err) < 0 : parent_read_engine_file(parent, err) < 0)
        return -1;
    parent->engines.wanted_count = parent->options->engine_count;
    if (parent->options->engine_count > 0 && parent_start_nursery(parent, err) < 0)
        return -1;
    return has_controller ? start_controller(parent, err) : parent_join_controller(parent, err);
}
