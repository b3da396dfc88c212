# SPDX-License-Identifier: BSD-3-Clause
"""pcluster engines: what there is, and orders that are seen to be carried out."""

import os
import signal
import socket

import pytest
from home import by_value, is_alive, wait_until

import pcluster


def ids(home):
    """Of the engines that are there."""
    return [row["id"] for row in home.json("engines")]


def test_list(home, cluster):
    rows = home.json("engines")
    assert [row["id"] for row in rows] == [0, 1]
    for row in rows:
        assert row["host"] == socket.gethostname() and row["state"] == "idle"
        assert len(row["uuid"]) == 32 and is_alive(row["pid"])
        assert row["memory_bytes"] > 0 and row["tags"] == []
    lines = home.run("engines").stdout.splitlines()
    assert lines[0].split() == ["id", "pid", "state", "host", "uuid", "tags", "memory", "queue"]
    assert [line.split()[:3] for line in lines[1:]] == [
        [str(row["id"]), str(row["pid"]), "idle"] for row in rows]
    assert home.run("engines", "list").stdout.splitlines()[0] == lines[0]


def test_add_and_stop(home, cluster):
    assert home.run("engines", "add", 2).stdout == "started: engines 2-3\n"
    assert ids(home) == [0, 1, 2, 3]
    assert home.json("engines", "add", 1) == {"started": [4]}
    pids = {row["id"]: row["pid"] for row in home.json("engines")}
    assert home.run("engines", "stop", "1,3-4").stdout == "stopped: engines 1,3-4\n"
    assert ids(home) == [0, 2]
    wait_until(lambda: not any(is_alive(pids[n]) for n in (1, 3, 4)), "their processes to end")
    assert home.run("exec", "1").returncode == 0
    done = home.run("engines", "stop", "0-1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pcluster engines stop: there is no engine 1; there are: 0,2\n"
    assert ids(home) == [0, 2]  # nothing of it was done
    assert home.run("engines", "stop", "all").returncode == 0
    assert home.run("engines").stdout == "no engines\n"
    assert home.json("engines") == []
    assert home.run("engines", "restart", "all").returncode == 1


def test_restart(home, cluster):
    home.run("exec", "x = 1")
    assert home.json("engines", "restart", "all") == {"stopped": [0, 1], "started": [2, 3]}
    assert ids(home) == [2, 3]
    done = home.run("exec", "print('x' in globals())")
    assert sorted(done.stdout.splitlines()) == ["[2] False", "[3] False"]
    assert home.run("engines", "restart", "3").stdout == (
        "stopped: engine 3\nstarted: engine 4\n")


def test_a_busy_engine_has_its_grace(home, cluster):
    """It may finish; and without waiting the command does not."""
    marker, begun = os.path.join(home.work, "go"), os.path.join(home.work, "begun")
    code = (f"import os, time\nopen({begun!r}, 'w').close()\n"
            f"while not os.path.exists({marker!r}): time.sleep(0.01)\nprint('whole')")
    busy = home.popen("exec", "-t", "0", code)
    wait_until(lambda: os.path.exists(begun), "the task to begin")
    done = home.run("engines", "stop", "--no-wait", "--grace", 60, 0)
    assert done.stdout == "to be stopped: engine 0\n"
    with open(marker, "w", encoding="ascii"):
        pass
    assert busy.communicate()[0] == "[0] whole\n"
    assert busy.returncode == 0
    wait_until(lambda: ids(home) == [1], "engine 0 to leave")


@by_value
def once(path):
    """Fails when it runs again."""
    import os

    os.close(os.open(path, os.O_CREAT | os.O_EXCL))


@pytest.mark.parametrize("order", ["stop", "restart"])
def test_who_leaves_costs_no_task(home, cluster, order):
    """Tasks so short that they are sent ahead, while engines go."""
    with pcluster.Client(cluster.file) as client:
        view = client.load_balanced_view()
        results, round_ = [], 0
        for engine in client.ids[1:] if order == "stop" else client.ids:
            left = home.popen("engines", order, engine)
            while left.poll() is None:
                round_ += 1
                results += [view.apply_async(once, os.path.join(home.work, f"{round_}.{i}")) for i in range(100)]
                results[-1].wait(60)
            assert left.returncode == 0
        assert [error for error in (result.exception(60) for result in results) if error] == []
        assert client.ids == [0] if order == "stop" else [2, 3]


@pytest.mark.parametrize("name", ["KILL", "sigkill", "9"])
def test_signal(home, cluster, name):
    assert home.run("engines", "signal", name, 0).stdout == "signalled: engine 0\n"
    wait_until(lambda: ids(home) == [1], "engine 0 to end")
    rows = {row["id"]: row for row in cluster.status()["engines"]}
    assert signal.Signals.SIGKILL.name in rows[0]["reason"]


@pytest.mark.parametrize("args, text", [
    (["add"], "add: N is missing"),
    (["add", "0"], "add: N 0 is out of range: 1 to 10000 are possible"),
    (["add", "two"], "add: N 'two' is not a whole number"),
    (["stop"], "stop: TARGETS is missing"),
    (["stop", "1-0"], "stop: targets '1-0' are neither 'all' nor a list like '0-3,7'"),
    (["signal", "INT"], "signal: SIGNAL TARGETS is missing"),
    (["signal", "FOO", "all"], "signal: there is no signal 'FOO'"),
    (["drop"], ": no such command: 'drop'; 'pcluster engines -h' lists them"),
    (["--bogus"], "list: no such option: '--bogus'"),
])
def test_wrong_usage(home, cluster, args, text):
    done = home.run("engines", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"pcluster engines{'' if text[0] == ':' else ' '}{text}")
    assert done.stderr.count("\n") == 1


def test_nobody_can_start_them_there(home, cluster):
    done = home.run("engines", "add", "--host", "nowhere", 1)
    assert done.returncode == 1
    assert "no parent of engines is connected from host 'nowhere'" in done.stderr


def test_nothing_runs(home):
    for args in (["engines"], ["engines", "add", 1], ["engines", "stop", "all"]):
        done = home.run(*args)
        assert (done.returncode, done.stdout) == (11, "")


def test_help_names_every_command(home):
    text = home.run("engines", "-h").stdout
    for name in ("list", "add", "stop", "restart", "signal"):
        assert f"usage: pcluster engines {name} " in text
