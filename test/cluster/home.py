# SPDX-License-Identifier: BSD-3-Clause
"""A cluster of the real executable in folders of its own, and the processes that belong to it.

Processes are recognised by their current folder, which they inherit. $PCLUSTER_EXE names the
executable, else PATH. What tests, their fixtures and the fault harness share; conftest.py passes it on.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from unittest import mock

import pytest

# Generous: sanitizers and busy machines are slow. Nothing waits that long unless it fails.
DEADLINE_S = 60


# So that a test run that is killed leaves nothing behind either.
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def wait_until(condition, what="the condition", deadline_s=DEADLINE_S):
    """Returns the first true value of condition(); fails after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail(f"waited {deadline_s} s in vain for {what}")
        time.sleep(0.01)


def by_value(f):
    """Decorator: engines can't import the tests, so send this function by value."""
    f.__module__ = "__main__"
    return f


def is_alive(pid):
    """A zombie is not: it only waits for its parent to look."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    """Pids of the direct children."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []


def wait_begun(result):
    """Until each of its calls has printed something. An engine that is busy for the controller may
    not have begun yet."""
    def has_begun():
        said = result.stdout  # looking at whether it is ready takes in what has arrived
        return not result.ready() and (all(said) if isinstance(said, list) else said)

    wait_until(has_begun, "the call to begin")


class Home:
    """Folders, environment and processes of one test."""

    def __init__(self, path):
        self.path = path
        self.profiles = os.path.join(path, "p")
        self.runtime = os.path.join(path, "r")
        self.work = os.path.join(path, "w")
        self.etc = os.path.join(path, "e")
        for folder in (self.profiles, self.runtime, self.work):
            os.mkdir(folder, 0o700)
        os.mkdir(self.etc, 0o755)
        self.exe = os.environ.get("PCLUSTER_EXE") or shutil.which("pcluster")

    def security(self, name="pcluster-client.json", profile="default"):
        return os.path.join(self.profiles, f"profile_{profile}", "security", name)

    def log(self, name="pcluster.log", profile="default"):
        path = os.path.join(self.profiles, f"profile_{profile}", "log", name)
        with open(path, encoding="utf-8") as file:
            return file.read()

    def run(self, *args, timeout=DEADLINE_S, **options):
        """Runs a subcommand to its end; the result has returncode, stdout, stderr."""
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([self.exe, *map(str, args)], cwd=self.work, capture_output=True,
                              text=True, timeout=timeout, check=False, **options)

    def popen(self, *args, preexec_fn=None, **options):
        """Starts a subcommand in a process group of its own, as a shell does."""

        def before_exec():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if preexec_fn:
                preexec_fn()

        return subprocess.Popen(
            [self.exe, *map(str, args)], cwd=self.work, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
            preexec_fn=before_exec, **options)

    def json(self, *args):
        """What a subcommand with --json prints."""
        done = self.run(*args, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def processes(self):
        """Every process that this test started, directly or not, and that lives."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                inside = os.readlink(f"/proc/{name}/cwd").startswith(self.path)
            except OSError:
                continue
            if inside and is_alive(name):
                found.append(int(name))
        return found

    def leftovers(self):
        """Files of a running cluster: sockets, locks and connection files."""
        return [os.path.join(folder, name)
                for top in (self.profiles, self.runtime)
                for folder, _, names in os.walk(top)
                for name in names if not name.endswith(".log")]

    def wait_for_end(self, limit_s):
        """Waits for all of them to end; returns those that have not."""
        end = time.monotonic() + limit_s
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.01)
        return left

    @staticmethod
    def signal(pids, number):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def wait_empty(self):
        wait_until(lambda: not self.processes(), "all processes to end")


class Cluster:
    """A cluster in the foreground, started by the test."""

    def __init__(self, home, args, profile="default", cluster_id="", env=None, command="start"):
        self.home = home
        self.profile = profile
        self.cluster_id = cluster_id
        self.where = []
        if profile != "default":
            self.where += ["--profile", profile]
        if cluster_id:
            self.where += ["--cluster-id", cluster_id]
        environment = dict(os.environ, **(env or {}))
        self.process = home.popen(command, *self.where, *args, env=environment)
        self.pid = self.process.pid
        self.ready = self.process.stdout.readline()
        if not self.ready.startswith("ready: "):
            _, err = self.process.communicate(timeout=DEADLINE_S)
            pytest.fail(f"pcluster {command} {args} failed: {self.ready}{err}")

    @property
    def file(self):
        """Path of the clients' connection file."""
        dash = f"-{self.cluster_id}" if self.cluster_id else ""
        return self.home.security(f"pcluster{dash}-client.json", self.profile)

    @property
    def engine_file(self):
        return self.file.replace("-client.json", "-engine.json")

    def run(self, command, *args, **options):
        return self.home.run(command, *self.where, *args, **options)

    def status(self):
        return self.home.json("status", *self.where)

    def pids(self):
        """{"parent": pid, "scheduler": pid, "hub": pid}"""
        return self.status()["pids"]

    def nursery(self):
        """The one child of the parent that is neither scheduler nor hub."""
        pids = self.pids()
        known = {pids["scheduler"], pids["hub"]}
        found = [pid for pid in children(pids["parent"]) if pid not in known and is_alive(pid)]
        assert len(found) == 1, found
        return found[0]

    def engines(self):
        """Rows of those that are up."""
        return [row for row in self.status()["engines"] if row["state"] in ("idle", "busy")]

    def wait_engines(self, count):
        """Waits until exactly that many are up; returns their rows."""
        return wait_until(lambda: [rows] if len(rows := self.engines()) == count else None,
                          f"{count} engines")[0]

    def end(self, how=signal.SIGINT):
        """Sends a signal and waits; returns exit code, rest of stdout, stderr."""
        self.process.send_signal(how)
        return self.wait()

    def wait(self):
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out, err


@contextlib.contextmanager
def temporary_home():
    """A Home in new folders, which the environment of this process names as well, for Client().

    At the end whatever runs in it is ended; AssertionError when there was something.
    """
    # Short: the path of a Unix socket has at most 107 bytes.
    path = tempfile.mkdtemp(prefix="pc-", dir="/tmp")
    home = Home(path)
    folders = {"PCLUSTER_DIR": home.profiles, "PCLUSTER_ETC": home.etc, "XDG_RUNTIME_DIR": home.runtime}
    try:
        with mock.patch.dict(os.environ, folders):
            os.environ.pop("VIRTUAL_ENV", None)
            yield home
    finally:
        # What dies with another process does so a moment later.
        left = home.wait_for_end(5)
        home.signal(left, signal.SIGTERM)
        home.signal(home.wait_for_end(10) if left else [], signal.SIGKILL)
        shutil.rmtree(path, ignore_errors=True)
    assert not left, f"processes are left behind: {left}"
