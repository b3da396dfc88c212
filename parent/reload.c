/* SPDX-License-Identifier: BSD-3-Clause */
/* SIGHUP of a cluster that has no terminal: reads the settings again, and does what can be done
 * while it runs. */
#include "lib/clock.h"
#include "lib/log.h"
#include "parent/state.h"

/* Fewer engines are no hurry: what runs may well end by itself. */
#define FEWER_GRACE_MS 60000

/* ---- how much is said ------------------------------------------------------------------- */

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

/* ---- how many engines ------------------------------------------------------------------- */

/* The scheduler knows which have nothing to do; it sends back an END that names them. */
static void end_engines(struct parent *parent, uint32_t count)
{
    pc_json *body = pc_json_object();
    pc_info("stopping %u engine%s: fewer are set", count, count == 1 ? "" : "s");
    pc_json_put_i64(body, "count", count);
    pc_json_put_i64(body, "grace_ms", FEWER_GRACE_MS);
    parent_role_send(&parent->scheduler, PC_MSG_END, body);
}

/* Engines that were started or stopped by hand since then stay as they are. */
static void set_engine_count(struct parent *parent, uint32_t count)
{
    struct pc_err err;
    uint32_t before = parent->configured_count;
    if (count < before)
        end_engines(parent, before - count);
    else if (count > before && parent_start_engines(parent, count - before, NULL, &err) < 0)
        pc_error("%s", err.text);
    parent->configured_count = count;
}

/* ---- keys ------------------------------------------------------------------------------- */

/* Engines from now on have the key, and the level, that is in force. */
static void tell_nursery(struct parent *parent)
{
    if (parent->nursery.has_conn)
        parent_role_send(&parent->nursery, PC_MSG_CONFIG, parent_nursery_config(parent));
}

/* First the scheduler has to know them. Who has read the files as they were gets in meanwhile. */
static void renew_keys(struct parent *parent)
{
    parent_files_renew(&parent->files);
    parent->has_new_keys = true;
    parent_role_send(&parent->scheduler, PC_MSG_CONFIG, parent_keys_config(parent));
}

void parent_keys_hold(struct parent *parent)
{
    struct pc_err err;
    parent->has_new_keys = false;
    if (parent->state >= PARENT_STOPPING)
        return;
    tell_nursery(parent);
    if (parent_files_write(&parent->files, &err) < 0)
        pc_error("the new keys are in no file: %s; then send SIGHUP again", err.text);
    else
        pc_info("new keys: who connects from now on needs a new copy of the connection file");
    parent_service_tell(&parent->service, "READY=1");
}

/* On a machine of engines the file is somebody else's: perhaps it is a new one. */
static void read_key(struct parent *parent)
{
    struct pc_err err;
    if (parent_read_engine_file(parent, &err) < 0)
        pc_error("engines that are started from now on may not be let in: %s", err.text);
}

void parent_reload(struct parent *parent)
{
    const struct parent_options *options = parent->options;
    struct parent_settings fresh = {0};
    bool has_controller = options->with_controller;
    if (parent->state != PARENT_READY || !options->reload)
        return;
    parent_service_tell(&parent->service, "RELOADING=1\nMONOTONIC_USEC=%lld",
                        (long long)pc_clock_us());
    if (options->reload(options->reload_arg, &fresh) == 0) {
        set_log_level(parent, fresh.log_level ? fresh.log_level : parent_default_log_level(parent));
        if (!has_controller)
            read_key(parent);
        else if (!fresh.keep_keys)
            renew_keys(parent);
        if (!parent->has_new_keys)
            tell_nursery(parent);
        set_engine_count(parent, fresh.engine_count);
    } else {
        pc_error("the settings are wrong, and stay as they were");
    }
    if (!parent->has_new_keys)
        parent_service_tell(&parent->service, "READY=1");
}
