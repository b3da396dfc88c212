# SPDX-License-Identifier: BSD-3-Clause
"""What user code sees in an engine: its namespace, its globals, its errors, its results."""

import pickle
import sys

import pytest

import pcluster


@pytest.fixture(autouse=True)
def no_preload(monkeypatch):
    """A sanitizer's library that this process needs is not for the programs that engines run."""
    monkeypatch.delenv("LD_PRELOAD", raising=False)


@pytest.fixture
def view(start):
    """One engine; calls wait for their results."""
    start(1)
    client = pcluster.Client()
    yield client[0]
    client.close()


def raised(call, *args, **kwargs):
    """The remote error that a call ends with."""
    with pytest.raises(pcluster.RemoteError) as caught:
        call(*args, **kwargs)
    return caught.value


# ---- names and globals


def test_push_pull(view):
    """Names, attributes and items; what is pulled is any expression."""
    view.push({"a": 1, "d": {}}, block=True)
    view.execute("class O: pass\no = O()", block=True)
    view.push({"d['k']": 2, "o.b": [3]}, block=True)
    assert view.pull("a", block=True) == 1
    assert view.pull(["a + 1", "d['k']", "o.b[0]"], block=True) == [2, 2, 3]
    for bad in ("a, b", "f()", "a = b", "", "1", "x; y"):
        error = raised(view.push, {bad: 1}, block=True)
        assert error.ename == "ValueError", bad
    assert raised(view.pull, "nothing", block=True).ename == "NameError"
    assert raised(view.pull, "a +", block=True).ename == "SyntaxError"
    view.clear(block=True)
    assert raised(view.pull, "a", block=True).ename == "NameError"
    assert view.pull("__name__", block=True) == "__main__"


def from_main(source, name="f"):
    """A function as a user's script or session defines it."""
    namespace = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(source, namespace)
    function = namespace[name]
    function.__module__ = "__main__"
    return function


def test_globals_are_the_namespace(view):
    """A function of `__main__` reads what was pushed, and `global` writes there."""
    f = from_main("def f(y):\n    global written\n    written = pushed + y\n    return written")
    view.push({"pushed": 10}, block=True)
    assert view.apply_sync(f, 1) == 11
    assert view.pull("written", block=True) == 11
    view.push({"pushed": 20}, block=True)
    assert view.apply_sync(f, 1) == 21


def test_carried_globals(view):
    """What a function carries fills free names; a change is noticed; a user's value wins."""
    source = "x = {}\ndef f(): return x"
    assert view.apply_sync(from_main(source.format(1))) == 1
    assert view.apply_sync(from_main(source.format(2))) == 2
    assert view.apply_sync(from_main(source.format(1))) == 1  # the first one again, which is kept
    assert view.pull("x", block=True) == 1
    view.push({"x": "mine"}, block=True)
    assert view.apply_sync(from_main(source.format(3))) == "mine"
    view.execute("del x", block=True)
    assert view.apply_sync(from_main(source.format(3))) == 3


def test_calls_get_what_was_sent(view):
    """No call sees what an earlier one has made of defaults, cells and attributes."""
    appends = from_main("def f(seen=[]):\n    seen.append(1)\n    return len(seen)")
    assert [view.apply_sync(appends) for _ in range(3)] == [1, 1, 1]
    counts = from_main("def make():\n    n = [0]\n    def g():\n        n[0] += 1\n"
                       "        return n[0]\n    return g\nf = make()")
    assert [view.apply_sync(counts) for _ in range(3)] == [1, 1, 1]
    # A name that is assigned is the engine's from then on, as in a session.
    counter = from_main("n = 0\ndef f():\n    global n\n    n += 1\n    return n")
    assert [view.apply_sync(counter) for _ in range(3)] == [1, 2, 3]


def test_recursion_and_classes(view):
    """Functions that call each other, and classes that methods refer to, come whole."""
    assert view.apply_sync(from_main("f = lambda n: n if n < 2 else f(n - 1) + f(n - 2)"), 10) == 55
    source = ("class A:\n    def other(self): return B()\n"
              "class B(A):\n    def value(self): return 5\n"
              "def f(): return A().other().value()")
    assert view.apply_sync(from_main(source)) == 5


