# SPDX-License-Identifier: BSD-3-Clause
"""The exceptions: their family, their texts, and how they are made from messages."""

import copy
import io
import pickle
import traceback

import pytest

import pcluster
from pcluster import error

CONTENT = {
    "ename": "ValueError",
    "evalue": "bad",
    "traceback": "Traceback (most recent call last):\n  in f\nValueError: bad\n",
    "engine_info": {"engine_id": 3, "engine_uuid": "u", "method": "apply"},
}


@pytest.mark.parametrize(
    "child, parent",
    [
        ("KernelError", "IPythonError"),
        ("EngineError", "KernelError"),
        ("NoEnginesRegistered", "KernelError"),
        ("TaskAborted", "KernelError"),
        ("TaskTimeout", "KernelError"),
        ("TaskRejectError", "KernelError"),
        ("UnmetDependency", "KernelError"),
        ("ImpossibleDependency", "UnmetDependency"),
        ("DependencyTimeout", "ImpossibleDependency"),
        ("InvalidDependency", "ImpossibleDependency"),
        ("RemoteError", "KernelError"),
        ("CompositeError", "RemoteError"),
        ("AlreadyDisplayedError", "RemoteError"),
    ],
)
def test_family(child, parent):
    assert issubclass(getattr(pcluster, child), getattr(pcluster, parent))


@pytest.mark.parametrize(
    "name, builtin",
    [
        ("ConnectionLost", ConnectionError),
        ("ConnectionFileNotFound", FileNotFoundError),
        ("StaleConnectionFile", ConnectionError),
        ("ConnectRefused", ConnectionRefusedError),
        ("Unreachable", OSError),
        ("AuthenticationError", ConnectionError),
        ("WrongRole", ConnectionError),
        ("ClientClosed", OSError),
        ("BadConnectionFile", ValueError),
        ("CannotPickle", pickle.PicklingError),
    ],
)
def test_builtin_relatives(name, builtin):
    assert issubclass(getattr(error, name), builtin)


def test_timeout_is_the_builtin():
    assert error.TimeoutError is TimeoutError


def test_remote_error_texts():
    e = error.unwrap_exception(CONTENT)
    assert str(e) == "[3:apply] ValueError: bad"
    assert repr(e) == "<RemoteError[3]:ValueError(bad)>"
    assert (e.ename, e.evalue, e.traceback) == ("ValueError", "bad", CONTENT["traceback"])
    assert e.engine_info["engine_uuid"] == "u"
    assert e.render_traceback() == CONTENT["traceback"].splitlines()
    assert e.args == ("ValueError", "bad")


def test_plain_traceback_shows_the_remote_one():
    text = "".join(traceback.format_exception(error.unwrap_exception(CONTENT)))
    assert text.rstrip().endswith("on engine 3:\n" + CONTENT["traceback"].rstrip())


def test_print_traceback(capsys):
    error.unwrap_exception(CONTENT).print_traceback()
    assert "in f" in capsys.readouterr().err


@pytest.mark.parametrize("info", [None, {}, {"engine_id": 1}, {"method": "apply"}])
def test_incomplete_engine_info(info):
    e = error.RemoteError("E", "v", "", info)
    assert str(e).endswith("E: v") and "E(v)" in repr(e)
    assert not hasattr(e, "__notes__")


def test_traceback_may_be_a_list():
    assert error.unwrap_exception({**CONTENT, "traceback": ["a", "b"]}).traceback == "a\nb"


def test_controller_errors_are_of_both_worlds():
    content = {"ename": "EngineError", "evalue": "killed by SIGKILL", "engine_info": {"engine_id": 1}}
    e = error.unwrap_exception(content, failed=True)
    assert isinstance(e, error.EngineError) and isinstance(e, error.RemoteError)
    assert type(e).__name__ == "EngineError"
    assert str(e) == "[1] EngineError: killed by SIGKILL"
    assert not isinstance(error.unwrap_exception(content), error.EngineError)
    lost = error.unwrap_exception({"ename": "ConnectionLost", "evalue": "gone"}, failed=True)
    assert isinstance(lost, ConnectionError) and str(lost) == "ConnectionLost: gone"


