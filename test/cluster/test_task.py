# SPDX-License-Identifier: BSD-3-Clause
"""What the hub remembers: queries, results of other clients, and the shell's view of them."""

import fnmatch
import json
import os
import pickle
import random
import signal
import threading

import pytest
from home import is_alive, wait_until
from shared import by_value, client, run_script, shared  # noqa: F401

import pcluster
from pcluster import error


@by_value
def double(x):
    return 2 * x


@by_value
def talk(text, seconds):
    import sys
    import time

    print(text, flush=True)
    print("and on stderr", file=sys.stderr, flush=True)
    time.sleep(seconds)
    print("done", flush=True)
    return len(text)


@by_value
def fail():
    raise ValueError("no such luck")


@pytest.fixture
def other(shared):
    """Another client."""
    with pcluster.Client(shared.file) as c:
        yield c


# ---- records --------------------------------------------------------------------------------------


def test_every_task_has_a_record(client, other):
    everyone, free = client[:], client.load_balanced_view()
    everyone.label = "each"
    direct = everyone.apply_async(double, 1)
    broadcast = client.broadcast_view().apply_async(double, 2)
    first = free.apply_async(double, 3)
    with free.temp_flags(after=first, label="second"):
        second = free.apply_async(double, 4)
    failed = client[0].apply_async(fail)
    for ar in (direct, broadcast, first, second):
        ar.get()
    with pytest.raises(pcluster.RemoteError):
        failed.get()
    wanted = direct.msg_ids + broadcast.msg_ids + first.msg_ids + second.msg_ids + failed.msg_ids
    assert other.hub_history()[-len(wanted):] == wanted
    rows = {row["msg_id"]: row for row in other.db_query({"msg_id": {"$in": wanted}})}
    for name, engine in zip(direct.msg_ids, client.engines):
        row = rows[name]
        assert (row["label"], row["queue"], row["kind"], row["status"]) == ("each", "mux", "apply", "ok")
        assert (row["engine_id"], row["engine_uuid"]) == (engine.id, engine.uuid)
        assert row["client_uuid"] == client.session
        assert row["submitted"] <= row["started"] <= row["completed"] <= row["received"]
        assert row["header"]["msg_type"] == "apply_request"
    row = rows[second.msg_ids[0]]
    assert (row["queue"], row["label"], row["after"]) == ("task", "second", first.msg_ids)
    row = rows[failed.msg_ids[0]]
    assert (row["status"], row["error"]) == ("error", "ValueError: no such luck")
    assert row["result_content"] == {"status": "error", "ename": "ValueError", "evalue": "no such luck"}


def test_output_and_source_are_in_the_record(client, other):
    ar = client[1].execute("print('out')\nimport sys\nsys.stderr.write('err')")
    ar.get()
    row = other.db_query({"msg_id": ar.msg_ids[0]}, ["stdout", "stderr", "execute_input", "kind"])[0]
    assert row == {"msg_id": ar.msg_ids[0], "stdout": "out\n", "stderr": "err", "kind": "execute",
                   "execute_input": "print('out')\nimport sys\nsys.stderr.write('err')"}
    assert "buffers" not in other.db_query({"msg_id": ar.msg_ids[0]})[0]


def test_keys_and_buffers(client, other):
    ar = client[0].apply_async(double, 21)
    ar.get()
    row = other.db_query({"msg_id": ar.msg_ids[0]}, "result_buffers")[0]
    assert set(row) == {"msg_id", "result_buffers"}
    assert pickle.loads(row["result_buffers"][0]) == 42
    row = other.db_query({"msg_id": ar.msg_ids[0]}, ["buffers", "header"])[0]
    assert len(row["buffers"]) == 2 and row["header"]["session"] == client.session


