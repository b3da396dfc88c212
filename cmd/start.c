/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster start: controller and engines on this machine. */
#include <sched.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/launch.h"

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
    struct launch start = LAUNCH_DEFAULTS;
    start.options.with_controller = true;
    start.engine_count = default_count();
    const struct option_row rows[] = {
        {'n', "engines", OPTION_NUMBER, &start.engine_count, "N",
         "number of engines (default: processors)", .min = 1, .max = PARENT_ENGINES_MAX},
        {0},
    };
    const struct option_page page = {
        .command = "start",
        .operands = "",
        .about = "Starts a cluster and supervises it until Ctrl-C or 'pcluster stop'.",
        .rows = rows,
        .shared = {{launch_engine_rows, &start},
                   {ask_name_rows, &start.where},
                   {launch_rows, &start},
                   {launch_controller_rows, &start}},
        .has_settings = true,
    };
    return launch(&start, &page, cmd_start, argc, argv);
}
