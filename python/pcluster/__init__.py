# SPDX-License-Identifier: BSD-3-Clause
"""Interactive parallel computing.

    >>> from pcluster import Client
    >>> c = Client()
    >>> c[:].apply_sync(lambda: "Hello, World")

A Client connects to a cluster that `pcluster start` has started. `c[...]` is a view on some of its
engines; `c.load_balanced_view()` lets the scheduler choose.
"""

from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION

from . import _client, error
from .client import (
    AsyncHubResult,
    AsyncMapResult,
    AsyncResult,
    BroadcastView,
    Client,
    DirectView,
    LoadBalancedView,
    ParallelFunction,
    RemoteFunction,
    ViewExecutor,
    parallel,
    remote,
)
from .dependency import Dependency
from .error import (
    AlreadyDisplayedError,
    AuthenticationError,
    BadConnectionFile,
    CannotPickle,
    ClientClosed,
    CompositeError,
    ConnectFailed,
    ConnectionFileNotFound,
    ConnectionLost,
    ConnectRefused,
    ControllerError,
    DependencyTimeout,
    EngineError,
    ForkedClient,
    ImpossibleDependency,
    InvalidDependency,
    IPythonError,
    KernelError,
    NoEnginesRegistered,
    ProtocolError,
    PythonVersionMismatch,
    QueueFull,
    RemoteError,
    StaleConnectionFile,
    TaskAborted,
    TaskRejectError,
    TaskTimeout,
    TimeoutError,
    UnmetDependency,
    Unreachable,
    VersionMismatch,
    WrongCluster,
    WrongRole,
    collect_exceptions,
    unwrap_exception,
    wrap_exception,
)
from .serialize import PrePickled, Reference
from .util import interactive

__version__ = _client.library_version()
version_info = tuple(int(part) for part in __version__.split("."))

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "AlreadyDisplayedError",
    "AsyncHubResult",
    "AsyncMapResult",
    "AsyncResult",
    "AuthenticationError",
    "BadConnectionFile",
    "BroadcastView",
    "CannotPickle",
    "Client",
    "ClientClosed",
    "CompositeError",
    "ConnectFailed",
    "ConnectRefused",
    "ConnectionFileNotFound",
    "ConnectionLost",
    "ControllerError",
    "Dependency",
    "DependencyTimeout",
    "DirectView",
    "EngineError",
    "ForkedClient",
    "IPythonError",
    "ImpossibleDependency",
    "InvalidDependency",
    "KernelError",
    "LoadBalancedView",
    "NoEnginesRegistered",
    "ParallelFunction",
    "PrePickled",
    "ProtocolError",
    "PythonVersionMismatch",
    "QueueFull",
    "Reference",
    "RemoteError",
    "RemoteFunction",
    "StaleConnectionFile",
    "TaskAborted",
    "TaskRejectError",
    "TaskTimeout",
    "TimeoutError",
    "UnmetDependency",
    "Unreachable",
    "VersionMismatch",
    "ViewExecutor",
    "WrongCluster",
    "WrongRole",
    "collect_exceptions",
    "error",
    "interactive",
    "parallel",
    "remote",
    "unwrap_exception",
    "wrap_exception",
]
