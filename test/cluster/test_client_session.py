# SPDX-License-Identifier: BSD-3-Clause
"""What people do with the Python client, on a real cluster."""

import asyncio
import concurrent.futures
import math
import os
import shutil
import sys
import threading

import pytest
from conftest import wait_until
from shared import ENGINES, by_value, client, run_python, run_script, shared  # noqa: F401 (fixtures)

import pcluster
from pcluster import Client, Reference, error

SESSION = """\
>>> from pcluster import Client
>>> c = Client()
>>> c.ids
[0, 1, 2, 3]
>>> c[:].apply_sync(lambda: "Hello, World")
['Hello, World', 'Hello, World', 'Hello, World', 'Hello, World']
"""


def pythons():
    """The Python of the tests, and another one of the same version that comes first in PATH."""
    found = [sys.executable]
    other = shutil.which("python3")
    if other and os.path.realpath(other) != os.path.realpath(sys.executable):
        done = run_python("-c", "import sys; print(sys.version_info[:2])", python=other)
        if done.stdout.strip() == str(sys.version_info[:2]):
            found.append(other)
    return found


@pytest.mark.parametrize("python", pythons())
def test_reference_session(shared, python):
    """As typed, in a plain interpreter."""
    lines = SESSION.splitlines()
    typed = "".join(line[4:] + "\n" for line in lines if line.startswith(">>> "))
    expected = [line for line in lines if not line.startswith(">>> ")]
    done = run_python("-i", "-q", python=python, input=typed)
    assert done.stdout.splitlines() == expected, done.stderr
    assert "Traceback" not in done.stderr


def test_ways_to_connect(shared):
    for arguments in ({}, {"profile": "default"}, {"connection_info": shared.file},
                      {"url_file": shared.file}, {"transport": "tcp"}, {"transport": "unix"},
                      {"profile_dir": os.path.dirname(os.path.dirname(shared.file))}):
        with Client(**arguments) as c:
            assert c.ids == [0, 1, 2, 3]
            assert c[0].apply_sync(os.getpid) == c.engines[0].pid
            assert c.info["address"].startswith("tcp") == (arguments.get("transport") == "tcp")
            assert c.profile == "default" and c.cluster_id == ""


# ---- calls ------------------------------------------------------------------------------------


def test_apply(client):
    assert client[1].apply_sync(pow, 2, 10) == 1024
    assert client[1:3].apply(pow, 2, 5).get() == [32, 32]
    assert client[[3]].apply_sync(dict, f=1, self=2) == [{"f": 1, "self": 2}]
    pids = client[:].apply_sync(os.getpid)
    assert pids == [engine.pid for engine in client.engines] and len(set(pids)) == ENGINES
    balanced = client.load_balanced_view()
    assert balanced.apply_sync(os.getpid) in pids
    assert client.load_balanced_view([2]).apply_sync(os.getpid) == pids[2]


def test_execute_push_pull(client):
    view = client[:]
    view.execute("import os; a = os.getpid()", block=True)
    assert view["a"] == view.apply_sync(os.getpid)
    view.push({"b": [1, 2], "größe": "ü"}, block=True)
    view.push({"b[0]": 5, "os.path.sep2": "/"}, block=True)
    assert client[0].pull(["b", "größe", "len(b)", "os.path.sep2"], block=True) == [[5, 2], "ü", 2, "/"]
    view["c"] = None
    assert view["c"] == [None] * ENGINES
    with pytest.raises(error.CompositeError, match="NameError"):
        view["nothing"]


def test_execute_with_reply(client):
    first = client[0].execute("6 * 7", silent=False).get()
    second = client[0].execute("print('x'); None", silent=False).get()
    assert first.data == {"text/plain": "42"} and second.data == {}
    assert second.execution_count == first.execution_count + 1
    assert second.stdout == "x\n" and "42>" in repr(first)


