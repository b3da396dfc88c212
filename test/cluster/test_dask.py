# SPDX-License-Identifier: BSD-3-Clause
"""Engines as workers of dask: with dask itself where it is installed, else with a stand-in."""

import importlib.util
import os
import sys
import threading

import pytest
from conftest import wait_until
from shared import run_python

import pcluster
from pcluster import error

# What become_dask() uses of the package, without a network.
STAND_IN = """
import asyncio, os

class Node:
    def __init__(self, *args, **options):
        self.args, self.options, self.address = args, options, f"{type(self).__name__}@{os.getpid()}"
        if "fail" in options:
            raise ValueError("no such thing")
    async def __aenter__(self):
        self.end = asyncio.Event()
        return self
    async def __aexit__(self, *args):
        pass
    async def finished(self):
        await self.end.wait()
    async def close(self):
        self.end.set()

class Scheduler(Node): pass
class Worker(Node): pass
class Nanny(Node): pass

class Client:
    def __init__(self, address):
        self.address, self.is_closed = address, False
    def close(self):
        self.is_closed = True
"""


def dask_threads():
    """How many threads of dask there are, here or on the engine that runs this."""
    return [thread.name for thread in threading.enumerate()].count("pcluster-dask")


@pytest.fixture
def stand_in(home, start, monkeypatch):
    """A client; here and on its engines `distributed` is the stand-in."""
    folder = os.path.join(home.work, "packages")
    os.mkdir(folder)
    with open(os.path.join(folder, "distributed.py"), "w", encoding="utf-8") as file:
        file.write(STAND_IN)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "distributed", raising=False)
    path = os.pathsep.join([folder, os.path.dirname(os.path.dirname(pcluster.__file__))])
    with pcluster.Client(start(2, env={"PYTHONPATH": path}).file) as c:
        c.wait_for_engines(2, timeout=60)
        yield c
        c.stop_dask()
    monkeypatch.delitem(sys.modules, "distributed", raising=False)


def count_there(client, number):
    return client[number].apply_sync(pcluster.Reference(
        "lambda: [t.name for t in __import__('threading').enumerate()].count('pcluster-dask')"))


def test_parts(stand_in):
    c = stand_in
    first = c.become_dask(port=77, resources={"gpu": 1})
    assert first.address == f"Scheduler@{os.getpid()}" and dask_threads() == 1
    assert c._dask_scheduler.node.options["port"] == 77
    assert c[:].pull(["dask_worker.args", "dask_worker.options['nthreads']", "dask_worker.options['resources']"],
                     block=True) == [[(first.address,), 1, {"gpu": 1}]] * 2
    second = c.become_distributed([1], nanny=True, nthreads=3)
    assert c[:].pull("type(distributed_worker).__name__", block=True) == ["Worker", "Nanny"]
    assert c[1].pull("dask_worker.options['nthreads']", block=True) == 3
    c.stop_distributed([0])
    assert [count_there(c, n) for n in (0, 1)] == [0, 1] and dask_threads() == 1
    c.stop_dask()
    assert [count_there(c, n) for n in (0, 1)] == [0, 0] and dask_threads() == 0
    assert first.is_closed and second.is_closed
    c.stop_dask()


def test_errors(stand_in, monkeypatch):
    c = stand_in
    with pytest.raises(error.RemoteError, match="ValueError: no such thing"):
        c.become_dask(0, fail=True)
    with pytest.raises(ValueError, match="no such thing"):
        c.stop_dask() or c.become_dask(scheduler_args={"fail": True})
    with pytest.raises(IndexError):
        c.become_dask([9])
    c[1].execute("import sys; sys.modules['distributed'] = None", block=True)
    with pytest.raises(error.CompositeError, match="1:apply. ImportError: dask needs .* install python3-distributed"):
        c.become_dask()
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match="install python3-distributed, or distributed with pip"):
        c.become_dask()


REAL = """
import pcluster
with pcluster.Client() as rc:
    dask = rc.become_dask()
    dask.wait_for_workers(2, timeout=60)
    pids = rc[:].apply_sync(__import__("os").getpid)
    found = set(dask.run(__import__("os").getpid).values())
    print(found == set(pids), dask.gather(dask.map(lambda x: x * x, range(5))))
    print(rc[:].map_sync(abs, [-1, -2]))
    rc.stop_dask()
"""


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="python3-distributed is not installed")
def test_dask_itself(start):
    path = os.path.dirname(os.path.dirname(pcluster.__file__))
    cluster = start(2, env={"PYTHONPATH": path})
    done = run_python("-c", REAL)
    assert (done.returncode, done.stdout) == (0, "True [0, 1, 4, 9, 16]\n[1, 2]\n"), done.stderr
    wait_until(lambda: len(cluster.engines()) == 2, "engines that go on")
