# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures for tests that run the real executable.

Every test has folders of its own for profiles and sockets (`home`), and whatever it started is
ended with it; a test that leaves a process behind fails.
"""

import signal

import pytest
from home import DEADLINE_S, Cluster, Home, children, is_alive, temporary_home, wait_begun, wait_until

# Where the tests run under nohup, what they start would ignore it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

__all__ = ["DEADLINE_S", "Cluster", "Home", "children", "is_alive", "wait_begun", "wait_until"]


@pytest.fixture
def home():
    """Private folders. Sets the environment of this process, too, for Client() in a test."""
    with temporary_home() as made:
        yield made


@pytest.fixture
def start(home):
    """start(n, "--port", 0, profile="p", env={...}) -> Cluster; stopped after the test."""
    clusters = []

    def start_one(count=2, *args, **options):
        cluster = Cluster(home, ["-n", count, *args], **options)
        clusters.append(cluster)
        return cluster

    yield start_one
    for cluster in clusters:
        if cluster.process.poll() is None:
            cluster.process.send_signal(signal.SIGTERM)
    for cluster in clusters:
        try:
            cluster.process.communicate(timeout=DEADLINE_S)
        except ValueError:
            pass  # read to its end by the test
    home.wait_empty()


@pytest.fixture
def cluster(start):
    """A cluster of two engines."""
    return start(2)


@pytest.fixture
def controller(home):
    """A controller without engines; stopped after the test."""
    one = Cluster(home, [], command="controller")
    yield one
    if one.process.poll() is None:
        one.end()
    home.wait_empty()
