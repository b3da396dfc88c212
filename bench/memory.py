# SPDX-License-Identifier: BSD-3-Clause
"""Memory (PSS: shared pages divided by how many share them) of idle engines and of the roles."""

import statistics
import sys

import measure

MEGA = 1e6
LIMITS = {16: 5.0, 1000: 4.0}


def engines(count: int) -> None:
    """One cluster: every engine, the hub and the scheduler."""
    with measure.Cluster(count) as cluster:
        pids = cluster.pids()
        sizes = {name: measure.pss_bytes(pid) / MEGA for name, pid in pids.items()}
    each = [size for name, size in sizes.items() if name.startswith("engine")]
    if len(each) != count:
        raise RuntimeError(f"{len(each)} engines instead of {count}")
    measure.progress(f"memory of {count}: {statistics.median(each):.2f} MB an engine, "
                     + ", ".join(f"{role} {sizes[role]:.1f} MB" for role in ("hub", "scheduler")))
    measure.publish([measure.row(f"an idle engine of {count:,}", each, "MB", LIMITS[count], "PSS")])
    measure.publish([measure.row(f"{role} with {count:,} engines", [sizes[role]], "MB", 10.0, "PSS")
                     for role in ("hub", "scheduler")])


if __name__ == "__main__":
    engines(16)
    if "--small" not in sys.argv:
        engines(1000)
