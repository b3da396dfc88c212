# SPDX-License-Identifier: BSD-3-Clause
"""Connections that break while people work: they don't notice."""

import os
import signal
import threading
import time

import pytest
from cable import Cable
from conftest import DEADLINE_S, Cluster, wait_until
from home import Home, is_alive
from shared import ENGINES, by_value, shared  # noqa: F401 (fixtures)

import pcluster
from pcluster import error

IS_SANITIZED = bool({"ASAN_OPTIONS", "TSAN_OPTIONS"} & os.environ.keys())

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


@pytest.fixture
def split(home, tmp_path):
    """An engine here and one at the end of a cable: client, cable, its host, its id."""
    cluster = Cluster(home, ["-n", 1, "--grace", 1500])
    with Cable(cluster.engine_file, tmp_path) as cable:
        host = Cluster(home, ["-n", 1, "--file", cable.file], command="engine")
        with pcluster.Client(cluster.file) as c:
            wait_until(lambda: len(c.ids) == 2, "the engines")
            there = c[:].apply_sync(os.getppid)
            far = next(i for i in c.ids if there[c.ids.index(i)] != cluster.nursery())
            yield c, cable, host, far
        cluster.end()
        host.wait()


@by_value
def print_lines(count):
    """Prints so many lines, some of them at once."""
    import sys

    for number in range(count):
        print(f"line {number}", flush=number % 7 == 0)
        print(f"error {number}", file=sys.stderr)


@pytest.mark.parametrize("how", ["cut", "half_close"])
def test_output_of_an_engine_is_whole(split, how):
    client, cable, _, far = split
    result = client[far].apply_async(print_lines, 30_000)
    while not result.done():
        getattr(cable, how)()
        result.wait(0.02)
    result.get()
    assert result.stdout == "".join(f"line {i}\n" for i in range(30_000))
    assert result.stderr == "".join(f"error {i}\n" for i in range(30_000))
    assert cable.count > 3


@pytest.mark.parametrize("how", ["cut", "half_close"])
def test_a_large_result_of_an_engine(split, how):
    client, cable, _, far = split
    for _ in range(5):
        result = client[far].apply_async(bytearray, 20_000_000)
        for _ in range(4):
            getattr(cable, how)()
            result.wait(0.02)
        assert len(result.get(DEADLINE_S)) == 20_000_000


def test_an_idle_engine(split):
    client, cable, _, far = split
    pid = client[far].apply_sync(os.getpid)
    for how in (cable.cut, cable.half_close) * 3:
        count = cable.count + 3
        how()
        wait_until(lambda n=count: cable.count >= n, "both lanes and the host to be back")
        assert client[far].apply_sync(os.getpid) == pid


def test_output_is_not_kept_for_long(split):
    """What is sent is kept until it came, and no longer."""
    client, cable, _, far = split
    client[far].execute("""
def peak():
    import re
    return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])
before = peak()""", block=True)
    result = client[far].execute(
        "line = 'x' * 1023 + '\\n'\nfor _ in range(1 << 18): print(line, end='')", block=False)
    while not result.done():
        cable.cut()
        result.wait(0.3)
    result.get()
    if not IS_SANITIZED:
        assert client[far].pull("peak() - before", block=True) < 32 * 1024


@by_value
def wait_for(path, begun):
    """Says in a file that it has begun; waits for another one to be there."""
    import os
    import time

    with open(begun, "a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    while not os.path.exists(path):
        time.sleep(0.01)
    return os.getpid()


def test_a_late_engine_is_refused(split, tmp_path):
    """Its task was given to another one when its time was over: that one's result counts."""
    client, cable, host, far = split
    begun, first, second = (tmp_path / name for name in ("begun", "first", "second"))
    near = next(i for i in client.ids if i != far)
    blocked = client[near].apply_async(wait_for, first, tmp_path / "ignored")
    view = client.load_balanced_view().set_flags(retries=1)
    task = view.apply_async(wait_for, second, begun)
    pid = int(wait_until(lambda: begun.exists() and begun.read_text()))
    stopped = [host.pid, pid]
    Home.signal(stopped, signal.SIGSTOP)
    cable.cut()
    wait_until(lambda: client.ids == [near], "the engine to be given up")
    first.touch()
    wait_until(lambda: begun.read_text().count("\n") == 2, "the task to begin again")
    Home.signal(stopped, signal.SIGCONT)
    wait_until(lambda: not is_alive(pid), "the late engine to end")
    code, _, err = host.wait()
    assert code != 0 and "given up" in err
    second.touch()
    assert task.get(DEADLINE_S) == blocked.get(DEADLINE_S)
    assert begun.read_text().split() == [str(pid), str(task.get())]


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
