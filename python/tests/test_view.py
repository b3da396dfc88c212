# SPDX-License-Identifier: BSD-3-Clause
"""Views against a make-believe controller."""

import itertools
import os
import signal
import threading

import pytest

import pcluster
from pcluster import AsyncMapResult, AsyncResult, Reference, error


@pytest.fixture
def lb(client):
    return client.load_balanced_view()


def interrupt_soon():
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()


# ---- forms of results -------------------------------------------------------------------------


def test_reference_session(client):
    assert client[:].apply_sync(lambda: "Hello, World") == ["Hello, World"] * 4


def test_single_value_only_for_an_int(client):
    assert client[0].apply_sync(int) == 0
    assert client[[0]].apply_sync(int) == [0]
    assert client[:1].apply_sync(int) == [0]
    assert client[(2, 1)].apply_sync(int) == [0, 0]
    assert client.direct_view().apply_sync(int) == [0] * 4
    assert client.load_balanced_view([1]).apply_sync(int) == 0


def test_order_of_targets(controller, client):
    client[[3, 1]].apply_sync(int)
    assert [task.engine for task in controller.seen] == [3, 1]


def test_block_flag(client):
    view = client[:]
    assert view.block is False and isinstance(view.apply(int), AsyncResult)
    view.block = True
    assert view.apply(int) == [0] * 4
    client.block = True
    assert client[:].block is True and client[0].apply(int) == 0
    client.block = False


def test_callable_is_positional_only(client):
    assert client[0].apply_sync(dict, f=1, self=2, args=3) == {"f": 1, "self": 2, "args": 3}
    assert client[0].apply_async(dict, f=1, kind=2).get() == {"f": 1, "kind": 2}


def test_none_and_exceptions_are_values(client):
    assert client[0].apply_sync(lambda: None) is None
    value = client[0].apply_async(ValueError, "not raised").get()
    assert isinstance(value, ValueError)
    assert [type(v) for v in client[:2].apply_sync(ValueError, "x")] == [ValueError] * 2


def test_unicode(client):
    text = "grüße \N{SNOWMAN} \U0001F600 \0 end"
    assert client[0].apply_sync(lambda größe: größe + "!", größe=text) == text + "!"
    client[0]["größe"] = text
    assert client[0]["größe"] == text


def test_large_arguments(client):
    data = os.urandom(1 << 20) * 100
    assert client[0].apply_sync(len, data) == len(data)
    assert client[0].apply_sync(lambda x: x, data) == data


def test_numpy_round_trip(client):
    numpy = pytest.importorskip("numpy")
    array = numpy.random.default_rng(1).random((1000, 100))
    back = client[0].apply_sync(lambda x: x * 2, array)
    assert (back == array * 2).all() and back.flags.writeable
    back[0, 0] = 7  # the memory belongs to the result and lives as long as it
    del array
    assert back[0, 0] == 7


# ---- errors -----------------------------------------------------------------------------------


def test_remote_error(client):
    with pytest.raises(error.RemoteError, match=r"\[1:apply\] ZeroDivisionError") as info:
        client[1].apply_sync(lambda: 1 / 0)
    assert info.value.engine_info["engine_id"] == 1
    assert "1 / 0" in info.value.traceback


def test_composite_error(client):
    with pytest.raises(error.CompositeError) as info:
        client[:].apply_sync(lambda: 1 / 0)
    assert len(info.value.elist) == 4
    with pytest.raises(error.CompositeError):
        client[[0]].apply_sync(lambda: 1 / 0)


def test_lost_engine(controller, client):
    view = client[2]
    controller.hold()
    ar = view.apply_async(int)
    many = client[:].apply_async(int)
    all_lost = client[[2]].apply_async(int)
    controller.depart(2)
    controller.release()
    with pytest.raises(error.EngineError, match="SIGKILL") as info:
        ar.get()
    assert isinstance(info.value, error.RemoteError)
    with pytest.raises(error.CompositeError):
        many.get()
    assert [type(v).__name__ for v in many.get(return_exceptions=True)] == ["int", "int", "EngineError", "int"]
    with pytest.raises(error.EngineError):
        all_lost.get()
    client.wait_for_engines(3)
    assert 2 not in client.ids


