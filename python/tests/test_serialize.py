# SPDX-License-Identifier: BSD-3-Clause
"""What is sent: pickles, buffers beside them, and the cache of pickled functions."""

import builtins
import ctypes
import functools
import gc
import inspect
import json
import math
import pickle
import sys
import threading
import tracemalloc
import types
import weakref

import pytest

from pcluster import CannotPickle, PrePickled, Reference
from pcluster.serialize import (
    FunctionCache,
    arguments,
    dumps,
    functions,
    pack_arguments,
    pack_namespace,
    picklers,
    serialize_object,
)
from pcluster.serialize.buffers import find_large
from pcluster.serialize.reference import MAP, Expression


def load_arguments(parts):
    return pickle.loads(parts[0], buffers=parts[1:])


def main_function(source, name="f", **names):
    """A function that looks as if it had been typed into the interpreter."""
    namespace = {"__name__": "__main__", "__builtins__": builtins, **names}
    exec(source, namespace)
    return namespace[name]


# ---- dumps ------------------------------------------------------------------------------------


def test_what_can_be_imported_goes_by_reference():
    data, by_value = dumps(json.dumps)
    assert not by_value and b"cloudpickle" not in data
    assert pickle.loads(data) is json.dumps


def test_lambda_goes_by_value():
    data, by_value = dumps(lambda x: x + 1)
    assert by_value
    assert pickle.loads(data)(1) == 2


def test_function_of_main_goes_by_value():
    f = main_function("def f(x): return x * 2")
    data, by_value = dumps(f)
    assert by_value and pickle.loads(data)(4) == 8


def test_class_of_main_inside_an_argument_goes_by_value():
    point = main_function("class Point:\n    def get(self): return 5", "Point")
    point.__module__ = "__main__"
    data, by_value = dumps([point()])
    assert by_value and pickle.loads(data)[0].get() == 5


def test_text_that_names_main_stays_right():
    text = ["__main__", 1]
    assert pickle.loads(dumps(text)[0]) == text


def test_partial_and_method():
    assert pickle.loads(dumps(functools.partial(lambda a, b: a - b, 5))[0])(3) == 2
    assert pickle.loads(dumps("a,b".split)[0])(",") == ["a", "b"]


def test_recursive_function():
    f = main_function("def f(n): return 1 if n == 0 else n * f(n - 1)")
    assert pickle.loads(dumps(f)[0])(5) == 120


def test_what_can_not_be_pickled_is_named():
    with pytest.raises(CannotPickle, match="lock"):
        dumps(threading.Lock())
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CannotPickle, match="nested too deeply"):
        dumps(deep)
    while deep:  # its own deallocation must not recurse either
        deep = deep.pop()


def test_missing_cloudpickle_is_said(monkeypatch):
    monkeypatch.setattr(picklers, "_cloud", None)  # not loaded yet
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(CannotPickle, match="needs cloudpickle.*install python3-cloudpickle"):
        dumps(lambda: 1)
    assert pickle.loads(dumps(math.sqrt)[0]) is math.sqrt


def test_cached_functions_go_by_value():
    names = {"__name__": "__main__", "functools": functools}
    exec("@functools.lru_cache(3)\ndef f(n): return n and f(n - 1)", names)
    data, by_value = dumps([names["f"], names["f"]])
    assert by_value
    one, same = pickle.loads(data)
    assert one is same and one(5) == 0 and one.__wrapped__(0) == 0
    assert one.cache_info() == (0, 6, 3, 3) and one.__name__ == "f"
    assert names["f"].cache_info().currsize == 0
    assert pickle.loads(dumps([importable_and_cached, lambda: 1])[0])[0] is importable_and_cached


@functools.lru_cache
def importable_and_cached():
    pass


def test_cannot_pickle_is_what_pickle_users_expect():
    assert issubclass(CannotPickle, pickle.PicklingError)
    assert issubclass(CannotPickle, TypeError)


# ---- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, kwargs",
    [
        ((), {}),
        ((1, 2.5, "ü", None, True, 1j), {}),
        ((), {"f": 1, "größe": "x"}),
        (([1, {"a": (2,)}],), {"b": {3}}),
        ((b"x" * 10, bytearray(b"y")), {"z": b""}),
    ],
)
def test_arguments_arrive(args, kwargs):
    parts, by_value = pack_arguments(args, kwargs)
    assert not by_value
    assert load_arguments(parts) == (args, kwargs)


