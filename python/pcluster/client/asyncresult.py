# SPDX-License-Identifier: BSD-3-Clause
"""Results that may not be there yet.

An AsyncResult is a few slots around the library's calls. Nothing is unpickled before somebody asks
for it, and then in the thread that asks.
"""

from __future__ import annotations

import datetime
import pickle
import time
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ContextManager,
    Dict,
    Iterator,
    List,
    Optional,
    Sequence,
    Set,
    TextIO,
    Tuple,
    Union,
)

from .. import _client, error
from .display import Follower, display_outputs
from .executereply import ExecuteReply
from .futures import LazyFuture
from .map import Map
from .metadata import KEYS, Metadata, gives_reply, load_data, load_error, metadata_of, msg_id, seconds_between
from .progress import Progress

if TYPE_CHECKING:
    from .client import Client

_PENDING = _client.STATUS_PENDING
_OK = _client.STATUS_OK
_FAILED = _client.STATUS_FAILED
_STREAMS = (_client.STREAM_STDOUT, _client.STREAM_STDERR)

When = Union[datetime.datetime, Sequence[datetime.datetime]]
DoneAndPending = Tuple[Set["AsyncResult"], Set["AsyncResult"]]


def _was_aborted(call: _client.Call) -> bool:
    return call.status == _FAILED and isinstance(load_error(call), error.TaskAborted)


def load_value(call: _client.Call) -> Any:
    """What a call that has ended gave.

    Args:
        call: one that has ended

    Returns:
        The value, unpickled.

    Raises:
        RemoteError: the call failed
        UnpicklingError: unpickling the value raised SystemExit; what else it raises comes as it is
    """
    if call.status != _OK:
        raise load_error(call)
    try:
        return call.load()
    except SystemExit as failure:  # not the end of this program
        raise pickle.UnpicklingError(_what_failed(call)) from failure
    except Exception as failure:
        failure.add_note("\n" + _what_failed(call))
        raise


def _what_failed(call: _client.Call) -> str:
    where = "" if call.engine is None else f" of engine {call.engine}"
    return f"the result{where} has arrived, but can't be unpickled here"


def result_value(client: "Client", call: _client.Call) -> Any:
    """load_value(), as users get it.

    Args:
        client: whose call it is
        call: one that has ended

    Returns:
        The value; an ExecuteReply for an execution that is not silent.
    """
    value = load_value(call)
    return ExecuteReply(value or {}, metadata_of(client, call)) if gives_reply(call) else value


def _limit(timeout: Optional[float]) -> Optional[float]:
    """None and negative numbers mean: no limit."""
    return None if timeout is None or timeout < 0 else timeout


