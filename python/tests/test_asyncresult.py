# SPDX-License-Identifier: BSD-3-Clause
"""Results that are not there yet, also as concurrent.futures.Future."""

import asyncio
import concurrent.futures
import datetime
import gc
import logging
import pickle
import threading
import weakref

import pytest

from pcluster import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, AsyncResult, error
from pcluster.client import Metadata


@pytest.fixture
def held(controller, client):
    """A result of engine 0 and one of all engines that come with release()."""
    controller.hold()
    return client[0].apply_async(lambda: 5), client[:].apply_async(lambda: 6)


def test_life(controller, held):
    single, many = held
    for ar in held:
        assert not ar.ready() and not ar.done() and not ar.running() and not ar.cancelled()
        assert repr(ar) == "<AsyncResult(<lambda>): pending>"
        assert ar.wait(0) is False and ar.progress == 0 and ar.elapsed >= 0
        with pytest.raises(RuntimeError):
            ar.successful()
        for wait in (ar.get, ar.result, ar.exception):
            with pytest.raises(TimeoutError):
                wait(0.01)
        for late in ("wall_time", "serial_time"):
            with pytest.raises(TimeoutError):
                getattr(ar, late)
        with pytest.raises(TimeoutError):
            ar[0]
    controller.release()
    assert (single.get(), many.get()) == (5, [6] * 4)
    assert (single.get(0), single.get(-1), single.result(), single.r) == (5, 5, 5, 5)
    for ar in held:
        assert ar.ready() and ar.successful() and ar.done() and ar.exception() is None
        assert repr(ar).endswith(": finished>") and ar.wait(0) is True
        assert ar.wait_for_output() and ar.wait_for_send() and ar.sent and ar.owner
        assert 0 <= ar.serial_time and 0 < ar.wall_time == ar.elapsed
        assert ar.speedup == ar.serial_time / ar.wall_time
    assert (len(single), len(many), many.progress) == (1, 4, 4)


def test_values_by_engine_and_index(client):
    ar = client[1:].apply_async(lambda: 7)
    assert ar.get_dict() == {1: 7, 2: 7, 3: 7} == ar.result_dict
    assert client[2].apply_async(int).get_dict() == {2: 0}
    assert (ar[0], ar[-1], ar[1:]) == (7, 7, [7, 7])
    with pytest.raises(IndexError, match="no part 3: there are 3"):
        ar[3]
    twice = AsyncResult.join(client[0].apply_async(int), client[0].apply_async(int))
    with pytest.raises(ValueError):
        twice.get_dict()


def test_iteration(client):
    assert list(client[:].apply_async(int)) == [0] * 4
    with pytest.raises(TypeError):
        iter(client[0].apply_async(int))
    failing = client[:2].apply_async(lambda: 1 / 0)
    with pytest.raises(error.RemoteError):
        list(failing)
    failing.wait()
    for index in (0, slice(0, 1)):
        with pytest.raises(error.RemoteError):
            failing[index]


def test_errors(client):
    ar = client[0].apply_async(lambda: 1 / 0)
    assert isinstance(ar.exception(), error.RemoteError)
    assert not ar.successful() and repr(ar).endswith(": failed>")
    assert isinstance(ar.get(return_exceptions=True), error.RemoteError)
    many = client[:].apply_async(lambda: 1 / 0)
    assert all(isinstance(e, error.RemoteError) for e in many.get(return_exceptions=True))
    assert isinstance(many.exception(), error.CompositeError)


class Unloadable:
    """Its pickle raises where it is loaded."""

    def __init__(self, what):
        self.what = what

    def __reduce__(self):
        return (exec, (self.what, {}))


def test_results_that_can_not_be_unpickled(client):
    results = [
        client[1].apply_async(lambda what: Unloadable(what), f"raise {what}") for what in ("KeyError(7)", "SystemExit")
    ]
    calls = [
        results[0].get,
        lambda: client[1].apply_sync(lambda: Unloadable("raise KeyError(7)")),
        lambda: client[:].apply_sync(lambda: Unloadable("raise KeyError(7)")),
    ]
    for call in calls:
        with pytest.raises(KeyError, match="7") as caught:
            call()
        assert "of engine" in "".join(caught.value.__notes__)
    with pytest.raises(pickle.UnpicklingError, match="engine 1"):
        results[1].get()
    assert isinstance(results[0].exception(), KeyError)
    assert isinstance(results[1].exception(), pickle.UnpicklingError)
    assert client[1].apply_sync(int) == 0


