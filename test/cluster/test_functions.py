# SPDX-License-Identifier: BSD-3-Clause
"""Functions and what they need: by value and by reference, conditions, References, picklers."""

import functools
import importlib.util
import json
import os
import sys
import threading

import pytest

import pcluster
from pcluster import CannotPickle, PrePickled, Reference, RemoteError
from shared import by_value, client, run_script, shared  # noqa: F401


@pytest.fixture
def view(client):  # noqa: F811
    """Engine 0; calls wait."""
    view = client[0]
    view.block = True
    return view


@pytest.fixture
def balanced(client):  # noqa: F811
    """Any engine; calls wait."""
    return client.load_balanced_view(block=True)


def from_main(source, name="f", **names):
    """A function as a user's script or session defines it."""
    namespace = {"__name__": "__main__", "__builtins__": __builtins__, **names}
    exec(source, namespace)
    namespace[name].__module__ = "__main__"
    return namespace[name]


def raised(call, *args, **kwargs):
    """The remote error that a call ends with."""
    with pytest.raises(RemoteError) as caught:
        call(*args, **kwargs)
    return caught.value


# ---- kinds of functions ---------------------------------------------------------------------------


def test_closures_and_lambdas(view):
    def adder(n):
        return lambda x: x + n

    assert view.apply(by_value(adder(3)), 4) == 7
    assert view.map(by_value(adder(1)), range(3)) == [1, 2, 3]


def test_recursive_functions(view):
    fact = from_main("def fact(n): return 1 if n < 2 else n * fact(n - 1)", "fact")
    assert view.apply(fact, 10) == 3628800

    def inner(n):
        return 0 if n == 0 else 1 + inner(n - 1)

    assert view.apply(by_value(inner), 5) == 5


def test_decorated_functions(view):
    def twice(f):
        @functools.wraps(f)
        def wrapper(*args):
            return 2 * f(*args)

        return by_value(wrapper)

    @twice
    @by_value
    def f(x):
        return x + 1

    assert view.apply(f, 2) == 6


def test_cached_functions(view):
    """Those of functools.lru_cache(), which cloudpickle sends by name only."""
    fib = from_main("""import functools
@functools.lru_cache(maxsize=50, typed=True)
def fib(n):
    'Doc.'
    return n if n < 2 else fib(n - 1) + fib(n - 2)
""", "fib")
    assert view.apply(fib, 40) == 102334155
    use = by_value(lambda n: (fib(n), fib.__name__, fib.__doc__, fib.cache_info().maxsize))
    assert view.apply(use, 40) == (102334155, "fib", "Doc.", 50)
    assert view.apply(functools.lru_cache(by_value(lambda: 3))) == 3


def test_builtins_that_look_at_their_caller(view):
    """They see the engine's namespace."""
    view.push({"n": 5})
    assert view.apply(eval, "n + 1") == 6 and view.apply(eval, "m", {"m": 7}) == 7
    assert view.apply(exec, "k = n * 2") is None and view["k"] == 10
    assert {"n", "k"} <= set(view.apply(dir)) and view.apply(dir, 5) == dir(5)
    assert view.apply(vars, ValueError()) == {}
    for names in (globals, locals, vars):
        assert view.apply(names)["k"] == 10
    error = raised(view.apply, eval, "1 / 0")
    assert error.ename == "ZeroDivisionError" and error.traceback.count("File ") == 1


def test_partials(view):
    assert view.apply(functools.partial(int, base=2), "101") == 5
    assert view.apply(functools.partial(by_value(lambda a, b: a - b), b=1), 5) == 4


def test_generators_helpers(view):
    evens = from_main("def evens(n):\n    for i in range(n): yield from pair(i)\ndef pair(i): yield 2 * i", "evens")
    total = from_main("def total(n): return sum(evens(n))", "total", evens=evens)
    assert view.apply(total, 4) == 12