def test_large_buffers_travel_beside():
    data = bytearray(1 << 20)
    parts, _ = pack_arguments((data, b"z" * (1 << 20)), {"v": memoryview(data)})
    assert len(parts) == 4 and len(parts[0]) < 1000
    args, kwargs = load_arguments(parts)
    assert args == (data, b"z" * (1 << 20)) and type(args[1]) is bytes
    assert bytes(kwargs["v"]) == bytes(data) and not kwargs["v"].readonly


def test_small_buffers_do_not():
    parts, _ = pack_arguments((pickle.PickleBuffer(b"x" * 100),), {})
    assert len(parts) == 1


def test_numpy_arrays_travel_beside_and_arrive_writable():
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(100_000.0)
    parts, _ = pack_arguments((array, [array[::2]]), {"f": numpy.asfortranarray(array.reshape(100, -1))})
    assert len(parts) == 3  # a strided array is copied by numpy itself
    received = [parts[0], *map(bytearray, parts[1:])]
    args, kwargs = load_arguments(received)
    assert (args[0] == array).all() and args[0].flags.writeable
    assert (args[1][0] == array[::2]).all()
    assert (kwargs["f"] == array.reshape(100, -1)).all()


def test_more_buffers_than_a_message_takes(monkeypatch):
    monkeypatch.setattr(arguments, "BUFFERS_MAX", 10)
    items = [pickle.PickleBuffer(bytes([i]) * 9000) for i in range(20)]
    parts, _ = pack_arguments((items,), {})
    assert len(parts) == 11
    assert [bytes(item)[0] for item in load_arguments(parts)[0][0]] == list(range(20))


def test_bad_argument_is_named():
    with pytest.raises(CannotPickle, match="^argument 1: .*lock"):
        pack_arguments((1, threading.Lock()), {})
    with pytest.raises(CannotPickle, match="^argument 'key': .*lock"):
        pack_arguments((1,), {"key": [threading.Lock()]})
    with pytest.raises(CannotPickle, match="^argument 'name': "):
        pack_namespace({"good": 1, "name": threading.Lock()})


def test_object_whose_pickling_raises():
    class Bad:
        def __reduce__(self):
            raise ZeroDivisionError("in reduce")

    with pytest.raises(CannotPickle, match="argument 0: .*in reduce"):
        pack_arguments((Bad(),), {})


def test_functions_as_arguments():
    parts, by_value = pack_arguments((lambda x: x + 1, math.sqrt), {})
    assert by_value
    (f, g), _ = load_arguments(parts)
    assert f(1) == 2 and g is math.sqrt


def test_namespace():
    parts, by_value = pack_namespace({"a": 1, "b": b"x" * (1 << 20)})
    assert not by_value and len(parts) == 2
    assert load_arguments(parts) == {"a": 1, "b": b"x" * (1 << 20)}


# ---- objects that become something else -------------------------------------------------------


def test_reference(monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "secret", [3, 4], raising=False)
    data, by_value = dumps((Reference("secret[1] + 1"), 2))
    assert not by_value and pickle.loads(data) == (5, 2)
    with pytest.raises(NameError):
        pickle.loads(dumps(Reference("not_there"))[0])
    with pytest.raises(TypeError):
        Reference(5)
    assert repr(Reference("a")) == "<Reference: 'a'>"


def test_reference_as_function(monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "secret", lambda x: x + 1, raising=False)
    pickled = FunctionCache().pickled(Reference("secret"))
    assert not pickled.by_value
    assert pickle.loads(pickled.data)(1) == 2


def test_expression_needs_builtins_only():
    data, _ = dumps(Expression(MAP, math.sqrt))
    assert b"pcluster" not in data
    assert pickle.loads(data)([1, 4, 9]) == [1.0, 2.0, 3.0]
    assert Expression(MAP, math.sqrt)([4]) == [2.0]


def test_prepickled():
    f = PrePickled(lambda x: x * 3)
    pickled = FunctionCache().pickled(f)
    assert pickled.by_value and pickle.loads(pickled.data)(2) == 6
    (value,), _ = load_arguments(pack_arguments((PrePickled({"a": 1}),), {})[0])
    assert value == {"a": 1}
    assert repr(f) == "<PrePickled: <lambda>>"


# ---- global names -----------------------------------------------------------------------------


