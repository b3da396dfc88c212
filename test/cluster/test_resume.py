# SPDX-License-Identifier: BSD-3-Clause
"""Connections that break while people work: they don't notice."""

import os
import signal
import threading
import time

import pytest
from cable import Cable
from conftest import DEADLINE_S, Cluster, wait_until
from shared import ENGINES, by_value, shared  # noqa: F401 (fixtures)

import pcluster
from pcluster import error


@by_value
def count(name, value):
    """Counts its calls in the engine."""
    import builtins

    counts = vars(builtins).setdefault("counts_of_test", {})
    counts[name] = counts.get(name, 0) + 1
    print(f"{name} {value}")
    return value * 2


@by_value
def calls():
    """What was counted so far."""
    import builtins

    return vars(builtins).pop("counts_of_test", {})


@pytest.fixture
def cable(shared, tmp_path):
    with Cable(shared.file, tmp_path) as one:
        yield one


@pytest.fixture(params=["unix", "tcp"])
def client(cable, request):
    with pcluster.Client(cable.file, transport=request.param) as c:
        yield c
        c[:].clear(block=True)


class Scissors:
    """Cuts the cable again and again while it is open."""

    def __init__(self, cable, every_s=0.01):
        self._cable = cable
        self._every_s = every_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._is_over.wait(self._every_s):
            self._cable.cut()

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *exc_info):
        self._is_over.set()
        self._thread.join()


def test_an_idle_client(client, cable):
    assert client[0].apply_sync(int) == 0
    cable.cut()
    assert client[0].apply_sync(int) == 0
    assert client.ids == list(range(ENGINES))
    assert cable.count >= 2


def test_while_waiting(client, cable):
    result = client[0].apply_async(time.sleep, 0.5)
    while not result.done():
        cable.cut()
        result.wait(0.05)
    assert result.get(DEADLINE_S) is None


def test_direct_calls_run_once(client, cable):
    with Scissors(cable):
        results = [client[i % ENGINES].apply_async(count, f"n{i}", i) for i in range(2000)]
        assert [r.get(DEADLINE_S) for r in results] == [2 * i for i in range(2000)]
    assert [r.stdout for r in results] == [f"n{i} {i}\n" for i in range(2000)]
    seen = client[:].apply_sync(calls)
    assert {name: n for one in seen for name, n in one.items()} == {f"n{i}": 1 for i in range(2000)}
    assert cable.count >= 2


def test_a_map(client, cable):
    view = client.load_balanced_view()
    with Scissors(cable):
        assert view.map_sync(lambda x: x + 1, range(5000)) == list(range(1, 5001))


def test_callbacks_come(client, cable):
    ended = []
    with Scissors(cable):
        for i in range(100):
            client[0].apply_async(count, "same", i).add_done_callback(
                lambda r: ended.append(r.get()))
        wait_until(lambda: len(ended) == 100, "the callbacks")
    assert sorted(ended) == [2 * i for i in range(100)]


def test_large_values(client, cable):
    """Each of them either comes or says that it did not arrive."""
    lost = 0
    value = os.urandom(3_000_000)
    with Scissors(cable):
        for _ in range(20):
            try:
                assert client[0].apply_sync(len, value) == len(value)
            except error.ConnectionLost as e:
                assert "submit it again" in str(e)
                lost += 1
    assert client[0].apply_sync(len, value) == len(value)
    assert lost < 20


def test_questions(client, cable):
    with Scissors(cable):
        for _ in range(20):
            assert client.status()["engines"]


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_engines_of_another_host(home, tmp_path, transport):
    """Their connections break as well, while their tasks go on."""
    controller = Cluster(home, [], command="controller")
    with Cable(controller.engine_file, tmp_path) as cable:
        host = Cluster(home, ["-n", 2, "--file", cable.file, "--transport", transport],
                       command="engine")
        with pcluster.Client(controller.file) as c:
            wait_until(lambda: len(c.ids) == 2, "the engines")
            pids = c[:].apply_sync(os.getpid)
            with Scissors(cable, 0.05):
                long = [c[i].apply_async(time.sleep, 0.5) for i in (0, 1)]
                assert [r.get(DEADLINE_S) for r in long] == [None, None]
                results = [c[i % 2].apply_async(count, f"n{i}", i) for i in range(500)]
                assert [r.get(DEADLINE_S) for r in results] == [2 * i for i in range(500)]
                assert [r.stdout for r in results] == [f"n{i} {i}\n" for i in range(500)]
                view = c.load_balanced_view()
                assert view.map_sync(lambda x: x + 1, range(500)) == list(range(1, 501))
                big = c[0].apply_sync(bytes, 5_000_000)
                assert len(big) == 5_000_000
            seen = c[:].apply_sync(calls)
            assert {k: n for one in seen for k, n in one.items()} == {f"n{i}": 1 for i in range(500)}
            assert c.ids == [0, 1] and c[:].apply_sync(os.getpid) == pids
            # what its parent is for works, too
            c.shutdown([1])
            wait_until(lambda: c.ids == [0], "an engine to end")
            assert cable.count > 6
        controller.end()
        host.wait()


def test_engines_that_stay_away_are_given_up(home, tmp_path):
    controller = Cluster(home, ["--grace", 300], command="controller")
    with Cable(controller.engine_file, tmp_path) as cable:
        host = Cluster(home, ["-n", 1, "--file", cable.file], command="engine")
        with pcluster.Client(controller.file) as c:
            wait_until(lambda: c.ids, "the engine")
            result = c[0].apply_async(time.sleep, 3600)
            cable.cut(is_final=True)
            with pytest.raises(error.EngineError, match="did not come back|lost|exited|killed"):
                result.get(DEADLINE_S)
            host.wait()
        controller.end()


def test_a_killed_client_is_given_up(start, home):
    """Its results stay with the hub."""
    cluster = start(1, "--grace", 200)
    pid = os.fork()
    if pid == 0:
        try:
            c = pcluster.Client(cluster.file)
            c[0].apply_sync(int)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    with pcluster.Client(cluster.file) as c:
        wait_until(lambda: c.status()["clients"] == 1, "the other client to be given up")
