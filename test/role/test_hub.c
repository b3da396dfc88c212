/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub in a process of its own; this test is its parent and its scheduler. */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hub/hub.h"
#include "lib/json.h"
#include "lib/proto.h"
#include "lib/proto_record.h"
#include "lib/proto_task.h"
#include "lib/sock.h"
#include "lib/spawn.h"

#define LIMIT_MS 20000 /* nothing here takes so long unless it hangs */

struct stage {
    pid_t pid;
    struct pc_sock parent, scheduler; /* our ends */
    int journal[2];
    char host[256];
};

/* ---- talking ---------------------------------------------------------------------------- */

static void send_text(struct pc_sock *sock, uint8_t type, uint64_t sequence, const char *text)
{
    struct pc_msg *msg = pc_msg_with_body(type, text, strlen(text));
    msg->head.session = 0xabc;
    msg->head.sequence = sequence;
    assert_int_equal(pc_sock_send(sock, msg, NULL), 0);
    pc_msg_unref(msg);
}

static struct pc_msg *await(struct pc_sock *sock, uint8_t type)
{
    struct pc_err err;
    struct pc_msg *msg;
    while ((msg = pc_sock_receive(sock, LIMIT_MS, &err)) != NULL &&
           msg->head.type == PC_MSG_RECORDED && type != PC_MSG_RECORDED)
        pc_msg_unref(msg); /* it acknowledges in its own time */
    if (!msg)
        fail_msg("no %s: %s", pc_msg_name(type), err.text);
    assert_int_equal(msg->head.type, type);
    return msg;
}