def test_questions_that_make_no_sense(client):
    for query, keys, text in [
        ({"colour": 1}, None, "tasks have no 'colour'"),
        ({"label": {"$like": "x"}}, None, "unknown operator '$like'"),
        ({"label": {"$in": "x"}}, None, "takes a list"),
        ({"engine_id": {"$mod": [0, 1]}}, None, "the first not 0"),
        ({"label": {"$exists": 1}}, None, "true or false"),
        ({}, ["colour"], "tasks have no 'colour'"),
    ]:
        with pytest.raises(error.ControllerError, match=text.replace("$", r"\$")):
            client.db_query(query, keys)


# ---- operators against plain Python ------------------------------------------------------------------


def comparable(a, b):
    number = (int, float)
    return (isinstance(a, number) and isinstance(b, number)) or (isinstance(a, str) and isinstance(b, str))


def equal(value, operand):
    if isinstance(value, list):
        return value == operand if isinstance(operand, list) else operand in value
    return value == operand


PLAIN = {
    "$eq": equal,
    "$ne": lambda v, x: not equal(v, x),
    "$lt": lambda v, x: comparable(v, x) and v < x,
    "$gt": lambda v, x: comparable(v, x) and v > x,
    "$lte": lambda v, x: comparable(v, x) and v <= x,
    "$gte": lambda v, x: comparable(v, x) and v >= x,
    "$in": lambda v, xs: any(equal(v, x) for x in xs),
    "$nin": lambda v, xs: not any(equal(v, x) for x in xs),
    "$all": lambda v, xs: v is not None and all(equal(v, x) for x in xs),
    "$mod": lambda v, x: isinstance(v, int) and v % x[0] == x[1],
    "$exists": lambda v, x: (v is not None) == x,
    "$glob": lambda v, x: isinstance(v, str) and fnmatch.fnmatchcase(v, x),
}
FIELDS = ["msg_id", "client_uuid", "engine_id", "engine_uuid", "queue", "kind", "label", "state", "status",
          "submitted", "started", "completed", "request_bytes", "result_bytes", "after", "follow", "error",
          "stdout", "execute_input"]


def plain_filter(rows, query):
    return [row["msg_id"] for row in rows if all(
        PLAIN[name](row[field], operand)
        for field, conditions in query.items()
        for name, operand in (conditions if isinstance(conditions, dict) else {"$eq": conditions}).items())]


def random_value(chance, rows, field):
    value = chance.choice(rows)[field]
    other = chance.choice([None, -1, 3, "", "apply", "zz"])
    return chance.choice([value, value, other])


def random_operand(chance, name, rows, field):
    if name in ("$in", "$nin", "$all"):
        values = [random_value(chance, rows, field) for _ in range(chance.randrange(4))]
        return [value for value in values if not isinstance(value, list)]
    if name == "$mod":
        return [chance.choice([-5, -2, 1, 2, 3, 7]), chance.choice([-1, 0, 1, 2])]
    if name == "$exists":
        return chance.random() < 0.5
    if name == "$glob":
        text = str(random_value(chance, rows, field))[:30]
        for _ in range(chance.randrange(3)):
            at = chance.randrange(len(text) + 1)
            piece = chance.choice(["*", "?", "[a-m]", "[!x]", "[", "]", "ö"])
            text = text[:at] + piece + text[at + chance.randrange(2):]
        return text
    return random_value(chance, rows, field)


def some_tasks(c):
    free = c.load_balanced_view()
    made = []
    for index, label in enumerate(["alpha", "beta", "b*ta", "äöü", None, "alpha"] * 5):
        free.label = label
        with free.temp_flags(after=made[-1] if made and index % 3 == 0 else None):
            made.append(free.apply_async(double, "x" * index))
    made.append(c[:].execute("print('some output', flush=True)"))
    made.append(c[1].apply_async(fail))
    made.append(c[2].push({"a": 1}))
    made.append(c[2].pull("a"))
    for ar in made:
        ar.wait()


