# SPDX-License-Identifier: BSD-3-Clause
"""Controller and engines started separately: `pcluster controller` and `pcluster engine`."""

import json
import os
import re
import signal
import socket

import pytest
from conftest import DEADLINE_S, Cluster, children, wait_begun, wait_until
from home import by_value

import pcluster


def failure(done):
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stderr.startswith("pcluster engine: "), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr[len("pcluster engine: "):]


def changed_file(home, controller, **changes):
    """A copy of the engines' connection file with other contents."""
    path = os.path.join(home.work, "changed.json")
    with open(controller.engine_file, encoding="utf-8") as file:
        contents = dict(json.load(file), **changes)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(contents, file)
    os.chmod(path, 0o600)
    return path


@pytest.fixture
def join(home, controller):
    """join(n, ...) -> engines in the foreground, for the controller."""
    hosts = []

    def join_one(count=1, *args):
        host = Cluster(home, ["-n", count, *args], command="engine")
        hosts.append(host)
        return host

    yield join_one
    for host in hosts:
        if host.process.poll() is None:
            host.process.send_signal(signal.SIGINT)
    for host in hosts:
        try:
            host.process.communicate(timeout=DEADLINE_S)
        except ValueError:
            pass


def test_controller_alone(home, controller):
    assert re.match(r"ready: controller at tcp://127\.0\.0\.1:\d+ \(unix:\S+\) in ",
                    controller.ready)
    assert controller.status()["engines"] == []
    done = controller.run("exec", "1")
    assert done.returncode == 1
    assert "the cluster has no engines" in done.stderr
    assert home.run("stop").returncode == 0
    assert controller.wait()[0] == 0
    assert home.leftovers() == []


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_join(home, controller, join, way):
    one = join(2, "--transport", way)
    two = join(1, "--file", controller.engine_file)
    assert re.match(rf"ready: 2 engines at {way}:", one.ready)
    assert len(controller.engines()) == 3
    done = controller.run("exec", "print('here')")
    assert len(done.stdout.splitlines()) == 3
    assert two.end()[0] == 0
    assert len(controller.wait_engines(2)) == 2
    assert one.end()[0] == 0
    controller.wait_engines(0)
    assert len(controller.status()["engines"]) == 3  # all of them down


def test_join_a_whole_cluster(cluster, home):
    host = Cluster(home, ["-n", 1], command="engine")
    assert len(cluster.engines()) == 3
    assert host.end()[0] == 0
    cluster.wait_engines(2)


def test_controller_stops(home, controller, join):
    """Engines end with it, in order, and say so."""
    host = join(2)
    assert controller.end()[0] == 0
    code, _, err = host.wait()
    assert code == 0
    assert "the controller at unix:" in err and "stops" in err
    home.wait_empty()


def test_controller_is_killed(home, controller, join):
    host = join(2)
    controller.end(signal.SIGKILL)
    code, _, err = host.wait()
    assert code == 1
    assert "the connection to the controller at unix:" in err and "is lost" in err
    home.wait_empty()


@by_value
def wait_for(path):
    """Ends when the file is there."""
    import os
    import time

    print("on", flush=True)
    while not os.path.exists(path):
        time.sleep(0.01)
    return "whole"


def test_host_is_killed(home, controller, join):
    """Its engines end, and the controller notices."""
    host = join(2)
    host.end(signal.SIGKILL)
    controller.wait_engines(0)
    assert controller.process.poll() is None


@by_value
def once(path):
    """Fails when it runs again."""
    import os

    os.close(os.open(path, os.O_CREAT | os.O_EXCL))


def test_a_host_that_leaves_costs_no_task(home, controller, join):
    """Its engines finish what they do, and others get the rest."""
    leaving, host = join(1), join(1)
    go = os.path.join(home.work, "go")
    with pcluster.Client(controller.file) as client:
        long = client[0].apply_async(wait_for, go)
        wait_begun(long)
        view = client.load_balanced_view()
        leaving.process.send_signal(signal.SIGTERM)
        results = []
        while client.engines[0].id == 0:
            results += [view.apply_async(once, os.path.join(home.work, f"{len(results)}.{i}")) for i in range(100)]
            open(go, "wb").close()
            results[-1].wait(60)
        assert long.get(60) == "whole"
        assert [error for error in (result.exception(60) for result in results) if error] == []
        assert client.ids == [1]
    assert leaving.wait()[0] == 0
    assert host.end()[0] == 0


def test_engine_killed_elsewhere(controller, join):
    """The report of how it ended comes from the host that saw it."""
    host = join(1)
    done = controller.run("exec", "import os; os.kill(os.getpid(), 9)")
    assert "was killed by signal 9 (SIGKILL)" in done.stderr
    assert host.end()[0] == 0


def test_daemonize(home, controller):
    done = home.run("engine", "-n", 1, "--daemonize")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ready: 1 engine at unix:")
    assert len(controller.engines()) == 1
    assert controller.end()[0] == 0
    home.wait_empty()
    assert "the controller at unix:" in home.log("pcluster-engine.log")


# ---- what can be wrong --------------------------------------------------------------------------


def test_no_file(home):
    text = failure(home.run("engine"))
    assert home.security("pcluster-engine.json") in text
    text = failure(home.run("engine", "--file", "/nowhere/x.json"))
    assert "'/nowhere/x.json'" in text


def test_file_of_a_client(home, controller):
    text = failure(home.run("engine", "--file", controller.file))
    assert "is the connection file of a client" in text
    assert "pcluster-engine.json" in text


def test_key_of_a_client(home, controller):
    """The file says engine, but the key in it is the clients'."""
    with open(controller.file, encoding="utf-8") as file:
        key = json.load(file)["exec_key"]
    path = changed_file(home, controller, exec_key=key)
    for way in ("unix", "tcp"):
        text = failure(home.run("engine", "--file", path, "--transport", way))
        assert "client's key" in text
    assert controller.status()["engines"] == []


def test_unknown_key(home, controller):
    path = changed_file(home, controller, exec_key="42" * 32)
    for way in ("unix", "tcp"):
        text = failure(home.run("engine", "--file", path, "--transport", way))
        assert "key" in text
    assert controller.status()["engines"] == []


def test_stale_file(home, controller):
    path = changed_file(home, controller)
    controller.end(signal.SIGKILL)
    home.wait_empty()
    text = failure(home.run("engine", "--file", path))
    assert path in text
    home.wait_empty()


def test_refused_port(home, controller):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = changed_file(home, controller, url=f"tcp://127.0.0.1:{port}", unix=None)
    text = failure(home.run("engine", "--file", path))
    assert f"127.0.0.1:{port}" in text


def test_address_that_does_not_answer(home, controller):
    """Accepted and silent; Ctrl-C ends the wait at once, and nothing is left."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        path = changed_file(home, controller, url=f"tcp://127.0.0.1:{port}", unix=None)
        process = home.popen("engine", "--file", path)
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=5)
        assert process.returncode == -signal.SIGINT
        connection.close()
    wait_until(lambda: sorted(home.processes()) == sorted(
        [controller.pid, *children(controller.pid)]), "the nursery to end")


def test_another_cluster_at_the_address(home, controller):
    path = changed_file(home, controller, instance="ab" * 16)
    text = failure(home.run("engine", "--file", path, "--transport", "tcp"))
    assert "cluster" in text


def test_file_that_others_may_read(home, controller):
    path = changed_file(home, controller)
    os.chmod(path, 0o644)
    text = failure(home.run("engine", "--file", path))
    assert path in text
