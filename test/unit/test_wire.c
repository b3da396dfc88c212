/* SPDX-License-Identifier: BSD-3-Clause */
/* The wire: what goes in at one end comes out at the other, in pieces of any size, and nothing
 * that breaks the rules gets through. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "lib/key.h"
#include "lib/preamble.h"
#include "lib/proto.h"
#include "lib/proto_task.h"
#include "lib/wire.h"

struct pair {
    struct pc_wire from, to;
};

static void pair_init(struct pair *pair, bool is_encrypted, enum pc_suite suite)
{
    pc_wire_init(&pair->from, 0);
    pc_wire_init(&pair->to, PC_FROM_CLIENT | PC_FROM_SCHED | PC_FROM_WORK);
    if (!is_encrypted)
        return;
    struct pc_keypair mine, theirs;
    struct pc_handshake a, b;
    struct pc_cipher send_cipher, receive_cipher, send_back, receive_back;
    uint8_t msg1[PC_NOISE_MSG1_SIZE], msg2[PC_NOISE_MSG2_SIZE], none[1];
    assert_int_equal(pc_noise_init(), 0);
    pc_keypair_generate(&mine);
    pc_keypair_generate(&theirs);
    pc_handshake_init(&a, suite, true, "p", 1, mine.private_key, theirs.public_key);
    pc_handshake_init(&b, suite, false, "p", 1, theirs.private_key, NULL);
    assert_true(pc_handshake_write(&a, NULL, 0, msg1) == sizeof(msg1));
    assert_true(pc_handshake_read(&b, msg1, sizeof(msg1), none) == 0);
    assert_true(pc_handshake_write(&b, NULL, 0, msg2) == sizeof(msg2));
    assert_true(pc_handshake_read(&a, msg2, sizeof(msg2), none) == 0);
    pc_handshake_split(&a, &send_cipher, &receive_cipher);
    pc_handshake_split(&b, &send_back, &receive_back);
    assert_int_equal(pc_wire_encrypt(&pair->from, &send_cipher, &receive_cipher), 0);
    assert_int_equal(pc_wire_encrypt(&pair->to, &send_back, &receive_back), 0);
}

static void pair_fini(struct pair *pair)
{
    pc_wire_fini(&pair->from);
    pc_wire_fini(&pair->to);
}

/* Moves up to `max` bytes, as one read would; returns how many. */
static size_t move(struct pair *pair, size_t max)
{
    struct iovec vector;
    size_t room;
    int count = pc_wire_gather(&pair->from, &vector, 1);
    assert_true(count >= 0);
    if (!count)
        return 0;
    uint8_t *place = pc_wire_space(&pair->to, &room);
    assert_non_null(place);
    size_t n = vector.iov_len < max ? vector.iov_len : max;
    n = n < room ? n : room;
    memcpy(place, vector.iov_base, n);
    pc_wire_received(&pair->to, n);
    pc_wire_sent(&pair->from, n);
    return n;
}

static struct pc_msg *make(uint64_t sequence, const uint64_t *sizes, uint16_t count)
{
    uint8_t body[PC_RUN_BODY_SIZE] = {PC_KIND_APPLY};
    struct pc_msg *msg = pc_msg_new(PC_MSG_RUN, sizeof(body), sizes, count);
    memcpy(msg->body, body, sizeof(body));
    msg->head.session = 77;
    msg->head.sequence = sequence;
    msg->head.engine_id = 5;
    for (uint16_t i = 0; i < count; i++)
        for (uint64_t k = 0; k < sizes[i]; k++)
            msg->parts[i].data[k] = (uint8_t)(sequence * 31 + i * 7 + k * 13 + (k >> 8));
    return msg;
}

