# SPDX-License-Identifier: BSD-3-Clause
"""The view that runs each call on one engine, chosen by the scheduler."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable, FrozenSet, Iterable, List, Optional, Tuple, Union

from .. import _client, error
from ..dependency import Dependency, packed
from ..serialize import Pickled, pack_arguments
from ..util import name_of
from .asyncresult import AsyncMapResult
from .baseview import Ids, View, columns_of
from .lazymap import LazyMapIterator, limit_of
from .map import Map

if TYPE_CHECKING:
    from .client import Client

_APPLY = _client.KIND_APPLY


_INT_MAX = (1 << 31) - 1
_UINT_MAX = (1 << 32) - 1


def _seconds(name: str, value: Optional[float]) -> float:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {type(value).__name__}")
    if not value >= 0:
        raise ValueError(f"{name} is a number of seconds, 0 or more, not {value}")
    return value


def _milliseconds(seconds: float) -> int:
    """At least 1 for what is not 0: that would mean no limit."""
    return min(max(int(min(seconds, 1e9) * 1000), int(seconds > 0)), _UINT_MAX)


def _whole(name: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value}")
    return value


_TAG = re.compile(r"[A-Za-z0-9_.:=-]+")


def _tags(value: Union[None, str, Iterable[str]]) -> FrozenSet[str]:
    if value is None:
        return frozenset()
    names = frozenset([value] if isinstance(value, str) else value)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a tag is a str, not {type(name).__name__}")
        if not _TAG.fullmatch(name):
            raise ValueError(f"{name!r} is not a tag: letters, digits and _ . : = - are possible")
    return names


class LoadBalancedView(View):
    """A view that runs each call on one engine, chosen by the scheduler. Made by a Client.

    Attributes (besides those of View):
        after: tasks that must have ended before a task starts
        follow: tasks on whose engine (or on one of whose engines) a task must run
        timeout: seconds within which a task must be given to an engine, else it fails with
            TaskTimeout; 0: no limit
        run_timeout: seconds that a task may run; then it is interrupted, then its engine is ended
        retries: how often a failed task is tried again, each time on another engine
        retry_same: it may also be tried again where it failed, when no other engine is left
        priority: tasks with a higher one go first
        tags: a task runs only on an engine that was started with all of these (`--tag`); a str, or
            several. When no engine ever had them it fails with ImpossibleDependency, or with a
            timeout waits for one that long
        durable: a task is on disk before it begins, and then runs whatever happens: also when this
            client is gone, and after everything was killed and the cluster started again. See
            AsyncResult.wait_accepted(). Needs a cluster with `--store sqlite`, and a view without
            targets

    `after` and `follow` take a msg_id, an AsyncResult, several of them, a Dependency, or None.
    """

    _flag_names = View._flag_names + (
        "follow", "after", "timeout", "run_timeout", "retries", "retry_same", "priority", "tags",
        "durable",
    )
    _balanced = True

    def __init__(self, client: "Client", targets: Any) -> None:
        super().__init__(client, targets)
        self._follow: Optional[Dependency] = None
        self._after: Optional[Dependency] = None
        self._timeout: float = 0
        self._run_timeout: float = 0
        self._retries = 0
        self._retry_same = False
        self._priority = 0
        self._tags: FrozenSet[str] = frozenset()
        self._durable = False

    def _set_options(self) -> None:
        """What goes with each task; None while all flags have their defaults."""
        options = (
            self._priority, self._retries, self._retry_same, _milliseconds(self._timeout),
            _milliseconds(self._run_timeout), ",".join(sorted(self._tags)), packed(self._after),
            packed(self._follow), self._durable,
        )
        self._options = options if any(options) else None

    def _ids_now(self) -> Ids:
        if self._ids == ():
            raise error.NoEnginesRegistered("the view has no engines")
        if self._ids is None and not self.client._ids:
            self.client._choose("all")  # looks again, and raises when there are none
        return (self._ids,) if isinstance(self._ids, int) else self._ids

    @property
    def follow(self) -> Optional[Dependency]:
        """Tasks on whose engine this one must run."""
        return self._follow

    @follow.setter
    def follow(self, value: Any) -> None:
        self._follow = Dependency.from_value(value)
        self._set_options()

    @property
    def after(self) -> Optional[Dependency]:
        """Tasks that must have ended before this one starts."""
        return self._after

    @after.setter
    def after(self, value: Any) -> None:
        self._after = Dependency.from_value(value)
        self._set_options()

    @property
    def timeout(self) -> float:
        """Seconds within which a task must be given to an engine; 0: no limit."""
        return self._timeout

    @timeout.setter
    def timeout(self, value: Optional[float]) -> None:
        self._timeout = _seconds("timeout", value)
        self._set_options()

    @property
    def run_timeout(self) -> float:
        """Seconds that a task may run; 0: no limit."""
        return self._run_timeout

    @run_timeout.setter
    def run_timeout(self, value: Optional[float]) -> None:
        self._run_timeout = _seconds("run_timeout", value)
        self._set_options()

    @property
    def retries(self) -> int:
        """How often a failed task is tried again."""
        return self._retries

    @retries.setter
    def retries(self, value: int) -> None:
        self._retries = _whole("retries", value, 0, _UINT_MAX)
        self._set_options()

    @property
    def retry_same(self) -> bool:
        """Whether it may be tried again where it failed, when no other engine is left."""
        return self._retry_same

    @retry_same.setter
    def retry_same(self, value: bool) -> None:
        self._retry_same = bool(value)
        self._set_options()

    @property
    def priority(self) -> int:
        """Tasks with a higher one go first."""
        return self._priority

    @priority.setter
    def priority(self, value: int) -> None:
        self._priority = _whole("priority", value, -_INT_MAX, _INT_MAX)
        self._set_options()

    @property
    def tags(self) -> FrozenSet[str]:
        """What an engine must have been started with to run a task; empty: nothing."""
        return self._tags

    @tags.setter
    def tags(self, value: Union[None, str, Iterable[str]]) -> None:
        self._tags = _tags(value)
        self._set_options()

    @property
    def durable(self) -> bool:
        """Whether a task is on disk before it begins."""
        return self._durable

    @durable.setter
    def durable(self, value: bool) -> None:
        self._durable = bool(value)
        self._set_options()

    def map(  # type: ignore[override]
        self,
        f: Callable[..., Any],
        /,
        *sequences: Iterable[Any],
        block: Optional[bool] = None,
        chunksize: int = 1,
        ordered: bool = True,
        return_exceptions: bool = False,
        label: Optional[str] = None,
    ) -> Any:
        """`f` for each item of the sequences, one task for every `chunksize` items.

        Several sequences are taken together up to the end of the shortest.

        Args:
            f: called with one item of each sequence
            *sequences: as many as f takes arguments
            block: wait; default the view's
            chunksize: items per task
            ordered: False: iterating the result yields items in the order of completion
            return_exceptions: put one exception in the place of each failed task instead of raising
            label: instead of the view's

        Returns:
            A list when it has waited, else an AsyncMapResult.

        Raises:
            ValueError: chunksize is less than 1
        """
        if chunksize < 1:
            raise ValueError(f"chunksize must be at least 1, not {chunksize}")
        columns, count = columns_of(sequences)
        will_wait = self.block if block is None else block
        if chunksize == 1:
            pickled = self.client._functions.pickled(f)
            calls = self._send_tasks(pickled, zip(*columns), name_of(f), label)
            weights, mapping = None, None
        else:
            starts = range(0, count, chunksize)
            chunks = (tuple(c[start : start + chunksize] for c in columns) for start in starts)
            calls = self._send_tasks(self._map_function(f), chunks, name_of(f), label)
            weights, mapping = [min(chunksize, count - start) for start in starts], Map()
        result = AsyncMapResult(
            self.client, calls, name_of(f), weights, mapping, ordered, return_exceptions
        )
        return self._wait(result, will_wait)

    def _send_tasks(
        self, f: Pickled, rows: Iterable[Tuple[Any, ...]], name: str, label: Optional[str]
    ) -> Tuple[_client.Call, ...]:
        """One balanced task for each row of arguments."""
        ids = self._ids_now()
        if f.by_value:
            self.client._check_python(ids, name)
        calls: List[_client.Call] = []
        for row in rows:
            parts, carries_code = pack_arguments(row, {})
            if carries_code:
                self.client._check_python(ids, name)
            calls += self._send(_APPLY, ids, 0, (f.data, *parts), False, label)
        return tuple(calls)

    def imap(
        self,
        f: Callable[..., Any],
        /,
        *sequences: Iterable[Any],
        ordered: bool = True,
        max_outstanding: Union[int, str] = "auto",
        return_exceptions: bool = False,
    ) -> LazyMapIterator:
        """A lazy map: at most `max_outstanding` tasks are under way, so input may be infinite.

        Args:
            f: called with one item of each sequence
            *sequences: as many as f takes arguments; may be infinite
            ordered: False: yield results in the order of completion
            max_outstanding: 'auto' is the number of engines; 0: consume all input at once
            return_exceptions: yield exceptions instead of raising them

        Returns:
            An iterator over the results.

        Raises:
            TypeError: there is no sequence
            ValueError: max_outstanding is neither 'auto' nor a number
        """
        if not sequences:
            raise TypeError("imap() needs at least one sequence")
        limit = limit_of(max_outstanding, self)
        return LazyMapIterator(
            self.client, self.apply_async, f, zip(*sequences), limit,
            ordered=ordered, return_exceptions=return_exceptions,
        )

    def register_joblib_backend(self, name: str = "ipyparallel", make_default: bool = False) -> None:
        """Have joblib run its batches on this view: `joblib.Parallel(backend=name)`.

        joblib must also be there where the engines run. When a batch fails, joblib raises its
        RemoteError; the batches that have not begun are taken back, those that run are interrupted.

        Args:
            name: what joblib shall call it; one of the same name is replaced
            make_default: joblib uses it when no backend is named

        Raises:
            ImportError: joblib is not installed
        """
        from .joblibbackend import register

        register(self, name, make_default)
