# SPDX-License-Identifier: BSD-3-Clause
"""What the measurements share: a private cluster, the floor, ratios with their spread."""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterable

PATIENCE_S = 120
BUILD = Path(os.environ.get("PCLUSTER_BUILD", Path(__file__).resolve().parents[1] / "build"))
PCLUSTER = BUILD / "cmd" / "pcluster"
RELAY = BUILD / "bench" / "relay"
PYTHON = "/usr/bin/python3"


def setting() -> str:
    """Whether this process, and so all it starts, is pinned to one core."""
    return "one core" if len(os.sched_getaffinity(0)) == 1 else "all cores"


class Cluster:
    """A cluster of n engines in private folders; `ready_s` is the time until it said ready."""

    def __init__(self, n: int, *options: str, **environment: str):
        self.folder = tempfile.TemporaryDirectory(prefix="pcluster-bench-")
        self.environment = dict(os.environ, PCLUSTER_DIR=self.folder.name + "/profiles",
                                XDG_RUNTIME_DIR=self.folder.name + "/run", **environment)
        os.mkdir(self.environment["XDG_RUNTIME_DIR"], 0o700)
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [PCLUSTER, "start", "-n", str(n), *options], env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.process.stdout
        self.said = []
        for line in self.process.stdout:
            self.said.append(line)
            if "ready" in line:
                break
        self.ready_s = time.perf_counter() - begin
        if not self.said or "ready" not in self.said[-1]:
            self.stop()
            raise RuntimeError(f"the cluster did not start: {''.join(self.said)}")

    @property
    def file(self) -> str:
        """Path of the clients' connection file."""
        profile = self.environment["PCLUSTER_DIR"] + "/profile_default"
        return profile + "/security/pcluster-client.json"

    def __enter__(self) -> "Cluster":
        os.environ.update(PCLUSTER_DIR=self.environment["PCLUSTER_DIR"],
                          XDG_RUNTIME_DIR=self.environment["XDG_RUNTIME_DIR"])
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the cluster and removes its folder."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.folder.cleanup()

    def status(self) -> dict[str, Any]:
        """What `pcluster status --json` says of it."""
        text = subprocess.run([PCLUSTER, "status", "--json"], env=self.environment, text=True,
                              check=True, capture_output=True, timeout=PATIENCE_S).stdout
        answer = json.loads(text)
        if isinstance(answer, list):
            return answer[0]
        return answer["clusters"][0] if "clusters" in answer else answer

    def pids(self) -> dict[str, int]:
        """Process ids by role; engines as "engine 0" and so on."""
        status = self.status()
        engines = {f"engine {e['id']}": e["pid"] for e in status["engines"]}
        return {**status["pids"], **engines}


def floor_us(trips: int = 1000) -> float:
    """Median round trip of the bare relay, now."""
    done = subprocess.run([RELAY, str(trips)], text=True, check=True, capture_output=True)
    return json.loads(done.stdout)["median_us"]


def interpreter_s() -> float:
    """How long `python3 -c pass` takes, now."""
    begin = time.perf_counter()
    subprocess.run([PYTHON, "-c", "pass"], check=True)
    return time.perf_counter() - begin


def median_us(call: Callable[[], object], count: int) -> float:
    """Median time of a call, in microseconds."""
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times) / 1000


def pss_bytes(pid: int) -> int:
    """Memory of a process, shared pages divided by how many share them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no Pss of process {pid}")


def cpu_ms(pid: int) -> float:
    """CPU time that all threads of a process have used."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e6


def row(figure: str, values: Iterable[float], unit: str, limit: float | None,
        note: str = "") -> dict[str, Any]:
    """One line of the result: the median of the values, their spread, the limit."""
    ordered = sorted(values)
    return {
        "figure": figure, "setting": setting(), "unit": unit, "limit": limit, "note": note,
        "median": round(statistics.median(ordered), 3), "low": round(ordered[0], 3),
        "high": round(ordered[-1], 3), "runs": len(ordered),
        "values": [round(v, 3) for v in ordered],
    }


def publish(rows: list[dict[str, Any]]) -> None:
    """Prints rows, one JSON object a line, as tools/bench reads them."""
    for entry in rows:
        print(json.dumps(entry), flush=True)


def progress(text: str) -> None:
    """A line for the one who waits."""
    print(text, file=sys.stderr, flush=True)