def test_methods_and_callable_objects(view):
    assert view.apply("abc".upper) == "ABC"
    source = "class Scale:\n    def __init__(self, k): self.k = k\n    def __call__(self, x): return self.k * x"
    scale = from_main(source, "Scale")
    assert view.apply(scale(3), 4) == 12
    assert view.apply(scale(3).__call__, 5) == 15


def test_classes_of_main(view):
    source = "class Point:\n    def __init__(self, x): self.x = x\n    def norm(self): return abs(self.x)"
    point = from_main(source, "Point")
    assert view.apply(by_value(lambda p: p.norm()), point(-4)) == 4


def test_async_and_nested_functions(view):
    f = from_main("def f():\n    import asyncio\n    async def g(): return 5\n    return asyncio.run(g())")
    assert view.apply(f) == 5


def test_unicode(view):
    f = from_main("def grüße(名): return '→' + 名 + 'ß' + Ω", "grüße", Ω="ω")
    assert view.apply(f, "日本\0\U0001f600") == "→日本\0\U0001f600ßω"
    assert raised(view.apply, from_main("def f(): raise ValueError('日本')")).evalue == "日本"


def test_changed_global_is_noticed(view):
    names = {"__name__": "__main__", "__builtins__": __builtins__, "k": 1}
    exec("def f(): return k", names)
    assert view.apply(names["f"]) == 1
    names["k"] = 2
    assert view.apply(names["f"]) == 2


def test_changed_closure_is_noticed(view):
    k = 1

    @by_value
    def f():
        return k

    assert view.apply(f) == 1
    k = 2
    assert view.apply(f) == 2


def test_each_call_begins_with_the_variables_that_were_sent(view):
    def counter():
        count = 0

        def f():
            nonlocal count
            count += 1
            return count

        return by_value(f)

    f = counter()
    assert [view.apply(f) for _ in range(3)] == [1, 1, 1]
    assert f() == 1


def test_lambdas_in_arguments_leave_nothing_behind(view):
    for i in range(20):
        view.apply(by_value(lambda f: f()), from_main("def f(): return k", k=i))
    assert view.pull("len(__import__('pcluster_load')._pairs)") == 0


# ---- what can't be sent -----------------------------------------------------------------------------


def test_unpicklable_arguments_fail_at_the_call(view):
    with pytest.raises(CannotPickle, match=r"argument 1: .*at \['lock'\]"):
        view.apply(print, 1, {"lock": threading.Lock()})
    lock = threading.Lock()
    with pytest.raises(CannotPickle, match="its variable 'lock'"):
        view.apply(by_value(lambda: lock))
    assert view.apply(abs, -1) == 1


def test_unpicklable_results_come_back_as_that_error(view):
    error = raised(view.apply, by_value(lambda: {"a": __import__("threading").Lock()}))
    assert error.ename == "PicklingError" and "lock" in error.evalue


def test_objects_whose_unpickling_raises(view):
    source = ("class Bad:\n"
              "    def __reduce__(self): return (make, ())\n"
              "def make(): raise OSError('not here')")
    bad = from_main(source, "Bad")
    assert raised(view.apply, by_value(lambda x: x), bad()).ename == "OSError"
    assert raised(view.push, {"x": bad()}).ename == "OSError"
    view.execute(source)
    with pytest.raises(OSError, match="not here"):  # of the result, here
        view.apply(from_main("def f(): return Bad()"))
    assert view.apply(abs, -1) == 1


def test_recursion_errors(view):
    f = from_main("def f(): return f()")
    assert raised(view.apply, f).ename == "RecursionError"
    error = raised(view.apply, from_main("def f():\n    a = []\n    for _ in range(100000): a = [a]\n    return a"))
    assert error.ename == "PicklingError" and "ecursion" in error.evalue


def test_function_whose_module_is_missing(view):
    module = type(sys)("only_here")
    exec("def f(): return 1", vars(module))
    module.f.__module__ = "only_here"
    sys.modules["only_here"] = module
    try:
        assert raised(view.apply, module.f).ename == "ModuleNotFoundError"
    finally:
        del sys.modules["only_here"]


