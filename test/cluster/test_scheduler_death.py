# SPDX-License-Identifier: BSD-3-Clause
"""The scheduler is killed and started again: clients and engines come back, and everything goes on."""

import os
import signal
import threading

import pytest
from home import Cluster, by_value, children, is_alive, wait_begun, wait_until

import pcluster


def kill_scheduler(cluster):
    """Kills it and waits until another one answers; returns the pid of the old one."""
    old = cluster.pids()["scheduler"]
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: (pid := cluster.pids()["scheduler"]) != old and pid, "another scheduler")
    return old


def counting(path):
    """A function that leaves a line in a file each time that it runs."""
    @by_value
    def count(i):
        with open(path, "a", encoding="ascii") as file:
            file.write(f"{i}\n")
        return i * i
    return count


def lines_of(path):
    with open(path, encoding="ascii") as file:
        return sorted(int(line) for line in file)


def test_everything_goes_on(home, start):
    """What ran goes on and is delivered; what waited runs, and each once; names stay the same."""
    cluster = start(2)
    path = os.path.join(home.work, "ran")
    with pcluster.Client(cluster.file) as client:
        view = client.load_balanced_view()
        before = client.ids, client[:].apply_sync(os.getpid)
        marker = os.path.join(home.work, "go")
        running = client[:].execute(
            f"import os, time\nprint('begins')\nwhile not os.path.exists({marker!r}): time.sleep(0.01)\n"
            f"print('ends')")
        wait_begun(running)
        waiting = [view.apply_async(counting(path), i) for i in range(300)]
        direct = [client[i % 2].apply_async(counting(path), 1000 + i) for i in range(20)]
        kill_scheduler(cluster)
        after = view.apply_async(counting(path), 5000)
        assert not running.ready()
        with open(marker, "w", encoding="ascii"):
            pass
        running.get(timeout=60)
        assert running.stdout == ["begins\nends\n"] * 2
        assert [result.get(timeout=60) for result in waiting] == [i * i for i in range(300)]
        assert [result.get(timeout=60) for result in direct] == [(1000 + i) ** 2 for i in range(20)]
        assert after.get(timeout=60) == 5000 ** 2
        assert lines_of(path) == [*range(300), *range(1000, 1020), 5000]
        assert (client.ids, client[:].apply_sync(os.getpid)) == before
        wait_until(lambda: cluster.status()["tasks"]["pending"] == 0, "the records of all")
    code, _, err = cluster.end()
    assert code == 0, err


def test_status_and_log_tell(start):
    cluster = start(1)
    old = kill_scheduler(cluster)
    death, = cluster.status()["deaths"]
    assert death["who"] == "scheduler" and death["pid"] == old
    assert death["why"] == f"the scheduler (pid {old}) was killed by signal 9 (SIGKILL)"
    assert not is_alive(old)
    code, _, err = cluster.end()
    assert code == 0
    assert f"warn: {death['why']}; starting another\n" in err


def test_again_and_again(home, start):
    """In the middle of a stream of calls, whose functions it has to learn anew each time."""
    cluster = start(2)
    path = os.path.join(home.work, "ran")
    with pcluster.Client(cluster.file) as client:
        view = client.load_balanced_view()
        results = []
        for turn in range(3):
            for i in range(400):
                results.append(view.apply_async(counting(path), turn * 400 + i))
                if i == 200:
                    os.kill(cluster.pids()["scheduler"], signal.SIGKILL)
        assert [result.get(timeout=60) for result in results] == [i * i for i in range(1200)]
        assert lines_of(path) == list(range(1200))


def test_too_often(home, start):
    """There is a limit; then the cluster ends and says so."""
    cluster = start(1)
    old = 0
    while cluster.process.poll() is None:
        done = cluster.run("status", "--json")
        pid = int(done.stdout.split('"scheduler":')[1].split()[0].strip(",")) if '"scheduler":' in done.stdout else old
        if pid != old and is_alive(pid):
            os.kill(pid, signal.SIGKILL)
            old = pid
    code, _, err = cluster.wait()
    assert code == 1
    assert "that is the 6th within a minute" in err
    home.wait_empty()
    assert home.leftovers() == []


def test_a_call_that_is_too_large_to_be_kept(home, start):
    """What an engine has goes on; what waited fails and says what to do."""
    cluster = start(1)
    marker = os.path.join(home.work, "go")
    data = bytes(1_000_000)

    @by_value
    def wait(data):
        import os
        import time
        print("begins", flush=True)
        while not os.path.exists(marker):
            time.sleep(0.01)
        return len(data)

    with pcluster.Client(cluster.file) as client:
        running = client[0].apply_async(wait, data)
        wait_begun(running)
        waiting = client[0].apply_async(len, data)
        kill_scheduler(cluster)
        with open(marker, "w", encoding="ascii"):
            pass
        assert running.get(timeout=60) == len(data)
        with pytest.raises(pcluster.ConnectionLost, match="too large to be kept.*submit it again"):
            waiting.get(timeout=60)
        assert client[0].apply_sync(len, data) == len(data)


