/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening a client: find the connection file, connect, HELLO, WELCOME, the list of engines. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/client.h"
#include "lib/clock.h"
#include "lib/connfile.h"
#include "lib/profile.h"
#include "lib/proto.h"

#define DEFAULT_TIMEOUT_MS 10000

/* What names the profile on a command line. */
static const char *option(const struct pc_profile *profile)
{
    bool is_default = strcmp(profile->name, "default") == 0;
    return profile->is_named_by_dir ? " --profile-dir " : is_default ? "" : " --profile ";
}

static const char *option_value(const struct pc_profile *profile)
{
    bool is_default = strcmp(profile->name, "default") == 0;
    return profile->is_named_by_dir ? profile->dir : is_default ? "" : profile->name;
}

/* With the command that starts what was looked for. */
static int no_cluster(const struct pc_profile *profile, const char *cluster_id, const char *path,
                      struct pc_err *err)
{
    return pc_err_set(err, PC_E_NO_FILE,
                      "no cluster%s%s runs in profile '%s' (looked for %s); start one with "
                      "'pcluster start -n 4%s%s%s%s'",
                      *cluster_id ? " " : "", cluster_id, profile->name, path, option(profile),
                      option_value(profile), *cluster_id ? " --cluster-id " : "", cluster_id);
}

static int read_connfile(struct pc_connfile *file, const struct pc_connect *how, struct pc_err *err)
{
    char path[1024];
    struct pc_profile profile;
    if (how->json)
        return pc_connfile_parse(file, how->json, strlen(how->json), "the connection given", err);
    if (how->file)
        return pc_connfile_read(file, how->file, err);
    const char *set = getenv("PCLUSTER_CLUSTER_ID");
    const char *cluster_id = how->cluster_id ? how->cluster_id : set ? set : "";
    if (pc_profile_resolve(&profile, how->profile, how->profile_dir, err))
        return -1;
    if (!pc_cluster_id_is_valid(cluster_id))
        return pc_err_set(err, PC_E_INVALID, "'%s' is not a cluster id", cluster_id);
    if (!pc_profile_exists(&profile))
        return pc_err_set(err, PC_E_NO_FILE,
                          "there is no profile '%s' (looked for %s); start a cluster in it with "
                          "'pcluster start%s%s'",
                          profile.name, profile.dir, option(&profile), option_value(&profile));
    if (pc_profile_connfile(&profile, cluster_id, "client", path, sizeof(path), err))
        return -1;
    if (access(path, F_OK) && errno == ENOENT)
        return no_cluster(&profile, cluster_id, path, err);
    return pc_connfile_read(file, path, err);
}

static char *hello_text(const struct pc_connfile *file, const struct pc_connect *how)
{
    struct pc_keypair pair;
    char key[2 * PC_KEY_SIZE + 1], uuid[33], host[256] = "";
    uint8_t random[16];
    pc_random(random, sizeof(random));
    pc_hex_encode(random, sizeof(random), uuid);
    pc_keypair_from_private(&pair, file->exec_key);
    pc_hex_encode(pair.public_key, PC_KEY_SIZE, key);
    pc_wipe(&pair, sizeof(pair));
    gethostname(host, sizeof(host) - 1);
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "role", "client");
    pc_json_put_str(json, "public_key", key);
    pc_json_put_i64(json, "pid", getpid());
    pc_json_put_str(json, "host", host);
    pc_json_put_str(json, "python", how->python);
    pc_json_put_str(json, "uuid", uuid);
    char *text = pc_json_print(json);
    pc_json_free(json);
    return text;
}

static int read_welcome(struct pc_client *client, const struct pc_connfile *file,
                        const struct pc_msg *welcome, struct pc_err *err)
{
    char instance[33];
    pc_json *json = pc_json_of_msg(welcome, err);
    if (!json)
        return -1;
    int failed = pc_json_get_u64(json, "session", &client->session, err);
    pc_client_set_window(client, json);
    const char *durable = pc_json_str_or(json, "durable", "none");
    client->all_durable = strcmp(durable, "all") == 0;
    client->takes_durable = client->all_durable || strcmp(durable, "asked") == 0;
    client->grace_ms = (int)pc_json_i64_or(json, "grace_ms", 0);
    snprintf(client->token, sizeof(client->token), "%s", pc_json_str_or(json, "token", ""));
    if (client->grace_ms > 0)
        client->sock.wire.lifeline = &client->lifeline;
    pc_hex_encode(file->instance, PC_INSTANCE_BYTES, instance);
    pc_json *info = pc_json_object();
    pc_json_put_str(info, "cluster_id", pc_json_str_or(json, "cluster_id", ""));
    pc_json_put_str(info, "profile", pc_json_str_or(json, "profile", ""));
    pc_json_put_str(info, "instance", instance);
    pc_json_put_str(info, "address", client->address);
    pc_json_put_str(info, "session", pc_json_str_or(json, "session", ""));
    pc_json_put_i64(info, "controller_pid", pc_json_i64_or(json, "controller_pid", 0));
    pc_json_put_str(info, "file", file->path);
    pc_json_put_str(info, "unix", file->unix_path);
    char url[300];
    bool is_v6 = strchr(file->host, ':');
    snprintf(url, sizeof(url), "tcp://%s%s%s:%u", is_v6 ? "[" : "", file->host, is_v6 ? "]" : "",
             file->port);
    pc_json_put_str(info, "url", url);
    pc_json_put_str(info, "location", file->location);
    client->info = pc_json_print(info);
    pc_json_free(info);
    pc_json_free(json);
    if (!client->info)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    return failed;
}

