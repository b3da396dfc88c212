/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/database_sql.h"

/* The task of this row, whose first columns are number, size, flags, session, sequence. */
static int forget_row(struct hub_database *database, sqlite3_stmt *row, struct pc_err *err)
{
    sqlite3_stmt *statement = hub_sql_prepared(database, HUB_SQL_FORGET);
    uint64_t size = (uint64_t)sqlite3_column_int64(row, 1);
    sqlite3_bind_int64(statement, 1, sqlite3_column_int64(row, 0));
    hub_result_remove(database, row);
    sqlite3_reset(row);
    if (hub_sql_finish(database, statement, err))
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

/* The oldest, if there is a reason. 1: dropped; 0: no reason. */
static int drop_one(struct hub_database *database, bool is_too_many, int64_t older_us,
                    struct pc_err *err)
{
    sqlite3_stmt *row = hub_sql_prepared(database, HUB_SQL_OLDEST);
    int dropped = 0;
    if (sqlite3_step(row) == SQLITE_ROW && (is_too_many || sqlite3_column_int64(row, 5) < older_us))
        dropped = forget_row(database, row, err) ? -1 : 1;
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
        hub_sql_run(
            database, "write to",
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
    sqlite3_stmt *row = hub_sql_prepared(database, HUB_SQL_FULLEST),
                 *strip = hub_sql_prepared(database, HUB_SQL_STRIP);
    if (sqlite3_step(row) != SQLITE_ROW) {
        sqlite3_reset(row);
        return 1;
    }
    int flags = sqlite3_column_int(row, 2);
    uint64_t size = (uint64_t)sqlite3_column_int64(row, 1);
    bool has_result = sqlite3_column_int(row, 5) || flags & HUB_ROW_IN_FILE;
    hub_result_remove(database, row);
    flags = (flags & ~HUB_ROW_IN_FILE) | (has_result ? HUB_ROW_WAS_KEPT : 0);
    sqlite3_bind_int64(strip, 1, sqlite3_column_int64(row, 0));
    sqlite3_bind_int(strip, 2, flags);
    sqlite3_reset(row);
    if (hub_sql_finish(database, strip, err))
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