def test_missing_name_says_what_to_do(view):
    error = raised(view.apply, from_main("def f(): return nowhere + 1"))
    assert error.ename == "NameError"
    assert "nowhere" in error.evalue and "push" in error.evalue and "require" in error.evalue


# ---- References -------------------------------------------------------------------------------------


def test_references_everywhere(view):
    view.push({"a": 5, "f": by_value(lambda x: x + 1), "items": [1, 2]})
    identity = by_value(lambda *args, **kwargs: (args, kwargs))
    assert view.apply(identity, Reference("a"), k=Reference("a + 1")) == ((5,), {"k": 6})
    assert view.apply(identity, [{"deep": Reference("a")}]) == (([{"deep": 5}],), {})
    assert view.apply(Reference("f"), 1) == 2
    assert view.map(Reference("f"), [1, 2]) == [2, 3]
    assert view.map(by_value(lambda x: x), [Reference("a"), 1]) == [5, 1]
    view.push({"b": Reference("items"), "c": [Reference("a")]})
    assert view.pull(["b is items", "c"]) == [True, [5]]
    assert view.apply(by_value(lambda x: x), functools.partial(pow, Reference("a"), 2))() == 25
    assert raised(view.apply, abs, Reference("nothing")).ename == "NameError"
    with pytest.raises(TypeError):
        Reference(5)


def test_references_are_looked_up_for_each_call(view, client):  # noqa: F811
    g = by_value(lambda x, k=Reference("a"): x + k)
    balanced = client.load_balanced_view(0)
    for a in (1, 10):
        client[0].push({"a": a, "f": by_value(lambda x, a=a: x * a)}, block=True)
        assert view.apply(g, 1) == 1 + a
        assert view.apply(Reference("f"), 2) == 2 * a
        assert balanced.map_sync(Reference("f"), [1, 2], chunksize=2) == [a, 2 * a]


# ---- globals ----------------------------------------------------------------------------------------


def test_order_of_globals(view):
    f = from_main("def f(): return k", k="carried")
    assert view.apply(f) == "carried"
    view.push({"k": "pushed"})
    assert view.apply(f) == "pushed"
    assert view.apply(from_main("def f(): return len('abc')")) == 3
    view.execute("len = lambda x: 'covered'")
    assert view.apply(from_main("def f(): return len('abc')")) == "covered"


def test_interactive(view):
    view.push({"k": 7})

    @pcluster.interactive
    def f(x):
        return k + x  # noqa: F821

    assert f.__module__ == "__main__" and view.apply(f, 1) == 8


# ---- conditions -------------------------------------------------------------------------------------


def test_depend_goes_elsewhere(client, balanced):  # noqa: F811
    client[2].push({"me": True}, block=True)

    f = pcluster.depend(from_main("def is_there(name): return name in globals()", "is_there"), "me")(
        from_main("def f():\n    import os\n    return os.getpid()"))

    pids = client[:].apply_sync(os.getpid)
    assert [balanced.apply(f) for _ in range(6)] == [pids[2]] * 6
    assert balanced.map(pcluster.dependent(from_main("f = lambda x: x + 1"), f.df, "me"), range(5)) == [1, 2, 3, 4, 5]
    error = raised(client[0].apply_sync, f)
    assert error.ename == "UnmetDependency" and "f can't run here" in error.evalue


def test_condition_that_nobody_meets(balanced):
    f = pcluster.dependent(abs, by_value(lambda: False))
    with pytest.raises(pcluster.ImpossibleDependency):
        balanced.apply(f, 1)
    assert raised(balanced.apply, pcluster.dependent(abs, by_value(lambda: 1 / 0)), 1).ename == "ZeroDivisionError"


