/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parent: supervises one cluster (or, without a controller, the engines of one host).
 *
 * It owns the profile's files, the keys and the listening sockets, starts the roles, says when the
 * cluster is ready, notices what dies, and stops everything in order. The only entry to this room.
 */
#ifndef PC_PARENT_PARENT_H
#define PC_PARENT_PARENT_H

#include <stdbool.h>
#include <stdint.h>

/* More than one parent should supervise. */
#define PARENT_ENGINES_MAX 10000

/* What can be changed while the cluster runs. */
struct parent_settings {
    const char *log_level; /* NULL: the default */
    uint32_t engine_count;
    bool keep_keys; /* make no new ones */
};

/* What the hub remembers of tasks. */
struct parent_store {
    const char *kind;         /* "memory", "sqlite", "none"; never NULL with a controller */
    long tasks, bytes, age_s; /* limits; age 0: none */
    long keep_bytes;          /* larger requests and results are not remembered */
    bool all_durable;         /* every task that can be; needs "sqlite" */
};

/* Strings may be NULL where a default is named. They must live as long as parent_main runs. */
struct parent_options {
    const char *command;     /* "start", "controller", "engine": begins error lines */
    const char *profile;     /* "default" */
    const char *profile_dir; /* wins over profile */
    const char *cluster_id;  /* "" */
    const char *ip;          /* "127.0.0.1" */
    const char *preload;     /* modules separated by commas, "" */
    const char *python;      /* the interpreter engines take their packages from; see python.h */
    const char *log_file;    /* in the background; NULL: in the profile's log/ */
    int64_t log_max_bytes;   /* of the log in the background; then it begins anew; 0: no limit */
    long log_files;          /* older ones that are kept, "PATH.1" ... */
    const char *log_level;   /* "info" when the log is a file, else "warn" */
    const char *transport;   /* how engines connect: "any", "unix", "tcp" */
    const char *tags;        /* of the engines, as in tags.h; "" */
    const char *engine_file; /* without a controller: which one to join; the profile's */
    const char *restart;     /* engines that end: "never", "on-failure", "always" */
    const char *scheme;      /* how balanced tasks are placed, "leastload" */
    uint32_t hwm;            /* balanced tasks outstanding per engine; 0: no limit */
    int64_t max_tasks;       /* that a client may have unfinished */
    int64_t max_bytes;       /* of them */
    uint32_t heartbeat_ms;   /* how often the scheduler asks engines whether they are there */
    uint32_t grace_ms;       /* how long clients and engines that were cut off may stay away */
    uint32_t engine_count;   /* up to PARENT_ENGINES_MAX */
    int64_t end_with;        /* pid: stop when that process ends; 0: of none */
    uint16_t port;           /* 0: any that is free */
    struct parent_store store;
    /* Limits of each engine: bytes, per cent of a processor; 0: none. */
    int64_t engine_memory_max, engine_cpu;
    bool with_controller;
    bool use_nursery;
    /* Reads the settings again, for SIGHUP; -1 when it has said what is wrong. May be NULL. */
    int (*reload)(void *arg, struct parent_settings *fresh);
    void *reload_arg;
    bool daemonize; /* go to the background; return when ready or failed */
    bool as_json;   /* what is said when it is ready */
};

/* Whether a service manager has started this process. */
bool parent_is_service(void);
/* Returns the exit code of the command. */
int parent_main(const struct parent_options *options);

#endif
