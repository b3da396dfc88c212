# SPDX-License-Identifier: BSD-3-Clause
"""A view as a concurrent.futures.Executor.

An executor remembers the numbers of the tasks that it has sent, so that shutdown() waits for these
and takes back these, and not what was sent through the view in other ways.
"""

from __future__ import annotations

import bisect
import threading
import time
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, List, Optional, Tuple, Union

from .. import _client, error
from .asyncresult import AsyncMapResult, AsyncResult
from .lazymap import LazyMapIterator, limit_of

if TYPE_CHECKING:
    from .view import View

#: Stretches of task numbers before those that have ended are dropped.
_STRETCHES_MAX = 1000


class ViewExecutor(Executor):
    """Runs what is submitted on the engines of a view. Made by `view.executor`, `client.executor()`.

    Leaving a `with` block waits for everything submitted. At the end of the program nothing is
    waited for: what is still pending then goes on running, and its result is lost.

    Args:
        view: usually a load-balanced one; with a direct view of several engines each of them runs
            each call, and results are lists
    """

    def __init__(self, view: "View") -> None:
        self.view = view
        self._is_shut_down = False
        self._sending = 0  # threads that are sending now
        self._changed = threading.Condition()
        self._stretches: List[List[int]] = []  # [first, end) of the numbers of what was sent
        self._stretches_max = _STRETCHES_MAX

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.view!r}{': shut down' if self._is_shut_down else ''}>"

    @property
    def _max_workers(self) -> int:
        return len(self.view)

    # ---- sending -----------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult:  # type: ignore[override]
        """`view.apply_async(fn, *args, **kwargs)`.

        Args:
            fn: what to call
            args, kwargs: what to call it with

        Returns:
            An AsyncResult, which is a Future.

        Raises:
            RuntimeError: after shutdown()
            CannotPickle, NoEnginesRegistered, ...: as apply_async() does
        """
        return self._sent(self.view.apply_async, fn, *args, **kwargs)

    def _sent(self, send: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The result of `send()`, whose tasks are remembered."""
        with self._changed:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._sending += 1
        result: Optional[AsyncResult] = None
        try:
            result = send(*args, **kwargs)
            return result
        finally:
            with self._changed:
                if result is not None:
                    self._remember(result._calls)
                self._sending -= 1
                if self._is_shut_down:
                    self._changed.notify_all()

    def _remember(self, calls: Tuple[_client.Call, ...]) -> None:
        for call in calls:
            number = call.sequence
            if self._stretches and self._stretches[-1][1] == number:
                self._stretches[-1][1] = number + 1
            else:
                self._stretches.append([number, number + 1])
        if len(self._stretches) > self._stretches_max:
            oldest = min((call.sequence for call in self.view.client._raw.outstanding()), default=None)
            self._stretches = [s for s in self._stretches if oldest is not None and s[1] > oldest]
            self._stretches_max = max(2 * len(self._stretches), _STRETCHES_MAX)

    def map(  # type: ignore[override]
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: Optional[float] = None,
        chunksize: int = 1,
        ordered: bool = True,
        max_outstanding: Union[int, str] = 0,
    ) -> Iterator[Any]:
        """`fn` for each item of the iterables, taken together up to the end of the shortest.

        When the iterator is closed, or an error or the timeout ends it, what has not begun is
        taken back. On a direct view the input is cut in one part for each engine, and `chunksize`,
        `ordered` and `max_outstanding` have no effect.

        Args:
            fn: called with one item of each iterable
            *iterables: as many as fn takes arguments
            timeout: seconds from this call on; None: no limit
            chunksize: items per task
            ordered: False: yield results in the order of completion
            max_outstanding: how many tasks may be under way; 0: all input is sent at once;
                'auto': as many as there are engines; then, and with any other number, input is
                taken as results are, and may be infinite

        Returns:
            An iterator over the results, which raises the error of a task at its place.

        Raises:
            TimeoutError: by the iterator, when the next result is not there in time
            RuntimeError: after shutdown()
            ValueError: chunksize is less than 1
        """
        if chunksize < 1:
            raise ValueError(f"chunksize must be at least 1, not {chunksize}")
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self.view._balanced:
            return _parts(self._sent(self.view.map_async, fn, *iterables), deadline)
        limit = limit_of(max_outstanding, self.view)
        return _items(
            LazyMapIterator(
                self.view.client, self.submit, fn, zip(*iterables), limit,
                ordered=ordered, chunksize=chunksize, deadline=deadline,
            )
        )

    # ---- the end -----------------------------------------------------------------------------------

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept nothing more; the engines stay.

        Args:
            wait: wait until everything submitted has ended, and its callbacks have run
            cancel_futures: take back what has not begun: it ends with TaskAborted
        """
        with self._changed:
            self._is_shut_down = True
        raw = self.view.client._raw
        if cancel_futures and not raw.closed:
            raw.abort(self._outstanding(), 0)
        if not wait:
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._sending)
        if not raw.closed:
            if cancel_futures:
                raw.abort(self._outstanding(), 0)  # also what was on its way
            raw.wait(self._outstanding(), None)
            self.view.client._let_callbacks_run()

    def _outstanding(self) -> Tuple[_client.Call, ...]:
        """What was sent through this executor and has not ended."""
        with self._changed:
            stretches = sorted(self._stretches)
        firsts = [first for first, _ in stretches]

        def is_own(call: _client.Call) -> bool:
            place = bisect.bisect_right(firsts, call.sequence) - 1
            return place >= 0 and call.sequence < stretches[place][1]

        return tuple(call for call in self.view.client._raw.outstanding() if is_own(call))


def _items(iterator: LazyMapIterator) -> Iterator[Any]:
    try:
        yield from iterator
    finally:
        iterator.close()


def _parts(result: AsyncMapResult, deadline: Optional[float]) -> Iterator[Any]:
    """The items of a direct map."""
    try:
        for part in result.split():
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            if not part.wait(left):
                raise TimeoutError("the next result of a map is not there in time")
            yield from part.get()
    finally:
        if not result._all_ended() and not result._client._raw.closed:
            try:
                result.cancel()
            except error.KernelError:
                pass  # the connection was lost: nothing is left to take back
