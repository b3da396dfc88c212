/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/successor.h"

#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "lib/log.h"
#include "lib/mem.h"

/* In one answer; the rest is asked for once more. */
#define GIVEN_UP_MAX 20000

static void orphan_all(struct hub_history *history)
{
    struct hub_task *task;
    for (uint64_t at = 0; (task = hub_tasks_after(&history->tasks, at, NULL)) != NULL;
         at = task->number)
        task->is_orphan = !hub_task_has_ended(task);
}

/* ---- whom the last scheduler knew --------------------------------------------------------- */

/* As the scheduler told it to clients. */
static pc_json *about(const struct hub_engine *engine)
{
    pc_json *row = pc_json_object();
    pc_json_put_i64(row, "id", engine->id);
    pc_json_put_i64(row, "pid", engine->pid);
    pc_json_put_str(row, "host", engine->host);
    pc_json_put_str(row, "python", engine->python);
    pc_json_put_str(row, "uuid", engine->uuid);
    pc_json_put_str(row, "tags", engine->tags);
    return row;
}

static void put_session(pc_json *rows, uint64_t session)
{
    pc_json *row = pc_json_object();
    pc_json_put_u64(row, "session", session);
    pc_json_append(rows, row);
}

struct left {
    uint64_t session;
    UT_hash_handle hh;
};

/* Of clients that have left and have tasks that go on. */
static pc_json *sessions_left(struct hub *hub)
{
    struct left *all = NULL, *left, *next;
    struct hub_task *task;
    pc_json *rows = pc_json_array();
    for (uint64_t at = 0; (task = hub_tasks_after(&hub->history.tasks, at, NULL)) != NULL;
         at = task->number) {
        const uint64_t *session = &task->key.session;
        if (!task->is_orphan)
            continue;
        HASH_FIND(hh, all, session, sizeof(*session), left);
        if (left || hub_clients_find(&hub->clients, *session))
            continue;
        left = pc_xcalloc(1, sizeof(*left));
        left->session = *session;
        HASH_ADD(hh, all, session, sizeof(left->session), left);
        put_session(rows, *session);
    }
    HASH_ITER (hh, all, left, next) {
        HASH_DEL(all, left);
        free(left);
    }
    return rows;
}

static void put_heritage(struct hub *hub, pc_json *answer)
{
    pc_json *up = pc_json_array(), *sessions = pc_json_array();
    struct hub_engine *engine, *next_engine;
    struct hub_client *client, *next_client;
    HASH_ITER (hh, hub->engines.by_id, engine, next_engine)
        if (engine->state != HUB_ENGINE_DOWN)
            pc_json_append(up, about(engine));
    HASH_ITER (hh, hub->clients.by_session, client, next_client)
        put_session(sessions, client->session);
    pc_json_put(answer, "up", up);
    pc_json_put(answer, "sessions", sessions);
    pc_json_put(answer, "left", sessions_left(hub));
}

/* ---- what it will never hear of ------------------------------------------------------------ */

static void give_up(struct hub *hub, struct hub_task *task)
{
    struct hub_history *history = &hub->history;
    task->is_orphan = false;
    hub_history_leave_engine(&hub->engines, task);
    hub_history_end(history, task, "EngineError",
                    "the scheduler was killed, and started again without this task: it had not "
                    "begun and is too large to be kept, or its end was not recorded");
    hub_watches_end(&hub->watches, history, task, &hub->scheduler.conn);
    hub_history_keep(history, task);
}

static void give_up_named(struct hub *hub, const pc_json *tasks)
{
    struct hub_task_key key;
    for (const pc_json *row = pc_json_first(tasks); row; row = pc_json_next(row)) {
        bool is_id = pc_json_text(row) && hub_id_parse(pc_json_text(row), &key) == 0;
        struct hub_task *task = is_id ? hub_tasks_find(&hub->history.tasks, &key) : NULL;
        if (task && !hub_task_has_ended(task))
            give_up(hub, task);
    }
}

/* `session` 0: of clients that are not there. */
static bool is_meant(struct hub *hub, const struct hub_task *task, uint64_t session)
{
    if (!task->is_orphan || task->is_durable || hub_task_has_ended(task))
        return false;
    return session ? task->key.session == session
                   : !hub_clients_is_there(&hub->clients, task->key.session);
}

static void settle(struct hub *hub, uint64_t session, pc_json *answer)
{
    pc_json *given_up = pc_json_array();
    struct hub_task *task;
    char id[HUB_ID_SIZE];
    unsigned count = 0;
    uint64_t next;
    for (uint64_t at = 0; (task = hub_tasks_after(&hub->history.tasks, at, NULL)) != NULL;
         at = next) {
        next = task->number;
        if (!is_meant(hub, task, session))
            continue;
        hub_id_print(&task->key, id);
        pc_json_append_str(given_up, id);
        give_up(hub, task);
        if (++count == GIVEN_UP_MAX)
            break;
    }
    if (count)
        pc_info("%u tasks were lost with the scheduler", count);
    pc_json_put_bool(answer, "more", count == GIVEN_UP_MAX);
    pc_json_put_u64(answer, "session", session);
    if (count)
        pc_json_put(answer, "given_up", given_up);
    else
        pc_json_free(given_up);
}

/* ---- its questions ------------------------------------------------------------------------- */

bool hub_successor_asks(const pc_json *question)
{
    const char *name = pc_json_str_or(question, "query", "");
    return strcmp(name, "heritage") == 0 || strcmp(name, "settle") == 0;
}

pc_json *hub_successor_answer(struct hub *hub, const pc_json *question)
{
    pc_json *answer = pc_json_object();
    const pc_json *tasks = pc_json_member(question, "tasks");
    uint64_t session = 0;
    pc_json_put_bool(answer, "ok", true);
    if (strcmp(pc_json_str_or(question, "query", ""), "heritage") == 0) {
        orphan_all(&hub->history);
        put_heritage(hub, answer);
    } else if (tasks) {
        give_up_named(hub, tasks);
    } else if (!pc_json_member(question, "session") ||
               pc_json_get_u64(question, "session", &session, NULL) == 0) {
        settle(hub, session, answer);
    }
    return answer;
}
