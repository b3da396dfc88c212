/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/database.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "hub/parts.h"
#include "lib/log.h"
#include "lib/mem.h"

#define BUSY_MS 100 /* somebody else may read the file, or even write to it */

/* Each step leads from version i to i + 1. */
static const char *const steps[HUB_SCHEMA_VERSION] = {
    "CREATE TABLE tasks(number INTEGER PRIMARY KEY, session INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL, label TEXT, submitted INTEGER, started INTEGER,"
    " completed INTEGER, received INTEGER, request_bytes INTEGER, result_bytes INTEGER,"
    " again_session INTEGER, again_sequence INTEGER, engine_id INTEGER, engine_uuid BLOB,"
    " kind INTEGER, status INTEGER, flags INTEGER, size INTEGER, body BLOB, function BLOB,"
    " stdout BLOB, stderr BLOB, request BLOB, result BLOB);"
    "CREATE UNIQUE INDEX by_id ON tasks(session, sequence);"
    "CREATE TABLE functions(name BLOB PRIMARY KEY, pickle BLOB) WITHOUT ROWID;",
    "CREATE INDEX by_label ON tasks(label, number) WHERE label IS NOT NULL;"
    "CREATE INDEX by_end ON tasks(received);"
    "CREATE INDEX by_full_end ON tasks(received) WHERE size > 0;"
    "CREATE INDEX by_function ON tasks(function) WHERE function IS NOT NULL;",
    "CREATE TABLE submissions(number INTEGER PRIMARY KEY, session INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL, submitted INTEGER, kind INTEGER, bytes INTEGER, body BLOB,"
    " function BLOB, request BLOB);"
    "CREATE UNIQUE INDEX submissions_by_id ON submissions(session, sequence);",
    "ALTER TABLE tasks ADD COLUMN display BLOB;",
};

enum { FLAG_BALANCED = 1, FLAG_GAP = 2, FLAG_WAS_KEPT = 4, FLAG_IN_FILE = 8 };

/* What is looked at without the payload, in the order of the columns. */
#define ROW                                                                                        \
    "SELECT number, session, sequence, label, submitted, started, completed, received,"            \
    " request_bytes, result_bytes, again_session, again_sequence, engine_id, engine_uuid, kind,"   \
    " status, flags, body FROM tasks "

enum statement {
    INSERT,
    INSERT_FUNCTION,
    NUMBER,
    ADD_RESULT,
    FIND,
    AFTER,
    AFTER_LABELLED,
    BEFORE,
    LOAD,
    FUNCTION,
    ADD_SUBMITTED,
    CHANGE_SUBMITTED,
    SUBMITTED_NUMBER,
    NEXT_SUBMITTED,
    LOAD_SUBMITTED,
    ADOPT,
    FINISH,
    FORGET,
    RESUBMITTED,
    OLDEST,
    FULLEST,
    STRIP,
    STATEMENTS,
};

