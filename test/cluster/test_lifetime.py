# SPDX-License-Identifier: BSD-3-Clause
"""Clusters that programs start for themselves: told in JSON, ended with the program."""

import json
import os
import signal
import subprocess

import pytest
from conftest import is_alive, wait_until


def test_ready_in_json(home):
    folder = os.path.join(home.work, "föl der")
    log = os.path.join(home.work, "my.log")
    done = home.run("start", "-n", 2, "--profile-dir", folder, "--cluster-id", "x", "--daemonize",
                    "--log-file", log, "--json")
    assert done.returncode == 0, done.stderr
    ready = json.loads(done.stdout)
    assert ready["engines"] == 2
    assert ready["profile_dir"] == folder
    assert ready["cluster_id"] == "x"
    assert ready["file"] == os.path.join(folder, "security", "pcluster-x-client.json")
    assert ready["log"] == log and os.path.getsize(log)
    assert is_alive(ready["pid"])
    status = home.json("status", "--file", ready["file"])
    assert status["pids"]["parent"] == ready["pid"]
    again = home.run("start", "-n", 2, "--profile-dir", folder, "--cluster-id", "x", "--json")
    assert again.returncode == 1 and not again.stdout
    assert f"stop it with 'pcluster stop --file {ready['file']}'" in again.stderr
    assert home.run("stop", "--file", ready["file"]).returncode == 0
    assert os.listdir(os.path.join(folder, "security")) == []


@pytest.mark.parametrize("command", ["start", "engine"])
def test_end_with(home, request, command):
    """It ends with a process that is killed, and leaves nothing behind."""
    args = ["-n", 2]
    if command == "engine":
        request.getfixturevalue("controller")
    before = home.processes()
    with subprocess.Popen(["sleep", "600"]) as other:
        done = home.run(command, *args, "--daemonize", "--end-with", other.pid, "--json")
        pid = json.loads(done.stdout)["pid"]
        other.send_signal(signal.SIGKILL)
        other.wait()
        wait_until(lambda: not is_alive(pid), "the end of the parent")
        wait_until(lambda: sorted(home.processes()) == sorted(before), "the end of all others")
    if command == "start":
        assert home.leftovers() == []
    assert f"stopping: process {other.pid} has ended" in home.log(
        "pcluster.log" if command == "start" else "pcluster-engine.log")


def test_end_with_one_that_has_ended(home):
    with subprocess.Popen(["true"]) as other:
        other.wait()
    done = home.run("start", "-n", 1, "--end-with", other.pid)
    assert done.returncode == 1
    assert f"the process {other.pid}, which this was to end with, is not there" in done.stderr
    assert home.leftovers() == []


def test_the_log_keeps_within_its_limit(home):
    """Whoever writes to it; older ones are kept."""
    log = os.path.join(home.work, "my.log")
    done = home.run("start", "-n", 1, "--daemonize", "--log-file", log, "--log-max-bytes", "4K", "--log-files", 2)
    assert done.returncode == 0, done.stderr
    for letter in "abc":
        with open(log, "a", encoding="ascii") as file:
            file.write(letter * 5000)
        wait_until(lambda: os.path.exists(f"{log}.1") and letter * 5000 in read(f"{log}.1"), "another file")
    assert "b" * 5000 in read(f"{log}.2")
    assert not os.path.exists(f"{log}.3")
    assert os.path.getsize(log) < 4096
    assert home.run("stop").returncode == 0
    assert "stopp" in read(log)  # and it is still the log


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()
