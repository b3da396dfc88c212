/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/database_sql.h"

#include <stdlib.h>
#include <string.h>

#include "hub/parts.h"
#include "lib/mem.h"

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
    task->has_gap = flags & HUB_ROW_GAP;
    task->was_kept = flags & HUB_ROW_WAS_KEPT;
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
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_FIND);
    hub_sql_bind_key(statement, 1, key);
    return first_row(statement);
}

static uint64_t number_in(sqlite3_stmt *row, const struct hub_task_key *key)
{
    hub_sql_bind_key(row, 1, key);
    uint64_t number = sqlite3_step(row) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(row, 0) : 0;
    sqlite3_reset(row);
    return number;
}

uint64_t hub_database_number(struct hub_database *database, const struct hub_task_key *key)
{
    return number_in(hub_sql_prepared(database, HUB_SQL_NUMBER), key);
}

bool hub_database_is_submitted(struct hub_database *database, const struct hub_task_key *key)
{
    return number_in(hub_sql_prepared(database, HUB_SQL_SUBMITTED_NUMBER), key) != 0;
}

static int64_t bounded(uint64_t number)
{
    return number > INT64_MAX ? INT64_MAX : (int64_t)number;
}

struct hub_task *hub_database_after(struct hub_database *database, uint64_t number,
                                    const char *label)
{
    sqlite3_stmt *statement =
        hub_sql_prepared(database, label ? HUB_SQL_AFTER_LABELLED : HUB_SQL_AFTER);
    sqlite3_bind_int64(statement, 1, bounded(number));
    if (label)
        sqlite3_bind_text(statement, 2, label, -1, SQLITE_STATIC);
    return first_row(statement);
}

struct hub_task *hub_database_before(struct hub_database *database, uint64_t number)
{
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_BEFORE);
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
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_FUNCTION);
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
    sqlite3_stmt *row = hub_sql_prepared(database, HUB_SQL_LOAD);
    struct pc_msg *function = NULL;
    sqlite3_bind_int64(row, 1, (int64_t)task->number);
    if (sqlite3_step(row) == SQLITE_ROW) {
        task->request = parts_of(row, 0);
        task->result = parts_of(row, 1);
        for (uint8_t stream = 0; stream < PC_STREAM_TEXTS; stream++)
            load_column(task, stream, row, 4 + stream);
        if (sqlite3_column_bytes(row, 2) == PC_FUNCTION_NAME_SIZE)
            function = function_of(database, sqlite3_column_blob(row, 2));
        if (sqlite3_column_int(row, 3) & HUB_ROW_IN_FILE) {
            char *path = hub_result_path(database, &task->key);
            task->result = hub_parts_load(path);
            free(path);
        }
    }
    sqlite3_reset(row);
    return function;
}

struct hub_task *hub_database_submitted(struct hub_database *database, uint64_t number)
{
    sqlite3_stmt *row = hub_sql_prepared(database, HUB_SQL_NEXT_SUBMITTED);
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
    sqlite3_stmt *row = hub_sql_prepared(database, HUB_SQL_LOAD_SUBMITTED);
    struct pc_msg *function = NULL;
    hub_sql_bind_key(row, 1, &task->key);
    if (sqlite3_step(row) == SQLITE_ROW) {
        task->request = parts_of(row, 0);
        if (sqlite3_column_bytes(row, 1) == PC_FUNCTION_NAME_SIZE)
            function = function_of(database, sqlite3_column_blob(row, 1));
    }
    sqlite3_reset(row);
    return function;
}