@pytest.mark.parametrize("seed", range(4))
def test_operators_are_those_of_plain_python(client, other, seed):
    some_tasks(client)
    chance = random.Random(seed)
    rows = other.db_query({"client_uuid": client.session}, FIELDS)
    for row in rows:  # as the hub compares them
        for name in ("submitted", "started", "completed"):
            row[name] = None if row[name] is None else round(row[name].timestamp() * 1e6)
    tried, matched = 0, set()
    for _ in range(400):
        query = {"client_uuid": client.session}
        for field in chance.sample(FIELDS, chance.choice([1, 1, 1, 2, 3])):
            name = chance.choice(list(PLAIN))
            operand = random_operand(chance, name, rows, field)
            query[field] = {name: operand} if chance.random() < 0.9 or isinstance(operand, dict) else operand
            if field == "client_uuid" or not isinstance(query[field], dict) and name not in ("$eq",):
                query[field] = {name: operand}
        if "client_uuid" in query and isinstance(query["client_uuid"], dict):
            query["msg_id"] = {"$glob": client.session + "_*"}
        found = [row["msg_id"] for row in other.db_query(query, "msg_id")]
        assert found == plain_filter(rows, query), query
        tried += 1
        if 0 < len(found) < len(rows):
            matched.update(name for c in query.values() if isinstance(c, dict) for name in c)
    assert matched >= {"$eq", "$ne", "$lt", "$gt", "$in", "$nin", "$glob", "$exists"}


def test_datetimes_are_compared(client, other):
    first = client[0].apply_async(double, 1)
    first.get()
    second = client[0].apply_async(double, 2)
    second.get()
    when = other.db_query({"msg_id": second.msg_ids[0]}, "submitted")[0]["submitted"]
    mine = {"client_uuid": client.session}
    assert [r["msg_id"] for r in other.db_query({**mine, "submitted": {"$lt": when}}, "msg_id")] == first.msg_ids
    assert [r["msg_id"] for r in other.db_query({**mine, "submitted": {"$gte": when}}, "msg_id")] == second.msg_ids


def test_questions_come_in_pages(client, other):
    results = client.load_balanced_view().map_async(double, range(6000))
    results.get()
    wanted = results.msg_ids
    assert [r["msg_id"] for r in other.db_query({"client_uuid": client.session}, "msg_id")] == wanted
    assert other.hub_history()[-6000:] == wanted


# ---- results of others ----------------------------------------------------------------------------------


def test_a_result_of_another_client(client, other):
    ar = client[0].apply_async(talk, "hello", 0)
    assert ar.get() == 5
    got = other.get_result(ar.msg_ids[0])
    assert isinstance(got, pcluster.AsyncHubResult)
    assert (got.get(), got.stdout, got.stderr) == (5, "hello\ndone\n", "and on stderr\n")
    assert got.msg_ids == ar.msg_ids and got.metadata.engine_id == 0
    assert got.successful() and got.done() and len(got) == 1 and got.progress == 1
    assert got.wall_time >= got.serial_time > 0
    assert other.get_result(ar.msg_ids).get() == [5]
    assert other.history == []


def test_errors_of_another_client(client, other):
    ar = client[1].apply_async(fail)
    ar.wait()
    with pytest.raises(pcluster.RemoteError, match="no such luck"):
        other.get_result(ar.msg_ids[0]).get()


def test_metadata_of_what_nobody_holds(client, other):
    """It is found as long as the hub has it: from here, and from another client."""
    with client[1].temp_flags(label="blocking") as view:
        assert view.apply_sync(talk, "hello", 0) == 5
        with pytest.raises(pcluster.RemoteError):
            view.apply_sync(fail)
    for known in (client.metadata, other.metadata):
        done, failed = (known[name] for name in view.history)
        assert (done.status, done.engine_id, done.label, done.stdout) == ("ok", 1, "blocking", "hello\ndone\n")
        assert done.submitted < done.started < done.completed and done.error is None
        assert (failed.status, repr(failed.error)) == ("error", "<RemoteError[1]:ValueError(no such luck)>")
        assert view.history[0] in known and "nonsense" not in known
    got = other.get_result(view.history[1])
    got.wait()
    assert "raise ValueError" in got.metadata.error.traceback


