# SPDX-License-Identifier: BSD-3-Clause
"""Engines that are stopped, that seem to be, and interrupts that meet stubborn tasks."""

import contextlib
import os
import signal
import time

import pytest
from conftest import is_alive, wait_begun, wait_until
from shared import by_value

import pcluster

BEAT_MS = 400  # an engine that is silent for four of them is given up


@pytest.fixture
def client(start):
    """A client of two engines that are watched closely."""
    with pcluster.Client(start(2, "--heartbeat", BEAT_MS).file) as c:
        yield c


@by_value
def wait_for(path):
    """Who runs it, once the file is there."""
    import os
    import time

    with open(path + f".{os.getpid()}", "w", encoding="ascii"):
        pass
    while not os.path.exists(path):
        time.sleep(0.01)
    return os.getpid()


@by_value
def hold(seconds):
    """Keeps the interpreter lock, in C, for so long."""
    import ctypes
    import time

    print("on", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ctypes.PyDLL(None).usleep(int((end - time.monotonic()) * 1e6))
    return "done"


@pytest.mark.parametrize("wakes_up", [False, True])
def test_a_stopped_engine(client, tmp_path, wakes_up):
    """Its tasks go elsewhere; what it does when it wakes up is of no interest to anybody, and
    another one takes its place."""
    pids = {engine.id: engine.pid for engine in client.engines}
    path = str(tmp_path / "go")
    view = client.load_balanced_view()
    direct = client[1].apply_async(wait_for, str(tmp_path / "other"))
    with view.temp_flags(retries=1):
        moved = view.apply_async(wait_for, path)
    started = f"{path}.{pids[0]}"
    wait_until(lambda: os.path.exists(started), "the task to begin on engine 0")
    os.kill(pids[0], signal.SIGSTOP)
    queued = client[0].apply_async(os.getpid)
    with pytest.raises(pcluster.EngineError, match="has not answered for .* stopped, or cut off"):
        queued.get(60)
    assert 0 not in client.ids
    (tmp_path / "other").touch()
    assert direct.get(60) == pids[1]
    wait_until(lambda: sum(name.startswith("go.") for name in os.listdir(tmp_path)) == 2,
               "the task to begin again")
    (tmp_path / "go").touch()
    if wakes_up:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[0], signal.SIGCONT)  # it would finish its task as well
    assert moved.get(60) != pids[0]
    assert moved.metadata.engine_id != 0
    wait_until(lambda: not is_alive(pids[0]), "the engine that was stopped to go")
    assert view.map_sync(abs, range(100)) == list(range(100))
    wait_until(lambda: client.ids == [1, 2], "another one to come")
    assert not client.outstanding


@by_value
def once(path):
    """Fails when it runs again."""
    import os

    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    return os.getpid()


def test_a_stall_costs_no_task_that_had_not_begun(client, tmp_path):
    """Several were sent to the engine that had stopped already."""
    view = client.load_balanced_view()
    pids = {engine.id: engine.pid for engine in client.engines}
    view.map_sync(abs, range(1000))
    os.kill(pids[0], signal.SIGSTOP)
    results = [view.apply_async(once, str(tmp_path / str(i))) for i in range(20)]
    assert pids[0] not in [result.get(60) for result in results]
    wait_until(lambda: client.ids == [1, 2], "another one to come")


def test_busy_in_c_is_not_stalled(client):
    """The control thread answers although nobody can run Python there."""
    result = client[0].apply_async(hold, 8 * BEAT_MS / 1e3)
    assert result.get(60) == "done"
    assert client.ids == [0, 1]


def test_an_interrupt_that_comes_too_late_for_c(client):
    """It can't get in before C lets go; then the task ends, and the next one is left alone."""
    result = client[0].apply_async(hold, 0.5)
    after = [client[0].apply_async(sum, range(1000)) for _ in range(5)]
    wait_begun(result)
    client.interrupt(0)
    error = result.exception(60)
    assert error is None or "KeyboardInterrupt" in str(error)
    assert [one.get(60) for one in after] == [499500] * 5


@by_value
def deaf(seconds, way):
    """With its own ideas about signals."""
    import signal
    import time

    ways = {"ignored": signal.SIG_IGN, "default": signal.SIG_DFL, "handled": lambda *_: None}
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, ways[way])
            except (OSError, ValueError):
                pass
    print("on", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
    return "done"


@pytest.mark.parametrize("way", ["ignored", "default", "handled"])
def test_replaced_handlers(client, way):
    """Either it is interrupted nevertheless, or it goes on; never the next one."""
    for _ in range(3):
        result = client[0].apply_async(deaf, 0.3, way)
        after = [client[0].apply_async(sum, range(1000)) for _ in range(5)]
        wait_begun(result)
        client.interrupt(0)
        error = result.exception(60)
        assert error is None or "KeyboardInterrupt" in str(error)
        assert [one.get(60) for one in after] == [499500] * 5
    assert client.ids == [0, 1]


@by_value
def sleep_long():
    import time

    print("on", flush=True)
    time.sleep(1000)


def test_interrupted_in_a_system_call(client):
    """At once, although it would sleep for long."""
    result = client[0].apply_async(sleep_long)
    wait_begun(result)
    begun = time.monotonic()
    client.interrupt(0)
    with pytest.raises(pcluster.RemoteError, match="KeyboardInterrupt"):
        result.get(60)
    assert time.monotonic() - begun < 500
