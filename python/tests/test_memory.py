# SPDX-License-Identifier: BSD-3-Clause
"""Finding results again, and forgetting them, against a make-believe controller."""

import gc

import pytest

from pcluster import AsyncResult, error


def sent(client, f=lambda: 5, view=0):
    """The msg_ids of a call whose AsyncResult is dropped at once; its results have come."""
    names = client[view].apply_async(f).msg_ids
    client.wait()
    gc.collect()
    return names


def test_get_result_by_every_name(client):
    first, second = sent(client), sent(client, lambda: 6)
    assert client.get_result().get() == 6
    ar = client.get_result(0, owner=False)
    assert isinstance(ar, AsyncResult) and ar.msg_ids == first and ar.get() == 5
    assert repr(ar) == "<AsyncResult(apply): finished>" and ar.owner is False
    assert client.get_result(first[0], owner=False).get() == 5
    assert client.get_result([0], owner=False).get() == [5]
    assert client.get_result(ar).get() == [5]
    with pytest.raises(IndexError, match="no task 2: the history has 2 tasks"):
        client.get_result(2)
    for wrong in (1.5, None, [object()]):
        with pytest.raises(TypeError, match="a task is named by"):
            client.get_result(wrong)
    for unknown in ("nonsense", first[0][:-1] + "99", "0" * 16 + "_1"):
        with pytest.raises(KeyError, match="no such task"):
            client.get_result(unknown)
    assert second[0] not in client.results


def test_get_result_of_what_is_pending(controller, client):
    controller.hold()
    ar = client[:].apply_async(lambda: 5)
    again = client.get_result(ar)
    parts = client.get_result(ar.msg_ids[1:3], block=False)
    assert not again.ready() and len(parts) == 2
    controller.release()
    assert again.get() == ar.get() == [5] * 4 and parts.get() == [5] * 2
    assert client.get_result(ar.msg_ids[0], block=True).ready()


def test_get_result_while_somebody_has_it(client):
    ar = client[0].apply_async(lambda: [1])
    assert ar.get() == [1] and client.get_result(ar.msg_ids[0]).get() == [1]
    name = ar.msg_ids[0]
    assert name in client.metadata
    del ar
    gc.collect()
    assert name not in client.metadata
    with pytest.raises(KeyError):
        client.get_result(name)


def test_an_owner_takes_it_out(client):
    name = sent(client)[0]
    assert name in client.results and len(client.results) == 1 and list(client.results) == [name]
    assert client.results[name] == client.results[name] == 5
    ar = client.get_result(name, owner=False)
    assert ar.get() == 5 and name in client.results
    ar = client.get_result(name)
    assert ar.get() == 5
    ar.wait()
    del ar
    gc.collect()
    assert list(client.results) == [] and name not in client.results
    with pytest.raises(KeyError):
        client.results[name]
    assert "0 tasks" in repr(client.results)


def test_errors_are_results(client):
    name = sent(client, lambda: 1 / 0)[0]
    assert isinstance(client.results[name], error.RemoteError)
    with pytest.raises(error.RemoteError, match="ZeroDivisionError"):
        client.get_result(name).get()


def test_results_of_views(client):
    view = client[1]
    sent(client)
    view.apply_async(lambda: 7)
    client.wait()
    assert view.get_result(0).get() == 7 and view.get_result(-1, block=True).get() == 7
    assert view.results == client.results and len(view.results) == 2
    with pytest.raises(IndexError):
        view.get_result(1)


def test_executions_are_replies_also_when_found_again(client):
    ar = client[0].execute("1", silent=False, label="x")
    again = client.get_result(ar.msg_ids[0])
    assert repr(again.get()) == "<ExecuteReply[1]: 42>" and again.get().label == "x"
    assert ar.split()[0].label == "x"


def test_metadata_map(controller, client):
    controller.hold()
    ar = client[2].set_flags(label="m").apply_async(int)
    name = ar.msg_ids[0]
    assert client.metadata[name].status is None and list(client.metadata) == [name] and len(client.metadata) == 1
    controller.release()
    ar.get()
    row = client.metadata[name]
    assert (row.status, row.engine_id, row.label, row.msg_id) == ("ok", 2, "m", name)
    for unknown in ("nonsense", name + "0"):
        with pytest.raises(KeyError):
            client.metadata[unknown]


def test_purge_local_results(controller, client):
    names = [sent(client, view=number)[0] for number in (0, 1, 2, 3)]
    client.purge_local_results(names[0])
    client.purge_local_results([1, client.get_result(names[1])])
    client.purge_local_results(targets=2)
    assert list(client.results) == names[3:]
    with pytest.raises(ValueError):
        client.purge_local_results()
    controller.hold()
    ar = client[0].apply_async(int)
    for wrong in ("all", ar, ar.msg_ids):
        with pytest.raises(RuntimeError, match="not ended"):
            client.purge_local_results(wrong)
    controller.release()
    assert ar.get() == 0
    client.purge_local_results("all")
    assert len(client.results) == 0 and ar.get() == 0


def test_what_nobody_collects_is_bounded(client):
    """The oldest go: a client may send and never look for days."""
    view = client.load_balanced_view()
    for _ in range(3):
        view.map_async(abs, range(4000))
        client.wait()
    gc.collect()
    kept = set(client.results)
    assert len(kept) == 10_000 and kept.issuperset(client.history[8000:])
