# SPDX-License-Identifier: BSD-3-Clause
"""What a client has sent: remembering it, waiting for it, ending it early."""

from __future__ import annotations

import collections
import time
from concurrent.futures import Future
from typing import Any, Callable, Deque, Dict, Iterable, List, Optional, Sequence, Set, Union

from .. import _client
from ..dependency import numbers_of
from .asyncresult import AsyncResult
from .engines import Engines, Targets
from .metadata import msg_id
from .progress import Progress

Job = Union[int, str, "Future[Any]"]

#: Names of tasks in one query.
_NAMES_MAX = 10_000
#: Stretches of consecutive task numbers that a client remembers.
_LOG_MAX = 10_000


class Tasks(Engines):
    """The part of a Client that follows its tasks. Made as a part of a Client."""

    def __init__(self, raw: _client.Client) -> None:
        super().__init__(raw)
        self._log: Deque[List[int]] = collections.deque(maxlen=_LOG_MAX)
        self._raises_when_full = False

    # ---- history -------------------------------------------------------------------------------------

    def _note(self, first: int, count: int, view: int) -> None:
        """Remember that tasks `first`, `first` + 1 ... were sent by a view."""
        log = self._log
        if log:
            last = log[-1]
            if last[1] == first and last[2] == view:
                last[1] = first + count
                return
        log.append([first, first + count, view])

    def _log_ids(self, view: Optional[int] = None) -> List[str]:
        session = f"{int(self.session, 16):016x}"
        return [
            f"{session}_{number}"
            for first, end, owner in list(self._log)
            if view is None or view == owner
            for number in range(first, end)
        ]

    @property
    def history(self) -> List[str]:
        """The msg_ids of this client's tasks, in the order of submission. What was sent very long
        ago is forgotten."""
        return self._log_ids()

    @property
    def outstanding(self) -> Set[str]:
        """The msg_ids of the tasks that have not ended."""
        return {msg_id(call) for call in self._raw.outstanding()}

    # ---- how much may be under way -------------------------------------------------------------------

    @property
    def limits(self) -> Dict[str, int]:
        """What this client has under way (`tasks`, and `bytes` of what they were sent with), and how
        much it may (`max_tasks`, `max_bytes`: see `pcluster sched`)."""
        return dict(zip(("tasks", "bytes", "max_tasks", "max_bytes"), self._raw.window))

    @property
    def when_full(self) -> str:
        """What a call does while this client has as much under way as it may: 'block', the default,
        waits for results to come; 'raise' raises QueueFull. A map() that is refused in the middle has
        sent what came before. A view may have a flag of this name, which goes first."""
        return "raise" if self._raises_when_full else "block"

    @when_full.setter
    def when_full(self, value: str) -> None:
        self._raises_when_full = raises_for(value)

    # ---- waiting -------------------------------------------------------------------------------------

    def wait(self, jobs: Union[None, Job, Iterable[Job]] = None, timeout: Optional[float] = -1) -> bool:
        """Wait for results.

        Args:
            jobs: AsyncResult, any Future, msg_id, index in `history`, or several of them; None:
                everything outstanding
            timeout: seconds; None or negative: no limit

        Returns:
            True when all are there, False after the time.
        """
        limit = None if timeout is None or timeout < 0 else timeout
        if jobs is None:
            return self._raw.wait(self._raw.outstanding(), limit)
        return self._wait_for(as_list(jobs), limit, self._log_ids)

    def wait_interactive(
        self,
        jobs: Union[None, Job, Iterable[Job]] = None,
        interval: float = 1.0,
        timeout: Optional[float] = -1.0,
    ) -> bool:
        """wait(), and show how many are done.

        Args:
            jobs: as for wait()
            interval: seconds between two looks
            timeout: seconds; None or negative: no limit

        Returns:
            True when all are done, False after the time.
        """
        pending: List[Any] = as_list(jobs) if jobs is not None else sorted(self.outstanding)
        end = None if timeout is None or timeout < 0 else time.monotonic() + timeout
        total = len(pending)
        with Progress("tasks", total, "task") as progress:
            while True:
                pending = [job for job in pending if not self.wait(job, 0)]
                progress.show(total - len(pending))
                left = interval if end is None else min(interval, end - time.monotonic())
                if not pending or left <= 0:
                    return not pending
                self.wait(pending, left)

    def _wait_for(self, jobs: List[Job], limit: Optional[float], history: Callable[[], List[str]]) -> bool:
        end = None if limit is None else time.monotonic() + limit
        names = {job if isinstance(job, str) else at(history(), job) for job in jobs if isinstance(job, (int, str))}
        pending = [call for call in self._raw.outstanding() if msg_id(call) in names] if names else []
        unknown = names - {msg_id(call) for call in pending}
        if unknown:
            unknown.difference_update(self._log_ids())
        if unknown:
            raise KeyError(f"no such task: {unknown.pop()}")
        if not self._raw.wait(tuple(pending), limit):
            return False
        for job in jobs:
            left = None if end is None else max(end - time.monotonic(), 0)
            if isinstance(job, AsyncResult):
                if not job.wait(left):
                    return False
            elif isinstance(job, Future):
                try:
                    job.exception(left)
                except TimeoutError:
                    return False
            elif not isinstance(job, (int, str)):
                raise TypeError(f"can't wait for {job!r}")
        return True

    # ---- ending early --------------------------------------------------------------------------------

    def abort(
        self,
        jobs: Union[None, Job, Iterable[Job]] = None,
        targets: Targets = None,
        block: Optional[bool] = None,
        *,
        label: Optional[str] = None,
        anybody: bool = False,
    ) -> None:
        """Take back tasks that have not begun: they end with TaskAborted. Those that run go on.

        Args:
            jobs: AsyncResult, msg_id (also of another client), index in `history`, or several of
                them; None: everything outstanding of this client
            targets: accepted; tasks are found wherever they are
            block: accepted; the request has been taken when this returns
            label: instead of `jobs`: the tasks with this label
            anybody: with `label`: those of all clients

        Raises:
            TypeError: something is no job, or both `jobs` and `label` are given
            ValueError: a str is no msg_id
        """
        self._end_early(jobs, self._log_ids, label, anybody, False)

    def cancel(
        self,
        jobs: Union[None, Job, Iterable[Job]] = None,
        *,
        label: Optional[str] = None,
        anybody: bool = False,
        interrupt: bool = False,
    ) -> None:
        """Like abort(), and with `interrupt` also raise KeyboardInterrupt in those that run.

        Args:
            jobs: as for abort()
            label: as for abort()
            anybody: as for abort()
            interrupt: an engine where that does not end the task within some seconds is ended
        """
        self._end_early(jobs, self._log_ids, label, anybody, interrupt)

    def _end_early(
        self,
        jobs: Union[None, Job, Iterable[Job]],
        history: Callable[[], List[str]],
        label: Optional[str],
        anybody: bool,
        interrupt: bool,
    ) -> None:
        flags = _client.ABORT_INTERRUPT | _client.ABORT_KILL if interrupt else 0
        if label is not None:
            if jobs is not None:
                raise TypeError("either jobs or a label, not both")
            self._ask({"query": "abort", "label": label, "anybody": anybody, "interrupt": interrupt})
            return
        if jobs is None:
            self._raw.abort(self._raw.outstanding(), flags)
            return
        listed = as_list(jobs)
        calls = [call for job in listed if isinstance(job, AsyncResult) for call in job._calls]
        names = {job if isinstance(job, str) else at(history(), job) for job in listed if isinstance(job, (int, str))}
        for job in listed:
            if not isinstance(job, (AsyncResult, int, str)):
                raise TypeError(f"can't abort {job!r}")
        own = int(self.session, 16)
        others = sorted(name for name in names if numbers_of(name)[0] != own)
        if names:
            calls += [call for call in self._raw.outstanding() if msg_id(call) in names]
        if calls:
            self._raw.abort(tuple(calls), flags)
        for start in range(0, len(others), _NAMES_MAX):
            some = others[start : start + _NAMES_MAX]
            self._ask({"query": "abort", "tasks": some, "interrupt": interrupt})

    def interrupt(self, targets: Targets = "all") -> None:
        """Raise KeyboardInterrupt in what runs now on engines, whoever sent it. What waits there
        goes on.

        Args:
            targets: which engines
        """
        chosen = self._choose(targets)
        for number in (chosen,) if isinstance(chosen, int) else chosen:
            self._raw.interrupt(number)


def raises_for(when_full: str) -> bool:
    """Whether a call raises when there is no room for it.

    Args:
        when_full: 'block' or 'raise'

    Returns:
        False for 'block', True for 'raise'.

    Raises:
        ValueError: it is neither
    """
    if when_full not in ("block", "raise"):
        raise ValueError(f"when_full is 'block' or 'raise', not {when_full!r}")
    return when_full == "raise"


def as_list(jobs: Any) -> List[Any]:
    """One job or several, as a list.

    Args:
        jobs: one, or an iterable of them

    Returns:
        A list. What is neither is in it, for those who say what is wrong with it.
    """
    if isinstance(jobs, Iterable) and not isinstance(jobs, (str, Future)):
        return list(jobs)
    return [jobs]


def at(history: Sequence[str], index: int) -> str:
    """The msg_id with this index.

    Args:
        history: msg_ids
        index: from 0, or from the end when it is negative

    Returns:
        The msg_id.

    Raises:
        IndexError: there is none
    """
    try:
        return history[index]
    except IndexError:
        raise IndexError(f"there is no task {index}: the history has {len(history)} tasks") from None