def test_run(client, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("x = 41\nx += 1", encoding="utf-8")
    client[:].run(str(script), block=True)
    assert client[:]["x"] == [42] * ENGINES


def test_tracebacks_of_run_show_the_file(client, tmp_path, monkeypatch):
    """The file is not on the engine: its name and its lines are."""
    script = tmp_path / "größe.py"
    script.write_text("def half(x):\n    return 1 / x  # the first text\n", encoding="utf-8")
    client[0].run(script, block=True)
    other = tmp_path / "calls.py"
    other.write_text("\nhalf(0)  # the call\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ar = client[0].run("calls.py")
    script.unlink()
    other.unlink()
    with pytest.raises(error.RemoteError) as caught:
        ar.get()
    lines = [line for line in caught.value.traceback.splitlines() if "^^" not in line]
    assert lines[1:5] == [
        f'  File "{other}", line 2, in <module>', "    half(0)  # the call",
        f'  File "{script}", line 2, in half', "    return 1 / x  # the first text"]
    script.write_text("\n\n\nhalf(0)  # of another text\n", encoding="utf-8")
    with pytest.raises(error.RemoteError) as caught:
        client[0].run(script, block=True)
    assert f'File "{script}", line 4, in <module>\n    half(0)  # of another text' in caught.value.traceback
    script.write_text("if True\n    pass\n", encoding="utf-8")
    with pytest.raises(error.RemoteError, match="SyntaxError") as caught:
        client[0].run(script, block=True)
    assert f'File "{script}", line 1\n    if True' in caught.value.traceback


@pytest.mark.parametrize("n", [0, 1, 5, 1000])
def test_scatter_and_gather(client, n):
    for dist in "br":
        client[:].scatter("x", range(n), dist=dist, block=True)
        assert sum(client[:].pull("len(x)", block=True)) == n
        assert [i for part in client[:]["x"] for i in part] != [] or n == 0
        client[:].scatter("x", list(range(n)), dist=dist, block=True)
        assert client[:].gather("x", dist=dist, block=True) == list(range(n))


def test_clear(client):
    client[:]["a"] = 1
    client[0].clear(block=True)
    with pytest.raises(error.RemoteError, match="NameError"):
        client[0]["a"]
    assert client[1:]["a"] == [1, 1, 1]
    client.clear(block=True)
    with pytest.raises(error.CompositeError):
        client[1:]["a"]
    assert client[:].apply_sync(lambda: "still here") == ["still here"] * ENGINES


# ---- map --------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 7, 100_000])
def test_map_of_10000(client, chunksize):
    view = client.load_balanced_view()
    items = range(10_000 if chunksize > 1 else 2_000)
    result = view.map_async(lambda x: x * x, items, chunksize=chunksize)
    assert result.get() == [x * x for x in items]
    assert len(set(result.engine_id)) == min(ENGINES, len(result.msg_ids))


def test_direct_map(client):
    assert client[:].map_sync(lambda x, y: x - y, range(1000), range(1000)) == [0] * 1000
    assert client[:].map_sync(math.sqrt, [4.0]) == [2.0]
    assert client[:].map_sync(abs, []) == []


def test_unordered_map(client):
    result = client.load_balanced_view().map_async(abs, range(100), ordered=False)
    assert sorted(result) == list(range(100))


def test_imap_over_infinite_input(client):
    import itertools

    squares = client.load_balanced_view().imap(lambda x: x * x, itertools.count())
    assert [next(squares) for _ in range(50)] == [x * x for x in range(50)]
    squares.cancel()
    assert len(list(squares)) <= ENGINES


def test_map_with_errors(client):
    def bad(x):
        if x % 3 == 0:
            raise ValueError(x)
        return x

    view = client.load_balanced_view()
    with pytest.raises(error.CompositeError) as info:
        view.map_sync(bad, range(30))
    assert len(info.value.elist) == 10
    kept = view.map_sync(bad, range(30), return_exceptions=True)
    assert [isinstance(item, error.RemoteError) for item in kept] == [x % 3 == 0 for x in range(30)]


# ---- results ----------------------------------------------------------------------------------


def test_metadata(client):
    import datetime

    before = datetime.datetime.now(datetime.timezone.utc)
    result = client[:].set_flags(label="grüße").apply_async(lambda: print("out") or 5)
    assert result.get() == [5] * ENGINES
    for number, row in enumerate(result.metadata):
        assert row.engine_id == number and row.status == "ok" and row.label == "grüße"
        assert row.engine_uuid == client.engines[number].uuid
        assert row.stdout == "out\n" and row.stderr == ""
        assert row.submitted <= row.started <= row.completed <= row.received
        assert abs((row.submitted - before).total_seconds()) < 600
    assert result.msg_ids == client.history
    assert 0 <= result.serial_time and 0 < result.wall_time


def test_output(client):
    def talk():
        import subprocess
        import sys

        print("from print")
        print("to stderr", file=sys.stderr)
        sys.stdout.flush()
        os.write(1, b"from write\n")
        subprocess.run(["echo", "from echo"], check=True)
        return "said"

    result = client[0].apply_async(talk)
    assert result.get() == "said"
    assert sorted(result.stdout.splitlines()) == ["from echo", "from print", "from write"]
    assert result.stderr == "to stderr\n"


def test_output_precedes_the_result(client):
    for _ in range(20):
        result = client[1].apply_async(lambda: print("x" * 10_000))
        result.get()
        assert result.stdout == "x" * 10_000 + "\n"


def test_waiting(client, shared):
    gate = os.path.join(shared.home.work, "gate")
    os.mkfifo(gate)
    result = client[0].apply_async(lambda: open(gate).read())
    assert not result.ready() and not client.wait(timeout=0.01)
    with pytest.raises(TimeoutError):
        result.get(timeout=0.01)
    assert client.outstanding == set(result.msg_ids)
    assert "pending" in repr(result)
    with open(gate, "w", encoding="utf-8") as file:
        file.write("open")
    assert client.wait(timeout=60) and result.get() == "open" and result.successful()
    os.unlink(gate)


def test_futures(client):
    view = client.load_balanced_view()
    results = [view.apply_async(pow, 2, n) for n in range(20)]
    found = [f.result() for f in concurrent.futures.as_completed(results, 60)]
    assert sorted(found) == [2**n for n in range(20)]
    called = threading.Event()
    view.apply_async(int).add_done_callback(lambda f: called.set())
    assert called.wait(60)

    async def main():
        return await asyncio.gather(*(client[i].apply_async(abs, -i) for i in range(ENGINES)))

    assert asyncio.run(main()) == list(range(ENGINES))
    with client.executor() as executor:
        assert list(executor.map(pow, [2] * 5, range(5))) == [1, 2, 4, 8, 16]


def test_background_reads_while_nobody_waits(client):
    results = [client[0].apply_async(bytes, 100_000) for _ in range(100)]
    wait_until(lambda: all(r._all_ended() for r in results), "results to arrive by themselves")


# ---- what is sent -----------------------------------------------------------------------------


def test_a_rush_of_submissions_leaves_by_itself(client, tmp_path):
    view = client.load_balanced_view()
    for number in range(100):
        view.apply_async(os.mkdir, str(tmp_path / str(number)))
    # From here on the client is left alone.
    wait_until(lambda: len(os.listdir(tmp_path)) == 100, "all tasks to run")


def test_functions_of_main(shared, tmp_path):
    """Closures, recursion, decorators, classes and pushed names, from a script."""
    out = run_script("""
import functools, math
from pcluster import Client, Reference, PrePickled
c = Client()
view, one = c[:2], c[0]

def fact(n):
    return 1 if n < 2 else n * fact(n - 1)

def add(n):
    return lambda x: x + n

def logged(f):
    @functools.wraps(f)
    def wrapper(*args):
        return ("logged", f(*args))
    return wrapper

@logged
def half(x):
    return math.floor(x / 2)

class Point:
    def __init__(self, x):
        self.x = x
    def moved(self, by):
        return type(self)(self.x + by)
    def __eq__(self, other):
        return self.x == other.x

print(one.apply_sync(fact, 10))
print(view.apply_sync(add(5), 1), one.apply_sync(add(6), 1))
print(one.apply_sync(half, 9), half.__name__)
print(one.apply_sync(Point(3).moved, 4) == Point(7), type(one.apply_sync(Point, 1)) is Point)
print(one.apply_sync(functools.partial(pow, 2), 5))
print(one.apply_sync(lambda: sum(x * x for x in range(5))))
limit = 10
def above(x):
    return x > limit
print(one.apply_sync(above, 7)); limit = 5; print(one.apply_sync(above, 7))
items = [1]
def count():
    return len(items)
print(one.apply_sync(count)); items.append(2); print(one.apply_sync(count))

view.push({"pushed": 7}, block=True)
print(view.apply_sync(lambda: pushed))
view.execute("def theirs(x): return x + pushed", block=True)
print(view.apply_sync(lambda: theirs(1)))
print(view.apply_sync(Reference("theirs"), Reference("pushed * 2")))
def set_global():
    global made
    made = 1
one.apply_sync(set_global)
print(one["made"])
heavy = PrePickled({"k": list(range(1000))})
print(view.apply_sync(lambda d: len(d["k"]), heavy))
print(c.load_balanced_view().map_sync(fact, range(6), chunksize=2))
try:
    one.apply_sync(lambda: missing_name)
except Exception as e:
    print("NameError" in str(e), "push" in str(e))
""", tmp_path)
    assert out.splitlines() == [
        "3628800", "[6, 6] 7", "('logged', 4) half", "True True", "32", "30", "False", "True",
        "1", "2", "[7, 7]", "[8, 8]", "[21, 21]", "1", "[1000, 1000]", "[1, 1, 2, 6, 24, 120]",
        "True True",
    ]


def test_values_arrive_as_they_were(client):
    import datetime
    import decimal

    values = [
        None, True, 1 << 200, -1.5, float("inf"), 1j, "ü\N{SNOWMAN}\U0001F600\0", b"\0\xff", bytearray(b"x"),
        [1, [2, [3]]], (1,), {1, 2}, frozenset({1, 2}), {"k": {"größe": (1, None)}}, range(5),
        datetime.datetime(2024, 1, 1), decimal.Decimal("1.1"), ValueError("not raised"), int, math.sin,
    ]
    back = client[0].apply_sync(lambda *args: list(args), *values)
    assert repr(back) == repr(values)


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_100_megabytes(client, kind):
    data = kind(os.urandom(1 << 20) * 100)
    assert client[0].apply_sync(hash if kind is bytes else len, data) is not None
    back = client[0].apply_sync(lambda x: x, data)
    assert back == data and type(back) is kind
    client[0]["data"] = data
    assert client[0]["data"] == data


def test_arrays(client):
    numpy = pytest.importorskip("numpy")
    array = numpy.random.default_rng(3).random((1 << 20,))
    twice = client[0].apply_sync(lambda a: (a.flags.writeable, a * 2), array)
    assert twice[0] and (twice[1] == array * 2).all() and twice[1].flags.writeable
    client[:].scatter("part", array, block=True)
    assert (client[:].gather("part", block=True) == array).all()
    strided = array[::3]
    assert (client[0].apply_sync(lambda a: a, strided) == strided).all()
    structured = numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])
    assert (client[0].apply_sync(lambda a: a, structured) == structured).all()