static int role_end(struct stage *stage)
{
    int status;
    assert_int_equal(waitpid(stage->pid, &status, 0), stage->pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void run_role(int parent, int scheduler, const int journal[2])
{
    int fds[] = {parent, scheduler, journal[0], journal[1]};
    for (int i = 0; i < 4; i++)
        fds[i] = fcntl(fds[i], F_DUPFD, 20);
    for (int i = 0; i < 4; i++)
        dup2(fds[i], PC_ROLE_FD + i);
    pc_close_from(PC_ROLE_FD + 4, NULL, 0);
    exit(hub_main());
}

/* Returns how many messages it says that it has. */
static uint64_t start(struct stage *stage)
{
    int parent[2], scheduler[2];
    assert_int_equal(pc_socketpair(parent, NULL), 0);
    assert_int_equal(pc_socketpair(scheduler, NULL), 0);
    fflush(NULL);
    stage->pid = fork();
    assert_true(stage->pid >= 0);
    if (stage->pid == 0) {
        int journal[] = {stage->journal[0], stage->journal[1]};
        free(stage); /* only what the hub itself leaks is to be seen */
        run_role(parent[1], scheduler[1], journal);
    }
    close(parent[1]);
    close(scheduler[1]);
    pc_sock_init(&stage->parent, parent[0], PC_FROM_HUB);
    pc_sock_init(&stage->scheduler, scheduler[0], PC_FROM_HUB);
    send_text(&stage->parent, PC_MSG_CONFIG, 0,
              "{\"cluster_id\":\"c\",\"profile\":\"p\",\"instance\":\"i\",\"url\":\"tcp://x:1\","
              "\"unix\":null,\"log_level\":\"error\",\"controller_pid\":7,\"scheduler_pid\":8,"
              "\"started_us\":9,\"store_tasks\":10000,\"has_journal\":true}");
    pc_msg_unref(await(&stage->parent, PC_MSG_READY));
    struct pc_msg *greeting = await(&stage->scheduler, PC_MSG_RECORDED);
    assert_int_equal(greeting->head.body_size, 8);
    uint64_t recorded = pc_load_u64(greeting->body);
    pc_msg_unref(greeting);
    return recorded;
}

static int open_stage(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    assert_non_null(stage);
    gethostname(stage->host, sizeof(stage->host) - 1);
    for (int i = 0; i < 2; i++)
        stage->journal[i] = memfd_create("journal", MFD_CLOEXEC);
    assert_int_equal(start(stage), 0);
    *state = stage;
    return 0;
}

/* Killed, and started again: what it was sent before was acknowledged. */
static uint64_t start_again(struct stage *stage)
{
    assert_int_equal(kill(stage->pid, SIGKILL), 0);
    assert_int_equal(waitpid(stage->pid, NULL, 0), stage->pid);
    pc_sock_close(&stage->parent);
    pc_sock_close(&stage->scheduler);
    return start(stage);
}

static int close_stage(void **state)
{
    struct stage *stage = *state;
    pc_sock_close(&stage->parent);
    pc_sock_close(&stage->scheduler);
    close(stage->journal[0]);
    close(stage->journal[1]);
    free(stage);
    return 0;
}

/* The parent's end of file ends the role. */
static void end(struct stage *stage)
{
    pc_sock_close(&stage->parent);
    assert_int_equal(role_end(stage), 0);
}

/* ---- asking ----------------------------------------------------------------------------- */

static pc_json *ask(struct stage *stage, const char *text)
{
    send_text(&stage->scheduler, PC_MSG_QUERY, 77, text);
    struct pc_msg *msg = await(&stage->scheduler, PC_MSG_REPLY);
    assert_int_equal(msg->head.session, 0xabc);
    assert_int_equal(msg->head.sequence, 77);
    pc_json *json = pc_json_of_msg(msg, NULL);
    assert_non_null(json);
    pc_msg_unref(msg);
    return json;
}

static void expect_refused(struct stage *stage, const char *question, const char *within)
{
    pc_json *reply = ask(stage, question);
    assert_false(pc_json_bool_or(reply, "ok", true));
    const char *error = pc_json_str_or(reply, "error", "");
    if (!strstr(error, within))
        fail_msg("'%s' is not in '%s'", within, error);
    pc_json_free(reply);
}

static uint32_t engine_up(struct stage *stage, uint64_t sequence, int pid)
{
    char text[400];
    uint32_t id;
    snprintf(text, sizeof(text),
             "{\"uuid\":\"%032d\",\"pid\":%d,\"host\":\"%s\",\"python\":\"3.11\"}", pid, pid,
             stage->host);
    send_text(&stage->scheduler, PC_MSG_ENGINE_UP, sequence, text);
    struct pc_msg *msg = await(&stage->scheduler, PC_MSG_ENGINE_ID);
    assert_int_equal(msg->head.sequence, sequence);
    pc_json *json = pc_json_of_msg(msg, NULL);
    assert_int_equal(pc_json_get_u32(json, "id", &id, NULL), 0);
    assert_int_equal(atoi(pc_json_str_or(json, "uuid", "")), pid);
    pc_json_free(json);
    pc_msg_unref(msg);
    snprintf(text, sizeof(text), "{\"full\":false,\"up\":[{\"id\":%u}]}", id);
    send_text(&stage->scheduler, PC_MSG_ENGINES, 0, text);
    return id;
}

static void engine_down(struct stage *stage, uint32_t id)
{
    char text[100];
    snprintf(text, sizeof(text), "{\"id\":%u,\"reason\":\"test %u\"}", id, id);
    send_text(&stage->scheduler, PC_MSG_ENGINE_DOWN, 0, text);
}

static void send_records(struct stage *stage, const struct pc_record *records, size_t count)
{
    struct pc_buf body;
    pc_buf_init(&body, 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pc_record_encode(&body, &records[i], NULL), 0);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECORDS, body.data, body.size);
    assert_int_equal(pc_sock_send(&stage->scheduler, msg, NULL), 0);
    pc_msg_unref(msg);
    pc_buf_fini(&body);
}

static void record(struct stage *stage, enum pc_record_event event, uint64_t sequence,
                   uint32_t engine, uint8_t status)
{
    struct pc_record one = {.event = (uint8_t)event,
                            .kind = PC_KIND_APPLY,
                            .status = status,
                            .engine_id = engine,
                            .session = 5,
                            .sequence = sequence,
                            .time_us = 1000 + (int64_t)sequence};
    send_records(stage, &one, 1);
}

static void expect_engine(struct stage *stage, size_t index, const char *state_name, int done,
                          int failed, int queue)
{
    pc_json *status = ask(stage, "{\"query\":\"status\"}");
    const pc_json *row = pc_json_item(pc_json_member(status, "engines"), index);
    assert_non_null(row);
    assert_string_equal(pc_json_str_or(row, "state", "?"), state_name);
    assert_int_equal(pc_json_i64_or(row, "tasks_done", -1), done);
    assert_int_equal(pc_json_i64_or(row, "tasks_failed", -1), failed);
    assert_int_equal(pc_json_i64_or(row, "queue", -1), queue);
    pc_json_free(status);
}

static void expect_totals(struct stage *stage, int submitted, int done, int failed, int pending)
{
    pc_json *status = ask(stage, "{\"query\":\"status\",\"memory\":false}");
    const pc_json *tasks = pc_json_member(status, "tasks");
    assert_int_equal(pc_json_i64_or(tasks, "submitted", -1), submitted);
    assert_int_equal(pc_json_i64_or(tasks, "done", -1), done);
    assert_int_equal(pc_json_i64_or(tasks, "failed", -1), failed);
    assert_int_equal(pc_json_i64_or(tasks, "pending", -1), pending);
    pc_json_free(status);
}

/* ---- tests ------------------------------------------------------------------------------ */

static void status_tells_what_config_said(void **state)
{
    struct stage *stage = *state;
    pc_json *status = ask(stage, "{\"query\":\"status\"}");
    assert_true(pc_json_bool_or(status, "ok", false));
    assert_string_equal(pc_json_str_or(status, "cluster_id", ""), "c");
    assert_string_equal(pc_json_str_or(status, "profile", ""), "p");
    assert_string_equal(pc_json_str_or(status, "url", ""), "tcp://x:1");
    assert_null(pc_json_str_or(status, "unix", NULL));
    assert_int_equal(pc_json_i64_or(status, "started_us", 0), 9);
    const pc_json *pids = pc_json_member(status, "pids");
    assert_int_equal(pc_json_i64_or(pids, "parent", 0), 7);
    assert_int_equal(pc_json_i64_or(pids, "scheduler", 0), 8);
    assert_int_equal(pc_json_i64_or(pids, "hub", 0), stage->pid);
    pc_json_free(status);
    end(stage);
}

static void bad_questions_are_answered(void **state)
{
    struct stage *stage = *state;
    expect_refused(stage, "", "");
    expect_refused(stage, "{", "");
    expect_refused(stage, "[]", "object");
    expect_refused(stage, "{}", "query");
    expect_refused(stage, "{\"query\":7}", "query");
    expect_refused(stage, "{\"query\":\"fly\"}", "unknown query 'fly'");
    expect_totals(stage, 0, 0, 0, 0);
    end(stage);
}

static void ids_rise_and_are_not_reused(void **state)
{
    struct stage *stage = *state;
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(engine_up(stage, 100 + i, 1000 + (int)i), i);
    engine_down(stage, 3);
    engine_down(stage, 1);
    assert_int_equal(engine_up(stage, 5, 2000), 4);
    expect_engine(stage, 1, "down", 0, 0, 0);
    expect_engine(stage, 4, "idle", 0, 0, 0);
    end(stage);
}

static void only_the_latest_dead_are_listed(void **state)
{
    struct stage *stage = *state;
    for (int i = 0; i < 200; i++) {
        uint32_t id = engine_up(stage, 1, 1000 + i);
        if (id != 0)
            engine_down(stage, id);
    }
    pc_json *status = ask(stage, "{\"query\":\"status\",\"memory\":false}");
    const pc_json *engines = pc_json_member(status, "engines");
    assert_int_equal(pc_json_count(engines), 65);
    assert_int_equal(pc_json_i64_or(pc_json_item(engines, 0), "id", -1), 0);
    assert_int_equal(pc_json_i64_or(pc_json_item(engines, 1), "id", -1), 136);
    assert_string_equal(pc_json_str_or(pc_json_item(engines, 64), "reason", ""), "test 199");
    pc_json_free(status);
    end(stage);
}

static void memory_is_that_of_the_process(void **state)
{
    struct stage *stage = *state;
    engine_up(stage, 1, (int)getpid());
    engine_up(stage, 2, 0x7ffffff0); /* no such process */
    pc_json *status = ask(stage, "{\"query\":\"status\"}");
    const pc_json *engines = pc_json_member(status, "engines");
    assert_in_range(pc_json_i64_or(pc_json_item(engines, 0), "memory_bytes", -1), 10000,
                    INT64_C(1) << 40);
    assert_int_equal(pc_json_i64_or(pc_json_item(engines, 1), "memory_bytes", -1), -1);
    pc_json_free(status);
    end(stage);
}

static void a_task_is_counted_at_each_step(void **state)
{
    struct stage *stage = *state;
    engine_up(stage, 1, 1000);
    record(stage, PC_RECORD_SUBMITTED, 1, 0, 0); /* direct */
    record(stage, PC_RECORD_SUBMITTED, 2, 0, 0);
    record(stage, PC_RECORD_SUBMITTED, 3, PC_NO_ENGINE, 0); /* balanced: no engine yet */
    expect_engine(stage, 0, "idle", 0, 0, 2);
    record(stage, PC_RECORD_STARTED, 1, 0, 0);
    expect_engine(stage, 0, "busy", 0, 0, 2);
    record(stage, PC_RECORD_ENDED, 1, 0, PC_STATUS_OK);
    expect_engine(stage, 0, "idle", 1, 0, 1);
    record(stage, PC_RECORD_STARTED, 3, 0, 0);
    expect_engine(stage, 0, "busy", 1, 0, 2);
    record(stage, PC_RECORD_ENDED, 3, 0, PC_STATUS_ERROR);
    record(stage, PC_RECORD_ENDED, 3, 0, PC_STATUS_ERROR);  /* said twice, counted once */
    record(stage, PC_RECORD_ENDED, 2, 0, PC_STATUS_FAILED); /* never began */
    expect_engine(stage, 0, "idle", 1, 2, 0);
    expect_totals(stage, 3, 1, 2, 0);
    end(stage);
}

static void tasks_of_a_dead_engine_are_not_in_its_queue(void **state)
{
    struct stage *stage = *state;
    engine_up(stage, 1, 1000);
    record(stage, PC_RECORD_SUBMITTED, 1, 0, 0);
    record(stage, PC_RECORD_STARTED, 1, 0, 0);
    record(stage, PC_RECORD_SUBMITTED, 2, 0, 0);
    engine_down(stage, 0);
    expect_engine(stage, 0, "down", 0, 0, 0);
    record(stage, PC_RECORD_ENDED, 1, 0, PC_STATUS_FAILED);
    record(stage, PC_RECORD_ENDED, 2, 0, PC_STATUS_FAILED);
    expect_engine(stage, 0, "down", 0, 2, 0);
    expect_totals(stage, 2, 0, 2, 0);
    end(stage);
}

static void the_latest_tasks_come_first(void **state)
{
    struct stage *stage = *state;
    record(stage, PC_RECORD_SUBMITTED, 1, PC_NO_ENGINE, 0);
    record(stage, PC_RECORD_SUBMITTED, 2, 3, 0);
    record(stage, PC_RECORD_STARTED, 2, 3, 0);
    pc_json *reply = ask(stage, "{\"query\":\"find\",\"newest\":true,\"limit\":1}");
    const pc_json *rows = pc_json_member(reply, "rows");
    assert_int_equal(pc_json_count(rows), 1);
    const pc_json *row = pc_json_first(rows);
    assert_string_equal(pc_json_str_or(row, "msg_id", ""), "0000000000000005_2");
    assert_int_equal(pc_json_i64_or(row, "engine_id", 0), 3);
    assert_string_equal(pc_json_str_or(row, "state", ""), "running");
    assert_int_equal(pc_json_i64_or(reply, "next", 0), 2);
    pc_json_free(reply);
    reply = ask(stage, "{\"query\":\"find\",\"newest\":true,\"after\":2}");
    rows = pc_json_member(reply, "rows");
    assert_int_equal(pc_json_count(rows), 1);
    row = pc_json_first(rows);
    assert_true(pc_json_is_null(pc_json_member(row, "engine_id")));
    assert_string_equal(pc_json_str_or(row, "state", ""), "waiting");
    assert_true(pc_json_is_null(pc_json_member(reply, "next")));
    pc_json_free(reply);
    end(stage);
}

/* However many tasks there were, memory is bounded and the counters are right. */
static void memory_is_bounded(void **state)
{
    enum { BATCH = 1000, BATCHES = 300 };
    struct stage *stage = *state;
    static struct pc_record records[3 * BATCH];
    char path[64], line[256];
    long pss_kb = -1;
    engine_up(stage, 1, 1000);
    for (uint64_t batch = 0; batch < BATCHES; batch++) {
        for (uint64_t i = 0; i < 3 * BATCH; i++)
            records[i] = (struct pc_record){.event = (uint8_t)(1 + i % 3),
                                            .status = i % 3 == 2 ? PC_STATUS_OK : 0,
                                            .engine_id = 0,
                                            .session = 5,
                                            .sequence = batch * BATCH + i / 3};
        send_records(stage, records, 3 * BATCH);
    }
    expect_totals(stage, BATCH * BATCHES, BATCH * BATCHES, 0, 0);
    expect_engine(stage, 0, "idle", BATCH * BATCHES, 0, 0);
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)stage->pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file))
        sscanf(line, "Pss: %ld", &pss_kb);
    if (file)
        fclose(file);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_in_range(pss_kb, 1, 10000);