def test_unpicklable_things_fail_at_the_call(client):
    lock = threading.Lock()
    with pytest.raises(error.CannotPickle, match="argument 0: .*lock"):
        client[0].apply_sync(len, lock)
    with pytest.raises(error.CannotPickle, match="lock"):
        client[0].apply_async(lambda: lock)
    with pytest.raises(error.CannotPickle, match="argument 'a'"):
        client[:]["a"] = lock
    assert client.history == []


class Unloadable:
    """Can't be made again from its pickle."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return (refuse, (self.value,))


def refuse(value):
    if threading.current_thread() is threading.main_thread():
        raise OverflowError("can't load")
    return Unloadable(value)


def test_result_whose_unpickling_raises(client):
    with pytest.raises(OverflowError, match="can't load"):
        client[0].apply_sync(Unloadable, 1)
    ar = client[:2].apply_async(Unloadable, 1)
    with pytest.raises(OverflowError):
        ar.get()
    assert isinstance(ar.exception(), OverflowError)


# ---- flags ------------------------------------------------------------------------------------


def test_flags(client, lb):
    view = client[:]
    assert (view.track, view.label, view.targets) == (False, None, [0, 1, 2, 3])
    assert view.set_flags(block=True, label="x") is view
    assert (view.block, view.label) == (True, "x")
    with pytest.raises(KeyError, match="colour"):
        view.set_flags(colour=1)
    with view.temp_flags(block=False, targets=2) as same:
        assert same is view and (view.block, view.targets) == (False, 2)
        assert view.apply_sync(int) == 0
        view.label = "y"
    assert (view.block, view.label, view.targets) == (True, "x", [0, 1, 2, 3])
    assert (lb.follow, lb.after, lb.timeout, lb.retries) == (None, None, 0, 0)


def test_targets_in_every_form(client, lb):
    for view in (client[:], lb):
        for value, ids in [
            (slice(1, 3), [1, 2]), (slice(None, None, -2), [3, 1]), ([-1, 0], [3, 0]), ({2, 1}, [1, 2]),
            (range(2), [0, 1]), ((3, 0), [3, 0]), ([], []),
        ]:
            view.targets = value
            assert list(view.targets) == ids and len(view) == len(ids)
        view.targets = -1
        assert view.targets == 3 and view.apply_sync(int) == 0
        for value in ("all", None):
            view.targets = value
            assert view.targets == value and len(view) == 4
        for value, kind in [(-5, IndexError), ([0, -5], IndexError), (1.5, TypeError), (True, TypeError)]:
            with pytest.raises(kind):
                view.targets = value
            assert view.targets is None
    with client[0].temp_flags(targets=slice(2)) as view:
        assert view.apply_sync(int) == [0, 0]
    assert view.targets == 0


def test_views_without_engines_have_a_length(controller, client, lb):
    for number in range(4):
        controller.depart(number)
    client._wait_until(lambda: len(client) == 0, 30)
    for view in (lb, client.direct_view(), client.load_balanced_view([])):
        assert len(view) == 0
    assert lb.executor._max_workers == 0


def test_targets_that_are_gone_can_be_set_again(controller, client):
    view = client[[0, 3]]
    controller.depart(3)
    client._wait_until(lambda: len(client) == 3, 30)
    with view.temp_flags(targets=0):
        pass
    assert view.targets == [0, 3]


@pytest.mark.parametrize(
    "flag, value, kind",
    [
        ("timeout", -1, ValueError),
        ("timeout", "x", TypeError),
        ("run_timeout", float("nan"), ValueError),
        ("priority", "high", TypeError),
        ("priority", 1 << 40, ValueError),
        ("retries", -1, ValueError),
        ("retries", 1.5, TypeError),
        ("after", "id", ValueError),
        ("follow", 7, ValueError),
        ("follow", [None], ValueError),
        ("after", {"dependencies": [], "sucess": True}, ValueError),
        ("targets", "some", TypeError),
        ("tags", "a b", ValueError),
        ("tags", {"gpu", ""}, ValueError),
        ("tags", [7], TypeError),
    ],
)
def test_flags_that_can_not_be(lb, flag, value, kind):
    with pytest.raises(kind):
        setattr(lb, flag, value)


@pytest.mark.parametrize("value", [-0.5, float("nan")])
def test_times_that_can_not_be(lb, value):
    with pytest.raises(ValueError, match=f"timeout is a number of seconds, 0 or more, not {value}"):
        lb.timeout = value


def test_harmless_flags(lb):
    lb.set_flags(timeout=0, retries=0, after=None, follow=None, tags="gpu")
    assert lb.tags == {"gpu"}
    lb.tags = []
    with lb.temp_flags(timeout=None):
        pass


def test_wrong_types_are_named(client, lb):
    view = client[0]
    for call, text in [
        (lambda: view.execute(b"1"), "execute.* bytes"),
        (lambda: view.push({1: 2}), "names to push to are str, not int"),
        (lambda: lb.imap(abs), "imap.* at least one sequence"),
        (lambda: view.set_flags(label=5).apply_sync(int), "a label is a str, not 5"),
        (lambda: lb.map_sync(abs, [1], label=b"x"), "a label is a str, not b'x'"),
    ]:
        with pytest.raises(TypeError, match=text):
            call()


def test_label_is_sent(controller, client, lb):
    client[0].set_flags(label="über").apply_sync(int)
    ar = client[:].execute("a = 1", label="once")
    ar.wait()
    lb.map_sync(abs, [1], label="m")
    assert [task.label for task in controller.seen] == ["über"] + ["once"] * 4 + ["m"]
    assert ar.metadata[0].label == "once" and ar.label == ["once"] * 4


def test_repr_and_len(client, lb):
    assert repr(client[0]) == "<DirectView 0>" and len(client[0]) == 1
    assert repr(client[:2]) == "<DirectView [0, 1]>" and len(client[:2]) == 2
    assert repr(client.direct_view(list(range(4)) * 3)) == "<DirectView [0, 1, 2, 3,...]>"
    assert repr(client.direct_view()) == "<DirectView all>" and len(client.direct_view()) == 4
    assert repr(lb) == "<LoadBalancedView None>" and len(lb) == 4
    assert len(client.load_balanced_view([1, 2])) == 2


# ---- names ------------------------------------------------------------------------------------


def test_push_and_pull(client):
    view = client[:]
    assert isinstance(view.push({"a": 1}), AsyncResult)
    assert view.push({"a": 5, "b": [1]}, block=True) == [None] * 4
    assert client[0].push({"c": 1}, block=True) is None
    assert view.pull("a", block=True) == [5] * 4
    assert view.pull(["a", "b"], block=True) == [[5, [1]]] * 4
    assert client[0].pull(("a", "b"), block=True) == [5, [1]]
    assert client[0].pull({"a"}, block=True) == [5]
    assert view.pull("a + 1").get() == [6] * 4
    assert view.get("a") == [5] * 4 and view["a"] == [5] * 4
    view["d"] = "x"
    assert client[3]["d"] == "x"
    view.block = True
    assert view.update({"e": 2}) == [None] * 4
    assert view.pull("e", targets=1) == 2
    with pytest.raises(error.RemoteError, match="NameError"):
        client[0]["not_there"]


@pytest.mark.parametrize("names", [1, None, {"a": 1}, [1], b"a"])
def test_pull_of_other_types(client, names):
    with pytest.raises(TypeError):
        client[0].pull(names)


@pytest.mark.parametrize("ns", [1, None, [("a", 1)], "a"])
def test_push_of_other_types(client, ns):
    with pytest.raises(TypeError):
        client[0].push(ns)


def test_clear(client):
    view = client[:2]
    client[:].push({"a": 1}, block=True)
    view.clear(block=True)
    with pytest.raises(error.RemoteError):
        client[0]["a"]
    assert client[3]["a"] == 1
    client.clear(block=True)
    with pytest.raises(error.RemoteError):
        client[3]["a"]


def test_execute(client, tmp_path):
    ar = client[:].execute("print('from', 'execute'); a = 6", block=True)
    assert isinstance(ar, AsyncResult) and ar.get() == [None] * 4
    assert ar.stdout == ["from execute\n"] * 4
    assert client[0].execute("a += 1").get() is None
    with pytest.raises(error.RemoteError, match="SyntaxError"):
        client[0].execute("a b", block=True)
    lazy = client[0].execute("1 / 0")
    with pytest.raises(error.RemoteError):
        lazy.get()
    script = tmp_path / "script.py"
    script.write_text("größe = a * 2")
    client[1].run(script, block=True)
    assert client[1]["größe"] == 12
    with pytest.raises(FileNotFoundError):
        client[1].run(tmp_path / "none.py")


def test_execute_with_reply(client, capsys):
    reply = client[1].execute("a = 1; print('x')", silent=False).get()
    assert repr(reply) == "<ExecuteReply[1]: 42>" and str(reply) == "42"
    assert (reply.execution_count, reply.source, reply.stdout) == (1, 1, "x\n")
    assert reply._repr_mimebundle_() == ({"text/plain": "Out[1:1]: 42"}, {}) and reply._repr_html_() is None
    with pytest.raises(AttributeError):
        reply.nothing
    reply.display()
    assert capsys.readouterr().out == "Out[1:1]: 42\n"
    reply.data["text/plain"] = "y" * 100
    assert repr(reply) == f"<ExecuteReply[1]: {'y' * 29}...>"


@pytest.mark.parametrize("dist", ["b", "r"])
@pytest.mark.parametrize("n", [0, 1, 3, 4, 10])
def test_scatter_and_gather(client, dist, n):
    view = client[:3]
    items = list(range(n))
    assert view.scatter("x", items, dist=dist, block=True) is None
    assert view.gather("x", dist=dist, block=True) == items
    ar = view.gather("x", dist=dist)
    assert isinstance(ar, AsyncMapResult) and ar.get() == items
    assert isinstance(view.scatter("x", items), AsyncResult)


def test_scatter_flatten(client):
    client[:].scatter("x", "abcd", flatten=True, block=True)
    assert client[:]["x"] == ["a", "b", "c", "d"]
    client[:].scatter("x", [1, 2, 3, 4, 5], flatten=True, block=True)
    assert client[:]["x"] == [[1, 2], 3, 4, 5]
    with pytest.raises(ValueError):
        client[:].scatter("x", [1], dist="z")


def test_gather_arrays(client):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(50_000)
    client[:].scatter("x", array, block=True)
    assert (client[:].gather("x", block=True) == array).all()


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (9, 3)])
@pytest.mark.parametrize("dist", ["b", "r"])
def test_arrays_come_back_in_order(client, dist, shape):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(int(numpy.prod(shape)), dtype="i4").reshape(shape)
    client[:].scatter("x", array, dist=dist, block=True)
    for view in (client[:], client.broadcast_view()):
        back = view.gather("x", dist=dist, block=True)
        assert back.shape == shape and back.dtype == array.dtype and (back == array).all()
    flat = client[:].gather("x", dist=dist).get()
    assert (flat == array).all()


@pytest.mark.parametrize("dist", ["b", "r"])
def test_gather_of_other_things(client, dist):
    """What is no sequence can't be joined: one part for each engine."""
    client[:].scatter("x", "abcdef", dist=dist, flatten=True, block=True)
    client[:]["y"] = 5
    assert client[:].gather("y", dist=dist, block=True) == [5] * 4
    assert len(client[:].gather("x", dist=dist, block=True)) == 4
    with pytest.raises(error.CompositeError):
        client[:].gather("nothing", dist=dist, block=True)
    with pytest.raises(ValueError, match="distribution"):
        client[:].gather("x", dist="z")


