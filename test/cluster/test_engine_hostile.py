# SPDX-License-Identifier: BSD-3-Clause
"""User code that does what it wants with its process: no harm to others, and no lies."""

import os
import signal
import time

import pytest
from conftest import is_alive, wait_until

import pcluster

MIB = 1 << 20
IS_SANITIZED = bool({"ASAN_OPTIONS", "TSAN_OPTIONS"} & os.environ.keys())


@pytest.fixture(autouse=True)
def no_preload(monkeypatch):
    """A sanitizer's library that this process needs is not for the programs that engines run."""
    monkeypatch.delenv("LD_PRELOAD", raising=False)


@pytest.fixture
def client(start):
    """Two engines; the second must never notice what the first does."""
    start(2)
    with pcluster.Client() as client:
        yield client
        assert client[1].apply_sync(abs, -7) == 7


def run(view, source):
    """Runs source text; its result, whose output is complete."""
    result = view.execute(source, block=False)
    result.get(60)
    return result


def end(view, source):
    """Runs source text that ends the engine; what the caller is told."""
    with pytest.raises(pcluster.EngineError) as caught:
        view.execute(source, block=False).get(60)
    return str(caught.value)


# ---- ends


@pytest.mark.parametrize("source, words", [
    ("import os\nos._exit(3)", ["exited with code 3"]),
    ("import os\nos.kill(os.getpid(), 9)", ["signal 9 (SIGKILL)"]),
    ("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nwhile True: pass", ["(SIGTERM)"]),
    ("import sys, ctypes\nprint('my last words', file=sys.stderr)\nctypes.string_at(0)",
     ["(SIGSEGV)", "my last words", "Segmentation fault", "in string_at"]),
    ("import os\nos.abort()", ["(SIGABRT)"]),
    ("import os\nos.closerange(3, 1000)", ["engine 0 (pid "]),
])
def test_death(client, source, words):
    """The call fails and says how; the engine is gone, the other is not."""
    told = end(client[0], source)
    for word in words:
        assert word in told
    wait_until(lambda: client.ids == [1], "the engine to be gone from the list")


def test_exit_in_thread(client):
    """Ends the thread, not the engine."""
    result = run(client[0], "import sys, threading\nt = threading.Thread(target=sys.exit)\n"
                            "t.start()\nt.join()")
    assert result.stdout == ""
    assert client[0].apply_sync(abs, -1) == 1


# ---- signals