#endif
    end(stage);
}

/* Many more pending than are remembered: what is forgotten leaves the queue, and none is lost. */
static void forgotten_tasks_are_still_counted(void **state)
{
    enum { COUNT = 20000 };
    struct stage *stage = *state;
    static struct pc_record records[COUNT];
    engine_up(stage, 1, 1000);
    for (uint64_t i = 0; i < COUNT; i++)
        records[i] = (struct pc_record){.event = PC_RECORD_SUBMITTED, .session = 5, .sequence = i};
    for (size_t i = 0; i < COUNT; i += 1000)
        send_records(stage, records + i, 1000);
    expect_totals(stage, COUNT, 0, 0, COUNT);
    for (uint64_t i = 0; i < COUNT; i++) {
        records[i].event = PC_RECORD_ENDED;
        records[i].status = PC_STATUS_OK;
    }
    for (size_t i = 0; i < COUNT; i += 1000)
        send_records(stage, records + i, 1000);
    expect_totals(stage, COUNT, COUNT, 0, 0);
    expect_engine(stage, 0, "idle", COUNT, 0, 0);
    end(stage);
}

static void clients_come_and_go(void **state)
{
    struct stage *stage = *state;
    const char *up[] = {"{\"session\":\"00000000000000aa\",\"pid\":1,\"host\":\"h\"}",
                        "{\"session\":\"00000000000000bb\",\"pid\":2,\"host\":\"h\"}",
                        "{\"session\":\"00000000000000aa\",\"pid\":1,\"host\":\"h\"}"};
    for (size_t i = 0; i < 3; i++)
        send_text(&stage->scheduler, PC_MSG_CLIENT_UP, 0, up[i]);
    pc_json *status = ask(stage, "{\"query\":\"status\"}");
    assert_int_equal(pc_json_i64_or(status, "clients", -1), 2);
    pc_json_free(status);
    send_text(&stage->scheduler, PC_MSG_CLIENT_DOWN, 0, "{\"session\":\"00000000000000aa\"}");
    send_text(&stage->scheduler, PC_MSG_CLIENT_DOWN, 0, "{\"session\":\"00000000000000cc\"}");
    status = ask(stage, "{\"query\":\"status\"}");
    assert_int_equal(pc_json_i64_or(status, "clients", -1), 1);
    pc_json_free(status);
    end(stage);
}

