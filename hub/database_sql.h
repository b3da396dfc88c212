/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the database share: its handle, and the statements on it. Nothing else in the
 * project uses SQLite.
 */
#ifndef PC_HUB_DATABASE_SQL_H
#define PC_HUB_DATABASE_SQL_H

#include <sqlite3.h>

#include "hub/database.h"

/* The column `flags`. */
enum { HUB_ROW_BALANCED = 1, HUB_ROW_GAP = 2, HUB_ROW_WAS_KEPT = 4, HUB_ROW_IN_FILE = 8 };

enum hub_sql_statement {
    HUB_SQL_INSERT,
    HUB_SQL_INSERT_FUNCTION,
    HUB_SQL_NUMBER,
    HUB_SQL_ADD_RESULT,
    HUB_SQL_FIND,
    HUB_SQL_AFTER,
    HUB_SQL_AFTER_LABELLED,
    HUB_SQL_BEFORE,
    HUB_SQL_LOAD,
    HUB_SQL_FUNCTION,
    HUB_SQL_ADD_SUBMITTED,
    HUB_SQL_CHANGE_SUBMITTED,
    HUB_SQL_SUBMITTED_NUMBER,
    HUB_SQL_NEXT_SUBMITTED,
    HUB_SQL_LOAD_SUBMITTED,
    HUB_SQL_ADOPT,
    HUB_SQL_FINISH,
    HUB_SQL_FORGOTTEN,
    HUB_SQL_FORGET,
    HUB_SQL_DROP_FUNCTION,
    HUB_SQL_RESUBMITTED,
    HUB_SQL_OLDEST,
    HUB_SQL_FULLEST,
    HUB_SQL_STRIP,
    HUB_SQL_STATEMENTS,
};

struct hub_database {
    sqlite3 *handle;
    sqlite3_stmt *statements[HUB_SQL_STATEMENTS];
    char *path;
    uint64_t count, bytes, last;
    uint64_t count_before, bytes_before;  /* the transaction */
    bool is_synced;                       /* commits wait for the disk */
    uint8_t loose[PC_FUNCTION_NAME_SIZE]; /* what was dropped named it: is it still needed? */
    bool has_loose;
};

/* Sets `err` to "can't `what` the database ...: what SQLite says"; -1. */
int hub_sql_failed(const struct hub_database *database, const char *what, struct pc_err *err);
int hub_sql_run(struct hub_database *database, const char *what, const char *text,
                struct pc_err *err);
/* Borrowed; NULL when SQLite refuses it, and then every call on it fails. */
sqlite3_stmt *hub_sql_prepared(struct hub_database *database, enum hub_sql_statement which);
/* Runs a statement that gives no row. */
int hub_sql_finish(struct hub_database *database, sqlite3_stmt *statement, struct pc_err *err);
/* Binds session and sequence to `column` and the next. */
void hub_sql_bind_key(sqlite3_stmt *statement, int column, const struct hub_task_key *key);

/* Before a commit: the last function that was left by a task goes, too, unless another names it. */
int hub_sql_drop_loose(struct hub_database *database, struct pc_err *err);

/* ---- large results ---- */
/* For the caller to free. */
char *hub_result_path(const struct hub_database *database, const struct hub_task_key *key);
int hub_result_write(struct hub_database *database, const struct hub_task *task,
                     struct pc_err *err);
/* Of a row that has flags, session and sequence as columns 2 to 4. */
void hub_result_remove(const struct hub_database *database, sqlite3_stmt *row);

#endif
