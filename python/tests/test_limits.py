# SPDX-License-Identifier: BSD-3-Clause
"""How much a client may have under way, and what happens when there is no room."""

import queue
import threading
import time

import pytest
from fake import STREAM

import pcluster
from pcluster import error

MIB = 1 << 20


def finishes(function, *args):
    """What it returns; fails when it has not returned in time."""
    answer = []
    thread = threading.Thread(target=lambda: answer.append(function(*args)), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it is stuck"
    return answer[0]


def test_limits(make):
    controller = make(window_count=8)
    with pcluster.Client(controller.path) as c:
        controller.hold()
        assert c.limits == {"tasks": 0, "bytes": 0, "max_tasks": 8, "max_bytes": 1 << 30}
        c.load_balanced_view().apply_async(len, b"x" * 5000)
        assert c.limits["tasks"] == 1 and 5000 < c.limits["bytes"] < 6000
        controller.release()
        c.wait()
        assert (c.limits["tasks"], c.limits["bytes"]) == (0, 0)


def test_raising_when_full(make):
    controller = make(window_count=3)
    with pcluster.Client(controller.path) as c:
        assert c.when_full == "block"
        c.when_full = "raise"
        view = c.load_balanced_view()
        controller.hold()
        first = [view.apply_async(abs, -i) for i in range(3)]
        with pytest.raises(error.QueueFull, match="3 tasks .* a client may have 3 tasks") as info:
            view.apply_async(abs, -1)
        assert isinstance(info.value, queue.Full) and "pcluster sched --max-tasks" in str(info.value)
        assert len(c.outstanding) == 3
        c.abort(first[2])  # a question needs no room
        controller.release()
        assert first[0].get() == 0 and first[1].get() == 1
        assert view.apply_async(abs, -5).get() == 5
        with pytest.raises(ValueError):
            c.when_full = "explode"


def test_a_view_raises_or_waits(make):
    """Its flag goes first; without one it does what the client does."""
    controller = make(window_count=2)
    with pcluster.Client(controller.path) as c:
        for view in c.load_balanced_view(), c[0], c.broadcast_view([0]):
            assert view.when_full is None
            controller.hold()
            first = [view.apply_async(abs, -i) for i in range(2)]
            with view.temp_flags(when_full="raise"):
                with pytest.raises(error.QueueFull):
                    view.apply_async(abs, -2)
                with pytest.raises(error.QueueFull):
                    view.map_async(abs, [-2])
            assert view.when_full is None
            c.when_full = "raise"
            with pytest.raises(error.QueueFull):
                view.apply_async(abs, -2)
            waits = threading.Thread(target=view.set_flags(when_full="block").apply_async, args=(abs, -2), daemon=True)
            waits.start()
            waits.join(0.05)
            assert waits.is_alive()
            controller.release()
            waits.join(60)
            assert not waits.is_alive()
            c.when_full = "block"
            with pytest.raises(ValueError, match="'explode'"):
                view.when_full = "explode"
            c.wait()
            assert [one.get() for one in first] in ([0, 1], [[0], [1]])


def test_results_that_have_come_make_room(make):
    """Even when nobody has asked for them."""
    controller = make(window_count=3)
    with pcluster.Client(controller.path) as c:
        c.when_full = "raise"
        view = c.load_balanced_view()
        results = [view.apply_async(abs, -i) for i in range(3)]
        while controller.answered < 3:
            time.sleep(0.001)
        assert view.apply_async(abs, -3).get() == 3
        assert [one.get() for one in results] == [0, 1, 2]


def test_limits_change(make):
    """Lower ones hold back the next call, higher ones let a call go on that waits."""
    controller = make(window_count=4)
    with pcluster.Client(controller.path) as c:
        view = c.load_balanced_view()
        controller.hold()
        first = [view.apply_async(abs, -i) for i in range(3)]
        controller.connections[0].tell_window(2)
        while c.limits["max_tasks"] != 2:
            c.ids  # takes in what has arrived
        waits = threading.Thread(target=view.apply_async, args=(abs, -3), daemon=True)
        waits.start()
        waits.join(0.05)
        assert waits.is_alive() and c.limits["tasks"] == 3
        controller.connections[0].tell_window(10)
        waits.join(60)
        assert not waits.is_alive() and c.limits["tasks"] == 4
        controller.release()
        assert [one.get() for one in first] == [0, 1, 2]


@pytest.mark.parametrize("readers", [0, 1])
def test_two_full_directions(controller, client, readers):
    """The controller reads on only when it has sent all that it has: who sends must receive."""
    waiting = client[1].apply_async(abs, -1)
    waiting.wait()
    flooded = []

    def flood(connection, sizes):
        if sum(sizes) < MIB:
            return
        for _ in range(16):
            connection.send(STREAM, bytes(16), [bytes(MIB)], connection.session, 1, 0)
        flooded.append(sizes)

    controller.before_parts = flood
    controller.hold()
    others = [client[0].apply_async(abs, -2) for _ in range(readers)]
    threads = [threading.Thread(target=one.get, daemon=True) for one in others]
    for thread in threads:
        thread.start()
    result = finishes(client[0].apply_async, len, bytes(32 * MIB))
    controller.release()
    assert finishes(result.get) == 32 * MIB and len(flooded) == 1
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
