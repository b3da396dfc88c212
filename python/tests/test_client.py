# SPDX-License-Identifier: BSD-3-Clause
"""The client against a make-believe controller: connecting, engines, waiting, ending."""

import concurrent.futures
import gc
import json
import os
import subprocess
import sys
import threading
import warnings
import weakref

import pytest

import pcluster
from fake import PYTHON
from pcluster import error
from pcluster.client.connection import warn_of_other_host


def run_python(*args, **env):
    """Output of a plain python3 that runs some code."""
    done = subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=60,
        env={**os.environ, **env},
    )
    return done


# ---- connecting -------------------------------------------------------------------------------


def test_connects_by_path_dict_and_url_file(controller):
    for given in (controller.path, controller.info):
        with pcluster.Client(given) as c:
            assert c.ids == [0, 1, 2, 3]
    with pcluster.Client(url_file=controller.path) as c:
        assert c.profile == "fake" and c.cluster_id == "" and len(c.session) == 16
        assert c.info["controller_pid"] == os.getpid()
        assert "fake" in repr(c)
    assert repr(c) == "<Client: closed>"


def test_connects_by_profile_dir(controller, folder):
    security = os.path.join(folder, "security")
    os.makedirs(security, mode=0o700)
    os.chmod(folder, 0o700)
    os.rename(controller.path, os.path.join(security, "pcluster-client.json"))
    with pcluster.Client(profile_dir=folder) as c:
        assert len(c) == 4


def test_accepts_what_means_nothing_here(controller):
    with pcluster.Client(controller.path, context=object(), ipython_dir="x", key=b"k", packer="json") as c:
        assert len(c) == 4


def test_localhost_of_another_host():
    """The address works, but is hardly the one that was meant."""
    import socket

    here = {"address": "tcp://127.0.0.1:5", "location": socket.gethostname()}
    for harmless in (here, {**here, "location": ""}, {"address": "unix:/s", "location": "elsewhere"},
                     {"address": "tcp://10.0.0.7:5", "location": "elsewhere"}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_other_host(harmless)
    with pytest.warns(RuntimeWarning, match="host elsewhere"):
        warn_of_other_host({**here, "location": "elsewhere"})


def test_url_is_refused():
    with pytest.raises(ValueError, match="tcp://127.0.0.1:5 is a URL"):
        pcluster.Client("tcp://127.0.0.1:5")


def test_passwords_are_for_ssh_to_ask(controller):
    with pytest.raises(NotImplementedError, match="ssh asks for it"):
        pcluster.Client(controller.path, sshserver="host", password="secret")


def test_unknown_transport(controller):
    with pytest.raises(ValueError, match="'any', 'unix' or 'tcp'"):
        pcluster.Client(controller.path, transport="pigeon")


def test_missing_file_is_waited_for(controller, folder, capsys):
    late = os.path.join(folder, "late.json")
    threading.Timer(0.3, os.rename, (controller.path, late)).start()
    with pcluster.Client(late, timeout=30) as c:
        assert len(c) == 4
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "waiting up to 30 s" in said and late in said


@pytest.mark.parametrize("limit", [None, -1])
def test_missing_file_is_waited_for_without_limit(controller, folder, capsys, limit):
    late = os.path.join(folder, "late.json")
    threading.Timer(0.3, os.rename, (controller.path, late)).start()
    with pcluster.Client(late, timeout=limit) as c:
        assert len(c) == 4
    assert "waiting for a cluster" in capsys.readouterr().err


def test_missing_file_is_an_error_in_the_end(folder, capsys):
    path = os.path.join(folder, "none.json")
    with pytest.raises(OSError, match="none.json") as info:
        pcluster.Client(path, timeout=0)
    assert isinstance(info.value, error.ConnectionFileNotFound)
    assert capsys.readouterr().err == ""


def test_missing_profile(folder, monkeypatch):
    monkeypatch.setenv("PCLUSTER_DIR", folder)
    with pytest.raises(FileNotFoundError, match="no profile 'away'.*pcluster start"):
        pcluster.Client(profile="away", timeout=0)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": 1}', "\0\0", '{"version": 99}'])
def test_bad_file(folder, text):
    path = os.path.join(folder, "bad.json")
    with open(path, "w", opener=lambda p, f: os.open(p, f, 0o600)) as file:
        file.write(text)
    with pytest.raises(error.BadConnectionFile, match="bad.json"):
        pcluster.Client(path, timeout=0)


def test_folder_as_file(folder):
    with pytest.raises((error.BadConnectionFile, OSError), match=folder):
        pcluster.Client(folder, timeout=0)


def test_engine_file(controller):
    with pytest.raises(error.WrongRole, match="engine"):
        pcluster.Client({**controller.info, "role": "engine"}, timeout=1)


def test_stale_file(controller):
    controller.close()
    os.unlink(controller.info["unix"])
    with pytest.raises(error.ConnectFailed) as info:
        pcluster.Client(controller.path, timeout=2)
    assert controller.info["unix"] in str(info.value) or "127.0.0.1:1" in str(info.value)


# ---- engines ----------------------------------------------------------------------------------


def test_ids_is_a_new_sorted_list(client):
    ids = client.ids
    ids.append(99)
    assert client.ids == [0, 1, 2, 3] and len(client) == 4


def test_engines_come_and_go(controller, client):
    controller.arrive(7)
    client.wait_for_engines(5, timeout=30)
    assert client.ids == [0, 1, 2, 3, 7]
    late = client.direct_view()
    controller.depart(1)
    client._wait_until(lambda: len(client) == 4, 30)
    assert client.ids == [0, 2, 3, 7] and len(late) == 4
    with pytest.raises(IndexError, match="no engine 1; the engines are \\[0, 2, 3, 7\\]"):
        client[1]


def test_engines_describe_themselves(controller, client):
    engine = client.engines[2]
    assert (engine.id, engine.pid, engine.host, engine.python) == (2, 1002, "here", PYTHON)
    assert repr(engine) == f"<Engine 2 on here, pid 1002, Python {PYTHON}>"
    assert engine.tags == frozenset()
    controller.arrive(9, tags="big,gpu")
    client.wait_for_engines(5, timeout=30)
    assert client.engines[-1].tags == {"gpu", "big"}
    assert repr(client.engines[-1]).endswith(", tags big, gpu>")


@pytest.mark.parametrize(
    "key, targets",
    [
        (0, 0),
        (3, 3),
        (-1, 3),
        (-4, 0),
        (slice(None), [0, 1, 2, 3]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, 2), [0, 2]),
        (slice(-1, None, -1), [3, 2, 1, 0]),
        ([3, 1], [3, 1]),
        ([2], [2]),
        ((0, 2), [0, 2]),
        (range(2), [0, 1]),
        ([-1], [3]),
    ],
)
def test_indexing(client, key, targets):
    assert client[key].targets == targets