def test_a_result_that_is_not_there_yet(client, other):
    ar = client[0].apply_async(talk, "working", 1.0)
    running = {"msg_id": ar.msg_ids[0], "state": "running"}
    wait_until(lambda: other.db_query(running), "its start")
    got = other.get_result(ar.msg_ids[0])
    wait_until(lambda: not got.ready() and got.stdout, "output while it runs")
    assert got.stdout == "working\n"
    assert got.metadata.submitted is not None and got.metadata.status is None
    done = threading.Event()
    got.add_done_callback(lambda _: done.set())
    assert got.get(timeout=60) == 7
    assert done.wait(60)
    assert got.stdout == "working\ndone\n"


def test_a_numbered_execution_of_another_client(client, other):
    ar = client[0].execute("6 * 7", silent=False)
    ar.get()
    got = other.get_result(ar.msg_ids[0]).get()
    assert got.data["text/plain"] == "42"
    assert other.db_query({"msg_id": ar.msg_ids[0]}, "execute_result")[0]["execute_result"]["text/plain"] == "42"


def test_a_large_result_is_not_kept_while_its_client_has_it(client, other):
    ar = client[0].apply_async(by_value(lambda n: bytes(n)), 3_000_000)
    assert len(ar.get()) == 3_000_000
    with pytest.raises(error.ResultNotKept, match="has 3000[0-9]* bytes"):
        other.get_result(ar.msg_ids[0]).get()


def test_unknown_tasks(client):
    with pytest.raises(KeyError, match="no such task: 0000000000000001_7"):
        client.get_result("0000000000000001_7")
    with pytest.raises(KeyError):
        client.result_status(["0000000000000001_7"])
    with pytest.raises(KeyError):
        client.resubmit("0000000000000001_7")


def test_result_status(client, other):
    done = client[0].apply_async(double, 4)
    done.get()
    pending = client[1].apply_async(talk, "wait", 1.0)
    wait_until(lambda: pending.msg_ids[0] in other.hub_history(), "the record")
    names = done.msg_ids + pending.msg_ids
    assert other.result_status(names) == {"pending": pending.msg_ids, "completed": done.msg_ids}
    assert other.result_status(names, status_only=False)[done.msg_ids[0]] == 8
    pending.wait()
    assert other.result_status(names)["completed"] == names
    failed = client[0].apply_async(fail)
    failed.wait()
    with pytest.raises(pcluster.RemoteError):
        other.result_status(failed.msg_ids, status_only=False)


def test_abort_of_another_clients_task(client, other):
    client[0].apply_async(talk, "first", 0.5)
    waiting = client[0].apply_async(double, 1)
    client.status()  # with the question goes what still waits for company
    other.get_result(waiting.msg_ids[0]).abort()
    with pytest.raises(error.TaskAborted):
        waiting.get()


# ---- again, and no more -----------------------------------------------------------------------------------


def test_resubmit(client, other):
    ar = client.load_balanced_view().map_async(double, range(3), chunksize=1)
    ar.get()
    one = other.resubmit(ar.msg_ids[2])
    assert one.get() == 4
    assert one.msg_ids[0] not in ar.msg_ids and one.msg_ids[0].startswith(other.session)
    assert other.resubmit(ar.msg_ids).get() == [0, 2, 4]
    row = client.db_query({"msg_id": ar.msg_ids[2]}, "resubmitted")[0]
    assert row["resubmitted"].startswith(other.session)
    assert len(other.history) == 4


def test_purge(client, other):
    ar = client[:].apply_async(double, 1)
    ar.get()
    first, *rest = ar.msg_ids
    other.purge_hub_results(first)
    assert other.db_query({"client_uuid": client.session}, "msg_id") == [{"msg_id": name} for name in rest]
    other.purge_hub_results(targets=1)
    assert other.db_query({"client_uuid": client.session, "engine_id": 1}) == []
    pending = client[0].apply_async(talk, "wait", 0.5)
    wait_until(lambda: pending.msg_ids[0] in other.hub_history(), "the record")
    with pytest.raises(error.ControllerError, match="is pending"):
        other.purge_hub_results(pending.msg_ids)
    with pytest.raises(error.ControllerError, match="no such task"):
        other.purge_hub_results(first)
    with pytest.raises(ValueError):
        other.purge_hub_results()
    other.purge_hub_results("all")
    assert other.hub_history() == pending.msg_ids
    pending.wait()
    client.purge_everything()
    assert client.hub_history() == [] and client.history == []


