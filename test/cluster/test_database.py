# SPDX-License-Identifier: BSD-3-Clause
"""--store sqlite in trouble: the cluster computes, and says what is wrong."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest
from conftest import DEADLINE_S, wait_until

import pcluster

# What a script in a mount namespace of its own begins with: what is mounted there is seen by nobody else, and
# gone with it.
PRELUDE = """
import json, os, sqlite3, subprocess, sys, time
import pcluster

def start():
    cluster = subprocess.Popen([exe, "start", "-n", "1", "--store", "sqlite"], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    line = cluster.stdout.readline()
    assert line.startswith("ready: "), line + cluster.stderr.read()
    return cluster

def store(is_right):  # it is written once a second
    end = time.monotonic() + 30
    while True:
        status = subprocess.run([exe, "status", "--json"], capture_output=True, text=True, check=True)
        found = json.loads(status.stdout)["store"]
        if is_right(found) or time.monotonic() > end:
            return found

def compute(client, count):
    view = client.load_balanced_view()
    results = [view.apply_async(bytes, 1000 + i % 2) for i in range(count)]
    assert [len(result.get()) for result in results] == [1000 + i % 2 for i in range(count)]
    return len(client.hub_history())

def report(cluster, **told):
    cluster.terminate()
    _, err = cluster.communicate()
    rows = sqlite3.connect(os.path.join(profile, "tasks.db")).execute("SELECT count(*) FROM tasks").fetchone()[0]
    print(json.dumps(dict(told, err=err, code=cluster.returncode, rows=rows)))

profile = os.path.join(os.environ["PCLUSTER_DIR"], "profile_default")
"""
COMPUTE = """
cluster = start()
with pcluster.Client() as client:
    known = compute(client, {count})
report(cluster, store=store(lambda found: found["trouble"]), known=known)
"""
# Until a file goes that takes all the room.
FULL_FOR_A_WHILE = """
cluster = start()
ballast = os.path.join(profile, "ballast")
told = {}
with pcluster.Client() as client:
    durable = client.load_balanced_view().set_flags(durable=True)
    assert durable.apply_sync(abs, -1) == 1
    with open(ballast, "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    try:
        for _ in range(1000):  # until what the database has of its own is used
            durable.apply_async(bytes, 4000).wait_accepted(30)
    except pcluster.NotDurable as error:
        told["refusal"] = str(error)
    compute(client, 1000)
    told["full"] = store(lambda found: found["trouble"])
    os.unlink(ballast)
    told["over"] = store(lambda found: not found["trouble"])
    assert durable.apply_sync(abs, -2) == 2
    told["known"] = len(client.hub_history())
report(cluster, **told)
"""
# Results that are files beside the database, of a client that has gone.
LARGE = """
cluster = start()
job = "import pcluster; pcluster.Client().load_balanced_view().map_async(bytes, [2_000_000] * 6, chunksize=1)"
subprocess.run([sys.executable, "-c", job], check=True)
with pcluster.Client() as client:
    names = client.hub_history()
    client.wait(client.get_result(names), 30)
    troubled = store(lambda found: found["trouble"])
    sizes = [len(client.get_result(name).get()) for name in names]
report(cluster, store=troubled, sizes=sizes)
"""


def database(home):
    return os.path.join(home.profiles, "profile_default", "tasks.db")


def check(path):
    """The file is sound; returns the ids in it."""
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [f"{session % 2**64:016x}_{sequence}" for session, sequence in
                file.execute("SELECT session, sequence FROM tasks ORDER BY number")]


def with_mounts(home, commands, script):
    """Runs it after these commands; skips where mounts are not possible."""
    if not shutil.which("unshare") or subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", home.etc],
            capture_output=True, check=False).returncode:
        pytest.skip("a mount namespace is not possible here")
    path = os.path.join(home.work, "script.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"exe = {home.exe!r}\n{PRELUDE}{script}")
    command = " && ".join([*commands, f"exec '{sys.executable}' '{path}'"])
    done = subprocess.run(["unshare", "-rm", "sh", "-c", command], cwd=home.work, text=True,
                          capture_output=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def on_small_disk(home, size, script):
    """With the profile's folder on a disk of that size."""
    profile = os.path.join(home.profiles, "profile_default")
    os.mkdir(profile, 0o700)
    return with_mounts(home, [f"mount -t tmpfs -o size={size},mode=700 tmpfs '{profile}'"], script)


def test_killed_during_commits(home, start):
    """Whenever the hub is killed: the file is sound, and has each task once."""
    cluster = start(2, "--store", "sqlite")
    names = []
    with pcluster.Client(cluster.file) as client:
        view = client.load_balanced_view()
        for _ in range(4):
            hub = cluster.pids()["hub"]
            before = cluster.status()["store"]["tasks"]
            results = view.map_async(abs, range(1500), chunksize=1)
            wait_until(lambda: cluster.status()["store"]["tasks"] >= before + 300, "commits")
            os.kill(hub, signal.SIGKILL)
            results.get()
            names += results.msg_ids
        assert sorted(client.hub_history()) == sorted(names)
    assert cluster.end()[0] == 0
    assert sorted(check(database(home))) == sorted(names)


def test_killed_and_stopped(home, start):
    """What was acknowledged gets into the file, although there is no time to notice the death."""
    cluster = start(2, "--store", "sqlite")
    with pcluster.Client(cluster.file) as client:
        results = client.load_balanced_view().map_async(abs, range(800), chunksize=1)
        results.get()
        os.kill(cluster.pids()["hub"], signal.SIGKILL)
    code, _, err = cluster.end()
    assert code == 0, err
    assert sorted(check(database(home))) == sorted(results.msg_ids)


def test_full_disk(home):
    """Tasks stay in memory, and the trouble is told."""
    told = on_small_disk(home, "600k", COMPUTE.format(count=2000))
    assert told["code"] == 0 and told["known"] == 2000
    assert "database or disk is full" in told["store"]["trouble"]
    assert "tasks are kept in memory until it works" in told["store"]["trouble"]
    assert told["err"].count("database or disk is full") == 1


def test_full_for_a_while(home):
    """Durable tasks are refused meanwhile; then everything gets into the file."""
    told = on_small_disk(home, "4m", FULL_FOR_A_WHILE)
    assert told["code"] == 0
    assert "database or disk is full" in told["refusal"] and "not accepted, and not run" in told["refusal"]
    assert "database or disk is full" in told["full"]["trouble"]
    assert not told["over"]["trouble"] and told["rows"] == told["known"] > 1000


def test_full_disk_for_large_results(home):
    told = on_small_disk(home, "5m", LARGE)
    assert told["code"] == 0 and told["sizes"] == [2_000_000] * 6
    assert "can't write the result file" in told["store"]["trouble"] and "No space left" in told["store"]["trouble"]


def remembered(home, start, count=1):
    """Ids of tasks in the database of a cluster that has ended."""
    cluster = start(1, "--store", "sqlite")
    with pcluster.Client(cluster.file) as client:
        names = client.load_balanced_view().map_async(abs, range(count), chunksize=1).msg_ids
        client.wait(timeout=DEADLINE_S)
    assert cluster.end()[0] == 0
    assert sorted(check(database(home))) == sorted(names)
    return names


def test_read_only(home, start):
    """What was there is found, and not touched; what comes stays in memory."""
    names = remembered(home, start)
    path = database(home)
    told = with_mounts(home, [f"mount --bind '{path}' '{path}'",
                              f"mount -o remount,bind,ro '{path}'"], COMPUTE.format(count=10))
    assert told["code"] == 0 and told["known"] == 11
    assert "readonly" in told["store"]["trouble"] and path in told["store"]["trouble"]
    assert check(path) == names


@pytest.mark.parametrize("first, count", [(3, 1000), (60, 2)])
def test_damaged(home, start, first, count):
    """Not at its beginning, where it says what it is."""
    remembered(home, start, 2000)
    path = database(home)
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(first * 4096)
        file.write(b"\xa5" * min(count * 4096, size - first * 4096))
    cluster = start(1, "--store", "sqlite")
    with pcluster.Client(cluster.file) as client:
        assert client.load_balanced_view().map_sync(abs, range(600), chunksize=1) == list(range(600))
        assert len(client.hub_history()) == 600
        store = cluster.status()["store"]
        assert store["kind"] == "memory" and "tasks are kept in memory instead" in store["trouble"]
        with pytest.raises(pcluster.NotDurable, match="malformed"):
            client.load_balanced_view().set_flags(durable=True).apply_sync(abs, 1)
    code, _, err = cluster.end()
    assert code == 0 and f"'{path}': database disk image is malformed (move it away to begin another)" in err
