/* SPDX-License-Identifier: BSD-3-Clause */
/* SIGHUP of a cluster that has no terminal: reads the settings again, and does what can be done
 * while it runs. */
#include "lib/clock.h"
#include "lib/log.h"
#include "parent/state.h"

static void set_log_level(struct parent *parent, const char *name)
{
    struct parent_role *roles[] = {&parent->scheduler, &parent->hub};
    int level = pc_log_level_parse(name), before = pc_log_level_parse(parent->log_level);
    if (level < 0 || level == before)
        return;
    /* That is said at the more talkative of the two. */
    pc_log_set_level((enum pc_log_level)(level > before ? level : before));
    pc_info("the log level is now '%s'", name);
    pc_log_set_level((enum pc_log_level)level);
    parent->log_level = name;
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (roles[i]->is_remote)
            continue;
        pc_json *body = pc_json_object();
        pc_json_put_str(body, "log_level", name);
        parent_role_send(roles[i], PC_MSG_CONFIG, body);
    }
}

/* Engines that were started or stopped by hand since then stay as they are. */
static void set_engine_count(struct parent *parent, uint32_t count)
{
    struct pc_err err;
    uint32_t before = parent->configured_count;
    if (count < before)
        pc_warn("the settings name %u engines now, and %u before: those that run stay until "
                "'pcluster engines stop' ends them",
                count, before);
    else if (count > before && parent_start_engines(parent, count - before, NULL, &err) < 0)
        pc_error("%s", err.text);
    parent->configured_count = count;
}

void parent_reload(struct parent *parent)
{
    const struct parent_options *options = parent->options;
    struct parent_settings fresh = {0};
    if (parent->state != PARENT_READY || !options->reload)
        return;
    parent_service_tell(&parent->service, "RELOADING=1\nMONOTONIC_USEC=%lld",
                        (long long)pc_clock_us());
    if (options->reload(options->reload_arg, &fresh) == 0) {
        set_log_level(parent, fresh.log_level ? fresh.log_level : parent_default_log_level(parent));
        set_engine_count(parent, fresh.engine_count);
    } else {
        pc_error("the settings are wrong, and stay as they were");
    }
    parent_service_tell(&parent->service, "READY=1");
}
