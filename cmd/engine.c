/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster engine: engines on this machine, for a controller that runs already. */
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/reload.h"
#include "lib/tags.h"
#include "parent/parent.h"

int cmd_engine(int argc, char **argv)
{
    struct parent_options options = {.command = "engine", .use_nursery = true};
    long count = 1, end_with = 0;
    char tags[PC_TAGS_MAX + 1] = "";
    const struct option_row rows[] = {
        {'n', "engines", OPTION_NUMBER, &count, "N", "number of engines (default: 1)", .min = 1,
         .max = PARENT_ENGINES_MAX},
        {0, "file", OPTION_TEXT, &options.engine_file, "PATH",
         "connection file (default: pcluster-engine.json of the profile)"},
        {0, "profile", OPTION_TEXT, &options.profile, "NAME", "profile (default: default)"},
        {0, "profile-dir", OPTION_TEXT, &options.profile_dir, "PATH",
         "folder of the profile, when it is elsewhere"},
        {0, "cluster-id", OPTION_TEXT, &options.cluster_id, "ID",
         "name of the cluster, when a profile has several"},
        {0, "daemonize", OPTION_SET, &options.daemonize, NULL,
         "return when the engines have answered; log to a file of the profile"},
        {0, "preload", OPTION_TEXT, &options.preload, "MOD,MOD",
         "import these modules once, before engines are forked"},
        {0, "tag", OPTION_TAGS, tags, "NAME",
         "what these engines are good for, for tasks that ask for it; may be repeated"},
        {0, "no-nursery", OPTION_CLEAR, &options.use_nursery, NULL,
         "start each engine from scratch instead of forking it"},
        {0, "python", OPTION_TEXT, &options.python, "PATH",
         "Python whose packages engines see (default: that of VIRTUAL_ENV)"},
        {0, "transport", OPTION_CHOICE, &options.transport, "WAY",
         "how to connect: any, unix, tcp (default: any)", .choices = "any unix tcp"},
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
        .command = "engine",
        .operands = "",
        .about = "Starts engines that connect to the controller a connection file names, and\n"
                 "supervises them until Ctrl-C or until the controller goes away.",
        .rows = rows,
        .has_settings = true,
    };
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    options.tags = tags;
    options.end_with = end_with;
    options.engine_count = (uint32_t)count;
    struct reload again = {.run = cmd_engine, .argc = argc, .argv = argv};
    options.reload = reload_settings;
    options.reload_arg = &again;
    return parent_main(&options);
}
