# SPDX-License-Identifier: BSD-3-Clause
"""The client's parts: connection.py, engines.py, tasks.py, memory.py and questions.py make up the
Client of client.py; view.py sends, asyncresult.py holds what comes back."""

from .asyncresult import AsyncMapResult, AsyncResult
from .client import Client, Engine, register_joblib_backend
from .executor import ViewExecutor
from .hubresult import AsyncHubResult
from .map import Map, RoundRobinMap
from .metadata import Metadata
from .remotefunction import ParallelFunction, RemoteFunction, parallel, remote
from .view import BroadcastView, DirectView, LazyMapIterator, LoadBalancedView, View

__all__ = [
    "AsyncHubResult",
    "AsyncMapResult",
    "AsyncResult",
    "BroadcastView",
    "Client",
    "DirectView",
    "Engine",
    "LazyMapIterator",
    "LoadBalancedView",
    "Map",
    "Metadata",
    "ParallelFunction",
    "RemoteFunction",
    "RoundRobinMap",
    "View",
    "ViewExecutor",
    "parallel",
    "register_joblib_backend",
    "remote",
]
