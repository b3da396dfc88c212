/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster controller: hub and scheduler without engines. */
#include "cmd/cmd.h"
#include "cmd/launch.h"

int cmd_controller(int argc, char **argv)
{
    struct launch controller = LAUNCH_DEFAULTS;
    controller.options.with_controller = true;
    controller.engine_count = 0;
    const struct option_page page = {
        .command = "controller",
        .operands = "",
        .about = "Starts a controller; engines are added with 'pcluster engine', here or on other\n"
                 "machines that have its file security/pcluster-engine.json.",
        .shared = {{ask_name_rows, &controller.where},
                   {launch_rows, &controller},
                   {launch_controller_rows, &controller}},
        .has_settings = true,
    };
    return launch(&controller, &page, cmd_controller, argc, argv);
}