static void check_same(const struct pc_msg *a, const struct pc_msg *b)
{
    assert_int_equal(a->head.type, b->head.type);
    assert_true(a->head.sequence == b->head.sequence && a->head.session == b->head.session);
    assert_int_equal(a->head.engine_id, b->head.engine_id);
    assert_int_equal(a->head.body_size, b->head.body_size);
    assert_memory_equal(a->body, b->body, a->head.body_size);
    assert_int_equal(a->head.part_count, b->head.part_count);
    assert_true(a->parts_bytes == b->parts_bytes);
    for (uint16_t i = 0; i < a->head.part_count; i++) {
        assert_true(a->parts[i].size == b->parts[i].size);
        if (a->parts[i].size > 4096)
            assert_int_equal((uintptr_t)b->parts[i].data % 64, 0);
        if (a->parts[i].size)
            assert_memory_equal(a->parts[i].data, b->parts[i].data, a->parts[i].size);
    }
}

static const uint64_t shapes[][4] = {
    {0, 0, 0, 0},       {1, 0, 2, 0},         {100, 200, 300, 400}, {4096, 4097, 1, 0},
    {8192, 8193, 0, 7}, {65519, 1, 65520, 0}, {70000, 70000, 3, 9}, {300000, 0, 1, 131072},
};

/* Sends everything in pieces of up to `step` bytes and checks that the same comes out. */
static void carry(struct pair *pair, size_t step)
{
    size_t count = sizeof(shapes) / sizeof(shapes[0]);
    struct pc_msg *sent[2 * sizeof(shapes) / sizeof(shapes[0])];
    size_t got = 0;
    for (size_t i = 0; i < 2 * count; i++) {
        sent[i] = make(i, shapes[i % count], (uint16_t)(i % 5));
        assert_int_equal(pc_wire_send(&pair->from, sent[i]), 0);
    }
    while (got < 2 * count) {
        struct pc_err err;
        size_t moved = move(pair, step);
        struct pc_msg *msg;
        while ((msg = pc_wire_next(&pair->to, &err)) != NULL) {
            check_same(sent[got++], msg);
            pc_msg_unref(msg);
        }
        assert_int_equal(err.code, PC_OK);
        assert_true(moved > 0 || got == 2 * count);
    }
    assert_true(pc_wire_queued(&pair->from) == 0);
    assert_false(pc_wire_is_within(&pair->to));
    for (size_t i = 0; i < 2 * count; i++)
        pc_msg_unref(sent[i]);
}

static void carry_all(bool is_encrypted, enum pc_suite suite)
{
    static const size_t steps[] = {1021, 2048, 2049, 40000, 65537, 200000, 1 << 24};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct pair pair;
        pair_init(&pair, is_encrypted, suite);
        carry(&pair, steps[i]);
        pc_wire_trim(&pair.from);
        pc_wire_trim(&pair.to);
        carry(&pair, steps[i]);
        pair_fini(&pair);
    }
}

static void plain_messages_arrive(void **state)
{
    carry_all(false, PC_SUITE_PLAIN);
}

static void encrypted_messages_arrive(void **state)
{
    carry_all(true, PC_SUITE_CHACHAPOLY);
    if (pc_suite_available(PC_SUITE_AESGCM))
        carry_all(true, PC_SUITE_AESGCM);
}

static void single_bytes_are_enough(void **state)
{
    for (int is_encrypted = 0; is_encrypted < 2; is_encrypted++) {
        struct pair pair;
        struct pc_msg *msg = make(1, shapes[2], 4), *got = NULL;
        struct pc_err err;
        pair_init(&pair, is_encrypted, PC_SUITE_CHACHAPOLY);
        pc_wire_send(&pair.from, msg);
        while (!got) {
            assert_int_equal(move(&pair, 1), 1);
            got = pc_wire_next(&pair.to, &err);
            assert_int_equal(err.code, PC_OK);
        }
        check_same(msg, got);
        pc_msg_unref(msg);
        pc_msg_unref(got);
        pair_fini(&pair);
    }
}

