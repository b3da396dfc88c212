# SPDX-License-Identifier: BSD-3-Clause
"""The task scheduler on real engines."""

import os
import time

import pytest

import pcluster
from conftest import wait_begun, wait_until
from shared import by_value


@pytest.mark.parametrize("args, expected", [
    ([], ("leastload", 1)),
    (["--scheme", "lru", "--hwm", "3"], ("lru", 3)),
])
def test_scheme_and_limit(start, args, expected):
    cluster = start(1, *args)
    said = cluster.home.json("sched")
    assert (said["scheme"], said["hwm"]) == expected
    done = cluster.run("sched", "--scheme", "weighted", "--hwm", "0")
    assert done.stdout == ("scheme weighted, hwm 0, 0 tasks wait for an engine\n"
                           "each client may have 1000000 tasks unfinished, with 1.1 GB\n")
    assert done.returncode == 0
    assert cluster.home.json("sched")["scheme"] == "weighted"


def test_sched_without_a_cluster(home):
    done = home.run("sched")
    assert done.returncode == 11
    assert done.stderr.startswith("pcluster sched: ")


# ---- limits ---------------------------------------------------------------------------------------


def test_limits(start, home):
    cluster = start(1, "--max-tasks", "3", "--max-bytes", "2M")
    with pcluster.Client(cluster.file) as c:
        assert c.limits == {"tasks": 0, "bytes": 0, "max_tasks": 3, "max_bytes": 2 << 20}
        view = c.load_balanced_view()
        assert view.map_sync(abs, range(100)) == list(range(100))  # waits when it must
        assert view.apply_sync(len, bytes(5 << 20)) == 5 << 20  # one of any size
        c.when_full = "raise"
        first = view.apply_async(nap, 1000)
        rest = [view.apply_async(nap, 1000) for _ in range(2)]
        wait_begun(first)
        with pytest.raises(pcluster.QueueFull, match="3 tasks"):
            view.apply_async(nap, 0)
        said = home.json("sched")
        assert (said["max_tasks"], said["max_bytes"], said["waiting"]) == (3, 2 << 20, 2)
        assert [row["tasks"] for row in said["clients"] if row["session"] == c.session] == [3]
        assert c.session in home.run("sched").stdout
        assert "a client may have 3 unfinished" in home.run("status").stdout
        assert cluster.status()["sched"]["max_tasks"] == 3
        home.run("sched", "--max-tasks", "4", "--max-bytes", "1G")
        wait_until(lambda: c.ids and c.limits["max_tasks"] == 4, "the news")
        more = view.apply_async(nap, 1000)
        c.cancel(interrupt=True)
        for result in (first, more, *rest):
            assert result.wait(60) and not result.successful()
        assert view.apply_sync(nap, 0) == 0 and c.limits["tasks"] == 0


@pytest.mark.parametrize("option, value", [
    ("--max-bytes", "1"), ("--max-bytes", "9999T"), ("--max-bytes", "5X"), ("--max-bytes", "M"),
    ("--max-bytes", "1KK"), ("--max-bytes", "-1M"), ("--max-tasks", "0"),
])
def test_bad_limits(home, option, value):
    for command in "start", "controller", "sched":
        done = home.run(command, option, value)
        assert done.returncode == 2
        assert done.stderr.startswith(f"pcluster {command}: {option} ")


# ---- tags -----------------------------------------------------------------------------------------


def test_tags(start, home):
    """Some engines are started with tags, others join with some; tasks choose by them."""
    cluster = start(1, "--tag", "gpu", "--tag", "big")
    with pcluster.Client(cluster.file) as c:
        assert c.engines[0].tags == {"gpu", "big"}
        view = c.load_balanced_view().set_flags(tags="lab")
        with pytest.raises(pcluster.ImpossibleDependency, match="'lab'"):
            view.apply_sync(os.getpid)
        with view.temp_flags(timeout=60):
            waits = view.apply_async(os.getpid)
        more = start(1, "--tag", "lab,gpu", command="engine")
        c.wait_for_engines(2, timeout=60)
        pids = {number: c[number].apply_sync(os.getpid) for number in (0, 1)}
        assert waits.get(60) == pids[1]
        for tags, right in ({"lab"}, {1}), ({"big"}, {0}), ({"gpu"}, {0, 1}), (None, {0, 1}):
            view.tags = tags
            done = set(view.map_sync(lambda _: (time.sleep(0.01), os.getpid())[1], range(20)))
            assert done == {pids[number] for number in right}
        both = c.load_balanced_view([0], tags="lab")
        with pytest.raises(pcluster.ImpossibleDependency, match="restricted"):
            both.apply_sync(os.getpid)
        rows = cluster.status()["engines"]
        assert [row["tags"] for row in rows] == [["big", "gpu"], ["gpu", "lab"]]
        assert "  big,gpu\n" in home.run("status").stdout
        assert [row["tags"] for row in home.json("list")] == [["big", "gpu", "lab"]]
        more.end()
        wait_until(lambda: c.ids == [0], "the engine to leave")
        view.tags = "lab"
        assert not view.apply_async(os.getpid).wait(0.1)  # such an engine was there: it may come again


