# SPDX-License-Identifier: BSD-3-Clause
"""Limits of each engine: what is written into a control group; here a folder that only looks like one."""

import os
import re

import pytest
from home import Cluster, wait_until


def read(*names):
    with open(os.path.join(*names), encoding="ascii") as file:
        return file.read()


@pytest.fixture
def group(home, monkeypatch):
    """As if it had been delegated."""
    folder = os.path.join(home.work, "cgroup")
    os.mkdir(folder)
    with open(os.path.join(folder, "cgroup.controllers"), "w", encoding="ascii") as file:
        file.write("cpuset cpu io memory pids\n")
    monkeypatch.setenv("PCLUSTER_CGROUP", folder)
    return folder


@pytest.fixture
def start(home):
    """Starts a cluster in the foreground; it is stopped with the test."""
    started = []

    def start_one(*args, **options):
        started.append(Cluster(home, args, **options))
        return started[-1]

    yield start_one
    for cluster in started:
        home.run("stop", *cluster.where)
        cluster.process.communicate(timeout=60)


def test_each_engine_has_a_group(home, group, start):
    cluster = start("-n", "2", "--engine-memory-max", "512M", "--engine-cpu", "150")
    assert read(group, "cgroup.subtree_control") == "+memory +cpu"
    assert read(group, "parent", "cgroup.procs") == str(cluster.process.pid)
    for row in home.json("engines"):
        folder = os.path.join(group, f"engine-{row['uuid']}")
        assert read(folder, "memory.max") == str(512 << 20)
        assert read(folder, "cpu.max") == "150000 100000"
        assert read(folder, "cgroup.procs") == str(row["pid"])
    home.run("engines", "add", 1)
    assert len([name for name in os.listdir(group) if name.startswith("engine-")]) == 3


def test_a_group_goes_with_its_engine(home, group, start):
    start("-n", "2", "--engine-cpu", "50")
    row = home.json("engines")[0]
    folder = os.path.join(group, f"engine-{row['uuid']}")
    assert not os.path.exists(os.path.join(folder, "memory.max"))
    for name in os.listdir(folder):  # in a real group they are no obstacle
        os.unlink(os.path.join(folder, name))
    home.run("engines", "stop", row["id"])
    wait_until(lambda: not os.path.exists(folder), "its end")


def test_without_limits_nothing_is_touched(group, start):
    start("-n", "1")
    assert os.listdir(group) == ["cgroup.controllers"]


def test_memory_that_ran_out_is_counted_for_all(home, group, start):
    """The group of an engine is not below that of the nursery, which looks at the one above both."""
    events = os.path.join(group, "memory.events")
    with open(events, "w", encoding="ascii") as file:
        file.write("oom_kill 0\n")
    cluster = start("-n", "1", "--engine-memory-max", "64M")
    row = home.json("engines")[0]
    with open(events, "w", encoding="ascii") as file:
        file.write("oom_kill 1\n")
    os.kill(row["pid"], 9)
    reason = wait_until(lambda: cluster.status()["engines"][0].get("reason"), "the reason")
    assert "memory" in reason


@pytest.mark.parametrize("break_it, text", [
    (lambda folder: os.unlink(os.path.join(folder, "cgroup.controllers")), "is no control group of version 2; "),
    (lambda folder: open(os.path.join(folder, "cgroup.controllers"), "w", encoding="ascii").write("pids\n"),
     "has no controller 'memory'; "),
    (lambda folder: os.mkdir(os.path.join(folder, "cgroup.subtree_control")), "can't write "),
])
def test_it_says_why_not(home, group, break_it, text):
    break_it(group)
    done = home.run("start", "-n", 1, "--engine-memory-max", "64M")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"pcluster start: .*{re.escape(text)}.*Delegate=yes.*\n", done.stderr)
    assert home.leftovers() == []
