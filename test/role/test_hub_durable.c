/* SPDX-License-Identifier: BSD-3-Clause */
/* Durable tasks in the hub: what is on disk when it says so, and what becomes of it after the end
 * of all processes. This test is the parent and the scheduler. */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

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
    char folder[64], path[96];
};

/* ---- a cluster without a journal: when the hub dies everybody has ---------------------------- */

static void run_role(int parent, int scheduler)
{
    int fds[] = {fcntl(parent, F_DUPFD, 20), fcntl(scheduler, F_DUPFD, 20)};
    for (int i = 0; i < 2; i++)
        dup2(fds[i], PC_ROLE_FD + i);
    pc_close_from(PC_ROLE_FD + 2, NULL, 0);
    exit(hub_main());
}

static struct pc_msg *await(struct pc_sock *sock, uint8_t type)
{
    struct pc_err err;
    struct pc_msg *msg;
    while ((msg = pc_sock_receive(sock, LIMIT_MS, &err)) != NULL &&
           msg->head.type == PC_MSG_RECORDED && type != PC_MSG_RECORDED)
        pc_msg_unref(msg);
    if (!msg)
        fail_msg("no %s: %s", pc_msg_name(type), err.text);
    assert_string_equal(pc_msg_name(msg->head.type), pc_msg_name(type));
    return msg;
}

static void start(struct stage *stage, const char *store)
{
    int parent[2], scheduler[2];
    char config[512];
    assert_int_equal(pc_socketpair(parent, NULL), 0);
    assert_int_equal(pc_socketpair(scheduler, NULL), 0);
    fflush(NULL);
    stage->pid = fork();
    assert_true(stage->pid >= 0);
    if (stage->pid == 0) {
        free(stage); /* only what the hub itself leaks is to be seen */
        run_role(parent[1], scheduler[1]);
    }
    close(parent[1]);
    close(scheduler[1]);
    pc_sock_init(&stage->parent, parent[0], PC_FROM_HUB);
    pc_sock_init(&stage->scheduler, scheduler[0], PC_FROM_HUB);
    snprintf(config, sizeof(config),
             "{\"cluster_id\":\"c\",\"profile\":\"p\",\"instance\":\"i\",\"url\":\"tcp://x:1\","
             "\"log_level\":\"error\",\"controller_pid\":7,\"store\":\"%s\",\"store_path\":\"%s\"}",
             store, stage->path);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_CONFIG, config, strlen(config));
    assert_int_equal(pc_sock_send(&stage->parent, msg, NULL), 0);
    pc_msg_unref(msg);
    pc_msg_unref(await(&stage->parent, PC_MSG_READY));
    pc_msg_unref(await(&stage->scheduler, PC_MSG_RECORDED));
}

static void kill_all(struct stage *stage)
{
    assert_int_equal(kill(stage->pid, SIGKILL), 0);
    assert_int_equal(waitpid(stage->pid, NULL, 0), stage->pid);
    pc_sock_close(&stage->parent);
    pc_sock_close(&stage->scheduler);
}

