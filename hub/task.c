/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/tasks.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/proto.h"

static void output_free(struct hub_output *output)
{
    if (!output)
        return;
    for (int i = 0; i < PC_STREAM_TEXTS; i++) {
        if (output->live[i])
            pc_capture_fini(output->live[i]);
        free(output->live[i]);
        free(output->text[i]);
    }
    free(output);
}

void hub_task_drop_payload(struct hub_task *task)
{
    hub_function_put(task->function);
    task->function = NULL;
    pc_msg_unref(task->request);
    pc_msg_unref(task->result);
    output_free(task->output);
    task->request = task->result = NULL;
    task->output = NULL;
}

void hub_task_free(struct hub_task *task)
{
    if (!task)
        return;
    hub_task_drop_payload(task);
    free(task->body);
    free(task);
}

/* ---- ids -------------------------------------------------------------------------------- */

void hub_id_print(const struct hub_task_key *key, char text[HUB_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++)
        text[i] = digits[key->session >> (60 - 4 * i) & 15];
    text[16] = '_';
    char number[24], *end = number + sizeof(number), *at = end;
    uint64_t left = key->sequence;
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    memcpy(text + 17, at, (size_t)(end - at));
    text[17 + (end - at)] = '\0';
}

int hub_id_parse(const char *text, struct hub_task_key *key)
{
    struct hub_task_key got = {0};
    char again[HUB_ID_SIZE];
    int end = 0;
    if (sscanf(text, "%16" SCNx64 "_%" SCNu64 "%n", &got.session, &got.sequence, &end) != 2)
        return -1;
    hub_id_print(&got, again);
    if (strcmp(again, text) != 0)
        return -1;
    *key = got;
    return 0;
}

/* ---- the body of its submission --------------------------------------------------------- */

int hub_task_body(const struct hub_task *task, struct pc_submit_body *body)
{
    struct pc_msg msg = {.head = {.type = PC_MSG_SUBMIT, .body_size = task->body_size},
                         .body = task->body};
    return task->body ? pc_submit_decode(&msg, body, NULL) : -1;
}

int hub_task_set_body(struct hub_task *task, const void *body, size_t size,
                      struct pc_submit_body *fields)
{
    uint8_t *copy = size ? pc_xrealloc(NULL, size, 1) : NULL;
    if (copy)
        memcpy(copy, body, size);
    struct pc_msg msg = {.head = {.type = PC_MSG_SUBMIT, .body_size = (uint32_t)size},
                         .body = copy};
    if (!copy || pc_submit_decode(&msg, fields, NULL)) {
        free(copy);
        return -1;
    }
    free(task->body);
    task->body = copy;
    task->body_size = (uint32_t)size;
    task->is_balanced = fields->flags & PC_SUBMIT_BALANCED;
    return 0;
}

struct pc_msg *hub_task_request(const struct hub_task *task)
{
    struct pc_submit_body body;
    if (!task->request || hub_task_body(task, &body) || (body.function && !task->function))
        return NULL;
    if (!body.function)
        return pc_msg_ref(task->request);
    const struct pc_part *function = &task->function->msg->parts[0];
    uint16_t count = task->request->head.part_count;
    if (count == PC_PARTS_MAX)
        return NULL;
    uint64_t *sizes = pc_xcalloc(count + 1u, sizeof(*sizes));
    sizes[0] = function->size;
    for (uint16_t i = 0; i < count; i++)
        sizes[i + 1] = task->request->parts[i].size;
    struct pc_msg *msg = pc_msg_new(PC_MSG_SUBMIT, 0, sizes, (uint16_t)(count + 1));
    free(sizes);
    if (!msg)
        pc_fatal(1, "out of memory");
    memcpy(msg->parts[0].data, function->data, function->size);
    for (uint16_t i = 0; i < count; i++)
        memcpy(msg->parts[i + 1].data, task->request->parts[i].data, task->request->parts[i].size);
    return msg;
}

/* ---- output ----------------------------------------------------------------------------- */

static struct pc_capture *live_output(struct hub_task *task, uint8_t stream)
{
    if (!task->output)
        task->output = pc_xcalloc(1, sizeof(*task->output));
    struct pc_capture **live = &task->output->live[stream];
    if (!*live) {
        *live = pc_xcalloc(1, sizeof(**live));
        pc_capture_init(*live, PC_CAPTURE_KEPT_HALF);
    }
    return *live;
}

size_t hub_task_print(struct hub_task *task, const struct pc_stream_body *body, const void *data,
                      size_t size)
{
    return pc_capture_add_at(live_output(task, body->stream), body->at,
                             body->flags & PC_STREAM_AGAIN, data, size);
}

void hub_task_load_output(struct hub_task *task, uint8_t stream, const void *text, size_t size)
{
    pc_capture_load(live_output(task, stream), text, size);
}

void hub_task_close_output(struct hub_task *task)
{
    struct hub_output *output = task->output;
    for (int i = 0; output && i < PC_STREAM_TEXTS; i++) {
        if (!output->live[i])
            continue;
        output->text[i] = pc_capture_text(output->live[i], &output->size[i]);
        pc_capture_fini(output->live[i]);
        free(output->live[i]);
        output->live[i] = NULL;
    }
}

char *hub_task_output(const struct hub_task *task, uint8_t stream, size_t *size)
{
    const struct hub_output *output = task->output;
    *size = 0;
    if (!output)
        return NULL;
    if (output->live[stream])
        return pc_capture_text(output->live[stream], size);
    if (!output->text[stream])
        return NULL;
    char *copy = pc_xrealloc(NULL, output->size[stream] + 1, 1);
    memcpy(copy, output->text[stream], output->size[stream] + 1);
    *size = output->size[stream];
    return copy;
}

/* ---- what it costs ---------------------------------------------------------------------- */

/* Without a look at the messages: they are in no cache when it matters. */
static uint64_t message_bytes(const struct pc_msg *msg, uint64_t parts_bytes)
{
    return msg ? sizeof(*msg) + sizeof(struct pc_part) + parts_bytes : 0;
}

uint64_t hub_task_payload(const struct hub_task *task)
{
    uint64_t bytes = message_bytes(task->request, task->request_bytes) +
                     message_bytes(task->result, task->result_bytes);
    if (!task->output)
        return bytes;
    bytes += sizeof(*task->output);
    for (int i = 0; i < PC_STREAM_TEXTS; i++)
        bytes += task->output->size[i];
    return bytes;
}

uint64_t hub_task_cost(const struct hub_task *task)
{
    /* With what malloc needs for two pieces, and the places in the tables. */
    return sizeof(*task) + task->body_size + 64;
}
