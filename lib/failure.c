/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/failure.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/pcluster.h"
#include "lib/proto.h"
#include "lib/proto_task.h"

struct pc_msg *pc_failure_new(const char *ename, const char *text)
{
    struct pc_result_body body = {.status = PC_STATUS_FAILED, .completed_us = pc_wall_us()};
    pc_json *json = pc_json_object();
    pc_json_put_str(json, "ename", ename);
    pc_json_put_str(json, "evalue", text);
    pc_json_put_str(json, "traceback", "");
    pc_json_put(json, "engine_info", pc_json_object());
    char *json_text = pc_json_print(json);
    pc_json_free(json);
    uint64_t size = json_text ? strlen(json_text) : 0;
    struct pc_msg *msg = pc_msg_new(PC_MSG_RESULT, PC_RESULT_BODY_SIZE, &size, 1);
    if (msg) {
        pc_result_encode(msg->body, &body);
        if (size)
            memcpy(msg->parts[0].data, json_text, size);
    }
    free(json_text);
    return msg;
}
