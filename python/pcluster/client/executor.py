# SPDX-License-Identifier: BSD-3-Clause
"""A view as a concurrent.futures.Executor."""

from __future__ import annotations

import time
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, Optional, Union

from .. import error
from .asyncresult import AsyncMapResult, AsyncResult
from .lazymap import LazyMapIterator, limit_of
from .submitted import Submitted

if TYPE_CHECKING:
    from .view import View


class ViewExecutor(Executor):
    """Runs what is submitted on the engines of a view. Made by `view.executor`, `client.executor()`.

    Leaving a `with` block waits for everything submitted, and so does the end of the program, which
    refuses what is submitted from then on, also by callbacks. Ctrl-C leaves, and so does the loss of the
    connection. A child that was forked waits for nothing of its parent's. What was sent through the view in
    other ways is not waited for.

    Args:
        view: usually a load-balanced one; with a direct view of several engines each of them runs
            each call, and results are lists
    """

    def __init__(self, view: "View") -> None:
        self.view = view
        self._submitted = Submitted(view.client)

    def __del__(self) -> None:
        submitted = self.__dict__.get("_submitted")
        if submitted is not None:
            submitted.disown()

    @property
    def _is_shut_down(self) -> bool:
        return self._submitted.is_shut_down

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
            RuntimeError: after shutdown(), or at the end of the program
            CannotPickle, NoEnginesRegistered, ...: as apply_async() does
        """
        return self._submitted.send(self.view.apply_async, fn, *args, **kwargs)

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
            RuntimeError: after shutdown(), or at the end of the program
            ValueError: chunksize is less than 1
        """
        if chunksize < 1:
            raise ValueError(f"chunksize must be at least 1, not {chunksize}")
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self.view._balanced:
            return _parts(self._submitted.send(self.view.map_async, fn, *iterables), deadline)
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
        submitted, raw = self._submitted, self.view.client._raw
        submitted.close()
        if cancel_futures and not raw.closed:
            raw.abort(submitted.outstanding(), 0)
        if not wait:
            return
        submitted.wait_sent()
        if cancel_futures and not raw.closed:
            raw.abort(submitted.outstanding(), 0)  # also what was on its way
        submitted.wait()


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
