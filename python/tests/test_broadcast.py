# SPDX-License-Identifier: BSD-3-Clause
"""Broadcast views against a make-believe controller."""

import pytest

import pcluster
from pcluster import AsyncMapResult, AsyncResult, error


@pytest.fixture
def view(client):
    return client.broadcast_view()


@pytest.mark.parametrize("is_coalescing", [False, True])
def test_results_are_in_the_order_of_targets(controller, client, is_coalescing):
    view = client.broadcast_view([3, 1, 2], is_coalescing=is_coalescing, label="b")
    assert isinstance(view, pcluster.BroadcastView) and isinstance(view, pcluster.DirectView)
    assert (view.is_coalescing, view.label, view.targets) == (is_coalescing, "b", [3, 1, 2])
    ar = view.apply_async(int)
    assert isinstance(ar, AsyncResult) and ar.get() == [0, 0, 0]
    assert [row.engine_id for row in ar.metadata] == [3, 1, 2] and ar.label == ["b"] * 3
    assert [task.engine for task in controller.seen] == [3, 1, 2]
    assert len(set(ar.msg_ids)) == 3


def test_single_value_only_for_an_int(client):
    assert client.broadcast_view(2).apply_sync(int) == 0
    assert client.broadcast_view([2]).apply_sync(int) == [0]
    assert client.broadcast_view(slice(1, 3)).apply_sync(int) == [0, 0]


def test_targets_are_fixed(controller, client, view):
    assert repr(view) == "<BroadcastView [0, 1, 2, 3]>" and len(view) == 4
    controller.arrive(7)
    client.wait_for_engines(5)
    assert view.apply_sync(int) == [0] * 4 and client.direct_view().apply_sync(int) == [0] * 5


def test_flags(view):
    with view.temp_flags(is_coalescing=True, block=True):
        assert view.is_coalescing and view.apply(int) == [0] * 4
    assert not view.is_coalescing and not view.block
    with pytest.raises(KeyError):
        view.set_flags(coalescing=True)


def test_no_engines(make):
    with pcluster.Client(make(engines=0).path) as c, pytest.raises(error.NoEnginesRegistered):
        c.broadcast_view()


@pytest.mark.parametrize("is_coalescing", [False, True])
def test_every_method(client, is_coalescing):
    view = client.broadcast_view(is_coalescing=is_coalescing)
    assert view.push({"a": 2}, block=True) == [None] * 4 and view["a"] == [2] * 4
    assert view.execute("b = a * 2; print(b)", block=True).stdout == ["4\n"] * 4
    assert view.pull(["a", "b"], block=True) == [[2, 4]] * 4
    view.scatter("part", range(10), block=True)
    assert view.map_sync(lambda x: x * x, range(10)) == [x * x for x in range(10)]
    view.scatter("part", list(range(10)), block=True)
    assert view.gather("part", block=True) == list(range(10))
    assert isinstance(view.map_async(abs, [-1]), AsyncMapResult)
    assert list(view.imap(abs, [-1, 2])) == [1, 2]


@pytest.mark.parametrize("is_coalescing", [False, True])
def test_an_engine_dies_meanwhile(controller, client, is_coalescing):
    """Its place has the error, the others have their results; now and in later calls."""
    view = client.broadcast_view(is_coalescing=is_coalescing)
    controller.hold()
    ar = view.apply_async(lambda: 7)
    controller.depart(1)
    controller.release()
    client.wait(timeout=60)
    for result in (ar, view.apply_async(lambda: 7)):
        with pytest.raises(error.CompositeError) as info:
            result.get(60)
        assert isinstance(info.value, error.EngineError) and len(info.value.elist) == 1
        assert info.value.elist[0][3]["engine_id"] == 1
        kept = result.get(return_exceptions=True)
        assert isinstance(kept[1], error.EngineError) and kept[:1] + kept[2:] == [7] * 3
        assert [row.status for row in result.metadata] == ["ok", "error", "ok", "ok"]
        assert [row.engine_id for row in result.metadata] == [0, 1, 2, 3]


def test_all_errors_are_kept(client, view):
    with pytest.raises(error.CompositeError) as info:
        view.apply_sync(lambda: 1 / 0)
    assert [parts[3]["engine_id"] for parts in info.value.elist] == [0, 1, 2, 3]


def test_one_body_for_a_thousand_engines(make):
    """Memory and network pay for an argument once, not for each engine."""
    controller = make(engines=1000, window_count=2000)
    with pcluster.Client(controller.path) as c:
        view = c.broadcast_view()
        assert view.apply_sync(len, b"x" * 100_000) == [100_000] * 1000
        assert view.push({"a": b"x" * 100_000}, block=True) == [None] * 1000
    assert [(count, sum(sizes) // 100_000) for count, sizes in controller.submissions] == [(1000, 1)] * 2


def test_more_engines_than_the_window_has_places(make):
    """One request is never refused or stuck because it is for many engines."""
    with pcluster.Client(make(engines=100, window_count=8).path) as c:
        assert c.broadcast_view().apply_sync(int) == [0] * 100
