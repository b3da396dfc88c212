# SPDX-License-Identifier: BSD-3-Clause
"""A concurrent.futures.Future that costs nothing until somebody treats it as one.

The standard Future makes a lock, a condition and two lists when it is created. Most results are
only waited for with get(), which needs none of them; so they are made on first use.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import FINISHED, PENDING
from typing import Any, Callable, List, Optional

_log = logging.getLogger("pcluster")
_making = threading.Lock()


class _Machinery:
    """What a standard Future has from the start."""

    __slots__ = ("condition", "waiters", "callbacks", "state")

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.waiters: List[Any] = []
        self.callbacks: List[Callable[[Any], Any]] = []
        self.state: str = PENDING


class LazyFuture(Future):  # type: ignore[type-arg]
    """Base of AsyncResult. The names with one underscore are those that concurrent.futures uses.

    A subclass says when it is ready(), arranges in _watch() that _finish() is called then, and
    implements result() and exception().
    """

    _machinery: Optional[_Machinery] = None

    def __init__(self) -> None:  # not Future.__init__: that is the point
        pass

    # ---- for subclasses ------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether the result is there.

        Raises:
            NotImplementedError: the subclass does not say
        """
        raise NotImplementedError

    def _watch(self) -> None:
        """Arrange that _finish() is called from another thread once the result is there."""
        raise NotImplementedError

    def _has_failed(self) -> bool:
        """Whether it ended with an error; asked once it is ready."""
        raise NotImplementedError

    # ---- what concurrent.futures looks at --------------------------------------------------------

    def _made(self) -> _Machinery:
        made = self._machinery
        if made is not None:
            return made
        with _making:
            if self._machinery is None:
                self._machinery = _Machinery()
            made = self._machinery
        if self.ready():
            self._finish()
        else:
            self._watch()
        return made

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        return self._made().condition

    @property
    def _waiters(self) -> List[Any]:  # type: ignore[override]
        return self._made().waiters

    @property
    def _done_callbacks(self) -> List[Callable[[Any], Any]]:  # type: ignore[override]
        return self._made().callbacks

    @property
    def _state(self) -> str:  # type: ignore[override]
        if self._machinery is None:
            return FINISHED if self.ready() else PENDING
        return self._machinery.state

    def _finish(self) -> None:
        """Tell everyone who waits on this as a Future. Harmless when called again."""
        made = self._machinery
        if made is None:
            return
        with made.condition:
            if made.state == FINISHED:
                return
            made.state = FINISHED
            for waiter in made.waiters:
                self._tell(waiter)
            made.condition.notify_all()
            callbacks, made.callbacks = made.callbacks, []
        for callback in callbacks:
            try:
                self._call(callback)
            except BaseException:  # not even SystemExit: the others want to be called, too
                _log.exception("exception calling callback for %r", self)

    def _tell(self, waiter: Any) -> None:
        if not self._has_failed():
            waiter.add_result(self)
        elif self.cancelled():
            waiter.add_cancelled(self)
        else:
            waiter.add_exception(self)

    def _call(self, callback: Callable[[Any], Any]) -> None:
        try:
            callback(self)
        except Exception:
            _log.exception("exception calling callback for %r", self)

    # ---- the protocol ----------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether the result is there, well or not."""
        return self.ready()

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        """Have a function called once the result is there, with this as its argument.

        In a background thread, or at once in this one when the result is there already. Exceptions are
        logged.

        Args:
            fn: the function
        """
        made = self._made()
        with made.condition:
            if made.state != FINISHED:
                made.callbacks.append(fn)
                return
        self._call(fn)

    def set_result(self, result: Any) -> None:
        """Not for users: the result comes from the cluster.

        Args:
            result: ignored

        Raises:
            InvalidStateError: always
        """
        raise InvalidStateError("the result of a task is set by the cluster")

    def set_exception(self, exception: Optional[BaseException]) -> None:
        """Not for users: the result comes from the cluster.

        Args:
            exception: ignored

        Raises:
            InvalidStateError: always
        """
        raise InvalidStateError("the result of a task is set by the cluster")

    def set_running_or_notify_cancel(self) -> bool:
        """Not for users: the cluster runs the task.

        Raises:
            RuntimeError: always
        """
        raise RuntimeError("a task is run by the cluster")

    def __await__(self) -> Any:
        import asyncio

        return asyncio.wrap_future(self).__await__()