def test_many_functions(view):
    """More than are kept: each still does its own work."""
    functions = [from_main(f"def f(): return {i}") for i in range(600)]
    for _ in range(2):
        results = [view.apply_async(f) for f in functions]
        assert [r.get(60) for r in results] == list(range(600))


def test_function_in_arguments(view):
    """It gets the same globals."""
    f = from_main("def f(g): return g(1)")
    g = from_main("def f(x): return x + pushed")
    view.push({"pushed": 5}, block=True)
    assert view.apply_sync(f, g) == 6
    view.push({"g": g}, block=True)
    assert view.pull("g(2)", block=True) == 7


# ---- source text


def test_execute(view):
    """Silent: no value. Else the value of the last expression, numbered."""
    assert view.execute("a = 1\na", block=True).get() is None
    reply = view.execute("b = 2\na + b", silent=False, block=True).get()
    assert "3" in repr(reply)
    view.execute("import math\nclass C:\n    x = math.pi", block=True)
    assert view.pull("C.x", block=True) == pytest.approx(3.14159, abs=1e-4)
    error = raised(view.execute, "if True\n    pass", block=True)
    assert error.ename == "SyntaxError"
    assert "if True" in error.traceback


def test_tracebacks_show_the_source(view):
    """Each source keeps its lines, and our own frames are left out."""
    view.execute("def first():\n    return 1 / 0  # line of the first", block=True)
    view.execute("def second():\n\n    return first()  # line of the second", block=True)
    error = raised(view.execute, "second()", block=True)
    assert error.ename == "ZeroDivisionError"
    for text in ("line of the first", "line of the second", "<pcluster execute "):
        assert text in error.traceback
    assert "pcluster engine" not in error.traceback
    error = raised(view.apply_sync, from_main("def f(): return undefined_thing"))
    assert error.traceback.count("File ") == 1


def test_chained_errors(view):
    """The cause is told, too."""
    source = "try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError('second') from e"
    error = raised(view.execute, source, block=True)
    assert error.ename == "ValueError" and error.evalue == "second"
    assert "ZeroDivisionError" in error.traceback and "direct cause" in error.traceback


def test_missing_name_hint(view):
    """Says what to do."""
    error = raised(view.apply_sync, from_main("def f(): return np.zeros(1)"))
    assert error.ename == "NameError"
    assert error.evalue.startswith("name 'np' is not defined\nhint: ")
    assert "push" in error.evalue and "require" in error.evalue and "'np'" in error.evalue


