# SPDX-License-Identifier: BSD-3-Clause
"""Engines and controllers that end while the Python client waits, and user code that does harm."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import is_alive, wait_until
from shared import by_value

from pcluster import Client, error


@pytest.fixture
def client(cluster):
    """A client of a cluster of its own, with two engines."""
    with Client(cluster.file) as c:
        yield c


@by_value
def sleep_for_ever():
    while True:
        time.sleep(1000)


# ---- engines ----------------------------------------------------------------------------------


def test_killed_engine(client):
    pending = client[0].apply_async(sleep_for_ever)
    queued = client[0].apply_async(lambda: 1)
    other = client[1].apply_async(lambda: 2)
    wait_until(lambda: client.queue_status(0)["tasks"], "the engine to be busy")
    os.kill(client.engines[0].pid, signal.SIGKILL)
    for result in (pending, queued):
        with pytest.raises(error.EngineError, match="SIGKILL") as info:
            result.get(60)
        assert isinstance(info.value, error.RemoteError)
    assert other.get(60) == 2
    assert client.ids == [1] and client[:].apply_sync(lambda: 3) == [3]
    with pytest.raises(IndexError, match="no engine 0"):
        client[0]


def test_killed_while_waiting(client):
    """The wait ends by itself, whoever kills the engine."""
    pid = client.engines[1].pid
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(error.EngineError, match="SIGKILL"):
        client[1].apply_sync(sleep_for_ever)
    assert client.ids == [0]


def test_view_of_a_dead_engine(client):
    view = client[:]
    one = client[0]
    os.kill(client.engines[0].pid, signal.SIGKILL)
    wait_until(lambda: client.ids == [1], "the engine to go")
    with pytest.raises((error.EngineError, error.NoEnginesRegistered)):
        one.apply_sync(int)
    with pytest.raises((error.CompositeError, error.EngineError, error.NoEnginesRegistered)):
        view.apply_sync(int)
    assert client.direct_view().apply_sync(int) == [0]


def test_composite_of_one_dead_engine(client):
    result = client[:].apply_async(lambda: os.getpid() if os.getpid() % 1 else time.sleep(0.2))
    many = client[:].apply_async(sleep_for_ever)
    assert result.get(60) == [None, None]
    os.kill(client.engines[0].pid, signal.SIGKILL)
    wait_until(lambda: many.split()[0].ready(), "the first part to fail")
    assert not many.ready()
    with pytest.raises(error.EngineError):
        many.split()[0].get()
    os.kill(client.engines[0].pid, signal.SIGKILL)
    with pytest.raises(error.CompositeError) as info:
        many.get(60)
    assert isinstance(info.value, error.EngineError) and len(info.value.elist) == 2


@by_value
def segfault():
    ctypes.string_at(0)


@by_value
def abort():
    os.abort()


@by_value
def leave():
    os._exit(7)


@pytest.mark.parametrize(
    "harm, words", [(segfault, "SIGSEGV"), (abort, "SIGABRT"), (leave, "7")]
)
def test_code_that_ends_its_engine(client, harm, words):
    balanced = client.load_balanced_view()
    others = [balanced.apply_async(lambda: 1) for _ in range(20)]
    with pytest.raises(error.EngineError, match=words):
        client[0].apply_sync(harm)
    client[1].apply_sync(lambda: 2)
    assert client.ids == [1]
    ends = [result.exception(60) for result in others]
    assert all(e is None or isinstance(e, error.EngineError) for e in ends)
    assert balanced.map_sync(abs, range(50)) == list(range(50))


@by_value
def end_engine_once(x, mark):
    """The engine that gets item 50 first ends; whoever tries it again does not."""
    if x == 50 and not os.path.exists(mark):
        with open(mark, "w", encoding="utf-8"):
            os.kill(os.getpid(), signal.SIGKILL)
    return x * x


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("options", [{}, {"chunksize": 7}, {"ordered": False}])
def test_engine_dies_in_a_map(client, tmp_path, retries, options):
    """Its item fails, or is tried again; nothing else is lost, and order is kept."""
    mark = str(tmp_path / "mark")
    view = client.load_balanced_view(retries=retries)
    ar = view.map_async(end_engine_once, range(100), [mark] * 100, return_exceptions=True, **options)
    items = ar.get(60)
    failed = [item for item in items if isinstance(item, error.EngineError)]
    numbers = [item for item in items if not isinstance(item, Exception)]
    lost = 0 if retries else options.get("chunksize", 1)
    assert len(failed) == (0 if retries else 1) and len(numbers) == 100 - lost and numbers == sorted(numbers)
    assert sorted(map(str, ar)) == sorted(map(str, items)) and len(client.ids) == 1


def test_engine_dies_in_a_direct_map(client, tmp_path):
    """The part of the dead engine is one exception, the other part is whole."""
    mark = str(tmp_path / "mark")
    ar = client[:].map_async(end_engine_once, range(100), [mark] * 100, return_exceptions=True)
    items = ar.get(60)
    assert items[:50] == [x * x for x in range(50)] and len(items) == 51
    assert isinstance(items[50], error.EngineError) and isinstance(items[50], error.RemoteError)
    with pytest.raises(error.EngineError, match="SIGKILL"):
        ar.get(return_exceptions=False)


def test_last_words(client):
    """What a dying engine wrote to stderr is in the error."""

    def die():
        os.write(2, b"these are my last words\n")
        os._exit(3)

    with pytest.raises(error.EngineError) as info:
        client[0].apply_sync(die)
    assert "last words" in str(info.value) + info.value.traceback


def test_no_engine_left(client):
    for engine in client.engines:
        os.kill(engine.pid, signal.SIGKILL)
    wait_until(lambda: client.ids == [], "all engines to go")
    for call in (
        lambda: client.direct_view().apply_sync(int),
        lambda: client.load_balanced_view().apply_async(int).get(60),
        lambda: client[:].apply_sync(int),
    ):
        with pytest.raises((error.NoEnginesRegistered, error.EngineError)):
            call()


# ---- code that is only rude -------------------------------------------------------------------


def test_sys_exit(client):
    with pytest.raises(error.RemoteError, match="SystemExit"):
        client[0].apply_sync(sys.exit, 3)
    with pytest.raises(error.RemoteError, match="SystemExit"):
        client[0].execute("raise SystemExit", block=True)
    assert client.ids == [0, 1] and client[0].apply_sync(lambda: 1) == 1


def test_printing_a_lot(client):
    """First and last MiB stay, with a mark; the engine waits for its window meanwhile."""

    def talk():
        line = "x" * 999
        for number in range(20_000):
            print(number, line)
        print("the end")
        return "done"

    result = client[0].apply_async(talk)
    assert client[1].apply_sync(lambda: "not disturbed") == "not disturbed"
    assert result.get(120) == "done"
    text = result.stdout
    assert text.startswith("0 xxx") and text.endswith("the end\n")
    assert 2 << 20 <= len(text) < 3 << 20
    assert result.stderr == ""


def test_output_from_below_python(client):
    def write():
        os.write(1, b"from write\n")
        libc = ctypes.CDLL(None)
        libc.puts(b"from puts")
        libc.fflush(None)
        subprocess.run(["sh", "-c", "echo from sh; echo err >&2"], check=True)
        return os.getpid()

    result = client[0].apply_async(write)
    assert result.get() == client.engines[0].pid
    assert sorted(result.stdout.splitlines()) == ["from puts", "from sh", "from write"]
    assert result.stderr == "err\n"
    assert client[0].apply_async(lambda: 1).get() == 1


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_closing_standard_descriptors(client, fd):
    client[0].apply_sync(os.close, fd)
    assert client[0].apply_sync(lambda: 1 + 1) == 2


def test_replaced_signal_handlers(client):
    def replace():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        return signal.getsignal(signal.SIGINT) == signal.SIG_IGN

    assert client[0].apply_sync(replace)
    assert client[0].apply_sync(lambda: subprocess.run(["true"], check=False).returncode) == 0
    assert client[:].apply_sync(lambda: 1) == [1, 1]


def test_fork_that_returns(client):
    """The child must never answer in the engine's place."""

    def fork():
        pid = os.fork()
        return "child" if pid == 0 else pid

    for _ in range(5):
        child = client[0].apply_sync(fork)
        assert isinstance(child, int)
        assert client[0].apply_sync(lambda: os.waitpid(-1, 0)[0]) == child
    assert client[0].apply_sync(os.getpid) == client.engines[0].pid


