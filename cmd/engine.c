/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster engine: engines on this machine, for a controller that runs already. */
#include "cmd/cmd.h"
#include "cmd/launch.h"

int cmd_engine(int argc, char **argv)
{
    struct launch engine = LAUNCH_DEFAULTS;
    const struct option_row rows[] = {
        {'n', "engines", OPTION_NUMBER, &engine.engine_count, "N", "number of engines (default: 1)",
         .min = 1, .max = PARENT_ENGINES_MAX},
        {0, "file", OPTION_TEXT, &engine.options.engine_file, "PATH",
         "connection file (default: pcluster-engine.json of the profile)"},
        {0},
    };
    const struct option_page page = {
        .command = "engine",
        .operands = "",
        .about = "Starts engines that connect to the controller a connection file names, and\n"
                 "supervises them until Ctrl-C or until the controller goes away.",
        .rows = rows,
        .shared = {{launch_engine_rows, &engine},
                   {ask_name_rows, &engine.where},
                   {launch_rows, &engine}},
        .has_settings = true,
    };
    return launch(&engine, &page, cmd_engine, argc, argv);
}
