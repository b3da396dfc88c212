/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/frame.h"

#include "lib/buf.h"
#include "lib/proto.h"

void pc_frame_encode(const struct pc_frame *frame, uint8_t out[PC_FRAME_SIZE])
{
    out[0] = PC_FRAME_MAGIC;
    out[1] = PC_PROTOCOL_VERSION;
    out[2] = frame->type;
    out[3] = 0;
    pc_store_u32(out + 4, frame->body_size);
    pc_store_u64(out + 8, frame->session);
    pc_store_u64(out + 16, frame->sequence);
    pc_store_u32(out + 24, frame->engine_id);
    pc_store_u16(out + 28, frame->part_count);
    pc_store_u16(out + 30, frame->received);
}

int pc_frame_decode(const uint8_t in[PC_FRAME_SIZE], uint32_t senders, struct pc_frame *frame,
                    struct pc_err *err)
{
    if (in[0] != PC_FRAME_MAGIC)
        return pc_err_set(err, PC_E_PROTOCOL, "a frame begins with byte 0x%02x instead of 0x%02x",
                          in[0], PC_FRAME_MAGIC);
    if (in[1] != PC_PROTOCOL_VERSION)
        return pc_err_set(err, PC_E_VERSION, "a frame has protocol version %u, this is version %u",
                          in[1], PC_PROTOCOL_VERSION);
    if (in[3] != 0)
        return pc_err_set(err, PC_E_PROTOCOL, "a frame has unknown flags set");
    struct pc_frame got = {
        .type = in[2],
        .body_size = pc_load_u32(in + 4),
        .session = pc_load_u64(in + 8),
        .sequence = pc_load_u64(in + 16),
        .engine_id = pc_load_u32(in + 24),
        .part_count = pc_load_u16(in + 28),
        .received = pc_load_u16(in + 30),
    };
    const struct pc_msg_rule *rule = pc_msg_rule(got.type);
    if (!rule)
        return pc_err_set(err, PC_E_PROTOCOL, "unknown message type %u", got.type);
    if (!(rule->senders & senders))
        return pc_err_set(err, PC_E_PROTOCOL, "%s may not be sent by this peer", rule->name);
    if (got.body_size > rule->body_max)
        return pc_err_set(err, PC_E_PROTOCOL, "%s with a body of %u bytes, more than %u",
                          rule->name, got.body_size, rule->body_max);
    if (got.part_count > rule->parts_max || got.part_count > PC_PARTS_MAX)
        return pc_err_set(err, PC_E_PROTOCOL, "%s with %u parts", rule->name, got.part_count);
    *frame = got;
    return 0;
}