@pytest.mark.parametrize("source, ename", [
    ("import sys\nsys.exit(3)", "SystemExit"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("raise GeneratorExit", "GeneratorExit"),
    ("class E(BaseException): pass\nraise E('x')", "E"),
    ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E"),
    ("class E(Exception):\n    def __repr__(self): 1 / 0\n    __str__ = __repr__\nraise E", "E"),
    ("raise ValueError('nul \\0, half \\ud800, \\x1b')", "ValueError"),
    ("def f(): f()\nf()", "RecursionError"),
    ("raise ExceptionGroup('g', [ValueError(1), TypeError(2)])", "ExceptionGroup"),
    ("raise MemoryError", "MemoryError"),
    ("raise ValueError('z' * 1000000)", "ValueError"),
])
def test_any_error_is_reported(view, source, ename):
    """Whatever is raised is told to the caller, and the engine lives on."""
    error = raised(view.execute, source, block=True)
    assert error.ename == ename
    assert len(error.evalue) < 100000
    assert view.apply_sync(abs, -1) == 1


# ---- results


def test_results_that_cannot_be_sent(view):
    """The type is named, and the engine lives on."""
    error = raised(view.apply_sync, from_main("def f(): return (i for i in range(3))"))
    assert "'generator'" in error.evalue
    view.execute("class Stubborn:\n    def __reduce__(self): raise OSError('not me')\n"
                 "s = Stubborn()", block=True)
    error = raised(view.pull, "s", block=True)
    assert "'__main__.Stubborn'" in error.evalue and "not me" in error.evalue
    assert view.apply_sync(abs, -1) == 1


def test_results_of_classes_defined_there(view):
    """They come by value."""
    view.execute("class Point:\n    def __init__(self, x): self.x = x\n"
                 "    def double(self): return 2 * self.x\n"
                 "def scale(p, by=3): return p.x * by", block=True)
    point, scale = view.pull(["Point(4)", "scale"], block=True)
    assert point.double() == 8 and scale(point) == 12


def test_buffers(view):
    """Large ones are writable where they arrive, at both ends, and empty ones are fine."""
    sent = [bytearray(size) for size in (0, 1, 1023, 1024, 1025, 1 << 20)]
    got = view.apply_sync(from_main("def f(bufs):\n    for b in bufs:\n        if len(b):\n"
                                    "            b[0] += 1\n    import pickle\n"
                                    "    return [pickle.PickleBuffer(b) for b in bufs]"),
                          [pickle.PickleBuffer(data) for data in sent])
    assert [len(data) for data in got] == [len(data) for data in sent]
    for data in got:
        if len(data):
            assert data[0] == 1
            data[0] = 2


def test_numpy(view):
    """Arrays of every layout survive the way there and back."""
    np = pytest.importorskip("numpy")
    arrays = [np.arange(200000.0), np.asfortranarray(np.ones((300, 500))), np.arange(10)[::2],
              np.zeros((0, 3)), np.arange(1 << 16).reshape(256, 256)[:, ::3],
              np.frombuffer(b"x" * 5000, "u1")]
    back = view.apply_sync(from_main("def f(*arrays): return [a + 0 for a in arrays], arrays"),
                           *arrays)
    for first, second, array in zip(*back, arrays):
        assert np.array_equal(first, array) and np.array_equal(second, array)
    assert view.apply_sync(from_main("def f(a):\n    a *= 2\n    return a"),
                           np.ones(1 << 17)).sum() == 2 << 17


def test_large_results_in_a_row(view):
    """More than an engine keeps unacknowledged."""
    results = [view.apply_async(bytes, 30 << 20) for _ in range(6)]
    assert [len(result.get(120)) for result in results] == [30 << 20] * 6


# ---- Python itself


def test_interpreter(view):
    """As in an interactive session of that Python."""
    where = view.apply_sync(from_main(
        "def f():\n    import sys, os, signal\n"
        "    return (sys.argv, sys.path[0], sys.executable, sys.version_info[:2], "
        "sys.stdout.encoding, sys.stdout.isatty(), sys.stdout.fileno(), sys.stderr.fileno(), "
        "os.readlink('/proc/self/fd/0'), signal.getsignal(signal.SIGINT).__name__, "
        "os.getsid(0) == os.getpid(), os.environ['OMP_NUM_THREADS'], "
        "sys.modules['__main__'].__dict__ is globals())"))
    assert where[:2] == ([""], "")
    assert where[3] == sys.version_info[:2]
    assert where[4:] == ("utf-8", False, 1, 2, "/dev/null", "default_int_handler", True, "1", True)


def test_engine_module(view):
    """User code can ask which engine it is."""
    f = from_main("def f():\n    import pcluster_engine as e\n    return e.engine_id, e.engine_uuid")
    number, uuid = view.apply_sync(f)
    assert number == 0 and len(uuid) == 32


def test_random_numbers_differ(start):
    """Engines are copies of one process, but not in this."""
    pytest.importorskip("numpy")
    start(3, "--preload", "numpy,random")
    with pcluster.Client() as client:
        f = from_main("def f():\n    import random, numpy, uuid\n"
                      "    return random.random(), numpy.random.random(), str(uuid.uuid4())")
        for values in zip(*client[:].apply_sync(f)):
            assert len(set(values)) == 3