@pytest.mark.parametrize("key", [4, -5, [0, 9]])
def test_unknown_engine(client, key):
    with pytest.raises(IndexError):
        client[key]


@pytest.mark.parametrize("key", ["all", 1.0, None, {0}, b"x"])
def test_wrong_index(client, key):
    with pytest.raises(TypeError):
        client[key]


@pytest.mark.parametrize("key", ["some", 1.5, object(), [1.5], [True]])
def test_wrong_targets(client, key):
    with pytest.raises(TypeError):
        client.direct_view(key)


def test_iteration(client):
    assert [view.targets for view in client] == [0, 1, 2, 3]


def test_build_targets(client):
    assert client._build_targets([2, 0]) == ([f"{2:032x}", f"{0:032x}"], [2, 0])
    assert client._build_targets(1)[1] == [1]
    assert client._build_targets(None)[1] == [0, 1, 2, 3]


def test_no_engines(make):
    with pcluster.Client(make(engines=0).path) as c:
        assert c.ids == [] and len(c[:]) == 0
        for call in (
            lambda: c[:].apply_sync(int),
            lambda: c.direct_view().apply_sync(int),
            lambda: c.load_balanced_view().apply_sync(int),
            lambda: c.direct_view("all").push({"a": 1}),
        ):
            with pytest.raises(error.NoEnginesRegistered):
                call()


# ---- waiting ----------------------------------------------------------------------------------


def test_wait_for_engines(controller, client, capsys):
    client.wait_for_engines(4)
    with pytest.raises(TimeoutError, match="4 of 5 engines"):
        client.wait_for_engines(5, timeout=0.05)
    with pytest.raises(TypeError):
        client.wait_for_engines()
    future = client.wait_for_engines(5, block=False)
    assert not future.done()
    controller.arrive(4)
    assert future.result(30) is None
    client.wait_for_engines(5, interactive=True)
    assert "5/5" in capsys.readouterr().err


