# SPDX-License-Identifier: BSD-3-Clause
"""Parts of a dask cluster that live in threads of processes that do something else, too.

The scheduler runs in the client's process, workers run in engines. See Client.become_dask().
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import tempfile
import threading
from concurrent.futures import Future
from typing import Any, Callable, Dict, Optional

#: Seconds that a part may take to start, and to stop.
LIMIT_S = 60


def load_distributed() -> Any:
    """The package distributed.

    Returns:
        The module.

    Raises:
        ImportError: it is not installed; the text says what to do
    """
    try:
        distributed = importlib.import_module("distributed")
    except ModuleNotFoundError as problem:
        if problem.name != "distributed":
            raise
        raise ImportError(
            f"dask needs the package 'distributed', which this Python ({sys.executable}) does not have: install "
            "python3-distributed, or distributed with pip",
            name="distributed",
        ) from None
    log = logging.getLogger("distributed")
    if log.level == logging.INFO:  # its default, with several lines for each connection
        log.setLevel(logging.WARNING)
    return distributed


class Part:
    """A scheduler, worker or nanny of dask, with an event loop and a thread of its own.

    Args:
        make: makes it; called in that thread

    Raises:
        Exception: what it raised when it started
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        started: "Future[Any]" = Future()
        self._thread = threading.Thread(target=self._run, args=(make, started), name="pcluster-dask", daemon=True)
        self._thread.start()
        self.node = started.result(LIMIT_S)
        self.address = str(self.node.address)

    def _run(self, make: Callable[[], Any], started: "Future[Any]") -> None:
        asyncio.run(self._live(make, started))

    async def _live(self, make: Callable[[], Any], started: "Future[Any]") -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with make() as node:
                started.set_result(node)
                await node.finished()
        except BaseException as problem:
            if started.done():
                raise
            started.set_exception(problem)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End it, if it is there."""
        if self.running:
            asyncio.run_coroutine_threadsafe(self.node.close(), self._loop).result(LIMIT_S)
            self._thread.join(LIMIT_S)


def start_scheduler(options: Dict[str, Any]) -> Part:
    """A scheduler in this process.

    Args:
        options: those of distributed.Scheduler

    Returns:
        The handle of it.
    """
    distributed = load_distributed()
    return Part(lambda: distributed.Scheduler(**options))


_worker: Optional[Part] = None


def start_worker(address: str, nanny: bool, options: Dict[str, Any]) -> str:
    """On an engine: be a worker of one scheduler, and of no other. In the engine's namespace it is `dask_worker`.

    Args:
        address: of the scheduler
        nanny: give it a process of its own
        options: those of distributed.Worker, or Nanny

    Returns:
        The worker's address.
    """
    global _worker
    distributed = load_distributed()
    stop_worker()
    kind = distributed.Nanny if nanny else distributed.Worker
    chosen = {"local_directory": tempfile.gettempdir(), **options}
    _worker = Part(lambda: kind(address, **chosen))
    names = vars(sys.modules["__main__"])
    names["dask_worker"] = names["distributed_worker"] = _worker.node
    return _worker.address


def stop_worker() -> None:
    """On an engine: be no worker any more."""
    global _worker
    if _worker is not None:
        _worker.stop()
        _worker = None
