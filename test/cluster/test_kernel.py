# SPDX-License-Identifier: BSD-3-Clause
"""bind_kernel(): an engine as an IPython kernel."""

import contextlib
import json
import os
import stat

import pytest
from conftest import wait_until
from home import DEADLINE_S
from shared import by_value, client, shared  # noqa: F401 (fixtures)

import pcluster


@pytest.fixture(autouse=True)
def folders(tmp_path):
    """Jupyter's and IPython's files go to a folder of the test; engines are told with each call."""
    return {name: str(tmp_path / name) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR")}


def bind(folders):
    """What is called on an engine."""
    import os

    import pcluster

    os.environ.update(folders)
    return pcluster.bind_kernel()


@contextlib.contextmanager
def console(file):
    """A client of the kernel, as a console is one."""
    jupyter = pytest.importorskip("jupyter_client")
    kernel = jupyter.BlockingKernelClient(connection_file=file)
    kernel.load_connection_file()
    kernel.start_channels()
    try:
        kernel.wait_for_ready(timeout=DEADLINE_S)
        yield kernel
    finally:
        kernel.stop_channels()


def run(kernel, code):
    """(the reply, what came meanwhile by type)."""
    came = []
    reply = kernel.execute_interactive(code, timeout=DEADLINE_S, stop_on_error=False,
                                       output_hook=came.append)
    return reply["content"], [(m["msg_type"], m["content"]) for m in came if m["msg_type"] != "status"]


@pytest.fixture
def view(client):  # noqa: F811
    """Engine 1; calls wait."""
    pytest.importorskip("ipykernel")
    view = client[1]
    view.block = True
    return view


def test_namespace_is_shared(view, folders):
    view["x"] = 20
    file = view.apply(by_value(bind), folders)
    assert view.apply(by_value(bind), folders) == file
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    with open(file, encoding="utf-8") as content:
        assert json.load(content)["ip"] == "127.0.0.1"
    with console(file) as kernel:
        reply, came = run(kernel, "y = x + 1\nprint('said', y)\ndisplay(y)\nclass A: pass\ny + 1")
        assert reply["status"] == "ok"
        texts = [c["text"] for kind, c in came if kind == "stream"]
        assert "".join(texts) == "said 21\n"
        shown = [c["data"]["text/plain"] for kind, c in came if kind == "display_data"]
        assert shown == ["21"]
        assert [c["data"]["text/plain"] for kind, c in came if kind == "execute_result"] == ["22"]
        assert view["y"] == 21
        assert view["A.__name__"] == "A"
        reply, _ = run(kernel, "1 / 0")
        assert reply["ename"] == "ZeroDivisionError"
        reply, _ = run(kernel, "import asyncio; await asyncio.sleep(0); z = 5")
        assert reply["status"] == "ok" and view["z"] == 5


def test_answers_while_a_task_runs(view, folders, tmp_path):
    file = view.apply(by_value(bind), folders)
    flag = str(tmp_path / "flag")

    def task(path):
        import os
        import time

        print("begun")
        while not os.path.exists(path):
            time.sleep(0.01)
        print("done")
        return "value"

    result = view.apply_async(by_value(task), flag)
    wait_until(lambda: result.stdout == "begun\n", "the task begins")
    with console(file) as kernel:
        _, came = run(kernel, f"print('meanwhile'); open({flag!r}, 'w').close()")
        assert ("stream", {"name": "stdout", "text": "meanwhile\n"}) in came
    assert result.get(DEADLINE_S) == "value"
    assert result.stdout == "begun\ndone\n"


def test_shutdown_ends_the_kernel_only(view, folders):
    first = view.apply(by_value(bind), folders)
    with console(first) as kernel:
        kernel.shutdown()
        wait_until(lambda: "kernel" not in view.apply(by_value(threads)), "the kernel's thread ends")
    assert view.apply(lambda: 5) == 5
    with console(view.apply(by_value(bind), folders)) as kernel:
        assert run(kernel, "6")[0]["status"] == "ok"


def threads():
    """Names of an engine's threads."""
    import threading

    return [thread.name for thread in threading.enumerate()]


def test_missing_ipykernel_is_said(client):  # noqa: F811
    view = client[0]
    view.execute("import sys; sys.modules['ipykernel.kernelapp'] = None", block=True)
    try:
        with pytest.raises(pcluster.RemoteError, match="needs ipykernel.*python3-ipykernel"):
            view.apply_sync(pcluster.bind_kernel)
    finally:
        view.execute("del sys.modules['ipykernel.kernelapp']", block=True)


def test_only_on_an_engine():
    with pytest.raises(RuntimeError, match="on an engine"):
        pcluster.bind_kernel()
