# SPDX-License-Identifier: BSD-3-Clause
"""Cluster: a program starts its own."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from conftest import wait_until

import pcluster
from pcluster import error


@pytest.fixture
def folder(home, monkeypatch):
    """The folders of a test; the executable is that under test."""
    monkeypatch.setenv("PCLUSTER_EXE", home.exe)
    return home


def test_with(folder):
    with pcluster.Cluster(n=2) as rc:
        assert rc.ids == [0, 1]
        assert rc[:].apply_sync(lambda: 7) == [7, 7]
        cluster = rc.cluster
        assert f"cluster_id={cluster.cluster_id!r}, profile='default', controller=<running>" in repr(cluster)
        with pytest.raises(RuntimeError, match="running already"):
            cluster.start_controller_sync()
    assert cluster.controller is None and not cluster.engines
    cluster.stop_cluster_sync()
    folder.wait_empty()
    assert folder.leftovers() == []


def test_engine_sets(folder):
    with pcluster.Cluster(n=1, profile_dir=os.path.join(folder.work, "prüf")) as rc:
        cluster = rc.cluster
        name = cluster.start_engines_sync(2, "second")
        assert name == "second" and list(cluster.engines)[1] == name
        rc.wait_for_engines(3, timeout=30)
        cluster.restart_engines_sync("second")
        wait_until(lambda: rc.ids == [0, 3, 4], "new ids")
        cluster.restart_engine_sync(0)
        wait_until(lambda: rc.ids == [3, 4, 5], "another engine for engine 0")
        cluster.signal_engine_sync("KILL", 5)
        cluster.stop_engine_sync(3)
        wait_until(lambda: rc.ids == [4], "one engine")
        assert "ready: 2 engines" in cluster.engines["second"].get_output()
        cluster.stop_engines_sync("second")
        wait_until(lambda: rc.ids == [], "no engine")
        with pytest.raises(KeyError):
            cluster.stop_engines_sync("second")
        with pytest.raises(TypeError, match="no such option"):
            cluster.start_engines_sync(1, bogus="x")


ATTACH = """
import pcluster
cluster = pcluster.Cluster.from_file(cluster_id="x")
assert cluster.running and not cluster.shutdown_atexit and list(cluster.engines) == ["a"], cluster
with cluster.connect_client_sync() as rc:
    print(rc.ids)
assert cluster.running
cluster.signal_engines_sync("CONT", "a")
assert pcluster.ClusterManager().load_clusters()["default:x"].running
cluster.stop_cluster_sync()
assert pcluster.ClusterManager().load_clusters() == {}
"""


def test_attach(folder):
    """Another Python connects and stops; the one that started sees it."""
    cluster = pcluster.Cluster(cluster_id="x")
    cluster.start_controller_sync()
    cluster.start_engines_sync(2, "a")
    path = folder.security("cluster-x.json")
    assert cluster.cluster_file == path and os.stat(path).st_mode & 0o777 == 0o600
    with cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=30)
    done = subprocess.run([sys.executable, "-c", ATTACH], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 1]\n", "")
    assert not cluster.running and not os.path.exists(path)
    cluster.stop_cluster_sync()
    folder.wait_empty()
    assert folder.leftovers() == []


def test_left_client(folder):
    """Leaving the client of start_and_connect() stops the cluster; engines that end are not waited for."""
    cluster = pcluster.Cluster(n=1)
    with cluster.start_and_connect_sync() as rc:
        cluster.engine_set.tell(signal.SIGTERM)
        with pytest.raises(error.EngineError, match="ended; the last they logged"):
            rc.wait_for_engines(2, timeout=30)
    assert cluster.controller is None and not cluster.engines
    folder.wait_empty()


def test_async(folder):
    async def use():
        async with pcluster.Cluster(n=1) as rc:
            return await asyncio.to_thread(rc[0].apply_sync, lambda: 5)

    assert asyncio.run(use()) == 5


def test_killed(folder):
    """Nothing stays behind, however the program ends."""
    with subprocess.Popen(
        [sys.executable, "-c", "import pcluster, time\nc = pcluster.Cluster(n=1)\nc.start_cluster_sync()\n"
         "print('up', flush=True)\ntime.sleep(600)"], stdout=subprocess.PIPE, text=True, cwd=folder.work) as program:
        assert program.stdout.readline() == "up\n"
        program.send_signal(signal.SIGKILL)
    folder.wait_empty()


def test_errors(folder, monkeypatch):
    with pytest.raises(ValueError, match="only 'local'"):
        pcluster.Cluster(engines="mpi")
    with pytest.raises(RuntimeError, match="was not started"):
        pcluster.Cluster().connect_client_sync()
    with pytest.raises(error.ClusterError, match="no such option: '--bogus'"):
        pcluster.Cluster(controller_args=["--bogus"]).start_cluster_sync()
    monkeypatch.setenv("PCLUSTER_EXE", "/nowhere/pcluster")
    with pytest.raises(error.ClusterError, match="can't run '/nowhere/pcluster'"):
        pcluster.Cluster().start_cluster_sync()
