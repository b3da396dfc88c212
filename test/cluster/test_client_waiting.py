# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C, threads and forks in programs that use the Python client."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import DEADLINE_S, wait_until
from shared import run_script, shared  # noqa: F401 (fixtures)

class Script:
    """A Python program that is told to go on by signals, and says where it is."""

    def __init__(self, text, folder):
        self.path = os.path.join(folder, "script.py")
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        self.process = subprocess.Popen(
            [sys.executable, "-u", self.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)

    def expect(self, line):
        assert self.process.stdout.readline() == line + "\n", self.process.stderr.read()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def is_asleep(self):
        with open(f"/proc/{self.process.pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"S"

    def end(self):
        out, err = self.process.communicate(timeout=DEADLINE_S)
        assert self.process.returncode == 0, err
        return out


@pytest.fixture
def script(shared, tmp_path):
    """script(text) -> Script; its tasks are interrupted afterwards."""
    made = []

    def start(text):
        made.append(Script(text, tmp_path))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
    wait_until(lambda: not interrupted(shared), "idle engines")


def interrupted(cluster):
    """Interrupts what runs; the tasks of a client that left go on. Number of tasks left."""
    status = cluster.status()
    for row in status["engines"]:
        if row["state"] == "busy":
            os.kill(row["pid"], signal.SIGINT)
    return status["tasks"]["pending"]


@pytest.mark.parametrize("with_background", [False, True])
@pytest.mark.parametrize(
    "call, tasks",
    [
        ("c[0].apply_sync(time.sleep, 1000)", 1),
        ("c[:].apply_sync(time.sleep, 1000)", 4),
        ("c[0].execute('import time; time.sleep(1000)', block=True)", 1),
        ("c.load_balanced_view().map_sync(time.sleep, [1000] * 20)", 20),
    ],
)
def test_ctrl_c_gives_the_pending_result(shared, script, call, tasks, with_background):
    program = script(f"""
import time, pcluster
c = pcluster.Client()
if {with_background}:
    c[3].apply_async(int).get()
print("waiting")
result = {call}
print(type(result).__name__ in ("AsyncResult", "AsyncMapResult"), result.ready())
print(c[1].apply_async(int).ready() in (True, False))
""")
    program.expect("waiting")
    wait_until(lambda: shared.status()["tasks"]["pending"] == tasks, "the tasks to be sent")
    wait_until(program.is_asleep, "the wait")
    program.interrupt()
    assert program.end().splitlines()[-2:] == ["True False", "True"]


@pytest.mark.parametrize("with_background", [False, True])
def test_ctrl_c_in_get_raises(script, with_background):
    program = script(f"""
import time, pcluster
c = pcluster.Client()
result = c[0].apply_async(time.sleep, 1000)
if {with_background}:
    result.add_done_callback(print)
for wait in (result.get, result.wait, c.wait, lambda: c.wait_for_engines(99)):
    try:
        print("waiting")
        wait()
    except KeyboardInterrupt:
        print("interrupted", result.ready())
print(c[1].apply_sync(int))
""")
    for _ in range(4):
        program.expect("waiting")
        program.interrupt()
        program.expect("interrupted False")
    assert program.end() == "0\n"


def test_ctrl_c_while_sending(script):
    """100 MB to an engine that does not read: the connection stays whole."""
    program = script("""
import time, pcluster
c = pcluster.Client()
data = bytes(100_000_000)
try:
    print("sending")
    for _ in range(50):
        c[0].apply_sync(len, data)
except KeyboardInterrupt:
    pass
print("interrupted")
print(c[1].apply_sync(len, data), c[:].apply_sync(int))
""")
    program.expect("sending")
    program.interrupt()
    program.expect("interrupted")
    assert program.end() == "100000000 [0, 0, 0, 0]\n"


def test_threads_share_a_client(shared, tmp_path):
    out = run_script("""
import threading, pcluster
c = pcluster.Client()
wrong = []
def work(n):
    view = c[n % 4]
    balanced = c.load_balanced_view()
    for i in range(200):
        if view.apply_sync(lambda x: x + 1, i) != i + 1:
            wrong.append(i)
        if balanced.apply_async(pow, i, 2).get() != i * i:
            wrong.append(i)
    if balanced.map_sync(abs, range(n * 10)) != list(range(n * 10)):
        wrong.append(n)
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print(wrong, len(c.history) == 8 * 400 + sum(n * 10 for n in range(8)), c.outstanding)
""", tmp_path)
    assert out == "[] True set()\n"


def test_threads_and_close(shared, tmp_path):
    out = run_script("""
import threading, pcluster, time
c = pcluster.Client()
outcomes = []
started = threading.Barrier(9)
def work():
    started.wait()
    try:
        while True:
            c.load_balanced_view().apply_async(int).get()
    except Exception as e:
        outcomes.append(type(e).__name__)
threads = [threading.Thread(target=work) for n in range(8)]
for t in threads: t.start()
started.wait()
c[0].apply_sync(int)
c.close()
for t in threads: t.join()
print(sorted(set(outcomes)), len(outcomes))
""", tmp_path)
    assert out == "['ClientClosed'] 8\n"


CLOSING = """
import sys, threading, pcluster
c = pcluster.Client()
def wait_for(path):
    import os, time
    while not os.path.exists(path): time.sleep(0.01)
long = c[1].apply_async(wait_for, %r)
outcomes = []
def wait():
    try:
        long.get()
    except Exception as e:
        outcomes.append(type(e).__name__)
threads = [threading.Thread(target=wait) for _ in range(3)]
for t in threads: t.start()
closed = threading.Event()
def close(*_):
    c.close()
    closed.set()
%s
assert closed.wait(60)
for t in threads: t.join(60)
print(outcomes, c, [t.is_alive() for t in threads])
"""


@pytest.mark.parametrize("way", [
    "c[0].apply_async(int).add_done_callback(close)",
    "r = c[0].apply_async(int); r.get(); r.add_done_callback(close)",  # called here and now
    "r = c[0].apply_async(int); r.add_done_callback(close); r.get()",
    "r = [c[0].apply_async(int) for _ in range(50)]; [one.add_done_callback(close) for one in r]",
    "long.add_done_callback(close); close()",
    "with c.executor() as e: e.submit(int).add_done_callback(close)",
    """
try:
    for _ in c[:].map(int, range(100)): close()
except pcluster.ClientClosed: pass
""",
    # What shows output is called from a thread of its own.
    """
class Out:
    def write(self, text): close()
    def flush(self): pass
out, sys.stdout = sys.stdout, Out()
r = c[0].execute('print(1)', block=False)
with r.stream_output(): closed.wait(60)
sys.stdout = out
""",
])
def test_close_in_callbacks(shared, tmp_path, way):
    """It neither waits for itself nor for those whom it wakes up."""
    go = tmp_path / "go"
    try:
        out = run_script(CLOSING % (str(go), way), tmp_path)
    finally:
        go.touch()
    assert out == "['ClientClosed', 'ClientClosed', 'ClientClosed'] <Client: closed> [False, False, False]\n"


def test_fork(shared, tmp_path):
    out = run_script("""
import os, pcluster
c = pcluster.Client()
pending = c[0].apply_async(lambda: 5)
c[1].apply_async(int).get()
r, w = os.pipe()
if os.fork() == 0:
    said = []
    for call in (lambda: c.ids, lambda: c[0], lambda: pending.ready(), c.wait, c.status):
        try:
            call()
        except pcluster.ForkedClient:
            said.append("forked")
    own = pcluster.Client()
    said.append(str(own[0].apply_sync(int)))
    own.close()
    os.write(w, " ".join(said).encode())
    os._exit(0)
os.close(w)
print(os.read(r, 1000).decode())
os.wait()
print(pending.get(), c[:].apply_sync(int))
""", tmp_path)
    lines = out.splitlines()
    assert lines[0].startswith("forked forked") and lines[0].endswith("forked 0")
    assert lines[1] == "5 [0, 0, 0, 0]"


def test_multiprocessing_beside_a_client(shared, tmp_path):
    out = run_script("""
import multiprocessing, pcluster
c = pcluster.Client()
c[0].apply_async(int).get()
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(abs, [-1, -2]))
print(c[:].apply_sync(int))
""", tmp_path)
    assert out == "[1, 2]\n[0, 0, 0, 0]\n"


def test_program_that_ends_with_pending_results(shared, tmp_path):
    out = run_script("""
import pcluster
c = pcluster.Client()
result = c.load_balanced_view().map_async(abs, range(1000))
result.add_done_callback(lambda r: None)
print("end")
""", tmp_path)
    assert out == "end\n"


def test_client_in_a_task(shared, tmp_path):
    """A task may itself be a client of the cluster."""
    out = run_script("""
import pcluster
c = pcluster.Client()
def nested(path):
    import pcluster
    with pcluster.Client(path) as inner:
        return inner[1].apply_sync(lambda: 6) + inner[2].apply_sync(lambda: 1)
print(c[0].apply_sync(nested, c.info["file"]))
""", tmp_path)
    assert out == "7\n"
