# SPDX-License-Identifier: BSD-3-Clause
"""The hub is killed and started again: nobody notices, and nothing that was recorded is lost."""

import os
import signal
import threading

import pytest
from home import is_alive, wait_until
from shared import run_script

import pcluster


def kill_hub(cluster):
    """Kills it and waits until another one answers; returns the new pid."""
    old = cluster.pids()["hub"]
    os.kill(old, signal.SIGKILL)
    return wait_until(lambda: (pid := cluster.pids()["hub"]) != old and pid, "another hub")


def names_of(results):
    return [name for result in results for name in result.msg_ids]


def test_what_it_knew_is_there(start):
    """Tasks and their results, engines, and who is connected."""
    cluster = start(2)
    with pcluster.Client(cluster.file) as client:
        view = client.load_balanced_view()
        done = [view.apply_async(pow, 2, i) for i in range(50)]
        client.wait(done)
        assert client[1].apply_async(len, 5).exception()
        before = cluster.status()
        old = client.hub_history()
        kill_hub(cluster)
        after = cluster.status()
        assert after["tasks"] == before["tasks"]
        assert after["clients"] == before["clients"]
        rows = ("id", "pid", "state", "host", "uuid", "tasks_done", "tasks_failed", "queue")
        assert [[row[key] for key in rows] for row in after["engines"]] == [
            [row[key] for key in rows] for row in before["engines"]]
        assert client.hub_history() == old
        with pcluster.Client(cluster.file) as other:
            assert other.get_result(names_of(done)).get() == [2**i for i in range(50)]
        assert not is_alive(before["pids"]["hub"])


def test_status_and_log_tell(start):
    cluster = start(1)
    old = cluster.pids()["hub"]
    kill_hub(cluster)
    death, = cluster.status()["deaths"]
    assert death["who"] == "hub" and death["pid"] == old and death["time_us"] > 0
    assert death["why"] == f"the hub (pid {old}) was killed by signal 9 (SIGKILL)"
    assert f"s ago: {death['why']}\n" in cluster.run("status").stdout
    code, _, err = cluster.end()
    assert code == 0
    assert f"warn: {death['why']}; starting another\n" in err


def test_in_the_middle_of_many_tasks(start):
    """Each has run once and has its record; the client sees nothing of it."""
    count = 10_000
    cluster = start(2)
    with pcluster.Client(cluster.file) as client:
        client[:].execute("ran = []", block=True)
        view = client.load_balanced_view()
        space = {"__name__": "__main__"}
        exec("def work(i): ran.append(i); return -i", space)
        work = space["work"]
        pid = cluster.pids()["hub"]
        results = []
        for i in range(count):
            results.append(view.apply_async(work, i))
            if i == count // 3:
                os.kill(pid, signal.SIGKILL)
        assert [result.get() for result in results] == [-i for i in range(count)]
        assert sorted(sum(client[:].pull("ran", block=True), [])) == list(range(count))
        names = names_of(results)
        rows = client.db_query({"kind": "apply"}, keys=["msg_id", "completed"])
        assert sorted(row["msg_id"] for row in rows if row["completed"]) == sorted(names)
        totals = cluster.status()["tasks"]
        assert totals["submitted"] == count + 4 and totals["pending"] == 0


def test_again_and_again(start):
    """Each time it has what it had, and what came since; ids of engines go on."""
    cluster = start(1)
    with pcluster.Client(cluster.file) as client:
        view = client.load_balanced_view()
        names = []
        for _ in range(4):
            results = [view.apply_async(os.getpid) for _ in range(20)]
            kill_hub(cluster)
            client.wait(results)
            names += names_of(results)
        assert client.hub_history()[-len(names):] == names
        client.start_engines(1)
        assert [row["id"] for row in cluster.wait_engines(2)] == [0, 1]


def test_too_often(home, start):
    """There is a limit; then the cluster ends and says so."""
    cluster = start(1)
    old = 0
    while cluster.process.poll() is None:
        done = cluster.run("status", "--json")
        hub = int(done.stdout.split('"hub":')[1].split()[0]) if '"hub":' in done.stdout else old
        if hub != old and is_alive(hub):
            os.kill(hub, signal.SIGKILL)
            old = hub
    code, _, err = cluster.wait()
    assert code == 1
    assert "that is the 6th within a minute" in err
    home.wait_empty()
    assert home.leftovers() == []


def test_results_that_are_waited_for(home, start):
    """A client that fetches the result of another's task gets it, and its output once."""
    cluster = start(1)
    marker = os.path.join(home.work, "go")
    code = (f"import os, time\nprint('begins')\n"
            f"while not os.path.exists({marker!r}): time.sleep(0.01)\nprint('ends')")
    with pcluster.Client(cluster.file) as client, pcluster.Client(cluster.file) as other:
        result = client[0].execute(code)
        wait_until(lambda: not result.ready() and result.stdout == "begins\n", "output")
        fetched = other.get_result(names_of([result])[0])
        wait_until(lambda: not fetched.ready() and fetched.stdout == "begins\n",
                   "output at the other client")
        kill_hub(cluster)
        with open(marker, "w", encoding="ascii"):
            pass
        fetched.get(timeout=60)
        assert fetched.stdout == "begins\nends\n"
        result.get()
        assert result.stdout == "begins\nends\n"


