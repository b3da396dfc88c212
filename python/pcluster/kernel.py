# SPDX-License-Identifier: BSD-3-Clause
"""An engine as an IPython kernel, to which a console or a notebook attaches.

    >>> file = rc[0].apply_sync(pcluster.bind_kernel)

then `jupyter console --existing FILE` on the engine's machine. The kernel has a thread of its own, so
it answers while tasks run. Both use one namespace; what code prints and displays goes to the one
who sent it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import importlib
import logging
import sys
import threading
from typing import Any, Dict, Optional

_lock = threading.Lock()
_file: Optional[str] = None


class _Stream:
    """sys.stdout or sys.stderr while there is a kernel: one stream for its thread, another for the rest."""

    def __init__(self, own: Any, others: Any) -> None:
        self._streams = {threading.get_ident(): own}
        self._others = others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._streams.get(threading.get_ident(), self._others), name)


@functools.cache
def _kernel_class() -> Any:
    from ipykernel.ipkernel import IPythonKernel

    class EngineKernel(IPythonKernel):  # type: ignore[misc]
        """A kernel that leaves signals to the engine."""

        def __init__(self, **options: Any) -> None:
            super().__init__(user_module=sys.modules["__main__"], **options)

        def pre_handler_hook(self) -> None:
            """Nothing: SIGINT is for the task that runs."""

        def post_handler_hook(self) -> None:
            """Nothing."""

        def _cancel_on_sigint(self, future: Any) -> Any:
            return contextlib.nullcontext()

    return EngineKernel


@functools.cache
def _app_class() -> Any:
    from ipykernel.displayhook import ZMQDisplayHook
    from ipykernel.iostream import OutStream
    from ipykernel.kernelapp import IPKernelApp

    class EngineKernelApp(IPKernelApp):  # type: ignore[misc]
        """Sets up a kernel in a thread, and changes nothing for the others."""

        def init_crash_handler(self) -> None:
            """Nothing: it would be the engine's, too."""

        def init_pdb(self) -> None:
            """Nothing: pdb stays as it is."""

        def init_signal(self) -> None:
            """Nothing: they are the engine's."""

        def init_io(self) -> None:
            """The streams and the display hook of this thread."""
            self.displayhook = ZMQDisplayHook(self.session, self.iopub_socket)
            self.before = sys.stdout, sys.stderr
            own = [OutStream(self.session, self.iopub_thread, name, watchfd=False) for name in ("stdout", "stderr")]
            sys.stdout, sys.stderr = map(_Stream, own, self.before)  # type: ignore[assignment]

        def reset_io(self) -> None:
            """As it was."""
            sys.stdout, sys.stderr = self.before

    return EngineKernelApp


def _make(options: Dict[str, Any]) -> Any:
    """The kernel and all that belongs to it, in the thread in which it will run."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    options = {"log_level": logging.CRITICAL, "kernel_class": _kernel_class(), **options}
    app = _app_class().instance(user_ns=sys.modules["__main__"].__dict__, **options)
    app.initialize([])
    importlib.import_module("pcluster_display").elsewhere.publish = app.shell.display_pub.publish
    return app


def _serve(options: Dict[str, Any], made: "concurrent.futures.Future[str]") -> None:
    """The thread of the kernel."""
    global _file
    try:
        app = _make(options)
    except BaseException as problem:  # SystemExit of traitlets, too
        _forget()
        made.set_exception(RuntimeError(f"the kernel can't be started: {type(problem).__name__}: {problem}"))
        return
    made.set_result(app.abs_connection_file)
    app.start()  # until somebody shuts it down
    app.close()
    app.cleanup_connection_file()
    with _lock:
        _forget()
        _file = None


def _forget() -> None:
    """So that another one can be made."""
    from ipykernel.zmqshell import ZMQInteractiveShell

    for kind in (_app_class(), _kernel_class(), ZMQInteractiveShell):
        kind.clear_instance()


def bind_kernel(**options: Any) -> str:
    """On an engine: serve its namespace as an IPython kernel, for `jupyter console` and others.

    Needs the package ipykernel where the engine runs. The kernel listens on this machine only, unless
    told otherwise, and whoever can read its connection file can use it. Calling this again gives the
    same kernel. Ctrl-C in a console does not reach it: SIGINT is for tasks.

    Args:
        **options: for ipykernel's IPKernelApp, such as `connection_file` or `ip`

    Returns:
        The path of the connection file: `jupyter console --existing PATH`.

    Raises:
        RuntimeError: this is no engine, or the kernel can't be started
        ImportError: the engine's Python has no ipykernel
    """
    global _file
    try:
        importlib.import_module("pcluster_engine")
    except ImportError:
        raise RuntimeError("bind_kernel() is for code that runs on an engine: rc[0].apply_sync(bind_kernel)") from None
    try:
        importlib.import_module("ipykernel.kernelapp")
    except ImportError as error:
        raise ImportError(
            f"bind_kernel() needs ipykernel in the engine's Python ({sys.executable}): install the Debian "
            f"package python3-ipykernel, or ipykernel with pip ({error})"
        ) from None
    with _lock:
        if _file is None:
            made: "concurrent.futures.Future[str]" = concurrent.futures.Future()
            threading.Thread(target=_serve, args=(options, made), name="kernel", daemon=True).start()
            _file = made.result()
        return _file
