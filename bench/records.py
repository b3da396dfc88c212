# SPDX-License-Identifier: BSD-3-Clause
"""What it costs that the hub remembers tasks, and how fast it finds them again."""

import contextlib
import itertools
import os
import signal
import statistics
import sys
import time
from typing import Any, Callable

import measure
from measure import Cluster
from pcluster import Client

TURNS = 11
TASKS = 20_000  # of one piece of work; a turn has six of each side, so that each sees what comes now and then
STORED = 100_000
LONG_TURNS = 5
QUERIES = 200
RARE = 10
#: Above that a result that stays in the memory of its AsyncResult would be most of what is measured.
BATCH = 20_000
PATIENCE_S = 120
#: Arguments, result and name of the function of a task that does nothing.
PAYLOAD_BYTES = 64


def nothing() -> None:
    """What is asked for."""


def run(view: Any, count: int) -> float:
    """So many tasks, one after another; returns the seconds until the last result is here."""
    begin = time.perf_counter()
    for done in range(0, count, BATCH):
        pending = [view.apply_async(nothing) for _ in range(min(BATCH, count - done))]
        for one in pending:
            one.get()
    return time.perf_counter() - begin


def kept(cluster: Cluster) -> int:
    """Tasks in the hub's store."""
    return int(cluster.status()["store"]["tasks"])


