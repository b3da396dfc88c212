/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster controller: hub and scheduler without engines. */
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/reload.h"
#include "cmd/store.h"
#include "parent/parent.h"

int cmd_controller(int argc, char **argv)
{
    struct parent_options options = {.command = "controller",
                                     .with_controller = true,
                                     .use_nursery = true,
                                     .store = STORE_DEFAULTS};
    long port = 0, hwm = 1, heartbeat_ms = 3000, end_with = 0;
    long max_tasks = 1000000, max_bytes = 1L << 30;
    const struct option_row rows[] = {
        {0, "profile", OPTION_TEXT, &options.profile, "NAME", "profile (default: default)"},
        {0, "profile-dir", OPTION_TEXT, &options.profile_dir, "PATH",
         "folder of the profile, when it is elsewhere"},
        {0, "cluster-id", OPTION_TEXT, &options.cluster_id, "ID",
         "name of this cluster, to have several in one profile"},
        {0, "daemonize", OPTION_SET, &options.daemonize, NULL,
         "return when it is ready; log to a file of the profile"},
        {0, "ip", OPTION_TEXT, &options.ip, "ADDR", "listen on this address (default: 127.0.0.1)"},
        {0, "port", OPTION_NUMBER, &port, "PORT", "listen on this port (default: any free one)",
         .min = 0, .max = 65535},
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
        .command = "controller",
        .operands = "",
        .about = "Starts a controller; engines are added with 'pcluster engine', here or on other\n"
                 "machines that have its file security/pcluster-engine.json.",
        .rows = rows,
        .has_settings = true,
    };
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    options.end_with = end_with;
    options.port = (uint16_t)port;
    options.hwm = (uint32_t)hwm;
    options.max_tasks = max_tasks;
    options.max_bytes = max_bytes;
    options.heartbeat_ms = (uint32_t)heartbeat_ms;
    struct reload again = {.run = cmd_controller, .argc = argc, .argv = argv};
    options.reload = reload_settings;
    options.reload_arg = &again;
    return parent_main(&options);
}
