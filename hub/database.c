/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/database_sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

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

/* What is looked at without the payload, in the order of the columns. */
#define ROW                                                                                        \
    "SELECT number, session, sequence, label, submitted, started, completed, received,"            \
    " request_bytes, result_bytes, again_session, again_sequence, engine_id, engine_uuid, kind,"   \
    " status, flags, body FROM tasks "

static const char *const texts[HUB_SQL_STATEMENTS] = {
    [HUB_SQL_INSERT] =
        "INSERT OR REPLACE INTO tasks VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,"
        " ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25)",
    [HUB_SQL_INSERT_FUNCTION] = "INSERT OR IGNORE INTO functions VALUES(?1, ?2)",
    [HUB_SQL_NUMBER] = "SELECT number FROM tasks WHERE session = ?1 AND sequence = ?2",
    [HUB_SQL_FIND] = ROW "WHERE session = ?1 AND sequence = ?2",
    [HUB_SQL_AFTER] = ROW "WHERE number > ?1 ORDER BY number LIMIT 1",
    [HUB_SQL_AFTER_LABELLED] = ROW "WHERE label = ?2 AND number > ?1 ORDER BY number LIMIT 1",
    [HUB_SQL_BEFORE] = ROW "WHERE number < ?1 ORDER BY number DESC LIMIT 1",
    [HUB_SQL_LOAD] = "SELECT request, result, function, flags, stdout, stderr, display FROM tasks"
                     " WHERE number = ?1",
    [HUB_SQL_FUNCTION] = "SELECT pickle FROM functions WHERE name = ?1",
    [HUB_SQL_ADD_RESULT] =
        "UPDATE tasks SET result = ?2, flags = ?3, size = size + ?4 WHERE number = ?1",
    [HUB_SQL_ADD_SUBMITTED] =
        "INSERT OR IGNORE INTO submissions VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [HUB_SQL_CHANGE_SUBMITTED] = "UPDATE submissions SET body = ?2 WHERE number = ?1",
    [HUB_SQL_SUBMITTED_NUMBER] =
        "SELECT number FROM submissions WHERE session = ?1 AND sequence = ?2",
    [HUB_SQL_NEXT_SUBMITTED] =
        "SELECT number, session, sequence, submitted, kind, bytes, body FROM submissions"
        " WHERE number > ?1 ORDER BY number LIMIT 1",
    [HUB_SQL_LOAD_SUBMITTED] = "SELECT request, function FROM submissions"
                               " WHERE session = ?1 AND sequence = ?2",
    [HUB_SQL_ADOPT] =
        "UPDATE tasks SET (request, function) = (SELECT request, function FROM submissions"
        " WHERE session = ?1 AND sequence = ?2), size = size + ?3"
        " WHERE session = ?1 AND sequence = ?2",
    [HUB_SQL_FINISH] = "DELETE FROM submissions WHERE session = ?1 AND sequence = ?2",
    [HUB_SQL_FORGOTTEN] = "SELECT number, size, flags, session, sequence, function FROM tasks"
                          " WHERE session = ?1 AND sequence = ?2",
    [HUB_SQL_FORGET] = "DELETE FROM tasks WHERE number = ?1",
    [HUB_SQL_DROP_FUNCTION] = "DELETE FROM functions WHERE name = ?1"
                              " AND NOT EXISTS(SELECT 1 FROM tasks WHERE function = ?1)"
                              " AND NOT EXISTS(SELECT 1 FROM submissions WHERE function = ?1)",
    [HUB_SQL_RESUBMITTED] =
        "UPDATE tasks SET again_session = ?2, again_sequence = ?3 WHERE number = ?1",
    [HUB_SQL_OLDEST] = "SELECT number, size, flags, session, sequence, function, received"
                       " FROM tasks ORDER BY received LIMIT 1",
    [HUB_SQL_FULLEST] =
        "SELECT number, size, flags, session, sequence, function, result IS NOT NULL"
        " FROM tasks WHERE size > 0 ORDER BY received LIMIT 1",
    [HUB_SQL_STRIP] =
        "UPDATE tasks SET request = NULL, result = NULL, stdout = NULL, stderr = NULL,"
        " display = NULL, function = NULL, size = 0, flags = ?2 WHERE number = ?1",
};

/* ---- SQLite ----------------------------------------------------------------------------- */