def test_global_names_are_cloudpickles(monkeypatch):
    cloudpickle = pytest.importorskip("cloudpickle.cloudpickle")
    monkeypatch.setattr(picklers, "_cloud_names", None)

    def check(code):
        cloudpickle._extract_code_globals_cache.pop(code, None)
        assert list(cloudpickle._extract_code_globals(code)) == list(picklers.global_names(code)), code
        return 1 + sum(check(const) for const in code.co_consts if isinstance(const, types.CodeType))

    many = "".join(f"a{i} = b{i}\n" for i in range(400))  # more than one byte has
    nested = "def f():\n    global x, y\n    x = 1\n    del y\n    return lambda: [len(z.x) for z in w]"
    sources = [many, nested, *(inspect.getsource(module) for module in (json, functools, pickle, threading))]
    assert sum(check(compile(source, "test", "exec")) for source in sources) > 300


# ---- the cache --------------------------------------------------------------------------------


@pytest.fixture
def cache():
    return FunctionCache()


def call(cache, f, *args):
    return pickle.loads(cache.pickled(f).data)(*args)


def test_same_function_is_pickled_once(cache):
    f = main_function("def f(): return 1")
    assert cache.pickled(f).data is cache.pickled(f).data
    assert cache.pickled(math.sqrt).data is cache.pickled(math.sqrt).data
    assert cache.pickled(int).data is cache.pickled(int).data
    assert cache.pickled(json.dumps).data is cache.pickled(json.dumps).data
    assert not cache.pickled(json.dumps).by_value and cache.pickled(f).by_value


def test_same_code_again_is_not_pickled_again(cache):
    made = [eval("lambda: 1", {}) for _ in range(2)]
    loop = [lambda: 1 for _ in range(2)]
    assert cache.pickled(loop[0]).data is cache.pickled(loop[1]).data
    assert call(cache, made[0]) == call(cache, made[1]) == 1


def test_changed_global_is_noticed(cache):
    f = main_function("def f(): return a", a=1)
    assert call(cache, f) == 1
    f.__globals__["a"] = 2
    assert call(cache, f) == 2
    f.__globals__["a"] = 1
    assert call(cache, f) == 1


def test_global_that_appears_is_noticed(cache):
    f = main_function("def f(): return later")
    with pytest.raises(NameError):
        call(cache, f)
    f.__globals__["later"] = 3
    assert call(cache, f) == 3


def test_global_in_a_nested_function_is_noticed(cache):
    f = main_function("def f():\n  def g(): return [a for _ in '12']\n  return g()", a=1)
    assert call(cache, f) == [1, 1]
    f.__globals__["a"] = 2
    assert call(cache, f) == [2, 2]


def test_mutable_global_is_noticed(cache):
    f = main_function("def f(): return sum(a)", a=[1])
    assert call(cache, f) == 1
    f.__globals__["a"].append(5)
    assert call(cache, f) == 6
    f = main_function("def f(): return a[0]['k']", a=({"k": 1},))
    assert call(cache, f) == 1
    f.__globals__["a"][0]["k"] = 2
    assert call(cache, f) == 2


def test_changed_cell_is_noticed(cache):
    def make():
        n = 1

        def f():
            return n

        def set_n(value):
            nonlocal n
            n = value

        return f, set_n

    f, set_n = make()
    f.__module__ = "__main__"
    assert call(cache, f) == 1
    set_n(2)
    assert call(cache, f) == 2


def test_closures_of_one_factory_differ(cache):
    def make(n):
        return lambda: n

    made = [make(n) for n in (1000, 2000, "x", 1000)]
    assert [call(cache, f) for f in made] == [1000, 2000, "x", 1000]
    assert [call(cache, f) for f in made] == [1000, 2000, "x", 1000]


def test_empty_cell(cache):
    def outer():
        def f():
            return late

        data = cache.pickled(f)
        late = 5
        return data, call(cache, f)

    assert outer()[1] == 5


def test_changed_defaults_are_noticed(cache):
    f = main_function("def f(a=1, *, b=1): return a, b")
    assert call(cache, f) == (1, 1)
    f.__defaults__ = (2,)
    assert call(cache, f) == (2, 1)
    f.__kwdefaults__["b"] = 3
    assert call(cache, f) == (2, 3)
    f.__kwdefaults__ = None
    with pytest.raises(TypeError):
        call(cache, f)


def test_changed_code_is_noticed(cache):
    f = main_function("def f(): return 1")
    g = main_function("def f(): return 2")
    assert call(cache, f) == 1
    f.__code__ = g.__code__
    assert call(cache, f) == 2


def test_change_in_a_function_it_calls_is_noticed(cache):
    f = main_function("def g(): return a\ndef f(): return g()", a=1)
    assert call(cache, f) == 1
    assert cache.pickled(f).data is cache.pickled(f).data
    f.__globals__["a"] = 2
    assert call(cache, f) == 2
    exec("def g(): return 7", f.__globals__)
    assert call(cache, f) == 7