static void settled_messages_do_not_need_their_memory(void **state)
{
    struct pair pair;
    struct pc_err err;
    uint8_t *part = malloc(100000);
    memset(part, 'x', 100000);
    struct pc_bytes bytes = {part, 100000};
    uint8_t body[PC_RUN_BODY_SIZE] = {PC_KIND_APPLY};
    struct pc_msg *msg = pc_msg_borrowing(PC_MSG_RUN, body, sizeof(body), &bytes, 1);
    pair_init(&pair, false, PC_SUITE_PLAIN);
    pc_wire_send(&pair.from, msg);
    pc_msg_unref(msg);
    move(&pair, 5000);
    assert_int_equal(pc_wire_settle(&pair.from), 0);
    memset(part, 'y', 100000);
    free(part);
    assert_null(pc_wire_next(&pair.to, &err));
    while (move(&pair, 30000))
        if ((msg = pc_wire_next(&pair.to, &err)) != NULL)
            break;
    assert_non_null(msg);
    for (size_t i = 0; i < 100000; i++)
        assert_int_equal(msg->parts[0].data[i], 'x');
    pc_msg_unref(msg);
    pair_fini(&pair);
}

/* Feeds a header; returns the error's code. */
static enum pc_errc feed(const struct pc_frame *frame, const uint64_t *sizes, int patch_at,
                         uint8_t patch)
{
    struct pc_wire wire;
    struct pc_err err;
    uint8_t bytes[PC_FRAME_SIZE + 64];
    size_t room, size = PC_FRAME_SIZE;
    pc_wire_init(&wire, PC_FROM_CLIENT);
    pc_frame_encode(frame, bytes);
    if (patch_at >= 0)
        bytes[patch_at] = patch;
    for (int i = 0; sizes && i < frame->part_count; i++, size += 8)
        pc_store_u64(bytes + size, sizes[i]);
    memcpy(pc_wire_space(&wire, &room), bytes, size);
    pc_wire_received(&wire, size);
    assert_null(pc_wire_next(&wire, &err));
    pc_wire_fini(&wire);
    return err.code;
}

static void broken_headers_are_refused(void **state)
{
    struct pc_frame good = {.type = PC_MSG_SUBMIT, .body_size = 10, .part_count = 2};
    struct pc_frame frame = good;
    uint64_t sizes[2] = {5, 6};
    assert_int_equal(feed(&good, sizes, -1, 0), PC_OK);
    assert_int_equal(feed(&good, sizes, 0, 'q'), PC_E_PROTOCOL);
    assert_int_equal(feed(&good, sizes, 1, PC_PROTOCOL_VERSION + 1), PC_E_VERSION);
    assert_int_equal(feed(&good, sizes, 3, 1), PC_E_PROTOCOL);
    frame.type = 63;
    assert_int_equal(feed(&frame, sizes, -1, 0), PC_E_PROTOCOL);
    frame.type = 255;
    assert_int_equal(feed(&frame, sizes, -1, 0), PC_E_PROTOCOL);
    frame.type = PC_MSG_RUN; /* known, but not a client's to send */
    assert_int_equal(feed(&frame, sizes, -1, 0), PC_E_PROTOCOL);
    frame = good;
    frame.body_size = UINT32_MAX;
    assert_int_equal(feed(&frame, sizes, -1, 0), PC_E_PROTOCOL);
    frame = good;
    frame.part_count = PC_PARTS_MAX + 1;
    assert_int_equal(feed(&frame, NULL, -1, 0), PC_E_PROTOCOL);
    sizes[0] = PC_PARTS_BYTES_MAX;
    sizes[1] = 1;
    assert_int_equal(feed(&good, sizes, -1, 0), PC_E_PROTOCOL);
    sizes[0] = sizes[1] = UINT64_MAX;
    assert_int_equal(feed(&good, sizes, -1, 0), PC_E_PROTOCOL);
}

