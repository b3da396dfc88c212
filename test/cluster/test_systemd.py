# SPDX-License-Identifier: BSD-3-Clause
"""Under a real systemd, which runs in a fresh Debian of its own and can't reach this machine: boot.sh.

Where there is no such thing to be had, each test is skipped and says why.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import DEADLINE_S, wait_until
from test_packages import mirror

BUILD = Path(os.environ["PCLUSTER_EXE"]).resolve().parents[1]
BOOT = Path(__file__).with_name("boot.sh")
# What a pcluster loads at run time, and the manager.
DEBIAN = "systemd,python3,libpython3.11,python3-cloudpickle,libuv1,libsodium23,libcjson1,libsqlite3-0"
TARGET = """\
[Unit]
DefaultDependencies=no
Requires=systemd-journald.service systemd-journald.socket
"""
# A service manager of the user ann, without logind and PAM.
MANAGER = """\
[Service]
Type=notify
User=ann
RuntimeDirectory=ann
RuntimeDirectoryMode=0700
Environment=XDG_RUNTIME_DIR=/run/ann HOME=/home/ann
ExecStart=/lib/systemd/systemd --user --unit=sockets.target --log-target=journal
Delegate=yes
KillMode=mixed
TimeoutStopSec=10
"""
# They are about hardware and settings of the machine, and there is none.
MASKED = """
    dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount
    sys-kernel-debug.mount sys-kernel-tracing.mount systemd-modules-load.service systemd-sysctl.service
    systemd-tmpfiles-clean.timer systemd-udev-trigger.service systemd-udevd.service
""".split()


class Booted:
    """A systemd that runs; `pid` is its number here."""

    def __init__(self, root, group, process):
        self.root, self.group, self.process = root, group, process
        self.pid = wait_until(self.find_pid, "process 1 of the fresh root")

    def find_pid(self):
        assert self.process.poll() is None, (self.root / "boot.log").read_text()
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return Path(path).read_text(encoding="ascii").strip()

    def run(self, *command, check=True, user=None):
        """Runs a program in there; returns what it printed."""
        environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        if user:
            environment |= {"XDG_RUNTIME_DIR": f"/run/{user}", "HOME": f"/home/{user}"}
            command = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command)
        done = subprocess.run(["nsenter", "--target", self.pid, "--mount", "--pid", "--net", "--uts", "--ipc",
                               "--cgroup", "--root", "--wd=/", *map(str, command)],
                              env=environment, text=True, capture_output=True, timeout=DEADLINE_S, check=False)
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def show(self, unit, *names, user=None):
        """Properties of a unit, in the order of `names`."""
        manager = ["--user"] if user else []
        text = self.run("systemctl", *manager, "show", unit, *[f"--property={name}" for name in names], user=user)
        rows = dict(line.split("=", 1) for line in text.splitlines())
        return [rows[name] for name in names]

    def journal(self, *matches):
        """Messages, as dicts."""
        text = self.run("journalctl", "--output=json", *matches)
        return [json.loads(line) for line in text.splitlines()]

    def signal(self, name, pid):
        self.run("sh", "-c", f"kill -{name} {pid}")

    def end(self):
        self.process.kill()  # and so all in its namespace
        self.process.wait()
        wait_until(lambda: "populated 0" in (self.group / "cgroup.events").read_text(), "the end of the fresh root")
        for folder in sorted(self.group.rglob("*"), reverse=True):
            if folder.is_dir():
                folder.rmdir()
        self.group.rmdir()


def control_groups():
    """Where groups of version 2 are; None: nowhere."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, options = line.split()[:4]
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(place)
    return None


