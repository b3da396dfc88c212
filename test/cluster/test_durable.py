# SPDX-License-Identifier: BSD-3-Clause
"""Durable tasks: they outlive every process of the cluster, and their client."""

import os
import signal
import sqlite3

import pytest
from home import DEADLINE_S, Cluster, by_value, is_alive, wait_until

import pcluster

OPTIONS = ["--store", "sqlite"]


@by_value
def noted(number, path, gate):
    """Notes that it runs, waits until the file `gate` is gone, and gives the square."""
    import os
    import time

    with open(path, "a", encoding="ascii") as file:
        file.write(f"{number}\n")
    while os.path.exists(gate):
        time.sleep(0.01)
    return number * number


class Scene:
    """A cluster whose tasks note that they run, and wait."""

    def __init__(self, home):
        self.home = home
        self.path = os.path.join(home.path, "notes")
        self.gate = os.path.join(home.path, "gate")
        self.cluster = Cluster(home, ["-n", 2, *OPTIONS])

    def close_gate(self):
        with open(self.gate, "w", encoding="ascii"):
            pass

    def open_gate(self):
        os.unlink(self.gate)

    def notes(self):
        try:
            with open(self.path, encoding="ascii") as file:
                return sorted(map(int, file.read().split()))
        except FileNotFoundError:
            return []

    def wait_notes(self, count):
        wait_until(lambda: len(self.notes()) >= count, f"{count} tasks to run")

    def kill_all(self):
        """At once: nobody sees the other one die first."""
        pids = self.home.processes()
        self.home.signal([pid for pid in pids if pid != os.getpid()], signal.SIGSTOP)
        self.home.signal([pid for pid in pids if pid != os.getpid()], signal.SIGKILL)
        self.cluster.wait()
        self.home.wait_empty()

    def start_again(self):
        self.cluster = Cluster(self.home, ["-n", 2, *OPTIONS])

    def end(self):
        assert self.cluster.end()[0] == 0

    def count(self, table):
        path = os.path.join(self.home.profiles, "profile_default", "tasks.db")
        with sqlite3.connect(path) as file:
            return file.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


@pytest.fixture
def scene(home):
    return Scene(home)


def durable_view(client, **flags):
    return client.load_balanced_view().set_flags(durable=True, **flags)


def ids_of(results):
    return [result.msg_ids[0] for result in results]


def test_they_run_after_the_end_of_everything(scene):
    scene.close_gate()
    with pcluster.Client() as client:
        view = durable_view(client)
        results = [view.apply_async(noted, i, scene.path, scene.gate) for i in range(6)]
        ids = ids_of(results)
        assert all(result.wait_accepted(DEADLINE_S) for result in results)
        assert results[5].accepted and not results[5].ready()
        scene.wait_notes(2)
        scene.kill_all()
        scene.open_gate()
        with pytest.raises(pcluster.ConnectionLost):
            results[5].get(DEADLINE_S)
    begun = scene.notes()
    assert len(begun) == 2
    scene.start_again()
    scene.wait_notes(6)
    with pcluster.Client() as client:
        for number, name in enumerate(ids):
            if number in begun:
                with pytest.raises(pcluster.EngineError, match="no retries left"):
                    client.get_result(name).get(DEADLINE_S)
            else:
                assert client.get_result(name).get(DEADLINE_S) == number * number
    number = next(i for i in range(6) if i not in begun)
    done = scene.cluster.run("task", "result", ids[number])
    assert done.stdout == f"{number * number}\n"
    assert scene.notes() == list(range(6))  # each once
    assert scene.count("submissions") == 0 and scene.count("tasks") == 6
    scene.end()


def test_with_retries_what_had_begun_runs_again(scene):
    scene.close_gate()
    with pcluster.Client() as client:
        result = durable_view(client, retries=1).apply_async(noted, 3, scene.path, scene.gate)
        name, = result.msg_ids
        assert result.wait_accepted(DEADLINE_S)
        for runs in (1, 2):
            scene.wait_notes(runs)
            scene.kill_all()
            scene.start_again()
    with pcluster.Client() as client:
        with pytest.raises(pcluster.EngineError, match="no retries left"):
            client.get_result(name).get(DEADLINE_S)
    assert scene.notes() == [3, 3]
    scene.end()


def test_the_hub_is_killed_before_they_begin(scene):
    """They run once."""
    scene.close_gate()
    with pcluster.Client() as client:
        view = durable_view(client)
        blockers = [client[i].apply_async(noted, 100 + i, scene.path, scene.gate) for i in client.ids]
        scene.wait_notes(2)
        results = [view.apply_async(noted, i, scene.path, scene.gate) for i in range(20)]
        assert all(result.wait_accepted(DEADLINE_S) for result in results)
        ids = ids_of(results)
        pid = scene.cluster.pids()["hub"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), "its end")
        scene.open_gate()
        del blockers
        assert [result.get(DEADLINE_S) for result in results] == [i * i for i in range(20)]
    with pcluster.Client() as client:
        found = [client.get_result(name) for name in ids]
        assert [result.get(DEADLINE_S) for result in found] == [i * i for i in range(20)]
    wait_until(lambda: scene.count("submissions") == 0, "all to leave the disk")
    assert [number for number in scene.notes() if number < 100] == list(range(20))
    scene.end()


