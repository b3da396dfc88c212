# SPDX-License-Identifier: BSD-3-Clause
"""What bad input gets from the Python client: an exception that says what and where, no hang."""

import json
import os
import signal
import socket
import threading

import pytest
from conftest import wait_until
from shared import by_value, client, run_python, run_script, shared  # noqa: F401 (fixtures)

import pcluster
from pcluster import Client, error


@pytest.fixture
def changed(shared, tmp_path):
    """changed(field=value, ...) -> path of a connection file with other contents."""

    def write(**changes):
        path = tmp_path / "changed.json"
        contents = {**json.loads(open(shared.file, encoding="utf-8").read()), **changes}
        path.write_text(json.dumps(contents), encoding="utf-8")
        path.chmod(0o600)
        return str(path)

    return write


# ---- connecting -------------------------------------------------------------------------------


def test_missing_file(tmp_path, capfd):
    path = str(tmp_path / "none.json")
    with pytest.raises(error.ConnectionFileNotFound, match="none.json"):
        Client(path, timeout=0.3)
    assert capfd.readouterr().err.count("waiting up to 0.3 s") == 1


def test_missing_profile(shared):
    with pytest.raises(FileNotFoundError, match="no profile 'away'.*pcluster start --profile away"):
        Client(profile="away", timeout=0)


def test_missing_cluster(shared):
    with pytest.raises(FileNotFoundError, match="no cluster other runs in profile 'default'.*pcluster-other-client"):
        Client(cluster_id="other", timeout=0)


@pytest.mark.parametrize("arguments", [{"profile": "../x"}, {"profile": ""}, {"cluster_id": "a/b"}])
def test_impossible_names(shared, arguments):
    with pytest.raises(ValueError):
        Client(timeout=0, **arguments)


def test_engines_file(shared):
    with pytest.raises(error.WrongRole, match="engine.json.*pcluster-client.json"):
        Client(shared.engine_file)


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_engines_key(shared, changed, transport):
    """The key of engines in the file of clients."""
    key = json.loads(open(shared.engine_file, encoding="utf-8").read())["exec_key"]
    with pytest.raises(error.WrongRole):
        Client(changed(exec_key=key), transport=transport)


@pytest.mark.parametrize(
    "field, transport", [("exec_key", "unix"), ("exec_key", "tcp"), ("controller_key", "tcp")]
)
def test_wrong_key(changed, field, transport):
    """On the Unix socket the kernel vouches for the controller, so its key is not used there."""
    with pytest.raises(error.AuthenticationError, match="key"):
        Client(changed(**{field: "07" * 32}), transport=transport)


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_another_cluster_at_the_address(changed, transport):
    with pytest.raises(error.ConnectFailed) as info:
        Client(changed(instance="11" * 16), transport=transport)
    assert isinstance(info.value, (error.WrongCluster, error.StaleConnectionFile))


def test_refused_port(changed):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(error.ConnectFailed, match=f"127.0.0.1:{port}"):
        Client(changed(url=f"tcp://127.0.0.1:{port}", unix=None))


def test_unknown_host(changed):
    with pytest.raises((error.ConnectFailed, TimeoutError), match="host.invalid"):
        Client(changed(url="tcp://host.invalid:5", unix=None), timeout=5)


def test_unreachable_host(changed):
    with pytest.raises((error.ConnectFailed, TimeoutError), match="192.0.2.1"):
        Client(changed(url="tcp://192.0.2.1:5", unix=None), timeout=1)


class Listener(threading.Thread):
    """Somebody else at the address: answers every connection with the same bytes."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = "tcp://127.0.0.1:%d" % self.socket.getsockname()[1]
        self.held = []
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
                self.held.append(connection)
                if self.answer:
                    connection.recv(1000)
                    connection.sendall(self.answer)
            except OSError:
                return


def test_silent_listener(changed):
    listener = Listener(b"")
    with pytest.raises((TimeoutError, error.ConnectFailed), match=listener.url.partition("//")[2]):
        Client(changed(url=listener.url, unix=None), timeout=0.5)


def test_ctrl_c_while_connecting(changed):
    listener = Listener(b"")
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        Client(changed(url=listener.url, unix=None), timeout=60)


def test_ctrl_c_while_waiting_for_a_file(tmp_path):
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        Client(tmp_path / "none.json", timeout=60)


@pytest.mark.parametrize("answer", [b"HTTP/1.0 400 Bad Request\r\n\r\n" * 10, b"\0" * 500, os.urandom(5000)])
def test_somebody_else_listens(changed, answer):
    with pytest.raises((error.ConnectFailed, error.ProtocolError)):
        Client(changed(url=Listener(answer).url, unix=None), timeout=5)


def test_another_protocol_version(shared, changed):
    instance = bytes.fromhex(json.loads(open(shared.file, encoding="utf-8").read())["instance"])
    answer = b"PCLUSTER" + (99).to_bytes(2, "little") + b"\1" + b"\0" * 5 + instance
    with pytest.raises(error.VersionMismatch, match="99"):
        Client(changed(url=Listener(answer).url, unix=None), timeout=5)


def test_stale_file(home, start):
    cluster = start(1)
    copy = os.path.join(home.work, "copy.json")
    with open(cluster.file, encoding="utf-8") as file:
        contents = file.read()
    cluster.end()
    with open(copy, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
        file.write(contents)
    with pytest.raises(error.StaleConnectionFile, match="copy.json|pcluster start"):
        Client(copy)


def test_file_open_to_others(changed):
    path = changed()
    os.chmod(path, 0o644)
    with pytest.raises(error.BadConnectionFile, match="changed.json"):
        Client(path)


def test_plain_traceback_is_short(shared, tmp_path):
    """What a user sees: our exception, its text, and no question."""
    done = run_python("-c", f"import pcluster; pcluster.Client({str(tmp_path / 'x.json')!r}, timeout=0)")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("pcluster.error.ConnectionFileNotFound: ")


# ---- what user code does ----------------------------------------------------------------------


def test_remote_traceback_in_plain_python(shared, tmp_path):
    path = tmp_path / "script.py"
    path.write_text("""
