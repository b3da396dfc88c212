# SPDX-License-Identifier: BSD-3-Clause
"""Engines that are started, stopped, restarted and signalled while the cluster runs."""

import os
import signal
import threading
import time

import pytest
from conftest import Cluster, is_alive, wait_begun, wait_until
from shared import by_value

import pcluster
from pcluster import error


def ids_become(client, ids):
    wait_until(lambda: client.ids == ids, f"engines {ids}")


def count_becomes(client, count):
    wait_until(lambda: len(client) == count, f"{count} engines")


def order(client, query, **fields):
    return client._ask({"query": query, **fields})


@by_value
def note_and_sleep(path):
    open(path, "w", encoding="utf-8").close()
    time.sleep(60)


def sleep(client, engine):
    """A call that is running, and would for a minute."""
    path = os.path.join(os.environ["PCLUSTER_DIR"], "running")
    call = client[engine].apply_async(note_and_sleep, path)
    wait_until(lambda: os.path.exists(path), "the call to run")
    os.unlink(path)
    return call


@by_value
def never_end():
    print("on", flush=True)
    while True:
        try:
            while True:
                pass
        except KeyboardInterrupt:
            pass


def test_start(cluster):
    with pcluster.Client() as c:
        assert order(c, "start_engines", count=2)["count"] == 2
        ids_become(c, [0, 1, 2, 3])
        assert c[:].apply_sync(lambda: 7) == [7] * 4
        for count in (0, 9999):
            with pytest.raises(error.ControllerError, match=f"can't start {count} engines: there are 4"):
                order(c, "start_engines", count=count)
    # What was started is started again.
    os.kill(cluster.nursery(), signal.SIGKILL)
    wait_until(lambda: [row["id"] for row in cluster.engines()] == [4, 5, 6, 7], "engines 4 to 7")


def test_stop(cluster):
    with pcluster.Client() as c:
        calls = [sleep(c, 0), c[0].apply_async(lambda: 1)]
        assert order(c, "stop_engines", ids=[0], grace_ms=100)["count"] == 1
        for call in calls:
            with pytest.raises(error.EngineError, match="engine 0 .* was stopped: a client asked"):
                call.get(30)
        ids_become(c, [1])
        # It stays away also when the nursery is started anew.
        os.kill(cluster.nursery(), signal.SIGKILL)
        ids_become(c, [2])
        assert order(c, "stop_engines", ids=[2])["count"] == 1
        ids_become(c, [])
    code, _, err = cluster.end()
    assert code == 0 and "warn: lost engine 0" not in err


def test_stop_lets_a_call_finish(cluster):
    with pcluster.Client() as c:
        call = c[0].apply_async(lambda: print("on", flush=True) or __import__("time").sleep(0.5) or "done")
        wait_begun(call)
        order(c, "stop_engines", ids=[0], grace_ms=50_000)
        assert call.get(30) == "done"
        ids_become(c, [1])


def test_restart(cluster):
    with pcluster.Client() as c:
        pids = [engine.pid for engine in c.engines]
        c[:].push({"x": 1}, block=True)
        order(c, "restart_engines", ids=[0, 1])
        ids_become(c, [2, 3])
        assert not {engine.pid for engine in c.engines} & set(pids)
        assert c[:].apply_sync(lambda: "x" in globals()) == [False, False]


def test_restart_of_one_that_does_not_answer(cluster):
    """Stopped by a signal, it can't leave by itself, nor for SIGTERM."""
    with pcluster.Client() as c:
        pid = c.engines[0].pid
        assert order(c, "signal_engines", ids=[0], signal=signal.SIGSTOP)["count"] == 1
        wait_until(lambda: open(f"/proc/{pid}/stat", encoding="ascii").read().split()[2] == "T", "SIGSTOP")
        order(c, "restart_engines", ids=[0], grace_ms=0)
        ids_become(c, [1, 2])
        assert not is_alive(pid)