static void shutdown_and_ping(void **state)
{
    struct stage *stage = *state;
    send_text(&stage->parent, PC_MSG_PING, 0, "");
    pc_msg_unref(await(&stage->parent, PC_MSG_PONG));
    send_text(&stage->parent, PC_MSG_SHUTDOWN, 0, "{\"reason\":\"test\",\"grace_ms\":0}");
    assert_int_equal(role_end(stage), 0);
}

/* It goes on without: the parent decides. */
static void scheduler_goes_away(void **state)
{
    struct stage *stage = *state;
    pc_sock_close(&stage->scheduler);
    send_text(&stage->parent, PC_MSG_PING, 0, "");
    pc_msg_unref(await(&stage->parent, PC_MSG_PONG));
    end(stage);
}

/* These come from our own program only: whatever is wrong there ends this one. */
static void broken_messages_end_it(void **state)
{
    struct stage *stage = *state;
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECORDS, "short", 5);
    assert_int_equal(pc_sock_send(&stage->scheduler, msg, NULL), 0);
    pc_msg_unref(msg);
    assert_int_equal(role_end(stage), 1);
}

static void config_comes_once(void **state)
{
    struct stage *stage = *state;
    send_text(&stage->parent, PC_MSG_CONFIG, 0, "{}");
    assert_int_equal(role_end(stage), 1);
}