def test_reference(client):
    client[:]["value"] = 20
    assert client[0].apply_sync(lambda a, b: a + b, Reference("value"), b=Reference("value + 1")) == 41
    client[0].execute("def f(x): return x * value", block=True)
    assert client[0].apply_sync(Reference("f"), 2) == 40
    client[0].execute("def f(x): return -x", block=True)
    assert client[0].apply_sync(Reference("f"), 2) == -2
    assert client[0].map_sync(abs, [Reference("-value")]) == [20]
    with pytest.raises(error.RemoteError, match="NameError"):
        client[0].apply_sync(abs, Reference("nothing"))


# ---- the cluster ------------------------------------------------------------------------------


def test_status(client, shared):
    client[:].apply_sync(int)
    status = client.status()
    assert status["pids"]["parent"] == shared.pid
    assert [row["id"] for row in status["engines"]] == list(range(ENGINES))
    wait_until(lambda: client.queue_status(0)["completed"] > 0, "the hub to count")
    everything = client.queue_status()
    assert set(everything) == {*range(ENGINES), "unassigned"}
    assert everything[1]["queue"] == everything[1]["tasks"] == 0


def test_clients_do_not_disturb_each_other(shared):
    with Client(shared.file) as one, Client(shared.file) as two:
        a = [one[0].apply_async(lambda i=i: ("one", i)) for i in range(50)]
        b = [two[0].apply_async(lambda i=i: ("two", i)) for i in range(50)]
        assert [r.get() for r in a] == [("one", i) for i in range(50)]
        assert [r.get() for r in b] == [("two", i) for i in range(50)]
        assert one.session != two.session