@pytest.mark.parametrize("tag, words", [("a b", "'a b' is not a tag"), ("x" * 200, "too long")])
def test_bad_tags(home, tag, words):
    for command in "start", "engine":
        done = home.run(command, "--tag", tag)
        assert done.returncode == 2
        assert done.stderr.startswith(f"pcluster {command}: ") and words in done.stderr


# ---- ending early -------------------------------------------------------------------------------

@pytest.fixture
def client(start):
    """A client of one engine."""
    with pcluster.Client(start(1).file) as c:
        yield c


@pytest.fixture
def shared_file(client):
    """The connection file of that client."""
    return client.info["file"]


@by_value
def nap(seconds):
    import time

    print("on", flush=True)
    time.sleep(seconds)
    return seconds


def test_aborted_tasks_never_start(client):
    view = client.load_balanced_view()
    first = view.apply_async(nap, 1000)
    rest = view.map_async(nap, range(1000, 1100))
    wait_begun(first)
    rest.abort()
    assert rest.cancelled()
    with pytest.raises(pcluster.TaskAborted):
        rest.get()
    assert not first.done()
    assert first.cancel(interrupt=True)
    with pytest.raises(pcluster.RemoteError, match="KeyboardInterrupt"):
        first.get(30)
    assert view.apply_sync(nap, 0) == 0


def test_in_flight_ones_are_aborted_too(client):
    view = client[0]
    calls = [view.apply_async(nap, 1000) for _ in range(5)]
    wait_begun(calls[0])
    client.abort(calls[1:])
    client.interrupt(0)
    with pytest.raises(pcluster.RemoteError, match="KeyboardInterrupt"):
        calls[0].get(30)
    for call in calls[1:]:
        with pytest.raises(pcluster.TaskAborted):
            call.get(30)
        assert call.cancelled() and not call.stdout


def test_by_label_from_outside(client, shared_file, home):
    view = client.load_balanced_view().set_flags(label="night")
    first = view.apply_async(nap, 1000)
    rest = [view.apply_async(nap, 1000) for _ in range(5)]
    with view.temp_flags(label="day"):
        other = view.apply_async(nap, 0)
    wait_begun(first)
    with pcluster.Client(shared_file) as stranger:
        stranger.abort(rest[0].msg_ids)
        with pytest.raises(pcluster.TaskAborted):
            rest[0].get(30)
        stranger.abort(label="night")  # it has none of its own
        assert not rest[1].wait(0.05)
    done = home.run("abort", "--label", "night", "--interrupt")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "aborted: 4 tasks that waited; interrupted: 1 that engines have\n"
    with pytest.raises(pcluster.RemoteError, match="KeyboardInterrupt"):
        first.get(30)
    for result in rest:
        with pytest.raises(pcluster.TaskAborted):
            result.get(30)
    assert other.get(30) == 0
    done = home.run("abort", rest[0].msg_ids[0])
    assert "1 have ended already, or never were\n" in done.stdout
    done = home.run("abort", "night")
    assert done.returncode == 1 and "'night' is no id of a task" in done.stderr
    for args in [], ["--all", "--label", "x"]:
        assert home.run("abort", *args).returncode == 2


def test_interrupts_hit_nobody_else(client):
    """Interrupts at every moment of a task's life; the next one never sees one."""
    view = client[0]
    for i in range(100):
        target = view.apply_async(nap, 0)
        witness = view.apply_async(sum, range(1000))
        time.sleep(i * 1e-5)
        target.cancel(interrupt=True)
        assert witness.get(30) == 499500


# ---- what a task depends on, and other chances ----------------------------------------------------

@by_value
def fail_on(path, times):
    """Fails the first times; a file counts them."""
    import os

    with open(path, "ab+") as file:
        file.write(b"x")
        file.flush()
        if os.fstat(file.fileno()).st_size <= times:
            raise RuntimeError(os.getpid())
    return os.getpid()