static void unexpected_type_ends_it(void **state)
{
    struct stage *stage = *state;
    send_text(&stage->scheduler, PC_MSG_SHUTDOWN, 0, "{}");
    assert_int_equal(role_end(stage), 1);
}

/* ---- killed ----------------------------------------------------------------------------- */

static void await_recorded(struct stage *stage, uint64_t number)
{
    for (bool is_there = false; !is_there;) {
        struct pc_msg *msg = await(&stage->scheduler, PC_MSG_RECORDED);
        is_there = pc_load_u64(msg->body) == number;
        pc_msg_unref(msg);
    }
}

static void what_was_acknowledged_is_there_again(void **state)
{
    struct stage *stage = *state;
    engine_up(stage, 1, 1000);
    engine_up(stage, 1, 1001);
    engine_down(stage, 1);
    send_text(&stage->scheduler, PC_MSG_CLIENT_UP, 0,
              "{\"session\":\"0000000000000005\",\"pid\":1,\"host\":\"h\"}");
    record(stage, PC_RECORD_SUBMITTED, 1, 0, 0);
    record(stage, PC_RECORD_SUBMITTED, 2, 0, 0);
    record(stage, PC_RECORD_STARTED, 1, 0, 0);
    await_recorded(stage, 9); /* each engine came with two */
    for (int round = 0; round < 3; round++) {
        assert_int_equal(start_again(stage), 9);
        expect_engine(stage, 0, "busy", 0, 0, 2);
        expect_engine(stage, 1, "down", 0, 0, 0);
        expect_totals(stage, 2, 0, 0, 2);
    }
    record(stage, PC_RECORD_ENDED, 1, 0, PC_STATUS_OK);
    expect_engine(stage, 0, "idle", 1, 0, 1);
    assert_int_equal(engine_up(stage, 1, 1000), 0); /* asked again: the same */
    assert_int_equal(engine_up(stage, 1, 1002), 2);
    end(stage);
}