static const char *const texts[STATEMENTS] = {
    [INSERT] = "INSERT OR REPLACE INTO tasks VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,"
               " ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25)",
    [INSERT_FUNCTION] = "INSERT OR IGNORE INTO functions VALUES(?1, ?2)",
    [NUMBER] = "SELECT number FROM tasks WHERE session = ?1 AND sequence = ?2",
    [FIND] = ROW "WHERE session = ?1 AND sequence = ?2",
    [AFTER] = ROW "WHERE number > ?1 ORDER BY number LIMIT 1",
    [AFTER_LABELLED] = ROW "WHERE label = ?2 AND number > ?1 ORDER BY number LIMIT 1",
    [BEFORE] = ROW "WHERE number < ?1 ORDER BY number DESC LIMIT 1",
    [LOAD] = "SELECT request, result, function, flags, stdout, stderr, display FROM tasks"
             " WHERE number = ?1",
    [FUNCTION] = "SELECT pickle FROM functions WHERE name = ?1",
    [ADD_RESULT] = "UPDATE tasks SET result = ?2, flags = ?3, size = size + ?4 WHERE number = ?1",
    [ADD_SUBMITTED] =
        "INSERT OR IGNORE INTO submissions VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [CHANGE_SUBMITTED] = "UPDATE submissions SET body = ?2 WHERE number = ?1",
    [SUBMITTED_NUMBER] = "SELECT number FROM submissions WHERE session = ?1 AND sequence = ?2",
    [NEXT_SUBMITTED] =
        "SELECT number, session, sequence, submitted, kind, bytes, body FROM submissions"
        " WHERE number > ?1 ORDER BY number LIMIT 1",
    [LOAD_SUBMITTED] = "SELECT request, function FROM submissions"
                       " WHERE session = ?1 AND sequence = ?2",
    [ADOPT] = "UPDATE tasks SET (request, function) = (SELECT request, function FROM submissions"
              " WHERE session = ?1 AND sequence = ?2), size = size + ?3"
              " WHERE session = ?1 AND sequence = ?2",
    [FINISH] = "DELETE FROM submissions WHERE session = ?1 AND sequence = ?2",
    [FORGET] = "DELETE FROM tasks WHERE number = ?1",
    [RESUBMITTED] = "UPDATE tasks SET again_session = ?2, again_sequence = ?3 WHERE number = ?1",
    [OLDEST] = "SELECT number, size, flags, session, sequence, received FROM tasks"
               " ORDER BY received LIMIT 1",
    [FULLEST] = "SELECT number, size, flags, session, sequence, result IS NOT NULL FROM tasks"
                " WHERE size > 0 ORDER BY received LIMIT 1",
    [STRIP] = "UPDATE tasks SET request = NULL, result = NULL, stdout = NULL, stderr = NULL,"
              " display = NULL, function = NULL, size = 0, flags = ?2 WHERE number = ?1",
};

struct hub_database {
    sqlite3 *handle;
    sqlite3_stmt *statements[STATEMENTS];
    char *path;
    uint64_t count, bytes, last;
    uint64_t count_before, bytes_before; /* the transaction */
    bool is_synced;                      /* commits wait for the disk */
};

/* ---- SQLite ----------------------------------------------------------------------------- */

static int failed(const struct hub_database *database, const char *what, struct pc_err *err)
{
    return pc_err_set(err, PC_E_SYSTEM, "can't %s the database of tasks '%.200s': %s", what,
                      database->path, sqlite3_errmsg(database->handle));
}

