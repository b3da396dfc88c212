/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls of functions on a real engine, whose scheduler this test plays. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "cradle.h"
#include "engine/engine.h"
#include "lib/proto.h"
#include "lib/proto_task.h"

/* Pickles that can be read: the function abs, a name that nobody has, and ((-3,), {}). */
static const char abs_pickle[] = "cbuiltins\nabs\n.";
static const char missing_pickle[] = "cbuiltins\nthere_is_none\n.";
static const char arguments[] = "((I-3\nt}t.";

static void learn(struct cradle_engine *engine, const char *pickle)
{
    struct pc_msg *msg = pc_function_msg(pickle, strlen(pickle));
    assert_int_equal(pc_sock_send(&engine->work, msg, NULL), 0);
    pc_msg_unref(msg);
}

/* Sends a call of a function that is known, or (`is_named` false) sent along. */
static void call(struct cradle_engine *engine, const char *pickle, bool is_named)
{
    struct pc_msg *function = pc_function_msg(pickle, strlen(pickle));
    struct pc_run_body run = {.kind = PC_KIND_APPLY, .function = is_named ? function->body : NULL};
    uint8_t body[PC_RUN_NAMED_SIZE];
    size_t size = pc_run_encode(body, &run);
    struct pc_bytes parts[] = {{pickle, strlen(pickle)}, {arguments, sizeof(arguments) - 1}};
    struct pc_msg *msg =
        pc_msg_borrowing(PC_MSG_RUN, body, size, is_named ? parts + 1 : parts, is_named ? 1 : 2);
    msg->head.session = CRADLE_SESSION;
    msg->head.sequence = ++engine->sequence;
    assert_int_equal(pc_sock_send(&engine->work, msg, NULL), 0);
    pc_msg_unref(msg);
    pc_msg_unref(function);
}

static void expect(struct cradle_engine *engine, uint64_t sequence, uint8_t status,
                   const char *within)
{
    struct pc_result_body body;
    engine->sequence = sequence;
    struct pc_msg *msg = cradle_result(engine, NULL);
    assert_int_equal(pc_result_decode(msg, &body, NULL), 0);
    assert_int_equal(body.status, status);
    if (!memmem(msg->parts[0].data, msg->parts[0].size, within, strlen(within)))
        fail_msg("no '%s' in '%.*s'", within, (int)msg->parts[0].size, (char *)msg->parts[0].data);
    pc_msg_unref(msg);
    cradle_ack(engine, sequence);
}

static void functions_are_known_by_name(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    call(&engine, abs_pickle, false);
    expect(&engine, 1, PC_STATUS_OK, "K\x03.");
    learn(&engine, abs_pickle);
    learn(&engine, missing_pickle);
    call(&engine, abs_pickle, true);
    call(&engine, missing_pickle, true);
    call(&engine, abs_pickle, true);
    call(&engine, missing_pickle, true); /* it is looked for anew */
    expect(&engine, 2, PC_STATUS_OK, "K\x03.");
    expect(&engine, 3, PC_STATUS_ERROR, "there_is_none");
    expect(&engine, 4, PC_STATUS_OK, "K\x03.");
    expect(&engine, 5, PC_STATUS_ERROR, "there_is_none");
    cradle_run(&engine, PC_KIND_CLEAR, 0, "");
    pc_msg_unref(cradle_result(&engine, NULL));
    call(&engine, abs_pickle, true);
    expect(&engine, 7, PC_STATUS_OK, "K\x03.");
    cradle_dismiss(&cradle, &engine);
    cradle_close(&cradle);
}

/* While a task waits for room for results a function that comes after it waits, too: it may be what
 * makes the engine forget the one that the task needs. */
static void functions_keep_their_place(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    char other[32];
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    cradle_engine(&cradle, &engine);
    learn(&engine, abs_pickle);
    for (int i = 0; i < 3; i++) {
        cradle_run(&engine, PC_KIND_PULL, 0, "\"bytes(30 << 20)\"");
        pc_msg_unref(cradle_result(&engine, NULL));
    }
    call(&engine, abs_pickle, true);
    for (int i = 0; i < PC_KNOWN_COUNT_MAX; i++) {
        snprintf(other, sizeof(other), "cbuiltins\nname_%d\n.", i);
        learn(&engine, other);
    }
    call(&engine, other, true);
    assert_false(cradle_has_more(&engine.work));
    for (uint64_t i = 1; i <= 3; i++)
        cradle_ack(&engine, i);
    expect(&engine, 4, PC_STATUS_OK, "K\x03.");
    expect(&engine, 5, PC_STATUS_ERROR, "name_127");
    cradle_dismiss(&cradle, &engine);
    cradle_close(&cradle);
}

/* A controller that breaks the rules has lost this engine. */
static void unknown_names_end_the_lane(void **state)
{
    struct cradle cradle;
    struct cradle_engine engine;
    cradle_open(&cradle, "");
    cradle_ready(&cradle);
    for (int i = 0; i < 2; i++) {
        cradle_engine(&cradle, &engine);
        if (i)
            learn(&engine, abs_pickle);
        if (i)
            learn(&engine, abs_pickle); /* again */
        else
            call(&engine, abs_pickle, true);
        cradle_await_end(&engine.work);
        cradle_await_end(&engine.control);
        pc_json_free(cradle_exit(&cradle, &engine));
        cradle_engine_close(&engine);
    }
    cradle_close(&cradle);
}

int main(int argc, char **argv)
{
    /* What the nursery starts with use_nursery false is this executable. */
    if (argc == 3 && strcmp(argv[1], "--role") == 0)
        return strcmp(argv[2], "engine") == 0 ? engine_main() : 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_known_by_name),
        cmocka_unit_test(functions_keep_their_place),
        cmocka_unit_test(unknown_names_end_the_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