def wait_for(done: Callable[[], bool]) -> None:
    """Until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("the hub has not stored all tasks")
        time.sleep(0.01)


class Side:
    """A cluster at work in turn with others, and what its tasks have cost."""

    def __init__(self, stack: contextlib.ExitStack, **environment: str):
        cluster = stack.enter_context(Cluster(2, **environment))
        self.pids = cluster.pids().values()
        self.client = stack.enter_context(Client(cluster.file))
        self.view = self.client.load_balanced_view()
        self.wall_s = self.cpu_ms = 0.0

    def cpu_now_ms(self) -> float:
        """CPU time of all processes of this cluster, and of this one, the client."""
        return sum(map(measure.cpu_ms, (*self.pids, os.getpid())))

    def work(self) -> None:
        """Some tasks, until their results are here and the hub has taken in what it is told of them."""
        cpu_ms, begin = self.cpu_now_ms(), time.perf_counter()
        run(self.view, TASKS)
        self.client.queue_status()
        self.wall_s += time.perf_counter() - begin
        self.cpu_ms += self.cpu_now_ms() - cpu_ms


def cost() -> None:
    """The same tasks with the default recording, again with it, and without, in turns."""
    rows: dict[str, list[float]] = {"wall": [], "control": [], "cpu": []}
    with contextlib.ExitStack() as stack:
        first, second = Side(stack), Side(stack)
        bare = Side(stack, PCLUSTER_BENCH_UNRECORDED="1")
        sides = (first, second, bare)
        for side in sides:
            run(side.view, STORED)  # from now on the store is full
        for turn in range(TURNS):
            for side in sides:
                side.wall_s = side.cpu_ms = 0.0
            for order in itertools.permutations(sides):
                for side in order:
                    side.work()
            rows["wall"].append((first.wall_s + second.wall_s) / 2 / bare.wall_s)
            rows["control"].append(first.wall_s / second.wall_s)
            rows["cpu"].append((first.cpu_ms + second.cpu_ms) / 2 / bare.cpu_ms)
            wall, control, cpu = (values[-1] for values in rows.values())
            measure.progress(f"recording {turn + 1}/{TURNS}: {wall:.2f} x the time, {cpu:.2f} x the CPU time; "
                             f"without any difference {control:.2f} x")
    measure.publish([
        measure.row("balanced tasks, recorded / not recorded", rows["wall"], "x", 1.1),
        measure.row("balanced tasks, recorded / recorded in a second cluster", rows["control"], "x", None, "the noise"),
        measure.row("CPU time of balanced tasks, recorded / not recorded", rows["cpu"], "x", None, "all processes"),
    ])


def restart() -> None:
    """From SIGKILL of a hub that has 100,000 tasks until the next one answers with one of them."""
    times = []
    for _ in range(LONG_TURNS):  # each a cluster's first death: the parent waits before the next ones
        with Cluster(2, "--store-tasks", str(2 * STORED)) as cluster, Client(cluster.file) as client:
            view = client.load_balanced_view()
            first = view.apply_async(nothing)
            first.get()
            run(view, STORED)
            client.queue_status()  # the hub has been told of all
            hub = cluster.pids()["hub"]
            begin = time.perf_counter()
            os.kill(hub, signal.SIGKILL)
            assert len(client.db_query({"msg_id": first.msg_ids[0]})) == 1
            times.append(time.perf_counter() - begin)
            assert kept(cluster) > STORED
            measure.progress(f"hub restart: {times[-1]:.2f} s")
    measure.publish([measure.row(f"hub with {STORED:,} tasks, SIGKILL until the next one answers", times, "s", 1)])


def memory() -> None:
    """Of the hub, per task that has ended, in the store `memory`."""
    sizes = []
    for _ in range(LONG_TURNS):
        with Cluster(2, "--store-tasks", str(2 * STORED)) as cluster, Client(cluster.file) as client:
            view = client.load_balanced_view()
            run(view, 1000)
            wait_for(lambda: kept(cluster) >= 1000)
            hub = cluster.pids()["hub"]
            before = measure.pss_bytes(hub)
            run(view, STORED)
            wait_for(lambda: kept(cluster) >= 1000 + STORED)
            sizes.append((measure.pss_bytes(hub) - before) / STORED - PAYLOAD_BYTES)
            measure.progress(f"hub memory: {sizes[-1]:.0f} bytes per task")
    measure.publish([measure.row("hub memory per task that has ended, without its payload", sizes, "bytes", 600)])


def sqlite() -> None:
    """Until the file has all of a rush of tasks, and what that costs the tasks."""
    each = []
    with Cluster(2, "--store", "sqlite", "--store-tasks", "10000000") as cluster, Client(cluster.file) as client:
        view = client.load_balanced_view()
        for turn in range(LONG_TURNS):
            stored = kept(cluster)
            begin = time.perf_counter()
            run(view, STORED)
            wait_for(lambda: kept(cluster) >= stored + STORED)
            each.append((time.perf_counter() - begin) / STORED * 1e6)
            measure.progress(f"sqlite {turn + 1}/{LONG_TURNS}: {1e6 / each[-1]:.0f} tasks/s")
    measure.publish([measure.row("a task run and stored in SQLite", each, "us", 1e6 / 30_000, "30,000/s")])


def queries() -> None:
    """One of a million by its id, and ten by their label."""
    count = 100_000 if "--small" in sys.argv[1:] else 1_000_000
    limits = ("--store-tasks", str(2 * count), "--store-bytes", "4G")
    with Cluster(2, *limits) as cluster, Client(cluster.file) as client:
        view = client.load_balanced_view()
        run(view, count // 2)
        with view.temp_flags(label="rare"):
            one = [view.apply_async(nothing) for _ in range(RARE)][0]
            one.get()
        run(view, count // 2)
        wait_for(lambda: kept(cluster) >= count)

        def by_id() -> None:
            assert len(client.db_query({"msg_id": one.msg_ids[0]})) == 1

        def by_label() -> None:
            assert len(client.db_query({"label": "rare"})) == RARE

        found = [measure.median_us(by_id, QUERIES) / 1e3 for _ in range(LONG_TURNS)]
        labelled = [measure.median_us(by_label, QUERIES) / 1e3 for _ in range(LONG_TURNS)]
    measure.progress(f"queries: {statistics.median(found):.2f} ms by id, {statistics.median(labelled):.2f} by label")
    measure.publish([
        measure.row(f"query of one task among {count:,} by its id", found, "ms", 1),
        measure.row(f"query of {RARE} tasks among {count:,} by their label", labelled, "ms", 10),
    ])


if __name__ == "__main__":
    cost()
    restart()
    memory()
    sqlite()
    queries()
