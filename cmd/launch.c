/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/launch.h"

#include <string.h>

#include "cmd/reload.h"
#include "parent/cgroup.h"
#include "parent/logfile.h"

#define AT(member) OPTION_AT(struct launch, member)

const struct option_row launch_engine_rows[] = {
    {0, "preload", OPTION_TEXT, AT(options.preload), "MOD,MOD",
     "import these modules once, before engines are forked"},
    {0, "tag", OPTION_TAGS, AT(tags), "NAME",
     "what these engines are good for, for tasks that ask for it; may be repeated"},
    {0, "engine-memory-max", OPTION_SIZE, AT(engine_memory_max), "SIZE",
     "memory that each engine may have, 500M, 2G ...; see the manual (default: 0, no limit)",
     .min = 0, .max = OPTIONS_BYTES_MAX},
    {0, "engine-cpu", OPTION_NUMBER, AT(engine_cpu), "PERCENT",
     "of a processor that each engine may have; 150: one and a half (default: 0, no limit)",
     .min = 0, .max = PARENT_CPU_MAX},
    {0, "no-nursery", OPTION_CLEAR, AT(options.use_nursery), NULL,
     "start each engine from scratch instead of forking it"},
    {0, "restart", OPTION_CHOICE, AT(options.restart), "WHEN",
     "start engines again that end: never, on-failure, always (default: never)",
     .choices = "never on-failure always"},
    {0, "python", OPTION_TEXT, AT(options.python), "PATH",
     "Python whose packages engines see (default: that of VIRTUAL_ENV)"},
    {0, "transport", OPTION_CHOICE, AT(options.transport), "WAY",
     "how engines connect: any, unix, tcp (default: any)", .choices = "any unix tcp"},
    {0},
};

const struct option_row launch_controller_rows[] = {
    {0, "ip", OPTION_TEXT, AT(options.ip), "ADDR", "listen on this address (default: 127.0.0.1)"},
    {0, "port", OPTION_NUMBER, AT(port), "PORT", "listen on this port (default: any free one)",
     .min = 0, .max = 65535},
    {0, "scheme", OPTION_CHOICE, AT(options.scheme), "NAME",
     "how tasks are given to engines: " OPTIONS_SCHEMES " (default: leastload)",
     .choices = OPTIONS_SCHEMES},
    {0, "hwm", OPTION_NUMBER, AT(hwm), "N",
     "tasks outstanding per engine; 0: no limit (default: 1)", .min = 0, .max = OPTIONS_HWM_MAX},
    {0, "max-tasks", OPTION_NUMBER, AT(max_tasks), "N",
     "tasks that a client may have unfinished (default: 1000000)", .min = 1,
     .max = OPTIONS_TASKS_MAX},
    {0, "max-bytes", OPTION_SIZE, AT(max_bytes), "SIZE",
     "bytes that these may have, 64K, 2G ... (default: 1G)", .min = OPTIONS_BYTES_MIN,
     .max = OPTIONS_BYTES_MAX},
    {0, "store", OPTION_CHOICE, AT(options.store.kind), "KIND",
     "where tasks are remembered: memory, sqlite, none (default: memory; sqlite as a service)",
     .choices = "memory sqlite none"},
    {0, "store-tasks", OPTION_NUMBER, AT(options.store.tasks), "N",
     "ended tasks that are remembered (default: 100000)", .min = 0, .max = 1000000000},
    {0, "store-bytes", OPTION_SIZE, AT(options.store.bytes), "SIZE",
     "bytes of what is remembered (default: 256M)", .min = 0, .max = OPTIONS_BYTES_MAX},
    {0, "store-age", OPTION_NUMBER, AT(options.store.age_s), "S",
     "seconds after their end that tasks are remembered; 0: no limit (default: 0)", .min = 0,
     .max = 1000000000},
    {0, "keep-bytes", OPTION_SIZE, AT(options.store.keep_bytes), "SIZE",
     "requests and results up to this size are remembered (default: 64K)", .min = 0,
     .max = OPTIONS_BYTES_MAX},
    {0, "durable", OPTION_SET, AT(options.store.all_durable), NULL,
     "write every task that any engine may run to disk before it begins; needs --store sqlite"},
    {0, "keep-keys", OPTION_SET, AT(keep_keys), NULL,
     "the signal SIGHUP, which has settings read again, makes no new keys"},
    {0, "heartbeat", OPTION_NUMBER, AT(heartbeat_ms), "MS",
     "between two looks whether engines are there; see the manual (default: 3000)", .min = 50,
     .max = 3600000},
    {0, "grace", OPTION_NUMBER, AT(grace_ms), "MS",
     "for whom the network cuts off to come back; 0: none (default: 10000)", .min = 0,
     .max = 3600000},
    {0},
};

const struct option_row launch_rows[] = {
    {0, "daemonize", OPTION_SET, AT(options.daemonize), NULL,
     "return when it is ready; log to a file of the profile"},
    {0, "log-file", OPTION_TEXT, AT(options.log_file), "PATH",
     "with --daemonize: log to this file instead of one of the profile"},
    {0, "log-max-bytes", OPTION_SIZE, AT(log_max_bytes), "SIZE",
     "begin the log file anew at this size, 64K, 10M ...; 0: never (default: 16M)", .min = 0,
     .max = OPTIONS_BYTES_MAX},
    {0, "log-files", OPTION_NUMBER, AT(options.log_files), "N",
     "older log files that are kept (default: 3)", .min = 0, .max = PARENT_LOG_FILES_MAX},
    {0, "log-level", OPTION_CHOICE, AT(options.log_level), "LEVEL",
     "error, warn, info, debug (default: warn; info with --daemonize)", .choices = OPTIONS_LEVELS},
    {0, "end-with", OPTION_NUMBER, AT(end_with), "PID", "stop when that process ends", .min = 1,
     .max = INT32_MAX, .reach = OPTION_LINE_ONLY},
    {0, "json", OPTION_SET, AT(options.as_json), NULL, "say in JSON what is ready",
     .reach = OPTION_LINE_ONLY},
    {0},
};

int launch(struct launch *launch, const struct option_page *page, int (*run)(int argc, char **argv),
           int argc, char **argv)
{
    struct parent_options *options = &launch->options;
    int exit_code;
    if (options_read(page, argc, argv, &exit_code) < 0)
        return exit_code;
    if (!options->store.kind)
        options->store.kind = parent_is_service() ? "sqlite" : "memory";
    if (options->store.all_durable && strcmp(options->store.kind, "sqlite") != 0) {
        command_error(
            page->command,
            "--durable needs --store sqlite: with --store %s there is no disk to write to",
            options->store.kind);
        return 2;
    }
    options->command = page->command;
    options->profile = launch->where.profile;
    options->profile_dir = launch->where.profile_dir;
    options->cluster_id = launch->where.cluster_id;
    options->tags = launch->tags;
    options->engine_count = (uint32_t)launch->engine_count;
    options->port = (uint16_t)launch->port;
    options->hwm = (uint32_t)launch->hwm;
    options->max_tasks = launch->max_tasks;
    options->max_bytes = launch->max_bytes;
    options->heartbeat_ms = (uint32_t)launch->heartbeat_ms;
    options->grace_ms = (uint32_t)launch->grace_ms;
    options->end_with = launch->end_with;
    options->engine_memory_max = launch->engine_memory_max;
    options->engine_cpu = launch->engine_cpu;
    options->log_max_bytes = launch->log_max_bytes;
    struct reload again = {.run = run, .argc = argc, .argv = argv};
    options->reload = reload_settings;
    options->reload_arg = &again;
    return parent_main(options);
}