def test_function_attributes_are_sent(cache):
    f = main_function("def f(): return f.n")
    f.n = 1
    assert call(cache, f) == 1
    f.n = 2
    assert call(cache, f) == 2


def test_decorated_function(cache):
    def logged(g):
        @functools.wraps(g)
        def wrapper(*args):
            return ("logged", g(*args))

        return wrapper

    f = logged(main_function("def f(x): return x"))
    g = logged(main_function("def f(x): return -x"))
    assert call(cache, f, 1) == ("logged", 1)
    assert call(cache, g, 1) == ("logged", -1)


def test_modules_in_globals(cache):
    f = main_function("def f(): return math.floor(1.5)", math=math)
    assert call(cache, f) == 1
    assert cache.pickled(f).data is cache.pickled(f).data
    made = types.ModuleType("made_here")
    made.value = 4
    f = main_function("def f(): return made.value", made=made)
    assert call(cache, f) == 4
    made.value = 5
    assert call(cache, f) == 5


def test_bound_method_of_a_changing_object(cache):
    items = [3]
    assert call(cache, items.__len__) == 1
    items.append(4)
    assert call(cache, items.__len__) == 2


def test_cache_is_bounded(cache, monkeypatch):
    monkeypatch.setattr(functions, "ENTRIES_MAX", 10)
    keep = [main_function(f"def f(): return {i}") for i in range(30)]
    assert [call(cache, f) for f in keep] == list(range(30))
    assert len(cache) <= 11
    monkeypatch.setattr(functions, "BYTES_MAX", 100_000)
    for i in range(30):
        f = main_function("def f(): return a", a=bytes([i]) * 40_000)
        assert call(cache, f) == bytes([i]) * 40_000
    assert len(cache) <= 4 and cache._bytes <= 160_000


def test_cache_and_threads(cache):
    fs = [main_function(f"def f(): return {i}") for i in range(50)]
    wrong = []

    def work():
        for _ in range(20):
            for i, f in enumerate(fs):
                if call(cache, f) != i:
                    wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_needs_cloudpickle_is_not_kept():
    class Local:
        pass

    obj = Local()
    watch = weakref.ref(obj)
    gc.disable()
    try:
        pack_arguments(([obj], lambda: None), {})
        del obj
        assert watch() is None
    finally:
        gc.enable()


def address(buffer):
    """Where the memory of a buffer is."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def test_large_bytes_are_not_copied_wherever_they_are():
    data, view = bytearray(1 << 20), memoryview(bytearray(300_000)).cast("d")
    parts, _ = pack_arguments(([data, {"k": (data, view)}],), {"v": memoryview(data), "small": memoryview(b"abc")})
    assert len(parts) == 4 and len(parts[0]) < 1000
    assert {address(part) for part in parts[1:]} == {address(data), address(view)}
    (got,), kwargs = load_arguments(parts)
    assert got[0] is got[1]["k"][0] and got[0] == data
    assert got[1]["k"][1].format == "d" and address(got[1]["k"][1]) == address(view)
    assert kwargs["small"] == b"abc" and address(kwargs["v"]) == address(data)


def test_copies_of_large_arguments():
    """What is packed needs no memory of the size of the data."""
    data, nested = b"x" * (8 << 20), {"a": [bytearray(8 << 20)]}
    tracemalloc.start()
    try:
        pack_arguments((data, nested), {})
        pack_namespace({"n": nested, "data": data})
        serialize_object([data, nested])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("use", ["use_cloudpickle", "use_dill"])
def test_large_bytes_beside_what_goes_by_value(use):
    if use == "use_dill":
        pytest.importorskip("dill")
    getattr(picklers, use)()
    try:
        data = b"x" * (1 << 20)
        parts, _ = pack_arguments((data, [memoryview(data)], lambda: len(data)), {})
        assert len(parts) == 3 and len(parts[0]) < 10_000
        (got, (view,), f), _ = load_arguments(parts)
        assert f() == len(got) == len(view) == 1 << 20 and got is f.__closure__[0].cell_contents
    finally:
        picklers.use_cloudpickle()


def test_search_for_large_bytes_has_an_end():
    cycle = []
    cycle.append(cycle)
    assert find_large([cycle, [[0.5] * 200] * 200]) == []
    assert len(find_large([memoryview(b"a")] * 300)) == 0
    (back,), _ = load_arguments(pack_arguments(([cycle, b"x" * (1 << 20)],), {})[0])
    assert back[0][0] is back[0]
