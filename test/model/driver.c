/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The real decisions, driven by lines on stdin; what they do is printed, and a "." after each
 * line. A command that is impossible now does nothing, so that any part of a history is one.
 *
 *   S session task priority retries repeat timeout run_timeout targets after follow tags  submit
 *   A engine how   its first task ends: 1 well, 2 badly, 3 because the engine does not suit it
 *   U tags         an engine comes             L engine   one goes
 *   T ms           time goes by                X session task flags   abort
 *
 * Lists are separated by commas, "-" is an empty one; after and follow are rule:session.task,...
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "yard.h"

#define LIST_MAX 16

static struct yard yard;

static struct client *client_of(unsigned session)
{
    if (!yard.clients[session])
        yard.clients[session] = yard_client(&yard, session);
    return yard.clients[session];
}

static void read_targets(char *text, struct pc_submit_body *body, uint8_t *memory)
{
    body->targets = memory;
    for (char *at = strtok(text, ","); at && *at != '-'; at = strtok(NULL, ","))
        pc_store_u32(memory + 4 * body->target_count++, (uint32_t)strtoul(at, NULL, 10));
}

static void read_needs(char *text, struct pc_submit_needs *needs, uint8_t *memory)
{
    needs->tasks = memory;
    if (*text == '-')
        return;
    needs->rule = (uint8_t)strtoul(text, &text, 10);
    while (*text == ':' || *text == ',') {
        uint8_t *pair = memory + PC_ACK_SIZE * needs->count++;
        pc_store_u64(pair, strtoul(text + 1, &text, 10));
        pc_store_u64(pair + 8, strtoul(text + 1, &text, 10));
    }
}

static void submit(const char *line)
{
    uint8_t targets[4 * LIST_MAX], after_memory[PC_ACK_SIZE * LIST_MAX],
        follow_memory[PC_ACK_SIZE * LIST_MAX];
    char target_text[200], after[400], follow[400], tags[PC_TAGS_MAX + 1];
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE,
                                  .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS};
    unsigned session, sequence, repeat;
    if (sscanf(line, "S %u %u %d %u %u %u %u %199s %399s %399s %127s", &session, &sequence,
               &body.priority, &body.retries, &repeat, &body.timeout_ms, &body.run_timeout_ms,
               target_text, after, follow, tags) != 11)
        return;
    if (repeat)
        body.flags |= PC_SUBMIT_RETRY_SAME;
    read_targets(target_text, &body, targets);
    read_needs(after, &body.after, after_memory);
    read_needs(follow, &body.follow, follow_memory);
    body.tags = tags;
    body.tags_size = *tags == '-' ? 0 : (uint16_t)strlen(tags);
    yard_submit(&yard, client_of(session), sequence, &body);
}

static void come(const char *line)
{
    char tags[PC_TAGS_MAX + 1];
    if (sscanf(line, "U %127s", tags) == 1)
        yard_tagged_engine(&yard, *tags == '-' ? "" : tags);
}

static void run_line(const char *line)
{
    unsigned a = 0, b = 0, c = 0;
    sscanf(line + 1, "%u %u %u", &a, &b, &c);
    struct engine *engine = engine_find(&yard.sched, a);
    if (*line == 'S')
        submit(line);
    else if (*line == 'A' && engine && yard_running(&yard, a))
        yard_answer(&yard, a, b == 3 ? YARD_UNMET : (uint8_t)b);
    else if (*line == 'U')
        come(line);
    else if (*line == 'L' && engine)
        yard_lose(&yard, a, "it was lost");
    else if (*line == 'T')
        yard_pass(&yard, a);
    else if (*line == 'X')
        yard_abort(&yard, client_of(a), b, (uint8_t)c);
}

/* As clients do. */
static void acknowledge_all(void)
{
    for (size_t i = 0; i < sizeof(yard.clients) / sizeof(yard.clients[0]); i++) {
        struct task *task, *next;
        if (!yard.clients[i])
            continue;
        DL_FOREACH_SAFE2 (yard.clients[i]->tasks, task, next, client_next)
            if (task_is_over(task))
                task_free(&yard.sched, task);
    }
}

int main(int argc, char **argv)
{
    char line[1200];
    if (argc != 3)
        return 2;
    yard_log = stdout;
    yard_open(&yard, argv[1], (unsigned)atoi(argv[2]));
    while (fgets(line, sizeof(line), stdin)) {
        run_line(line);
        acknowledge_all();
        puts(".");
    }
    yard_close(&yard);
    return 0;
}
