/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks leave the file, or what they carry does; a function goes with the last task that names it.
 */
#include "hub/database_sql.h"

#include <string.h>

#include "lib/clock.h"

/* ---- functions -------------------------------------------------------------------------- */

int hub_sql_drop_loose(struct hub_database *database, struct pc_err *err)
{
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_DROP_FUNCTION);
    if (!database->has_loose)
        return 0;
    database->has_loose = false;
    sqlite3_bind_blob(statement, 1, database->loose, sizeof(database->loose), SQLITE_STATIC);
    return hub_sql_finish(database, statement, err);
}

/* A row that names this function will not do so any more. Neighbours mostly name the same one: it
 * is looked at when another one comes, or at the end. */
static int loosen(struct hub_database *database, sqlite3_stmt *row, int column, struct pc_err *err)
{
    const void *name = sqlite3_column_blob(row, column);
    if (!name || sqlite3_column_bytes(row, column) != sizeof(database->loose))
        return 0;
    if (database->has_loose && memcmp(database->loose, name, sizeof(database->loose)) == 0)
        return 0;
    uint8_t next[PC_FUNCTION_NAME_SIZE];
    memcpy(next, name, sizeof(next));
    if (hub_sql_drop_loose(database, err))
        return -1;
    memcpy(database->loose, next, sizeof(next));
    database->has_loose = true;
    return 0;
}

/* ---- tasks ------------------------------------------------------------------------------ */

/* The task of this row; its first columns: number, size, flags, session, sequence, function. */
static int forget_row(struct hub_database *database, sqlite3_stmt *row, struct pc_err *err)
{
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_FORGET);
    uint64_t size = (uint64_t)sqlite3_column_int64(row, 1);
    sqlite3_bind_int64(statement, 1, sqlite3_column_int64(row, 0));
    hub_result_remove(database, row);
    int problem = loosen(database, row, 5, err);
    sqlite3_reset(row);
    if (problem || hub_sql_finish(database, statement, err))
        return -1;
    database->count--;
    database->bytes -= size;
    return 0;
}

int hub_database_forget(struct hub_database *database, const struct hub_task_key *key,
                        struct pc_err *err)
{
    sqlite3_stmt *row = hub_sql_prepared(database, HUB_SQL_FORGOTTEN);
    hub_sql_bind_key(row, 1, key);
    int status = sqlite3_step(row);
    int problem = status == SQLITE_ROW    ? forget_row(database, row, err)
                  : status == SQLITE_DONE ? 0
                                          : hub_sql_failed(database, "read", err);
    sqlite3_reset(row);
    return problem;
}

/* 1: one is gone; 0: there is none, or no reason. */
static int drop_one(struct hub_database *database, bool is_too_many, int64_t older_us,
                    struct pc_err *err)
{
    sqlite3_stmt *row = hub_sql_prepared(database, HUB_SQL_OLDEST);
    int dropped = 0;
    int status = sqlite3_step(row);
    if (status != SQLITE_ROW && status != SQLITE_DONE)
        dropped = hub_sql_failed(database, "read", err);
    else if (status == SQLITE_ROW && (is_too_many || sqlite3_column_int64(row, 6) < older_us))
        dropped = forget_row(database, row, err) ? -1 : 1;
    sqlite3_reset(row);
    return dropped;
}

static int strip_one(struct hub_database *database, uint64_t *dropped, struct pc_err *err)
{
    sqlite3_stmt *row = hub_sql_prepared(database, HUB_SQL_FULLEST),
                 *strip = hub_sql_prepared(database, HUB_SQL_STRIP);
    int status = sqlite3_step(row);
    if (status != SQLITE_ROW) {
        int problem = status == SQLITE_DONE ? 0 : hub_sql_failed(database, "read", err);
        sqlite3_reset(row);
        return problem;
    }
    int flags = sqlite3_column_int(row, 2);
    uint64_t size = (uint64_t)sqlite3_column_int64(row, 1);
    bool has_result = sqlite3_column_int(row, 6) || flags & HUB_ROW_IN_FILE;
    hub_result_remove(database, row);
    flags = (flags & ~HUB_ROW_IN_FILE) | (has_result ? HUB_ROW_WAS_KEPT : 0);
    sqlite3_bind_int64(strip, 1, sqlite3_column_int64(row, 0));
    sqlite3_bind_int(strip, 2, flags);
    int problem = loosen(database, row, 5, err);
    sqlite3_reset(row);
    if (problem || hub_sql_finish(database, strip, err))
        return -1;
    database->bytes -= size;
    *dropped += has_result;
    return 1;
}

/* ---- many of them ----------------------------------------------------------------------- */

struct run {
    const struct hub_database_pace *pace;
    int64_t begun_us, tasks;
};

static bool is_at_its_pace(struct run *run)
{
    return run->tasks++ >= run->pace->tasks || pc_clock_us() - run->begun_us > run->pace->time_us;
}

/* `done`: 1 there may be more, 0 there is none, -1 with err. */
static int finish(struct hub_database *database, int done, struct pc_err *err)
{
    if (done >= 0 && hub_database_commit(database, err) == 0)
        return done;
    hub_database_rollback(database);
    return -1;
}

int hub_database_drop(struct hub_database *database, uint64_t count, int64_t older_us,
                      const struct hub_database_pace *pace, struct pc_err *err)
{
    struct run run = {pace, pc_clock_us(), 0};
    int dropped = 1;
    if (hub_database_begin(database, false, err))
        return -1;
    while (dropped > 0 && (database->count > count || older_us) && !is_at_its_pace(&run))
        dropped = drop_one(database, database->count > count, older_us, err);
    if (dropped > 0 && database->count <= count && !older_us)
        dropped = 0;
    return finish(database, dropped, err);
}

int hub_database_strip(struct hub_database *database, uint64_t bytes,
                       const struct hub_database_pace *pace, uint64_t *dropped, struct pc_err *err)
{
    struct run run = {pace, pc_clock_us(), 0};
    uint64_t results = 0;
    int stripped = 1;
    if (hub_database_begin(database, false, err))
        return -1;
    while (stripped > 0 && database->bytes > bytes && !is_at_its_pace(&run))
        stripped = strip_one(database, &results, err);
    if (stripped > 0 && database->bytes <= bytes)
        stripped = 0;
    int status = finish(database, stripped, err);
    *dropped += status < 0 ? 0 : results;
    return status;
}
