# SPDX-License-Identifier: BSD-3-Clause
"""What all views share, and the short way of a synchronous call."""

from __future__ import annotations

import contextlib
import itertools
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
    TypeVar,
    Union,
)

from .. import _client
from ..serialize import pack_arguments
from ..serialize.functions import Pickled
from ..serialize.reference import MAP, Expression, Reference, call_reference
from ..util import name_of
from .asyncresult import AsyncMapResult, AsyncResult, load_value
from .metadata import msg_id
from .remotefunction import ParallelFunction, RemoteFunction, parallel, remote
from .tasks import as_list, raises_for

if TYPE_CHECKING:
    from .client import Client, Job, Targets
    from .executor import ViewExecutor
    from .memory import Results

V = TypeVar("V", bound="View")
Ids = Union[None, int, Tuple[int, ...]]

_APPLY = _client.KIND_APPLY
_view_numbers = itertools.count(1)


class View:
    """What direct and load-balanced views share. Made by a Client.

    Attributes:
        client: the Client
        targets: engine id(s), 'all' or None
        block: whether apply(), map() ... wait for the result; starts as `client.block`
        track: accepted and ignored
        label: kept with each task
        when_full: what a call does while the client has as much under way as it may: 'block' waits for
            results to come, 'raise' raises QueueFull; None: as `client.when_full` says
    """

    _flag_names: Tuple[str, ...] = ("targets", "block", "track", "label", "when_full")
    _balanced = False

    def __init__(self, client: "Client", targets: Any) -> None:
        self.client = client
        self.block: bool = client.block
        self.track = False
        self.label: Optional[str] = None
        self._raises_when_full: Optional[bool] = None  # as the client
        self._options: Optional[Tuple[Any, ...]] = None  # see Client.submit of the extension
        self._number = next(_view_numbers)
        self._executor: Optional["ViewExecutor"] = None
        self.targets = targets

    def __repr__(self) -> str:
        text = str(self.targets)
        if len(text) > 16:
            text = text[:12] + "...]"
        return f"<{type(self).__name__} {text}>"

    # ---- flags -------------------------------------------------------------------------------------

    def set_flags(self: V, **flags: Any) -> V:
        """Set flags.

        Args:
            **flags: by name: block, track, label, ...; see the attributes of the view

        Returns:
            The view.

        Raises:
            KeyError: there is no such flag; none was set
        """
        for name in flags:
            if name not in self._flag_names:
                raise KeyError(f"{type(self).__name__} has no flag {name!r}")
        for name, value in flags.items():
            setattr(self, name, value)
        return self

    @contextlib.contextmanager
    def temp_flags(self: V, **flags: Any) -> Iterator[V]:
        """Set flags within a `with` block; all flags are restored at its end.

        Args:
            **flags: as for set_flags()

        Yields:
            The view.
        """
        saved = {name: getattr(self, name) for name in self._flag_names}
        try:
            yield self.set_flags(**flags)
        finally:
            for name, value in saved.items():
                setattr(self, name, value)

    @property
    def targets(self) -> Any:
        """Engine id, list of ids, 'all' or None. Set to a slice or to negative numbers, they are those of
        the engines that there are now."""
        return self._targets

    @targets.setter
    def targets(self, value: Any) -> None:
        self._targets = value = self.client._meant(value)
        # What the library takes; None stands for "decide at the call".
        self._ids: Ids = None
        if value is not None and not isinstance(value, str):
            self._ids = value if isinstance(value, int) else tuple(value)

    @property
    def when_full(self) -> Optional[str]:
        """What a call does when there is no room: 'block', 'raise', or None: as `client.when_full` says."""
        if self._raises_when_full is None:
            return None
        return "raise" if self._raises_when_full else "block"

    @when_full.setter
    def when_full(self, value: Optional[str]) -> None:
        self._raises_when_full = None if value is None else raises_for(value)

    def _ids_now(self) -> Ids:
        """The engines of a call that is made now."""
        raise NotImplementedError

    def __len__(self) -> int:
        if isinstance(self._ids, int):
            return 1
        return len(self.client) if self._ids is None else len(self._ids)

    # ---- sending -----------------------------------------------------------------------------------

    def _send(
        self,
        kind: int,
        ids: Ids,
        flags: int,
        parts: Tuple[Any, ...],
        will_wait: bool,
        label: Optional[str] = None,
    ) -> Tuple[_client.Call, ...]:
        client = self.client
        if label is None:
            label = self.label
        raises = self._raises_when_full
        if raises is None:
            raises = client._raises_when_full
        calls = client._raw.submit(
            kind, ids, self._balanced, flags, label, parts, will_wait, self._options, raises
        )
        if type(calls) is tuple:
            client._note(calls[0].sequence, len(calls), self._number)
        else:
            client._note(calls.sequence, 1, self._number)
            calls = (calls,)
        if not will_wait and client._background is None:
            client._start_background()
        return calls  # type: ignore[no-any-return]

    def _result(self, calls: Tuple[_client.Call, ...], single: bool, name: str) -> AsyncResult:
        return AsyncResult(self.client, calls, single, name)

    def _wait(self, result: AsyncResult, block: bool) -> Any:
        """The value of a result when `block`, else the result. A Ctrl-C gives the result, too."""
        if not block:
            return result
        try:
            return result.get()
        except KeyboardInterrupt:
            return result

    def _prepare(
        self, f: Callable[..., Any], args: Tuple[Any, ...], kwargs: Dict[str, Any]
    ) -> Tuple[Ids, Tuple[Any, ...]]:
        """Where a call goes, and the parts of its message."""
        data, by_value = self.client._functions.pickled(f)
        parts, carries_code = pack_arguments(args, kwargs)
        ids = self._ids if self._ids is not None else self._ids_now()
        if by_value or carries_code:
            self.client._check_python(ids, name_of(f))
        return ids, (data, *parts)

    # ---- apply -------------------------------------------------------------------------------------

    def apply(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `f(*args, **kwargs)` on the view's engines.

        Args:
            f: the function
            *args, **kwargs: its arguments, pickled; a Reference is replaced by an engine's value

        Returns:
            The result when `block` is set, else an AsyncResult.
        """
        if self.block:
            return self.apply_sync(f, *args, **kwargs)
        return self.apply_async(f, *args, **kwargs)

    def apply_async(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult:
        """Call `f(*args, **kwargs)` on the view's engines; don't wait.

        Args:
            f: the function
            *args, **kwargs: its arguments

        Returns:
            AsyncResult: of one value for a view of one engine or a load-balanced one, else of a list.

        Raises:
            CannotPickle: naming what can't be sent
            NoEnginesRegistered: there is no engine
            PythonVersionMismatch: code by value for an engine with another Python
            QueueFull: there is no room, and `when_full` is 'raise'
        """
        ids, parts = self._prepare(f, args, kwargs)
        calls = self._send(_APPLY, ids, 0, parts, False)
        return self._result(calls, self._balanced or type(ids) is int, name_of(f))

    def apply_sync(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `f(*args, **kwargs)` on the view's engines and wait for the result.

        Args:
            f: the function
            *args, **kwargs: its arguments

        Returns:
            What f returned: one value for a view of one engine or a load-balanced one, else a list. After
            KeyboardInterrupt the AsyncResult.

        Raises:
            RemoteError, CompositeError: f raised, or its engine was lost
            and what apply_async() raises
        """
        ids, parts = self._prepare(f, args, kwargs)
        single = self._balanced or type(ids) is int
        calls = self._send(_APPLY, ids, 0, parts, True)
        try:
            self.client._raw.wait(calls)
            if single:
                return load_value(calls[0])
        except KeyboardInterrupt:
            return self._result(calls, single, name_of(f))
        return self._result(calls, single, name_of(f)).get()

    # ---- map ---------------------------------------------------------------------------------------

    def map(self, f: Callable[..., Any], /, *sequences: Iterable[Any], **options: Any) -> Any:
        """`f` for each item; see the subclasses.

        Args:
            f: called with one item of each sequence
            *sequences: as many as f takes arguments
            **options: block, label and what the subclass knows

        Raises:
            NotImplementedError: this class does not know how
        """
        raise NotImplementedError

    def map_async(self, f: Callable[..., Any], /, *sequences: Iterable[Any], **options: Any) -> AsyncMapResult:
        """map() without waiting.

        Args:
            f: called with one item of each sequence
            *sequences: as many as f takes arguments
            **options: as for map(), without `block`

        Returns:
            AsyncMapResult: of a list in the order of the items.
        """
        options["block"] = False
        return self.map(f, *sequences, **options)  # type: ignore[no-any-return]

    def map_sync(self, f: Callable[..., Any], /, *sequences: Iterable[Any], **options: Any) -> List[Any]:
        """map() with waiting.

        Args:
            f: called with one item of each sequence
            *sequences: as many as f takes arguments
            **options: as for map(), without `block`

        Returns:
            A list in the order of the items.
        """
        options["block"] = True
        return self.map(f, *sequences, **options)  # type: ignore[no-any-return]

    def _map_function(self, f: Callable[..., Any]) -> Pickled:
        """The pickle of a function that calls `f` for each item of its sequences."""
        if isinstance(f, Reference):
            f = call_reference(f)  # looked up anew for each task
        return self.client._functions.pickled(Expression(MAP, f))

    # ---- waiting, history --------------------------------------------------------------------------

    def wait(self, jobs: Union[None, "Job", Iterable["Job"]] = None, timeout: Optional[float] = -1) -> bool:
        """Wait for results.

        Args:
            jobs: as for Client.wait(); None: everything that this view has sent
            timeout: seconds; None or negative: no limit

        Returns:
            True when all are there, False after the time.
        """
        limit = None if timeout is None or timeout < 0 else timeout
        if jobs is None:
            own = self._own_numbers()
            pending = [call for call in self.client._raw.outstanding() if own(call.sequence)]
            return self.client._raw.wait(tuple(pending), limit)
        return self.client._wait_for(as_list(jobs), limit, lambda: self.history)

    def abort(
        self, jobs: Union[None, "Job", Iterable["Job"]] = None, targets: "Targets" = None, block: Optional[bool] = None
    ) -> None:
        """Client.abort(); None: everything that this view has sent and that has not ended.

        Args:
            jobs: msg_ids, indices in this view's history, or AsyncResults
            targets: ignored: tasks are found wherever they are
            block: ignored: it returns when the scheduler has the order
        """
        if jobs is not None:
            self.client._end_early(jobs, lambda: self.history, None, False, False)
            return
        own = self._own_numbers()
        raw = self.client._raw
        raw.abort(tuple(call for call in raw.outstanding() if own(call.sequence)), 0)

    def _own_numbers(self) -> Callable[[int], bool]:
        spans = [(first, end) for first, end, view in list(self.client._log) if view == self._number]

        def is_own(number: int) -> bool:
            return any(first <= number < end for first, end in reversed(spans))

        return is_own

    @property
    def history(self) -> List[str]:
        """The msg_ids of this view's tasks, in the order of submission."""
        return self.client._log_ids(self._number)

    @property
    def outstanding(self) -> Set[str]:
        """The msg_ids of this view's tasks that have not ended."""
        own = self._own_numbers()
        return {msg_id(call) for call in self.client._raw.outstanding() if own(call.sequence)}

    @property
    def results(self) -> "Results":
        """Client.results."""
        return self.client.results

    def get_result(
        self,
        indices_or_msg_ids: Union["Job", Sequence["Job"]] = -1,
        block: Optional[bool] = None,
        owner: bool = False,
    ) -> AsyncResult:
        """Client.get_result(); an index counts in this view's history.

        Args:
            indices_or_msg_ids: one, or a list of them
            block: wait for the end; default the view's
            owner: the new object takes the result out of `Client.results`; else it stays there

        Returns:
            AsyncResult: of one value for one task, else of a list.
        """
        names = self.client._names_of(as_list(indices_or_msg_ids), lambda: self.history)
        is_one = isinstance(indices_or_msg_ids, (int, str))
        wanted: Any = names[0] if is_one else names
        return self.client.get_result(wanted, self.block if block is None else block, owner)

    @property
    def executor(self) -> "ViewExecutor":
        """A concurrent.futures.Executor over this view; a new one when the last was shut down."""
        if self._executor is None or self._executor._is_shut_down:
            from .executor import ViewExecutor

            self._executor = ViewExecutor(self)
        return self._executor

    def remote(self, block: Optional[bool] = None, **flags: Any) -> Callable[[Any], RemoteFunction]:
        """Decorator: calls of the function run on this view.

        Args:
            block: wait for the result of a call; default the view's
            **flags: of the view during a call

        Returns:
            A decorator that makes a RemoteFunction.
        """
        return remote(self, block, **flags)

    def parallel(
        self, dist: str = "b", block: Optional[bool] = None, **flags: Any
    ) -> Callable[[Any], ParallelFunction]:
        """Decorator: calls of the function are cut in parts, which run on this view.

        Args:
            dist: how sequences are cut: 'b' in blocks, 'r' in turns
            block: wait for the result of a call; default the view's
            **flags: of the view during a call

        Returns:
            A decorator that makes a ParallelFunction.
        """
        return parallel(self, dist, block, **flags)

    def queue_status(self, targets: "Targets" = None, verbose: bool = False) -> Dict[Any, Any]:
        """Client.queue_status() for this view's engines.

        Args:
            targets: engine id(s); default those of the view
            verbose: lists of msg_ids instead of numbers

        Returns:
            {engine id: {"queue": ..., "completed": ..., "tasks": ...}, "unassigned": ...}
        """
        return self.client.queue_status(self._or_own(targets), verbose)

    def purge_results(self, jobs: Any = (), targets: "Targets" = None) -> None:
        """Client.purge_results(); targets: default this view's engines, when no jobs are given.

        Args:
            jobs: msg_ids or AsyncResults whose records are forgotten, or 'all'
            targets: engine id(s) whose records are forgotten
        """
        if targets is None:
            targets = () if jobs else self._or_own(None)
        self.client.purge_results(jobs, targets)

    def _or_own(self, targets: Any) -> Any:
        if targets is not None:
            return targets
        return "all" if self.targets is None else self.targets

    def shutdown(
        self, targets: "Targets" = None, restart: bool = False, hub: bool = False, block: Optional[bool] = None
    ) -> None:
        """Client.shutdown() for this view's engines.

        Args:
            targets: engine id(s); default those of the view
            restart: start new ones in their place
            hub: end the whole cluster
            block: wait until they are gone
        """
        self.client.shutdown(self._or_own(targets), restart, hub, block)


def columns_of(sequences: Tuple[Iterable[Any], ...]) -> Tuple[List[Any], int]:
    """The arguments of a map() as sequences that can be cut.

    Args:
        sequences: at least one, of any iterables

    Returns:
        The sequences, sliceable and cut to the length of the shortest, and that length.

    Raises:
        TypeError: there is none
    """
    if not sequences:
        raise TypeError("map() needs at least one sequence")
    columns: List[Any] = []
    for sequence in sequences:
        is_sliceable = hasattr(sequence, "__getitem__") and hasattr(sequence, "__len__")
        columns.append(sequence if is_sliceable and not isinstance(sequence, dict) else list(sequence))
    count = min(len(column) for column in columns)
    return [column if len(column) == count else column[:count] for column in columns], count
