/* SPDX-License-Identifier: BSD-3-Clause */
/* A session over connections that break at any byte: each message comes once, and in order. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "lib/lifeline.h"
#include "lib/proto.h"
#include "lib/wire.h"

struct end {
    struct pc_lifeline lifeline;
    struct pc_wire wire;
    uint64_t sent, came;
};

struct session {
    struct end ends[2];
    uint32_t seed;
};

static uint32_t draw(struct session *session, uint32_t below)
{
    session->seed = session->seed * 1664525u + 1013904223u;
    return (session->seed >> 8) % below;
}

static void connect_ends(struct session *session)
{
    for (int i = 0; i < 2; i++) {
        pc_wire_init(&session->ends[i].wire,
                     PC_FROM_CLIENT | PC_FROM_SCHED | PC_FROM_WORK | PC_FROM_CONTROL);
        session->ends[i].wire.lifeline = &session->ends[i].lifeline;
    }
}

static void open_session(struct session *session, uint32_t seed)
{
    *session = (struct session){.seed = seed};
    connect_ends(session);
}

static void close_session(struct session *session)
{
    for (int i = 0; i < 2; i++) {
        pc_wire_fini(&session->ends[i].wire);
        pc_lifeline_fini(&session->ends[i].lifeline);
    }
}

static void send_one(struct session *session, struct end *end)
{
    uint64_t size = draw(session, 20) ? draw(session, 100) : 20000;
    struct pc_msg *msg = pc_msg_new(PC_MSG_RESULT, 0, &size, 1);
    memset(msg->parts[0].data, (int)size, size);
    msg->head.sequence = ++end->sent;
    assert_int_equal(pc_wire_send(&end->wire, msg), 0);
    pc_msg_unref(msg);
}

/* Moves at most `max` bytes; takes what is whole. */
static void move(struct end *from, struct end *to, size_t max)
{
    struct iovec vector;
    struct pc_msg *msg;
    struct pc_err err;
    while (max && pc_wire_gather(&from->wire, &vector, 1)) {
        size_t room, n;
        uint8_t *place = pc_wire_space(&to->wire, &room);
        n = vector.iov_len < room ? vector.iov_len : room;
        n = n < max ? n : max;
        memcpy(place, vector.iov_base, n);
        pc_wire_sent(&from->wire, n);
        pc_wire_received(&to->wire, n);
        max -= n;
        while ((msg = pc_wire_next(&to->wire, &err)) != NULL) {
            assert_int_equal(msg->head.sequence, ++to->came);
            assert_int_equal(msg->head.received, 0);
            if (msg->head.part_count && msg->parts[0].size)
                assert_int_equal(msg->parts[0].data[msg->parts[0].size - 1],
                                 (uint8_t)msg->parts[0].size);
            pc_msg_unref(msg);
        }
        if (err.code != PC_OK)
            fail_msg("%s", err.text);
    }
}

static void break_connection(struct session *session)
{
    struct pc_err err;
    struct end *ends = session->ends;
    for (int i = 0; i < 2; i++)
        pc_wire_fini(&ends[i].wire);
    connect_ends(session);
    for (int i = 0; i < 2; i++) {
        if (pc_lifeline_resume(&ends[i].lifeline, ends[!i].lifeline.received, &err))
            fail_msg("%s", err.text);
        assert_int_equal(pc_wire_resume(&ends[i].wire), 0);
    }
}

static void each_message_comes_once(void **state)
{
    for (uint32_t seed = 1; seed <= 50; seed++) {
        struct session session;
        struct end *ends = session.ends;
        open_session(&session, seed);
        for (int step = 0; step < 2000; step++) {
            uint32_t what = draw(&session, 100);
            int from = (int)draw(&session, 2);
            if (what < 50)
                send_one(&session, &ends[from]);
            else if (what < 98)
                move(&ends[from], &ends[!from], draw(&session, 1000));
            else
                break_connection(&session);
        }
        for (int i = 0; i < 2; i++)
            move(&ends[i], &ends[!i], SIZE_MAX);
        assert_int_equal(ends[0].sent, ends[1].came);
        assert_int_equal(ends[1].sent, ends[0].came);
        close_session(&session);
    }
}

/* Who only receives says so now and then; what has come is not kept. */
static void what_has_come_is_let_go(void **state)
{
    struct session session;
    struct end *ends = session.ends;
    open_session(&session, 1);
    for (int i = 0; i < 1000; i++) {
        send_one(&session, &ends[0]);
        move(&ends[0], &ends[1], SIZE_MAX);
        if (pc_lifeline_is_due(&ends[1].lifeline)) {
            struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECEIVED, NULL, 0);
            assert_int_equal(pc_wire_send(&ends[1].wire, msg), 0);
            pc_msg_unref(msg);
            move(&ends[1], &ends[0], SIZE_MAX);
            assert_int_equal(ends[0].lifeline.count, 0);
            assert_int_equal(ends[0].lifeline.kept_bytes, 0);
            assert_false(pc_lifeline_is_due(&ends[1].lifeline));
        }
        assert_true(ends[0].lifeline.count < 100);
    }
    assert_int_equal(ends[1].lifeline.sent, 0); /* RECEIVED is no message of the session */
    close_session(&session);
}

