/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/reload.h"

#include <string.h>

#include "cmd/options.h"

struct reading {
    const struct reload *reload;
    struct parent_settings *fresh;
    int status;
};

static void read_page(const struct option_page *page, void *arg)
{
    struct reading *reading = arg;
    const struct reload *reload = reading->reload;
    int exit_code;
    if (options_fill(page, reload->argc, reload->argv, &exit_code) < 0)
        return;
    for (const struct option_row *row = page->rows; row->name; row++) {
        if (strcmp(row->name, "log-level") == 0)
            reading->fresh->log_level = *(const char **)row->value;
        if (strcmp(row->name, "engines") == 0)
            reading->fresh->engine_count = (uint32_t) * (long *)row->value;
        if (strcmp(row->name, "keep-keys") == 0)
            reading->fresh->keep_keys = *(const bool *)row->value;
    }
    reading->status = 0;
}

int reload_settings(void *reload, struct parent_settings *fresh)
{
    struct reading reading = {.reload = reload, .fresh = fresh, .status = -1};
    options_visit(reading.reload->run, read_page, &reading);
    return reading.status;
}