def test_require_modules_and_objects(view):
    helper = from_main("def helper(x): return 2 * x", "helper")

    f = from_main("def f(x): return colorsys.__name__, os.path.sep, json.dumps(helper(x) * scale)")
    f = pcluster.require("colorsys", "os.path", json, helper, scale=3)(f)
    assert view.apply(f, 2) == ("colorsys", "/", "12")
    assert view.pull("scale") == 3


def test_require_under_another_name(view):
    f = from_main("def f(): return cs.__name__, p.sep")
    assert view.apply(pcluster.require("colorsys as cs", "os.path as p")(f)) == ("colorsys", "/")
    f = from_main("def f(): return cs.__name__")
    f.__globals__["cs"] = "what it carries itself"
    assert view.apply(pcluster.require("colorsys as cs")(f)) == "colorsys"


def test_require_goes_where_the_module_is(client, balanced):  # noqa: F811
    client[1].execute("import sys; sys.modules['only_there'] = sys", block=True)
    f = pcluster.require("only_there")(from_main("def f(): return only_there.__name__"))
    assert [balanced.apply(f) for _ in range(4)] == ["sys"] * 4
    client[1].execute("del sys.modules['only_there']", block=True)
    missing = raised(client[1].apply_sync, f)
    assert isinstance(missing, pcluster.UnmetDependency) and "can't import only_there" in missing.evalue


# ---- decorators of views ----------------------------------------------------------------------------


def test_remote_and_parallel(client):  # noqa: F811
    @client[:].remote(block=True)
    @by_value
    def where(x, y=1):
        """Adds."""
        return x + y

    assert where(1, y=2) == [3] * len(client)
    assert where.__name__ == "where" and "Adds." in where.__doc__ and "y=1" in str(where.__signature__)

    @pcluster.parallel(client[:], block=True)
    @by_value
    def total(part):
        return [sum(part)]

    assert sum(total(range(100))) == 4950 and len(total(range(100))) == len(client)
    with pytest.raises(ValueError):
        total([1], [1, 2])
    with pytest.raises(TypeError):
        total([1], k=1)


# ---- picklers ---------------------------------------------------------------------------------------


@pytest.fixture
def picklers(client):  # noqa: F811
    yield
    client[:].use_cloudpickle().get()


def test_use_dill(view, client, picklers):  # noqa: F811
    pytest.importorskip("dill")
    client[:].use_dill().get()
    f = from_main("def f(x): return lambda: x + k")
    view.push({"k": 1})
    assert view.apply(f, 2).__code__.co_names == ("k",)
    assert view.apply(from_main("f = lambda x: x + 1"), 2) == 3
    assert view.apply(from_main("f = lambda g: g(2)"), from_main("f = lambda x: x * 5")) == 10


def test_use_pickle(view, client, picklers):  # noqa: F811
    client[:].use_pickle().get()
    assert view.apply(abs, -2) == 2
    with pytest.raises(CannotPickle):
        view.apply(by_value(lambda: 1))
    view.execute("def f(): return 5\ndef g(): return lambda: 1")
    assert view.apply(Reference("f")) == 5
    assert raised(view.apply, Reference("g")).ename == "PicklingError"


@pytest.mark.skipif(importlib.util.find_spec("dill") is None, reason="no dill")
def test_use_is_for_both_sides(shared, tmp_path):  # noqa: F811
    script = ("import pcluster\n"
              "c = pcluster.Client()\n"
              "def f(x): return (lambda: x), dill\n"
              "v = c[0]; v.block = True\n"
              "v.use_dill()\n"
              "v.execute('import dill')\n"
              "g, module = v.apply(f, 3)\n"
              "print(g(), module.__name__)\n"
              "v.use_cloudpickle(); v.clear()\n")
    assert run_script(script, tmp_path) == "3 dill\n"


def test_prepickled(view):
    data = PrePickled(list(range(1000)))
    f = PrePickled(by_value(lambda x: sum(x)))
    assert [view.apply(f, data) for _ in range(3)] == [499500] * 3
    view.push({"p": data})
    assert view.pull("len(p)") == 1000


