# SPDX-License-Identifier: BSD-3-Clause
"""Under a service manager, which is a socket of ours: no manager of this machine is asked."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import pytest
from conftest import DEADLINE_S, Cluster, wait_begun, wait_until
from shared import by_value

import pcluster


class Manager:
    """Listens at a notify socket; `lines` is what came so far."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": path}
        self.messages = []

    @property
    def lines(self):
        while True:
            try:
                self.messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return [line for text in self.messages for line in text.split("\n")]

    def wait(self, line, count=1):
        wait_until(lambda: self.lines.count(line) >= count, f"{count} times {line!r}")


@pytest.fixture
def manager(home):
    """A service manager."""
    one = Manager(os.path.join(home.path, "notify"))
    yield one
    one.socket.close()


@pytest.fixture
def profile(home):
    """Writes the profile's pcluster.conf."""
    folder = os.path.join(home.profiles, "profile_default")
    os.mkdir(folder, 0o700)

    def write(text):
        with open(os.path.join(folder, "pcluster.conf"), "w", encoding="utf-8") as file:
            file.write(text)

    return write


def test_it_says_how_it_goes(start, manager):
    cluster = start(2, env=manager.environment)
    assert manager.lines.index("READY=1") > 0
    assert "STATUS=0 of 2 engines" in manager.lines
    manager.wait("STATUS=2 engines")
    assert cluster.run("exec", "-t", "0", "import os; os._exit(3)").returncode == 1
    manager.wait("STATUS=1 of 2 engines")
    code, _, _ = cluster.end(signal.SIGTERM)
    assert code == 0
    assert "STOPPING=1" in manager.lines and "STATUS=stopping: got SIGTERM" in manager.lines


def test_it_remembers_on_disk(start, manager, profile):
    """Unless told otherwise: a fresh start has what was there before."""
    cluster = start(1, env=manager.environment)
    with pcluster.Client(cluster.file) as client:
        result = client[0].apply_async(abs, -3)
        assert result.get() == 3
    assert cluster.end(signal.SIGTERM)[0] == 0
    cluster = start(1, env=manager.environment)
    assert cluster.status()["store"]["kind"] == "sqlite"
    with pcluster.Client(cluster.file) as client:
        assert client.get_result(result.msg_ids[0]).get() == 3
    cluster.end()
    profile("store = memory\n")
    assert start(1, env=manager.environment).status()["store"]["kind"] == "memory"


def test_an_abstract_socket(start, home):
    path = f"@pc-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + path[1:])
        listener.settimeout(DEADLINE_S)
        start(1, env={"NOTIFY_SOCKET": path})
        while listener.recv(4096) != b"READY=1":
            pass


def test_user_code_does_not_see_the_manager(start, manager):
    cluster = start(1, env={**manager.environment, "WATCHDOG_USEC": "10000000",
                            "LISTEN_FDS": "2", "LISTEN_PID": "1"})
    done = cluster.run("exec", "import os; print(sorted(k for k in os.environ if k.startswith("
                               "('NOTIFY', 'WATCHDOG', 'LISTEN'))))")
    assert done.stdout == "[0] []\n"


def test_the_watchdog_is_answered_only_while_the_roles_answer(start, manager):
    cluster = start(1, env={**manager.environment, "WATCHDOG_USEC": "200000"})
    manager.wait("WATCHDOG=1", 3)
    hub = cluster.pids()["hub"]
    os.kill(hub, signal.SIGSTOP)
    try:
        before = manager.lines.count("WATCHDOG=1")
        time.sleep(0.6)  # twelve times as long as from one answer to the next
        assert manager.lines.count("WATCHDOG=1") <= before + 2
    finally:
        os.kill(hub, signal.SIGCONT)
    manager.wait("WATCHDOG=1", manager.lines.count("WATCHDOG=1") + 2)


