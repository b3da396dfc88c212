# SPDX-License-Identifier: BSD-3-Clause
"""Output and progress of tasks on the screen, against a make-believe controller."""

import contextlib
import io
import pickle
import sys
import threading
import types

import pytest

from fake import STREAM
from pcluster import FIRST_COMPLETED, error
from pcluster.client.metadata import load_outputs
from pcluster.client.progress import Progress
from pcluster.datapub import publish_data


class Screen(io.StringIO):
    """A stdout on which a test waits for a text."""

    def __init__(self):
        super().__init__()
        self.grown = threading.Condition()

    def write(self, text):
        with self.grown:
            count = super().write(text)
            self.grown.notify_all()
        return count

    def wait_for(self, text):
        with self.grown:
            assert self.grown.wait_for(lambda: text in self.getvalue(), 30), self.getvalue()


def write(controller, call, data, stream=0, engine=0):
    """Output of a task that still runs."""
    controller.connections[0].send(STREAM, bytes([stream]) + bytes(15), [data], call.session, call.sequence, engine)


# ---- afterwards -------------------------------------------------------------------------------


def test_display_outputs(client, capsys):
    ar = client[:2].apply_async(print, "a\nb")
    ar.get()
    expected = "[stdout:0]\na\nb\n[stdout:1]\na\nb\n"
    for groupby in ("type", "engine", "order"):
        ar.display_outputs(groupby)
        assert capsys.readouterr().out == expected
    ar.display_outputs(result_only=True)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="colour"):
        ar.display_outputs("colour")


def test_short_outputs_stand_beside_the_prefix(client, capsys):
    client[:2].execute("print('x')", block=True).display_outputs()
    assert capsys.readouterr().out == "[stdout:0] x\n[stdout:1] x\n"
    client[0].execute("print('x', end='')", block=True).display_outputs()
    assert capsys.readouterr().out == "x\n"


@pytest.mark.parametrize(
    "groupby, order",
    [("type", ["[stdout:1] x", "[stdout:0] x", "Out[1:1]: 42", "Out[0:1]: 42"]),
     ("order", ["[stdout:1] x", "Out[1:1]: 42", "[stdout:0] x", "Out[0:1]: 42"]),
     ("engine", ["[stdout:0] x", "Out[0:1]: 42", "[stdout:1] x", "Out[1:1]: 42"])],
)
def test_groups_and_values(client, capsys, groupby, order):
    ar = client[[1, 0]].execute("print('x')", silent=False, block=True)
    ar.display_outputs(groupby)
    assert capsys.readouterr().out.splitlines() == order
    ar.display_outputs(groupby, result_only=True)
    assert capsys.readouterr().out.splitlines() == [line for line in order if line.startswith("Out")]


def test_display_outputs_of_what_failed(client, capsys):
    ar = client[:2].execute("print('x'); 1 / 0", silent=False)
    ar.wait()
    ar.display_outputs()
    assert capsys.readouterr().out == "[stdout:0] x\n[stdout:1] x\n"
    assert [row.error.ename for row in ar.metadata] == ["ZeroDivisionError"] * 2


def test_display_outputs_of_pending(controller, client):
    controller.hold()
    with pytest.raises(TimeoutError):
        client[0].apply_async(int).display_outputs()


def test_rich_replies(client, capsys):
    reply = client[1].execute("1", silent=False).get()
    assert reply["status"] == reply.status == "ok" and reply.execute_result["data"] == {"text/plain": "42"}
    reply.data.update({"text/html": "<b>", "image/png": "AAE=", "application/json": {"a": 1}})
    assert reply._repr_html_() == "<b>" and reply._repr_png_() == b"\0\1" and reply._repr_json_() == {"a": 1}
    assert reply._repr_jpeg_() is reply._repr_svg_() is reply._repr_latex_() is reply._repr_markdown_() is None
    assert reply._repr_mimebundle_() == ({**reply.data, "text/plain": "Out[1:1]: 42"}, {})
    reply.data["text/plain"] = "4\n2"
    assert reply._repr_mimebundle_()[0]["text/plain"] == "Out[1:1]: \n4\n2"
    reply.data.clear()
    reply.display()
    assert capsys.readouterr().out == "" and repr(reply) == "<ExecuteReply[1]: >"


def test_in_ipython(client, monkeypatch):
    """There the value is handed to IPython, which picks the form."""
    shown = []
    ipython = types.SimpleNamespace(get_ipython=lambda: True, display=types.SimpleNamespace(display=shown.append))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    reply = client[1].execute("1", silent=False).get()
    reply.display()
    assert shown == [reply]


# ---- while it comes ---------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [True, False])
def test_stream_output(controller, client, waits):
    controller.hold()
    ar = client[:2].apply_async(int)
    first, second = ar._calls
    write(controller, first, b"before\n")
    with contextlib.redirect_stdout(Screen()) as screen, ar.stream_output():
        waiter = threading.Thread(target=ar.wait if waits else int)
        waiter.start()
        screen.wait_for("[stdout:0] before\n")
        write(controller, second, "zwei\ngrü".encode()[:-1], engine=1)
        screen.wait_for("[stdout:1] zwei\n")
        write(controller, second, "ü".encode()[1:] + b"n", engine=1)
        assert not ar.ready()
        controller.release()
        waiter.join()
        ar.get()
    assert screen.getvalue() == "[stdout:0] before\n[stdout:1] zwei\n[stdout:1] grün\n"
    assert ar.stdout == ["before\n", "zwei\ngrün"]