def test_wait_interactive(controller, client, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    controller.hold()
    ar = client[:].apply_async(int)
    assert client.wait_interactive(interval=0.01, timeout=0.03) is False
    assert "tasks: 0/4 in " in capsys.readouterr().err
    controller.release()
    assert client.wait_interactive([ar, *ar.msg_ids], interval=0.01) is True
    assert "tasks: 5/5 in " in capsys.readouterr().err
    assert client.wait_interactive() is True


def test_former_names(client):
    for call in (client.spin, client.spin_thread, client.stop_spin_thread):
        with pytest.warns(DeprecationWarning):
            call()
    ar = client.send_apply_request(None, pow, [2, 3], metadata={"label": "low"})
    assert ar.get() == 8 and ar.label == "low"
    assert client.send_apply_request(None, dict, kwargs={"a": 1}, ident=client._build_targets(2)[0][0]).engine_id == 2
    assert client.send_execute_request(None, "1", silent=False, ident=1).get().source == 1
    with pytest.raises(IndexError):
        client.send_apply_request(None, int, ident=99)
    with pytest.raises(TypeError, match="ident"):
        client.send_execute_request(None, "1")


def test_outstanding_by_engine(controller, client):
    controller.hold()
    ar = client[1].apply_async(int)
    balanced = client.load_balanced_view().apply_async(int)
    uuid = client._build_targets(1)[0][0]
    assert client._outstanding_dict == {uuid: set(ar.msg_ids), "": set(balanced.msg_ids)}


def test_wait_for_everything(controller, client):
    assert client.wait(timeout=0)
    controller.hold()
    client[:].apply_async(int)
    client.load_balanced_view().apply_async(int)
    assert not client.wait(timeout=0.02)
    assert len(client.outstanding) == 5
    controller.release()
    assert client.wait(timeout=30)
    assert client.outstanding == set()


def test_wait_for_jobs(controller, client):
    controller.hold()
    ar = client[0].apply_async(int)
    other = client[1].apply_async(int)
    foreign = concurrent.futures.Future()
    for job in (ar, ar.msg_ids[0], -1, [ar, other], [ar.msg_ids[0], 1], foreign, [foreign]):
        assert not client.wait(job, timeout=0.01)
    controller.release()
    foreign.set_result(1)
    for job in (ar, ar.msg_ids[0], -1, [ar, other], [ar.msg_ids[0], 1], foreign, [ar, foreign], []):
        assert client.wait(job, timeout=30)
    with pytest.raises(KeyError):
        client.wait("nonsense")
    with pytest.raises(IndexError):
        client.wait(55)
    for job in ([1.5], 1.5):
        with pytest.raises(TypeError, match="can't wait for 1.5"):
            client.wait(job)


def test_history(client):
    view, other = client[0], client[1:3]
    first = view.apply_async(int)
    second = other.apply_async(int)
    view.apply_sync(int)
    third = view.apply_async(int)
    client.wait(timeout=30)
    assert client.history == [*client.history[:1], *second.msg_ids, *view.history[1:]]
    assert first.msg_ids == view.history[:1] and third.msg_ids == view.history[-1:]
    assert len(view.history) == 3 and other.history == second.msg_ids
    assert len(set(client.history)) == 5


def test_history_is_bounded(client, monkeypatch):
    import collections

    client._log = collections.deque(maxlen=3)
    views = [client[0], client[1]]
    for i in range(10):
        views[i % 2].apply_sync(int)
    assert len(client.history) == 3


# ---- threads ----------------------------------------------------------------------------------


def test_threads_share_a_client(client):
    view = client[:]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda n: view.apply_sync(lambda x: x + 1, n), range(200)))
    assert sums == [[n + 1] * 4 for n in range(200)]


def test_threads_share_everything(client):
    """Views of each kind, and what the client remembers, under one client."""
    views = [client[:], client.load_balanced_view(), client.broadcast_view(), client[1]]

    def use(n):
        ar = views[n % 4].apply_async(lambda x: x, n)
        again = client.get_result(ar.msg_ids)
        client[n % 4].push({f"name{n}": n}, block=True)
        assert again.get() == [n] * len(again) and set(ar.msg_ids) <= set(client.history)
        assert client.metadata[ar.msg_ids[0]].status == "ok"
        views[n % 4].apply_async(int)  # and nobody looks
        return ar.get() if n % 2 == 0 and n % 4 else n

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert len(list(pool.map(use, range(300)))) == 300
    assert client.wait(timeout=60) and client.outstanding == set()
    assert len(client.results) == 75 * (4 + 1 + 4 + 1)