static void a_changed_record_is_refused(void **state)
{
    for (int at = 0; at < 60; at++) {
        struct pair pair;
        struct pc_err err;
        struct iovec vector;
        size_t room;
        struct pc_msg *msg = make(1, shapes[1], 3);
        pair_init(&pair, true, PC_SUITE_CHACHAPOLY);
        pc_wire_send(&pair.from, msg);
        pc_msg_unref(msg);
        assert_int_equal(pc_wire_gather(&pair.from, &vector, 1), 1);
        ((uint8_t *)vector.iov_base)[2 + at] ^= 1;
        uint8_t *place = pc_wire_space(&pair.to, &room);
        assert_true(room >= vector.iov_len);
        memcpy(place, vector.iov_base, vector.iov_len);
        pc_wire_received(&pair.to, vector.iov_len);
        assert_null(pc_wire_next(&pair.to, &err));
        assert_int_equal(err.code, PC_E_PROTOCOL);
        pair_fini(&pair);
    }
}

static void bodies_of_work_come_back(void **state)
{
    struct pc_buf buf;
    struct pc_err err;
    uint8_t targets[12];
    for (uint32_t i = 0; i < 3; i++)
        pc_store_u32(targets + 4 * i, i * 1000);
    struct pc_submit_body in = {.kind = PC_KIND_PUSH,
                                .run_flags = 1,
                                .target_count = 3,
                                .targets = targets,
                                .label_size = 4,
                                .label = "name"},
                          out;
    pc_buf_init(&buf, 0);
    assert_int_equal(pc_submit_encode(&buf, &in), 0);
    for (size_t size = 0; size < buf.size; size++) { /* every truncation is refused */
        struct pc_msg *cut = pc_msg_with_body(PC_MSG_SUBMIT, buf.data, size);
        assert_int_equal(pc_submit_decode(cut, &out, &err), -1);
        pc_msg_unref(cut);
    }
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_SUBMIT, buf.data, buf.size);
    assert_int_equal(pc_submit_decode(msg, &out, &err), 0);
    assert_int_equal(out.kind, PC_KIND_PUSH);
    assert_int_equal(out.target_count, 3);
    assert_int_equal(pc_load_u32(out.targets + 8), 2000);
    assert_memory_equal(out.label, "name", 4);
    pc_msg_unref(msg);
    pc_buf_put_u8(&buf, 0); /* and so is anything behind it */
    msg = pc_msg_with_body(PC_MSG_SUBMIT, buf.data, buf.size);
    assert_int_equal(pc_submit_decode(msg, &out, &err), -1);
    pc_msg_unref(msg);
    pc_buf_fini(&buf);
}

static void preambles_come_back(void **state)
{
    struct pc_preamble in = {.version = 1, .suite_or_answer = 2, .instance = "0123456789abcde"};
    struct pc_preamble out;
    uint8_t bytes[PC_PREAMBLE_SIZE];
    pc_preamble_encode(&in, bytes);
    assert_int_equal(pc_preamble_decode(bytes, &out), 0);
    assert_int_equal(out.version, 1);
    assert_int_equal(out.suite_or_answer, 2);
    assert_memory_equal(out.instance, in.instance, PC_INSTANCE_SIZE);
    for (int at = 0; at < 16; at++) {
        bytes[at] ^= 0x40;
        if (at < 8 || at > 10)
            assert_int_equal(pc_preamble_decode(bytes, &out), -1);
        bytes[at] ^= 0x40;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_messages_arrive),
        cmocka_unit_test(encrypted_messages_arrive),
        cmocka_unit_test(single_bytes_are_enough),
        cmocka_unit_test(settled_messages_do_not_need_their_memory),
        cmocka_unit_test(broken_headers_are_refused),
        cmocka_unit_test(a_changed_record_is_refused),
        cmocka_unit_test(bodies_of_work_come_back),
        cmocka_unit_test(preambles_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