def test_signal(cluster):
    with pcluster.Client() as c:
        call = sleep(c, 0)
        order(c, "signal_engines", ids=[0], signal=signal.SIGINT)
        with pytest.raises(error.RemoteError, match="KeyboardInterrupt"):
            call.get(30)
        assert c[:].apply_sync(lambda: 3) == [3, 3]
        call = sleep(c, 1)
        order(c, "signal_engines", ids=[1], signal=signal.SIGKILL)
        with pytest.raises(error.EngineError, match="killed by signal 9"):
            call.get(30)
        # It was the user who ended it, and that one is not replaced.
        assert order(c, "start_engines", count=1)["count"] == 1
        ids_become(c, [0, 2])


def test_engine_that_had_to_be_ended(cluster):
    """A task that can't be interrupted takes its engine along; another one takes its place."""
    with pcluster.Client() as c:
        call = c.load_balanced_view([0]).apply_async(never_end)
        wait_until(lambda: not call.ready() and call.stdout, "the call to run")
        call.cancel(interrupt=True)
        with pytest.raises(error.TaskAborted):
            call.get(50)
        ids_become(c, [1, 2])


def test_controller_without_engines(home, controller):
    with pcluster.Client() as c:
        order(c, "start_engines", count=2)
        ids_become(c, [0, 1])
        assert c[:].apply_sync(lambda: 1) == [1, 1]


def test_engines_of_another_parent(home, controller):
    """Orders reach it over its connection to the controller."""
    engines = Cluster(home, ["-n", "2"], command="engine")
    with pcluster.Client() as c:
        ids_become(c, [0, 1])
        hosts = order(c, "hosts")["hosts"]
        assert [sorted(host["engines"]) for host in hosts] == [[], [0, 1]]
        assert hosts[1]["pid"] == engines.pid
        order(c, "restart_engines", ids=[0])
        ids_become(c, [1, 2])
        call = sleep(c, 1)
        order(c, "signal_engines", ids=[1], signal=signal.SIGUSR1)
        with pytest.raises(error.EngineError, match="SIGUSR1"):
            call.get(30)
        order(c, "stop_engines", ids=[2])
        ids_become(c, [])
        assert engines.process.poll() is None
    engines.end()


def test_orders_while_starting(home, start):
    """The cluster is ready when those are there that are still wanted."""
    slow = os.path.join(home.work, "slow.py")
    with open(slow, "w", encoding="utf-8") as file:
        file.write("import time, os\nwhile not os.path.exists('go'): time.sleep(0.01)\n")
    process = home.popen("start", "-n", 2, "--preload", "slow",
                         env=dict(os.environ, PYTHONPATH=home.work))
    wait_until(lambda: os.path.exists(home.security()), "the connection file")
    with pcluster.Client() as c:
        asking = threading.Thread(target=order, args=(c, "start_engines"), kwargs={"count": 1})
        asking.start()
        wait_until(lambda: c.status()["pids"], "an answer")
        with open(os.path.join(home.work, "go"), "w", encoding="utf-8"):
            pass
        assert process.stdout.readline().startswith("ready: 3 engines")
        asking.join()
        count_becomes(c, 3)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 0


def test_client_methods(cluster):
    """What the orders above are in the interface."""
    with pcluster.Client() as c:
        c.start_engines(1, block=True)
        assert c.ids == [0, 1, 2]
        call = sleep(c, 0)
        c.send_signal("SIGINT", 0)
        with pytest.raises(error.RemoteError, match="KeyboardInterrupt"):
            call.get(30)
        with pytest.raises(ValueError, match="no signal 'SIGNONE'"):
            c.send_signal("SIGNONE")
        with pytest.raises(ValueError, match="no signal 0"):
            c.send_signal(0)
        with pytest.raises(IndexError):
            c.send_signal("INT", 9)
        call = sleep(c, 1)
        c.shutdown([1], block=True, grace=0)
        with pytest.raises(error.EngineError, match="was stopped"):
            call.get(30)
        assert c.ids == [0, 2]
        c[2].shutdown(restart=True, block=True)
        assert c.ids == [0, 3]
        c.shutdown(block=True)
        assert c.ids == []
        with pytest.raises(error.NoEnginesRegistered):
            c.shutdown()
        c.shutdown(hub=True, block=True)
    assert cluster.wait()[0] == 0
