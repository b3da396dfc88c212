# SPDX-License-Identifier: BSD-3-Clause
"""Objects as lists of buffers, what can_map rewrites, and which pickler is used."""

import array
import functools
import pickle
import sys
import threading

import pytest

import pcluster
from pcluster import (
    CannotPickle,
    Reference,
    can,
    can_map,
    deserialize_object,
    pack_apply_message,
    serialize_object,
    uncan,
    uncan_map,
    unpack_apply_message,
    use_cloudpickle,
    use_dill,
    use_pickle,
)
from pcluster.serialize import FunctionCache, dumps


class Secret:
    """Can't be pickled by itself."""

    def __init__(self, value):
        self.value = value
        self.lock = threading.Lock()


class Sealed:
    """What goes instead."""

    def __init__(self, value):
        self.value = value


@pytest.fixture
def maps():
    can_map[Secret] = lambda obj: Sealed(obj.value)
    uncan_map[Sealed] = lambda obj, g: Secret(obj.value)
    yield
    can_map.clear()
    uncan_map.clear()


@pytest.fixture
def picklers():
    yield
    use_cloudpickle()


# ---- can_map ------------------------------------------------------------------------------------


def test_can_and_uncan(maps):
    canned = can([1, {"a": Secret(5)}, (Secret(6),)])
    assert type(canned[1]["a"]) is Sealed and type(canned[2][0]) is Sealed
    back = uncan(canned, {})
    assert back[1]["a"].value == 5 and back[2][0].value == 6
    plain = [1, ("a", {2})]
    assert can(plain) is plain and uncan(plain) is plain


def test_can_map_is_honoured_at_any_depth(maps):
    data, by_value = dumps([[{"a": (Secret(5),)}]])
    assert not by_value
    assert pickle.loads(data)[0][0]["a"][0].value == 5


def test_can_map_is_honoured_by_value(maps):
    def f(secret=Secret(7)):
        return secret.value

    assert pickle.loads(dumps(f)[0])() == 7


def test_can_map_by_name_and_without_uncan(maps):
    del can_map[Secret], uncan_map[Sealed]
    can_map[f"{__name__}.Secret"] = lambda obj: {"value": obj.value}
    assert pickle.loads(dumps([Secret(3)])[0]) == [{"value": 3}]


def test_canner_that_returns_its_own_type(maps):
    can_map[Sealed] = lambda obj: Sealed(obj.value + 1)
    uncan_map[Sealed] = lambda obj, g: obj
    assert pickle.loads(dumps(Sealed(1))[0]).value == 2


# ---- lists of buffers ---------------------------------------------------------------------------


@pytest.mark.parametrize("obj", [None, 5, "text", b"x" * 5000, [b"y" * 2000, 1], {"a": bytearray(3000)}, (1, [2])])
def test_there_and_back(obj):
    buffers = serialize_object(obj)
    back, rest = deserialize_object([*buffers, b"more"])
    assert back == obj and type(back) is type(obj) and rest == [b"more"]


def test_thresholds():
    assert len(serialize_object(b"x" * 1023)) == 1
    assert len(serialize_object(b"x" * 1024)) == 2
    assert len(serialize_object(b"x" * 1024, buffer_threshold=2000)) == 1
    many = [bytes([n]) * 1024 for n in range(64)]
    assert len(serialize_object(many[:63])) == 64
    assert len(serialize_object(many)) == 1
    assert len(serialize_object(many, item_threshold=65)) == 65


def test_large_buffers_are_not_copied():
    data = bytearray(5000)
    buffers = serialize_object([data])
    data[0] = 1
    assert buffers[1][0] == 1


def test_arrays():
    numpy = pytest.importorskip("numpy")
    a = numpy.arange(1000.0).reshape(10, 100)
    buffers = serialize_object({"deep": [[a]]})
    assert len(buffers) == 2
    back, _ = deserialize_object(buffers)
    assert (back["deep"][0][0] == a).all()
    structured = numpy.zeros(200, dtype=[("x", "f8"), ("name", "U4")])
    objects = numpy.array([{"a": 1}, None], dtype=object)
    back, _ = deserialize_object(serialize_object([structured, objects]))
    assert back[0].dtype == structured.dtype and back[1][0] == {"a": 1}


def test_memoryviews_keep_their_shape():
    numbers = array.array("d", range(600))
    for view in (memoryview(numbers), memoryview(bytes(2000)).cast("B", (20, 100)), memoryview(bytes(4000))[::2]):
        back, _ = deserialize_object(serialize_object(view))
        assert back.tobytes() == view.tobytes()
        assert (back.format, back.shape) == (view.format, view.shape)


@pytest.mark.parametrize("buffers", [[], [b""], [b"x"], serialize_object(b"x" * 2000)[:1]])
def test_missing_buffers(buffers):
    with pytest.raises(ValueError):
        deserialize_object(buffers)