def test_with_an_engine(home, start):
    """Both are killed: what had begun there is not begun again, and says why."""
    cluster = start(2)
    path = os.path.join(home.work, "ran")
    marker = os.path.join(home.work, "go")

    @by_value
    def wait(i):
        import os
        import time
        with open(path, "a", encoding="ascii") as file:
            file.write(f"{i}\n")
        print("begins", flush=True)
        while not os.path.exists(marker):
            time.sleep(0.01)
        return i

    with pcluster.Client(cluster.file) as client:
        view = client.load_balanced_view()
        running = [view.apply_async(wait, i) for i in range(2)]
        for result in running:
            wait_begun(result)
        engines = [result.engine_id for result in running]
        rows = {row["id"]: row["pid"] for row in cluster.engines()}
        scheduler = cluster.pids()["scheduler"]
        os.kill(scheduler, signal.SIGSTOP)  # so that it can't see the engine die
        os.kill(rows[engines[0]], signal.SIGKILL)
        os.kill(scheduler, signal.SIGKILL)
        with open(marker, "w", encoding="ascii"):
            pass
        with pytest.raises(pcluster.EngineError):
            running[0].get(timeout=60)
        assert running[1].get(timeout=60) == 1
        assert lines_of(path) == [0, 1]


def test_other_clients(home, start):
    """One that waits for another's result gets it; questions are answered; a new one can connect."""
    cluster = start(1)
    marker = os.path.join(home.work, "go")
    code = (f"import os, time\nprint('begins')\n"
            f"while not os.path.exists({marker!r}): time.sleep(0.01)\nprint('ends')")
    with pcluster.Client(cluster.file) as client, pcluster.Client(cluster.file) as other:
        result = client[0].execute(code)
        wait_begun(result)
        fetched = other.get_result(result.msg_ids[0])
        wait_until(lambda: not fetched.ready() and fetched.stdout == "begins\n", "output")
        answers = []
        pid = cluster.pids()["scheduler"]
        threads = [threading.Thread(target=lambda: answers.append(len(client.hub_history())))
                   for _ in range(4)]
        os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [1] * 4
        with pcluster.Client(cluster.file) as third:
            assert third.ids == [0]
        with open(marker, "w", encoding="ascii"):
            pass
        fetched.get(timeout=60)
        result.get(timeout=60)
        assert fetched.stdout == result.stdout == "begins\nends\n"


def test_an_aborted_call_stays_aborted(start):
    cluster = start(1)
    with pcluster.Client(cluster.file) as client:
        view = client.load_balanced_view()
        running = client[0].apply_async(__import__("time").sleep, 0.5)
        waiting = [view.apply_async(os.getpid) for _ in range(3)]
        client.abort(waiting[1])
        kill_scheduler(cluster)
        running.get(timeout=60)
        with pytest.raises(pcluster.TaskAborted):
            waiting[1].get(timeout=60)
        assert waiting[0].get(timeout=60) == waiting[2].get(timeout=60)


def test_engines_elsewhere(home, start):
    """Their host comes back, too: it still ends them and says how they ended, and their tasks go on."""
    cluster = start(1)
    host = Cluster(home, ["-n", 2, "--file", cluster.engine_file], command="engine")
    cluster.wait_engines(3)
    marker = os.path.join(home.work, "go")
    with pcluster.Client(cluster.file) as client:
        running = client[:].execute(
            f"import os, time\nprint('begins')\nwhile not os.path.exists({marker!r}): time.sleep(0.01)")
        wait_begun(running)
        kill_scheduler(cluster)
        with open(marker, "w", encoding="ascii"):
            pass
        running.get(timeout=60)
        assert client.ids == [0, 1, 2]
        pids = {pid for child in children(host.process.pid) for pid in children(child)}
        there = {row["id"]: row["pid"] for row in cluster.engines() if row["pid"] in pids}
        first, second = there
        client.shutdown(targets=[first])
        wait_until(lambda: not is_alive(there[first]), "an engine of the host to end")
        kill_scheduler(cluster)
        os.kill(there[second], signal.SIGKILL)
        wait_until(lambda: len(client.ids) == 1, "it to be missed")
        down = {row["id"]: row["reason"] for row in cluster.status()["engines"] if row["state"] == "down"}
        assert "SIGKILL" in down[second]
    assert host.end()[0] == 0


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_client_that_left(home, start, store):
    """What it had submitted goes on: what ran, what was finished, and what had not begun; each once."""
    cluster = start(1, "--store", store)
    path = os.path.join(home.work, "ran")
    marker = os.path.join(home.work, "go")
    with pcluster.Client(cluster.file) as client:
        view = client.load_balanced_view()
        first = view.apply_async(counting(path), 0)
        first.get(timeout=60)
        running = client[0].execute(
            f"import os, time\nprint('begins')\nwhile not os.path.exists({marker!r}): time.sleep(0.01)")
        wait_begun(running)
        results = [view.apply_async(counting(path), i) for i in range(1, 20)]
        direct = client[0].apply_async(counting(path), 20)
        names = [name for result in (first, running, *results, direct) for name in result.msg_ids]
        client.hub_history()  # all of them are recorded
    kill_scheduler(cluster)
    with open(marker, "w", encoding="ascii"):
        pass
    with pcluster.Client(cluster.file) as client:
        assert client.get_result(names[2:]).get(timeout=60) == [i * i for i in range(1, 21)]
        assert client.get_result(names[0]).get(timeout=60) == 0
        assert client.get_result(names[1]).wait(60)
        assert lines_of(path) == list(range(21))
        wait_until(lambda: cluster.status()["tasks"]["pending"] == 0, "the records of all")