def test_the_watchdog_goes_on_with_another_hub(start, manager):
    cluster = start(1, env={**manager.environment, "WATCHDOG_USEC": "200000"})
    os.kill(cluster.pids()["hub"], signal.SIGKILL)
    wait_until(lambda: cluster.status()["deaths"], "the death of the hub")
    manager.wait("WATCHDOG=1", manager.lines.count("WATCHDOG=1") + 3)
    assert "STOPPING=1" not in manager.lines


def test_a_manager_that_does_not_read(start, manager):
    """Its queue is full after some ten beats; the cluster goes on."""
    cluster = start(1, env={**manager.environment, "WATCHDOG_USEC": "40000"})
    for _ in range(10):
        assert cluster.status()["ok"]
    manager.wait("WATCHDOG=1", manager.lines.count("WATCHDOG=1") + 2)


def test_a_parent_that_is_killed(home, start, manager):
    """Its processes end with it, so that the manager can start another at once."""
    cluster = start(2, "--store", "sqlite", env=manager.environment)
    with pcluster.Client(cluster.file, grace=1) as client:
        done = client[0].apply_async(abs, -5)
        assert done.get() == 5
        file = sqlite3.connect(os.path.join(home.profiles, "profile_default", "tasks.db"))
        wait_until(lambda: file.execute("SELECT count(*) FROM tasks").fetchone() == (1,),
                   "a commit")
        file.close()
        waiting = client[0].execute("import time; time.sleep(3600)")
        wait_until(lambda: cluster.engines()[0]["state"] == "busy", "a busy engine")
        pids = home.processes()
        cluster.process.kill()
        cluster.process.wait()
        again = start(2, "--store", "sqlite", env=manager.environment)
        with pytest.raises(pcluster.ConnectionLost):
            waiting.get(timeout=DEADLINE_S)
    manager.wait("READY=1", 2)
    wait_until(lambda: not set(pids) & set(home.processes()), "the old processes to end")
    with pcluster.Client(again.file) as client:
        assert client.get_result(done.msg_ids).get() == [5]
        assert client[:].apply_sync(abs, -6) == [6, 6]


def test_reload(home, start, manager, profile):
    profile("log-level = error\n")
    cluster = start(1, env=manager.environment)
    profile("log-level = debug\n")
    cluster.process.send_signal(signal.SIGHUP)
    manager.wait("READY=1", 2)
    reloading = manager.lines.index("RELOADING=1")
    assert manager.lines[reloading + 1].startswith("MONOTONIC_USEC=")
    with pcluster.Client(cluster.file) as client:
        assert client[:].apply_sync(abs, -1) == [1]
    assert cluster.process.poll() is None
    _, _, err = cluster.end()
    assert "parent info: the log level is now 'debug'" in err
    assert "scheduler debug: " in err


@by_value
def wait_for_file(path):
    import os
    import time

    print("on", flush=True)
    while not os.path.exists(path):
        time.sleep(0.01)
    return True


def test_reload_changes_how_many_engines(home, manager, profile):
    """Those end first that have nothing to do; what runs may end by itself."""
    profile("engines = 1\nlog-level = info\n")
    process = home.popen("start", env=dict(os.environ, **manager.environment))
    gate = os.path.join(home.work, "gate")
    try:
        manager.wait("READY=1")
        profile("engines = 3\nlog-level = info\n")
        process.send_signal(signal.SIGHUP)
        manager.wait("STATUS=3 engines")
        with pcluster.Client() as client:
            wait_until(lambda: client.ids == [0, 1, 2], "three engines")
            busy = client[[1, 2]].apply_async(wait_for_file, gate)
            wait_begun(busy)
            profile("engines = 1\nlog-level = info\n")
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: client.ids == [1, 2], "the idle engine to leave")
            with open(gate, "w", encoding="ascii"):
                pass
            assert busy.get(timeout=DEADLINE_S) == [True, True]
            wait_until(lambda: client.ids == [1], "the younger of the others to leave")
            assert client[1].apply_sync(abs, -8) == 8
        manager.wait("STATUS=1 engine", 2)
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert "stopping 2 engines: fewer are set" in err