def test_clients_share_the_namespaces_of_engines(shared):
    """Two people, one cluster: as in the first session."""
    with Client(shared.file) as one:
        one[:].push({"shared": 10}, block=True)
        with Client(shared.file) as two:
            assert two[:].pull("shared", block=True) == [10] * ENGINES
            two[1].execute("shared += 1", block=True)
        assert one[:].pull("shared", block=True) == [10, 11, 10, 10]
    with Client(shared.file) as later:
        assert later[1]["shared"] == 11


def test_late_engines(start):
    cluster = start(1)
    with Client(cluster.file) as c:
        view = c.direct_view()
        assert view.apply_sync(int) == [0]
        with pytest.raises(TimeoutError):
            c.wait_for_engines(2, timeout=0.05)
        host = cluster.home.popen("engine", "-n", "1", "--file", cluster.engine_file)
        try:
            c.wait_for_engines(2, timeout=60)
            assert len(view) == 2 and view.apply_sync(int) == [0, 0]
        finally:
            host.terminate()
            host.communicate()
        wait_until(lambda: c.ids == [0], "the engine to leave")


def test_census(shared):
    example = os.path.join(os.path.dirname(__file__), "..", "..", "examples", "census.py")
    folder = os.path.dirname(pcluster.__file__)
    done = run_python(example, "--top", "3", folder)
    assert done.returncode == 0, done.stderr
    assert "files" in done.stdout and "4 engines:" in done.stdout and "self" in done.stdout
    done = run_python(example, shared.home.runtime)
    assert done.returncode == 1 and "no .py files" in done.stderr
    done = run_python(example, "--profile", "nobody's", folder)
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_output_streams(client):
    """What a task prints is shown here while it runs; values of executions, too."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as screen:
        ar = client[:2].execute("print('one')\n6 * 7", silent=False)
        with ar.stream_output():
            ar.get()
    lines = screen.getvalue().splitlines()
    assert sorted(line for line in lines if line.startswith("[")) == ["[stdout:0] one", "[stdout:1] one"]
    assert [line[-4:] for line in lines if line.startswith("Out[")] == [": 42"] * 2


def test_rich_values(client):
    client[0].execute("""