class AsyncResult(LazyFuture):
    """The result of a call on one or several engines.

    It is a `concurrent.futures.Future` and has the names of `multiprocessing.pool.AsyncResult`.
    Made by views. The result is a single value if and only if the target was a single engine.
    """

    #: Whether this object is the only way to its result.
    owner = True

    _loaded: Optional[List[Any]] = None
    _split: Optional[Tuple["AsyncResult", ...]] = None
    _return_exceptions = False

    def __init__(self, client: "Client", calls: Tuple[_client.Call, ...], single: bool, fname: str) -> None:
        self._client = client
        self._calls = calls
        self._single = single
        self._fname = fname
        self._since = time.time()

    def __repr__(self) -> str:
        if not self.ready():
            state = "pending"
        elif self._has_failed():
            state = "failed"
        else:
            state = "finished"
        return f"<{type(self).__name__}({self._fname}): {state}>"

    # ---- as a Future -----------------------------------------------------------------------------

    def _has_failed(self) -> bool:
        return any(call.status != _OK for call in self._calls)

    def _watch(self) -> None:
        raw = self._client._raw
        try:
            for call in self._calls:
                call.data = self
                raw.announce(call)
            self._client._start_background()
        except error.KernelError:
            pass  # closed or lost meanwhile: then the calls have ended, too
        if self._all_ended():
            self._finish()

    def _ended(self) -> None:
        """The background thread saw one of the calls end."""
        if self._all_ended():
            self._finish()

    def _all_ended(self) -> bool:
        for call in self._calls:
            if call.status == _PENDING:
                return False
        return True

    def ready(self) -> bool:
        """Whether all parts of the result have arrived."""
        if self._all_ended():
            return True
        return bool(self._client._raw.wait(self._calls, 0))

    def successful(self) -> bool:
        """Whether there was no error.

        Raises:
            RuntimeError: the result is not ready
        """
        if not self.ready():
            raise RuntimeError("the result is not ready")
        return not self._has_failed()

    def result(self, timeout: Optional[float] = None) -> Any:
        """get(), as a Future calls it.

        Args:
            timeout: seconds; None or negative: no limit

        Returns:
            What get() returns.
        """
        try:
            return self.get(timeout)
        finally:
            del self  # see get()

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """The exception that get() would raise, or None.

        Args:
            timeout: seconds; None or negative: no limit; 0: only look

        Returns:
            A RemoteError, or None when all went well.

        Raises:
            TimeoutError: not in the time given
            TaskAborted: it was cancelled; this is also a concurrent.futures.CancelledError
        """
        if not self.wait(timeout):
            raise TimeoutError(f"{self._fname} is not ready")
        try:
            self.get(return_exceptions=False)
        except Exception as failure:
            if self.cancelled():
                raise
            return failure.with_traceback(None)
        return None

    def running(self) -> bool:
        """Whether it has started and not ended, as far as is known here: a task is known to have
        started when something that it printed has arrived."""
        return not self.ready() and any(call.output(stream) for call in self._calls for stream in _STREAMS)

    # ---- waiting ---------------------------------------------------------------------------------

    def wait(self, timeout: Optional[float] = -1, return_when: Optional[str] = None) -> Any:
        """Wait until the result is there.

        Args:
            timeout: seconds; None or negative: no limit; 0: only look
            return_when: None, or one of the constants of concurrent.futures

        Returns:
            Whether it is there; with `return_when` two sets, the finished and the pending ones of
            the AsyncResults of split().
        """
        if return_when is None:
            return self._all_ended() or self._client._raw.wait(self._calls, _limit(timeout))
        self._wait_when(timeout, return_when)
        parts = self.split()
        done = {part for part in parts if part._all_ended()}
        return done, set(parts) - done

    def _wait_when(self, timeout: Optional[float], return_when: str) -> None:
        if return_when == ALL_COMPLETED:
            self.wait(timeout)
            return
        if return_when not in (FIRST_COMPLETED, FIRST_EXCEPTION):
            raise ValueError(f"return_when must be a constant of concurrent.futures, not {return_when!r}")
        wanted = (_PENDING, _OK) if return_when == FIRST_EXCEPTION else (_PENDING,)
        pending = list(self._calls)

        def is_over() -> bool:
            if any(call.status not in wanted for call in pending):
                return True
            pending[:] = [call for call in pending if call.status == _PENDING]
            return not pending

        self._client._wait_until(is_over, _limit(timeout))

    def wait_for_output(self, timeout: Optional[float] = -1) -> bool:
        """Wait until all output has arrived: it comes before the result, so the same as wait().

        Args:
            timeout: seconds; None or negative: no limit

        Returns:
            False when the time is over.
        """
        return bool(self.wait(timeout))

    @property
    def sent(self) -> bool:
        """True: buffers are handed over before the call that sends them returns."""
        return True

    def wait_for_send(self, timeout: Optional[float] = -1) -> bool:
        """Nothing to wait for, see sent.

        Args:
            timeout: ignored

        Returns:
            True.
        """
        return True

    @property
    def accepted(self) -> bool:
        """Whether all of its durable tasks are on disk, as far as is known now. Also True when they
        have ended."""
        return all(call.accepted for call in self._calls)

    def wait_accepted(self, timeout: Optional[float] = -1) -> bool:
        """Wait until the durable tasks are on disk. From then on they run whatever happens to this
        client and to the cluster, and their results are found by their msg_ids.

        The calls that submit don't wait for that: so many submissions share one write to the disk.

        Args:
            timeout: seconds; None or negative: no limit

        Returns:
            False when the time is over.

        Raises:
            NotDurable: a task could not be written to the disk; it was not run
            ValueError: a task is not durable
        """
        if not self._client._raw.wait(self._calls, _limit(timeout), True):
            return False
        for call in self._calls:
            if call.status == _FAILED and isinstance(failure := load_error(call), error.NotDurable):
                raise failure
        return True

    def wait_interactive(
        self,
        interval: float = 0.1,
        timeout: Optional[float] = -1,
        widget: Optional[bool] = None,
        return_when: str = ALL_COMPLETED,
        *,
        file: Optional[TextIO] = None,
    ) -> None:
        """Wait and show the progress: a bar of tqdm where that is installed, else a line of text.
        With PCLUSTER_NONINTERACTIVE=1 in the environment nothing is shown.

        Args:
            interval: seconds between two looks
            timeout: seconds; negative: no limit
            widget: see Progress
            return_when: as for wait()
            file: where to write, as text; default stderr
        """
        start = time.monotonic()
        limit = _limit(timeout)
        with Progress(self._fname, len(self), "items", file, widget) as progress:
            while True:
                spent = time.monotonic() - start
                left = interval if limit is None else min(interval, limit - spent)
                self._wait_when(max(left, 0), return_when)
                progress.show(self.progress)
                is_over = self._all_ended() or (return_when != ALL_COMPLETED and self._may_return(return_when))
                if is_over or (limit is not None and time.monotonic() - start >= limit):
                    return

    def _may_return(self, return_when: str) -> bool:
        """Whether a wait for FIRST_COMPLETED or FIRST_EXCEPTION is over."""
        wanted = (_PENDING, _OK) if return_when == FIRST_EXCEPTION else (_PENDING,)
        return any(call.status not in wanted for call in self._calls)

    # ---- the value -------------------------------------------------------------------------------

    def _load(self, index: int) -> Any:
        """Value of one part that has ended, from what came; raises when it failed."""
        return result_value(self._client, self._calls[index])

    def _part(self, index: int) -> Any:
        """Value of one part that has ended; an _Error when it failed."""
        if self._loaded is None:
            self._loaded = [_NOT_LOADED] * len(self._calls)
        value = self._loaded[index]
        if value is _NOT_LOADED:
            try:
                value = self._load(index)
            except Exception as exception:  # a remote error, or one of unpickling the value here
                value = _Error(exception)
            self._loaded[index] = value
        return value

    def _value(self, index: int) -> Any:
        """Value of one part that has ended; raises when it failed."""
        value = self._part(index)
        if type(value) is _Error:
            raise value.exception
        return value

    def _collect(self, return_exceptions: bool) -> List[Any]:
        """The values of all parts. Raises a CompositeError, or puts errors in their places."""
        values = [self._part(index) for index in range(len(self._calls))]
        failed = [value.exception for value in values if type(value) is _Error]
        if not failed:
            return values
        if not return_exceptions:
            for exception in failed:
                if not isinstance(exception, error.RemoteError):
                    raise exception
            remote = [exception for exception in failed if isinstance(exception, error.RemoteError)]
            raise error.composite(remote, self._fname)
        return [value.exception if type(value) is _Error else value for value in values]

    def _join(self, values: List[Any]) -> Any:
        """The result from the values of all parts."""
        return values

    def get(
        self,
        timeout: Optional[float] = None,
        return_exceptions: Optional[bool] = None,
        return_when: Optional[str] = None,
    ) -> Any:
        """The result.

        Args:
            timeout: seconds; None or negative: no limit; 0: only look
            return_exceptions: put exceptions in the places of values instead of raising
            return_when: FIRST_EXCEPTION raises as soon as one part has failed

        Returns:
            One value for one engine or task, else a list in the order of the targets or the items.

        Raises:
            TimeoutError: not in the time given
            RemoteError: the code raised, or its engine was lost (EngineError)
            CompositeError: the same for several engines
            ConnectionLost: the controller went away
        """
        if return_when == FIRST_COMPLETED:
            import warnings

            warnings.warn("FIRST_COMPLETED has no meaning for get(); waiting for everything", stacklevel=2)
        elif return_when == FIRST_EXCEPTION:
            start = time.monotonic()
            self._wait_when(timeout, FIRST_EXCEPTION)
            for index, call in enumerate(self._calls):
                if call.status not in (_PENDING, _OK) and not return_exceptions:
                    self._value(index)
            if timeout is not None and timeout > 0:
                timeout = max(timeout - (time.monotonic() - start), 0)
        if not self._all_ended() and not self._client._raw.wait(self._calls, _limit(timeout)):
            raise TimeoutError(f"{self._fname} is not ready")
        keep = self._return_exceptions if return_exceptions is None else return_exceptions
        if self._single:
            value = self._part(0)
            if type(value) is not _Error:
                return value
            if keep:
                return value.exception
            try:
                raise value.exception.with_traceback(None)
            finally:
                del value, self  # the traceback leads to this frame: no cycle
        return self._join(self._collect(keep))

    @property
    def r(self) -> Any:
        """get(), as a property."""
        return self.get()

    def get_dict(self, timeout: Optional[float] = -1) -> Dict[int, Any]:
        """Results by engine.

        Args:
            timeout: seconds; None or negative: no limit

        Returns:
            {engine id: value}

        Raises:
            ValueError: one engine ran several parts
            TimeoutError, RemoteError: as get()
        """
        values = self.get(timeout)
        engines = [self._engine_id(call) for call in self._calls]
        if len(set(engines)) != len(engines):
            raise ValueError("one engine ran several parts of this; get_dict() needs one per engine")
        return dict(zip(engines, [values] if self._single else values))

    @property
    def result_dict(self) -> Dict[int, Any]:
        """get_dict(), as a property."""
        return self.get_dict()

    @staticmethod
    def _engine_id(call: _client.Call) -> Any:
        return call.result()[1]

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Any]:
        if self._single:
            raise TypeError("the result of one engine is a single value; it can't be iterated")
        return self._iterate()

    def _iterate(self) -> Iterator[Any]:
        for index, call in enumerate(self._calls):
            if call.status == _PENDING:
                self._client._raw.wait(call)
            yield self._value(index)

    def __getitem__(self, key: Union[int, slice, str]) -> Any:
        if isinstance(key, str):
            return self._metadata_item(key)
        if not self.ready():
            raise TimeoutError(f"{self._fname} is not ready")
        if isinstance(key, slice):
            return [self._value(index) for index in range(len(self._calls))[key]]
        try:
            place = range(len(self._calls))[key]
        except IndexError:
            raise IndexError(f"there is no part {key}: there are {len(self._calls)}") from None
        return self._value(place)

    # ---- what else is known ------------------------------------------------------------------------

    @property
    def msg_ids(self) -> List[str]:
        """The ids of the tasks."""
        return [msg_id(call) for call in self._calls]

    @property
    def metadata(self) -> Any:
        """Metadata of the task, or a list of it."""
        found = [metadata_of(self._client, call) for call in self._calls]
        return found[0] if self._single else found

    def _metadata_list(self) -> List[Metadata]:
        found = self.metadata
        rows: List[Metadata] = [found] if self._single else found
        return rows

    def _metadata_item(self, key: str) -> Any:
        if key not in KEYS:
            raise KeyError(key)
        found = [item[key] for item in self._metadata_list()]
        return found[0] if self._single else found

    def __getattr__(self, name: str) -> Any:
        if name not in KEYS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._metadata_item(name)

    @property
    def stdout(self) -> Any:
        """What the task wrote to stdout, or a list of that."""
        found = [call.output(_client.STREAM_STDOUT) for call in self._calls]
        return found[0] if self._single else found

    @property
    def stderr(self) -> Any:
        """What the task wrote to stderr, or a list of that."""
        found = [call.output(_client.STREAM_STDERR) for call in self._calls]
        return found[0] if self._single else found

    @property
    def data(self) -> Any:
        """What the task has published so far with publish_data(), or a list of that."""
        found = [load_data(call) for call in self._calls]
        return found[0] if self._single else found

    @property
    def progress(self) -> int:
        """How many items are finished."""
        return sum(self._weight(index) for index, call in enumerate(self._calls) if call.status != _PENDING)

    def _weight(self, index: int) -> int:
        """How many items one part stands for."""
        return 1

    @staticmethod
    def timedelta(
        start: When,
        end: When,
        start_key: Callable[[Any], datetime.datetime] = min,
        end_key: Callable[[Any], datetime.datetime] = max,
    ) -> float:
        """Seconds between two times.

        Args:
            start: a datetime, or a list of them
            end: a datetime, or a list of them
            start_key: which one of a list; default the earliest
            end_key: which one of a list; default the latest

        Returns:
            The difference in seconds.
        """
        first = start if isinstance(start, datetime.datetime) else start_key(start)
        last = end if isinstance(end, datetime.datetime) else end_key(end)
        return seconds_between(first, last)

    def _times(self, *names: str) -> List[Tuple[Any, ...]]:
        if not self.ready():
            raise TimeoutError(f"{self._fname} is not ready")
        rows = [tuple(item[name] for name in names) for item in self._metadata_list()]
        return [row for row in rows if None not in row]

    @property
    def serial_time(self) -> float:
        """Seconds that all tasks took together. TimeoutError when not ready."""
        return sum(seconds_between(start, end) for start, end in self._times("started", "completed"))

    @property
    def wall_time(self) -> float:
        """Seconds from the first submission to the last arrival. TimeoutError when not ready."""
        rows = self._times("submitted", "received")
        if not rows:
            return 0.0
        return seconds_between(min(row[0] for row in rows), max(row[1] for row in rows))

    @property
    def elapsed(self) -> float:
        """Seconds since the first submission; once it is ready, the same as wall_time."""
        if self.ready():
            return self.wall_time
        return time.time() - self._since

    @property
    def speedup(self) -> float:
        """serial_time / wall_time. TimeoutError when not ready."""
        wall = self.wall_time
        return self.serial_time / wall if wall else 0.0

    # ---- parts -------------------------------------------------------------------------------------

    def split(self) -> Tuple["AsyncResult", ...]:
        """One AsyncResult for each task."""
        if self._split is None:
            self._split = tuple(
                AsyncResult(self._client, (call,), True, self._fname) for call in self._calls
            )
        return self._split

    @classmethod
    def join(cls, *async_results: "AsyncResult") -> "AsyncResult":
        """The inverse of split().

        Args:
            *async_results: at least one, of one client

        Returns:
            One AsyncResult of a list.

        Raises:
            ValueError: there is none
        """
        if not async_results:
            raise ValueError("join() needs at least one AsyncResult")
        first = async_results[0]
        calls = tuple(call for part in async_results for call in part._calls)
        return AsyncResult(first._client, calls, False, first._fname)

    # ---- ending early ------------------------------------------------------------------------------

    def abort(self) -> None:
        """Take back what has not begun: it ends with TaskAborted. What runs goes on.

        Raises:
            RuntimeError: it is done already
        """
        if self.ready():
            raise RuntimeError("can't abort: it is done already")
        self._client._raw.abort(self._calls, 0)

    def cancel(self, interrupt: bool = False) -> bool:  # type: ignore[override]
        """Like abort(), as a Future has it.

        Args:
            interrupt: raise KeyboardInterrupt in what runs; an engine where that does not end the
                task within some seconds is ended

        Returns:
            Whether it has ended as cancelled; with `interrupt` whether it was not done before.
        """
        if self.ready():
            return self.cancelled()
        flags = _client.ABORT_INTERRUPT | _client.ABORT_KILL if interrupt else 0
        self._client._raw.abort(self._calls, flags)
        return interrupt or self.cancelled()

    def cancelled(self) -> bool:
        """Whether all of its tasks were aborted before they began."""
        return bool(self._calls) and all(_was_aborted(call) for call in self._calls)

    # ---- output ------------------------------------------------------------------------------------

    def stream_output(self) -> ContextManager[Any]:
        """A `with` block in which everything that the tasks write is printed as it arrives.

        It begins with what has come already; replies to executions that are not silent are shown
        when they come. Of a line that is not complete nothing is shown before the end of the task.
        """
        return Follower(self)

    def display_outputs(self, groupby: str = "type", result_only: bool = False) -> None:
        """Print what the tasks wrote and displayed, and the values of executions that are not
        silent. Of several engines each begins with a prefix like `[stdout:0]`.

        Args:
            groupby: 'type', 'engine' or 'order'
            result_only: only the values

        Raises:
            TimeoutError: it is not ready
            ValueError: unknown groupby
        """
        display_outputs(self, groupby, result_only)


