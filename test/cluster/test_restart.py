# SPDX-License-Identifier: BSD-3-Clause
"""--restart: engines that end are started again, or not."""

import os
import signal

import pytest
from conftest import wait_until

import pcluster


def ids(cluster):
    return [row["id"] for row in cluster.engines()]


def end_engine(client, code):
    """Has the latest engine end in this way; its call fails."""
    with pytest.raises(pcluster.EngineError):
        client[client.ids[-1]].execute(f"import os; os.{code}", block=True)


@pytest.mark.parametrize("policy, code, is_restarted", [
    ("never", "kill(os.getpid(), 9)", False),
    ("on-failure", "kill(os.getpid(), 9)", True),
    ("on-failure", "_exit(3)", True),
    ("on-failure", "_exit(0)", False),
    ("always", "_exit(0)", True),
])
def test_policy(start, policy, code, is_restarted):
    cluster = start(2, "--restart", policy, "--preload", "fractions")
    with pcluster.Client(cluster.file) as client:
        client[:].push({"x": 1}, block=True)
        end_engine(client, code)
        wait_until(lambda: len(cluster.status()["deaths"]) == 1, "a death")
        if not is_restarted:
            # A death is followed by the new engine at once, or never.
            assert ids(cluster) == [0]
            client.start_engines(1)
        wait_until(lambda: ids(cluster) == [0, 2], "another engine")
        wait_until(lambda: client.ids == [0, 2], "another engine")
        client[:].execute("import sys; has_x = 'x' in globals(); is_loaded = 'fractions' in sys.modules", block=True)
        assert client[:].pull("has_x", block=True) == [True, False]
        assert client[:].pull("is_loaded", block=True) == [True, True]
        status = cluster.status()
        assert status["engine_restarts"] == is_restarted
        death, = status["deaths"]
        assert death["who"] == "engine 1" and death["why"].startswith("engine 1 (pid ")


def test_waiting_calls_fail(start):
    """What was meant for the engine that is gone never runs in the namespace of another."""
    cluster = start(1, "--restart", "always")
    with pcluster.Client(cluster.file) as client:
        view = client[0]
        view.execute("value = 'old'", block=True)
        first = view.execute("import time, os; time.sleep(0.3); os._exit(1)")
        waiting = [view.execute("seen = 1") for _ in range(5)]
        for result in [first, *waiting]:
            with pytest.raises(pcluster.EngineError):
                result.get(timeout=60)
        wait_until(lambda: client.ids == [1], "another engine")
        client[1].execute("names = set(globals()) & {'value', 'seen'}", block=True)
        assert client[1].pull("names", block=True) == set()


def test_all_at_once(start):
    cluster = start(4, "--restart", "on-failure")
    for row in cluster.engines():
        os.kill(row["pid"], signal.SIGKILL)
    wait_until(lambda: ids(cluster) == [4, 5, 6, 7], "four new engines")


def test_again_and_again(start):
    """There is a limit; the cluster goes on without."""
    cluster = start(1, "--restart", "always")
    seen = -1

    def is_given_up():
        nonlocal seen
        rows = cluster.engines()
        if rows and rows[0]["id"] != seen:
            seen = rows[0]["id"]
            os.kill(rows[0]["pid"], signal.SIGKILL)
        return len(cluster.status()["deaths"]) == 8

    wait_until(is_given_up, "the limit")
    assert seen == 7
    assert ids(cluster) == []
    assert "engines started again: 7" in cluster.run("status").stdout
    code, _, err = cluster.end()
    assert code == 0
    assert "engines end again and again, 8 times within a minute" in err


def test_engines_of_another_host(home, controller):
    """They have a parent of their own, with a policy of its own."""
    process = home.popen("engine", "-n", "1", "--restart", "on-failure")
    assert process.stdout.readline().startswith("ready: ")
    os.kill(controller.wait_engines(1)[0]["pid"], signal.SIGKILL)
    wait_until(lambda: ids(controller) == [1], "another engine")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 0


def test_wrong_word(home):
    done = home.run("start", "--restart", "sometimes")
    assert done.returncode == 2 and "never on-failure always" in done.stderr