def test_stream_output_of_one_engine(controller, client, capsys):
    ar = client[0].execute("print('x')", silent=False)
    with ar.stream_output():
        ar.get()
    assert capsys.readouterr().out == "x\nOut[0:1]: 42\n"
    controller.hold()
    ar = client[0].apply_async(int)
    with ar.stream_output():
        write(controller, ar._calls[0], b"oops\n", stream=1)
        controller.release()
        ar.get()
    assert capsys.readouterr().err == "oops\n"


def test_stream_output_ends_early(controller, client):
    """Leaving the block doesn't wait for the tasks, and an exception gets through."""
    controller.hold()
    ar = client[0].apply_async(int)
    with pytest.raises(ZeroDivisionError), ar.stream_output():
        raise ZeroDivisionError
    with ar.stream_output():
        controller.hang_up()
        ar.wait()


# ---- progress ---------------------------------------------------------------------------------


def test_wait_interactive(controller, client):
    file = io.StringIO()
    ar = client.load_balanced_view().map_async(abs, range(10), chunksize=3)
    ar.wait_interactive(file=file)
    assert "\rabs: 10/10 in " in file.getvalue() and file.getvalue().endswith("\n")
    controller.hold()
    file = io.StringIO()
    pending = client[0].apply_async(int)
    pending.wait_interactive(timeout=0.01, interval=0.005, file=file)
    assert "int: 0/1 in " in file.getvalue()
    both = type(pending).join(ar.split()[0], pending)
    both.wait_interactive(return_when=FIRST_COMPLETED, file=io.StringIO())
    assert not both.ready()


class Bar:
    """What tqdm does, as far as it matters."""

    made = []

    def __init__(self, total, desc, unit):
        self.total, self.desc, self.n, self.is_closed = total, desc, 0, False
        self.made.append(self)

    def update(self, more):
        self.n += more

    def close(self):
        self.is_closed = True


@pytest.fixture
def tqdm(monkeypatch):
    Bar.made = []
    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    monkeypatch.setitem(sys.modules, "tqdm.notebook", types.SimpleNamespace(tqdm=Bar))


@pytest.mark.parametrize("widget", [None, True])
def test_bar(client, tqdm, widget):
    client[:].apply_async(int).wait_interactive(widget=widget)
    (bar,) = Bar.made
    assert (bar.total, bar.desc, bar.n, bar.is_closed) == (4, "int", 4, True)


def test_text_without_tqdm(client, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    client[:].apply_async(int).wait_interactive()
    assert "\rint: 4/4 in " in capsys.readouterr().err


def test_noninteractive(client, tqdm, monkeypatch, capsys):
    monkeypatch.setenv("PCLUSTER_NONINTERACTIVE", "1")
    client[:].apply_async(int).wait_interactive()
    with Progress("x", 3, "things", file=sys.stderr) as progress:
        progress.show(3)
    assert Bar.made == [] and capsys.readouterr().err == ""


# ---- what tasks publish -----------------------------------------------------------------------


def publish(controller, call, value):
    content = value if isinstance(value, bytes) else pickle.dumps(value)
    write(controller, call, content, stream=3, engine=call.engine)


def test_published_data(controller, client):
    controller.hold()
    one, two = client[0].apply_async(int), client[:2].apply_async(int)
    assert one.data == {} and two.data == [{}, {}]
    publish(controller, one._calls[0], {"done": 1})
    publish(controller, one._calls[0], {"done": 2, "of": 10})
    publish(controller, two._calls[1], {"a": b"x" * 60_000})
    client._wait_until(lambda: two.data[1] and one.data["done"] == 2, 30)
    assert one.data == one["data"] == one.metadata.data == {"done": 2, "of": 10} and two.data[0] == {}
    assert client.metadata[one.msg_ids[0]].data["done"] == 2 and one.stdout == "" and not one.ready()
    controller.release()
    assert one.get() == 0 and one.data == {"done": 2, "of": 10}


def test_published_nonsense(controller, client):
    """It harms nobody before somebody asks for it, and then only who asks."""
    controller.hold()
    ar = client[0].apply_async(lambda: 5)
    publish(controller, ar._calls[0], b"no pickle")
    client._wait_until(lambda: ar._calls[0].published(), 30)
    controller.release()
    assert ar.get() == 5 and ar.metadata.data == {}
    with pytest.raises(pickle.UnpicklingError):
        ar.data


def test_too_much_is_a_broken_protocol(controller, client):
    controller.hold()
    ar = client[0].apply_async(int)
    publish(controller, ar._calls[0], b"x" * (64 * 1024 + 1))
    with pytest.raises(error.ConnectionLost):
        ar.get(30)


def test_publishing_is_for_engines():
    with pytest.raises(TypeError, match="dict"):
        publish_data([1])
    with pytest.raises(RuntimeError, match="engine"):
        publish_data({})


def test_lines_of_displays():
    whole = '{"data": {"text/plain": "1"}, "metadata": {}}'
    broken = '{"data": {"text/pl\n[... 77 bytes of output left out ...]\nin": 1}'
    text = f'{whole}\n{broken}\n{whole}\n[]\n{{"data": 1}}\n'
    texts = [output["data"]["text/plain"] for output in load_outputs(text)]
    assert texts == ["1", "[... 77 bytes of output left out ...]", "1"]