static void send_function(struct stage *stage, const char *pickle)
{
    struct pc_msg *msg = pc_function_msg(pickle, strlen(pickle));
    assert_non_null(msg);
    assert_int_equal(pc_sock_send(&stage->scheduler, msg, NULL), 0);
    pc_msg_unref(msg);
}

/* The journal is written anew when it has grown, and is as good then. One that believes that it has
 * more messages than it got would never be sent the rest. */
static void a_long_history_is_there_again(void **state)
{
    struct stage *stage = *state;
    enum { BATCH = 200, BATCHES = 200 };
    struct pc_record records[3 * BATCH];
    uint8_t text[400] = "";
    send_function(stage, "one");
    send_function(stage, "another");
    for (uint64_t batch = 0; batch < BATCHES; batch++) {
        for (uint64_t i = 0; i < 3 * BATCH; i++)
            records[i] = (struct pc_record){.event = (uint8_t)(1 + i % 3),
                                            .kind = PC_KIND_APPLY,
                                            .status = PC_STATUS_OK,
                                            .engine_id = PC_NO_ENGINE,
                                            .session = 5,
                                            .sequence = batch * BATCH + i / 3 + 1,
                                            .time_us = (int64_t)(batch + 1),
                                            .body = text,
                                            .body_size = sizeof(text)};
        send_records(stage, records, 3 * BATCH);
    }
    await_recorded(stage, 2 + BATCHES);
    off_t size = lseek(stage->journal[0], 0, SEEK_END) + lseek(stage->journal[1], 0, SEEK_END);
    assert_in_range(size, 1, (off_t)BATCHES * BATCH * 3 * 400 / 2); /* not all of it */
    for (int round = 0; round < 2; round++)
        assert_int_equal(start_again(stage), 2 + BATCHES);
    expect_totals(stage, BATCHES * BATCH, BATCHES * BATCH, 0, 0);
    pc_json *status = ask(stage, "{\"query\":\"status\",\"memory\":false}");
    const pc_json *store = pc_json_member(status, "store");
    assert_int_equal(pc_json_i64_or(store, "tasks", 0), 10000);
    assert_int_equal(pc_json_i64_or(store, "dropped_tasks", 0), BATCHES * BATCH - 10000);
    pc_json_free(status);
    end(stage);
}