static int open_stage(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    assert_non_null(stage);
    strcpy(stage->folder, "/tmp/pc-durable-XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
    snprintf(stage->path, sizeof(stage->path), "%s/tasks.db", stage->folder);
    *state = stage;
    return 0;
}

static int close_stage(void **state)
{
    struct stage *stage = *state;
    static const char *const ends[] = {"", "-wal", "-shm", "-begun"};
    char path[128];
    chmod(stage->folder, 0700);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", stage->path, ends[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(stage->folder), 0);
    free(stage);
    return 0;
}

static void end(struct stage *stage)
{
    int status;
    pc_sock_close(&stage->parent);
    assert_int_equal(waitpid(stage->pid, &status, 0), stage->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    pc_sock_close(&stage->scheduler);
}

/* ---- as the scheduler ------------------------------------------------------------------------ */

static void record(struct stage *stage, uint8_t event, uint64_t sequence,
                   const struct pc_submit_body *fields)
{
    static uint8_t text[] = "arguments";
    const struct pc_part part = {text, 9};
    struct pc_buf body, records;
    pc_buf_init(&body, 0);
    pc_buf_init(&records, 0);
    if (fields)
        assert_int_equal(pc_submit_encode(&body, fields), 0);
    const struct pc_record one = {.event = event,
                                  .kind = PC_KIND_APPLY,
                                  .status = PC_STATUS_OK,
                                  .flags = PC_RECORD_INSIDE | (fields ? PC_RECORD_DURABLE : 0),
                                  .engine_id = PC_NO_ENGINE,
                                  .session = 5,
                                  .sequence = sequence,
                                  .time_us = 1000,
                                  .bytes = 9,
                                  .body = body.data,
                                  .body_size = (uint32_t)body.size,
                                  .part_count = 1};
    assert_int_equal(pc_record_encode(&records, &one, &part), 0);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECORDS, records.data, records.size);
    assert_int_equal(pc_sock_send(&stage->scheduler, msg, NULL), 0);
    pc_msg_unref(msg);
    pc_buf_fini(&body);
    pc_buf_fini(&records);
}

static struct pc_submit_body plain(uint32_t retries)
{
    return (struct pc_submit_body){
        .kind = PC_KIND_APPLY,
        .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_DURABLE | PC_SUBMIT_OPTIONS,
        .label_size = 3,
        .label = "lab",
        .retries = retries,
        .tags = "",
    };
}

static void submit(struct stage *stage, uint64_t sequence, uint32_t retries)
{
    struct pc_submit_body fields = plain(retries);
    record(stage, PC_RECORD_SUBMITTED, sequence, &fields);
    struct pc_msg *msg = await(&stage->scheduler, PC_MSG_ACCEPTED);
    assert_int_equal(pc_accepted_check(msg, NULL), 0);
    assert_int_equal(msg->head.part_count, 0);
    assert_int_equal(msg->head.body_size, PC_ACK_SIZE);
    assert_int_equal(pc_load_u64(msg->body + 8), sequence);
    pc_msg_unref(msg);
}

/* As sched/begun.c does. */
static void mark(struct stage *stage, uint64_t sequence, uint64_t count)
{
    char path[128];
    uint8_t slot[24];
    snprintf(path, sizeof(path), "%s-begun", stage->path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    pc_store_u64(slot, 5);
    pc_store_u64(slot + 8, sequence);
    pc_store_u64(slot + 16, count);
    assert_int_equal(write(fd, slot, sizeof(slot)), sizeof(slot));
    close(fd);
}

static void ask(struct stage *stage, uint64_t session, const char *text)
{
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_QUERY, text, strlen(text));
    msg->head.session = session;
    assert_int_equal(pc_sock_send(&stage->scheduler, msg, NULL), 0);
    pc_msg_unref(msg);
}

/* Asks for those of an earlier life; returns what comes before the answer, at most one. */
static struct pc_msg *revive(struct stage *stage)
{
    struct pc_msg *found = NULL, *msg;
    struct pc_err err;
    ask(stage, 0, "{\"query\":\"revive\",\"after\":0}");
    while ((msg = pc_sock_receive(&stage->scheduler, LIMIT_MS, &err)) != NULL &&
           msg->head.type != PC_MSG_REPLY) {
        if (msg->head.type == PC_MSG_SUBMIT) {
            assert_null(found);
            found = msg;
        } else {
            assert_int_equal(msg->head.type, PC_MSG_RECORDED);
            pc_msg_unref(msg);
        }
    }
    assert_non_null(msg);
    pc_msg_unref(msg);
    return found;
}

/* What the database says, as a number. */
static int count(struct stage *stage, const char *query)
{
    sqlite3 *file;
    sqlite3_stmt *row;
    assert_int_equal(sqlite3_open(stage->path, &file), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(file, query, -1, &row, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int number = sqlite3_column_int(row, 0);
    sqlite3_finalize(row);
    sqlite3_close(file);
    return number;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void what_was_accepted_is_there_again(void **state)
{
    struct stage *stage = *state;
    struct pc_submit_body fields;
    start(stage, "sqlite");
    submit(stage, 7, 0);
    assert_int_equal(count(stage, "SELECT count(*) FROM submissions"), 1);
    kill_all(stage);
    for (int twice = 0; twice < 2;
         twice++) { /* a scheduler that was killed at once changes nothing */
        start(stage, "sqlite");
        struct pc_msg *msg = revive(stage);
        assert_non_null(msg);
        assert_true(msg->head.session == 5 && msg->head.sequence == 7);
        assert_int_equal(pc_submit_decode(msg, &fields, NULL), 0);
        assert_true(fields.flags & PC_SUBMIT_DURABLE);
        assert_memory_equal(fields.label, "lab", 3);
        assert_memory_equal(msg->parts[0].data, "arguments", 9);
        pc_msg_unref(msg);
        kill_all(stage);
    }
}

static void what_has_ended_is_not(void **state)
{
    struct stage *stage = *state;
    start(stage, "sqlite");
    submit(stage, 7, 0);
    record(stage, PC_RECORD_ENDED, 7, NULL);
    pc_msg_unref(await(&stage->scheduler, PC_MSG_RECORDED)); /* that is: on disk */
    kill_all(stage);
    assert_int_equal(count(stage, "SELECT count(*) FROM submissions"), 0);
    assert_int_equal(count(stage, "SELECT count(*) FROM tasks WHERE request IS NOT NULL AND "
                                  "result IS NOT NULL"),
                     1);
    start(stage, "sqlite");
    assert_null(revive(stage));
    end(stage);
}

static void what_had_begun_needs_a_retry(void **state)
{
    struct stage *stage = *state;
    struct pc_submit_body fields;
    start(stage, "sqlite");
    submit(stage, 1, 0);
    submit(stage, 2, 2);
    mark(stage, 1, 1);
    mark(stage, 2, 1);
    kill_all(stage);
    start(stage, "sqlite");
    assert_int_equal(count(stage, "SELECT count(*) FROM tasks WHERE sequence = 1"), 1);
    struct pc_msg *msg = revive(stage);
    assert_non_null(msg);
    assert_true(msg->head.sequence == 2);
    assert_int_equal(pc_submit_decode(msg, &fields, NULL), 0);
    assert_int_equal(fields.retries, 1);
    pc_msg_unref(msg);
    kill_all(stage);
    mark(stage, 2, 2); /* that was the last one */
    start(stage, "sqlite");
    assert_null(revive(stage));
    ask(stage, 9, "{\"query\":\"fetch\",\"what\":\"result\",\"tasks\":[\"0000000000000005_2\"]}");
    msg = await(&stage->scheduler, PC_MSG_RESULT);
    assert_int_equal(msg->body[0], PC_STATUS_FAILED);
    assert_non_null(memmem(msg->parts[0].data, msg->parts[0].size, "EngineError", 11));
    pc_msg_unref(msg);
    end(stage);
}

static void what_it_came_after_is_not_waited_for_again(void **state)
{
    static const uint8_t needed[2 * PC_ACK_SIZE] = {5, [8] = 1, [16] = 5, [24] = 2};
    struct stage *stage = *state;
    struct pc_submit_body fields = plain(0);
    start(stage, "sqlite");
    submit(stage, 1, 0);
    fields.after = (struct pc_submit_needs){
        .rule = PC_NEED_ALL | PC_NEED_SUCCESS, .count = 2, .tasks = needed};
    record(stage, PC_RECORD_SUBMITTED, 3, &fields);
    pc_msg_unref(await(&stage->scheduler, PC_MSG_ACCEPTED));
    record(stage, PC_RECORD_ENDED, 1, NULL);
    ask(stage, 9, "{\"query\":\"status\"}");
    pc_msg_unref(await(&stage->scheduler, PC_MSG_REPLY));
    ask(stage, 9, "{\"query\":\"status\"}"); /* the next turn: it is on disk */
    pc_msg_unref(await(&stage->scheduler, PC_MSG_REPLY));
    kill_all(stage);
    start(stage, "sqlite");
    struct pc_msg *msg = revive(stage);
    assert_non_null(msg);
    assert_int_equal(pc_submit_decode(msg, &fields, NULL), 0);
    assert_int_equal(fields.after.count, 1);
    assert_int_equal(pc_load_u64(fields.after.tasks + 8), 2);
    pc_msg_unref(msg);
    end(stage);
}

static void expect_refused(struct stage *stage, const char *within)
{
    struct pc_submit_body fields = plain(0);
    record(stage, PC_RECORD_SUBMITTED, 1, &fields);
    struct pc_msg *msg = await(&stage->scheduler, PC_MSG_ACCEPTED);
    assert_int_equal(msg->head.part_count, 1);
    assert_non_null(memmem(msg->parts[0].data, msg->parts[0].size, within, strlen(within)));
    pc_msg_unref(msg);
}

static void without_a_database_it_is_refused(void **state)
{
    struct stage *stage = *state;
    start(stage, "memory");
    expect_refused(stage, "not kept on disk");
    end(stage);
}

static void a_database_that_can_not_be_written_refuses_it(void **state)
{
    struct stage *stage = *state;
    sqlite3 *file;
    start(stage, "sqlite");
    assert_int_equal(sqlite3_open(stage->path, &file), SQLITE_OK);
    assert_int_equal(sqlite3_exec(file, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    expect_refused(stage, "database is locked");
    sqlite3_exec(file, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(file);
    submit(stage, 2, 0); /* it works again */
    end(stage);
}

/* A client may not ask for what others have submitted in this way. */
static void clients_can_not_ask_for_them(void **state)
{
    struct stage *stage = *state;
    start(stage, "sqlite");
    submit(stage, 1, 0);
    ask(stage, 9, "{\"query\":\"revive\"}");
    struct pc_msg *msg = await(&stage->scheduler, PC_MSG_REPLY);
    assert_non_null(memmem(msg->body, msg->head.body_size, "unknown query", 13));
    pc_msg_unref(msg);
    end(stage);
}

#define on_stage(test) cmocka_unit_test_setup_teardown(test, open_stage, close_stage)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_stage(what_was_accepted_is_there_again),
        on_stage(what_has_ended_is_not),
        on_stage(what_had_begun_needs_a_retry),
        on_stage(what_it_came_after_is_not_waited_for_again),
        on_stage(without_a_database_it_is_refused),
        on_stage(a_database_that_can_not_be_written_refuses_it),
        on_stage(clients_can_not_ask_for_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