static int greet(struct pc_client *client, const struct pc_connfile *file,
                 const struct pc_connect *how, int64_t deadline_ms, struct pc_err *err)
{
    char *hello = hello_text(file, how);
    if (!hello)
        return pc_err_set(err, PC_E_MEMORY, "out of memory");
    int64_t left = deadline_ms - pc_clock_ms();
    struct pc_msg *msg = pc_sock_hello(&client->sock, hello, left > 0 ? (int)left : 0, err);
    free(hello);
    if (!msg && (err->code == PC_E_KEY || err->code == PC_E_ROLE || err->code == PC_E_REMOTE)) {
        struct pc_err said = *err;
        pc_err_set(err, said.code, "%s refused %s: %.300s", client->address,
                   file->path[0] ? file->path : "the connection given", said.text);
    }
    int failed = msg ? read_welcome(client, file, msg, err) : -1;
    pc_msg_unref(msg);
    if (failed)
        goto out;
    left = deadline_ms - pc_clock_ms();
    msg = pc_sock_receive(&client->sock, left > 0 ? (int)left : 0, err);
    if (!msg)
        return -1;
    if (msg->head.type == PC_MSG_ENGINES)
        failed = pc_roster_update(&client->roster, msg, err);
    else
        failed = pc_err_set(err, PC_E_PROTOCOL, "%s came instead of the list of engines",
                            pc_msg_name(msg->head.type));
    pc_msg_unref(msg);
out:
    if (failed && err->code == PC_E_TIMEOUT)
        pc_err_set(err, PC_E_TIMEOUT, "%s accepted the connection but did not answer in time",
                   client->address);
    return failed;
}

static struct pc_client *client_new(void)
{
    pthread_condattr_t monotonic;
    struct pc_client *client = calloc(1, sizeof(*client));
    if (!client)
        return NULL;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->filed, &monotonic);
    pthread_cond_init(&client->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    atomic_init(&client->refs, 1);
    pc_birthmark_init(&client->birthmark);
    client->sequence = 1;
    pc_buf_init(&client->acks, 0);
    pc_sock_init(&client->sock, -1, PC_FROM_SCHED);
    client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return client;
}

int pc_client_open(struct pc_client **out, const struct pc_connect *how, struct pc_err *err)
{
    struct pc_err local;
    struct pc_connfile file = {0};
    const struct pc_connect defaults = {0};
    if (!how)
        how = &defaults;
    int timeout_ms = how->timeout_ms > 0 ? how->timeout_ms : DEFAULT_TIMEOUT_MS;
    int64_t deadline_ms = pc_clock_ms() + timeout_ms;
    if (!err)
        err = &local;
    if (read_connfile(&file, how, err))
        return -1;
    struct pc_client *client = client_new();
    int failed = 0;
    if (!client || client->wake_fd < 0)
        failed = pc_err_set(err, client ? PC_E_SYSTEM : PC_E_MEMORY, "%s",
                            client ? "no free file descriptor" : "out of memory");
    else if (strcmp(file.role, "client") != 0)
        failed = pc_err_set(err, PC_E_ROLE,
                            "%s is a connection file for engines: its key can't submit work; use "
                            "the file pcluster-client.json beside it",
                            file.path[0] ? file.path : "the connection given");
    else
        failed = pc_sock_connect(&client->sock, &file, how->transport, timeout_ms, client->address,
                                 sizeof(client->address), err) ||
                 greet(client, &file, how, deadline_ms, err);
    if (!failed) {
        client->file = file;
        client->transport = how->transport;
    }
    pc_connfile_wipe(&file);
    if (failed) {
        pc_client_unref(client);
        return -1;
    }
    client->keeps_results = how->keeps_results;
    *out = client;
    return 0;
}
