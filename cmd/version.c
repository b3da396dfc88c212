/* SPDX-License-Identifier: BSD-3-Clause */
/* pcluster version: this program and every library in it. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/table.h"
#include "engine/engine.h"
#include "lib/conn.h"
#include "lib/json.h"
#include "lib/key.h"
#include "lib/proto.h"

int cmd_version(int argc, char **argv)
{
    bool as_json = false;
    const struct option_page page = {
        .command = "version",
        .operands = "",
        .about = "Shows the version of pcluster, of the libraries it runs with, and of the Python\n"
                 "that engines embed.",
        .shared = {{option_json_rows, &as_json}},
    };
    int exit_code;
    if (options_read(&page, argc, argv, &exit_code) < 0)
        return exit_code;
    pc_json *versions = pc_json_object();
    pc_json_put_str(versions, "pcluster", pc_version());
    pc_json_put_i64(versions, "protocol", PC_PROTOCOL_VERSION);
    pc_json_put_str(versions, "python", engine_python_version());
    pc_json_put_str(versions, "libuv", uv_version_string());
    pc_json_put_str(versions, "libsodium", pc_key_library_version());
    pc_json_put_str(versions, "cjson", pc_json_library_version());
    if (as_json) {
        json_show(versions);
    } else {
        for (const pc_json *one = pc_json_first(versions); one; one = pc_json_next(one)) {
            if (pc_json_text(one))
                printf("%-10s %s\n", pc_json_name(one), pc_json_text(one));
            else
                printf("%-10s %.0f\n", pc_json_name(one), pc_json_number(one));
        }
    }
    pc_json_free(versions);
    return CMD_OK;
}