def opens(file):
    """False: the key in it is refused."""
    try:
        with pcluster.Client(file) as client:
            return bool(client.ids)
    except pcluster.error.AuthenticationError as refused:
        assert "get a new connection file" in str(refused)
        return False


def test_reload_makes_new_keys(home, start, manager):
    """Who is connected goes on; who comes needs the new file; engines have it."""
    cluster = start(1, "--restart", "always", env=manager.environment)
    old_file = shutil.copy(cluster.file, os.path.join(home.work, "old.json"))
    with pcluster.Client(cluster.file) as before:
        gate = os.path.join(home.work, "gate")
        waiting = before[0].apply_async(wait_for_file, gate)
        cluster.process.send_signal(signal.SIGHUP)
        manager.wait("READY=1", 2)
        with pcluster.Client(cluster.file) as after:
            wait_until(lambda: not opens(old_file), "the end of the old key")
            with open(gate, "w", encoding="ascii"):
                pass
            assert waiting.get(timeout=DEADLINE_S) is True
            assert before[0].apply_sync(abs, -3) == 3
            os.kill(after[0].apply_sync(os.getpid), signal.SIGKILL)
            wait_until(lambda: after.ids == [1], "an engine that has the new key")
            assert after[1].apply_sync(abs, -5) == 5


def test_reload_keeps_keys_if_told_so(start, manager, profile):
    cluster = start(1, env=manager.environment)
    profile("keep-keys = yes\n")
    with open(cluster.file, encoding="utf-8") as file:
        before = file.read()
    cluster.process.send_signal(signal.SIGHUP)
    manager.wait("READY=1", 2)
    with open(cluster.file, encoding="utf-8") as file:
        assert file.read() == before


def test_a_host_reads_its_connection_file_again(home, manager):
    """From then on its engines have the key that the controller has by now."""
    cluster = Cluster(home, [], command="controller", env=manager.environment)
    theirs = Manager(os.path.join(home.path, "notify-host"))
    old_file = shutil.copy(cluster.file, os.path.join(home.work, "old.json"))
    host = home.popen("engine", "-n", "1", "--restart", "always",
                      env=dict(os.environ, **theirs.environment))
    try:
        theirs.wait("READY=1")
        cluster.process.send_signal(signal.SIGHUP)
        manager.wait("READY=1", 2)
        wait_until(lambda: not opens(old_file), "the end of the old keys")
        host.send_signal(signal.SIGHUP)
        theirs.wait("READY=1", 2)
        with pcluster.Client(cluster.file) as client:
            os.kill(client[0].apply_sync(os.getpid), signal.SIGKILL)
            wait_until(lambda: client.ids == [1], "an engine that has the new key")
            assert client[1].apply_sync(abs, -5) == 5
    finally:
        cluster.end(signal.SIGTERM)
        host.communicate(timeout=DEADLINE_S)
        theirs.socket.close()


