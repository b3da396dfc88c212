# SPDX-License-Identifier: BSD-3-Clause
"""What a client has sent: remembering it, waiting for it, ending it early."""

from __future__ import annotations

import collections
import time
from concurrent.futures import Future
from typing import Any, Callable, Deque, Iterable, List, Optional, Set, Union

from .. import _client
from .asyncresult import AsyncResult
from .engines import Engines, Targets
from .metadata import msg_id

Job = Union[int, str, "Future[Any]"]

#: Stretches of consecutive task numbers that a client remembers.
_LOG_MAX = 10_000


class Tasks(Engines):
    """The part of a Client that follows its tasks."""

    def __init__(self, raw: _client.Client) -> None:
        super().__init__(raw)
        self._log: Deque[List[int]] = collections.deque(maxlen=_LOG_MAX)

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

    def _wait_for(self, jobs: List[Job], limit: Optional[float], history: Callable[[], List[str]]) -> bool:
        end = None if limit is None else time.monotonic() + limit
        names = {job if isinstance(job, str) else history()[job] for job in jobs if isinstance(job, (int, str))}
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
    ) -> None:
        """Take back tasks that have not begun: they end with TaskAborted. Those that run go on.

        Args:
            jobs: AsyncResult, msg_id, index in `history`, or several of them; None: everything
                outstanding of this client
            targets: accepted; tasks are found wherever they are
            block: accepted; the request has been taken when this returns
        """
        if jobs is None:
            self._raw.abort(self._raw.outstanding(), 0)
        else:
            self._abort_jobs(as_list(jobs), self._log_ids)

    def _abort_jobs(self, jobs: List[Job], history: Callable[[], List[str]]) -> None:
        calls = [call for job in jobs if isinstance(job, AsyncResult) for call in job._calls]
        names = {job if isinstance(job, str) else history()[job] for job in jobs if isinstance(job, (int, str))}
        for job in jobs:
            if not isinstance(job, (AsyncResult, int, str)):
                raise TypeError(f"can't abort {job!r}")
        if names:
            calls += [call for call in self._raw.outstanding() if msg_id(call) in names]
        self._raw.abort(tuple(calls), 0)

    def interrupt(self, targets: Targets = "all") -> None:
        """Raise KeyboardInterrupt in what runs now on engines, whoever sent it. What waits there
        goes on.

        Args:
            targets: which engines
        """
        chosen = self._choose(targets)
        for number in (chosen,) if isinstance(chosen, int) else chosen:
            self._raw.interrupt(number)


def as_list(jobs: Any) -> List[Any]:
    """One job or several, as a list."""
    if isinstance(jobs, (int, str, Future)):
        return [jobs]
    return list(jobs)