def test_split_and_join(client):
    ar = client[:].apply_async(int)
    parts = ar.split()
    assert parts is ar.split() and [part.get() for part in parts] == [0] * 4
    joined = AsyncResult.join(*parts)
    assert joined.get() == [0] * 4 and joined.msg_ids == ar.msg_ids
    with pytest.raises(ValueError):
        AsyncResult.join()


def one_fails(n):
    import time

    if n == 0:
        raise ValueError(n)
    time.sleep(0)
    return n


def test_return_when(controller, client):
    lb = client.load_balanced_view()
    controller.hold()
    ar = lb.map_async(one_fails, range(5))
    assert ar.wait(0.01, return_when=FIRST_COMPLETED) == (set(), set(ar.split()))
    controller.release()
    done, pending = ar.wait(30, return_when=FIRST_COMPLETED)
    assert done and done | pending == set(ar.split())
    done, pending = ar.wait(30, return_when=FIRST_EXCEPTION)
    assert ar.split()[0] in done
    assert ar.wait(30, return_when=ALL_COMPLETED) == (set(ar.split()), set())
    with pytest.raises(error.RemoteError, match="ValueError: 0"):
        ar.get(return_when=FIRST_EXCEPTION)
    assert len(ar.get(return_when=FIRST_EXCEPTION, return_exceptions=True)) == 5
    with pytest.raises(ValueError):
        ar.wait(return_when="sometimes")
    good = client[:].apply_async(int)
    with pytest.warns(UserWarning, match="FIRST_COMPLETED"):
        assert good.get(return_when=FIRST_COMPLETED) == [0] * 4
    assert good.get(return_when=FIRST_EXCEPTION) == [0] * 4


# ---- metadata ---------------------------------------------------------------------------------


def test_metadata(client):
    ar = client[1].apply_async(print, "from print")
    ar.get()
    found = ar.metadata
    assert isinstance(found, Metadata) and found["engine_id"] == found.engine_id == 1
    assert found.msg_id == ar.msg_ids[0] == ar.msg_id and found.status == "ok"
    assert found.engine_uuid == f"{1:032x}" and found.label is None
    assert found.submitted <= found.started <= found.completed <= found.received
    assert found.received.utcoffset() == datetime.timedelta(0)
    assert (found.stdout, found.stderr) == ("from print\n", "")
    assert ar.stdout == ar["stdout"] == "from print\n" and ar.stderr == ""
    many = client[:].apply_async(int)
    many.get()
    assert many.engine_id == many["engine_id"] == [0, 1, 2, 3]
    assert [row.status for row in many.metadata] == ["ok"] * 4
    assert many.stdout == [""] * 4
    failed = client[0].apply_async(lambda: 1 / 0)
    failed.wait()
    assert failed.status == "error"
    with pytest.raises(AttributeError, match="nonsense"):
        ar.nonsense
    with pytest.raises(KeyError):
        ar["nonsense"]


def test_metadata_of_pending(held):
    found = held[0].metadata
    assert found.status is None and found.started is None and found.msg_id == held[0].msg_ids[0]


def test_metadata_has_fixed_keys():
    found = Metadata()
    found["status"] = "ok"
    found.label = "x"
    assert found.status == "ok" and found["label"] == "x" and found["data"] == {}
    for change in (lambda: found.__setitem__("colour", 1), lambda: found.update(colour=1),
                   lambda: found["colour"]):
        with pytest.raises(KeyError):
            change()
    with pytest.raises(AttributeError):
        found.colour = 1
    with pytest.raises(AttributeError):
        found.colour
    Metadata()["data"]["k"] = 1
    assert Metadata()["data"] == {}