def test_reference(client, controller):
    import __main__

    __main__.remote_value = 20
    try:
        assert client[0].apply_sync(lambda a, b: a + b, Reference("remote_value"), b=Reference("1")) == 21
        assert client[0].map_sync(abs, [Reference("-remote_value")]) == [20]
        __main__.remote_value = abs
        assert client[0].apply_sync(Reference("remote_value"), -3) == 3
    finally:
        del __main__.remote_value


# ---- map --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 100])
@pytest.mark.parametrize("options", [{}, {"chunksize": 3}, {"chunksize": 1000}, {"direct": True}])
def test_map(client, lb, n, options):
    view = client[:] if options.pop("direct", False) else lb
    expected = [x * x for x in range(n)]
    assert view.map_sync(lambda x: x * x, range(n), **options) == expected
    ar = view.map_async(lambda x: x * x, iter(range(n)), **options)
    assert isinstance(ar, AsyncMapResult) and len(ar) == n
    assert list(ar) == expected and ar.get() == expected and ar.progress == n
    assert view.map(abs, range(n), block=True, **options) == list(range(n))


@pytest.mark.parametrize("options", [{}, {"chunksize": 2}, {"direct": True}])
def test_map_ends_with_the_shortest(client, lb, options):
    view = client[:] if options.pop("direct", False) else lb
    assert view.map_sync(max, range(7), [5] * 3, "abc" and (9, 0, 9, 9), **options) == [9, 5, 9]
    assert view.map_sync(max, range(7), [], **options) == []
    with pytest.raises(TypeError):
        view.map_sync(max, **options)


