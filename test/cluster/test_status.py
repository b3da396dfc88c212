# SPDX-License-Identifier: BSD-3-Clause
"""pcluster status and list."""

import os
import signal
import socket

from conftest import is_alive, wait_until


def test_status(cluster):
    status = cluster.status()
    assert status["ok"] and status["profile"] == "default" and status["cluster_id"] == ""
    assert status["host"] == socket.gethostname()
    assert status["clients"] == 1  # the one that asks
    assert all(is_alive(pid) for pid in status["pids"].values())
    for row in status["engines"]:
        assert row["state"] == "idle" and row["host"] == status["host"]
        assert is_alive(row["pid"])
        assert 100_000 < row["memory_bytes"] < 1_000_000_000
        assert (row["tasks_done"], row["tasks_failed"], row["queue"]) == (0, 0, 0)


def test_counters(home, cluster):
    cluster.run("exec", "x = 1")
    cluster.run("exec", "-t", "0", "x = 1")
    cluster.run("exec", "-t", "1", "1 / 0")
    status = cluster.status()
    assert status["tasks"] == {"submitted": 4, "done": 3, "failed": 1, "pending": 0}
    assert [(row["tasks_done"], row["tasks_failed"]) for row in status["engines"]] == [
        (2, 0), (1, 1)]


def test_busy_and_queue(home, cluster):
    marker = os.path.join(home.work, "go")
    code = f"import os, time\nwhile not os.path.exists({marker!r}): time.sleep(0.01)"
    processes = [home.popen("exec", "-t", "0", code) for _ in range(3)]
    row = wait_until(lambda: (row := cluster.status()["engines"][0])["queue"] == 3 and row,
                     "three tasks")
    assert row["state"] == "busy"
    assert cluster.status()["tasks"]["pending"] == 3
    with open(marker, "w", encoding="ascii"):
        pass
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    rows = wait_until(lambda: (found := cluster.engines())[0]["state"] == "idle" and found,
                      "an idle engine")
    assert (rows[0]["tasks_done"], rows[0]["queue"]) == (3, 0)


def test_text(cluster):
    cluster.run("exec", "-t", "1", "import os; os.kill(os.getpid(), 9)")
    text = cluster.run("status").stdout
    status = cluster.status()
    for part in (status["url"], status["unix"], f"parent {status['pids']['parent']},",
                 f"hub {status['pids']['hub']}"):
        assert part in text
    table = text[text.index("\n\n") + 2:].splitlines()
    assert table[0].split()[:7] == ["id", "pid", "state", "host", "python", "memory", "done"]
    assert table[1].split()[:3] == ["0", str(status["engines"][0]["pid"]), "idle"]
    assert "down" in table[2] and "was killed by signal 9 (SIGKILL)" in table[2]
    assert len(table) == 3


def test_list(home, start):
    cluster = start(2)
    dead = start(1, profile="dead")
    dead.end(signal.SIGKILL)
    rows = {row["profile"]: row for row in home.json("list")}
    assert rows["default"]["state"] == "running"
    assert rows["default"]["engines"] == 2
    assert rows["default"]["url"] == cluster.status()["url"]
    assert rows["default"]["pids"]["parent"] == cluster.pid
    assert rows["dead"]["state"] == "stale"
    text = home.run("list").stdout.splitlines()
    assert text[0].split() == ["profile", "id", "state", "engines", "clients", "address"]
    assert text[1].split()[:3] == ["dead", "-", "stale"]
    assert text[2].split()[:5] == ["default", "-", "running", "2", "1"]


def test_status_of_stale_cluster(home, start):
    cluster = start(1)
    cluster.end(signal.SIGKILL)
    done = home.run("status")
    assert done.returncode == 11
    assert done.stderr.startswith("pcluster status: ")
    assert cluster.file in done.stderr


def test_status_of_controller_that_hangs(home, start):
    """Accepted, but silent: said within a limit."""
    cluster = start(1)
    scheduler = cluster.pids()["scheduler"]
    os.kill(scheduler, signal.SIGSTOP)
    done = home.run("status")
    assert done.returncode == 1
    assert "in time" in done.stderr or "not answer" in done.stderr
    os.kill(scheduler, signal.SIGCONT)
    assert cluster.status()["ok"]
