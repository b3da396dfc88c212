# SPDX-License-Identifier: BSD-3-Clause
"""What a client still knows of its tasks: finding their results again, and forgetting them.

The library has the results. An AsyncResult holds those that it is made of; what was dropped before
anybody looked at it stays in `Client.results`, up to the latest 10,000 results and 64 MiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Union

from .. import _client
from ..dependency import numbers_of
from .asyncresult import AsyncResult, result_value
from .metadata import Metadata, load_error, metadata_of, msg_id
from .tasks import Job, Tasks, as_list, at

if TYPE_CHECKING:
    from .client import Client

_PENDING = _client.STATUS_PENDING
_NAMES: Dict[Optional[int], str] = {
    _client.KIND_APPLY: "apply",
    _client.KIND_EXECUTE: "execute",
    _client.KIND_PUSH: "push",
    _client.KIND_PULL: "pull",
    _client.KIND_CLEAR: "clear",
}


class Results(Mapping[str, Any]):
    """The results that no AsyncResult owns, by msg_id; of a task that failed, the exception.

    Made by the client.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client

    def __getitem__(self, key: str) -> Any:
        call = self._client._known(key, only_kept=True)
        if call is None:
            raise KeyError(key)
        call.pin()
        if call.status != _client.STATUS_OK:
            return load_error(call)
        return result_value(self._client, call)

    def __iter__(self) -> Iterator[str]:
        return iter([msg_id(call) for call in self._client._raw.kept()])

    def __len__(self) -> int:
        return len(self._client._raw.kept())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._client._known(key, only_kept=True) is not None

    def __repr__(self) -> str:
        return f"<results of {len(self)} tasks>"


class MetadataMap(Mapping[str, Metadata]):
    """Metadata of tasks by msg_id.

    It iterates over those that are pending or in Client.results; indexing also finds what an
    AsyncResult holds, and, by asking the hub, whatever that remembers. Made by the client.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client

    def __getitem__(self, key: str) -> Metadata:
        call = self._client._known(key, only_kept=True) or self._client._known(key)
        if call is None:
            return self._client._fetch_metadata(key)
        return metadata_of(self._client, call)

    def __iter__(self) -> Iterator[str]:
        raw = self._client._raw
        return iter([msg_id(call) for call in raw.kept() + raw.outstanding()])

    def __len__(self) -> int:
        return len(self._client._raw.kept()) + self._client._raw.pending


class Memory(Tasks):
    """The part of a Client that finds results again."""

    @property
    def results(self) -> Results:
        """What has come and no AsyncResult owns: msg_id to result. Bounded; see Results."""
        return Results(self)  # type: ignore[arg-type]

    @property
    def metadata(self) -> MetadataMap:
        """msg_id to Metadata, for the tasks that this client still knows."""
        return MetadataMap(self)  # type: ignore[arg-type]

    def _known(self, name: str, only_kept: bool = False) -> Optional[_client.Call]:
        """The call with this msg_id, if this client still knows it."""
        try:
            session, number = numbers_of(name)
        except ValueError:
            return None
        return self._raw.find(number, only_kept) if session == int(self.session, 16) else None

    def _names_of(self, jobs: Iterable[Any], history: Optional[Callable[[], List[str]]] = None) -> List[str]:
        names: List[str] = []
        for job in jobs:
            if isinstance(job, str):
                names.append(job)
            elif isinstance(job, int) and not isinstance(job, bool):
                names.append(at((history or self._log_ids)(), job))
            elif isinstance(job, AsyncResult):
                names += job.msg_ids
            else:
                raise TypeError(f"a task is named by msg_id, index in history or AsyncResult, not {job!r}")
        return names

    def get_result(
        self,
        indices_or_msg_ids: Union[Job, Sequence[Job]] = -1,
        block: Optional[bool] = None,
        owner: bool = True,
    ) -> AsyncResult:
        """An AsyncResult for tasks that were submitted before.

        Args:
            indices_or_msg_ids: msg_id, index in `history` or AsyncResult; several of them give an
                AsyncResult whose value is a list
            block: wait for it; default `self.block`
            owner: the new object takes the result out of `results`; else it stays there

        Returns:
            AsyncResult: of one value for one task, else of a list.

        Raises:
            IndexError: there is no such index in `history`
            TypeError: something names no task
            KeyError: neither this client nor the controller knows the task
        """
        is_one = isinstance(indices_or_msg_ids, (int, str))
        names = self._names_of(as_list(indices_or_msg_ids))
        calls = [self._known(name, only_kept=not owner) or self._known(name) for name in names]
        found = tuple(call for call in calls if call is not None)
        if len(found) == len(names):
            kind = found[0].kind if found else None
            result = AsyncResult(self, found, is_one, _NAMES.get(kind, "task"))  # type: ignore[arg-type]
        else:
            result = self._fetch_result(names, is_one)
        result.owner = owner
        for call in found if not owner else ():
            call.pin()
        if self.block if block is None else block:
            result.wait()
        return result

    def _fetch_result(self, names: List[str], is_one: bool) -> AsyncResult:
        """get_result() for tasks that this client does not know."""
        unknown = [name for name in names if self._known(name) is None]
        raise KeyError(f"no such task: {unknown[0]}")

    def _fetch_metadata(self, name: str) -> Metadata:
        """Metadata of a task that this client does not know (any more)."""
        raise KeyError(name)

    # ---- forgetting ----------------------------------------------------------------------------------

    def purge_local_results(
        self, jobs: Union[str, Job, Sequence[Job]] = (), targets: Any = ()
    ) -> None:
        """Forget results that are here. An AsyncResult keeps what it has.

        Args:
            jobs: 'all', or msg_ids, indices in `history`, AsyncResults
            targets: forget what these engines computed; 'all', an id or several

        Raises:
            ValueError: neither is given
            RuntimeError: a task has not ended
        """
        if isinstance(jobs, (list, tuple)) and not jobs and isinstance(targets, (list, tuple)) and not targets:
            raise ValueError("purge_local_results() needs jobs or targets")
        if "all" in (jobs, targets) and self._raw.pending:
            raise RuntimeError(f"{self._raw.pending} tasks have not ended; wait for them or abort them first")
        if "all" in (jobs, targets):
            chosen: List[_client.Call] = list(self._raw.kept())
        else:
            chosen = self._calls_to_forget(self._names_of(as_list(jobs)))
            engines = {targets} if isinstance(targets, int) else set(targets)
            chosen += [call for call in self._raw.kept() if call.result()[1] in engines]
        for call in chosen:
            call.forget()

    def _calls_to_forget(self, names: List[str]) -> List[_client.Call]:
        calls = [call for call in map(self._known, names) if call is not None]
        for call in calls:
            if call.status == _PENDING:
                raise RuntimeError(f"{msg_id(call)} has not ended; wait for it or abort it first")
        return calls

    def _clear_log(self) -> None:
        """Forget the history."""
        self._log.clear()


__all__ = ["Memory", "MetadataMap", "Results"]
