# SPDX-License-Identifier: BSD-3-Clause
"""Starting: 4 engines, also from C, against a bare interpreter; 1,000 engines, then one call on all of them."""

import json
import os
import subprocess
import sys
import time

import measure
from measure import BUILD
from pcluster import Client

RUNS = 21
THOUSAND_RUNS = 3


def hosted_ms() -> float:
    """How long a C program waits for a cluster of its own with 4 engines."""
    done = subprocess.run([BUILD / "bench" / "hosted", "4"], text=True, check=True, capture_output=True,
                          env=dict(os.environ, PCLUSTER_EXE=str(BUILD / "cmd" / "pcluster")))
    return float(json.loads(done.stdout)["start_ms"])


def four() -> None:
    """`pcluster start -n 4` until ready, and the same from C, against `python3 -c pass`."""
    bare, starts, hosted = [], [], []
    for run in range(RUNS):
        bare.append(measure.interpreter_s() * 1000)
        cluster = measure.Cluster(4)
        cluster.stop()
        starts.append(cluster.ready_s * 1000)
        hosted.append(hosted_ms())
        measure.progress(f"start {run + 1}/{RUNS}: python3 -c pass {bare[-1]:.1f} ms, "
                         f"start -n 4 {starts[-1]:.1f} ms, from C {hosted[-1]:.1f} ms")
    ratios = [start / one for start, one in zip(starts, bare)]
    hosted_ratios = [start / one for start, one in zip(hosted, bare)]
    measure.publish([
        measure.row("start -n 4 until ready / python3 -c pass", ratios, "x", 6.0),
        measure.row("start -n 4 until ready", starts, "ms", None),
        measure.row("pc_cluster_start of 4 engines / python3 -c pass", hosted_ratios, "x", 6.0),
        measure.row("pc_cluster_start of 4 engines", hosted, "ms", None),
        measure.row("python3 -c pass", bare, "ms", None, "the floor"),
    ])


def thousand() -> None:
    """`pcluster start -n 1000` until ready, then one call on all engines."""
    starts, calls = [], []
    for run in range(THOUSAND_RUNS):
        with measure.Cluster(1000) as cluster:
            starts.append(cluster.ready_s)
            with Client() as client:
                view = client[:]
                begin = time.perf_counter()
                answers = view.apply_sync(lambda: 1)
                calls.append((time.perf_counter() - begin) * 1000)
                if answers != [1] * 1000:
                    raise RuntimeError(f"{sum(answers)} of 1000 engines answered")
        measure.progress(f"thousand {run + 1}/{THOUSAND_RUNS}: ready in {starts[-1]:.2f} s, "
                         f"call on all {calls[-1]:.0f} ms")
    measure.publish([
        measure.row("start -n 1000 until ready", starts, "s", 10.0),
        measure.row("apply_sync on all 1,000 engines, first call", calls, "ms", None),
    ])


if __name__ == "__main__":
    four()
    if "--small" not in sys.argv:
        thousand()