def test_map_options(lb):
    with pytest.raises(ValueError, match="chunksize"):
        lb.map(abs, [1], chunksize=0)


def fail_at_three(x):
    if x == 3:
        raise ValueError(x)
    return x


@pytest.mark.parametrize("options", [{}, {"chunksize": 2}])
def test_map_with_an_error_in_the_middle(lb, options):
    ar = lb.map_async(fail_at_three, range(6), **options)
    with pytest.raises(error.CompositeError):
        ar.get()
    got = []
    with pytest.raises(error.RemoteError, match="ValueError: 3"):
        for item in ar:
            got.append(item)
    assert got == [0, 1, 2][: 3 if not options else 2]
    kept = lb.map_sync(fail_at_three, range(6), return_exceptions=True, **options)
    assert [type(item).__name__ for item in kept] == (
        ["int", "int", "int", "RemoteError", "int", "int"] if not options
        else ["int", "int", "RemoteError", "int", "int"]
    )
    ar = lb.map_async(fail_at_three, range(6), return_exceptions=True, **options)
    assert [type(item) for item in ar] == [type(item) for item in kept]


def test_map_unordered(controller, lb):
    controller.hold()
    ar = lb.map_async(abs, range(20), ordered=False)
    controller.release()
    assert sorted(ar) == list(range(20)) and ar.get() == list(range(20))