def test_fork_that_raises_and_prints(client):
    def fork():
        if os.fork() == 0:
            print("from the child")
            raise ValueError("in the child")
        os.wait()
        return "parent"

    assert client[0].apply_sync(fork) == "parent"
    assert client[0].apply_sync(lambda: 1) == 1


def test_threads_in_user_code(client):
    def work():
        sums = []
        threads = [threading.Thread(target=lambda: sums.append(sum(range(1000)))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(sums)

    assert client[:].apply_sync(work) == [8, 8]


def test_multiprocessing_in_user_code(client):
    def work():
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, [-1, -2, -3])

    assert client[0].apply_sync(work) == [1, 2, 3]
    assert client[0].apply_sync(os.getpid) == client.engines[0].pid


# ---- the controller ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_controller_that_goes(client, cluster, how):
    pending = [client[0].apply_async(sleep_for_ever), client[:].apply_async(sleep_for_ever),
               client.load_balanced_view().apply_async(sleep_for_ever)]
    called = threading.Event()
    pending[0].add_done_callback(lambda result: called.set())
    cluster.process.send_signal(how)
    for result in pending:
        with pytest.raises((error.ConnectionLost, error.EngineError, error.CompositeError)):
            result.get(60)
    assert called.wait(60)
    wait_until(lambda: is_lost(client), "the connection to be lost")
    for call in (lambda: client[0].apply_sync(int), client.status, lambda: client[:]):
        with pytest.raises(error.ConnectionLost, match=r"gone|lost|closed"):
            call()
    cluster.wait()


def is_lost(client):
    try:
        return client.ids is None
    except error.ConnectionLost:
        return True


def test_killed_parent(client, cluster):
    result = client[0].apply_async(sleep_for_ever)
    os.kill(cluster.pids()["parent"], signal.SIGKILL)
    with pytest.raises(ConnectionError) as info:
        result.get(60)
    assert isinstance(info.value, error.ConnectionLost)
    cluster.process.communicate()


def test_client_shuts_the_cluster_down(client, cluster):
    client.shutdown(hub=True)
    code, _, err = cluster.wait()
    assert code == 0, err
    wait_until(lambda: is_lost(client), "the connection to be lost")


# ---- the client's own process -----------------------------------------------------------------


FORKS = """
import os, sys, time
from pcluster import Client
clients = [Client(sys.argv[1]) for _ in range(4)]
clients[1].close()
ended = clients[0][0].apply_async(int)
ended.add_done_callback(print)  # a thread waits inside of the library
ended.get()
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    numbers = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]  # those of connections, too
    clients[0].close()
    del clients[3]  # clients[2] stays
    for number in numbers:
        os.fstat(number)
    os.write(writer, b"x")
    time.sleep(1000)
os.read(reader, 1)
print("child", child, flush=True)
time.sleep(1000)
"""


def test_killed_client_with_a_forked_child(cluster, home):
    """The child doesn't keep the connections open."""
    with subprocess.Popen([sys.executable, "-c", FORKS, cluster.file], cwd=home.work,
                          stdout=subprocess.PIPE, text=True) as process:
        child = next(int(line.split()[1]) for line in process.stdout if line.startswith("child"))
        try:
            wait_until(lambda: cluster.status()["clients"] == 4, "three clients and the one to ask")
            process.kill()
            wait_until(lambda: cluster.status()["clients"] == 1, "the clients to be gone")
            assert is_alive(child)
        finally:
            process.kill()
            os.kill(child, signal.SIGKILL)
