# SPDX-License-Identifier: BSD-3-Clause
"""The C library: a call against the bare relay, a whole small program, and sizes."""

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import measure
from measure import BUILD, Cluster

RUNS = 21
CALLS = 1000
MEGABYTE = 1e6


def calls_us(file: str) -> float:
    """Median round trip of a call of source text from C, now."""
    done = subprocess.run([BUILD / "bench" / "calls", file, str(CALLS)], text=True, check=True, capture_output=True)
    return float(json.loads(done.stdout)["median_us"])


def program_ms() -> float:
    """From the start of examples/c/hello to its end, in milliseconds."""
    begin = time.perf_counter()
    subprocess.run([BUILD / "examples" / "c" / "hello"], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1e3


def stripped_bytes(path: Path) -> int:
    """Size of a file without what debuggers need."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copy(path, copy)
        subprocess.run(["strip", copy], check=True)
        return copy.stat().st_size


def main() -> None:
    """Prints the figures."""
    floors, times, programs = [], [], []
    with Cluster(1, "--transport", "unix") as cluster:
        program_ms()
        for run in range(RUNS):
            floors.append(measure.floor_us(CALLS))
            times.append(calls_us(cluster.file))
            programs.append(program_ms())
            measure.progress(f"C {run + 1}/{RUNS}: relay {floors[-1]:.0f} us, call {times[-1]:.0f} us, "
                             f"hello.c {programs[-1]:.1f} ms")
    ratios = [time_us / floor for time_us, floor in zip(times, floors)]
    measure.publish([
        measure.row("call of source text from C on the Unix socket / relay", ratios, "x", 1.8),
        measure.row("call of source text from C on the Unix socket", times, "us", None),
        measure.row("hello.c from start to end, on a running cluster", programs, "ms", 10),
    ])
    library = (BUILD / "lib" / "libpcluster.so").resolve()
    for path in (BUILD / "cmd" / "pcluster", library):
        name = path.name.split(".")[0]
        measure.publish([measure.row(f"size of {name}, stripped", [stripped_bytes(path) / MEGABYTE], "MB", 1)])


if __name__ == "__main__":
    main()
