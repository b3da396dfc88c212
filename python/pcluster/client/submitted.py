# SPDX-License-Identifier: BSD-3-Clause
"""What executors have sent, and the end of the program, which waits for it.

An executor remembers the numbers of its tasks, so that shutdown() waits for these and takes back
these, and not what was sent through the view in other ways. At the end of the program all executors
are waited for, as those of concurrent.futures are: before non-daemon threads are joined, so that
these still get their results, and before clients and clusters are closed, which happens in atexit.
"""

from __future__ import annotations

import bisect
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Set, Tuple

from .. import _client, error

if TYPE_CHECKING:
    from .asyncresult import AsyncResult
    from .client import Client

#: Stretches of task numbers before those that have ended are dropped.
_STRETCHES_MAX = 1000

#: Of every executor that is there, and of those that are gone as long as something may be pending.
_all: "Set[Submitted]" = set()
_is_ending = threading.Event()


class Submitted:
    """The tasks of one executor.

    Args:
        client: through which they are sent
    """

    def __init__(self, client: "Client") -> None:
        self._client = weakref.ref(client)  # a client that nobody has any more is closed
        self._sending = 0  # threads that are sending now
        self._changed = threading.Condition()
        self._stretches: List[List[int]] = []  # [first, end) of the numbers of what was sent
        self._stretches_max = _STRETCHES_MAX
        self._has_owner = True
        self.is_shut_down = False
        for other in list(_all):
            if not other._has_owner and not other.outstanding():
                _all.discard(other)
        _all.add(self)

    def disown(self) -> None:
        """The executor is gone. Safe in a destructor: takes no lock."""
        self._has_owner = False
        if not self._stretches:
            _all.discard(self)

    def send(self, send: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Send something, and remember its tasks.

        Args:
            send: sends it; returns an AsyncResult
            args, kwargs: of `send`

        Returns:
            What `send` does.

        Raises:
            RuntimeError: after shutdown(), or at the end of the program
        """
        with self._changed:
            if self.is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if _is_ending.is_set():
                raise RuntimeError(
                    "cannot schedule new futures after interpreter shutdown: the program has come to its end, "
                    "and waits only for what was submitted before"
                )
            self._sending += 1
        result: "Optional[AsyncResult]" = None
        try:
            result = send(*args, **kwargs)
            return result
        finally:
            with self._changed:
                if result is not None:
                    self._remember(result._calls)
                self._sending -= 1
                if self.is_shut_down or _is_ending.is_set():
                    self._changed.notify_all()

    def _remember(self, calls: Tuple[_client.Call, ...]) -> None:
        for call in calls:
            number = call.sequence
            if self._stretches and self._stretches[-1][1] == number:
                self._stretches[-1][1] = number + 1
            else:
                self._stretches.append([number, number + 1])
        if len(self._stretches) > self._stretches_max:
            oldest = min((call.sequence for call in self._outstanding_of_client()), default=None)
            self._stretches = [s for s in self._stretches if oldest is not None and s[1] > oldest]
            self._stretches_max = max(2 * len(self._stretches), _STRETCHES_MAX)

    def _outstanding_of_client(self) -> Tuple[_client.Call, ...]:
        client = self._client()
        try:
            return () if client is None or client._raw.closed else tuple(client._raw.outstanding())
        except error.ClientClosed:
            return ()  # by another thread, just now

    def outstanding(self) -> Tuple[_client.Call, ...]:
        """What was sent and has not ended."""
        with self._changed:
            stretches = sorted(self._stretches)
        firsts = [first for first, _ in stretches]

        def is_own(call: _client.Call) -> bool:
            place = bisect.bisect_right(firsts, call.sequence) - 1
            return place >= 0 and call.sequence < stretches[place][1]

        return tuple(call for call in self._outstanding_of_client() if is_own(call))

    def close(self) -> None:
        """Refuse what comes from now on."""
        with self._changed:
            self.is_shut_down = True

    def wait_sent(self) -> None:
        """Once nothing more is accepted: wait for the threads that are sending."""
        with self._changed:
            self._changed.wait_for(lambda: not self._sending)

    def wait(self) -> None:
        """Once nothing more is accepted: wait until everything has ended and callbacks have run, or
        the client was closed."""
        self.wait_sent()
        client = self._client()
        if client is not None and not client._raw.closed:
            client._raw.wait(self.outstanding(), None)
            client._let_callbacks_run()


def _wait_for_all() -> None:
    """At the end of the program. KeyboardInterrupt leaves, and the rest of the end goes on."""
    _is_ending.set()
    for submitted in list(_all):
        try:
            submitted.wait()
        except (error.KernelError, OSError):
            pass  # closed meanwhile, or the connection was lost: nothing more comes


os.register_at_fork(after_in_child=_all.clear)  # what the parent waits for
try:
    threading._register_atexit(_wait_for_all)  # type: ignore[attr-defined]  # what concurrent.futures uses
except RuntimeError:  # imported only now that the program ends
    _is_ending.set()