# ---- the collaborator ---------------------------------------------------------------------------------------


JOB = """
import sys, pcluster
def work(i):
    import time
    print("step", i, flush=True)
    time.sleep(0.3)
    return bytes(100_000) + bytes([i])
client = pcluster.Client(sys.argv[1] if len(sys.argv) > 1 else None)
view = client.load_balanced_view()
view.label = "overnight"
view.map_async(work, range(6), chunksize=1)
"""


def test_one_submits_and_goes_away_another_pulls_the_results(home, start):
    cluster = start(2)
    run_script(JOB, home.work)  # its client is gone when this returns
    with pcluster.Client(cluster.file) as c:
        names = [row["msg_id"] for row in c.db_query({"label": "overnight"}, "msg_id")]
        assert len(names) == 6
        got = c.get_result(names)
        wait_until(lambda: got.wait(0) or got.progress, "progress")
        results = got.get(timeout=60)
        assert [part[-1] for part in results] == list(range(6)) and len(results[0]) == 100_001
        assert sorted(got.stdout) == [f"step {i}\n" for i in range(6)]
        listed = json.loads(cluster.run("task", "list", "--label", "overnight", "--json").stdout)
        assert sorted(row["msg_id"] for row in listed) == sorted(names)
        told = json.loads(cluster.run("task", "result", "--wait", "--json", names[3]).stdout)
        assert told["stdout"] == "step 3\n" and told["repr"].endswith("\\x03'")
        # The engines were told that they may forget them: they go on.
        assert c[:].apply_sync(double, 4) == [8, 8]


def test_engines_forget_results_that_the_hub_has(home, start):
    """An engine with 64 MiB of results that nobody has acknowledged starts nothing more."""
    cluster = start(1)
    run_script("""
import pcluster
client = pcluster.Client()
client.load_balanced_view().map_async(lambda i: bytes(8_000_000), range(20), chunksize=1)
""", home.work)
    with pcluster.Client(cluster.file) as c:
        wait_until(lambda: c.result_status(c.hub_history())["pending"] == [], "all of them")
        assert c[0].apply_sync(double, 1) == 2
        assert len(c.get_result(c.hub_history()[0]).get()) == 8_000_000


# ---- from the shell ----------------------------------------------------------------------------------------


def test_commands(start):
    cluster = start(2)
    with pcluster.Client(cluster.file) as c:
        view = c.load_balanced_view()
        view.label = "shown"
        done = view.apply_async(talk, "hello", 0)
        done.get()
        failed = c[0].apply_async(fail)
        failed.wait()
        name = done.msg_ids[0]
        listed = json.loads(cluster.run("task", "list", "--json").stdout)
        assert [row["msg_id"] for row in listed] == failed.msg_ids + done.msg_ids
        assert listed[1]["label"] == "shown" and listed[0]["state"] == "failed"
        text = cluster.run("task", "list", "--label", "sh*").stdout
        assert name in text and failed.msg_ids[0] not in text
        assert cluster.run("task", "list", "--state", "waiting").stdout == "no tasks\n"
        shown = json.loads(cluster.run("task", "show", name, "--json").stdout)
        assert shown["stdout"] == "hello\ndone\n"
        assert "stdout" in cluster.run("task", "show", name).stdout
        result = cluster.run("task", "result", name)
        assert (result.returncode, result.stdout) == (0, "hello\ndone\n5\n")
        assert result.stderr == "and on stderr\n"
        result = cluster.run("task", "result", *failed.msg_ids)
        assert result.returncode == 1 and "ValueError: no such luck" in result.stderr
        told = json.loads(cluster.run("task", "result", "--json", name).stdout)
        assert told == {"msg_id": name, "status": "ok", "stdout": "hello\ndone\n", "stderr": "and on stderr\n",
                        "repr": "5"}
        result = cluster.run("task", "result", "--json", *failed.msg_ids)
        told = json.loads(result.stdout)
        assert result.returncode == 1 and (told["status"], told["repr"]) == ("error", None)
        assert (told["error"]["ename"], told["error"]["evalue"]) == ("ValueError", "no such luck")
        assert cluster.run("task", "purge", name).stdout == "1 tasks forgotten\n"
        for words, code, text in [
            (["show", name], 1, "the hub knows no task"),
            (["result", name], 1, "NoSuchTask: the hub knows no task"),
            (["result", "x"], 2, "is not the id of a task"),
            (["result", "--raw", "--json", name], 2, "exclude each other"),
            (["purge"], 2, "name tasks, or say --all"),
            (["fly"], 2, "no such command: 'fly'"),
            ([], 2, "usage: "),
        ]:
            done = cluster.run("task", *words)
            assert (done.returncode, text in done.stderr) == (code, True), done
        assert cluster.run("task", "purge", "--all", "--json").stdout == '{"purged": 1}\n'


