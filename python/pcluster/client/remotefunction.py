# SPDX-License-Identifier: BSD-3-Clause
"""Functions that run on engines when they are called: what @remote and @parallel make."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from typing import TYPE_CHECKING, Any, Callable, Iterable, List, Optional, Sequence, Tuple

from .. import _client
from ..util import name_of
from .asyncresult import AsyncMapResult
from .map import map_for

if TYPE_CHECKING:
    from .baseview import View

_APPLY = _client.KIND_APPLY


class RemoteFunction:
    """A function that is applied on a view whenever it is called.

    Args:
        view: where
        f: the function
        block: wait for the result; default the view's
        flags: flags of the view for these calls
    """

    _prefix = "Remote function.\n\n"

    def __init__(
        self, view: "View", f: Callable[..., Any], block: Optional[bool] = None, **flags: Any
    ) -> None:
        self.view = view
        self.func = f
        self.block = block
        self.flags = flags
        functools.update_wrapper(self, f, updated=())
        self.__doc__ = self._prefix + (f.__doc__ or "")
        try:
            self.__signature__ = inspect.signature(f)
        except (TypeError, ValueError):
            pass

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {name_of(self.func)} on {self.view!r}>"

    def _view(self) -> Any:
        """A view of its own, so that flags of one call don't reach another thread's."""
        view = copy.copy(self.view)
        if self.block is not None:
            view.block = self.block
        return view.set_flags(**self.flags)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._view().apply(self.func, *args, **kwargs)


class ParallelFunction(RemoteFunction):
    """A function that is called once for each part of its sequences, or by map() for each item.

    Args:
        view: where; on a direct view there is one part per engine, on a load-balanced one a part
            for each item or for every `chunksize` items
        f: the function
        dist: how sequences are cut, 'b' or 'r'
        block: wait for the result; default the view's
        chunksize: items per part, for load-balanced views only
        ordered: False: iterating results yields them in the order of completion
        flags: flags of the view for these calls
    """

    _prefix = "Parallel function.\n\n"

    def __init__(
        self,
        view: "View",
        f: Callable[..., Any],
        dist: str = "b",
        block: Optional[bool] = None,
        chunksize: Optional[int] = None,
        ordered: bool = True,
        **flags: Any,
    ) -> None:
        super().__init__(view, f, block, **flags)
        if chunksize is not None and not view._balanced:
            warnings.warn("chunksize means nothing on a direct view", stacklevel=3)
        self.chunksize = chunksize
        self.ordered = ordered
        self.dist = dist
        self._mapping = map_for(dist)

    def __call__(self, *sequences: Sequence[Any], **kwargs: Any) -> Any:
        """Call the function once for each part of the sequences, which must be equally long.

        Raises:
            ValueError: the lengths differ
            TypeError: keyword arguments, or no sequence
        """
        if kwargs:
            raise TypeError("a parallel function takes no keyword arguments")
        columns, count = _columns(sequences)
        view = self._view()
        messages, weights = self._parts(view, columns, count)
        calls: List[_client.Call] = []
        for ids, arguments in messages:
            _, parts = view._prepare(self.func, arguments, {})
            calls += view._send(_APPLY, ids, 0, parts, view.block)
        result = AsyncMapResult(
            view.client, tuple(calls), name_of(self.func), weights, self._mapping, self.ordered
        )
        return view._wait(result, view.block)

    def _parts(
        self, view: Any, columns: Tuple[Any, ...], count: int
    ) -> Tuple[List[Tuple[Any, Tuple[Any, ...]]], List[int]]:
        """(engines, arguments) of each call, and how many items each stands for."""
        ids = view._ids_now()
        if view._balanced:
            total = -(-count // (self.chunksize or 1))
            targets = [ids] * total
        else:
            targets = [ids] if isinstance(ids, int) else list(ids)[:count]
            total = len(targets)
        cut = self._mapping.partition
        rows = [tuple(cut(column, p, total) for column in columns) for p in range(total)]
        return list(zip(targets, rows)), [len(row[0]) for row in rows]

    def map(self, *sequences: Iterable[Any]) -> Any:
        """Call the function for each item of the sequences.

        Args:
            *sequences: as many as the function takes arguments

        Returns:
            What map() of the view returns.
        """
        view = self._view()
        if not view._balanced:
            return view.map(self.func, *sequences)
        return view.map(self.func, *sequences, chunksize=self.chunksize or 1, ordered=self.ordered)


def _columns(sequences: Tuple[Any, ...]) -> Tuple[Tuple[Any, ...], int]:
    if not sequences:
        raise TypeError("a parallel function needs at least one sequence")
    columns = tuple(s if hasattr(s, "__getitem__") else list(s) for s in sequences)
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise ValueError(f"the sequences have different lengths: {sorted(lengths)}")
    return columns, lengths.pop()


def remote(view: "View", block: Optional[bool] = None, **flags: Any) -> Callable[[Any], RemoteFunction]:
    """Decorator: calls of the function run on `view`. See RemoteFunction.

    Args:
        view: where
        block: wait for the result of a call; default the view's
        **flags: of the view during a call

    Returns:
        A decorator.
    """

    def decorate(f: Callable[..., Any]) -> RemoteFunction:
        return RemoteFunction(view, f, block=block, **flags)

    return decorate


def parallel(
    view: "View", dist: str = "b", block: Optional[bool] = None, ordered: bool = True, **flags: Any
) -> Callable[[Any], ParallelFunction]:
    """Decorator: calls of the function are cut in parts, which run on `view`. See ParallelFunction.

    Args:
        view: where
        dist: how sequences are cut: 'b' in blocks, 'r' in turns
        block: wait for the result of a call; default the view's
        ordered: False: results in the order of completion, on a load-balanced view
        **flags: of the view during a call

    Returns:
        A decorator.
    """

    def decorate(f: Callable[..., Any]) -> ParallelFunction:
        return ParallelFunction(view, f, dist=dist, block=block, ordered=ordered, **flags)

    return decorate
