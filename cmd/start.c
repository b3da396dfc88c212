/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster start: controller and engines on this machine. */
#include <sched.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/reload.h"
#include "cmd/store.h"
#include "lib/tags.h"
#include "parent/parent.h"

/* As many as there are processors this process may use. */
static long default_count(void)
{
    cpu_set_t allowed;
    long count = sched_getaffinity(0, sizeof(allowed), &allowed) == 0
                     ? CPU_COUNT(&allowed)
                     : sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > PARENT_ENGINES_MAX ? PARENT_ENGINES_MAX : count;
}

int cmd_start(int argc, char **argv)
{
    struct parent_options options = {
        .command = "start", .with_controller = true, .use_nursery = true, .store = STORE_DEFAULTS};
    long count = default_count();
    long port = 0, hwm = 1, heartbeat_ms = 3000, end_with = 0;
    long max_tasks = 1000000, max_bytes = 1L << 30;
    char tags[PC_TAGS_MAX + 1] = "";
    const struct option_row rows[] = {
        {'n', "engines", OPTION_NUMBER, &count, "N", "number of engines (default: processors)",
         .min = 1, .max = PARENT_ENGINES_MAX},
        {0, "profile", OPTION_TEXT, &options.profile, "NAME", "profile (default: default)"},
        {0, "profile-dir", OPTION_TEXT, &options.profile_dir, "PATH",
         "folder of the profile, when it is elsewhere"},
        {0, "cluster-id", OPTION_TEXT, &options.cluster_id, "ID",
         "name of this cluster, to have several in one profile"},
        {0, "daemonize", OPTION_SET, &options.daemonize, NULL,
         "return when the engines have answered; log to a file of the profile"},
        {0, "ip", OPTION_TEXT, &options.ip, "ADDR", "listen on this address (default: 127.0.0.1)"},
        {0, "port", OPTION_NUMBER, &port, "PORT", "listen on this port (default: any free one)",
         .min = 0, .max = 65535},
        {0, "preload", OPTION_TEXT, &options.preload, "MOD,MOD",
         "import these modules once, before engines are forked"},
        {0, "tag", OPTION_TAGS, tags, "NAME",
         "what these engines are good for, for tasks that ask for it; may be repeated"},
        {0, "no-nursery", OPTION_CLEAR, &options.use_nursery, NULL,
         "start each engine from scratch instead of forking it"},
        {0, "python", OPTION_TEXT, &options.python, "PATH",
         "Python whose packages engines see (default: that of VIRTUAL_ENV)"},
        {0, "transport", OPTION_CHOICE, &options.transport, "WAY",
         "how engines connect: any, unix, tcp (default: any)", .choices = "any unix tcp"},
        {0, "scheme", OPTION_CHOICE, &options.scheme, "NAME",
         "how tasks are given to engines: " OPTIONS_SCHEMES " (default: leastload)",
         .choices = OPTIONS_SCHEMES},
        {0, "hwm", OPTION_NUMBER, &hwm, "N",
         "tasks outstanding per engine; 0: no limit (default: 1)", .min = 0,
         .max = OPTIONS_HWM_MAX},
        {0, "max-tasks", OPTION_NUMBER, &max_tasks, "N",
         "tasks that a client may have unfinished (default: 1000000)", .min = 1,
         .max = OPTIONS_TASKS_MAX},
        {0, "max-bytes", OPTION_SIZE, &max_bytes, "SIZE",
         "bytes that these may have, 64K, 2G ... (default: 1G)", .min = OPTIONS_BYTES_MIN,
         .max = OPTIONS_BYTES_MAX},
        STORE_ROWS(options.store),
        {0, "heartbeat", OPTION_NUMBER, &heartbeat_ms, "MS",
         "between two looks whether engines are there; see the manual (default: 3000)", .min = 50,
         .max = 3600000},
        {0, "log-file", OPTION_TEXT, &options.log_file, "PATH",
         "with --daemonize: log to this file instead of one of the profile"},
        {0, "log-level", OPTION_CHOICE, &options.log_level, "LEVEL",
         "error, warn, info, debug (default: warn; info with --daemonize)",
         .choices = "error warn info debug"},
        {0, "end-with", OPTION_NUMBER, &end_with, "PID", "stop when that process ends", .min = 1,
         .max = INT32_MAX},
        {0, "json", OPTION_SET, &options.as_json, NULL, "say in JSON what is ready"},
        {0},
    };
    const struct option_page page = {
        .command = "start",
        .operands = "",
        .about = "Starts a cluster and supervises it until Ctrl-C or 'pcluster stop'.",
        .rows = rows,
        .has_settings = true,
    };
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    options.tags = tags;
    options.end_with = end_with;
    options.engine_count = (uint32_t)count;
    options.port = (uint16_t)port;
    options.hwm = (uint32_t)hwm;
    options.max_tasks = max_tasks;
    options.max_bytes = max_bytes;
    options.heartbeat_ms = (uint32_t)heartbeat_ms;
    struct reload again = {.run = cmd_start, .argc = argc, .argv = argv};
    options.reload = reload_settings;
    options.reload_arg = &again;
    return parent_main(&options);
}
