/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/database_sql.h"

#include <stdlib.h>

#include "hub/parts.h"

static int flags_of(const struct hub_task *task)
{
    bool is_large = task->result && task->result->parts_bytes > HUB_FILE_BYTES;
    return (task->is_balanced ? HUB_ROW_BALANCED : 0) | (task->has_gap ? HUB_ROW_GAP : 0) |
           (task->was_kept ? HUB_ROW_WAS_KEPT : 0) | (is_large ? HUB_ROW_IN_FILE : 0);
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
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_INSERT_FUNCTION);
    const struct pc_part *part = &function->msg->parts[0];
    sqlite3_bind_blob(statement, 1, function->name, PC_FUNCTION_NAME_SIZE, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 2, part->data, part->size, SQLITE_STATIC);
    return hub_sql_finish(database, statement, err);
}

/* A durable task leaves its submission, of which it takes what it was submitted with. */
static int adopt(struct hub_database *database, const struct hub_task *task, struct pc_err *err)
{
    sqlite3_stmt *take = hub_sql_prepared(database, HUB_SQL_ADOPT),
                 *leave = hub_sql_prepared(database, HUB_SQL_FINISH);
    hub_sql_bind_key(take, 1, &task->key);
    hub_sql_bind_key(leave, 1, &task->key);
    sqlite3_bind_int64(take, 3, task->request ? 0 : (int64_t)task->request_bytes);
    if (!task->request && hub_sql_finish(database, take, err))
        return -1;
    if (hub_sql_finish(database, leave, err))
        return -1;
    database->bytes += task->request ? 0 : task->request_bytes;
    return 0;
}

int hub_database_write(struct hub_database *database, const struct hub_task *task,
                       struct pc_err *err)
{
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_INSERT);
    bool is_large = flags_of(task) & HUB_ROW_IN_FILE;
    if (is_large && hub_result_write(database, task, err))
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
    if (hub_sql_finish(database, statement, err) ||
        (task->is_durable && adopt(database, task, err)))
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
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_ADD_RESULT);
    int flags = flags_of(task);
    bool is_large = flags & HUB_ROW_IN_FILE;
    if (is_large && hub_result_write(database, task, err))
        return -1;
    sqlite3_bind_int64(statement, 1, (int64_t)task->number);
    bind_parts(statement, 2, is_large ? NULL : task->result);
    sqlite3_bind_int(statement, 3, flags);
    sqlite3_bind_int64(statement, 4, (int64_t)task->result->parts_bytes);
    if (hub_sql_finish(database, statement, err))
        return -1;
    database->bytes += task->result->parts_bytes;
    return 0;
}

int hub_database_resubmitted(struct hub_database *database, const struct hub_task *task,
                             struct pc_err *err)
{
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_RESUBMITTED);
    sqlite3_bind_int64(statement, 1, (int64_t)task->number);
    sqlite3_bind_int64(statement, 2, (int64_t)task->resubmitted.session);
    sqlite3_bind_int64(statement, 3, (int64_t)task->resubmitted.sequence);
    return hub_sql_finish(database, statement, err);
}

/* ---- durable tasks ---------------------------------------------------------------------- */

int hub_database_submit(struct hub_database *database, const struct hub_task *task,
                        struct pc_err *err)
{
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_ADD_SUBMITTED);
    if (task->function && write_function(database, task->function, err))
        return -1;
    sqlite3_clear_bindings(statement);
    sqlite3_bind_int64(statement, 1, (int64_t)task->number);
    hub_sql_bind_key(statement, 2, &task->key);
    sqlite3_bind_int64(statement, 4, task->submitted_us);
    sqlite3_bind_int(statement, 5, task->kind);
    sqlite3_bind_int64(statement, 6, (int64_t)task->request_bytes);
    sqlite3_bind_blob(statement, 7, task->body, (int)task->body_size, SQLITE_STATIC);
    if (task->function)
        sqlite3_bind_blob(statement, 8, task->function->name, PC_FUNCTION_NAME_SIZE, SQLITE_STATIC);
    bind_parts(statement, 9, task->request);
    return hub_sql_finish(database, statement, err);
}

int hub_database_change_submitted(struct hub_database *database, const struct hub_task *task,
                                  struct pc_err *err)
{
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_CHANGE_SUBMITTED);
    sqlite3_bind_int64(statement, 1, (int64_t)task->number);
    sqlite3_bind_blob(statement, 2, task->body, (int)task->body_size, SQLITE_STATIC);
    return hub_sql_finish(database, statement, err);
}