def test_can_map(view):
    class Handle:
        def __init__(self, n):
            self.n, self.lock = n, threading.Lock()

    pcluster.can_map[Handle] = lambda handle: {"handle": handle.n}
    try:
        assert view.apply(by_value(lambda x: x), [(Handle(4),)]) == [({"handle": 4},)]
    finally:
        pcluster.can_map.clear()


def test_can_map_for_results(view):
    """The can_map of an engine's process is for what it sends."""
    view.execute(
        "import pcluster, threading\n"
        "class Handle:\n    def __init__(self, n): self.n, self.lock = n, threading.Lock()\n"
        "pcluster.can_map[Handle] = lambda handle: {'handle': handle.n}"
    )
    try:
        assert view.pull(["Handle(1)", "[Handle(2), b'x' * 1000000]"]) == [
            {"handle": 1}, [{"handle": 2}, b"x" * 1000000]]
        f = from_main("def f(): return {'h': Handle(3), 'f': lambda: 4}")
        assert view.apply(f)["h"] == {"handle": 3}
    finally:
        view.execute("pcluster.can_map.clear()")
    assert "Handle" in str(raised(view.pull, "Handle(1)"))


# ---- large things -----------------------------------------------------------------------------------


def test_100_mb_arguments(view):
    data = bytearray(100 << 20)
    data[-1] = 7
    assert view.apply(by_value(lambda d: (type(d).__name__, len(d), d[-1])), data) == ("bytearray", 100 << 20, 7)
    assert view.apply(by_value(lambda d: d), memoryview(data)[-5:]) == bytes([0, 0, 0, 0, 7])
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(100 << 17)

    @by_value
    def change(box):
        box["a"][0] = 5  # it arrives writable
        return box

    back = view.apply(change, {"a": array})["a"]
    assert back[0] == 5 and back.size == 100 << 17 and array[0] == 0
    back[1] = 1


def test_memoryviews_come_back(view):
    numbers = memoryview(bytearray(800)).cast("d", (10, 10))
    back = view.apply(by_value(lambda *views: views), numbers, memoryview(b"abc")[1:], memoryview(bytearray(9))[::2])
    assert [type(item) for item in back] == [memoryview] * 3
    assert (back[0].shape, back[0].format, back[1], bytes(back[2])) == ((10, 10), "d", b"bc", bytes(5))
    back[0][3, 4] = 1.5
    nested = view.apply(by_value(lambda v: {"k": [(v, v)]}), memoryview(bytearray(1 << 20)))["k"][0]
    assert nested[0] is nested[1] and len(nested[0]) == 1 << 20
    nested[0][0] = 1


def test_engines_do_not_copy_what_is_large(view):
    """Neither what arrives in arrays and memoryviews nor what is sent, however deep it is."""
    size = 8 << 20
    view.execute("import tracemalloc; tracemalloc.start()")
    peak = by_value(lambda: __import__("tracemalloc").get_traced_memory()[1])
    try:
        view.push({"v": memoryview(bytes(size)), "d": {"deep": [memoryview(bytearray(size))]}})
        assert view.apply(peak) < size // 2
        view.execute(f"data = bytes({size}); more = [1, {{'k': (bytearray({size}), memoryview(data))}}]")
        view.execute("tracemalloc.reset_peak()")
        assert view.pull("data") == bytes(size)
        data, view_of_it = view.pull("more")[1]["k"]
        assert (len(data), view_of_it.nbytes) == (size, size) and type(data) is bytearray
        assert view.apply(peak) < 2.5 * size  # the two that are there
    finally:
        view.execute("tracemalloc.stop()")


def test_function_with_much_data(client):  # noqa: F811
    blob = os.urandom(1 << 20)
    f = by_value(lambda i: (i, len(blob)))
    assert client.load_balanced_view().map_sync(f, range(100)) == [(i, 1 << 20) for i in range(100)]
    large = bytes(20 << 20)
    assert client[:].apply_sync(by_value(lambda: len(large))) == [20 << 20] * len(client)
