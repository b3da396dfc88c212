# SPDX-License-Identifier: BSD-3-Clause
"""Functions that go without cloudpickle: they arrive as cloudpickle's would, and the rest is left to it."""

import asyncio
import builtins
import functools
import math
import pickle
import sys
import types

import pytest

from pcluster.serialize import FunctionCache, picklers, use_cloudpickle, use_pickle
from pcluster.serialize.plainfunctions import dumps_plain

cloudpickle = pytest.importorskip("cloudpickle")

SOURCES = {
    "nothing": "f = lambda: 5",
    "arguments": "def f(a, /, b, c=3, *rest, d, e=(1, 'two'), **more): return a + b + c + d + len(rest)",
    "documented": "def f(x: int, y: 'unknown' = 2.5) -> str:\n  'What it does.'\n  return x",
    "doc is code's first constant": "def f():\n  return 'no doc'",
    "globals": "one = 1; many = (2, (3, b'4')); f = lambda: (one, many, absent)",
    "globals of nested code": "one = 1\ndef f():\n  def inner(): return [one for _ in range(3)]\n  return inner",
    "imported": "import math, json; dumps = json.dumps; sqrt = math.sqrt; f = lambda: (math.pi, dumps, sqrt, len)",
    "closure": "def outer(n, text):\n  def f(x): return x + n, text\n  return f\nf = outer(5, 'a')",
    "rebinds": "count = 0\ndef f():\n  global count\n  count += 1\n  return count",
    "generator": "def f(n):\n  for i in range(n): yield i",
    "coroutine": "async def f(n): return n",
    "asynchronous generator": "async def f(n):\n  yield n",
    "method of a class": "class A:\n  def f(self): return 5\nf = A.f",
    "wide": "".join(f"a{i} = {i}\n" for i in range(300)) + f"f = lambda: [{','.join(f'a{i}' for i in range(300))}]",
    "exceptions": "def f(x):\n  try: return 1 / x\n  except ZeroDivisionError as e: return str(e)\n  finally: x = None",
    "pattern": "def f(x):\n  match x:\n    case (1, b): return b\n    case _: return None",
    "own name": "f = lambda: 1\nf.__name__ = 'g'; f.__qualname__ = 'A.g'; f.__module__ = None; f.__doc__ = 'new'",
}


def defined(source, module="__main__", name="f"):
    """A function as it is in a script, or with another name of module in one."""
    namespace = {"__name__": module, "__builtins__": builtins, "__file__": "/tmp/script.py", "__package__": None}
    exec(compile(source, "script", "exec"), namespace)
    return namespace[name]


def look(f):
    """All that can be seen of a function."""
    cells = None if f.__closure__ is None else [cell.cell_contents for cell in f.__closure__]
    return (
        f.__name__, f.__qualname__, f.__module__, f.__doc__, f.__defaults__, f.__kwdefaults__, f.__annotations__,
        f.__dict__, cells, f.__code__, list(f.__code__.co_lines()), list(f.__code__.co_positions()),
    )


@pytest.fixture(autouse=True)
def own_main(monkeypatch):
    """`__main__` as an engine has it: nothing in it."""
    import pcluster_load

    monkeypatch.setattr(pcluster_load, "namespace", {"__name__": "__main__", "__builtins__": builtins})
    monkeypatch.setattr(pcluster_load, "_carried", {})
    return pcluster_load


@pytest.mark.parametrize("module", ["__main__", "a_module_that_engines_do_not_have"])
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_arrives_as_cloudpickles(own_main, module, source):
    f = defined(source, module)
    data = dumps_plain(f)
    assert data is not None and b"cloudpickle" not in data
    assert FunctionCache().pickled(f).by_value
    mine, _, may_keep = own_main.load_callable(data)
    names = dict(mine.__globals__)
    own_main.namespace.clear()
    own_main.namespace.update(__name__="__main__", __builtins__=builtins)
    own_main.clear()
    theirs, _, cloud_may_keep = own_main.load_callable(cloudpickle.dumps(f, 5))
    assert look(mine) == look(theirs) == look(f)
    assert may_keep == cloud_may_keep
    del names["__builtins__"]
    known = dict(theirs.__globals__)
    del known["__builtins__"]
    assert names == known