def test_calls():
    def f(x, y=1):
        return x + y

    data = b"x" * 3000
    buffers = pack_apply_message(f, (2, data), {"y": [3]})
    g, args, kwargs = unpack_apply_message(buffers)
    assert g(1, y=2) == 3 and args == (2, data) and kwargs == {"y": [3]}
    with pytest.raises(ValueError):
        unpack_apply_message([*buffers, b"more"])


def test_calls_in_a_namespace():
    names = {"a": 5}
    f = eval("lambda x: x + a", {"__name__": "__main__", "a": 1, "__builtins__": __builtins__})
    f.__module__ = "__main__"
    buffers = pack_apply_message(f, (Reference("a * 2"),), {"k": Reference("a")})
    g, args, kwargs = unpack_apply_message(buffers, names)
    assert (g(1), args, kwargs) == (6, (10,), {"k": 5})
    with pytest.raises(NameError):
        unpack_apply_message(pack_apply_message(abs, (Reference("nothing"),), {}), names)


def test_copy_gives_writable_arrays():
    numpy = pytest.importorskip("numpy")
    buffers = [bytes(b) for b in pack_apply_message(abs, (numpy.zeros(1000),), {})]
    _, (a,), _ = unpack_apply_message(buffers)
    a[0] = 1
    _, (a,), _ = unpack_apply_message(buffers, copy=False)
    assert not a.flags.writeable


# ---- picklers -----------------------------------------------------------------------------------


def test_use_pickle(picklers):
    use_pickle()
    assert pickle.loads(dumps([1])[0]) == [1]
    with pytest.raises(CannotPickle, match="use_cloudpickle"):
        dumps(lambda: 1)
    use_cloudpickle()
    assert dumps(lambda: 1)[1]


def test_use_dill(picklers):
    dill = pytest.importorskip("dill")
    cache = FunctionCache()
    f = eval("lambda: 1", {"__name__": "__main__"})
    before = bytes(cache.pickled(f).data)
    use_dill()
    after = cache.pickled(f)
    assert b"dill" in bytes(after.data) and b"dill" not in before and after.by_value
    assert dill.loads(after.data)() == 1


def test_use_what_is_not_there(picklers, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dill", None)
    with pytest.raises(ImportError):
        use_dill()
    assert dumps(lambda: 1)[1]


# ---- conditions ---------------------------------------------------------------------------------


def test_depend():
    @pcluster.depend(lambda limit, least=0: least <= limit, 5, least=3)
    def f(x):
        """Doubles."""
        return 2 * x

    assert f(2) == 4 and f.__name__ == "f" and f.__doc__ == "Doubles."
    assert isinstance(f, pcluster.dependent)
    with pytest.raises(pcluster.UnmetDependency):
        pcluster.dependent(abs, lambda: False)(1)
    assert pcluster.dependent(abs, lambda: None)(-1) == 1  # only False means no


@pytest.mark.parametrize("thing", [5, None, [], functools.partial(abs), lambda: None])
def test_require_takes_what_has_a_name(thing):
    with pytest.raises(TypeError):
        pcluster.require(thing)


def test_require_takes_names_of_modules():
    for text in ("os; import sys", "", "os, sys", "from os import path", "os as", "os as o.p", "class", "os as if"):
        with pytest.raises(ValueError, match="numpy as np"):
            pcluster.require(text)
    assert pcluster.require(" os.path  as where_it_is", "os")(abs)(-1) == 1
    assert vars(sys.modules["__main__"]).pop("where_it_is").sep == "/"
    with pytest.raises(pcluster.UnmetDependency, match="no_such_module"):
        pcluster.require("no_such_module")(abs)(1)


# ---- what can't be pickled ----------------------------------------------------------------------


def test_errors_say_which_object():
    lock = threading.Lock()

    def uses():
        return lock

    for obj, words in (
        ({"a": [1, {"b": lock}]}, r"at \['a'\]\[1\]\['b'\]"),
        (uses, "its variable 'lock'"),
        (eval("lambda: shared", {"__name__": "__main__", "shared": [lock]}), r"its global 'shared'\[0\]"),
        ([Secret(1)], r"at \[0\]\.lock"),
    ):
        with pytest.raises(CannotPickle, match=words):
            dumps(obj)
    with pytest.raises(CannotPickle, match="lock") as caught:
        dumps(lock)
    assert "it is" not in str(caught.value)


def test_deep_nesting():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CannotPickle, match="nested too deeply"):
        dumps(deep)
    with pytest.raises(CannotPickle, match="nested too deeply"):
        dumps(lambda: deep)


def test_names_of_arguments():
    value, rest = deserialize_object(bufs=serialize_object({"a": 1}), g=None)
    assert value == {"a": 1} and rest == []
    bufs = pack_apply_message(f=max, args=(1, 2), kwargs={"key": abs})
    assert unpack_apply_message(bufs=bufs, g=None, copy=True) == (max, (1, 2), {"key": abs})