int hub_sql_failed(const struct hub_database *database, const char *what, struct pc_err *err)
{
    int code = sqlite3_errcode(database->handle);
    bool is_damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    return pc_err_set(err, PC_E_SYSTEM, "can't %s the database of tasks '%.200s': %s%s", what,
                      database->path, sqlite3_errmsg(database->handle),
                      is_damaged ? " (move it away to begin another)" : "");
}

int hub_sql_run(struct hub_database *database, const char *what, const char *text,
                struct pc_err *err)
{
    return sqlite3_exec(database->handle, text, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : hub_sql_failed(database, what, err);
}

sqlite3_stmt *hub_sql_prepared(struct hub_database *database, enum hub_sql_statement which)
{
    sqlite3_stmt **statement = &database->statements[which];
    if (!*statement)
        sqlite3_prepare_v3(database->handle, texts[which], -1, SQLITE_PREPARE_PERSISTENT, statement,
                           NULL);
    return *statement; /* with NULL every call on it fails */
}

/* Of a statement that gives no row. */
int hub_sql_finish(struct hub_database *database, sqlite3_stmt *statement, struct pc_err *err)
{
    int status = sqlite3_step(statement);
    int problem = status == SQLITE_DONE ? 0 : hub_sql_failed(database, "write to", err);
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

void hub_sql_bind_key(sqlite3_stmt *statement, int column, const struct hub_task_key *key)
{
    sqlite3_bind_int64(statement, column, (int64_t)key->session);
    sqlite3_bind_int64(statement, column + 1, (int64_t)key->sequence);
}

/* ---- opening ---------------------------------------------------------------------------- */

static int migrate(struct hub_database *database, struct pc_err *err)
{
    char text[64];
    int64_t version = number_of(database, "PRAGMA user_version");
    if (version < 0)
        return hub_sql_failed(database, "read", err);
    if (version > HUB_SCHEMA_VERSION)
        return pc_err_set(err, PC_E_VERSION,
                          "the database of tasks '%.200s' was written by a newer pcluster (version "
                          "%" PRId64 ", this one knows %d): move it away, or update",
                          database->path, version, HUB_SCHEMA_VERSION);
    for (; version < HUB_SCHEMA_VERSION; version++) {
        snprintf(text, sizeof(text), "PRAGMA user_version = %" PRId64 "; COMMIT", version + 1);
        if (hub_sql_run(database, "update", "BEGIN IMMEDIATE", err) ||
            hub_sql_run(database, "update", steps[version], err) ||
            hub_sql_run(database, "update", text, err)) {
            hub_database_rollback(database);
            return -1;
        }
    }
    return 0;
}

/* Reads the whole file: that it is damaged shows here. */
static int read_totals(struct hub_database *database, struct pc_err *err)
{
    const struct {
        const char *text;
        uint64_t *total;
    } questions[] = {
        {"SELECT count(*) FROM tasks", &database->count},
        {"SELECT coalesce(sum(size), 0) FROM tasks", &database->bytes},
        {"SELECT max((SELECT coalesce(max(number), 0) FROM tasks),"
         " (SELECT coalesce(max(number), 0) FROM submissions))",
         &database->last},
    };
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        int64_t total = number_of(database, questions[i].text);
        if (total < 0)
            return hub_sql_failed(database, "read", err);
        *questions[i].total = (uint64_t)total;
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
        return hub_sql_failed(database, "open", err);
    sqlite3_busy_timeout(database->handle, BUSY_MS);
    if (hub_sql_run(database, "use", "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
                    err) ||
        migrate(database, err))
        return -1;
    return read_totals(database, err);
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
    for (int i = 0; i < HUB_SQL_STATEMENTS; i++)
        sqlite3_finalize(database->statements[i]);
    sqlite3_close(database->handle);
    free(database->path);
    free(database);
}

int hub_database_begin(struct hub_database *database, bool is_synced, struct pc_err *err)
{
    const char *how = is_synced ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL";
    if (is_synced != database->is_synced && hub_sql_run(database, "use", how, err))
        return -1;
    database->is_synced = is_synced;
    database->count_before = database->count;
    database->bytes_before = database->bytes;
    return hub_sql_run(database, "write to", "BEGIN IMMEDIATE", err);
}

int hub_database_commit(struct hub_database *database, struct pc_err *err)
{
    return hub_sql_drop_loose(database, err) ? -1
                                             : hub_sql_run(database, "write to", "COMMIT", err);
}

void hub_database_rollback(struct hub_database *database)
{
    sqlite3_exec(database->handle, "ROLLBACK", NULL, NULL, NULL);
    database->count = database->count_before;
    database->bytes = database->bytes_before;
    database->has_loose = false;
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
