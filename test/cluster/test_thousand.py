# SPDX-License-Identifier: BSD-3-Clause
"""A thousand engines on one machine: they start, all of them work, and all of them go."""

import signal

from conftest import wait_until

from pcluster import Client

COUNT = 1000


def test_a_thousand_engines(home, start):
    cluster = start(COUNT)
    with Client() as client:
        assert client.ids == list(range(COUNT))
        assert client[:].apply_sync(lambda: 6 * 7) == [42] * COUNT
        pids = client[:].apply_sync(__import__("os").getpid)
        assert len(set(pids)) == COUNT
        balanced = client.load_balanced_view().map(lambda x: x * x, range(5 * COUNT))
        assert list(balanced) == [x * x for x in range(5 * COUNT)]
    code, _, err = cluster.end()
    assert (code, err) == (0, "")
    home.wait_empty()
    assert home.leftovers() == []


def test_a_thousand_engines_lose_their_parent(home, start):
    """The parent is killed: nobody stays."""
    cluster = start(COUNT)
    cluster.end(signal.SIGKILL)
    wait_until(lambda: not home.processes(), "a thousand engines to end")
