# SPDX-License-Identifier: BSD-3-Clause
"""The task scheduler on real engines."""

import time

import pytest

import pcluster
from conftest import wait_until
from shared import by_value


@pytest.mark.parametrize("args, expected", [
    ([], ("leastload", 1)),
    (["--scheme", "lru", "--hwm", "3"], ("lru", 3)),
])
def test_scheme_and_limit(start, args, expected):
    cluster = start(1, *args)
    said = cluster.home.json("sched")
    assert (said["scheme"], said["hwm"]) == expected
    done = cluster.run("sched", "--scheme", "weighted", "--hwm", "0")
    assert done.stdout == "scheme weighted, hwm 0, 0 tasks wait for an engine\n"
    assert done.returncode == 0
    assert cluster.home.json("sched")["scheme"] == "weighted"


def test_sched_without_a_cluster(home):
    done = home.run("sched")
    assert done.returncode == 11
    assert done.stderr.startswith("pcluster sched: ")


# ---- ending early -------------------------------------------------------------------------------

@pytest.fixture
def client(start):
    """A client of one engine."""
    with pcluster.Client(start(1).file) as c:
        yield c


@by_value
def nap(seconds):
    import time

    print("on", flush=True)
    time.sleep(seconds)
    return seconds


def wait_begun(result):
    """It has printed something; looking at whether it is ready takes in what has arrived."""
    wait_until(lambda: not result.ready() and result.stdout, "the task to begin", 20)


def test_aborted_tasks_never_start(client):
    view = client.load_balanced_view()
    first = view.apply_async(nap, 1000)
    rest = view.map_async(nap, range(1000, 1100))
    wait_begun(first)
    rest.abort()
    assert rest.cancelled()
    with pytest.raises(pcluster.TaskAborted):
        rest.get()
    assert not first.done()
    assert first.cancel(interrupt=True)
    with pytest.raises(pcluster.RemoteError, match="KeyboardInterrupt"):
        first.get(30)
    assert view.apply_sync(nap, 0) == 0


def test_in_flight_ones_are_aborted_too(client):
    view = client[0]
    calls = [view.apply_async(nap, 1000) for _ in range(5)]
    wait_begun(calls[0])
    client.abort(calls[1:])
    client.interrupt(0)
    with pytest.raises(pcluster.RemoteError, match="KeyboardInterrupt"):
        calls[0].get(30)
    for call in calls[1:]:
        with pytest.raises(pcluster.TaskAborted):
            call.get(30)
        assert call.cancelled() and not call.stdout


def test_interrupts_hit_nobody_else(client):
    """Interrupts at every moment of a task's life; the next one never sees one."""
    view = client[0]
    for i in range(100):
        target = view.apply_async(nap, 0)
        witness = view.apply_async(sum, range(1000))
        time.sleep(i * 1e-5)
        target.cancel(interrupt=True)
        assert witness.get(30) == 499500
