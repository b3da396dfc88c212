/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/link.h"
#include "lib/proto.h"
#include "lib/spawn.h"

/* ---- handing over ----------------------------------------------------------------------- */

static void test_a_descriptor_arrives(void **state)
{
    int pair[2], given[2];
    char text[4] = "";
    assert_int_equal(pc_handover_pair(pair, NULL), 0);
    assert_int_equal(pipe(given), 0);
    assert_int_equal(pc_handover_send(pair[0], given[0], NULL), 0);
    close(given[0]);
    int taken = pc_handover_take(pair[1], NULL);
    assert_true(taken >= 0);
    assert_true(fcntl(taken, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(given[1], "abc", 3), 3);
    assert_int_equal(read(taken, text, 3), 3);
    assert_string_equal(text, "abc");
    close(taken);
    close(given[1]);
    close(pair[0]);
    close(pair[1]);
}

static void test_nothing_was_handed_over(void **state)
{
    int pair[2];
    struct pc_err err;
    assert_int_equal(pc_handover_pair(pair, NULL), 0);
    assert_int_equal(pc_handover_take(pair[1], &err), -1);
    assert_int_equal(send(pair[0], "x", 1, 0), 1); /* a byte without one */
    assert_int_equal(pc_handover_take(pair[1], &err), -1);
    close(pair[0]);
    assert_int_equal(pc_handover_take(pair[1], &err), -1);
    close(pair[1]);
    assert_int_equal(pc_handover_pair(pair, NULL), 0);
    close(pair[1]);
    assert_int_equal(pc_handover_send(pair[0], 0, &err), -1);
    close(pair[0]);
}

/* ---- the connection that is replaced ---------------------------------------------------- */

struct place {
    uv_loop_t loop;
    struct pc_conns conns;
    struct pc_link link;
    int messages, losses, closes, openings;
};

static void on_message(struct pc_conn *conn, struct pc_msg *msg)
{
    struct place *place = conn->owner;
    place->messages++;
    pc_msg_unref(msg);
}

static void on_lost(struct pc_conn *conn, const struct pc_err *why)
{
    struct place *place = conn->owner;
    place->losses++;
    pc_link_lost(&place->link);
}

static void on_closed(struct pc_conn *conn)
{
    struct place *place = conn->owner;
    place->closes++;
    pc_link_closed(&place->link);
}

static void on_replaced(struct pc_link *link)
{
    struct place *place = link->owner;
    place->openings++;
}

static const struct pc_conn_events events = {
    .on_message = on_message, .on_lost = on_lost, .on_closed = on_closed};

static void open_place(struct place *place, int fd)
{
    memset(place, 0, sizeof(*place));
    assert_int_equal(uv_loop_init(&place->loop), 0);
    assert_int_equal(pc_conns_init(&place->conns, &place->loop), 0);
    assert_int_equal(pc_link_init(&place->link, &place->conns, fd, PC_FROM_HUB, &events, place), 0);
    place->link.on_replaced = on_replaced;
}

static void close_place(struct place *place)
{
    pc_link_close(&place->link);
    pc_conns_fini(&place->conns);
    uv_run(&place->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&place->loop), 0);
}

static void say(int fd)
{
    struct pc_sock sock;
    struct pc_msg *msg = pc_msg_with_body(PC_MSG_REPLY, "{}", 2);
    pc_sock_init(&sock, dup(fd), PC_FROM_SCHED);
    assert_int_equal(pc_sock_send(&sock, msg, NULL), 0);
    pc_msg_unref(msg);
    pc_sock_close(&sock);
}

static void run_until(struct place *place, const int *counter, int value)
{
    for (int turn = 0; *counter < value; turn++) {
        assert_true(turn < 1000);
        uv_run(&place->loop, UV_RUN_ONCE);
    }
}

/* The old end may be lost before the new one comes, or after. */
static void test_it_is_replaced(void **state)
{
    struct place place;
    int first[2], second[2], third[2];
    assert_int_equal(pc_socketpair(first, NULL), 0);
    assert_int_equal(pc_socketpair(second, NULL), 0);
    assert_int_equal(pc_socketpair(third, NULL), 0);
    open_place(&place, first[0]);
    say(first[1]); /* its last words */
    pc_link_replace(&place.link, second[0]);
    assert_int_equal(place.messages, 1);
    assert_false(place.link.is_open);
    run_until(&place, &place.openings, 1);
    assert_int_equal(place.losses, 0);
    assert_true(place.link.is_open);
    say(second[1]);
    run_until(&place, &place.messages, 2);

    close(second[1]);
    run_until(&place, &place.closes, 2);
    assert_int_equal(place.losses, 1);
    assert_int_equal(place.openings, 1);
    assert_false(place.link.is_open);
    pc_conn_send_body(&place.link.conn, PC_MSG_REPLY, "{}", 2); /* is lost */
    pc_link_replace(&place.link, third[0]);
    run_until(&place, &place.openings, 2);
    say(third[1]);
    run_until(&place, &place.messages, 3);
    close(first[1]);
    close(third[1]);
    close_place(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_descriptor_arrives),
        cmocka_unit_test(test_nothing_was_handed_over),
        cmocka_unit_test(test_it_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