def install(root):
    """A Debian with systemd and pcluster, and the users that they need."""
    done = subprocess.run(["debootstrap", "--variant=minbase", f"--include={DEBIAN}", "bookworm", root, *mirror()],
                          capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip("no fresh Debian could be made: " + " ".join((done.stdout + done.stderr).splitlines()[-1:]))
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", root], check=True)
    units = root / "etc/systemd/system"
    (units / "fresh.target").write_text(TARGET)
    (units / "ann.service").write_text(MANAGER)
    for name in MASKED:
        (units / name).symlink_to("/dev/null")
    (root / "etc/machine-id").write_text("0" * 31 + "1\n")
    (root / "fresh-root").touch()
    for command in (["ldconfig"], ["useradd", "--create-home", "ann"], ["useradd", "--system", "pcluster"]):
        subprocess.run(["chroot", root, *command], check=True)


@pytest.fixture(scope="module")
def booted(tmp_path_factory):
    """A systemd in a root of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a fresh Debian")
    for program in ("debootstrap", "unshare", "nsenter", "setpriv"):
        if not shutil.which(program):
            pytest.skip(f"there is no {program}")
    groups = control_groups()
    if not groups:
        pytest.skip("there are no control groups of version 2 that could be written to")
    root = tmp_path_factory.mktemp("systemd") / "root"
    group = groups / f"pcluster-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        install(root)
        with open(root / "boot.log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--uts", "--ipc", "--net",
                 BOOT, root], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())))
        wait_until(lambda: process.poll() is not None or (root / "run/systemd/private").exists()
                   or is_up(process), "systemd")
        if process.poll() is not None:
            pytest.skip("systemd can't run in a root of its own: " + (root / "boot.log").read_text())
        machine = Booted(root, group, process)
        yield machine
        machine.end()
    finally:
        if group.exists():
            group.rmdir()
        shutil.rmtree(root, ignore_errors=True)


def is_up(process):
    """Whether the manager answers."""
    try:
        pid = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").strip()
        return pid and Path(f"/proc/{pid}/root/run/systemd/private").exists() and \
            Path(f"/proc/{pid}/comm").read_text(encoding="ascii") == "systemd\n"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def lab(booted):
    """The profile of the machine, as it is installed, with two engines."""
    folder = booted.root / "var/lib/pcluster/profile_lab"
    booted.run("install", "-d", "-o", "pcluster", "-m", "700", "/var/lib/pcluster", "/var/lib/pcluster/profile_lab")
    (folder / "pcluster.conf").write_text("engines = 2\n")
    booted.run("chown", "pcluster", "/var/lib/pcluster/profile_lab/pcluster.conf")
    booted.run("systemctl", "start", "pcluster@lab")
    yield folder
    booted.run("systemctl", "stop", "pcluster@lab")
    assert booted.show("pcluster@lab", "ActiveState", "Result") == ["inactive", "success"]


def run_lab(booted, *words, check=True):
    """A command of the profile's user, beside the service."""
    return booted.run("setpriv", "--reuid=pcluster", "--regid=pcluster", "--clear-groups", "env",
                      "PCLUSTER_DIR=/var/lib/pcluster", "XDG_RUNTIME_DIR=/run/pcluster-lab", "pcluster", words[0],
                      "--profile", "lab", *words[1:], check=check)


def test_it_does_not_reach_this_machine(booted):
    """What boot.sh is for."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        assert str(booted.root) not in file.read()
    places = {line.split()[1] for line in booted.run("cat", "/proc/mounts").splitlines()}
    assert all(any(place == own or place.startswith(own + "/") for own in ("/dev", "/proc", "/run", "/sys", "/tmp"))
               for place in places - {"/"}), places
    assert str(booted.root).split("/")[2] not in booted.run("ls", "/tmp")
    for setting in ("kernel/printk", "kernel/core_pattern", "fs/file-max", "vm/swappiness"):
        assert booted.run("sh", "-c", f"cat /proc/sys/{setting} >/proc/sys/{setting} 2>/dev/null || echo no") == "no\n"
    rights = int(booted.run("grep", "CapBnd", "/proc/1/status").split()[1], 16)
    module, rawio, boot, clock, mknod = 16, 17, 22, 25, 27  # linux/capability.h
    assert not any(rights >> right & 1 for right in (module, rawio, boot, clock, mknod))


def test_it_starts_and_says_how_it_is(booted, lab):
    state, status, kind = booted.show("pcluster@lab", "ActiveState", "StatusText", "Type")
    assert (state, status, kind) == ("active", "2 engines", "notify")
    assert sorted(run_lab(booted, "exec", "print(6 * 7)").splitlines()) == ["[0] 42", "[1] 42"]
    assert "NoNewPrivs:\t1" in run_lab(booted, "exec", "-t", "0", "print(open('/proc/self/status').read())")


def test_reload(booted, lab):
    file = lab / "security/pcluster-client.json"
    before = file.read_text()
    (lab / "pcluster.conf").write_text("engines = 1\nlog-level = debug\n")
    booted.run("systemctl", "reload", "pcluster@lab")
    assert booted.show("pcluster@lab", "ActiveState") == ["active"]
    wait_until(lambda: booted.show("pcluster@lab", "StatusText") == ["1 engine"], "fewer engines")
    wait_until(lambda: file.read_text() != before, "new keys")
    assert run_lab(booted, "exec", "print(1)") == "[0] 1\n"
    assert any("the log level is now 'debug'" in row["MESSAGE"] for row in booted.journal("PCLUSTER_ROLE=parent"))


def test_a_parent_that_is_killed_is_started_again(booted, lab):
    (pid,) = booted.show("pcluster@lab", "MainPID")
    booted.signal("KILL", pid)
    wait_until(lambda: booted.show("pcluster@lab", "NRestarts", "ActiveState") == ["1", "active"], "another start")
    assert booted.show("pcluster@lab", "StatusText") == ["2 engines"]
    assert "[1] 2" in run_lab(booted, "exec", "print(2)")


def test_the_journal_has_fields(booted, lab):
    run_lab(booted, "exec", "-t", "1", "import os; os._exit(3)", check=False)
    rows = wait_until(lambda: booted.journal("PCLUSTER_ENGINE=1"), "a line about engine 1")
    assert {row["_SYSTEMD_UNIT"] for row in rows} == {"pcluster@lab.service"}
    assert any("PCLUSTER_TASK" in row and row["PRIORITY"] == "4" for row in rows), rows


def test_the_watchdog_ends_one_that_hangs(booted, lab):
    drop_in = booted.root / "etc/systemd/system/pcluster@.service.d"
    drop_in.mkdir()
    try:
        (drop_in / "watchdog.conf").write_text("[Service]\nWatchdogSec=1\n")
        booted.run("systemctl", "daemon-reload")
        booted.run("systemctl", "restart", "pcluster@lab")
        time.sleep(2.5)  # longer than it would live without answers
        (count,) = booted.show("pcluster@lab", "NRestarts")
        assert count == "0"
        hub = json.loads(run_lab(booted, "status", "--json"))["pids"]["hub"]
        booted.signal("STOP", hub)
        wait_until(lambda: booted.show("pcluster@lab", "NRestarts", "ActiveState") == ["1", "active"],
                   "another start")
    finally:
        shutil.rmtree(drop_in)
        booted.run("systemctl", "daemon-reload")


def test_wrong_settings_are_not_tried_again(booted, lab):
    booted.run("systemctl", "stop", "pcluster@lab")
    (lab / "pcluster.conf").write_text("engines = many\n")
    booted.run("systemctl", "start", "pcluster@lab", check=False)
    assert booted.show("pcluster@lab", "ActiveState", "ExecMainStatus", "NRestarts") == ["failed", "2", "0"]
    booted.run("systemctl", "reset-failed", "pcluster@lab")


@pytest.fixture
def ann(booted):
    """The service manager of an ordinary user."""
    booted.run("systemctl", "start", "ann.service")
    yield "ann"
    booted.run("systemctl", "stop", "ann.service")


def test_a_connection_starts_it(booted, ann):
    """pcluster.socket: the port is held while the service is not there."""
    user = {"user": ann}
    booted.run("pcluster", "install-service", "-n", "1", "--no-enable", **user)
    booted.run("systemctl", "--user", "daemon-reload", **user)
    booted.run("systemctl", "--user", "start", "pcluster.socket", **user)
    assert booted.show("pcluster.service", "ActiveState", **user) == ["inactive"]
    booted.run("python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 5600))", **user)
    wait_until(lambda: booted.show("pcluster.service", "ActiveState", "StatusText", **user) == ["active", "1 engine"],
               "the service")
    assert "127.0.0.1:5600" in booted.run("pcluster", "status", **user)
    assert booted.run("pcluster", "exec", "print(3)", **user) == "[0] 3\n"
    booted.run("systemctl", "--user", "stop", "pcluster.service", "pcluster.socket", **user)


def test_limits_of_engines(booted, ann):
    """Where the machine delegates memory; elsewhere it is refused with the reason."""
    user = {"user": ann}
    has_memory = "memory" in booted.run("cat", "/sys/fs/cgroup/cgroup.controllers").split()
    booted.run("pcluster", "install-service", "-n", "1", "--no-enable", **user)
    booted.run("sh", "-c", "mkdir -p ~/.pcluster/profile_default && "
               "echo engine-memory-max = 300M >~/.pcluster/profile_default/pcluster.conf", **user)
    booted.run("systemctl", "--user", "daemon-reload", **user)
    booted.run("systemctl", "--user", "start", "pcluster.service", check=has_memory, **user)
    if not has_memory:
        assert booted.show("pcluster.service", "ExecMainStatus", **user) == ["2"]
        uid = booted.run("id", "-u", ann).strip()
        text = "".join(row["MESSAGE"] for row in booted.journal("_COMM=pcluster", f"_UID={uid}"))
        assert "memory" in text and "delegate" in text.lower(), text
        booted.run("sh", "-c", "rm ~/.pcluster/profile_default/pcluster.conf", **user)
        booted.run("systemctl", "--user", "reset-failed", "pcluster.service", **user)
        return
    where = booted.run("pcluster", "exec", "print(open('/proc/self/cgroup').read())", **user)
    assert "/engine-" in where
    path = where.split("::", 1)[1].strip()
    assert booted.run("cat", f"/sys/fs/cgroup{path}/memory.max").strip() == str(300 << 20)
    booted.run("systemctl", "--user", "stop", "pcluster.service", **user)
