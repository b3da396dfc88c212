# SPDX-License-Identifier: BSD-3-Clause
"""Starting: what is there afterwards, and every way in which it can fail."""

import json
import os
import pty
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess

import pytest
from conftest import DEADLINE_S, children, is_alive, wait_until

READY = re.compile(r"ready: (\d+) engines? at (tcp://127\.0\.0\.1:\d+) \(unix:(\S+)\) in [\d.]+ s\n")


def failure(done, code=1):
    """The one line of a command that failed, without its beginning."""
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stderr.startswith("pcluster start: "), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr[len("pcluster start: "):]


def test_ready_line_and_engines(start):
    cluster = start(3)
    match = READY.fullmatch(cluster.ready)
    assert match and match[1] == "3"
    status = cluster.status()
    assert [row["id"] for row in cluster.engines()] == [0, 1, 2]
    assert status["url"] == match[2] and status["unix"] == match[3]
    assert status["pids"]["parent"] == cluster.pid


def test_connection_files(home, cluster):
    folder = os.path.dirname(cluster.file)
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert sorted(os.listdir(folder)) == ["pcluster-client.json", "pcluster-engine.json"]
    read = {}
    for role in ("client", "engine"):
        path = home.security(f"pcluster-{role}.json")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with open(path, encoding="utf-8") as file:
            read[role] = json.load(file)
        assert read[role]["role"] == role
        assert {"url", "exec_key", "ssh", "location"} <= set(read[role])
        assert f"at {read[role]['url']} (unix:{read[role]['unix']})" in cluster.ready
    assert read["client"]["exec_key"] != read["engine"]["exec_key"]
    assert stat.S_IMODE(os.stat(read["client"]["unix"]).st_mode) == 0o600


def test_keys_are_fresh_at_each_start(home, start):
    seen = set()
    for _ in range(2):
        cluster = start(1)
        with open(cluster.file, encoding="utf-8") as file:
            read = json.load(file)
        seen |= {read["exec_key"], read["controller_key"], read["instance"]}
        assert cluster.end()[0] == 0
    assert len(seen) == 6


def test_ctrl_c_leaves_nothing(home, cluster):
    code, _, err = cluster.end(signal.SIGINT)
    assert (code, err) == (0, "")
    assert home.leftovers() == []
    home.wait_empty()


def test_terminal_shows_progress(home):
    """On a terminal there is progress; Ctrl-C there reaches only the parent."""
    master, slave = pty.openpty()
    process = subprocess.Popen([home.exe, "start", "-n", "2"], cwd=home.work, stdin=slave,
                               stdout=slave, stderr=slave, start_new_session=True,
                               preexec_fn=lambda: __import__("fcntl").ioctl(0, 0x540E, 0))
    os.close(slave)
    seen = b""
    while b"ready: 2 engines" not in seen:
        seen += os.read(master, 4096)
    assert b"starting 2 engines: 0 answered" in seen
    os.write(master, b"\x03")
    assert process.wait(DEADLINE_S) == 0
    os.close(master)
    home.wait_empty()


def test_start_twice(home, cluster):
    before = {name: os.stat(home.security(name)) for name in os.listdir(
        os.path.dirname(cluster.file))}
    text = failure(home.run("start", "-n", 1))
    assert "a cluster is already running in profile 'default' (unix:/" in text
    assert "stop it with 'pcluster stop'" in text
    for name, old in before.items():
        new = os.stat(home.security(name))
        assert (new.st_ino, new.st_mtime_ns) == (old.st_ino, old.st_mtime_ns)
    assert len(cluster.engines()) == 2


def test_many_starts_at_once(home):
    """One of them wins, the others say so."""
    processes = [home.popen("start", "-n", "1", "--daemonize") for _ in range(5)]
    results = [(process.communicate(timeout=DEADLINE_S), process.returncode)
               for process in processes]
    assert sorted(code for _, code in results) == [0, 1, 1, 1, 1]
    for (_, err), code in results:
        assert code == 0 or "already running" in err, err
    assert home.run("stop").returncode == 0


def test_profiles_and_cluster_ids(home, start):
    one = start(1)
    two = start(1, profile="other")
    three = start(1, cluster_id="b")
    rows = {(row["profile"], row["cluster_id"]): row for row in home.json("list")}
    assert set(rows) == {("default", ""), ("default", "b"), ("other", "")}
    assert all(row["state"] == "running" and row["engines"] == 1 for row in rows.values())
    assert three.file.endswith("/pcluster-b-client.json")
    for cluster in (one, two, three):
        assert cluster.end()[0] == 0
    assert home.leftovers() == []