/* A lane that is not read for long: another one says what came, however much it is. */
static void what_came_is_told_apart(void **state)
{
    struct session session;
    struct pc_err err;
    struct end *ends = session.ends;
    open_session(&session, 1);
    ends[0].lifeline.hears_apart = ends[1].lifeline.is_told_apart = true;
    for (int i = 1; i <= 200000; i++) {
        send_one(&session, &ends[0]);
        move(&ends[0], &ends[1], SIZE_MAX);
        if (i % 1000 == 0) /* stays on its way: an old count, at best */
            send_one(&session, &ends[1]);
        if (!pc_lifeline_is_due(&ends[1].lifeline))
            continue;
        uint64_t came = pc_lifeline_tell_apart(&ends[1].lifeline);
        assert_int_equal(came, i);
        assert_int_equal(pc_lifeline_arrived(&ends[0].lifeline, came, &err), 0);
        pc_lifeline_trim(&ends[0].lifeline);
        assert_int_equal(ends[0].lifeline.count, 0);
    }
    move(&ends[1], &ends[0], SIZE_MAX);
    assert_int_equal(ends[0].came, 200);
    break_connection(&session);
    assert_int_equal(pc_lifeline_arrived(&ends[0].lifeline, 5, &err), 0); /* from before */
    assert_int_equal(ends[0].lifeline.arrived, 200000);
    assert_int_equal(pc_lifeline_arrived(&ends[0].lifeline, 200001, &err), -1);
    assert_int_equal(err.code, PC_E_PROTOCOL);
    close_session(&session);
}

/* What comes behind it in one read is taken as well. */
static void a_message_behind_received_is_taken(void **state)
{
    struct session session;
    struct end *ends = session.ends;
    open_session(&session, 1);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_RECEIVED, NULL, 0);
    assert_int_equal(pc_wire_send(&ends[0].wire, msg), 0);
    pc_msg_unref(msg);
    msg = pc_msg_with_body(PC_MSG_PONG, NULL, 0);
    msg->head.sequence = ++ends[0].sent;
    assert_int_equal(pc_wire_send(&ends[0].wire, msg), 0);
    pc_msg_unref(msg);
    move(&ends[0], &ends[1], SIZE_MAX);
    assert_int_equal(ends[1].came, 1);
    close_session(&session);
}

/* Numbers of more than 16 bits, and a frame that says the same as the one before. */
static void numbers_go_on(void **state)
{
    struct session session;
    struct end *ends = session.ends;
    open_session(&session, 1);
    for (int i = 0; i < 200000; i++) {
        send_one(&session, &ends[i % 2]);
        move(&ends[i % 2], &ends[1 - i % 2], SIZE_MAX);
    }
    break_connection(&session);
    send_one(&session, &ends[0]);
    move(&ends[0], &ends[1], SIZE_MAX);
    assert_int_equal(ends[1].came, 100001);
    assert_true(ends[1].lifeline.count <= 1);
    close_session(&session);
}

/* Memory that is not ours can't be sent again; something takes the place of the message. */
static void a_gap_is_filled(void **state)
{
    struct session session;
    struct pc_err err;
    struct end *ends = session.ends;
    uint8_t bytes[20000] = {0};
    struct pc_bytes part = {bytes, sizeof(bytes)};
    open_session(&session, 1);
    struct pc_msg *msg = pc_msg_borrowing(PC_MSG_SUBMIT, NULL, 0, &part, 1);
    assert_int_equal(pc_wire_send(&ends[0].wire, msg), 0);
    pc_lifeline_give_up(&ends[0].lifeline, msg);
    pc_lifeline_give_up(&ends[0].lifeline, msg); /* it is not there: nothing happens */
    pc_wire_fini(&ends[0].wire);
    pc_msg_unref(msg);
    assert_int_equal(ends[0].lifeline.kept_bytes, 0);
    pc_wire_fini(&ends[1].wire);
    connect_ends(&session);
    assert_int_equal(pc_lifeline_resume(&ends[0].lifeline, 0, &err), 0);
    assert_int_equal(pc_wire_resume(&ends[0].wire), 0);
    struct iovec vector;
    assert_int_equal(pc_wire_gather(&ends[0].wire, &vector, 1), 1);
    assert_int_equal(vector.iov_len, PC_FRAME_SIZE);
    assert_int_equal(((uint8_t *)vector.iov_base)[2], PC_MSG_RESULT_ACK);
    close_session(&session);
}

static void who_is_wrong_is_refused(void **state)
{
    struct session session;
    struct pc_err err;
    struct end *ends = session.ends;
    open_session(&session, 1);
    for (int i = 0; i < 3; i++)
        send_one(&session, &ends[0]);
    assert_int_equal(pc_lifeline_resume(&ends[0].lifeline, 4, &err), -1);
    assert_int_equal(err.code, PC_E_PROTOCOL);
    assert_int_equal(pc_lifeline_resume(&ends[0].lifeline, 2, &err), 0);
    assert_int_equal(pc_lifeline_resume(&ends[0].lifeline, 1, &err), -1);
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_PONG, NULL, 0);
    assert_int_equal(pc_lifeline_take(&ends[0].lifeline, msg, 3, &err), 0);
    assert_int_equal(pc_lifeline_take(&ends[0].lifeline, msg, 4, &err), -1);
    assert_int_equal(pc_lifeline_take(&ends[0].lifeline, msg, 2, &err),
                     -1); /* back by one: ahead by 65535 */
    pc_msg_unref(msg);
    close_session(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_comes_once),
        cmocka_unit_test(what_has_come_is_let_go),
        cmocka_unit_test(numbers_go_on),
        cmocka_unit_test(what_came_is_told_apart),
        cmocka_unit_test(a_message_behind_received_is_taken),
        cmocka_unit_test(a_gap_is_filled),
        cmocka_unit_test(who_is_wrong_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
