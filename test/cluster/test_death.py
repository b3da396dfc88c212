# SPDX-License-Identifier: BSD-3-Clause
"""Any process may be killed at any moment: what must hold then."""

import os
import re
import signal

from conftest import is_alive, wait_until


def test_scheduler_that_is_not_replaced(home, start):
    """Without a grace time nobody would come back to another one: the cluster ends, and says why."""
    cluster = start(2, "--grace", 0)
    pid = cluster.pids()["scheduler"]
    os.kill(pid, signal.SIGKILL)
    code, _, err = cluster.wait()
    assert code == 1
    assert f"parent error: the scheduler (pid {pid}) was killed by signal 9 (SIGKILL)\n" in err
    home.wait_empty()
    assert home.leftovers() == []


def test_parent(home, start):
    """Within a second nothing of the cluster is left, whatever its engines do."""
    cluster = start(4)
    busy = home.popen("exec", "-t", "0,1",
                      "import subprocess; subprocess.Popen(['sleep', '3600'])\n"
                      "subprocess.Popen(['sh', '-c', 'setsid sleep 3600 &'])\nwhile True: pass")
    wait_until(lambda: sum(row["state"] == "busy" for row in cluster.engines()) == 2,
               "busy engines")
    cluster.process.send_signal(signal.SIGKILL)
    cluster.process.wait()
    wait_until(lambda: not [pid for pid in home.processes() if pid != busy.pid],
               "all processes of the cluster to end")
    assert busy.communicate()[1]
    assert busy.returncode == 1


def test_engine(start):
    """Its call fails and names the signal; the rest goes on."""
    cluster = start(3)
    pid = cluster.engines()[1]["pid"]
    done = cluster.run("exec", "-t", "1", "import os; os.kill(os.getpid(), 9)")
    assert done.returncode == 1
    assert f"[1] EngineError: engine 1 (pid {pid} on " in done.stderr
    assert "was killed by signal 9 (SIGKILL)" in done.stderr
    assert [row["id"] for row in cluster.engines()] == [0, 2]
    down = [row for row in cluster.status()["engines"] if row["state"] == "down"]
    assert [row["id"] for row in down] == [1]
    assert "was killed by signal 9 (SIGKILL)" in down[0]["reason"]
    done = cluster.run("exec", "print('here')")
    assert sorted(done.stdout.splitlines()) == ["[0] here", "[2] here"]
    code, _, err = cluster.end()
    assert code == 0
    assert len(re.findall(r"warn: .*engine 1 .*was killed by signal 9 \(SIGKILL\)", err)) == 1


def test_engine_takes_its_children_along(home, cluster):
    done = cluster.run("exec", "-t", "0", "import subprocess\n"
                       "print(subprocess.Popen(['sleep', '3600']).pid)")
    child = int(done.stdout.split()[1])
    assert is_alive(child)
    os.kill(cluster.engines()[0]["pid"], signal.SIGKILL)
    wait_until(lambda: not is_alive(child), "the child of the engine to end")
    assert len(cluster.wait_engines(1)) == 1


def test_orphans_are_buried(home, cluster):
    """Processes that an engine lets go become the parent's, which must not keep them as zombies."""
    done = cluster.run("exec", "-t", "0", "import subprocess\n"
                       "for _ in range(20): subprocess.run(['sh', '-c', 'true & true'])")
    assert done.returncode == 0, done.stderr

    def zombies():
        found = []
        for name in os.listdir("/proc"):
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except (OSError, NotADirectoryError):
                continue
            if fields[0] == b"Z" and int(fields[1]) == cluster.pid:
                found.append(name)
        return found

    wait_until(lambda: not zombies(), "zombies to be buried")


def test_nursery(home, start):
    """Its engines end; the parent starts both again, with new ids."""
    cluster = start(2)
    old = cluster.nursery()
    pids = [row["pid"] for row in cluster.engines()]
    os.kill(old, signal.SIGKILL)
    rows = wait_until(lambda: len(found := [row for row in cluster.engines() if row["id"] > 1]) == 2
                      and found, "two new engines")
    assert [row["id"] for row in rows] == [2, 3]
    assert not any(is_alive(pid) for pid in pids)
    assert cluster.nursery() != old
    done = cluster.run("exec", "print('here')")
    assert sorted(done.stdout.splitlines()) == ["[2] here", "[3] here"]
    code, _, err = cluster.end()
    assert code == 0
    assert f"the nursery (pid {old}) was killed by signal 9 (SIGKILL); starting another" in err


def test_nursery_that_dies_again_and_again(home, start):
    """There is a limit; then the cluster ends and says so."""
    cluster = start(1)
    old = 0
    while cluster.process.poll() is None:
        try:
            nursery = cluster.nursery()
        except AssertionError:  # there is none at this moment, or no cluster any more
            continue
        if nursery != old:
            os.kill(nursery, signal.SIGKILL)
            old = nursery
    code, _, err = cluster.wait()
    assert code == 1
    assert "that is the 6th within a minute" in err
    home.wait_empty()
    assert home.leftovers() == []
