# SPDX-License-Identifier: BSD-3-Clause
"""The client: a connection to a cluster, its engines, and the views on them."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional, Sequence, Union

from ..serialize import FunctionCache
from .asyncresult import AsyncResult
from .connection import PYTHON, TRANSPORTS, open_connection, place_of, warn_of_other_host
from .control import Control
from .daskcluster import DaskCluster
from .display import in_ipython
from .engines import Engine, Targets
from .executereply import ExecuteReply
from .formernames import FormerNames
from .hubqueries import HubQueries
from .metadata import Metadata
from .sshtunnel import Tunnel, content_of
from .tasks import Job

if TYPE_CHECKING:
    from .executor import ViewExecutor
    from .view import BroadcastView, DirectView, LoadBalancedView

__all__ = ["Client", "Engine", "ExecuteReply", "Job", "Metadata", "Targets", "register_joblib_backend"]


class Client(HubQueries, Control, DaskCluster, FormerNames):
    """A connection to a cluster.

    Thread-safe. After a fork the child needs a Client of its own.

    Args:
        connection_info: path of a connection file, or a dict with what is in one
        url_file: the same, under its other name
        profile: name of the profile to look in; default 'default'
        profile_dir: folder of the profile; wins over `profile`
        cluster_id: which of the profile's clusters
        timeout: seconds to wait for a connection file that is not there yet, and for the answer; None or
            negative: no limit
        cluster: the object that started the cluster, kept as an attribute; leaving a `with` block of the
            client that Cluster.start_and_connect() gave stops that cluster
        transport: 'any', 'unix' (the socket on this machine) or 'tcp'
        debug: kept as an attribute
        sshserver: connect over TCP through ssh to this `user@host` or `user@host:port`, which reaches the controller
        sshkey: file of a private key for that; default: what ssh finds, or asks for
        password: must be None: ssh asks for it on the terminal
        paramiko, context, ipython_dir, extra: accepted and ignored

    Raises:
        ConnectionFileNotFound: no file in the time given, or no such profile (an OSError)
        BadConnectionFile: it can't be used; the text says why
        StaleConnectionFile, ConnectRefused, Unreachable, AuthenticationError, WrongRole,
        VersionMismatch, WrongCluster: could not connect (all are ConnectFailed)
        TimeoutError: no answer in the time given
        ValueError: a URL was given instead of a file
        NotImplementedError: a password was given

    Warns:
        RuntimeWarning: the controller listens on localhost, but of another host: a tunnel leads
            there, or this is not the cluster that was meant
    """

    def __init__(
        self,
        connection_info: Union[None, str, "os.PathLike[str]", Dict[str, Any]] = None,
        *,
        url_file: Union[None, str, "os.PathLike[str]"] = None,
        profile: Optional[str] = None,
        profile_dir: Optional[str] = None,
        ipython_dir: Optional[str] = None,
        context: Any = None,
        debug: bool = False,
        sshserver: Optional[str] = None,
        sshkey: Optional[str] = None,
        password: Optional[str] = None,
        paramiko: Optional[bool] = None,
        timeout: Optional[float] = 10,
        cluster_id: Optional[str] = None,
        cluster: Any = None,
        transport: str = "any",
        **extra: Any,
    ) -> None:
        if password:
            raise NotImplementedError("password: ssh asks for it on the terminal; or use sshkey, or an agent")
        if transport not in TRANSPORTS:
            raise ValueError(f"transport must be 'any', 'unix' or 'tcp', not {transport!r}")
        how = place_of(connection_info if connection_info is not None else url_file)
        how.update(
            profile=profile,
            profile_dir=None if profile_dir is None else os.fspath(profile_dir),
            cluster_id=cluster_id,
            transport=TRANSPORTS[transport],
            python=PYTHON,
        )
        limit = math.inf if timeout is None or timeout < 0 else timeout
        tunnel = _lead_through(sshserver, sshkey, how, limit) if sshserver else None
        try:
            super().__init__(open_connection(how, limit))
        except BaseException:
            if tunnel:
                tunnel.close()
            raise
        self._tunnel = tunnel
        if not tunnel:
            warn_of_other_host(self.info)
        self.cluster = cluster
        self.debug = debug
        self._functions = FunctionCache()
        #: the Cluster that ends with a `with` block of this client
        self._started_cluster: Any = None
        if in_ipython():
            from IPython import get_ipython

            from .magics import activate_first

            activate_first(get_ipython(), self.direct_view("all", block=True))

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        if self._started_cluster is not None:
            self._started_cluster._leave()

    # ---- views ---------------------------------------------------------------------------------------

    def __getitem__(self, key: Union[int, slice, Sequence[int]]) -> "DirectView":
        if not isinstance(key, (int, slice, list, tuple, range)):
            raise TypeError(f"engines are chosen by int, slice, list, tuple or range, not {type(key).__name__}")
        return self.direct_view(key)

    def __iter__(self) -> Iterator["DirectView"]:
        for number in self.ids:
            yield self.direct_view(number)

    def direct_view(self, targets: Targets = "all", **flags: Any) -> "DirectView":
        """A view that runs each call on every one of its engines.

        Args:
            targets: an id, a slice, a sequence of ids; 'all' means all that are there at each call
            flags: block, track, label

        Returns:
            DirectView.
        """
        from .view import DirectView

        if targets is None or (isinstance(targets, str) and targets == "all"):
            chosen: Any = "all"
        else:
            chosen = self._choose(targets)
            chosen = list(chosen) if isinstance(chosen, tuple) else chosen
        view = DirectView(self, chosen)
        return view.set_flags(**flags)

    def load_balanced_view(self, targets: Targets = None, **flags: Any) -> "LoadBalancedView":
        """A view that runs each call on one engine, chosen by the scheduler.

        Args:
            targets: None for any engine, also those to come; else as for direct_view
            flags: block, track, label

        Returns:
            LoadBalancedView.
        """
        from .view import LoadBalancedView

        chosen: Any = None
        if targets is not None and not (isinstance(targets, str) and targets == "all"):
            ids = self._choose(targets)
            chosen = [ids] if isinstance(ids, int) else list(ids)
        view = LoadBalancedView(self, chosen)
        return view.set_flags(**flags)

    def broadcast_view(
        self, targets: Targets = "all", is_coalescing: bool = False, **flags: Any
    ) -> "BroadcastView":
        """A view for calls on very many engines, which are those that there are now.

        Args:
            targets: as for direct_view; the result is a single value if and only if it is an int
            is_coalescing: accepted, see BroadcastView
            flags: block, track, label

        Returns:
            BroadcastView.

        Raises:
            NoEnginesRegistered: there is none
        """
        from .view import BroadcastView

        chosen = self._choose(targets)
        view = BroadcastView(self, list(chosen) if isinstance(chosen, tuple) else chosen, is_coalescing)
        return view.set_flags(**flags)

    def executor(self, targets: Targets = None) -> "ViewExecutor":
        """A concurrent.futures.Executor over a load-balanced view of the targets.

        Args:
            targets: None for any engine; else as for direct_view

        Returns:
            ViewExecutor.
        """
        return self.load_balanced_view(targets).executor

    def activate(self, targets: Targets = "all", suffix: str = "") -> "DirectView":
        """Register `%px` and its family in IPython, see DirectView.activate(). The first Client of a
        session does so by itself, for all engines.

        Args:
            targets: as for direct_view
            suffix: of the magics' names

        Returns:
            The view of the magics; it blocks.
        """
        view = self.direct_view(targets, block=True)
        view.activate(suffix)
        return view

    # ---- engines -------------------------------------------------------------------------------------

    def clear(self, targets: Targets = None, block: Optional[bool] = None) -> AsyncResult:
        """Empty the namespaces of engines.

        Args:
            targets: which; default all
            block: wait for it; default `self.block`

        Returns:
            AsyncResult.
        """
        return self.direct_view("all" if targets is None else targets).clear(
            block=self.block if block is None else block
        )


def _lead_through(server: str, key: Optional[str], how: Dict[str, Any], timeout: float) -> Tunnel:
    """A tunnel, and `how` changed so that the connection goes through it."""
    content = content_of(how)
    tunnel = Tunnel(server, content["url"], key, timeout)
    for name in ("file", "profile", "profile_dir", "cluster_id"):
        how.pop(name, None)
    how.update(json=json.dumps({**content, "url": tunnel.url}), transport=TRANSPORTS["tcp"])
    return tunnel


def register_joblib_backend(name: str = "ipyparallel", make_default: bool = False) -> None:
    """`Client().load_balanced_view().register_joblib_backend(name, make_default)`.

    Args:
        name: for `joblib.Parallel(backend=name)`
        make_default: joblib uses it when no backend is named

    Raises:
        ImportError: joblib is not installed
        ConnectionFileNotFound, ConnectFailed, ...: as Client() does
    """
    from .joblibbackend import register  # first: without joblib no client is left behind

    register(Client().load_balanced_view(), name, make_default)
