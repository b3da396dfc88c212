# SPDX-License-Identifier: BSD-3-Clause
"""Engines as workers of dask."""

from __future__ import annotations

import socket
import weakref
from typing import Any, Dict, List, Mapping, Optional

from .. import _client, dask
from .engines import Engines, Targets


class DaskCluster(Engines):
    """The part of a Client that turns engines into a cluster of dask, and back.

    Args:
        raw: the opened connection
    """

    _dask_scheduler: Optional[dask.Part] = None

    def __init__(self, raw: _client.Client) -> None:
        super().__init__(raw)
        self._dask_clients: List["weakref.ref[Any]"] = []

    def become_dask(
        self,
        targets: Targets = "all",
        port: int = 0,
        nanny: bool = False,
        scheduler_args: Optional[Mapping[str, Any]] = None,
        **worker_args: Any,
    ) -> Any:
        """Make engines workers of dask; they go on being engines.

        The scheduler of dask runs in a thread of this process and ends with it. Its connections are
        those of dask: encrypted only when `security` is among the arguments.

        Args:
            targets: which engines
            port: of the scheduler; 0: any that is free
            nanny: each worker gets a process of its own
            scheduler_args: for distributed.Scheduler; default: a port of its own for the dashboard
            worker_args: for distributed.Worker or Nanny; default: nthreads=1

        Returns:
            A distributed.Client.

        Raises:
            ImportError: there is no package 'distributed' here, or (as a RemoteError) on an engine
            IndexError, NoEnginesRegistered: there is no such engine
        """
        distributed = dask.load_distributed()
        chosen = self._choose(targets)
        ids = [chosen] if isinstance(chosen, int) else list(chosen)
        if self._dask_scheduler is None or not self._dask_scheduler.running:
            here = socket.gethostname()
            are_all_here = all(self._engines[number].host == here for number in ids)
            host = "127.0.0.1" if are_all_here else None
            options: Dict[str, Any] = {"host": host, "port": port, "dashboard_address": ":0"}
            self._dask_scheduler = dask.start_scheduler({**options, **(scheduler_args or {})})
        address = self._dask_scheduler.address
        view = self.direct_view(ids)  # type: ignore[attr-defined]
        view.apply_sync(dask.start_worker, address, nanny, {"nthreads": 1, **worker_args})
        client = distributed.Client(address, **{key: worker_args[key] for key in worker_args if key == "security"})
        self._dask_clients.append(weakref.ref(client))
        return client

    become_distributed = become_dask

    def stop_dask(self, targets: Targets = "all") -> None:
        """End the workers of dask on engines.

        Args:
            targets: which engines; 'all': the scheduler ends, too, and the clients that become_dask() gave
        """
        is_all = isinstance(targets, str)
        for found in self._dask_clients if is_all else ():
            client = found()
            if client is not None:
                client.close()
        if len(self):
            self.direct_view(targets).apply_sync(dask.stop_worker)  # type: ignore[attr-defined]
        if is_all and self._dask_scheduler is not None:
            self._dask_scheduler.stop()
            self._dask_scheduler = None
            self._dask_clients.clear()

    stop_distributed = stop_dask
