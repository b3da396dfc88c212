# SPDX-License-Identifier: BSD-3-Clause
"""Millions of tasks through one cluster: whether the memory of every role stays flat once all that is
remembered has reached its limits: in the hub 100,000 tasks, in the scheduler how two million ended.
Takes minutes, so tools/bench does not run it:

    python3 bench/soak.py [tasks] >bench/results/DATE-soak-COMMIT.md    # 10,000,000
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import measure
from measure import Cluster
from pcluster import Client

TASKS = 10_000_000
BATCH = 20_000
SAMPLES = 40
ENGINES = 2
#: What counts as flat between a quarter of the tasks and all of them; the journal goes up and down.
GROWTH_BYTES = 2 << 20
MB = 1e6


def nothing(_: int) -> None:
    """What is asked for."""


def journal_bytes(parent: int) -> int:
    """Memory of the hub's journal, which the parent holds and nobody maps."""
    files = [path for path in Path(f"/proc/{parent}/fd").iterdir() if "pcluster-journal" in os.readlink(path)]
    return sum(path.stat().st_blocks * 512 for path in files)


def sizes(pids: dict[str, int]) -> dict[str, int]:
    """Memory of every process and of the journal, in bytes."""
    found = {role: measure.pss_bytes(pid) for role, pid in pids.items()}
    return {**found, "journal": journal_bytes(pids["parent"])}


def print_row(cells: list[Any]) -> None:
    """One line of the table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def soak(tasks: int) -> int:
    """Runs them and prints the samples; returns how many roles have grown."""
    with Cluster(ENGINES) as cluster, Client(cluster.file) as client:
        view = client.load_balanced_view()
        pids = cluster.pids()
        limit = cluster.status()["store"]["limit_tasks"]
        print(f"# {tasks:,} tasks through a cluster of {ENGINES} engines\n")
        print(f"Memory of each process (PSS, MB); the hub remembers {limit:,} tasks. By [soak.py](../soak.py).\n")
        print_row(["tasks", "tasks/s", *sizes(pids)])
        print("|" + "---|" * (3 + len(pids)))
        samples = []
        begin, done = time.monotonic(), 0
        while done < tasks:
            for _ in range(max(tasks // SAMPLES // BATCH, 1)):
                view.map(nothing, range(BATCH), block=True)
                done += BATCH
            now = sizes(pids)
            samples.append((done, now))
            print_row([f"{done:,}", round(done / (time.monotonic() - begin)),
                       *(f"{size / MB:.1f}" for size in now.values())])
            measure.progress(f"{done:,} tasks")
    first = next(now for done, now in samples if done >= tasks // 4)
    grown = {role: samples[-1][1][role] - first[role] for role in pids}
    print("\nGrowth from a quarter of the tasks to all: " +
          ", ".join(f"{role} {size / MB:+.2f} MB" for role, size in grown.items()) + ".")
    return sum(size > GROWTH_BYTES for size in grown.values())


if __name__ == "__main__":
    sys.exit(soak(int(sys.argv[1]) if sys.argv[1:] else TASKS))
