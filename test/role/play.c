/* SPDX-License-Identifier: BSD-3-Clause */
#include "play.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "lib/proto.h"
#include "lib/proto_task.h"

struct pc_client *play_open(struct stage *stage, enum pc_transport transport)
{
    struct pc_client *client;
    struct pc_err err;
    char *text = pc_connfile_print(&stage->client);
    struct pc_connect how = {.json = text, .transport = transport, .timeout_ms = STAGE_LIMIT_MS};
    if (pc_client_open(&client, &how, &err))
        fail_msg("%s", err.text);
    free(text);
    return client;
}

/* Fails to open; returns the error's code. */
enum pc_errc play_open_fails(const struct pc_connfile *file, enum pc_transport transport,
                             struct pc_err *err)
{
    struct pc_client *client;
    char *text = pc_connfile_print(file);
    struct pc_connect how = {.json = text, .transport = transport, .timeout_ms = STAGE_LIMIT_MS};
    assert_int_equal(pc_client_open(&client, &how, err), -1);
    free(text);
    return err->code;
}

struct pc_call *play_submit(struct pc_client *client, const uint32_t *target, const char *source)
{
    struct pc_call *call;
    struct pc_err err;
    struct pc_bytes part = {source, strlen(source)};
    struct pc_request request = {.kind = PC_KIND_EXECUTE,
                                 .is_balanced = !target,
                                 .targets = target,
                                 .target_count = target ? 1 : 0,
                                 .parts = &part,
                                 .part_count = 1};
    if (pc_submit(client, &request, &call, &err))
        fail_msg("%s", err.text);
    return call;
}

void play_wait(struct pc_client *client, struct pc_call *call)
{
    struct pc_err err;
    while (pc_wait(client, &call, 1, STAGE_LIMIT_MS, &err))
        if (err.code != PC_E_INTERRUPTED)
            fail_msg("%s", err.text);
}

void play_expect_part(struct pc_call *call, const char *text)
{
    void *data;
    size_t size;
    assert_int_equal(pc_call_part(call, 0, &data, &size), 0);
    if (size != strlen(text))
        fail_msg("'%.*s' instead of '%s'", (int)size, (char *)data, text);
    assert_memory_equal(data, text, size);
}

void play_expect_error(struct pc_call *call, const char *ename, const char *within)
{
    void *data;
    size_t size;
    assert_int_equal(pc_call_status(call), PC_STATUS_FAILED);
    assert_int_equal(pc_call_part(call, 0, &data, &size), 0);
    pc_json *json = pc_json_parse(data, size, NULL);
    assert_string_equal(pc_json_str_or(json, "ename", ""), ename);
    if (!strstr(pc_json_str_or(json, "evalue", ""), within))
        fail_msg("'%s' does not contain '%s'", pc_json_str_or(json, "evalue", ""), within);
    pc_json_free(json);
}

/* One call there and back: the scheduler is well. */
void play_check(struct stage *stage, struct fake_engine *engine)
{
    struct pc_client *client = play_open(stage, PC_TRANSPORT_UNIX);
    struct pc_call *call = play_submit(client, &engine->id, "1 + 1");
    struct pc_msg *run = stage_await(&engine->work, PC_MSG_RUN);
    fake_engine_answer(engine, run, "two");
    pc_msg_unref(run);
    play_wait(client, call);
    play_expect_part(call, "two");
    pc_call_unref(call);
    pc_client_close(client);
}
