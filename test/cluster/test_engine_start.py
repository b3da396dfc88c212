# SPDX-License-Identifier: BSD-3-Clause
"""How engines come to be: nursery, preloaded modules, virtual environments, memory."""

import os
import sys
import venv

import pytest
from conftest import children

import pcluster

IS_SANITIZED = bool({"ASAN_OPTIONS", "TSAN_OPTIONS"} & os.environ.keys())


@pytest.fixture(autouse=True)
def no_preload(monkeypatch):
    """A sanitizer's library that this process needs is not for the programs that engines run."""
    monkeypatch.delenv("LD_PRELOAD", raising=False)


@pytest.fixture
def folder(home):
    """A folder of modules, in PYTHONPATH of what is started."""
    path = os.path.join(home.work, "modules")
    os.mkdir(path)

    def write(name, source):
        with open(os.path.join(path, name + ".py"), "w", encoding="utf-8") as file:
            file.write(source)
        return {"PYTHONPATH": os.pathsep.join([path, os.environ.get("PYTHONPATH", "")])}

    return write


def pull(*expressions):
    """Values from engine 0 of the default profile."""
    with pcluster.Client() as client:
        for module in ("os", "sys", "threading"):
            client[0].execute(f"import {module}", block=True)
        return client[0].pull(list(expressions), block=True)


THREADED = "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()"


def test_preload(start, folder):
    """Imported once, in the nursery, and there in each engine."""
    env = folder("counted", "import os\nloaded_by = os.getpid()")
    cluster = start(2, "--preload", "counted,colorsys", env=env)
    with pcluster.Client() as client:
        client[:].execute("import sys", block=True)
        assert client[:].pull("'colorsys' in sys.modules", block=True) == [True, True]
        pids = client[:].pull("sys.modules['counted'].loaded_by", block=True)
    assert pids == [cluster.nursery()] * 2


@pytest.mark.parametrize("source, words", [
    ("raise ValueError('broken')", ["'bad'", "ValueError: broken"]),
    ("import sys\nsys.exit(5)", ["'bad'", "SystemExit: 5"]),
    ("import nothing_of_that_name", ["'bad'", "No module named 'nothing_of_that_name'"]),
    (THREADED, ["'bad'", "thread", "--no-nursery"]),
    ("import os\nos._exit(7)", ["exit code 7"]),
])
def test_preload_fails(home, folder, source, words):
    """The start fails and names the module and what it did."""
    env = dict(os.environ, **folder("bad", source))
    done = home.run("start", "-n", 2, "--preload", "colorsys,bad", env=env)
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    home.wait_empty()


def test_no_nursery(start, folder):
    """Engines are started anew, and their modules may have threads."""
    env = folder("threaded", THREADED)
    cluster = start(2, "--no-nursery", "--preload", "threaded", env=env)
    count, argv, path = pull("threading.active_count()", "sys.argv", "sys.path[0]")
    assert count == 2 and argv == [""] and path == ""
    assert len(children(cluster.nursery())) == 2
    with pcluster.Client() as client:
        result = client[0].execute("print('out')\nos.system('echo sub')", block=True)
        assert sorted(result.stdout.splitlines()) == ["out", "sub"]
        with pytest.raises(pcluster.EngineError, match="exited with code 6"):
            client[0].execute("os._exit(6)", block=True)


def test_no_nursery_fails(home, folder):
    """What is wrong is told from the engine's last words."""
    env = dict(os.environ, **folder("bad", "raise ValueError('broken')"))
    done = home.run("start", "-n", 1, "--no-nursery", "--preload", "bad", env=env)
    assert done.returncode == 1
    assert "can't preload 'bad': ValueError: broken" in done.stderr
    home.wait_empty()


@pytest.mark.parametrize("mode", ["--transport=tcp", "--no-nursery"])
def test_virtual_environment(home, start, mode):
    """Its packages are importable, and sys.executable is its Python."""
    where = os.path.join(home.work, "venv")
    venv.create(where, symlinks=True)
    packages = os.path.join(where, "lib", "python{}.{}".format(*sys.version_info), "site-packages")
    with open(os.path.join(packages, "only_there.py"), "w", encoding="utf-8") as file:
        file.write("value = 5\n")
    start(1, *mode.split("="), env={"VIRTUAL_ENV": where})
    value, executable, prefix, base = pull("__import__('only_there').value", "sys.executable",
                                           "sys.prefix", "sys.base_prefix")
    assert value == 5
    assert executable == os.path.join(where, "bin", "python")
    assert prefix == where and base == sys.base_prefix


def test_another_installation(home, start):
    """One with a library of its own: its packages, and our standard library, which fits."""
    where = os.path.join(home.work, "elsewhere")
    folder = os.path.join(where, "lib", "python{}.{}".format(*sys.version_info))
    python = os.path.join(where, "bin", "python3")
    os.makedirs(os.path.join(folder, "site-packages"))
    os.mkdir(os.path.dirname(python))
    with open(os.path.join(folder, "os.py"), "w", encoding="utf-8") as file:
        file.write("raise ImportError('not this one')\n")
    with open(os.path.join(folder, "site-packages", "only_there.py"), "w") as file:
        file.write("value = 6\n")
    with open(python, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {sys.base_prefix}/bin/python3 "$@"\n')
    os.chmod(python, 0o755)
    start(1, "--python", python)
    value, executable, prefix, base, others = pull(
        "__import__('only_there').value", "sys.executable", "sys.prefix", "sys.base_prefix",
        "[p for p in sys.path if p.endswith('dist-packages')]")
    assert value == 6 and executable == python and prefix == where and base == sys.base_prefix
    assert others == []
    with pcluster.Client() as client:
        result = client[0].execute("import multiprocessing as m\n"
                                   "with m.get_context('spawn').Pool(1) as p:\n"
                                   "    print(p.map(abs, [-1]))", block=True)
        assert result.stdout == "[1]\n"


def test_without_cloudpickle(home, start):
    """Functions that need it say what is missing; all the rest works."""
    def countdown(n):
        return countdown(n - 1) if n else 0

    where = os.path.join(home.work, "venv")
    venv.create(where, symlinks=True)
    env = {"VIRTUAL_ENV": where, "PYTHONPATH": ""}
    start(1, env=env)
    with pcluster.Client() as client:
        with pytest.raises(pcluster.RemoteError, match="needs the package cloudpickle"):
            client[0].apply_sync(countdown, 2)
        assert client[0].apply_sync(abs, -1) == 1
        assert client[0].apply_sync(lambda: 1) == 1
        client[0].push({"a": 5}, block=True)
        assert client[0].pull("a + 1", block=True) == 6


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers need memory of their own")
def test_memory_of_an_idle_engine(start):
    """The figures are in bench/; this notices when an engine stops sharing."""
    cluster = start(8)
    for row in cluster.engines():
        assert row["memory_bytes"] < 5 << 20


def test_what_is_open(start):
    """An engine holds no descriptor of the nursery, of another engine, or of the parent."""
    start(4)
    with pcluster.Client() as client:
        links = client[:].apply_sync(lambda: [
            __import__("os").readlink("/proc/self/fd/" + name)
            for name in __import__("os").listdir("/proc/self/fd")
            if __import__("os").path.lexists("/proc/self/fd/" + name)])
    seen = set()
    for ours in links:
        pipes = {link for link in ours if link.startswith(("pipe:", "socket:"))}
        assert len([link for link in ours if link.startswith("socket:")]) == 2
        assert not pipes & seen
        seen |= pipes
