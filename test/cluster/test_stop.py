# SPDX-License-Identifier: BSD-3-Clause
"""Stopping: orderly, by force, and with nothing left behind."""

import os
import signal

import pytest
from conftest import is_alive, wait_until


def test_stop(home, start):
    cluster = start(2)
    done = home.run("stop")
    assert (done.returncode, done.stdout, done.stderr) == (
        0, "stopped: cluster in profile 'default' (2 engines)\n", "")
    assert cluster.wait()[0] == 0
    assert home.leftovers() == []
    home.wait_empty()
    assert home.run("stop").returncode == 11


def test_stop_by_name(home, start):
    start(1)
    start(1, profile="p", cluster_id="x")
    done = home.run("stop", "--profile", "p", "--cluster-id", "x")
    assert done.stdout == "stopped: cluster x in profile 'p' (1 engine)\n"
    assert [row["profile"] for row in home.json("list")] == ["default"]


def test_stop_all(home, start):
    start(1)
    start(1, profile="p")
    done = home.run("stop", "--all")
    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()) == [
        "stopped: cluster in profile 'default' (1 engine)",
        "stopped: cluster in profile 'p' (1 engine)"]
    home.wait_empty()
    assert home.run("list").returncode == 11
    assert home.run("stop", "--all").returncode == 11


def test_stop_with_file(home, cluster):
    assert home.run("stop", "--file", cluster.file).returncode == 0


def test_stop_over_tcp(home, cluster):
    """The Unix socket's name is gone; the other address is still there."""
    os.unlink(cluster.status()["unix"])
    assert home.run("stop").returncode == 0
    assert cluster.wait()[0] == 0


def test_stop_of_stale_cluster(home, start):
    cluster = start(1)
    cluster.end(signal.SIGKILL)
    home.wait_empty()
    done = home.run("stop")
    assert done.returncode == 11
    assert cluster.file in done.stderr or "unix:" in done.stderr
    assert home.run("stop", "--all").returncode == 11


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals(home, start, number):
    code, _, err = start(2).end(number)
    assert (code, err) == (0, "")
    assert home.leftovers() == []
    home.wait_empty()


def test_parent_that_hangs(home, start):
    """It neither takes the order nor ends by itself: killed after the limit, and all with it."""
    cluster = start(2)
    cluster.process.send_signal(signal.SIGSTOP)
    done = home.run("stop", "--timeout", 1)
    assert done.returncode == 0
    assert "stopped by force: cluster in profile 'default'" in done.stdout
    assert cluster.wait()[0] == -signal.SIGKILL
    home.wait_empty()
    assert home.leftovers() == []


def test_hub_that_hangs(home, start):
    """Nobody can say how many engines there are; the cluster ends all the same."""
    cluster = start(2)
    os.kill(cluster.pids()["hub"], signal.SIGSTOP)
    done = home.run("stop", "--timeout", 2)
    assert done.returncode == 0, done.stderr
    home.wait_empty()


def test_scheduler_that_hangs(home, start):
    """Nobody answers at the address; the parent is asked by a signal."""
    cluster = start(2)
    os.kill(cluster.pids()["scheduler"], signal.SIGSTOP)
    done = home.run("stop", "--timeout", 20)
    assert done.returncode == 0, done.stderr
    assert "although it did not answer" in done.stdout
    assert cluster.wait()[0] == 0
    home.wait_empty()
    assert home.leftovers() == []


def test_engine_that_hangs(home, start):
    cluster = start(2)
    os.kill(cluster.engines()[0]["pid"], signal.SIGSTOP)
    assert home.run("stop").returncode == 0
    home.wait_empty()


def test_busy_engine(home, start):
    """User code that does not end ends with the cluster."""
    cluster = start(2)
    busy = home.popen("exec", "while True: pass")
    wait_until(lambda: all(row["state"] == "busy" for row in cluster.engines()), "busy engines")
    assert home.run("stop").returncode == 0
    assert cluster.wait()[0] == 0
    _, err = busy.communicate()
    assert busy.returncode == 1 and err
    home.wait_empty()


def test_children_of_engines(home, cluster):
    """Also those that left the engine's session, and those whose parent is gone."""
    code = ("import subprocess as s\n"
            "a = s.Popen(['sleep', '3600'])\n"
            "b = s.Popen(['sleep', '3600'], start_new_session=True)\n"
            "s.run(['setsid', '-f', 'sleep', '3600'])\n"
            "print(a.pid, b.pid)\n")
    done = cluster.run("exec", "-t", "0", code)
    assert done.returncode == 0, done.stderr
    pids = [int(word) for word in done.stdout.split()[1:]]
    assert all(is_alive(pid) for pid in pids)
    assert home.run("stop").returncode == 0
    home.wait_empty()


def test_clients_see_the_end(home, cluster):
    """A call that waits ends with the cluster and says why."""
    waiting = home.popen("exec", "import time; time.sleep(3600)")
    wait_until(lambda: all(row["state"] == "busy" for row in cluster.engines()), "busy engines")
    assert home.run("stop").returncode == 0
    _, err = waiting.communicate()
    assert waiting.returncode == 1
    assert "[0] " in err and "[1] " in err
