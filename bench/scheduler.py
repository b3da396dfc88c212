# SPDX-License-Identifier: BSD-3-Clause
"""The scheduler without Python, by `pcluster bench sched`: rates, and what they depend on."""

import json
import subprocess
import sys
from typing import Any

import measure
from measure import PCLUSTER

TURNS = 11
LONG_TURNS = 5  # of those with a million tasks
UNIX_LIMIT_US = 1e6 / 300_000
TCP_LIMIT_US = 1e6 / 200_000
ENCRYPTION_LIMIT = 1.3


def run(*options: object) -> dict[str, Any]:
    """One measurement."""
    done = subprocess.run([PCLUSTER, "bench", "sched", "--json", *map(str, options)], text=True,
                          check=True, capture_output=True)
    return json.loads(done.stdout)


def us_per_task(result: dict[str, Any]) -> float:
    """Time per task, of all processes together."""
    return result["run_s"] / result["tasks"] * 1e6


def rates() -> None:
    """On both transports, with few engines and with many."""
    unix, tcp, many, encryption = [], [], [], []
    is_small = "--small" in sys.argv[1:]
    for turn in range(TURNS):
        unix.append(us_per_task(run("--tasks", 300_000)))
        tcp.append(us_per_task(run("--tasks", 300_000, "--transport", "tcp")))
        encrypted = us_per_task(run("--tasks", 300_000, "--transport", "unix-encrypted"))
        encryption.append(encrypted / unix[-1])
        if not is_small:
            many.append(us_per_task(run("--tasks", 300_000, "--engines", 1000)))
        measure.progress(f"scheduler {turn + 1}/{TURNS}: {1e6 / unix[-1]:.0f}/s on the Unix socket, "
                         f"{1e6 / tcp[-1]:.0f}/s on TCP")
    measure.publish([
        measure.row("scheduler, per task, Unix socket", unix, "us", UNIX_LIMIT_US, "300,000/s"),
        measure.row("scheduler, per task, encrypted TCP", tcp, "us", TCP_LIMIT_US, "200,000/s"),
        measure.row("scheduler, per task, Unix socket encrypted / plain", encryption, "x", ENCRYPTION_LIMIT),
    ])
    if many:
        measure.publish([measure.row("scheduler, per task, 1,000 engines / 10",
                                     [m / u for m, u in zip(many, unix)], "x", 2)])


def queues() -> None:
    """With many tasks queued, and with many that depend on one."""
    ratios, sizes, released = [], [], []
    for turn in range(LONG_TURNS):
        small = run("--tasks", 10_000, "--queued")
        large = run("--tasks", 1_000_000, "--queued")
        ratios.append(us_per_task(large) / us_per_task(small))
        sizes.append(large["queued_bytes"] - 64)
        released.append(run("--tasks", 1001, "--queued", "--dependent")["run_s"] * 1e3)
        measure.progress(f"queues {turn + 1}/{LONG_TURNS}: {ratios[-1]:.2f} x, "
                         f"{sizes[-1]:.0f} bytes, {released[-1]:.1f} ms")
    measure.publish([
        measure.row("scheduler, per task, 1,000,000 queued / 10,000", ratios, "x", 1.3),
        measure.row("memory per queued task, without its payload", sizes, "bytes", 400),
        measure.row("1,000 tasks that depend on one: released and done", released, "ms", 5),
    ])


if __name__ == "__main__":
    rates()
    queues()