def test_map_beyond_the_window(make):
    with pcluster.Client(make(window_count=8).path) as c:
        assert c.load_balanced_view().map_sync(abs, range(500)) == list(range(500))


def test_map_of_numpy_items(client, lb):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(12)
    for view in (client[:], lb):
        assert view.map_sync(int, array) == list(range(12))
    assert lb.map_sync(int, array, chunksize=5) == list(range(12))


def test_imap(client, lb):
    assert list(lb.imap(abs, range(10))) == list(range(10))
    assert sorted(lb.imap(abs, range(10), ordered=False)) == list(range(10))
    assert list(lb.imap(max, [1, 5], [3, 2], max_outstanding=0)) == [3, 5]
    assert list(client[:].imap(abs, range(5))) == list(range(5))
    for wrong in (-1, "many"):
        with pytest.raises(ValueError):
            lb.imap(abs, [], max_outstanding=wrong)


@pytest.mark.parametrize("ordered", [True, False])
def test_imap_is_lazy(lb, ordered):
    taken = itertools.count()
    squares = lb.imap(lambda x: x * x, taken, max_outstanding=3, ordered=ordered)
    assert sorted(itertools.islice(squares, 5)) in ([0, 1, 4, 9, 16], [0, 1, 4, 9, 25])
    assert next(taken) == 8
    squares.cancel()
    assert len(list(squares)) == 3


def test_imap_with_errors(lb):
    def numbers():
        yield 1
        yield 3
        raise KeyError("input")

    found = lb.imap(fail_at_three, numbers(), max_outstanding=2)
    assert next(found) == 1
    with pytest.raises(error.RemoteError):
        next(found)
    with pytest.raises(KeyError, match="input"):
        next(found)
    with pytest.raises(StopIteration):
        next(found)
    kept = lb.imap(fail_at_three, [3, 4], return_exceptions=True)
    assert [type(item).__name__ for item in kept] == ["RemoteError", "int"]


# ---- waiting ----------------------------------------------------------------------------------


def test_view_waits_for_its_own(controller, client):
    controller.hold()
    view, other = client[0], client[1]
    view.apply_async(int)
    assert not view.wait(timeout=0.01) and len(view.outstanding) == 1
    assert other.wait(timeout=0) and other.outstanding == set()
    assert not view.wait(-1, timeout=0.01)
    controller.release()
    assert view.wait(timeout=30) and view.wait(view.history, timeout=0)
    assert other.wait(view.history, timeout=0)
    with pytest.raises(KeyError):
        view.wait("nonsense")


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c[0].apply_sync(int),
        lambda c: c[:].apply_sync(int),
        lambda c: c[:].map_sync(abs, range(8)),
        lambda c: c.load_balanced_view().map_sync(abs, range(8)),
        lambda c: c[:].pull("1", block=True),
        lambda c: c[:].push({"a": 1}, block=True),
        lambda c: c[:].scatter("a", range(4), block=True),
        lambda c: c[:].gather("1", block=True),
        lambda c: c[:].execute("1", block=True),
    ],
)
@pytest.mark.parametrize("with_background", [False, True])
def test_ctrl_c_gives_the_pending_result(controller, client, call, with_background):
    if with_background:
        client[0].apply_async(int).get()
    controller.hold()
    interrupt_soon()
    ar = call(client)
    assert isinstance(ar, AsyncResult) and not ar.ready()
    controller.release()
    ar.wait(30)
    assert ar.ready()