def test_stale_files_are_replaced(home, start):
    first = start(1)
    first.end(signal.SIGKILL)
    home.wait_empty()
    assert home.leftovers()
    second = start(2)
    assert len(second.engines()) == 2
    assert second.end()[0] == 0
    assert home.leftovers() == []


def test_stale_file_whose_port_is_somebody_elses(home, start):
    """Another cluster answers at the address in the file: the file is stale all the same."""
    first = start(1, "--port", 0)
    port = first.status()["url"].rpartition(":")[2]
    first.end(signal.SIGKILL)
    home.wait_empty()
    with open(first.file, encoding="utf-8") as file:
        read = json.load(file)
    os.unlink(read["unix"])
    other = start(1, "--port", port, profile="other")
    assert failure(home.run("start", "-n", 1, "--port", port)).startswith(f"port {port} at ")
    again = start(1)
    assert len(again.engines()) == 1
    assert len(other.engines()) == 1


def test_port_in_use(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = failure(home.run("start", "-n", 1, "--port", port))
    assert text.startswith(f"port {port} at 127.0.0.1 is in use")
    assert home.leftovers() == []


@pytest.mark.parametrize("ip, text", [
    ("192.0.2.1", "no interface of this machine has the address 192.0.2.1"),
    ("no such host", "'no such host' given with --ip is no address"),
])
def test_bad_address(home, ip, text):
    assert failure(home.run("start", "-n", 1, "--ip", ip)).startswith(text)
    assert home.leftovers() == []


def test_all_interfaces(start):
    """The file names an address that others can use, not the wildcard."""
    cluster = start(1, "--ip", "0.0.0.0")
    with open(cluster.file, encoding="utf-8") as file:
        assert "//0.0.0.0" not in json.load(file)["url"]


def test_ipv6(start):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    cluster = start(1, "--ip", "::1", "--transport", "tcp")
    assert re.match(r"ready: 1 engine at tcp://\[::1\]:\d+ ", cluster.ready)


def limit(what, soft, hard=None):
    return lambda: resource.setrlimit(what, (soft, soft if hard is None else hard))


def test_too_few_descriptors(home):
    done = home.run("start", "-n", 50, preexec_fn=limit(resource.RLIMIT_NOFILE, 100))
    assert failure(done).startswith(
        "50 engines need 164 open files, and the hard limit is 100 (ulimit -Hn)")
    assert home.leftovers() == []


def test_soft_limit_of_descriptors_is_raised(home, start):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 1000:
        pytest.skip(f"the hard limit is only {hard}")
    process = home.popen("start", "-n", "30",
                         preexec_fn=limit(resource.RLIMIT_NOFILE, 40, hard))
    assert process.stdout.readline().startswith("ready: 30 engines")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=DEADLINE_S)[1] == ""
    assert process.returncode == 0


def test_full_disk(home):
    """No byte may be written: the same as a full disk, and needs no disk."""
    done = home.run("start", "-n", 1, preexec_fn=limit(resource.RLIMIT_FSIZE, 0))
    assert done.returncode == 1, done.stderr
    text = done.stderr.splitlines()[-1]  # the hub may have told of its journal before
    assert text.startswith("pcluster start: ") and home.security("pcluster-engine.json") in text
    assert "was killed" not in done.stderr
    assert home.leftovers() == []
    home.wait_empty()


