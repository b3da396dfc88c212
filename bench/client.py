# SPDX-License-Identifier: BSD-3-Clause
"""What a task costs the client, and how fast large data moves.

CPU time is that of all threads of this process; transfers are timed warm, and the memory of client
and scheduler is looked at meanwhile.
"""

import multiprocessing
import os
import resource
import socket
import stat
import struct
import sys
import time
import types
from pathlib import Path
from typing import Callable

import cloudpickle
import measure
import numpy
from measure import Cluster
from pcluster import Client

RUNS = 11
TASKS = 10_000
ITEMS = 1_000_000
CHUNK = 10_000
LARGE = 100 << 20
BODY = 10 << 20
#: bytes_acked of struct tcp_info.
ACKED_AT = 120


def cpu_us() -> float:
    """CPU time that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1e6


def nothing() -> None:
    """What a task does."""


def double(x: int) -> int:
    """What is mapped."""
    return 2 * x


def fresh_functions(count: int) -> list[Callable[[], int]]:
    """Functions that nobody has seen yet, as a script or session defines them."""
    return [types.FunctionType(eval(f"(lambda: {time.time_ns()}).__code__"), globals(), "fresh")
            for _ in range(count)]


def per_task_us(view, functions) -> float:
    """CPU time of the client for one task, from the call to its value."""
    begin = cpu_us()
    results = [view.apply_async(f) for f in functions]
    for result in results:
        result.get()
    return (cpu_us() - begin) / len(functions)


def tasks() -> None:
    """Client CPU of balanced tasks."""
    known, fresh, alone = [], [], []
    with Cluster(2), Client() as client:
        view = client.load_balanced_view()
        for run in range(RUNS):
            known.append(per_task_us(view, [nothing] * TASKS))
            fresh.append(per_task_us(view, fresh_functions(TASKS)))
            functions = fresh_functions(TASKS)
            begin = cpu_us()
            for f in functions:
                cloudpickle.dumps(f, 5)
            alone.append((cpu_us() - begin) / TASKS)
            measure.progress(f"client CPU {run + 1}/{RUNS}: {known[-1]:.1f} us of a task, {fresh[-1]:.1f} us "
                             f"with a new lambda, of which cloudpickle alone {alone[-1]:.1f} us")
    measure.publish([
        measure.row("client CPU of a balanced task, its function sent before", known, "us", 8),
        measure.row("client CPU of a balanced task, a new lambda each", fresh, "us", 30),
        measure.row("cloudpickle alone of a new lambda", alone, "us", None),
    ])


def maps() -> None:
    """map() of integers against a pool of as many processes."""
    ratios, ours = [], []
    cores = len(os.sched_getaffinity(0))
    with Cluster(cores), Client() as client, multiprocessing.Pool(cores) as pool:
        view = client.load_balanced_view()
        items = range(ITEMS)
        for run in range(RUNS):
            begin = time.perf_counter()
            expected = pool.map(double, items, CHUNK)
            middle = time.perf_counter()
            assert view.map_sync(double, items, chunksize=CHUNK) == expected
            ours.append(time.perf_counter() - middle)
            ratios.append(ours[-1] / (middle - begin))
            measure.progress(f"map {run + 1}/{RUNS}: {ours[-1]:.3f} s, {ratios[-1]:.2f} times Pool.map")
    measure.publish([
        measure.row(f"map of {ITEMS:,} integers in chunks of {CHUNK:,} / Pool.map", ratios, "x", 1.5),
        measure.row(f"map of {ITEMS:,} integers in chunks of {CHUNK:,}", ours, "s", None),
    ])


def memory_bytes(pid: int, name: str) -> int:
    """A line of /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {name} of process {pid}")


class Peak:
    """How much a process has grown at most within a `with` block, in copies of the large array."""

    def __init__(self, pid: int):
        self.pid = pid

    def __enter__(self) -> "Peak":
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the peak counts from now
        self.before = memory_bytes(self.pid, "VmRSS")
        return self

    def __exit__(self, *error: object) -> None:
        self.copies = (memory_bytes(self.pid, "VmHWM") - self.before) / LARGE


def transfers() -> None:
    """push and pull of a large array."""
    names = ("push", "pull")
    times: dict[str, list[float]] = {name: [] for name in names}
    grown: dict[str, list[float]] = {f"{who}, {name}": [] for name in names for who in ("client", "scheduler")}
    array = numpy.random.default_rng(1).random(LARGE // 8)
    with Cluster(1) as cluster, Client() as client:
        scheduler = cluster.pids()["scheduler"]
        view = client[0]
        ways = {"push": lambda: view.push({"a": array}, block=True), "pull": lambda: view.pull("a", block=True)}
        for run in range(RUNS + 2):
            for name in names:
                with Peak(os.getpid()) as mine, Peak(scheduler) as theirs:
                    begin = time.perf_counter()
                    value = ways[name]()
                    spent = (time.perf_counter() - begin) * 1000
                assert name == "push" or (value[-1] == array[-1] and value.flags.writeable)
                del value
                if run >= 2:
                    times[name].append(spent)
                    grown[f"client, {name}"].append(mine.copies)
                    grown[f"scheduler, {name}"].append(theirs.copies)
            measure.progress(f"transfers {run + 1}/{RUNS + 2}: push and pull, last {spent:.0f} ms")
    for name in names:
        measure.publish([measure.row(f"{name} of 100 MiB, one engine", times[name], "ms", LARGE / 1e6, "1 GB/s")])
    for what, copies in grown.items():
        measure.publish([measure.row(f"memory during it, {what}", copies, "copies", 1.1)])


def sent_bytes() -> int:
    """What the other ends of this process's TCP connections have acknowledged."""
    total = 0
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
        except OSError:  # the folder's own
            continue
        sock = socket.socket(fileno=number)
        if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            total += struct.unpack_from("<Q", info, ACKED_AT)[0]
        sock.detach()
    return total


def bodies() -> None:
    """How often the body of a push to four engines leaves the client."""
    ratios = []
    body = os.urandom(BODY)
    with Cluster(4), Client(transport="tcp") as client:
        for _ in range(RUNS):
            before = sent_bytes()
            client[:].push({"body": body}, block=True)
            ratios.append((sent_bytes() - before) / BODY)
    measure.publish([measure.row("bytes sent for a push of 10 MiB to 4 engines / 10 MiB", ratios, "x", 1.01)])


if __name__ == "__main__":
    only = [name for name in sys.argv[1:] if not name.startswith("-")]
    for part in (tasks, maps, transfers, bodies):
        if not only or part.__name__ in only:
            part()
