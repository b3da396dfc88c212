# SPDX-License-Identifier: BSD-3-Clause
"""A view as a concurrent.futures.Executor."""

from __future__ import annotations

import warnings
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, Optional, Union

from .asyncresult import AsyncResult

if TYPE_CHECKING:
    from .view import View


class ViewExecutor(Executor):
    """Runs what is submitted on the engines of a view. Made by `view.executor`.

    Args:
        view: usually a load-balanced one
    """

    def __init__(self, view: "View") -> None:
        self.view = view
        self._shutdown = False

    @property
    def _max_workers(self) -> int:
        return len(self.view)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult:  # type: ignore[override]
        """`view.apply_async(fn, *args, **kwargs)`. RuntimeError after shutdown()."""
        if self._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        return self.view.apply_async(fn, *args, **kwargs)

    def map(  # type: ignore[override]
        self,
        func: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: Optional[float] = None,
        chunksize: int = 1,
        ordered: bool = True,
        max_outstanding: Union[int, str] = 0,
    ) -> Iterator[Any]:
        """`func` for each item, lazily.

        Args:
            func: called with one item of each iterable
            timeout: ignored, with a warning
            chunksize: items per task; more than 1 consumes all input first
            ordered: False: yield results in the order of completion
            max_outstanding: how many tasks may be under way; 0: no limit, 'auto': as many as there
                are engines
        """
        if self._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if timeout is not None:
            warnings.warn("the timeout of map() is ignored", stacklevel=2)
        view: Any = self.view
        if not view._balanced:
            return iter(view.map_async(func, *iterables))
        if chunksize > 1:
            return iter(view.map_async(func, *iterables, chunksize=chunksize, ordered=ordered))
        return iter(view.imap(func, *iterables, ordered=ordered, max_outstanding=max_outstanding))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept nothing more; the engines stay.

        Args:
            wait: wait until everything submitted through the view has ended
            cancel_futures: ignored: what was sent can't be cancelled yet
        """
        self._shutdown = True
        if wait and not self.view.client._raw.closed:
            self.view.wait()