static void what_was_purged_stays_away(void **state)
{
    struct stage *stage = *state;
    for (uint64_t i = 1; i <= 3; i++)
        record(stage, PC_RECORD_SUBMITTED, i, PC_NO_ENGINE, 0);
    record(stage, PC_RECORD_ENDED, 1, PC_NO_ENGINE, PC_STATUS_OK);
    record(stage, PC_RECORD_ENDED, 2, PC_NO_ENGINE, PC_STATUS_OK);
    pc_json_free(
        ask(stage, "{\"query\":\"purge\",\"tasks\":[\"0000000000000005_1\"],\"all\":false}"));
    start_again(stage);
    pc_json *reply = ask(stage, "{\"query\":\"find\",\"keys\":[\"msg_id\"]}");
    assert_int_equal(pc_json_count(pc_json_member(reply, "rows")), 2);
    pc_json_free(reply);
    pc_json_free(ask(stage, "{\"query\":\"purge\",\"all\":true}"));
    record(stage, PC_RECORD_ENDED, 3, PC_NO_ENGINE, PC_STATUS_OK);
    await_recorded(stage, 6);
    start_again(stage);
    reply = ask(stage, "{\"query\":\"find\",\"keys\":[\"msg_id\"]}");
    assert_int_equal(pc_json_count(pc_json_member(reply, "rows")), 1); /* ended after the purge */
    pc_json_free(reply);
    end(stage);
}

#define staged(test) cmocka_unit_test_setup_teardown(test, open_stage, close_stage)

int main(void)
{
    const struct CMUnitTest tests[] = {
        staged(status_tells_what_config_said),
        staged(bad_questions_are_answered),
        staged(ids_rise_and_are_not_reused),
        staged(only_the_latest_dead_are_listed),
        staged(memory_is_that_of_the_process),
        staged(a_task_is_counted_at_each_step),
        staged(tasks_of_a_dead_engine_are_not_in_its_queue),
        staged(the_latest_tasks_come_first),
        staged(memory_is_bounded),
        staged(forgotten_tasks_are_still_counted),
        staged(clients_come_and_go),
        staged(shutdown_and_ping),
        staged(scheduler_goes_away),
        staged(broken_messages_end_it),
        staged(config_comes_once),
        staged(unexpected_type_ends_it),
        staged(what_was_acknowledged_is_there_again),
        staged(a_long_history_is_there_again),
        staged(what_was_purged_stays_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