def test_after_and_follow(start):
    with pcluster.Client(start(2).file) as c:
        view = c.load_balanced_view()
        first = view.apply_async(nap, 0.2)
        with view.temp_flags(after=first):
            second = view.apply_async(nap, 0)
        with view.temp_flags(follow=[first, second.msg_ids[0]], after=second):
            third = view.apply_async(nap, 0)
        with view.temp_flags(follow=pcluster.Dependency([first, second], all=False)):
            fourth = [view.apply_async(nap, 0) for _ in range(5)]
        second.get(30)
        assert second.started >= first.completed
        if first.engine_id == second.engine_id:
            third.get(30)
            assert third.engine_id == first.engine_id
        else:
            with pytest.raises(pcluster.ImpossibleDependency):
                third.get(30)
        for result in fourth:
            result.get(30)
            assert result.engine_id in (first.engine_id, second.engine_id)


def test_dependencies_that_can_not_be(client):
    view = client.load_balanced_view()
    good, bad = view.apply_async(int), view.apply_async(int, "x")
    client.wait([good, bad])
    with view.temp_flags(after=f"{int(client.session, 16):016x}_4711"):
        with pytest.raises(pcluster.InvalidDependency):
            view.apply_sync(int)
    with view.temp_flags(after=[good, bad]):
        with pytest.raises(pcluster.ImpossibleDependency):
            view.apply_sync(int)
    with view.temp_flags(after=pcluster.Dependency(bad, success=False, failure=True)):
        assert view.apply_sync(int) == 0


def test_retries(start, tmp_path):
    with pcluster.Client(start(2).file) as c:
        view = c.load_balanced_view()
        view.retries = 1
        assert view.apply_sync(fail_on, str(tmp_path / "a"), 1) > 0
        view.retries = 10
        with pytest.raises(pcluster.RemoteError, match="RuntimeError"):
            view.apply_sync(fail_on, str(tmp_path / "b"), 100)  # two engines, two tries
        assert (tmp_path / "b").stat().st_size == 2
        view.retry_same = True
        assert view.apply_sync(fail_on, str(tmp_path / "c"), 7) > 0


def test_a_lost_engine_is_no_end(start, tmp_path):
    @by_value
    def die_once(path):
        import os

        try:
            os.mkdir(path)
        except FileExistsError:
            return os.getpid()
        os.kill(os.getpid(), 9)

    with pcluster.Client(start(2).file) as c:
        view = c.load_balanced_view()
        view.retries = 1
        assert view.apply_sync(die_once, str(tmp_path / "x")) > 0
        view.retries = 0
        with pytest.raises(pcluster.EngineError, match="SIGKILL"):
            view.apply_sync(die_once, str(tmp_path / "y"))


def test_an_aborted_call_does_not_wait(client):
    """It was sent already, and is behind one that runs: what comes after that is not lost."""
    running = client[0].apply_async(nap, 1000)
    aborted, after = client[0].apply_async(nap, 2000), client[0].apply_async(abs, -4)
    wait_begun(running)
    aborted.abort()
    with pytest.raises(pcluster.TaskAborted):
        aborted.get(30)
    assert not running.ready()
    running.cancel(interrupt=True)
    assert after.get(30) == 4


def test_limits_of_time(client):
    view = client.load_balanced_view()
    with view.temp_flags(run_timeout=0.2):
        with pytest.raises(pcluster.TaskTimeout, match="run_timeout"):
            view.apply_sync(nap, 1000)
    busy = view.apply_async(nap, 1000)
    with view.temp_flags(timeout=0.05):
        with pytest.raises(pcluster.TaskTimeout, match="no engine"):
            view.apply_sync(int)
    busy.cancel(interrupt=True)


def test_an_engine_that_does_not_let_go_is_ended(start):
    @by_value
    def hold():
        import itertools

        print("on", flush=True)
        sum(itertools.repeat(0))  # all in C, with the interpreter lock: no interrupt gets in

    with pcluster.Client(start(1).file) as c:
        result = c.load_balanced_view().apply_async(hold)
        wait_begun(result)
        assert result.cancel(interrupt=True)
        with pytest.raises(pcluster.TaskAborted, match="was ended"):
            result.get(60)
        wait_until(lambda: c.ids == [1], "another engine to take its place")
        assert c.load_balanced_view().apply_sync(abs, -1) == 1


def test_unmet(start):
    @by_value
    def only_in(pid):
        import os

        class UnmetDependency(Exception):
            pass

        if os.getpid() != pid:
            raise UnmetDependency()
        return pid

    with pcluster.Client(start(2).file) as c:
        pids = c[:].apply_sync(os.getpid)
        view = c.load_balanced_view()
        assert [view.apply_sync(only_in, pids[i % 2]) for i in range(10)] == pids * 5
        with pytest.raises(pcluster.ImpossibleDependency):
            view.apply_sync(only_in, 2)