@pytest.mark.parametrize("with_background", [False, True])
def test_ctrl_c_in_get_raises(controller, client, with_background):
    controller.hold()
    ar = client[:].apply_async(int)
    if with_background:
        ar.add_done_callback(lambda ar: None)
    for wait in (ar.get, ar.wait, client.wait, lambda: client.wait_for_engines(9), lambda: list(ar)):
        interrupt_soon()
        with pytest.raises(KeyboardInterrupt):
            wait()
    controller.release()
    assert ar.get(30) == [0] * 4


# ---- functions of a view ----------------------------------------------------------------------


def test_remote_function(client, lb):
    @client[:].remote(block=True)
    def power(x, y=2):
        """Raises to a power."""
        return x**y

    assert power(3) == [9] * 4 and power(2, y=5) == [32] * 4
    assert power.__name__ == "power" and power.__doc__ == "Remote function.\n\nRaises to a power."
    import inspect

    assert str(inspect.signature(power)) == "(x, y=2)"
    assert "RemoteFunction power on <DirectView" in repr(power)
    lazy = pcluster.remote(lb, label="x")(abs)
    assert isinstance(lazy(-1), AsyncResult) and lazy(-1).get() == 1
    assert lb.label is None
    with pytest.raises(KeyError):
        pcluster.remote(lb, colour=1)(abs)(1)


def test_parallel_function(client, lb):
    @client[:].parallel(block=True)
    def double(part):
        return [x * 2 for x in part]

    assert double(range(10)) == [x * 2 for x in range(10)]
    assert double([1]) == [2] and double([]) == []
    total = client[:].parallel(block=True, dist="r")(sum)
    assert total(range(8)) == [4, 6, 8, 10]
    assert pcluster.parallel(client[0], block=True)(sum)(range(8)) == [28]
    scalar = client[:].parallel(block=True)(abs)
    assert scalar.map([-1, -2, -3]) == [1, 2, 3]
    assert lb.parallel(block=True)(sum)([1, 2, 3]) == [1, 2, 3]
    assert lb.parallel(block=True, chunksize=2)(sum)([1, 2, 3]) == [3, 3]
    assert lb.parallel(block=True, chunksize=2)(abs).map([-1, 2, -3]) == [1, 2, 3]
    assert isinstance(lb.parallel()(sum)([1]), AsyncMapResult)
    both = client[:].parallel(block=True)(lambda a, b: [x + y for x, y in zip(a, b)])
    assert both([1, 2], [3, 4]) == [4, 6]
    with pytest.raises(ValueError, match="different lengths"):
        both([1, 2], [3])
    for wrong in (lambda: both(), lambda: double(part=[1])):
        with pytest.raises(TypeError):
            wrong()
    with pytest.warns(UserWarning, match="chunksize"):
        client[:].parallel(chunksize=3)(sum)


def test_sync_imports(client, capsys):
    view = client[:2]
    with view.sync_imports():
        import json
        from os import path, sep
    assert capsys.readouterr().out == "importing json on engine(s)\nimporting path, sep from os on engine(s)\n"
    assert json and path and view["json.dumps([1])"] == ["[1]"] * 2 and view["sep"] == [sep] * 2
    with view.sync_imports(quiet=True):
        import json  # noqa: F811
    with view.importer:
        import math
    assert math and "importing math" in capsys.readouterr().out
    with pytest.raises(NotImplementedError):
        view.sync_imports(local=False)
    client[0].push({"a": 1}, block=True)
    with pytest.raises(ModuleNotFoundError):
        with view.sync_imports(quiet=True):
            import not_a_module_at_all  # noqa: F401
    import builtins

    assert "import_both" not in repr(builtins.__import__)
