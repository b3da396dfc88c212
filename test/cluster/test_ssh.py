# SPDX-License-Identifier: BSD-3-Clause
"""Clients that reach their controller through ssh. A stand-in for ssh relays on this machine."""

import json
import os
import shutil
import signal
import sys

import pytest
from conftest import wait_until
from shared import run_python

import pcluster
from pcluster import error

# Does what ssh does with -L, until its standard input ends.
SSH = """#!{python}
import json, os, socket, sys, threading
args = sys.argv[1:]
with open({log!r}, "w") as file:
    json.dump([os.getpid(), *args], file)
place = args[-2]
if place == "stranger":
    sys.exit("stranger: Permission denied (publickey).")
if place == "silent":
    sys.stdin.read()
_, port, host, far = args[args.index("-L") + 1].split(":")
listener = socket.create_server(("127.0.0.1", int(port)))

def copy(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)

def serve():
    while True:
        near, _ = listener.accept()
        there = socket.create_connection((host, int(far)))
        for pair in ((near, there), (there, near)):
            threading.Thread(target=copy, args=pair, daemon=True).start()

threading.Thread(target=serve, daemon=True).start()
sys.stdin.read()
"""


@pytest.fixture
def ssh(home, monkeypatch):
    """Path where the stand-in says with what it was run; it is found instead of ssh."""
    folder, log = os.path.join(home.work, "bin"), os.path.join(home.work, "ssh.json")
    os.mkdir(folder)
    path = os.path.join(folder, "ssh")
    with open(path, "w", encoding="utf-8") as file:
        file.write(SSH.format(python=sys.executable, log=log))
    os.chmod(path, 0o755)
    monkeypatch.setenv("PATH", folder, prepend=os.pathsep)
    return log


def read(log):
    with open(log, encoding="utf-8") as file:
        return json.load(file)


def test_through_ssh(ssh, cluster, home):
    copy = os.path.join(home.work, "copy.json")
    shutil.copy(cluster.file, copy)
    with pcluster.Client(copy, sshserver="me@there:2222", sshkey="~/key") as c:
        assert c.info["address"].startswith("tcp://127.0.0.1:")
        assert c[:].apply_sync(bytes, 1_000_000) == [bytes(1_000_000)] * 2
        pid, *args = read(ssh)
        assert args[-3:] == ["--", "me@there", "cat"]
        assert args[args.index("-p") + 1] == "2222" and args[args.index("-i") + 1] == os.path.expanduser("~/key")
    assert not os.path.exists(f"/proc/{pid}")
    with pcluster.Client(sshserver="there") as c:  # the profile's own file
        assert c.ids == [0, 1] and "-p" not in read(ssh)


def test_tunnel_that_fails(ssh, cluster):
    with pytest.raises(error.Unreachable, match="through stranger can't be made: .*Permission denied.*; try 'ssh -T"):
        pcluster.Client(sshserver="stranger")
    with pytest.raises(error.Unreachable, match="no answer in 0.2 s"):
        pcluster.Client(sshserver="silent", timeout=0.2)
    with pytest.raises(error.ConnectionFileNotFound, match="copy it here"):
        pcluster.Client("/nowhere.json", sshserver="there")
    with pytest.raises(error.BadConnectionFile, match="no address with a port"):
        pcluster.Client({"url": "tcp://nowhere"}, sshserver="there")


def test_killed_client_leaves_no_ssh(ssh, cluster):
    done = run_python("-c", "import os, pcluster\nc = pcluster.Client(sshserver='there')\nos.kill(os.getpid(), 9)")
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = read(ssh)[0]
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "ssh to end")