def test_orders_survive(scene):
    """after, priority, label, tags ... are stored, too; what was met before is."""
    scene.close_gate()
    with pcluster.Client() as client:
        view = durable_view(client, label="chain")
        first = view.apply_async(noted, 1, scene.path, os.path.join(scene.home.path, "nothing"))
        assert first.get(DEADLINE_S) == 1
        second = view.apply_async(noted, 2, scene.path, scene.gate)
        scene.wait_notes(2)
        with view.temp_flags(after=[first]):
            third = view.apply_async(noted, 3, scene.path, scene.gate)
        scene.wait_notes(3)
        with view.temp_flags(after=[first]):
            fourth = view.apply_async(noted, 4, scene.path, scene.gate)
        with view.temp_flags(after=[fourth]):
            fifth = view.apply_async(noted, 5, scene.path, scene.gate)
        assert fifth.wait_accepted(DEADLINE_S)
        names = ids_of([second, third, fourth, fifth])
        scene.kill_all()
        scene.open_gate()
    scene.start_again()
    with pcluster.Client() as client:
        assert client.get_result(names[3]).get(DEADLINE_S) == 25
        assert client.get_result(names[2]).get(DEADLINE_S) == 16
        rows = client.db_query({"label": "chain"}, ["msg_id", "status"])
        assert len(rows) == 5
    notes = scene.notes()
    assert notes == [1, 2, 3, 4, 5]
    scene.end()


def test_a_function_travels_along(scene):
    """Of a thousand tasks only the first one carried it to the controller."""
    factor = 3

    @by_value
    def times(x):
        return factor * x

    with pcluster.Client() as client:
        scene.home.signal([row["pid"] for row in scene.cluster.engines()], signal.SIGSTOP)
        result = durable_view(client).map_async(times, range(1000))
        assert result.wait_accepted(DEADLINE_S)
        names = result.msg_ids
        scene.kill_all()
    scene.start_again()
    # At most two had been given to engines; whether they had begun nobody can know.
    with pcluster.Client() as client:
        values = [client.get_result(name).get(DEADLINE_S) for name in names[-500:]]
        assert values == [3 * x for x in range(500, 1000)]
    scene.end()


def test_it_is_refused_where_it_can_not_be(home, start):
    start(1)
    with pcluster.Client() as client:
        view = client.load_balanced_view()
        view.durable = True
        with pytest.raises(ValueError, match="--store sqlite"):
            view.apply_async(int)
        with view.temp_flags(durable=False):
            assert view.apply_sync(int) == 0
            with pytest.raises(ValueError, match="not durable"):
                view.apply_async(int).wait_accepted()
    done = home.run("start", "--durable")
    assert done.returncode == 2
    assert "--durable needs --store sqlite" in done.stderr


def test_views_with_targets_are_refused(scene):
    with pcluster.Client() as client:
        with pytest.raises(ValueError, match="by their ids"):
            client.load_balanced_view([0], durable=True).apply_async(int)
        with pytest.raises(KeyError):
            client[:].set_flags(durable=True)
    scene.end()


def test_executor_and_map(scene):
    with pcluster.Client() as client:
        view = durable_view(client)
        assert view.executor.submit(pow, 2, 5).result(DEADLINE_S) == 32
        assert list(view.executor.map(abs, [-1, -2])) == [1, 2]
        assert list(view.map_sync(abs, [-3])) == [3]
    wait_until(lambda: scene.count("submissions") == 0, "all to leave the disk")
    assert scene.count("tasks") == 4
    scene.end()


def test_all_are_durable(home, start):
    start(2, *OPTIONS, "--durable")
    with pcluster.Client() as client:
        result = client.load_balanced_view().apply_async(int)
        assert result.wait_accepted(DEADLINE_S)
        assert result.get(DEADLINE_S) == 0
        with pytest.raises(ValueError, match="not durable"):
            client[0].apply_async(int).wait_accepted()


def test_a_database_that_can_not_be_written(home, start):
    """The submission is refused, the cluster computes."""
    path = os.path.join(home.profiles, "profile_default", "tasks.db")
    start(2, *OPTIONS)
    with pcluster.Client() as client:
        view = durable_view(client)
        assert view.apply_sync(int) == 0
        with sqlite3.connect(path, isolation_level=None) as lock:
            lock.execute("BEGIN IMMEDIATE")
            with pytest.raises(pcluster.NotDurable, match="database is locked"):
                view.apply_async(int).wait_accepted(DEADLINE_S)
            with pytest.raises(pcluster.NotDurable, match="was not accepted, and not run"):
                view.apply_sync(int)
            with view.temp_flags(durable=False):
                assert view.apply_sync(int) == 0
            lock.execute("ROLLBACK")
        assert view.apply_sync(int) == 0
