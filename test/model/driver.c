/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The real decisions, driven by lines on stdin; what they do is printed (see yard.h), and after
 * each line a "." with the number of unfinished tasks that each session is held to have. A command
 * that is impossible now does nothing, so that any part of a history is one.
 *
 *   S session task priority retries repeat timeout run_timeout targets after follow tags label
 *   N session task engines label       submits to these engines, in the order of task numbers
 *   A engine how   its first task ends: 1 well, 2 badly, 3 because the engine does not suit it
 *   Q engine       its first task ends well, and took no time
 *   R engine begun it answers a RECALL: so many of those have begun, if not more have ended
 *   G engine session task              a result from an engine that is gone
 *   U engine tags  it comes
 *   Z engine       it stops            W engine   ... and goes on
 *   B engine       its connections break
 *   D engine replaced begun   its process ends, and that is reported; -1: not what had begun
 *   T ms           time goes by
 *   X session task flags               aborts by number
 *   I session engine                   interrupts what runs there
 *   J session json                     asks
 *
 * Lists are separated by commas, "-" is an empty one; after and follow are rule:session.task,...
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "lib/log.h"
#include "yard.h"

#define LIST_MAX     16
#define SESSIONS     3
#define SLOW_US      1000000
#define WINDOW_COUNT 20

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

static void submit(unsigned session, unsigned sequence, const struct pc_submit_body *body)
{
    if (!yard_try_submit(&yard, client_of(session), sequence, body))
        printf("x %u %u\n", session, sequence);
}

static void submit_balanced(const char *line)
{
    uint8_t targets[4 * LIST_MAX], after_memory[PC_ACK_SIZE * LIST_MAX],
        follow_memory[PC_ACK_SIZE * LIST_MAX];
    char target_text[200], after[400], follow[400], tags[PC_TAGS_MAX + 1], label[100];
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE,
                                  .flags = PC_SUBMIT_BALANCED | PC_SUBMIT_OPTIONS};
    unsigned session, sequence, repeat;
    if (sscanf(line, "S %u %u %d %u %u %u %u %199s %399s %399s %127s %99s", &session, &sequence,
               &body.priority, &body.retries, &repeat, &body.timeout_ms, &body.run_timeout_ms,
               target_text, after, follow, tags, label) != 12)
        return;
    if (repeat)
        body.flags |= PC_SUBMIT_RETRY_SAME;
    read_targets(target_text, &body, targets);
    read_needs(after, &body.after, after_memory);
    read_needs(follow, &body.follow, follow_memory);
    body.tags = tags;
    body.tags_size = *tags == '-' ? 0 : (uint16_t)strlen(tags);
    body.label = label;
    body.label_size = *label == '-' ? 0 : (uint16_t)strlen(label);
    submit(session, sequence, &body);
}

static void submit_direct(const char *line)
{
    uint8_t targets[4 * LIST_MAX];
    char target_text[200], label[100];
    struct pc_submit_body body = {.kind = PC_KIND_EXECUTE};
    unsigned session, sequence;
    if (sscanf(line, "N %u %u %199s %99s", &session, &sequence, target_text, label) != 4)
        return;
    read_targets(target_text, &body, targets);
    body.label = label;
    body.label_size = *label == '-' ? 0 : (uint16_t)strlen(label);
    submit(session, sequence, &body);
}

static void come(const char *line)
{
    char tags[PC_TAGS_MAX + 1];
    unsigned id;
    if (sscanf(line, "U %u %127s", &id, tags) != 2 || yard_has_known(&yard, id))
        return;
    yard.next_id = id;
    yard_tagged_engine(&yard, *tags == '-' ? "" : tags);
}

static void ask(const char *line)
{
    unsigned session;
    int at;
    if (sscanf(line, "J %u %n", &session, &at) == 1)
        yard_query(&yard, client_of(session), line + at);
}

static void answer(uint32_t id, uint8_t status, int64_t took_us)
{
    yard.took_us = took_us;
    yard_answer(&yard, id, status);
}

/* What was answered has begun. */
static void recalled(const struct engine *engine, uint32_t begun)
{
    uint32_t count = engine->runs + 1 - engine->recalled;
    uint32_t first = engine->running ? engine->running->run - engine->recalled : count;
    if (first <= count && begun < first)
        begun = first;
    yard_recalled(&yard, engine->id, begun < count ? begun : count);
}

/* What an engine does that has a connection and is not stopped. */
static void act(const char *line, const struct engine *engine, unsigned b)
{
    if (*line == 'A' && engine->running)
        answer(engine->id, b == 3 ? YARD_UNMET : (uint8_t)b, SLOW_US);
    else if (*line == 'Q' && engine->running)
        answer(engine->id, PC_STATUS_OK, SCHED_AHEAD_US);
    else if (*line == 'R' && engine->is_recalling)
        recalled(engine, b);
}

static void run_line(const char *line)
{
    unsigned a = 0, b = 0, c = 0;
    sscanf(line + 1, "%u %u %u", &a, &b, &c); /* -1: UINT_MAX */
    const struct engine *engine = engine_find(&yard.sched, a);
    if (*line == 'S')
        submit_balanced(line);
    else if (*line == 'N')
        submit_direct(line);
    else if (*line == 'G' && !engine && yard_has_known(&yard, a))
        yard_answer_late(&yard, a, b, c);
    else if (*line == 'U')
        come(line);
    else if (strchr("ZW", *line) && yard_has_known(&yard, a))
        yard_stop(&yard, a, *line == 'Z');
    else if (*line == 'B' && engine && engine->work)
        yard_break(&yard, a, "lost its connection");
    else if (*line == 'D' && engine && !engine->has_exited)
        yard_report_begun(&yard, a, b, c);
    else if (*line == 'T')
        yard_pass(&yard, a);
    else if (*line == 'X')
        yard_abort(&yard, client_of(a), b, (uint8_t)c);
    else if (*line == 'I')
        yard_interrupt(&yard, client_of(a), b);
    else if (*line == 'J')
        ask(line);
    else if (engine && engine->work && !yard_is_stopped(&yard, a))
        act(line, engine, b);
}

/* As clients do. */
static void acknowledge_all(void)
{
    for (size_t i = 1; i <= SESSIONS; i++) {
        struct task *task, *next;
        DL_FOREACH_SAFE2 (client_of(i)->tasks, task, next, client_next)
            if (task_is_over(task))
                task_free(&yard.sched, task);
    }
}

static void end_step(void)
{
    acknowledge_all();
    putchar('.');
    for (size_t i = 1; i <= SESSIONS; i++)
        printf(" %llu", (unsigned long long)client_of(i)->window.count);
    putchar('\n');
}

int main(int argc, char **argv)
{
    char line[1200];
    if (argc != 1)
        return 2;
    pc_log_set_level(PC_LOG_ERROR);
    yard_log = stdout;
    yard_open(&yard, "leastload", 1);
    yard.sched.window_count = WINDOW_COUNT;
    while (fgets(line, sizeof(line), stdin)) {
        run_line(line);
        end_step();
    }
    yard_close(&yard);
    return 0;
}