def test_close_while_other_threads_wait(controller, client):
    controller.hold()
    started = threading.Barrier(4)
    outcomes = []

    def work():
        ar = client[0].apply_async(int)
        started.wait()
        try:
            ar.get()
        except Exception as e:
            outcomes.append(e)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    client.close()
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == 3 and all(isinstance(e, error.ClientClosed) for e in outcomes)
    assert all(isinstance(e, OSError) for e in outcomes)


def test_synchronous_calls_start_no_thread(client):
    client[0].apply_sync(int)
    client[:]["a"] = 1
    client[:].map_sync(abs, range(4))
    assert client._background is None


def test_background_thread_ends_with_the_client(controller):
    c = pcluster.Client(controller.path)
    c[0].apply_async(int).get()
    thread = c._background
    assert thread.is_alive() and thread.daemon
    c.close()
    thread.join(30)
    assert not thread.is_alive()


def test_forgotten_client_is_closed(controller):
    c = pcluster.Client(controller.path)
    c[0].apply_async(int).get()
    thread, watch = c._background, weakref.ref(c)
    del c
    gc.collect()
    assert watch() is None
    thread.join(30)
    assert not thread.is_alive()


def test_results_are_taken_in_while_nobody_waits(controller, client):
    results = [client[0].apply_async(bytes, 1 << 16) for _ in range(40)]
    done = threading.Event()
    results[-1].add_done_callback(lambda ar: done.set())
    assert done.wait(30)
    assert all(ar._all_ended() for ar in results)


# ---- ending -----------------------------------------------------------------------------------


def test_closed_client(client):
    view = client[:]
    ready = view.apply_async(lambda: 1)
    ready.wait()
    client.close()
    client.close()
    assert ready.get() == [1, 1, 1, 1]
    for call in (
        lambda: view.apply_sync(int),
        lambda: client.ids,
        lambda: client.wait(),
        lambda: client.status(),
        lambda: client.load_balanced_view().map_async(abs, [1]),
    ):
        with pytest.raises(OSError, match="closed") as info:
            call()
        assert isinstance(info.value, error.ClientClosed)


def test_close_fails_pending_results(controller, client):
    controller.hold()
    ar = client[:].apply_async(int)
    single = client[0].apply_async(int)
    client.close()
    for result in (ar, single):
        assert result.ready() and not result.successful()
        with pytest.raises(error.ClientClosed):
            result.get()


def test_lost_connection(controller, client):
    controller.hold()
    pending = [client[0].apply_async(int), client[:].apply_async(int),
               client.load_balanced_view().map_async(abs, range(10))]
    called = threading.Event()
    pending[0].add_done_callback(lambda ar: called.set())
    controller.hang_up()
    for ar in pending:
        with pytest.raises(ConnectionError, match="connection to the controller.*is gone") as info:
            ar.get(30)
        assert isinstance(info.value, error.ConnectionLost)
        assert isinstance(info.value, error.RemoteError)
    assert called.wait(30)
    for call in (lambda: client.ids, lambda: client[0].apply_sync(int), client.status):
        with pytest.raises(ConnectionError):
            call()


def test_connection_lost_while_waiting(controller, client):
    controller.hold()
    threading.Timer(0.1, controller.hang_up).start()
    with pytest.raises(error.ConnectionLost):
        client[0].apply_sync(int)


def test_fork(controller, client):
    code = f"""
import os, pcluster
c = pcluster.Client({controller.path!r})
view = c[0]
ar = view.apply_async(int)
ar.get()
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    said = []
    for call in (lambda: view.apply_sync(int), lambda: c.ids, lambda: c.wait(), c.status,
                 lambda: view.apply_async(int)):
        try:
            call()
        except pcluster.ForkedClient as e:
            said.append(str(e))
    assert ar.get() == 0
    c.close()
    os.write(w, repr(len(said)).encode() + b" " + said[0].encode())
    own = pcluster.Client({controller.path!r})
    os.write(w, b" own %d" % own[0].apply_sync(int))
    os._exit(0)
os.close(w)
os.waitpid(pid, 0)
print(os.read(r, 1000).decode())
print(view.apply_sync(int), c.ids)
"""
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 this client was made before a fork")
    assert "own 0" in done.stdout and done.stdout.endswith("0 [0, 1, 2, 3]\n")


