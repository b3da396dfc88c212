# SPDX-License-Identifier: BSD-3-Clause
"""How soon a death is known: an engine is killed in the middle of a call; the parent is killed."""

import os
import signal
import time

import measure
from measure import Cluster
from pcluster import Client
from pcluster.error import EngineError

RUNS = 11
LARGE = 900 << 20


def engine_dies(size: int) -> float:
    """Milliseconds from SIGKILL to the error of the call that the engine was running."""
    with Cluster(2) as cluster, Client(cluster.file) as client:
        view = client[0]
        pid = view.apply_sync(os.getpid)
        view.execute(f"held = b'x' * {size}", block=True)
        pending = view.apply_async(time.sleep, 600)
        while cluster.status()["engines"][0]["state"] != "busy":
            time.sleep(0.01)
        begin = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        try:
            pending.get(measure.PATIENCE_S)
        except EngineError:
            return (time.perf_counter() - begin) * 1000
        raise RuntimeError("the call did not fail")


def lives(pid: int) -> bool:
    """False also for one that has ended and waits for init to look."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent_dies() -> float:
    """Milliseconds from SIGKILL of the parent until no process of the cluster is left."""
    with Cluster(4) as cluster:
        pids = cluster.pids()
        begin = time.perf_counter()
        os.kill(cluster.process.pid, signal.SIGKILL)
        cluster.process.wait()
        others = [pid for pid in pids.values() if pid != cluster.process.pid]
        while any(lives(pid) for pid in others):
            time.sleep(0.001)
        return (time.perf_counter() - begin) * 1000


def main() -> None:
    """Prints the three figures."""
    small = [engine_dies(0) for _ in range(RUNS)]
    measure.progress(f"an engine is killed: its call fails after {max(small):.1f} ms at most")
    large = [engine_dies(LARGE) for _ in range(RUNS)]
    measure.progress(f"with 900 MiB: after {max(large):.1f} ms at most")
    parents = [parent_dies() for _ in range(RUNS)]
    measure.progress(f"the parent is killed: nobody is left after {max(parents):.1f} ms at most")
    measure.publish([
        measure.row("SIGKILL of an engine until its call fails", small, "ms", 100.0),
        measure.row("the same, an engine that holds 900 MiB", large, "ms", 100.0),
        measure.row("SIGKILL of the parent until no process is left", parents, "ms", 1000.0),
    ])


if __name__ == "__main__":
    main()