static int run(struct hub_database *database, const char *what, const char *text,
               struct pc_err *err)
{
    return sqlite3_exec(database->handle, text, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : failed(database, what, err);
}

static sqlite3_stmt *prepared(struct hub_database *database, enum statement which)
{
    sqlite3_stmt **statement = &database->statements[which];
    if (!*statement)
        sqlite3_prepare_v3(database->handle, texts[which], -1, SQLITE_PREPARE_PERSISTENT, statement,
                           NULL);
    return *statement; /* with NULL every call on it fails */
}

/* Of a statement that gives no row. */
static int finish(struct hub_database *database, sqlite3_stmt *statement, struct pc_err *err)
{
    int status = sqlite3_step(statement);
    int problem = status == SQLITE_DONE ? 0 : failed(database, "write to", err);
    sqlite3_reset(statement);
    return problem;
}

static int64_t number_of(struct hub_database *database, const char *text)
{
    sqlite3_stmt *statement;
    int64_t number = -1;
    if (sqlite3_prepare_v2(database->handle, text, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

/* ---- opening ---------------------------------------------------------------------------- */

static int migrate(struct hub_database *database, struct pc_err *err)
{
    char text[64];
    int64_t version = number_of(database, "PRAGMA user_version");
    if (version < 0)
        return failed(database, "read", err);
    if (version > HUB_SCHEMA_VERSION)
        return pc_err_set(err, PC_E_VERSION,
                          "the database of tasks '%.200s' was written by a newer pcluster (version "
                          "%" PRId64 ", this one knows %d): move it away, or update",
                          database->path, version, HUB_SCHEMA_VERSION);
    for (; version < HUB_SCHEMA_VERSION; version++) {
        snprintf(text, sizeof(text), "PRAGMA user_version = %" PRId64 "; COMMIT", version + 1);
        if (run(database, "update", "BEGIN IMMEDIATE", err) ||
            run(database, "update", steps[version], err) || run(database, "update", text, err)) {
            hub_database_rollback(database);
            return -1;
        }
    }
    return 0;
}

static int open_file(struct hub_database *database, struct pc_err *err)
{
    mode_t mask = umask(077);
    int status = sqlite3_open_v2(database->path, &database->handle,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    umask(mask);
    if (status != SQLITE_OK)
        return failed(database, "open", err);
    sqlite3_busy_timeout(database->handle, BUSY_MS);
    if (run(database, "use", "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", err) ||
        migrate(database, err))
        return -1;
    int64_t count = number_of(database, "SELECT count(*) FROM tasks");
    int64_t bytes = number_of(database, "SELECT coalesce(sum(size), 0) FROM tasks");
    int64_t last = number_of(database, "SELECT max((SELECT coalesce(max(number), 0) FROM tasks),"
                                       " (SELECT coalesce(max(number), 0) FROM submissions))");
    if (count < 0 || bytes < 0 || last < 0)
        return failed(database, "read", err);
    database->count = (uint64_t)count;
    database->bytes = (uint64_t)bytes;
    database->last = (uint64_t)last;
    return 0;
}

struct hub_database *hub_database_open(const char *path, struct pc_err *err)
{
    struct hub_database *database = pc_xcalloc(1, sizeof(*database));
    database->path = pc_xstrdup(path);
    if (open_file(database, err) == 0)
        return database;
    hub_database_close(database);
    return NULL;
}

void hub_database_close(struct hub_database *database)
{
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(database->statements[i]);
    sqlite3_close(database->handle);
    free(database->path);
    free(database);
}

int hub_database_begin(struct hub_database *database, bool is_synced, struct pc_err *err)
{
    const char *how = is_synced ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL";
    if (is_synced != database->is_synced && run(database, "use", how, err))
        return -1;
    database->is_synced = is_synced;
    database->count_before = database->count;
    database->bytes_before = database->bytes;
    return run(database, "write to", "BEGIN IMMEDIATE", err);
}

int hub_database_commit(struct hub_database *database, struct pc_err *err)
{
    return run(database, "write to", "COMMIT", err);
}

void hub_database_rollback(struct hub_database *database)
{
    sqlite3_exec(database->handle, "ROLLBACK", NULL, NULL, NULL);
    database->count = database->count_before;
    database->bytes = database->bytes_before;
}

/* ---- large results ---------------------------------------------------------------------- */

static char *result_path(const struct hub_database *database, const struct hub_task_key *key)
{
    char id[HUB_ID_SIZE];
    hub_id_print(key, id);
    return pc_xasprintf("%s-results/%s", database->path, id);
}

static int write_file(struct hub_database *database, const struct hub_task *task,
                      struct pc_err *err)
{
    char *folder = pc_xasprintf("%s-results", database->path);
    char *path = result_path(database, &task->key);
    int status =
        mkdir(folder, 0700) < 0 && errno != EEXIST ? -1 : hub_parts_save(task->result, path);
    if (status < 0)
        pc_err_sys(err, "can't write the result file '%.200s'", path);
    free(folder);
    free(path);
    return status;
}

static void remove_file(const struct hub_database *database, sqlite3_stmt *row)
{
    struct hub_task_key key = {(uint64_t)sqlite3_column_int64(row, 3),
                               (uint64_t)sqlite3_column_int64(row, 4)};
    if (!(sqlite3_column_int(row, 2) & FLAG_IN_FILE))
        return;
    char *path = result_path(database, &key);
    unlink(path);
    free(path);
}

/* ---- writing ---------------------------------------------------------------------------- */

static int flags_of(const struct hub_task *task)
{
    bool is_large = task->result && task->result->parts_bytes > HUB_FILE_BYTES;
    return (task->is_balanced ? FLAG_BALANCED : 0) | (task->has_gap ? FLAG_GAP : 0) |
           (task->was_kept ? FLAG_WAS_KEPT : 0) | (is_large ? FLAG_IN_FILE : 0);
}

static void bind_parts(sqlite3_stmt *statement, int column, const struct pc_msg *msg)
{
    size_t size;
    void *blob = msg ? hub_parts_pack(msg, &size) : NULL;
    if (blob)
        sqlite3_bind_blob64(statement, column, blob, size, free);
    else
        sqlite3_bind_null(statement, column);
}

static void bind_output(sqlite3_stmt *statement, int column, const struct hub_task *task,
                        uint8_t stream)
{
    size_t size;
    char *text = hub_task_output(task, stream, &size);
    if (text)
        sqlite3_bind_blob64(statement, column, text, size, free);
    else
        sqlite3_bind_null(statement, column);
}

static void bind_numbers(sqlite3_stmt *statement, const struct hub_task *task)
{
    const int64_t numbers[] = {
        task->submitted_us,
        task->started_us,
        task->completed_us,
        task->received_us,
        (int64_t)task->request_bytes,
        (int64_t)task->result_bytes,
        (int64_t)task->resubmitted.session,
        (int64_t)task->resubmitted.sequence,
        task->engine_id,
    };
    sqlite3_bind_int64(statement, 1, (int64_t)task->number);
    sqlite3_bind_int64(statement, 2, (int64_t)task->key.session);
    sqlite3_bind_int64(statement, 3, (int64_t)task->key.sequence);
    for (int i = 0; i < (int)(sizeof(numbers) / sizeof(numbers[0])); i++)
        sqlite3_bind_int64(statement, 5 + i, numbers[i]);
    sqlite3_bind_int(statement, 15, task->kind);
    sqlite3_bind_int(statement, 16, task->status);
    sqlite3_bind_int(statement, 17, flags_of(task));
    sqlite3_bind_int64(statement, 18, (int64_t)hub_task_payload(task));
}

static int write_function(struct hub_database *database, const struct hub_function *function,
                          struct pc_err *err)
{
    sqlite3_stmt *statement = prepared(database, INSERT_FUNCTION);
    const struct pc_part *part = &function->msg->parts[0];
    sqlite3_bind_blob(statement, 1, function->name, PC_FUNCTION_NAME_SIZE, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 2, part->data, part->size, SQLITE_STATIC);
    return finish(database, statement, err);
}

static void bind_key(sqlite3_stmt *statement, int column, const struct hub_task_key *key)
{
    sqlite3_bind_int64(statement, column, (int64_t)key->session);
    sqlite3_bind_int64(statement, column + 1, (int64_t)key->sequence);
}

/* A durable task leaves its submission, of which it takes what it was submitted with. */
static int adopt(struct hub_database *database, const struct hub_task *task, struct pc_err *err)
{
    sqlite3_stmt *take = prepared(database, ADOPT), *leave = prepared(database, FINISH);
    bind_key(take, 1, &task->key);
    bind_key(leave, 1, &task->key);
    sqlite3_bind_int64(take, 3, task->request ? 0 : (int64_t)task->request_bytes);
    if (!task->request && finish(database, take, err))
        return -1;
    if (finish(database, leave, err))
        return -1;
    database->bytes += task->request ? 0 : task->request_bytes;
    return 0;
}

int hub_database_write(struct hub_database *database, const struct hub_task *task,
                       struct pc_err *err)
{
    sqlite3_stmt *statement = prepared(database, INSERT);
    bool is_large = flags_of(task) & FLAG_IN_FILE;
    if (is_large && write_file(database, task, err))
        return -1;
    if (task->function && write_function(database, task->function, err))
        return -1;
    sqlite3_clear_bindings(statement);
    bind_numbers(statement, task);
    if (task->label)
        sqlite3_bind_text(statement, 4, task->label->text, (int)task->label->size, SQLITE_STATIC);
    if (task->has_engine_uuid)
        sqlite3_bind_blob(statement, 14, task->engine_uuid, HUB_UUID_SIZE, SQLITE_STATIC);
    if (task->body)
        sqlite3_bind_blob(statement, 19, task->body, (int)task->body_size, SQLITE_STATIC);
    if (task->function)
        sqlite3_bind_blob(statement, 20, task->function->name, PC_FUNCTION_NAME_SIZE,
                          SQLITE_STATIC);
    bind_output(statement, 21, task, PC_STREAM_STDOUT);
    bind_output(statement, 22, task, PC_STREAM_STDERR);
    bind_parts(statement, 23, task->request);
    bind_parts(statement, 24, is_large ? NULL : task->result);
    bind_output(statement, 25, task, PC_STREAM_DISPLAY);
    if (finish(database, statement, err) || (task->is_durable && adopt(database, task, err)))
        return -1;
    database->count++;
    database->bytes += hub_task_payload(task);
    if (database->last < task->number)
        database->last = task->number;
    return 0;
}

int hub_database_add_result(struct hub_database *database, const struct hub_task *task,
                            struct pc_err *err)
{
    sqlite3_stmt *statement = prepared(database, ADD_RESULT);
    int flags = flags_of(task);
    bool is_large = flags & FLAG_IN_FILE;
    if (is_large && write_file(database, task, err))
        return -1;
    sqlite3_bind_int64(statement, 1, (int64_t)task->number);
    bind_parts(statement, 2, is_large ? NULL : task->result);
    sqlite3_bind_int(statement, 3, flags);
    sqlite3_bind_int64(statement, 4, (int64_t)task->result->parts_bytes);
    if (finish(database, statement, err))
        return -1;
    database->bytes += task->result->parts_bytes;
    return 0;
}

/* ---- durable tasks ---------------------------------------------------------------------- */

int hub_database_submit(struct hub_database *database, const struct hub_task *task,
                        struct pc_err *err)
{
    sqlite3_stmt *statement = prepared(database, ADD_SUBMITTED);
    if (task->function && write_function(database, task->function, err))
        return -1;
    sqlite3_clear_bindings(statement);
    sqlite3_bind_int64(statement, 1, (int64_t)task->number);
    bind_key(statement, 2, &task->key);
    sqlite3_bind_int64(statement, 4, task->submitted_us);
    sqlite3_bind_int(statement, 5, task->kind);
    sqlite3_bind_int64(statement, 6, (int64_t)task->request_bytes);
    sqlite3_bind_blob(statement, 7, task->body, (int)task->body_size, SQLITE_STATIC);
    if (task->function)
        sqlite3_bind_blob(statement, 8, task->function->name, PC_FUNCTION_NAME_SIZE, SQLITE_STATIC);
    bind_parts(statement, 9, task->request);
    return finish(database, statement, err);
}

int hub_database_change_submitted(struct hub_database *database, const struct hub_task *task,
                                  struct pc_err *err)
{
    sqlite3_stmt *statement = prepared(database, CHANGE_SUBMITTED);
    sqlite3_bind_int64(statement, 1, (int64_t)task->number);
    sqlite3_bind_blob(statement, 2, task->body, (int)task->body_size, SQLITE_STATIC);
    return finish(database, statement, err);
}

/* ---- reading ---------------------------------------------------------------------------- */

static struct hub_label *label_of(sqlite3_stmt *row)
{
    const char *text = (const char *)sqlite3_column_text(row, 3);
    if (!text)
        return NULL;
    size_t size = (size_t)sqlite3_column_bytes(row, 3);
    struct hub_label *label = pc_xcalloc(1, sizeof(*label) + size + 1);
    memcpy(label->text, text, size);
    label->size = (uint32_t)size;
    return label;
}

static struct hub_task *task_of(sqlite3_stmt *row)
{
    struct hub_task *task = pc_xcalloc(1, sizeof(*task));
    const void *uuid = sqlite3_column_blob(row, 13);
    int flags = sqlite3_column_int(row, 16);
    task->number = (uint64_t)sqlite3_column_int64(row, 0);
    task->key.session = (uint64_t)sqlite3_column_int64(row, 1);
    task->key.sequence = (uint64_t)sqlite3_column_int64(row, 2);
    task->label = label_of(row);
    task->submitted_us = sqlite3_column_int64(row, 4);
    task->started_us = sqlite3_column_int64(row, 5);
    task->completed_us = sqlite3_column_int64(row, 6);
    task->received_us = sqlite3_column_int64(row, 7);
    task->request_bytes = (uint64_t)sqlite3_column_int64(row, 8);
    task->result_bytes = (uint64_t)sqlite3_column_int64(row, 9);
    task->resubmitted.session = (uint64_t)sqlite3_column_int64(row, 10);
    task->resubmitted.sequence = (uint64_t)sqlite3_column_int64(row, 11);
    task->engine_id = (uint32_t)sqlite3_column_int64(row, 12);
    task->has_engine_uuid = uuid && sqlite3_column_bytes(row, 13) == HUB_UUID_SIZE;
    if (task->has_engine_uuid)
        memcpy(task->engine_uuid, uuid, HUB_UUID_SIZE);
    task->kind = (uint8_t)sqlite3_column_int(row, 14);
    task->status = (uint8_t)sqlite3_column_int(row, 15);
    task->event = PC_RECORD_ENDED;
    task->has_gap = flags & FLAG_GAP;
    task->was_kept = flags & FLAG_WAS_KEPT;
    hub_task_set_body(task, sqlite3_column_blob(row, 17), (size_t)sqlite3_column_bytes(row, 17),
                      &(struct pc_submit_body){0});
    task->is_elsewhere = true;
    return task;
}

static struct hub_task *first_row(sqlite3_stmt *statement)
{
    struct hub_task *task = sqlite3_step(statement) == SQLITE_ROW ? task_of(statement) : NULL;
    sqlite3_reset(statement);
    return task;
}

struct hub_task *hub_database_find(struct hub_database *database, const struct hub_task_key *key)
{
    sqlite3_stmt *statement = prepared(database, FIND);
    bind_key(statement, 1, key);
    return first_row(statement);
}

static uint64_t number_in(sqlite3_stmt *row, const struct hub_task_key *key)
{
    bind_key(row, 1, key);
    uint64_t number = sqlite3_step(row) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(row, 0) : 0;
    sqlite3_reset(row);
    return number;
}

uint64_t hub_database_number(struct hub_database *database, const struct hub_task_key *key)
{
    return number_in(prepared(database, NUMBER), key);
}

bool hub_database_is_submitted(struct hub_database *database, const struct hub_task_key *key)
{
    return number_in(prepared(database, SUBMITTED_NUMBER), key) != 0;
}

static int64_t bounded(uint64_t number)
{
    return number > INT64_MAX ? INT64_MAX : (int64_t)number;
}

struct hub_task *hub_database_after(struct hub_database *database, uint64_t number,
                                    const char *label)
{
    sqlite3_stmt *statement = prepared(database, label ? AFTER_LABELLED : AFTER);
    sqlite3_bind_int64(statement, 1, bounded(number));
    if (label)
        sqlite3_bind_text(statement, 2, label, -1, SQLITE_STATIC);
    return first_row(statement);
}

struct hub_task *hub_database_before(struct hub_database *database, uint64_t number)
{
    sqlite3_stmt *statement = prepared(database, BEFORE);
    sqlite3_bind_int64(statement, 1, bounded(number));
    return first_row(statement);
}

static struct pc_msg *parts_of(sqlite3_stmt *row, int column)
{
    const void *blob = sqlite3_column_blob(row, column);
    return blob ? hub_parts_unpack(blob, (size_t)sqlite3_column_bytes(row, column)) : NULL;
}

static void load_column(struct hub_task *task, uint8_t stream, sqlite3_stmt *row, int column)
{
    const void *text = sqlite3_column_blob(row, column);
    if (text)
        hub_task_load_output(task, stream, text, (size_t)sqlite3_column_bytes(row, column));
}

static struct pc_msg *function_of(struct hub_database *database, const void *name)
{
    sqlite3_stmt *statement = prepared(database, FUNCTION);
    struct pc_msg *msg = NULL;
    sqlite3_bind_blob(statement, 1, name, PC_FUNCTION_NAME_SIZE, SQLITE_STATIC);
    if (sqlite3_step(statement) == SQLITE_ROW)
        msg = pc_function_msg(sqlite3_column_blob(statement, 0),
                              (size_t)sqlite3_column_bytes(statement, 0));
    sqlite3_reset(statement);
    return msg;
}

struct pc_msg *hub_database_load(struct hub_database *database, struct hub_task *task)
{
    sqlite3_stmt *row = prepared(database, LOAD);
    struct pc_msg *function = NULL;
    sqlite3_bind_int64(row, 1, (int64_t)task->number);
    if (sqlite3_step(row) == SQLITE_ROW) {
        task->request = parts_of(row, 0);
        task->result = parts_of(row, 1);
        for (uint8_t stream = 0; stream < PC_STREAM_TEXTS; stream++)
            load_column(task, stream, row, 4 + stream);
        if (sqlite3_column_bytes(row, 2) == PC_FUNCTION_NAME_SIZE)
            function = function_of(database, sqlite3_column_blob(row, 2));
        if (sqlite3_column_int(row, 3) & FLAG_IN_FILE) {
            char *path = result_path(database, &task->key);
            task->result = hub_parts_load(path);
            free(path);
        }
    }
    sqlite3_reset(row);
    return function;
}

struct hub_task *hub_database_submitted(struct hub_database *database, uint64_t number)
{
    sqlite3_stmt *row = prepared(database, NEXT_SUBMITTED);
    struct hub_task *task = NULL;
    sqlite3_bind_int64(row, 1, bounded(number));
    if (sqlite3_step(row) == SQLITE_ROW) {
        task = pc_xcalloc(1, sizeof(*task));
        task->number = (uint64_t)sqlite3_column_int64(row, 0);
        task->key.session = (uint64_t)sqlite3_column_int64(row, 1);
        task->key.sequence = (uint64_t)sqlite3_column_int64(row, 2);
        task->submitted_us = sqlite3_column_int64(row, 3);
        task->kind = (uint8_t)sqlite3_column_int(row, 4);
        task->request_bytes = (uint64_t)sqlite3_column_int64(row, 5);
        hub_task_set_body(task, sqlite3_column_blob(row, 6), (size_t)sqlite3_column_bytes(row, 6),
                          &(struct pc_submit_body){0});
    }
    sqlite3_reset(row);
    return task;
}

struct pc_msg *hub_database_load_submitted(struct hub_database *database, struct hub_task *task)
{
    sqlite3_stmt *row = prepared(database, LOAD_SUBMITTED);
    struct pc_msg *function = NULL;
    bind_key(row, 1, &task->key);
    if (sqlite3_step(row) == SQLITE_ROW) {
        task->request = parts_of(row, 0);
        if (sqlite3_column_bytes(row, 1) == PC_FUNCTION_NAME_SIZE)
            function = function_of(database, sqlite3_column_blob(row, 1));
    }
    sqlite3_reset(row);
    return function;
}

/* ---- forgetting ------------------------------------------------------------------------- */

static int forget_number(struct hub_database *database, int64_t number, struct pc_err *err)
{
    sqlite3_stmt *statement = prepared(database, FORGET);
    sqlite3_bind_int64(statement, 1, number);
    return finish(database, statement, err);
}

int hub_database_forget(struct hub_database *database, const struct hub_task_key *key,
                        struct pc_err *err)
{
    sqlite3_stmt *row;
    char text[160];
    snprintf(text, sizeof(text),
             "SELECT number, size, flags, session, sequence FROM tasks WHERE session = %" PRId64
             " AND sequence = %" PRId64,
             (int64_t)key->session, (int64_t)key->sequence);
    if (sqlite3_prepare_v2(database->handle, text, -1, &row, NULL) != SQLITE_OK)
        return failed(database, "read", err);
    int problem = 0;
    if (sqlite3_step(row) == SQLITE_ROW) {
        int64_t number = sqlite3_column_int64(row, 0);
        uint64_t size = (uint64_t)sqlite3_column_int64(row, 1);
        remove_file(database, row);
        sqlite3_reset(row);
        problem = forget_number(database, number, err);
        database->count -= !problem;
        database->bytes -= problem ? 0 : size;
    }
    sqlite3_finalize(row);
    return problem;
}

int hub_database_resubmitted(struct hub_database *database, const struct hub_task *task,
                             struct pc_err *err)
{
    sqlite3_stmt *statement = prepared(database, RESUBMITTED);
    sqlite3_bind_int64(statement, 1, (int64_t)task->number);
    sqlite3_bind_int64(statement, 2, (int64_t)task->resubmitted.session);
    sqlite3_bind_int64(statement, 3, (int64_t)task->resubmitted.sequence);
    return finish(database, statement, err);
}

/* The oldest, if there is a reason. 1: dropped; 0: no reason. */
static int drop_one(struct hub_database *database, bool is_too_many, int64_t older_us,
                    struct pc_err *err)
{
    sqlite3_stmt *row = prepared(database, OLDEST);
    int dropped = 0;
    if (sqlite3_step(row) == SQLITE_ROW &&
        (is_too_many || sqlite3_column_int64(row, 5) < older_us)) {
        int64_t number = sqlite3_column_int64(row, 0);
        uint64_t size = (uint64_t)sqlite3_column_int64(row, 1);
        remove_file(database, row);
        sqlite3_reset(row);
        dropped = forget_number(database, number, err) ? -1 : 1;
        if (dropped > 0) {
            database->count--;
            database->bytes -= size;
        }
    }
    sqlite3_reset(row);
    return dropped;
}

int hub_database_drop(struct hub_database *database, int64_t count, int64_t older_us, int64_t max,
                      struct pc_err *err)
{
    int dropped = 1;
    if ((!count && !older_us) || !database->count)
        return 0;
    if (hub_database_begin(database, false, err))
        return -1;
    for (int64_t i = 0; i < max && dropped > 0; i++)
        dropped = drop_one(database, i < count, older_us, err);
    if (dropped >= 0 &&
        run(database, "write to",
            "DELETE FROM functions WHERE name NOT IN (SELECT function FROM tasks WHERE function "
            "IS NOT NULL UNION SELECT function FROM submissions WHERE function IS NOT NULL)",
            err) == 0 &&
        hub_database_commit(database, err) == 0)
        return 0;
    hub_database_rollback(database);
    return -1;
}

static int strip_one(struct hub_database *database, uint64_t *dropped, struct pc_err *err)
{
    sqlite3_stmt *row = prepared(database, FULLEST), *strip = prepared(database, STRIP);
    if (sqlite3_step(row) != SQLITE_ROW) {
        sqlite3_reset(row);
        return 1;
    }
    int flags = sqlite3_column_int(row, 2);
    uint64_t size = (uint64_t)sqlite3_column_int64(row, 1);
    bool has_result = sqlite3_column_int(row, 5) || flags & FLAG_IN_FILE;
    remove_file(database, row);
    flags = (flags & ~FLAG_IN_FILE) | (has_result ? FLAG_WAS_KEPT : 0);
    sqlite3_bind_int64(strip, 1, sqlite3_column_int64(row, 0));
    sqlite3_bind_int(strip, 2, flags);
    sqlite3_reset(row);
    if (finish(database, strip, err))
        return -1;
    database->bytes -= size;
    *dropped += has_result;
    return 0;
}

int hub_database_strip(struct hub_database *database, uint64_t bytes, int64_t max,
                       uint64_t *dropped, struct pc_err *err)
{
    int status = 0;
    if (hub_database_begin(database, false, err))
        return -1;
    while (max-- > 0 && database->bytes > bytes && status == 0)
        status = strip_one(database, dropped, err);
    if (status >= 0 && hub_database_commit(database, err) == 0)
        return 0;
    hub_database_rollback(database);
    return -1;
}

uint64_t hub_database_count(const struct hub_database *database)
{
    return database->count;
}

uint64_t hub_database_bytes(const struct hub_database *database)
{
    return database->bytes;
}

uint64_t hub_database_last(const struct hub_database *database)
{
    return database->last;
}
