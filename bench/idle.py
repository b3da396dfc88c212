# SPDX-License-Identifier: BSD-3-Clause
"""What an idle cluster of 16 engines costs: CPU time of all its processes over 10 s."""

import time

import measure

ENGINES = 16
SECONDS = 10
# A heartbeat wakes an engine every 3 s; 50 us for each of the two ends, four times, is 6 ms.
LIMIT_MS = 10.0


def main() -> None:
    """Prints the sum, and the largest share of one process."""
    with measure.Cluster(ENGINES) as cluster:
        pids = cluster.pids()
        time.sleep(2)  # what starting leaves to do, e.g. freeing
        before = {name: measure.cpu_ms(pid) for name, pid in pids.items()}
        begin = time.perf_counter()
        time.sleep(SECONDS)
        used = {name: measure.cpu_ms(pid) - before[name] for name, pid in pids.items()}
        factor = SECONDS / (time.perf_counter() - begin)
    total = sum(used.values()) * factor
    name, most = max(used.items(), key=lambda item: item[1])
    measure.progress(f"idle: {total:.2f} ms of CPU in {SECONDS} s; most: {name}, {most:.2f} ms")
    measure.publish([measure.row(
        f"CPU of an idle cluster of {ENGINES} in {SECONDS} s", [total], "ms", LIMIT_MS,
        f"most of it: {name}, {most:.2f} ms")])


if __name__ == "__main__":
    main()