def test_results_are_the_same():
    f = defined(SOURCES["arguments"])
    assert pickle.loads(dumps_plain(f))(1, 2, d=4) == f(1, 2, d=4) == 10
    assert list(pickle.loads(dumps_plain(defined(SOURCES["generator"])))(3)) == [0, 1, 2]
    assert asyncio.run(pickle.loads(dumps_plain(defined(SOURCES["coroutine"])))(3)) == 3
    assert pickle.loads(dumps_plain(defined(SOURCES["closure"])))(1) == (6, "a")
    with pytest.raises(NameError, match="absent"):
        pickle.loads(dumps_plain(defined(SOURCES["globals"])))()


def test_globals_of_a_module_are_its_own(own_main):
    data = dumps_plain(defined(SOURCES["rebinds"], "a_module_that_engines_do_not_have"))
    assert pickle.loads(data)() == pickle.loads(data)() == 1
    assert "count" not in own_main.namespace


def test_no_cloudpickle_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    monkeypatch.setattr(picklers, "_cloud", None)
    monkeypatch.setattr(picklers, "_cloud_names", None)
    assert pickle.loads(FunctionCache().pickled(defined(SOURCES["nothing"])).data)() == 5


def marked(f):
    f.mark = 1
    return f


def empty_cell():
    def f():
        return later

    return f
    later = None


def with_constant(value):
    code = (lambda: 5).__code__
    return types.FunctionType(code.replace(co_consts=(None, value)), {"__name__": "__main__"})


@pytest.mark.parametrize(
    "f",
    [
        marked(defined("def f(): return 1")),
        empty_cell(),
        with_constant(object()),
        defined("def f(x: list[int]): return x"),
        defined("class A: pass\ndef f(x: A): return x"),
        defined("seen = (__import__('math'),)\nf = lambda: seen"),
        defined("import concurrent.futures\nf = lambda: concurrent.futures.ALL_COMPLETED"),
    ],
    ids=["attributes", "empty cell", "constant", "annotation", "annotation of main", "module in a tuple", "package"],
)
def test_the_unusual_is_left_to_cloudpickle(f):
    made = FunctionCache().pickled(f)
    assert made.by_value and b"pcluster_load" not in bytes(made.data)


@pytest.mark.parametrize(
    "source",
    ["def f(n): return f(n - 1) if n else 0", "table = {}\nf = lambda: table", "def g(): return 1\nf = lambda: g()",
     "class A: pass\nf = lambda: A", "def f(seen=[]): return seen", "f = lambda: lambda: f"],
    ids=["recursion", "mutable global", "function by value", "class of main", "mutable default", "recursion within"],
)
def test_what_leads_to_more_is_left_to_cloudpickle(monkeypatch, source):
    f = defined(source)
    for name, value in f.__globals__.items():  # so that pickle would find it, by name
        if name not in ("__name__", "__builtins__", "__file__", "__package__"):
            monkeypatch.setattr(sys.modules["__main__"], name, value, raising=False)
    assert b"pcluster_load" not in bytes(FunctionCache().pickled(f).data)


def test_choices_of_the_user_are_kept(monkeypatch):
    f = defined("import math\nf = lambda: math.pi")
    assert dumps_plain(f) is not None
    cloudpickle.register_pickle_by_value(math)
    try:
        assert dumps_plain(f) is None
    finally:
        cloudpickle.unregister_pickle_by_value(math)
    monkeypatch.setattr(picklers, "can_map", {functools.partial: str})
    assert dumps_plain(f) is None
    monkeypatch.undo()
    use_pickle()
    try:
        assert dumps_plain(f) is None
    finally:
        use_cloudpickle()