def test_replaced_handlers(client):
    """They are the user's to replace, and do not keep a cluster from stopping."""
    run(client[0], "import signal\n"
                   "for s in set(range(1, 65)) - {9, 19, 32, 33}:\n"
                   "    if s not in (signal.SIGCHLD, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE,\n"
                   "                 signal.SIGILL):\n"
                   "        signal.signal(s, signal.SIG_IGN)\n")
    pid = client[0].apply_sync(os.getpid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        os.kill(pid, number)
    assert client[0].apply_sync(os.getpid) == pid


def test_interrupt_while_idle(client):
    """Does not end an idle engine, and does not hit the next task."""
    pid = client[0].apply_sync(os.getpid)
    for _ in range(20):
        os.kill(pid, signal.SIGINT)
        assert client[0].apply_sync(os.getpid) == pid


def test_handler_that_raises_while_idle(client):
    """Its error is printed, and that was all."""
    pid = client[0].apply_sync(os.getpid)
    run(client[0], "import signal\ndef handler(*_): raise ValueError\n"
                   "signal.signal(signal.SIGUSR1, handler)")
    os.kill(pid, signal.SIGUSR1)
    assert client[0].apply_sync(os.getpid) == pid


def test_masked_signals(client):
    """Even with every signal blocked the engine stops when it is told to."""
    run(client[0], "import signal\nsignal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))")
    assert client[0].apply_sync(abs, -1) == 1


# ---- output


def test_gigabyte(client):
    """A gigabyte of output costs the engine no memory, and others no time."""
    peak = ("def peak():\n    import re\n"
            "    return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n")
    run(client[0], peak + "before = peak()")
    printing = client[0].execute(
        "line = 'x' * 1023 + '\\n'\nfor _ in range(1 << 20): print(line, end='')\n"
        "print('end')", block=False)
    answers = 0
    while not printing.ready():
        client[1].apply_sync(abs, answers)
        answers += 1
    printing.get(60)
    assert answers > 10
    if not IS_SANITIZED:  # it keeps freed memory for a while
        assert client[0].pull("peak() - before", block=True) < 32 * 1024
    assert len(printing.stdout) < 3 * MIB  # the first and the last MiB, with a mark for the gap
    assert printing.stdout.endswith("x\nend\n")


def test_output_of_every_kind(client):
    """Python's streams, descriptors, C, subprocesses: all of it is there with the result."""
    result = run(client[0], """
import ctypes, os, subprocess, sys
print('print', flush=True)
sys.stdout.write('write\\n'); sys.stdout.flush()
sys.stdout.buffer.write(b'bytes\\n'); sys.stdout.flush()
sys.stdout.writelines(['a\\n', 'b\\n']); sys.stdout.flush()
os.write(1, b'descriptor\\n')
subprocess.run(['echo', 'subprocess'])
subprocess.run('echo error >&2', shell=True)
ctypes.CDLL(None).printf(b'from C')
print('half \\ud800', file=sys.stderr)
""")
    assert sorted(result.stdout.splitlines()) == sorted(
        "print write bytes a b descriptor subprocess".split() + ["from C"])
    assert sorted(result.stderr.splitlines()) == ["error", "half \\ud800"]


def test_replaced_streams(client):
    """sys.stdout is the user's to replace and to close."""
    result = run(client[0], "import contextlib, io, sys\n"
                            "with contextlib.redirect_stdout(io.StringIO()) as s: print('inside')\n"
                            "sys.stdout.close()\nprint('outside', s.getvalue())")
    assert result.stdout == "outside inside\n\n"
    run(client[0], "import os\nos.close(1)")
    result = run(client[0], "print('still')")
    assert result.stdout == "still\n"


def test_threads_left_running(client):
    """They go on, may print at any time, and do not disturb later tasks."""
    run(client[0], "import threading, time\ncount = 0\n"
                   "def work():\n    global count\n"
                   "    while True:\n        count += 1\n        print('noise')\n"
                   "        time.sleep(0.0001)\n"
                   "threading.Thread(target=work, daemon=True).start()\n"
                   "threading.Thread(target=work).start()")
    before = client[0].pull("count", block=True)
    wait_until(lambda: client[0].pull("count", block=True) > before + 100, "the threads to run")
    for i in range(50):
        result = run(client[0], f"print('task {i}')")
        assert f"task {i}" in result.stdout  # a line may be cut in two by another thread


# ---- other processes


def test_fork_and_return(client):
    """The child never answers: one result, and the child's own output."""
    result = run(client[0], "import os\npid = os.fork()\n"
                            "if pid: print('parent', os.waitpid(pid, 0)[1])\n"
                            "else: print('child', flush=True)")
    assert sorted(result.stdout.splitlines()) == ["child", "parent 0"]
    result = run(client[0], "import os\npid = os.fork()\n"
                            "if pid == 0: raise ValueError('in the child')\n"
                            "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))")
    assert result.stdout == "1\n"
    assert "ValueError: in the child" in result.stderr


def test_fork_in_apply(client):
    """Results of both would have the same number: only the parent's comes."""
    assert client[0].apply_sync(lambda: __import__("os").fork() > 0) is True
    assert client[0].apply_sync(abs, -1) == 1


def alone(home, pid):
    """Waits until the engine is the only process of its group; it is the leader."""

    def others():
        for other in home.processes():
            try:
                if other != pid and os.getpgid(other) == pid:
                    return True
            except ProcessLookupError:
                pass
        return False

    wait_until(lambda: not others(), "the children to leave")
    assert is_alive(pid)


def test_fork_in_reduce(home, client):
    """While the result is pickled: the child sends none."""
    pid = client[0].apply_sync(os.getpid)
    run(client[0], "import os\nforked = []\nclass Forks:\n    def __reduce__(self):\n"
                   "        forked.append(os.fork())\n        return int, ('7',)")
    for count in range(1, 6):
        assert client[0].pull("Forks()", block=True) == 7
        assert client[0].pull("len(forked) * all(forked)", block=True) == count
    alone(home, pid)
    assert client[0].apply_sync(os.getpid) == pid


def test_fork_in_str_of_error(home, client):
    """While an error is described: the child describes it to nobody."""
    pid = client[0].apply_sync(os.getpid)
    run(client[0], "import os\nforked = []\nclass Forks(Exception):\n    def __str__(self):\n"
                   "        forked.append(os.fork())\n        return 'my words'")
    for _ in range(5):
        with pytest.raises(pcluster.RemoteError, match="my words"):
            client[0].execute("raise Forks", block=True)
    assert client[0].pull("len(forked) > 0 and all(forked)", block=True) is True
    alone(home, pid)
    assert client[0].apply_sync(os.getpid) == pid


def test_fork_in_del_of_result(home, client):
    """A kept result is released when it is acknowledged, which may run user code."""
    pid = client[0].apply_sync(os.getpid)
    run(client[0], """
import os, pickle
forked = []
class Forks(bytearray):
    def __reduce_ex__(self, protocol):
        return bytearray, (pickle.PickleBuffer(self),)
    def __del__(self):
        forked.append(os.fork())
""")
    for _ in range(5):
        assert len(client[0].pull("Forks(2 << 20)", block=True)) == 2 * MIB
    wait_until(lambda: client[0].pull("len(forked)", block=True) == 5, "the results to be released")
    assert client[0].pull("all(forked)", block=True) is True
    alone(home, pid)
    assert client[0].apply_sync(os.getpid) == pid


def test_fork_in_handler_while_idle(home, client):
    """The child of a handler has nothing to come back to."""
    pid = client[0].apply_sync(os.getpid)
    marker = os.path.join(home.work, "forked")
    run(client[0], "import os, signal\ndef handler(*_):\n    if os.fork():\n"
                   f"        open({marker!r}, 'w').close()\n"
                   "signal.signal(signal.SIGALRM, handler)")

    def has_forked():  # it may take until the second signal: the first may be before it is idle
        os.kill(pid, signal.SIGALRM)
        return os.path.exists(marker)

    for _ in range(5):
        wait_until(has_forked, "the handler")
        os.unlink(marker)
        alone(home, pid)
        assert client[0].apply_sync(os.getpid) == pid


def test_fork_in_handler_before_a_task(home, client):
    """A handler that is due when a task comes runs first; its child doesn't run the task."""
    pid = client[0].apply_sync(os.getpid)
    arrived, ran = (os.path.join(home.work, name) for name in ("arrived", "ran"))
    run(client[0], f"""
import os, signal, threading
reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer)
signal.signal(signal.SIGALRM, lambda *_: os.fork())
def note():
    os.read(reader, 1)
    os.mkdir({arrived!r})
threading.Thread(target=note, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])  # the other thread gets it
""")
    os.kill(pid, signal.SIGALRM)
    wait_until(lambda: os.path.exists(arrived), "the signal")
    run(client[0], f"with open({ran!r}, 'a') as file: file.write('once ')")
    alone(home, pid)
    with open(ran, encoding="ascii") as file:
        assert file.read() == "once "
    assert client[0].apply_sync(os.getpid) == pid


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(client, method):
    """Pools work, with every way to start processes."""
    result = run(client[0], f"import multiprocessing\n"
                            f"with multiprocessing.get_context('{method}').Pool(2) as pool:\n"
                            f"    print(pool.map(abs, [-1, -2, -3]))")
    assert result.stdout == "[1, 2, 3]\n"


def test_grandchildren(client):
    """What an engine has started goes with it."""
    result = run(client[0], "import subprocess\n"
                            "print(subprocess.Popen(['sleep', '3600']).pid)")
    pid = int(result.stdout)
    assert is_alive(pid)
    end(client[0], "import os\nos._exit(0)")
    wait_until(lambda: not is_alive(pid), "the subprocess to end")


def test_limits_are_the_users(client):
    """The nursery's raised limit of open files is not handed on."""
    import resource
    assert client[0].pull("__import__('resource').getrlimit(7)[0]", block=True) == \
        resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_death_is_told_at_once(client):
    """Not only after a heartbeat."""
    began = time.monotonic()
    end(client[0], "import os\nos.kill(os.getpid(), 9)")
    assert time.monotonic() - began < 5  # the figure is in bench/; this is ten times less than
    # what waiting for missed heartbeats would take