SHOW = "display({'text/plain': %r}, raw=True)"


def shown(result):
    return [output["data"]["text/plain"] for output in result.outputs]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_what_was_displayed(home, start, store):
    """Other clients get it too: live, afterwards, and from the hub that comes after this one."""
    cluster = start(1, "--store", store)
    marker = os.path.join(home.work, "go")
    code = (f"import os, time\n{SHOW % 'first'}\n"
            f"while not os.path.exists({marker!r}): time.sleep(0.01)\n{SHOW % 'second'}")
    with pcluster.Client(cluster.file) as client, pcluster.Client(cluster.file) as other:
        result = client[0].execute(code)
        wait_until(lambda: not result.ready() and shown(result) == ["first"], "a display")
        fetched = other.get_result(names_of([result])[0])
        wait_until(lambda: not fetched.ready() and shown(fetched) == ["first"], "it at the other client")
        kill_hub(cluster)
        with open(marker, "w", encoding="ascii"):
            pass
        fetched.get(timeout=60)
        assert shown(fetched) == ["first", "second"]
        result.get()
    kill_hub(cluster)
    with pcluster.Client(cluster.file) as client:
        again = client.get_result(names_of([result])[0])
        again.get(timeout=60)
        assert again.outputs == result.outputs == again.metadata.outputs and shown(again) == ["first", "second"]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_too_much_output(start, store):
    """The first and the last MiB stay, and it is said how much is missing: also later and elsewhere."""
    cluster = start(1, "--store", store)
    with pcluster.Client(cluster.file) as client:
        result = client[0].execute(
            f"print('a' * 3_000_000 + 'z')\nfor n in range(9): {SHOW % ('x' * 400_000)}", block=True)
        kill_hub(cluster)
    with pcluster.Client(cluster.file) as client:
        fetched = client.get_result(names_of([result])[0])
        fetched.get(timeout=60)
    missing = 3_000_002 - 2 * (1024 * 1024 - 64)
    head, line, tail = fetched.stdout.split("\n", 2)
    assert line == f"[... {missing} bytes of output left out ...]"
    assert len(head) == len(tail) == 1024 * 1024 - 64 and tail.endswith("az\n")
    assert [text[:5] for text in shown(fetched)] == ["xxxxx", "xxxxx", "[... ", "xxxxx", "xxxxx"]


def test_a_client_that_left(start):
    """Its task goes on while there is no hub, and the result is there afterwards."""
    cluster = start(1)
    with pcluster.Client(cluster.file) as client:
        result = client[0].apply_async(__import__("time").sleep, 0.3)
        name = names_of([result])[0]
        old = cluster.pids()["hub"]
    os.kill(old, signal.SIGKILL)
    with pcluster.Client(cluster.file) as client:
        fetched = client.get_result(name)
        assert fetched.get(timeout=60) is None
        assert fetched.successful()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_large_result_of_a_client_that_left(home, start, store, is_killed):
    """It got the result, which is larger than what is remembered, and did not say so."""
    cluster = start(1, "--store", store)
    script = ("import os, pcluster\nar = pcluster.Client()[0].apply_async(bytes, 200_000)\n"
              "ar.wait()\nprint(ar.msg_ids[0], flush=True)\nos._exit(0)")
    name = run_script(script, home.work).strip()
    with pcluster.Client(cluster.file) as client:
        wait_until(lambda: client.db_query({"msg_id": name}, keys=["msg_id"]), "the task")
        if store == "sqlite":
            wait_until(lambda: cluster.status()["store"]["tasks"] == 1, "a commit")
        if is_killed:
            kill_hub(cluster)
        assert client.get_result(name).get(timeout=60) == bytes(200_000)
        assert cluster.status()["tasks"]["done"] == 1


def test_questions_wait(start):
    """One that is asked while there is no hub is answered by the next."""
    cluster = start(1)
    with pcluster.Client(cluster.file) as client:
        client[0].apply_sync(len, [])
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(len(client.hub_history())))
                   for _ in range(8)]
        os.kill(cluster.pids()["hub"], signal.SIGKILL)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [1] * 8


@pytest.mark.parametrize("store", ["sqlite", "none"])
def test_stores(start, store):
    """With a database everything is there as well, and once; without any, the cluster goes on."""
    cluster = start(2, "--store", store)
    with pcluster.Client(cluster.file) as client:
        view = client.load_balanced_view()
        results = [view.apply_async(pow, 3, i) for i in range(700)]
        client.wait(results[:600])
        kill_hub(cluster)
        assert [result.get() for result in results] == [3**i for i in range(700)]
        names = names_of(results) if store == "sqlite" else []
        assert sorted(client.hub_history()) == sorted(names)
        status = cluster.status()
        assert status["store"]["tasks"] == len(names)
        assert status["tasks"] == {"submitted": 700, "done": 700, "failed": 0, "pending": 0}
        assert sum(row["tasks_done"] for row in status["engines"]) == 700
        assert {row["state"] for row in status["engines"]} == {"idle"}