def test_result_waits(start):
    cluster = start(1)
    with pcluster.Client(cluster.file) as c:
        ar = c[0].apply_async(talk, "slow", 3)
        early = cluster.run("task", "result", *ar.msg_ids)
        assert early.returncode == 1 and "has not ended" in early.stderr and early.stdout == "slow\n"
        late = cluster.run("task", "result", "--wait", *ar.msg_ids)
        assert (late.returncode, late.stdout) == (0, "slow\ndone\n4\n")


# ---- stores -----------------------------------------------------------------------------------------------


def store_of(cluster):
    return cluster.status()["store"]


def test_the_next_cluster_finds_what_sqlite_has(start):
    cluster = start(1, "--store", "sqlite")
    with pcluster.Client(cluster.file) as c:
        view = c.load_balanced_view()
        view.label = "kept"
        small = view.apply_async(talk, "hello", 0)
        assert small.get() == 5
        name = small.msg_ids[0]
    run_script("""
import pcluster
def work(pid):
    import os, time
    while os.path.exists(f"/proc/{pid}"):  # until its client is gone
        time.sleep(0.01)
    return bytes(3_000_000)
import os
pcluster.Client().load_balanced_view().apply_async(work, os.getpid())
""", cluster.home.work)
    with pcluster.Client(cluster.file) as c:
        large = c.hub_history()[-1]
        assert len(c.get_result(large).get(timeout=60)) == 3_000_000
    assert cluster.end()[0] == 0
    again = start(1, "--store", "sqlite")
    with pcluster.Client(again.file) as c:
        got = c.get_result(name)
        assert (got.get(), got.stdout, got.metadata.label) == (5, "hello\ndone\n", "kept")
        assert len(c.get_result(large).get()) == 3_000_000
        assert c.resubmit(name).get() == 5
        assert [row["msg_id"] for row in c.db_query({"label": "kept"}, "msg_id")][0] == name
        c.purge_everything()
        assert c.hub_history() == []


def test_a_hub_that_is_killed_leaves_a_good_file(start):
    cluster = start(2, "--store", "sqlite")
    with pcluster.Client(cluster.file) as c:
        c.load_balanced_view().map_sync(double, range(3000), chunksize=1)
        wait_until(lambda: store_of(cluster)["tasks"] >= 3000, "records")
        more = c.load_balanced_view().map_async(double, range(3000), chunksize=1)
        os.kill(cluster.pids()["hub"], signal.SIGKILL)
        more.get()
    code, _, err = cluster.end()
    assert code == 0 and "does not end" not in err
    again = start(1, "--store", "sqlite")
    with pcluster.Client(again.file) as c:
        found = c.db_query({}, ["state"])
        assert len(found) == 6000 and {row["state"] for row in found} == {"done"}