@pytest.mark.parametrize("failed", [False, True])
def test_errors_can_be_pickled(failed):
    e = error.unwrap_exception({**CONTENT, "ename": "EngineError"}, failed=failed)
    for twin in (pickle.loads(pickle.dumps(e)), copy.copy(e)):
        assert type(twin) is type(e) and str(twin) == str(e) and twin.traceback == e.traceback
    many = error.composite([e, e], "f")
    twin = pickle.loads(pickle.dumps(many))
    assert type(twin) is type(many) and twin.elist == many.elist


def test_wrap_and_unwrap():
    try:
        raise KeyError("k")
    except KeyError:
        content = error.wrap_exception({"engine_id": 0, "method": "execute"})
    e = error.unwrap_exception(content)
    assert (e.ename, e.evalue) == ("KeyError", "'k'") and "raise KeyError" in e.traceback
    assert str(e).startswith("[0:execute] ")


def some_errors(count, ename="ValueError", failed=False):
    return [
        error.unwrap_exception(
            {"ename": ename, "evalue": f"v{i}", "traceback": f"trace {i}",
             "engine_info": {"engine_id": i, "method": "apply"}},
            failed=failed,
        )
        for i in range(count)
    ]


def test_composite_error():
    with pytest.raises(error.CompositeError) as info:
        error.collect_exceptions([1, *some_errors(6)], "f")
    e = info.value
    assert len(e.elist) == 6 and repr(e) == "CompositeError(6)"
    lines = str(e).splitlines()
    assert lines[0] == "one or more exceptions raised in: f"
    assert lines[1] == "[0:apply] ValueError: v0" and lines[-1] == ".... 2 more exceptions ..."
    assert len(lines) == 6
    text = "".join(traceback.format_exception(e))
    assert "trace 3" in text and "trace 4" not in text
    with pytest.raises(error.RemoteError, match="v5"):
        e.raise_exception(5)
    with pytest.raises(IndexError):
        e.raise_exception(6)
    assert e.render_traceback(5) == ["trace 5"]
    assert "trace 0" in "\n".join(e.render_traceback())


def test_composite_at_100_engines_is_readable():
    e = error.composite(some_errors(100), "f")
    assert len(str(e).splitlines()) == 6


def test_composite_print(capsys):
    e = error.composite(some_errors(2), "f")
    e.print_traceback()
    assert "trace 1" in capsys.readouterr().err
    e.print_traceback(1)
    assert "trace 0" not in capsys.readouterr().err


def test_composites_are_flattened():
    inner = error.composite(some_errors(2), "f")
    assert len(error.composite([inner, *some_errors(1)], "g").elist) == 3


def test_collect_without_errors():
    assert error.collect_exceptions([1, 2], "f") == [1, 2]
    assert error.collect_exceptions({0: 1}, "f") == {0: 1}
    with pytest.raises(error.CompositeError):
        error.collect_exceptions({0: some_errors(1)[0]}, "f")


def test_composite_of_one_cause_has_its_class():
    e = error.composite(some_errors(2, "EngineError", failed=True), "f")
    assert isinstance(e, error.EngineError) and isinstance(e, error.CompositeError)
    mixed = [*some_errors(1, "EngineError", failed=True), *some_errors(1)]
    assert not isinstance(error.composite(mixed, "f"), error.EngineError)


def test_lost_connection_is_the_one_thing_to_say():
    lost = some_errors(1, "ConnectionLost", failed=True)
    assert error.composite([*some_errors(2), *lost], "f") is lost[0]


def test_already_displayed():
    e = error.AlreadyDisplayedError("E", "v", "long\ntrace")
    assert e.render_traceback() == ["E: v"]


def test_every_error_is_exported():
    for name, value in vars(error).items():
        if isinstance(value, type) and issubclass(value, error.IPythonError):
            assert getattr(pcluster, name) is value and name in pcluster.__all__


def test_tracebacks_go_to_any_stream():
    out = io.StringIO()
    traceback.print_exception(error.unwrap_exception(CONTENT), file=out)
    assert "ValueError: bad" in out.getvalue()