class Shape:
    def _repr_html_(self): return "<b>shape</b>"
    def _repr_png_(self): return b"\\0png"
    def _repr_svg_(self): raise ValueError
    def __repr__(self): return "shape"
""", block=True)
    reply = client[0].execute("Shape()", silent=False).get()
    assert reply._repr_html_() == "<b>shape</b>" and reply._repr_png_() == b"\0png"
    assert set(reply.data) == {"text/plain", "text/html", "image/png"} and str(reply) == "shape"


SHOWN = """
import sys
class Shape:
    def _repr_html_(self): return "<b>shape</b>"
    def _repr_png_(self): return b"\\0png", {"width": 3}
    def __repr__(self): return "shape"
print("before")
display(Shape(), 6 * 7)
display("grüße", metadata={"text/plain": {"bold": True}})
assert "IPython" not in sys.modules
"""


def test_displayed_objects(client, capsys):
    """They come with the output of the task, in all forms, and IPython is not needed for that."""
    ar = client[:2].execute(SHOWN)
    with ar.stream_output():
        ar.get()
    assert sorted(line for line in capsys.readouterr().out.splitlines() if "[output" in line) == sorted(
        f"[output:{n}] {text}" for n in (0, 1) for text in ("shape", "42", "'grüße'"))
    first, second, third = ar.outputs[1]
    assert first == {
        "data": {"text/html": "<b>shape</b>", "image/png": "AHBuZw==", "text/plain": "shape"},
        "metadata": {"image/png": {"width": 3}},
    }
    assert second["data"] == {"text/plain": "42"} and third["metadata"] == {"text/plain": {"bold": True}}
    assert ar.metadata[0].outputs == ar.outputs[0]
    ar.display_outputs(groupby="engine")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["[stdout:0] before", "[output:0] shape"]


def test_display_of_ipython(shared, client):
    if client[0].apply_sync(lambda: __import__("importlib.util").util.find_spec("IPython")) is None:
        pytest.skip("engines have no IPython")

    @by_value
    def show():
        import IPython.display as d
        from IPython.display import HTML, display, publish_display_data

        handle = d.display(HTML("<i>x</i>"), display_id="one")
        handle.update(33)
        publish_display_data({"text/plain": "published"})
        display({"text/plain": "raw"}, raw=True)

    ar = client[3].apply_async(show)
    ar.get()
    assert [output["data"].get("text/html") for output in ar.outputs] == ["<i>x</i>", None, None, None]
    assert [output["data"]["text/plain"] for output in ar.outputs[1:]] == ["33", "published", "raw"]


def test_displaying_a_lot(client):
    """One display is limited, and of too many the first and the last stay."""
    show = "display({'text/plain': '%d' + 'x' * %d}, raw=True)"
    with pytest.raises(error.RemoteError, match="ValueError: what is displayed makes"):
        client[0].execute(show % (0, 9_000_000), block=True)
    with pytest.raises(error.RemoteError, match="TypeError"):
        client[0].execute("display({'text/plain': object()}, raw=True)", block=True)
    ar = client[0].execute("\n".join(show % (n, 3_000_000) for n in range(9)), block=True)
    assert [output["data"]["text/plain"][:5] for output in ar.outputs] == ["0xxxx", "1xxxx", "[... ", "7xxxx", "8xxxx"]


def test_queue_lists(client):
    ar = client[1].apply_async(int)
    ar.get()
    wait_until(lambda: ar.msg_ids[0] in client.queue_status(1, verbose=True)["completed"], "the hub to know")
    everything = client.queue_status(verbose=True)
    assert set(everything) == {*range(ENGINES), "unassigned"} and everything["unassigned"] == []
    assert ar.msg_ids[0] not in everything[0]["completed"]


def test_published_data(client):
    """It arrives while the task runs, and belongs to that task alone."""
    client[:].execute("from pcluster.datapub import publish_data", block=True)
    ar = client[0].execute("""
import time
publish_data({"done": 1})
for done in range(1, 2000): publish_data({"done": done, "text": "x" * 10000})
publish_data({"last": True})
while True: time.sleep(0.01)
""")
    wait_until(lambda: ar.data.get("last"), "the last publication")
    assert ar.data["done"] == 1999 and len(ar.data["text"]) == 10_000 and not ar.ready()
    client.interrupt(0)
    with pytest.raises(error.RemoteError, match="KeyboardInterrupt"):
        ar.get(60)
    assert ar.data["last"] and ar.metadata.data["done"] == 1999
    later = client[:2].execute("publish_data({'own': 1})", block=True)
    assert later.data == [{"own": 1}] * 2
    with pytest.raises(error.RemoteError, match="ValueError: .* 65536"):
        client[0].execute("publish_data({'large': 'x' * 100000})", block=True)
    assert client[0].execute("pass", block=True).data == {}
