# SPDX-License-Identifier: BSD-3-Clause
"""Cluster: a program starts its own."""

import asyncio
import concurrent.futures
import os
import signal
import subprocess
import sys

import pytest
from conftest import wait_until

import pcluster
from pcluster import error
from pcluster.cluster import executable


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
    patient = ["--grace", "600"]  # nobody waits for engines that were stopped
    with pcluster.Cluster(n=1, profile_dir=os.path.join(folder.work, "prüf"), controller_args=patient) as rc:
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


@pytest.mark.parametrize("spoil", [
    lambda rc: rc.close(),
    lambda rc: rc.cluster.stop_engines_sync(),
    lambda rc: rc.cluster.controller.tell(signal.SIGKILL),
    lambda rc: rc.cluster.stop_cluster_sync(),
])
def test_block_ends_in_order(folder, spoil):
    """Whatever has become of the client and the cluster within the block; and the block's own error is seen."""
    cluster = pcluster.Cluster(n=1)
    with pytest.raises(LookupError, match="of the block"), cluster as rc:
        spoil(rc)
        raise LookupError("of the block")
    assert not cluster.running and cluster.controller is None and not cluster.engines
    folder.wait_empty()


FORK = """
import os, pcluster
def leaves(enter):
    with enter(pcluster.Cluster(n=1)) as rc:
        pid = os.fork()
        if pid:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            print(rc[:].apply_sync(abs, -1), rc.cluster.running, flush=True)
    if not pid:
        os._exit(0)
leaves(lambda cluster: cluster)
leaves(lambda cluster: cluster.start_and_connect_sync())
cluster = pcluster.Cluster(n=1)
pid = os.fork()
if not pid:
    with cluster as rc:
        print(rc.ids, flush=True)
    os._exit(cluster.running)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_forked_child_leaves_the_block(folder):
    """The cluster is that of the process which has started it."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[1] True\n[1] True\n[0]\n0\n", "")
    folder.wait_empty()


def test_async(folder):
    async def use():
        async with pcluster.Cluster(n=1) as rc:
            return await asyncio.to_thread(rc[0].apply_sync, lambda: 5)

    assert asyncio.run(use()) == 5


def test_cancelled_start(folder):
    """It is undone before the caller is told."""

    async def cancel(start):
        task = asyncio.ensure_future(start)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def use():
        cluster = pcluster.Cluster(n=1)
        for start in (cluster.start_controller, cluster.start_cluster, cluster.start_and_connect, cluster.__aenter__):
            await cancel(start())
            assert not cluster.running and cluster.controller is None and not cluster.engines
        await cluster.start_controller()
        await cancel(cluster.start_engines(1, "gone"))
        assert not cluster.engines and cluster.controller.running
        await cluster.stop_cluster()

    asyncio.run(use())
    folder.wait_empty()
    assert folder.leftovers() == []


def test_two_at_once(folder):
    """Of one profile, started from two threads; neither disturbs the other."""
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        clients = list(threads.map(lambda n: pcluster.Cluster(n=n).start_and_connect_sync(), (1, 2)))
    one, two = clients
    assert one.cluster.cluster_id != two.cluster.cluster_id
    assert [one.ids, two.ids] == [[0], [0, 1]]
    one[:]["who"], two[:]["who"] = "one", "two"
    with one:
        assert one[:]["who"] == ["one"]
    assert not one.cluster.running and two[:]["who"] == ["two", "two"]
    two.cluster.n = None
    two.wait_for_engines(timeout=30)  # as many as were started
    with two:
        pass
    folder.wait_empty()
    assert folder.leftovers() == []


def test_home_that_cannot_be_written(folder, monkeypatch):
    monkeypatch.delenv("PCLUSTER_DIR")
    monkeypatch.setenv("HOME", "/proc")
    with pytest.raises(error.ClusterError, match="/proc/.pcluster"):
        pcluster.Cluster(n=1).start_cluster_sync()
    assert folder.processes() == []


def test_no_executable(folder, monkeypatch, tmp_path):
    """The error says how to get it."""
    monkeypatch.delenv("PCLUSTER_EXE")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(executable, "_candidates", lambda: iter([tmp_path / "pcluster"]))
    with pytest.raises(error.ClusterError, match="install it .* or say in PCLUSTER_EXE where it is"):
        pcluster.Cluster(n=1).start_cluster_sync()


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
    monkeypatch.setenv("PCLUSTER_EXE", "/bin/true")
    with pytest.raises(error.ClusterError, match="'/bin/true' is not the executable of pcluster"):
        pcluster.Cluster().start_cluster_sync()


def test_no_engines_are_not_the_default_number(folder):
    with pytest.raises(error.ClusterError, match="-n 0 is out of range"):
        pcluster.Cluster(n=0).start_cluster_sync()
    with pytest.raises(error.ClusterError, match="-n 0 is out of range"):
        pcluster.Cluster(n=1).start_cluster_sync(0)
    assert folder.processes() == []
