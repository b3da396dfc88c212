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

# Runs in a mount namespace of its own: what it mounts is seen by nobody else, and gone with it.
SCRIPT = """
import json, subprocess, sys, time
import pcluster
exe, count = sys.argv[1], int(sys.argv[2])
cluster = subprocess.Popen([exe, "start", "-n", "1", "--store", "sqlite"], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
assert cluster.stdout.readline().startswith("ready: ")
with pcluster.Client() as client:
    view = client.load_balanced_view()
    results = [view.apply_async(bytes, 1000 + i % 2) for i in range(count)]
    assert [len(result.get()) for result in results] == [1000 + i % 2 for i in range(count)]
    known = len(client.hub_history())
end = time.monotonic() + 30
store = {"trouble": None}
while not store["trouble"] and time.monotonic() < end:  # it is written once a second
    status = subprocess.run([exe, "status", "--json"], capture_output=True, text=True, check=True)
    store = json.loads(status.stdout)["store"]
cluster.terminate()
_, err = cluster.communicate()
print(json.dumps({"store": store, "err": err, "known": known,
                  "code": cluster.returncode}))
"""


def database(home):
    return os.path.join(home.profiles, "profile_default", "tasks.db")


def check(path):
    """The file is sound; returns the ids in it."""
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [f"{session % 2**64:016x}_{sequence}" for session, sequence in
                file.execute("SELECT session, sequence FROM tasks ORDER BY number")]


def with_mounts(home, commands, count):
    """Runs SCRIPT after these commands; skips where mounts are not possible."""
    if not shutil.which("unshare") or subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", home.etc],
            capture_output=True, check=False).returncode:
        pytest.skip("a mount namespace is not possible here")
    path = os.path.join(home.work, "script.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(SCRIPT)
    command = " && ".join([*commands, f"exec '{sys.executable}' '{path}' '{home.exe}' {count}"])
    done = subprocess.run(["unshare", "-rm", "sh", "-c", command], cwd=home.work, text=True,
                          capture_output=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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
    profile = os.path.join(home.profiles, "profile_default")
    os.mkdir(profile, 0o700)
    told = with_mounts(home, [f"mount -t tmpfs -o size=600k,mode=700 tmpfs '{profile}'"], 2000)
    assert told["code"] == 0 and told["known"] == 2000
    assert "database or disk is full" in told["store"]["trouble"]
    assert "tasks are kept in memory until it works" in told["store"]["trouble"]
    assert told["err"].count("database or disk is full") == 1


def test_read_only(home, start):
    """What was there is found, and not touched; what comes stays in memory."""
    cluster = start(1, "--store", "sqlite")
    with pcluster.Client(cluster.file) as client:
        name = client[0].apply_async(abs, -1).msg_ids[0]
    cluster.end()
    path = database(home)
    told = with_mounts(home, [f"mount --bind '{path}' '{path}'",
                              f"mount -o remount,bind,ro '{path}'"], 10)
    assert told["code"] == 0 and told["known"] == 11
    assert "readonly" in told["store"]["trouble"] and path in told["store"]["trouble"]
    assert check(path) == [name]
