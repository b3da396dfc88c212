# SPDX-License-Identifier: BSD-3-Clause
"""Two hosts, played by two network namespaces with a cable between them."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from conftest import Cluster, wait_until

import pcluster


class Host:
    """A network namespace, and the executable within it."""

    def __init__(self, home, name, address):
        self.home = home
        self.name = name
        self.address = address
        self.exe = os.path.join(home.work, name)
        with open(self.exe, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nexec ip netns exec {name} {home.exe} \"$@\"\n")
        os.chmod(self.exe, 0o700)

    def start(self, command, *args):
        """A foreground command of pcluster on this host."""
        here, self.home.exe = self.home.exe, self.exe
        try:
            return Cluster(self.home, args, command=command)
        finally:
            self.home.exe = here


def ip(*args):
    return subprocess.run(["ip", *args], capture_output=True, text=True, check=False)


def need(done):
    if done.returncode:
        pytest.skip(f"network namespaces can't be had here: {done.stderr.strip()}")


@pytest.fixture
def hosts(home):
    """Two hosts that reach each other, and nobody else."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and the program ip (iproute2)")
    names = [f"pc{os.getpid()}{letter}" for letter in "ab"]
    pair = [Host(home, name, f"10.213.7.{i + 1}") for i, name in enumerate(names)]
    try:
        for name in names:
            need(ip("netns", "add", name))
        need(ip("link", "add", "cable", "netns", names[0], "type", "veth",
                "peer", "name", "cable", "netns", names[1]))
        for host in pair:
            need(ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "cable"))
            need(ip("-n", host.name, "link", "set", "cable", "up"))
            need(ip("-n", host.name, "link", "set", "lo", "up"))
        yield pair
    finally:
        for name in names:
            ip("netns", "del", name)


@pytest.fixture
def two(hosts):
    """A controller on the first host, two engines of the second one."""
    first, second = hosts
    controller = first.start("controller", "--ip", first.address)
    # The hosts share their files, so the Unix socket would be found: say what is meant.
    engines = second.start("engine", "-n", "2", "--transport", "tcp", "--file",
                           controller.engine_file)
    yield controller, engines
    for one in (engines, controller):
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
        one.process.communicate(timeout=60)


def test_engines_of_another_host(hosts, two):
    controller, engines = two
    assert f"at tcp://{hosts[0].address}:" in engines.ready
    done = controller.run("exec", "print('over the cable')")
    assert sorted(done.stdout.splitlines()) == ["[0] over the cable", "[1] over the cable"]
    with pcluster.Client(controller.file) as client:
        assert client[:].apply_sync(lambda: "Hello") == ["Hello", "Hello"]
        payload = os.urandom(3_000_000)
        assert client[0].apply_sync(bytes.upper, payload) == payload.upper()


def test_an_engine_dies_on_another_host(two):
    """How it died comes from the host that it ran on."""
    controller, _ = two
    with pcluster.Client(controller.file) as client:
        with pytest.raises(pcluster.EngineError, match=r"killed by signal 9 \(SIGKILL\)"):
            client[1].apply_sync(os.kill, client[1].apply_sync(os.getpid), 9)
        assert client.ids == [0]


def test_controller_stops(two):
    controller, engines = two
    assert controller.run("stop").returncode == 0
    code, _, err = engines.wait()
    assert code == 0, err
    assert "the controller at tcp://" in err


def test_cable_is_cut(home, hosts, two):
    """Both sides notice: the call fails, the engines and their host end."""
    controller, engines = two
    with pcluster.Client(controller.file) as client:
        pending = client[0].apply_async(time.sleep, 3600)
        ip("-n", hosts[1].name, "link", "set", "cable", "down")
        with pytest.raises(pcluster.EngineError, match="lost its connection|has not answered"):
            pending.get(60)
        wait_until(lambda: client.ids == [], "no engine to be left")
    code, _, err = engines.wait()
    assert code == 1
    assert "lost" in err