class _Error:
    """Marks a part that failed: the value of a task may itself be an exception."""

    __slots__ = ("exception",)

    def __init__(self, exception: Exception) -> None:
        self.exception = exception


_NOT_LOADED = object()


class AsyncMapResult(AsyncResult):
    """The result of a map or a gather: its items, whatever the parts they were computed in.

    Iteration is possible at any time and yields items as their parts arrive: in the order of the
    input, or with `ordered=False` in the order of completion.

    Made by views.
    """

    ordered = True

    def __init__(
        self,
        client: "Client",
        calls: Tuple[_client.Call, ...],
        fname: str,
        weights: Optional[Sequence[int]] = None,
        mapping: Optional[Map] = None,
        ordered: bool = True,
        return_exceptions: bool = False,
    ) -> None:
        super().__init__(client, calls, False, fname)
        #: items per part; None: each part is one item
        self._weights = weights
        self._mapping = mapping
        self.ordered = ordered
        self._return_exceptions = return_exceptions

    def __len__(self) -> int:
        return len(self._calls) if self._weights is None else sum(self._weights)

    def _weight(self, index: int) -> int:
        return 1 if self._weights is None else self._weights[index]

    def _collect(self, return_exceptions: bool) -> List[Any]:
        if not return_exceptions or not self._has_failed():
            return super()._collect(return_exceptions)
        items: List[Any] = []  # flat: the items, and one exception for each failed part
        for index in range(len(self._calls)):
            value = self._part(index)
            items += [value.exception] if type(value) is _Error else self._items(value)
        return [items] if self._mapping is not None else items

    def _items(self, value: Any) -> List[Any]:
        return [value] if self._mapping is None else list(value)

    def _join(self, values: List[Any]) -> Any:
        return values if self._mapping is None else self._mapping.join(values)

    def _iterate(self) -> Iterator[Any]:
        order = range(len(self._calls)) if self.ordered else self._by_completion()
        for index in order:
            call = self._calls[index]
            if call.status == _PENDING:
                self._client._raw.wait(call)
            value = self._part(index)
            if type(value) is not _Error:
                yield from self._items(value)
            elif self._return_exceptions:
                yield value.exception
            else:
                raise value.exception

    def _by_completion(self) -> Iterator[int]:
        """Indexes of the parts as they end."""
        pending = list(range(len(self._calls)))
        while pending:
            ended = [index for index in pending if self._calls[index].status != _PENDING]
            if not ended:
                self._client._wait_until(lambda: any(self._calls[i].status != _PENDING for i in pending), None)
                continue
            yield from sorted(ended, key=lambda index: self._calls[index].result()[5])
            gone = set(ended)
            pending = [index for index in pending if index not in gone]


def __getattr__(name: str) -> Any:
    if name == "AsyncHubResult":  # where programs look for it; its module needs this one
        from .hubresult import AsyncHubResult

        return AsyncHubResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
