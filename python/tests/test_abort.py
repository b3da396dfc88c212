# SPDX-License-Identifier: BSD-3-Clause
"""Ending tasks early."""

import time

import pytest

from pcluster import error


def wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def held(controller, client):
    """A client of a controller that takes one task and runs nothing before release()."""
    controller.hold()
    return client


def test_abort_and_cancel(controller, held):
    running = held.load_balanced_view().apply_async(abs, -1)  # the fake has taken it
    waiting = [held.load_balanced_view().apply_async(abs, -i) for i in range(5)]
    wait_until(lambda: controller.tasks.qsize() == 5)
    waiting[0].abort()
    assert waiting[0].cancelled() and waiting[0].done() and not waiting[0].successful()
    with pytest.raises(error.TaskAborted):
        waiting[0].get()
    with pytest.raises(RuntimeError):
        waiting[0].abort()
    assert waiting[1].cancel() is True and waiting[1].cancelled() and waiting[1].cancel() is True
    assert running.cancel() is False and not running.cancelled()
    assert controller.orders[-1] == (0, {1})
    assert running.cancel(interrupt=True) is True
    assert controller.orders[-1] == (3, {1})
    held.abort(waiting[2])
    held.abort(waiting[3].msg_ids)
    assert waiting[2].cancelled() and waiting[3].cancelled() and not waiting[4].done()
    with pytest.raises(TypeError):
        held.abort(7.5)
    held.abort()
    assert waiting[4].cancelled()
    controller.release()
    assert running.get() == 1
    assert running.cancel() is False
    with pytest.raises(RuntimeError):
        running.abort()


def test_a_view_aborts_its_own(controller, held):
    one, other = held.load_balanced_view(), held[:]
    first = one.apply_async(abs, -1)
    mine = one.map_async(abs, range(-4, 0))
    others = other.apply_async(abs, -7)
    wait_until(lambda: controller.tasks.qsize() == 8)
    one.abort()
    assert mine.cancelled() and not first.cancelled() and not others.done()
    controller.release()
    assert first.get() == 1 and others.get() == [7] * 4


def test_a_cancelled_one_as_a_future(controller, held):
    held.load_balanced_view().apply_async(abs, -1)
    result = held.load_balanced_view().apply_async(abs, -1)
    seen = []
    result.add_done_callback(seen.append)
    wait_until(lambda: controller.tasks.qsize() == 1)
    assert result.cancel()
    wait_until(lambda: seen)
    assert seen == [result] and seen[0].cancelled()


def test_by_label_and_of_others(controller, client):
    controller.answers["abort"] = {"ok": True, "ended": 0, "passed_on": 0, "unknown": 0}
    client.abort(label="night")
    client.cancel(label="night", anybody=True, interrupt=True)
    foreign = ["00000000000000ff_1", "00000000000000ff_2"]
    client.abort(foreign)
    client.cancel(foreign[0], interrupt=True)
    assert controller.asked == [
        {"query": "abort", "label": "night", "anybody": False, "interrupt": False},
        {"query": "abort", "label": "night", "anybody": True, "interrupt": True},
        {"query": "abort", "tasks": foreign, "interrupt": False},
        {"query": "abort", "tasks": foreign[:1], "interrupt": True},
    ]
    with pytest.raises(TypeError, match="not both"):
        client.abort(foreign, label="night")
    with pytest.raises(ValueError, match="no msg_id"):
        client.abort("night")


def test_cancel_with_interrupt(controller, held):
    result = held.load_balanced_view().apply_async(abs, -1)
    held.cancel(result, interrupt=True)
    assert controller.orders[-1] == (3, {1})
    held.cancel(interrupt=True)
    assert controller.orders[-1] == (3, {1})
    controller.release()
    result.wait()


def test_interrupt(controller, client):
    client.interrupt([0, 2])
    client.interrupt(1)
    assert controller.orders == [(1, set())] * 3
    with pytest.raises(IndexError):
        client.interrupt(99)
