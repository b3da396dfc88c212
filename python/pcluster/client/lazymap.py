# SPDX-License-Identifier: BSD-3-Clause
"""The iterator of a lazy map: it takes input only as fast as results are taken out.

Input that raises, and rows that can't be sent, are errors of the item that they would have become:
what was sent before comes first.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Deque, Iterator, Optional, Sized, Tuple, Union

from .. import error
from ..serialize.reference import MAP, Expression
from .asyncresult import AsyncResult

if TYPE_CHECKING:
    from .client import Client


def limit_of(max_outstanding: Union[int, str], view: Sized) -> int:
    """How many tasks may be under way at once; 0: any number.

    Args:
        max_outstanding: 'auto' is the number of engines
        view: whose engines count

    Returns:
        A number of tasks.

    Raises:
        ValueError: neither 'auto' nor a number
    """
    limit = max(len(view), 1) if max_outstanding == "auto" else max_outstanding
    if not isinstance(limit, int) or limit < 0:
        raise ValueError(f"max_outstanding must be 'auto' or a number, not {max_outstanding!r}")
    return limit


class LazyMapIterator:
    """Iterator over the results of imap(). Made by LoadBalancedView.imap().

    Args:
        client: the client whose results these are
        submit: sends one task: `submit(f, *row)`
        f: called with each row
        rows: the input
        limit: how many tasks may be under way; 0: any number
        ordered: False: yield results in the order of completion
        return_exceptions: yield exceptions instead of raising them
        chunksize: rows per task
        deadline: when to give up with a TimeoutError, on the clock of time.monotonic()
    """

    def __init__(
        self,
        client: "Client",
        submit: Callable[..., AsyncResult],
        f: Callable[..., Any],
        rows: Iterator[Tuple[Any, ...]],
        limit: int,
        *,
        ordered: bool = True,
        return_exceptions: bool = False,
        chunksize: int = 1,
        deadline: Optional[float] = None,
    ) -> None:
        self._client = client
        self._submit = submit
        self._f = f if chunksize == 1 else Expression(MAP, f)
        self._rows: Optional[Iterator[Tuple[Any, ...]]] = rows if chunksize == 1 else _chunks(rows, chunksize)
        self._limit = limit
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._is_chunked = chunksize > 1
        self._deadline = deadline
        self._pending: Deque[AsyncResult] = deque()
        self._values: Deque[Any] = deque()  # of a chunk that has arrived
        self._input_error: Optional[BaseException] = None
        if not self._fill() and not self._pending:
            self._raise_input_error()  # nothing comes before it

    def cancel(self) -> None:
        """Consume no more input. What was sent still comes."""
        self._rows = None

    def close(self) -> None:
        """Consume no more input, and take back what has not begun."""
        self.cancel()
        pending = [result for result in self._pending if not result._all_ended()]
        self._pending.clear()
        self._values.clear()
        if pending and not self._client._raw.closed:
            try:
                self._client.abort(pending)
            except error.KernelError:
                pass  # the connection was lost: nothing is left to take back

    def _fill(self) -> bool:
        """Send tasks up to the limit; False when one could not be sent."""
        while self._rows is not None and (not self._limit or len(self._pending) < self._limit):
            try:
                row = next(self._rows)
            except StopIteration:
                self._rows = None
                break
            except Exception as exception:
                self._rows = None
                self._input_error = exception
                break
            try:
                self._pending.append(self._submit(self._f, *row))
            except Exception as exception:
                self._rows = None
                self._input_error = exception
                return False
        return True

    def _raise_input_error(self) -> None:
        exception, self._input_error = self._input_error, None
        assert exception is not None
        try:
            raise exception
        finally:
            del exception  # its traceback leads back here

    def __iter__(self) -> "LazyMapIterator":
        return self

    def __next__(self) -> Any:
        while not self._values:
            result = self._next_result()
            keep = self._return_exceptions
            if not self._is_chunked or (keep and result._has_failed()):
                return result.get(return_exceptions=keep)
            self._values.extend(result.get())
        return self._values.popleft()

    def _next_result(self) -> AsyncResult:
        """The next one that has ended. Sends what may go instead of it."""
        if not self._pending:
            if self._input_error is not None:
                self._raise_input_error()
            raise StopIteration
        left = None if self._deadline is None else max(self._deadline - time.monotonic(), 0)
        if not (self._pending[0].wait(left) if self._ordered else self._bring_ended_first(left)):
            raise TimeoutError("the next result of a map is not there in time")
        result = self._pending.popleft()
        self._fill()
        return result

    def _bring_ended_first(self, limit: Optional[float]) -> bool:
        pending = self._pending

        def is_over() -> bool:
            return any(result._all_ended() for result in pending)

        if not self._client._wait_until(is_over, limit):
            return False
        while not pending[0]._all_ended():
            pending.rotate(-1)
        return True


def _chunks(rows: Iterator[Tuple[Any, ...]], size: int) -> Iterator[Tuple[Any, ...]]:
    """The columns of `size` rows each."""
    while chunk := list(itertools.islice(rows, size)):
        yield tuple(zip(*chunk))