def test_it_says_once_that_it_is_ready(home):
    """Where the log goes to the same place: the journal, a terminal."""
    process = subprocess.Popen([home.exe, "start", "-n", "1", "--log-level", "info"], cwd=home.work, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = [process.stdout.readline()]
    while "ready: 1 engine" not in lines[-1]:
        lines.append(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert "ready:" not in out and "ready:" not in "".join(lines[:-1])


def test_settings_that_are_wrong_change_nothing(home, start, manager, profile):
    cluster = start(1, env=manager.environment)
    profile("engines = many\n")
    cluster.process.send_signal(signal.SIGHUP)
    manager.wait("READY=1", 2)
    assert len(cluster.engines()) == 1
    _, _, err = cluster.end()
    assert "engines 'many' is not a whole number" in err
    assert "the settings are wrong, and stay as they were" in err


def test_in_the_background_sighup_reloads(home, profile):
    assert home.run("start", "-n", 1, "--daemonize").returncode == 0
    profile("log-level = debug\n")
    os.kill(home.json("status")["pids"]["parent"], signal.SIGHUP)
    wait_until(lambda: "the log level is now 'debug'" in home.log(), "the new level")
    assert home.run("stop").returncode == 0


def test_what_another_start_would_not_change(home, start, manager, profile):
    """Exit code 2: RestartPreventExitStatus."""
    environment = dict(os.environ, **manager.environment)
    start(1)
    done = home.run("start", "-n", 1, env=environment)
    assert done.returncode == 2
    assert any(line.startswith("STATUS=a cluster is already running") for line in manager.lines)
    profile("colour = red\n")
    assert home.run("start", env=environment).returncode == 2


# ---- sockets that were opened before ---------------------------------------------------------


def sockets(home):
    """A listening TCP socket and a Unix one."""
    tcp = socket.create_server(("127.0.0.1", 0))
    path = os.path.join(home.path, "given.sock")
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(path)
    unix.listen()
    return tcp, unix, path


def activated(home, given, *args, count=None):
    """Starts a cluster with sockets on descriptors 3, 4, ..."""
    numbers = [one.fileno() for one in given]
    moved = " ".join(f"{3 + i}<&{number}" for i, number in enumerate(numbers))
    script = f'export LISTEN_PID=$$ LISTEN_FDS={count or len(given)}; exec "$@" {moved}'
    return subprocess.Popen(["/bin/bash", "-c", script, "bash", home.exe, "start", *args],
                            cwd=home.work, pass_fds=numbers, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def test_given_sockets(home):
    tcp, unix, path = sockets(home)
    port = tcp.getsockname()[1]
    process = activated(home, [tcp, unix], "-n", "2", "--port", "1")  # not this one
    try:
        assert f"tcp://127.0.0.1:{port} (unix:{path})" in process.stdout.readline()
        with pcluster.Client() as client:
            assert client[:].apply_sync(abs, -2) == [2, 2]
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    assert os.path.exists(path)  # it is not ours to remove
    again = activated(home, [tcp, unix], "-n", "1")
    try:
        assert f":{port} " in again.stdout.readline()
    finally:
        again.send_signal(signal.SIGTERM)
        again.communicate(timeout=DEADLINE_S)
    tcp.close()
    unix.close()


def test_given_only_a_port(home):
    tcp, unix, _ = sockets(home)
    unix.close()
    process = activated(home, [tcp], "-n", "1", "--transport", "tcp")
    try:
        assert f"127.0.0.1:{tcp.getsockname()[1]} (unix:{home.runtime}" in process.stdout.readline()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    tcp.close()


@pytest.mark.parametrize("kind, text", [
    ("two", "LISTEN_FDS names two TCP sockets: a cluster has one of each kind"),
    ("udp", "descriptor 3, which LISTEN_FDS names, is not a listening TCP or Unix socket"),
    ("none", "can't use descriptor 4, which LISTEN_FDS names"),
])
def test_sockets_that_are_no_use(home, kind, text):
    given = [socket.create_server(("127.0.0.1", 0))]
    if kind == "two":
        given.append(socket.create_server(("127.0.0.1", 0)))
    if kind == "udp":
        given = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
    process = activated(home, given, "-n", "1", count=2 if kind == "none" else None)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert err.startswith(f"pcluster start: {text}")
    for one in given:
        one.close()


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"),
                    reason="systemd-socket-activate is not installed")
def test_systemd_socket_activate(home):
    """Both sockets of pcluster.socket; a connection to the port starts the cluster, and is served."""
    path = os.path.join(home.path, "on-demand.sock")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-l", path]
    for name in ("PCLUSTER_DIR", "PCLUSTER_ETC", "XDG_RUNTIME_DIR", "PATH", "LD_PRELOAD",
                 "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS"):
        if name in os.environ:
            command += ["-E", name]
    with subprocess.Popen([*command, home.exe, "start", "-n", "1"], cwd=home.work,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        with socket.socket() as caller:
            wait_until(lambda: caller.connect_ex(("127.0.0.1", port)) == 0, "somebody who listens")
            assert f"tcp://127.0.0.1:{port} (unix:{path})" in process.stdout.readline()
            caller.sendall(b"GET / HTTP/1.0\r\n\r\n".ljust(32, b"x"))
            caller.settimeout(DEADLINE_S)
            assert caller.recv(1) == b""  # the scheduler has taken it, and found it no pcluster
        assert home.run("exec", "print(7)").stdout == "[0] 7\n"
        with pcluster.Client() as client:
            assert client[0].apply_sync(abs, -3) == 3
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


# ---- install-service -------------------------------------------------------------------------


@pytest.fixture
def systemctl(home, monkeypatch):
    """A fake systemctl that writes what it was told; returns (told, set its exit code)."""
    folder = os.path.join(home.path, "bin")
    told = os.path.join(home.path, "told")
    os.mkdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", os.path.join(home.path, "config"))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(code):
        script = os.path.join(folder, "systemctl")
        with open(script, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\necho "$@" >>{told}\nexit {code}\n')
        os.chmod(script, 0o755)

    def read():
        with open(told, encoding="ascii") as file:
            return file.read().splitlines()

    make(0)
    return read, make


def unit(home, name):
    path = os.path.join(home.path, "config", "systemd", "user", name)
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_install_service(home, systemctl):
    told, _ = systemctl
    done = home.run("install-service", "--user", "-n", 4)
    assert done.returncode == 0, done.stderr
    text = unit(home, "pcluster.service")
    exe = os.path.realpath(home.exe)
    assert f'\nExecStart="{exe}" start --profile default --daemonize=no -n 4\n' in text
    assert f'\nEnvironment="PCLUSTER_DIR={home.profiles}"\n' in text
    assert "\nType=notify\n" in text and "\nRestartPreventExitStatus=2\n" in text
    assert told() == ["--user daemon-reload", "--user enable pcluster.service"]
    assert home.run("install-service", "--profile", "lab", "--no-enable").returncode == 0
    assert "--profile lab --daemonize=no\n" in unit(home, "pcluster-lab.service")
    assert len(told()) == 2


def test_install_service_for_a_profile_elsewhere(home, systemctl, monkeypatch):
    """Its unit is named after the folder."""
    told, _ = systemctl
    folder = os.path.join(home.work, "100% mine", "profile_far")
    os.makedirs(folder)
    assert home.run("install-service", "--profile-dir", folder).returncode == 0
    doubled = folder.replace("%", "%%")
    assert f' start --profile-dir "{doubled}" --daemonize=no\n' in unit(home, "pcluster-far.service")
    assert told() == ["--user daemon-reload", "--user enable pcluster-far.service"]
    monkeypatch.setenv("PCLUSTER_PROFILE_DIR", os.path.join(home.work, "profile_default"))
    assert home.run("install-service", "--no-enable").returncode == 0
    assert f"{home.work}/profile_default" in unit(home, "pcluster-default.service")


def test_install_service_without_a_manager(home, systemctl):
    _, make = systemctl
    make(1)
    done = home.run("install-service")
    assert done.returncode == 0
    assert "systemctl --user enable --now pcluster.service" in done.stdout


def test_install_service_where_it_can_not(home, systemctl):
    with open(os.path.join(home.path, "config"), "w", encoding="ascii"):
        pass
    done = home.run("install-service")
    assert done.returncode == 1
    assert "can't make the folder" in done.stderr
    assert home.run("install-service", "--profile", "a b").returncode == 1
    assert home.run("install-service", "--user=no").returncode == 2


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_units_are_correct(home, systemctl, monkeypatch):
    monkeypatch.delenv("LD_PRELOAD", raising=False)  # the analyser can't live with a sanitizer's library
    home.run("install-service", "--no-enable")
    path = os.path.join(home.path, "config", "systemd", "user", "pcluster.service")
    done = subprocess.run(["systemd-analyze", "verify", "--user", "--man=no", path], text=True,
                          capture_output=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
