# SPDX-License-Identifier: BSD-3-Clause
"""What a Client is first of all: a connection, which is opened, asked and closed."""

from __future__ import annotations

import atexit
import collections
import json
import math
import os
import socket
import sys
import threading
import time
import warnings
import weakref
from typing import Any, Callable, Deque, Dict, Mapping, Optional, TypeVar, Union

from .. import _client, error

PYTHON = "{}.{}".format(*sys.version_info[:2])
TRANSPORTS = {
    "any": _client.TRANSPORT_ANY,
    "unix": _client.TRANSPORT_UNIX,
    "tcp": _client.TRANSPORT_TCP,
}
#: How often a connection file that is not there yet is looked for, in seconds.
_FILE_INTERVAL = 0.2
_MS_MAX = (1 << 31) - 1

C = TypeVar("C", bound="Connection")

_connections: "weakref.WeakSet[Connection]" = weakref.WeakSet()


class Connection:
    """The part of a Client that has the connection, and the thread behind it.

    Args:
        raw: the opened connection
    """

    #: Whether methods wait for what they have asked for; the default of the views' `block`, too.
    block = False
    #: what leads to the controller, if it needs that
    _tunnel: Any = None

    def __init__(self, raw: _client.Client) -> None:
        self._raw = raw
        self._info: Dict[str, Any] = json.loads(raw.info)
        self._lock = threading.Lock()
        self._background: Optional[threading.Thread] = None
        self._barriers: Deque[threading.Event] = collections.deque()
        _connections.add(self)

    def close(self, linger: Optional[float] = None) -> None:
        """End the connection. Pending results fail, later calls raise ClientClosed (an OSError).

        Args:
            linger: accepted and ignored
        """
        self._raw.close()
        if self._tunnel is not None:
            self._tunnel.close()

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *args: Any) -> None:
        self.close()

    def __del__(self) -> None:
        raw = self.__dict__.get("_raw")
        if raw is not None:
            self.close()

    def __repr__(self) -> str:
        if self._raw.closed:
            return "<Client: closed>"
        name = self._info.get("profile", "")
        if self._info.get("cluster_id"):
            name += ":" + self._info["cluster_id"]
        return f"<Client {name} at {self._info.get('address')}>"

    def _start_background(self) -> None:
        """Start the thread that runs callbacks, and that reads when nobody else does."""
        if self._background is not None:
            return
        with self._lock:
            if self._background is None:
                self._background = threading.Thread(
                    target=_run_background, args=(self._raw, self._barriers), name="pcluster-client", daemon=True
                )
                self._background.start()

    def _let_callbacks_run(self) -> None:
        """Wait until the callbacks of everything that has ended have run; not in one of them."""
        thread = self._background
        if thread is None or thread is threading.current_thread():
            return
        barrier = threading.Event()
        self._barriers.append(barrier)
        self._raw.wake()
        while not barrier.wait(0.2) and thread.is_alive():
            pass

    # ---- about the connection ------------------------------------------------------------------------

    @property
    def profile(self) -> str:
        """Name of the cluster's profile."""
        return str(self._info.get("profile", ""))

    @property
    def cluster_id(self) -> str:
        """Id of the cluster; empty for the profile's unnamed one."""
        return str(self._info.get("cluster_id", ""))

    @property
    def session(self) -> str:
        """Id of this connection; the first part of each msg_id."""
        return str(self._info.get("session", ""))

    @property
    def info(self) -> Dict[str, Any]:
        """About the connection: cluster_id, instance, profile, url, address, session, ..."""
        return dict(self._info)

    # ---- waiting and asking --------------------------------------------------------------------------

    def _wait_until(self, is_over: Callable[[], bool], timeout: Optional[float]) -> bool:
        """Take in what arrives until `is_over()`; False after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        self._raw.check()
        while not is_over():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return False
            self._raw.dispatch(left)
        return True

    def _ask(self, query: Dict[str, Any], timeout: float = 10) -> Dict[str, Any]:
        """A query to the controller and its reply.

        Raises:
            ControllerError: with what the controller said
            TimeoutError: no reply in `timeout` seconds
        """
        reply = json.loads(self._raw.query(json.dumps(query), timeout))
        if not reply.get("ok"):
            raise error.ControllerError(str(reply.get("error", "the controller refused the query")))
        return dict(reply)


# ---- opening ------------------------------------------------------------------------------------


def place_of(given: Union[None, str, "os.PathLike[str]", Dict[str, Any]]) -> Dict[str, Any]:
    """The fields that say where the connection file is.

    Args:
        given: path of one, what is in one, or None: that of the profile

    Returns:
        Keyword arguments of _client.Client.

    Raises:
        ValueError: a URL was given
    """
    if given is None:
        return {}
    if isinstance(given, dict):
        return {"json": json.dumps(given)}
    path = os.fspath(given)
    if "://" in path:
        raise ValueError(f"{path} is a URL; a Client needs a connection file, for its key")
    return {"file": os.path.expanduser(path)}


def warn_of_other_host(info: Mapping[str, Any]) -> None:
    """Say so when the connection goes over localhost to a cluster of another host.

    Args:
        info: what is known of the connection: location, address
    """
    location, here = str(info.get("location") or ""), socket.gethostname()
    address = str(info.get("address", ""))
    is_local = address.startswith(("tcp://127.", "tcp://[::1]", "tcp://localhost"))
    if is_local and location and location.partition(".")[0] != here.partition(".")[0]:
        warnings.warn(
            f"the controller listens on localhost, at {address}, but its connection file is of the host "
            f"{location} and this is {here}. Unless a tunnel leads there, start it with --ip",
            RuntimeWarning,
            stacklevel=3,
        )


def open_connection(where: Dict[str, Any], timeout: float) -> _client.Client:
    """Connect; say once on stderr that there is no connection file yet.

    Args:
        where: from place_of(), and profile, cluster_id, transport
        timeout: seconds to wait for a connection file and for the answer; may be infinite

    Returns:
        The connection. Raises what Client raises.
    """
    end = time.monotonic() + timeout
    has_said = False
    while True:
        left = end - time.monotonic()
        try:
            return _client.Client(timeout_ms=int(min(max(left * 1000, 1), _MS_MAX)), **where)
        except error.ConnectionFileNotFound as missing:
            if left <= _FILE_INTERVAL:
                raise
            if not has_said:
                has_said = True
                how_long = "" if timeout == math.inf else f" up to {timeout:g} s"
                print(f"waiting{how_long} for a cluster: {missing}", file=sys.stderr)
        time.sleep(_FILE_INTERVAL)


def _run_background(raw: _client.Client, barriers: Deque[threading.Event]) -> None:
    """Body of the background thread. It must not keep the Client alive."""
    while True:
        reached = len(barriers)
        try:
            call = raw.next_ended(0 if reached else None)
        except Exception:  # closed or lost: there is nothing left to come
            return
        if call is not None:
            result, call.data = call.data, None
            if result is not None:
                result._ended()
            del result
        else:
            for _ in range(reached):
                barriers.popleft().set()
        del call


def _close_all() -> None:
    for connection in list(_connections):
        connection.close()


atexit.register(_close_all)
