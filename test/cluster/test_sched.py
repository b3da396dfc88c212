# SPDX-License-Identifier: BSD-3-Clause
"""The task scheduler on real engines."""

import pytest


@pytest.mark.parametrize("args, expected", [
    ([], ("leastload", 1)),
    (["--scheme", "lru", "--hwm", "3"], ("lru", 3)),
])
def test_scheme_and_limit(start, args, expected):
    cluster = start(1, *args)
    said = cluster.home.json("sched")
    assert (said["scheme"], said["hwm"]) == expected
    done = cluster.run("sched", "--scheme", "weighted", "--hwm", "0")
    assert done.stdout == "scheme weighted, hwm 0, 0 tasks wait for an engine\n"
    assert done.returncode == 0
    assert cluster.home.json("sched")["scheme"] == "weighted"


def test_sched_without_a_cluster(home):
    done = home.run("sched")
    assert done.returncode == 11
    assert done.stderr.startswith("pcluster sched: ")