def test_interpreter_ends_while_results_are_pending(controller):
    controller.hold()
    code = f"""
import pcluster
c = pcluster.Client({controller.path!r})
ar = c[:].apply_async(int)
ar.add_done_callback(lambda ar: None)
print("ready")
"""
    done = run_python("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")


# ---- questions --------------------------------------------------------------------------------


def test_status_and_queue_status(controller, client):
    rows = [
        {"id": i, "state": "busy" if i == 1 else "idle", "queue": i, "tasks_done": 5, "tasks_failed": 1}
        for i in range(4)
    ]
    controller.answers["status"] = {"ok": True, "engines": rows, "tasks": {"pending": 9}}
    assert client.status()["engines"] == rows
    assert client.queue_status(1) == {"queue": 1, "completed": 6, "tasks": 1}
    everything = client.queue_status()
    assert everything[3] == {"queue": 3, "completed": 6, "tasks": 0}
    assert everything["unassigned"] == 2
    assert set(client[1:3].queue_status()) == {1, 2, "unassigned"}
    assert everything.limits == client.limits == client[1:3].queue_status(verbose=False).limits
    controller.answers["status"]["engines"] = [{**row, "state": "down"} if row["id"] == 3 else row for row in rows]
    with pytest.raises(IndexError, match="no engine 3 any more"):  # it goes between the two looks
        client.queue_status(3)
    assert 3 not in client.queue_status()
    controller.answers["find"] = {"ok": True, "next": None, "rows": [
        {"msg_id": "a", "engine_id": 0, "state": "running"}, {"msg_id": "b", "engine_id": 0, "state": "waiting"},
        {"msg_id": "c", "engine_id": 9, "state": "done"}, {"msg_id": "d", "engine_id": 1, "state": "failed"},
        {"msg_id": "e", "engine_id": None, "state": "waiting"},
    ]}
    assert client.queue_status(0, verbose=True) == {"queue": ["b"], "completed": [], "tasks": ["a"]}
    assert client.queue_status([1], verbose=True) == {
        1: {"queue": [], "completed": ["d"], "tasks": []}, "unassigned": ["e"]}
    assert client.queue_status(verbose=True).limits == client.limits


def test_refused_query(client):
    with pytest.raises(error.ControllerError, match="no such query"):
        client.status()


def test_shutdown(controller, client):
    controller.answers["shutdown"] = {"ok": True}
    client.shutdown(hub=True)
    with pytest.raises(ValueError, match="can't be restarted"):
        client.shutdown(restart=True, hub=True)


# ---- Python versions --------------------------------------------------------------------------


def test_code_by_value_needs_the_same_python(make):
    controller = make(pythons={2: "3.99"})
    with pcluster.Client(controller.path) as c:
        assert c[0].apply_sync(lambda: 1) == 1
        for call in (
            lambda: c[2].apply_sync(lambda: 1),
            lambda: c[:].apply_async(lambda: 1),
            lambda: c.load_balanced_view().apply_sync(lambda: 1),
            lambda: c.load_balanced_view().map_sync(lambda x: x, range(3)),
            lambda: c.load_balanced_view().map_sync(lambda x: x, range(3), chunksize=2),
            lambda: c[:].map_sync(lambda x: x, range(10)),
            lambda: c[2].push({"f": lambda: 1}),
            lambda: c[2].apply_sync(len, [lambda: 1]),
        ):
            with pytest.raises(error.PythonVersionMismatch, match=f"Python {PYTHON}.*engine 2 runs Python 3.99"):
                call()
        assert c.history == c[0].history or len(c.history) == 1
        assert c.load_balanced_view([0, 1]).apply_sync(lambda: 2) == 2
        assert c[2].apply_sync(json.dumps, [1]) == "[1]"
        c[2].push({"a": 1})
        assert c[2]["a"] == 1
        c[2].execute("b = a + 1", block=True)
        assert c[:].map_sync(abs, [-1, -2, -3, -4]) == [1, 2, 3, 4]
