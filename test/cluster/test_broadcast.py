# SPDX-License-Identifier: BSD-3-Clause
"""Broadcast views on real engines, also on such that die meanwhile."""

import os
import signal
import time

import pytest
from conftest import wait_until
from shared import by_value

from pcluster import Client, error


@by_value
def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)
    return os.getpid()


@pytest.mark.parametrize("is_coalescing", [False, True])
def test_engine_killed_during_a_broadcast(start, home, is_coalescing):
    cluster = start(4)
    gate = os.path.join(home.work, "gate")
    with Client(cluster.file) as c:
        pids = [engine.pid for engine in c.engines]
        view = c.broadcast_view(is_coalescing=is_coalescing)
        result = view.apply_async(wait_for, gate)
        queued = view.apply_async(os.getpid)
        wait_until(lambda: len([r for r in cluster.engines() if r["state"] == "busy"]) == 4,
                   "all engines to be busy")
        os.kill(pids[2], signal.SIGKILL)
        wait_until(lambda: c.ids == [0, 1, 3], "the engine to go")
        with open(gate, "w", encoding="utf-8"):
            pass
        for ar in (result, queued, view.apply_async(os.getpid)):
            kept = ar.get(60, return_exceptions=True)
            assert isinstance(kept[2], error.EngineError) and kept[:2] + kept[3:] == pids[:2] + pids[3:]
            with pytest.raises(error.CompositeError, match="engine"):
                ar.get()
            assert ar.engine_id[:2] == [0, 1] and ar.status == ["ok", "ok", "error", "ok"]
        assert len(view) == 4 and c.broadcast_view().apply_sync(int) == [0] * 3