from pcluster import Client
def inner(x):
    return 1 / x
def outer():
    return inner(0)
Client()[1].apply_sync(outer)
""", encoding="utf-8")
    done = run_python(str(path))
    assert done.returncode == 1
    text = done.stderr
    assert "pcluster.error.RemoteError: [1:apply] ZeroDivisionError: division by zero" in text
    remote = text[text.index("on engine 1:"):]
    assert "in outer" in remote and "in inner" in remote and remote.rstrip().endswith("division by zero")
    assert "pcluster engine" not in remote and "Unpickler" not in remote


@by_value
def raise_unpicklable():
    class Bad(Exception):
        def __init__(self):
            super().__init__(threading.Lock())

    raise Bad


@by_value
def raise_without_text():
    class Mute(Exception):
        def __str__(self):
            raise ZeroDivisionError

    raise Mute


@by_value
def recurse():
    return recurse()


@pytest.mark.parametrize(
    "f, ename",
    [
        (raise_unpicklable, "Bad"),
        (raise_without_text, "Mute"),
        (recurse, "RecursionError"),
        (lambda: threading.Lock(), "PicklingError|TypeError"),
        (lambda: exec("a b"), "SyntaxError"),
        (lambda: (_ for _ in ()).throw(KeyboardInterrupt), "KeyboardInterrupt"),
        (lambda: (_ for _ in ()).throw(SystemExit(3)), "SystemExit"),
        (lambda: (_ for _ in ()).throw(GeneratorExit), "GeneratorExit"),
        (lambda: (_ for _ in ()).throw(ValueError("ü" * 10)), "ValueError"),
        (lambda: (_ for _ in ()).throw(ValueError("x" * 10_000_000)), "ValueError"),
    ],
)
def test_exceptions(client, f, ename):
    import re

    with pytest.raises(error.RemoteError) as info:
        client[2].apply_sync(f)
    assert re.fullmatch(ename, info.value.ename)
    assert client[2].apply_sync(lambda: "fine") == "fine"


def test_error_names_the_missing_name(client):
    with pytest.raises(error.RemoteError, match="NameError.*nothing_like_this") as info:
        client[0].execute("nothing_like_this", block=True)
    assert "push" in str(info.value)


def test_errors_of_engines_are_told_apart(client):
    def fail():
        import os

        raise ValueError(os.getpid())

    with pytest.raises(error.CompositeError) as info:
        client[:].apply_sync(fail)
    assert [int(parts[1]) for parts in info.value.elist] == [e.pid for e in client.engines]
    assert [parts[3]["engine_id"] for parts in info.value.elist] == client.ids


def test_unpicklable_arguments_fail_at_the_call(client):
    with pytest.raises(error.CannotPickle, match="argument 1: .*lock"):
        client[0].apply_sync(print, 1, threading.Lock())
    assert client.history == []


def test_module_that_only_the_client_has(shared, tmp_path):
    """Importable functions go by name; the engine says that it lacks the module."""
    (tmp_path / "only_here.py").write_text("def f(): return 1", encoding="utf-8")
    out = run_script("""
import only_here
from pcluster import Client
try:
    Client()[0].apply_sync(only_here.f)
except Exception as e:
    print(e)
""", tmp_path)
    assert "ModuleNotFoundError" in out and "only_here" in out


def test_result_whose_class_is_missing_here(client):
    client[0].execute("""
import sys, types
module = types.ModuleType("only_there")
exec("class Thing: pass", module.__dict__)
sys.modules["only_there"] = module
thing = module.Thing()
""", block=True)
    with pytest.raises((ModuleNotFoundError, error.RemoteError)):
        client[0]["thing"]
    assert client[0].apply_sync(lambda: 1) == 1


@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(1000)"])
def test_busy_engine_and_close(shared, code):
    """Closing does not wait for engines; the others work on."""
    with Client(shared.file) as c:
        pid = c.engines[3].pid
        with Client(shared.file) as other:
            other[3].execute(code)
            assert other[0].apply_sync(lambda: 1) == 1
        after = c[3].apply_async(lambda: 2)
        # Again and again: one that comes before the code has begun means nothing.
        wait_until(lambda: after.ready() or os.kill(pid, signal.SIGINT), "the busy engine")
        assert after.exception() is None or "KeyboardInterrupt" in str(after.exception())
        assert c[3].apply_sync(lambda: 3) == 3


def test_version():
    assert pcluster.__version__ == ".".join(map(str, pcluster.version_info))
