/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/database_sql.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/parts.h"
#include "lib/mem.h"

char *hub_result_path(const struct hub_database *database, const struct hub_task_key *key)
{
    char id[HUB_ID_SIZE];
    hub_id_print(key, id);
    return pc_xasprintf("%s-results/%s", database->path, id);
}

int hub_result_write(struct hub_database *database, const struct hub_task *task, struct pc_err *err)
{
    char *folder = pc_xasprintf("%s-results", database->path);
    char *path = hub_result_path(database, &task->key);
    int status =
        mkdir(folder, 0700) < 0 && errno != EEXIST ? -1 : hub_parts_save(task->result, path);
    if (status < 0)
        pc_err_sys(err, "can't write the result file '%.200s'", path);
    free(folder);
    free(path);
    return status;
}

void hub_result_remove(const struct hub_database *database, sqlite3_stmt *row)
{
    struct hub_task_key key = {(uint64_t)sqlite3_column_int64(row, 3),
                               (uint64_t)sqlite3_column_int64(row, 4)};
    if (!(sqlite3_column_int(row, 2) & HUB_ROW_IN_FILE))
        return;
    char *path = hub_result_path(database, &key);
    unlink(path);
    free(path);
}