def test_a_hub_that_dies_at_the_end_is_replaced(start):
    """The engines have left, and the scheduler has only to tell the hub what it does not know yet."""
    cluster = start(1, "--store", "sqlite")
    hub, nursery = cluster.pids()["hub"], cluster.nursery()
    with pcluster.Client(cluster.file) as c:
        os.kill(hub, signal.SIGSTOP)
        c.load_balanced_view().map_sync(double, range(3000), chunksize=1)
    cluster.process.send_signal(signal.SIGINT)
    wait_until(lambda: not is_alive(nursery), "end of the nursery")
    os.kill(hub, signal.SIGKILL)
    code, _, err = cluster.wait()
    assert code == 0 and "does not end" not in err and "was not there" not in err
    again = start(1, "--store", "sqlite")
    with pcluster.Client(again.file) as c:
        assert len(c.db_query({"state": "done"}, ["state"])) == 3000


@pytest.mark.parametrize("spoil, text", [
    (lambda path: os.mkdir(path), "unable to open database file"),
    (lambda path: open(path, "w").write("no database at all, " * 1000), "file is not a database"),
])
def test_a_database_that_can_not_be_used_stops_nobody(home, start, spoil, text):
    folder = os.path.join(home.profiles, "profile_default")
    os.makedirs(folder, 0o700)
    spoil(os.path.join(folder, "tasks.db"))
    cluster = start(1, "--store", "sqlite")
    with pcluster.Client(cluster.file) as c:
        assert c[0].apply_sync(double, 4) == 8
        assert c.get_result(c.hub_history()[0]).get() == 8
        store = store_of(cluster)
        assert store["kind"] == "memory" and text in store["trouble"] and folder in store["trouble"]
    assert text in cluster.run("status").stdout
    assert text in cluster.end()[2]


def test_limits(start):
    cluster = start(1, "--store-tasks", 20, "--store-bytes", "1M", "--keep-bytes", "100K")
    with pcluster.Client(cluster.file) as c:
        view = c.load_balanced_view()
        results = view.map_async(by_value(lambda n: bytes(n)), [90_000] * 15, chunksize=1)
        results.get()
        first = results.msg_ids[0]
        with pytest.raises(error.ResultNotKept, match="dropped to stay within the limits"):
            pcluster.Client(cluster.file).get_result(first).get()
        view.map_sync(double, range(20), chunksize=1)
        assert len(c.hub_history()) == 20
        with pytest.raises(KeyError):
            pcluster.Client(cluster.file).get_result(first)
    store = store_of(cluster)
    assert store["tasks"] == 20 and store["limit_bytes"] == 1 << 20 and store["dropped_tasks"] >= 15
    assert "memory: 20 of 20 tasks" in cluster.run("status").stdout


def test_nothing_is_remembered(start):
    cluster = start(1, "--store", "none")
    with pcluster.Client(cluster.file) as c:
        ar = c[0].apply_async(double, 4)
        assert ar.get() == 8
        assert c.hub_history() == []
        assert "NoSuchTask" in cluster.run("task", "result", *ar.msg_ids).stderr
        run_script("import pcluster\npcluster.Client()[0].apply_async(lambda: 1)", cluster.home.work)
        assert c[0].apply_sync(double, 1) == 2


def test_very_many_ids_in_one_query(start):
    start(2, "--store", "sqlite")
    with pcluster.Client() as client:
        result = client.load_balanced_view().map(abs, range(10_000), block=False)
        assert result.wait(60)
        ids = list(result.msg_ids)
        some = ids[1:] + ["0123456789abcdef_1", "no id", 7, ids[5]]
        rows = client.db_query({"msg_id": {"$in": some}}, ["msg_id", "status"])
        assert [row["msg_id"] for row in rows] == ids[1:]
        assert client.db_query({"msg_id": {"$in": some}, "status": "error"}, ["msg_id"]) == []
        assert client.db_query({"msg_id": {"$in": some, "$ne": ids[1]}}, ["msg_id"])[0] == {"msg_id": ids[2]}
        # No row matches, so a page has none.
        assert client.db_query({"label": {"$in": ids}}, ["msg_id"]) == []