def test_timedelta(client):
    a = datetime.datetime(2024, 1, 1)
    b = a + datetime.timedelta(seconds=5)
    assert AsyncResult.timedelta(a, b) == 5
    assert AsyncResult.timedelta([b, a], [a, b]) == 5
    ar = client[:].apply_async(int)
    ar.get()
    assert ar.timedelta(ar.submitted, ar.received) == ar.wall_time


# ---- as a Future ------------------------------------------------------------------------------


def test_is_a_cheap_future(held):
    assert isinstance(held[0], concurrent.futures.Future)
    assert held[0]._machinery is None
    held[0].ready()
    assert held[0]._machinery is None


def test_concurrent_futures_wait(controller, held):
    done, pending = concurrent.futures.wait(held, timeout=0.01)
    assert not done and pending == set(held)
    controller.release()
    done, pending = concurrent.futures.wait(held, timeout=30)
    assert done == set(held)
    assert concurrent.futures.wait(held, return_when=FIRST_COMPLETED).done == set(held)


def test_concurrent_futures_wait_first_exception(controller, client):
    controller.hold()
    bad = client[0].apply_async(lambda: 1 / 0)
    threading.Timer(0.05, controller.release).start()
    done, _ = concurrent.futures.wait([bad, concurrent.futures.Future()], 30, FIRST_EXCEPTION)
    assert done == {bad}


def test_as_completed(controller, client):
    controller.hold()
    results = [client[i % 4].apply_async(pow, 2, i) for i in range(8)]
    threading.Timer(0.05, controller.release).start()
    assert sorted(f.result() for f in concurrent.futures.as_completed(results, 30)) == [2**i for i in range(8)]


def test_callbacks(controller, held, caplog):
    ar = held[1]
    called = []
    done = threading.Event()

    def bad(future):
        raise ZeroDivisionError("in callback")

    ar.add_done_callback(lambda f: called.append((f, f.result(), threading.current_thread().name)))
    ar.add_done_callback(bad)
    ar.add_done_callback(lambda f: done.set())
    assert not called
    with caplog.at_level(logging.ERROR):
        controller.release()
        assert done.wait(30)
    assert called == [(ar, [6] * 4, "pcluster-client")]
    assert "in callback" in caplog.text
    ar.add_done_callback(lambda f: called.append(f))
    assert called[-1] is ar
    ar.add_done_callback(bad)


def test_callbacks_can_make_calls(client):
    done = threading.Event()
    sums = []

    def callback(ar):
        sums.append(client[0].apply_sync(lambda x: x + 1, ar.get()))
        done.set()

    client[1].apply_async(lambda: 1).add_done_callback(callback)
    assert done.wait(30) and sums == [2]


def test_asyncio(client):
    async def main():
        single = await asyncio.wrap_future(client[0].apply_async(lambda: 1))
        many = await client[:].apply_async(lambda: 2)
        with pytest.raises(error.RemoteError):
            await client[0].apply_async(lambda: 1 / 0)
        mapped = await asyncio.gather(*(client[i].apply_async(abs, -i) for i in range(4)))
        return single, many, mapped

    assert asyncio.run(main()) == (1, [2] * 4, [0, 1, 2, 3])


def test_not_set_by_users(client):
    ar = client[0].apply_async(int)
    for call in (lambda: ar.set_result(1), lambda: ar.set_exception(ValueError())):
        with pytest.raises(concurrent.futures.InvalidStateError, match="by the cluster"):
            call()
    with pytest.raises(RuntimeError, match="by the cluster"):
        ar.set_running_or_notify_cancel()
    assert ar.get() == 0


def test_results_are_freed(client):
    ar = client[0].apply_async(bytearray, 1 << 20)
    done = threading.Event()
    ar.add_done_callback(lambda f: done.set())
    assert done.wait(30) and len(ar.get()) == 1 << 20
    watch = weakref.ref(ar)
    client[0].apply_sync(int)  # the background thread is past its last turn
    del ar
    gc.collect()
    assert watch() is None


def test_map_result_as_future(controller, client):
    controller.hold()
    ar = client.load_balanced_view().map_async(abs, range(4))
    threading.Timer(0.05, controller.release).start()
    assert concurrent.futures.wait([ar], 30).done == {ar}
    assert ar.result() == [0, 1, 2, 3]