def test_profile_that_can_not_be_made(home):
    """Root may write anywhere: as somebody else."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to stop being it")
    os.chmod(home.path, 0o755)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", home.exe]
    if subprocess.run([*command, "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("the executable is in a folder that is closed to others")
    done = subprocess.run([*command, "start", "-n", "1"], cwd="/", capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False)
    text = failure(done)
    assert home.profiles in text and "ermission" in text


def test_socket_is_closed_to_others(home, cluster):
    if os.geteuid() != 0:
        pytest.skip("needs root, to stop being it")
    path = cluster.status()["unix"]
    for folder in (home.path, os.path.dirname(os.path.dirname(path)), os.path.dirname(path)):
        os.chmod(folder, 0o755)
    script = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c",
         script], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert "PermissionError" in done.stderr
    assert len(cluster.engines()) == 2


def test_profile_open_to_others(home):
    folder = os.path.join(home.profiles, "profile_default")
    os.makedirs(os.path.join(folder, "security"))
    os.chmod(folder, 0o777)
    text = failure(home.run("start", "-n", 1))
    assert folder in text


def test_path_of_the_socket_too_long(home, monkeypatch):
    """Neither the runtime folder nor the profile is short enough: never cut."""
    profiles = os.path.join(home.profiles, "x" * 100)
    os.makedirs(profiles)
    monkeypatch.setenv("PCLUSTER_DIR", profiles)
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.path.join(home.path, "missing"))
    text = failure(home.run("start", "-n", 1))
    assert "107" in text and profiles in text and "PCLUSTER_DIR" in text


# ---- in the background --------------------------------------------------------------------------


def test_daemonize(home):
    done = home.run("start", "-n", 2, "--daemonize")
    assert done.returncode == 0, done.stderr
    assert READY.fullmatch(done.stdout) and done.stderr == ""
    parent = home.json("status")["pids"]["parent"]
    assert os.getsid(parent) != os.getsid(0)
    assert "info: ready: 2 engines" in home.log()
    assert stat.S_IMODE(os.stat(
        os.path.join(home.profiles, "profile_default/log/pcluster.log")).st_mode) == 0o600
    assert home.run("stop").returncode == 0
    assert not is_alive(parent)
    home.wait_empty()
    assert home.leftovers() == []


def test_daemonize_says_why_not(home, cluster):
    assert "already running" in failure(home.run("start", "-n", 1, "--daemonize"))
    text = failure(home.run("start", "-n", 1, "--daemonize", "--profile", "b", "--python", "/x"))
    assert text == "there is no Python at '/x' (--python): No such file or directory\n"


def test_daemonize_that_is_killed_says_so(home, monkeypatch):
    """Its parent process dies without a word."""
    slow = slow_python(home)
    process = home.popen("start", "-n", "1", "--daemonize", "--python", slow)
    pid = wait_until(lambda: [p for p in home.processes() if waits_for(p, slow)],
                     "the process in the background")[0]
    os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "the process in the background ended without a word; see '" in err
    assert "/log/pcluster.log" in err


def test_daemonize_whose_foreground_is_gone(home):
    """Nobody is there to be told that the cluster is ready: it ends, whatever it waits for."""
    with open(os.path.join(home.work, "waiting.py"), "w", encoding="ascii") as file:
        file.write("import time\ntime.sleep(1000)\n")
    process = home.popen("start", "-n", "1", "--daemonize", "--preload", "waiting",
                         env=dict(os.environ, PYTHONPATH=home.work))
    wait_until(lambda: len(home.processes()) >= 5, "all roles")
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    home.wait_empty()
    assert "the command that started this cluster was ended meanwhile" in home.log()
    assert home.leftovers() == []


def test_daemonize_keeps_no_descriptor(home):
    """Who reads a pipe that the command inherited sees its end."""
    reader, writer = os.pipe()
    done = home.run("start", "-n", 1, "--daemonize", pass_fds=[writer])
    os.close(writer)
    assert done.returncode == 0, done.stderr
    assert os.read(reader, 1) == b""
    os.close(reader)
    assert home.run("stop").returncode == 0


def slow_python(home):
    path = os.path.join(home.work, "slow")
    with open(path, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nread nothing < /proc/self/fd/1\n")
    os.chmod(path, 0o700)
    return path


def waits_for(pid, script):
    """True when a child of that process runs the script."""
    for child in children(pid):
        try:
            with open(f"/proc/{child}/cmdline", "rb") as file:
                if file.read().startswith(b"/bin/sh\0" + script.encode()):
                    return True
        except OSError:
            pass
    return False


# ---- which Python -------------------------------------------------------------------------------


def fake_python(home, answer):
    path = os.path.join(home.work, "python")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\necho {answer}\n")
    os.chmod(path, 0o700)
    return path


def test_python_of_another_version(home, monkeypatch):
    embedded = ".".join(home.json("version")["python"].split(".")[:2])
    path = fake_python(home, "cpython 3.9")
    text = failure(home.run("start", "-n", 1, "--python", path))
    assert f"'{path}' (--python) is cpython 3.9" in text
    assert f"embed cpython {embedded}" in text
    os.mkdir(os.path.join(home.work, "bin"))
    os.rename(path, os.path.join(home.work, "bin", "python"))
    monkeypatch.setenv("VIRTUAL_ENV", home.work)
    text = failure(home.run("start", "-n", 1))
    assert f"(VIRTUAL_ENV={home.work}) is cpython 3.9" in text


@pytest.mark.parametrize("python, text", [
    ("/nowhere/python", "there is no Python at '/nowhere/python' (--python)"),
    ("nosuchpython", "there is no Python at '"),
    ("/bin/true", "'/bin/true' (--python) is no Python"),
])
def test_no_python(home, python, text):
    assert failure(home.run("start", "-n", 1, "--python", python)).startswith(text)
    assert home.leftovers() == []


def test_virtual_environment_that_is_gone(home, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/nowhere/env")
    text = failure(home.run("start", "-n", 1))
    assert "(VIRTUAL_ENV=/nowhere/env)" in text


@pytest.fixture
def environment(home):
    """A virtual environment with a package of its own."""
    path = os.path.join(home.work, "env")
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", path], check=True)
    version = ".".join(home.json("version")["python"].split(".")[:2])
    with open(f"{path}/lib/python{version}/site-packages/only_here.py", "w",
              encoding="ascii") as file:
        file.write("where = 'environment'\n")
    return path


@pytest.mark.parametrize("way", ["variable", "python", "folder", "installed"])
def test_virtual_environment(home, environment, start, way):
    python = os.path.join(environment, "bin", "python")
    if way == "variable":
        cluster = start(1, env={"VIRTUAL_ENV": environment})
    elif way == "installed":  # whatever else is active
        home.exe = shutil.copy(home.exe, os.path.join(environment, "bin"))
        cluster = start(1, env={"VIRTUAL_ENV": "/nowhere/env"})
    else:
        cluster = start(1, "--python", python if way == "python" else environment)
    done = cluster.run("exec", "import sys, only_here; print(sys.executable, only_here.where)")
    assert done.stdout == f"[0] {python} environment\n", done.stderr


# ---- engines that fail --------------------------------------------------------------------------


def test_preload(start):
    cluster = start(1, "--preload", "decimal,fractions")
    done = cluster.run("exec", "import sys; print('decimal' in sys.modules, 'fractions' in "
                               "sys.modules)")
    assert done.stdout == "[0] True True\n", done.stderr


def test_preload_that_fails(home):
    text = failure(home.run("start", "-n", 1, "--preload", "no_such_module"))
    assert "no_such_module" in text
    home.wait_empty()
    assert home.leftovers() == []


def test_preload_that_starts_a_thread(home):
    with open(os.path.join(home.work, "threaded.py"), "w", encoding="ascii") as file:
        file.write("import threading\nthreading.Thread(target=threading.Event().wait, "
                   "daemon=True).start()\n")
    done = home.run("start", "-n", 1, "--preload", "threaded",
                    env=dict(os.environ, PYTHONPATH=home.work))
    text = failure(done)
    assert "threaded" in text and "--no-nursery" in text
    home.wait_empty()


def test_preload_that_dies(home):
    with open(os.path.join(home.work, "deadly.py"), "w", encoding="ascii") as file:
        file.write("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = home.run("start", "-n", 1, "--preload", "deadly",
                    env=dict(os.environ, PYTHONPATH=home.work))
    text = failure(done)
    assert re.match(r"the nursery \(pid \d+\) was killed by signal 9 \(SIGKILL\)\n", text)
    home.wait_empty()
    assert home.leftovers() == []


def test_interrupted_while_starting(home):
    with open(os.path.join(home.work, "slow.py"), "w", encoding="ascii") as file:
        file.write("import time\nprint('importing', flush=True)\ntime.sleep(3600)\n")
    process = home.popen("start", "-n", "1", "--preload", "slow",
                         env=dict(os.environ, PYTHONPATH=home.work))
    wait_until(lambda: len(home.processes()) >= 4, "all roles")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert err.endswith("pcluster start: interrupted before the cluster was ready\n")
    home.wait_empty()
    assert home.leftovers() == []


def test_no_nursery(start):
    cluster = start(2, "--no-nursery")
    done = cluster.run("exec", "import os; print(os.getpid())")
    assert done.returncode == 0
    pids = {row["pid"] for row in cluster.engines()}
    assert {int(line.split()[1]) for line in done.stdout.splitlines()} == pids
