# SPDX-License-Identifier: BSD-3-Clause
"""What the hub remembers of tasks, of all clients: finding them, their results, forgetting them."""

from __future__ import annotations

import datetime
import struct
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Set, Tuple, Union

from .. import _client, error
from ..dependency import numbers_of
from ..util import from_microseconds, utc
from .asyncresult import AsyncResult
from .engines import Targets
from .hubresult import AsyncHubResult, metadata_of_record
from .memory import Memory
from .metadata import Metadata
from .questions import Questions
from .tasks import Job, as_list

Record = Dict[str, Any]
Ids = Union[str, Job, Sequence[Job]]

_TIMES = ("submitted", "started", "completed", "received")
#: Keys of a record that are made from others here.
_MADE: Mapping[str, Sequence[str]] = {
    "header": ("msg_id", "kind", "client_uuid", "submitted"),
    "metadata": ("label", "after", "follow"),
    "content": ("execute_input",),
    "result_header": ("kind", "status", "completed", "engine_uuid"),
    "result_metadata": ("engine_id", "engine_uuid", "started"),
    "result_content": ("status", "error"),
    "execute_result": ("kind", "state", "run_flags"),
}
#: Keys whose values are fetched only when they are asked for.
_BUFFERS = {"buffers": _client.FETCH_REQUEST, "result_buffers": _client.FETCH_RESULT}
_SOME = 5_000  # ids in one question
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=utc)
_MICROSECOND = datetime.timedelta(microseconds=1)


def _plain(value: Any) -> Any:
    """A value of a query as the hub compares it: times as microseconds since 1970."""
    if isinstance(value, datetime.datetime):
        aware = value if value.tzinfo is not None else value.astimezone()
        return (aware - _EPOCH) // _MICROSECOND
    if isinstance(value, AsyncResult):
        return value.msg_ids[0]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value


def _made(key: str, row: Record) -> Any:
    """The value of a key that is made from others."""
    ended = row.get("status") is not None
    if key == "header":
        return {
            "msg_id": row["msg_id"],
            "msg_type": f"{row['kind']}_request",
            "session": row["client_uuid"],
            "date": row["submitted"],
        }
    if key == "metadata":
        return {name: row[name] for name in ("label", "after", "follow")}
    if key == "content":
        return {} if row["execute_input"] is None else {"code": row["execute_input"]}
    if not ended:
        return None
    if key == "result_header":
        return {"msg_type": f"{row['kind']}_reply", "date": row["completed"], "engine": row["engine_uuid"]}
    if key == "result_metadata":
        return {name: row[name] for name in ("engine_id", "engine_uuid", "started", "status")}
    ename, _, evalue = (row["error"] or "").partition(": ")
    failure = {} if row["status"] == "ok" else {"ename": ename, "evalue": evalue}
    return {"status": row["status"], **failure}


class HubQueries(Memory, Questions):
    """The part of a Client that asks for tasks of all clients."""

    # ---- finding ---------------------------------------------------------------------------------------

    def _find(self, query: Mapping[str, Any], keys: Optional[Iterable[str]] = None) -> Iterator[Record]:
        """The hub's records that match, page by page, in the order of submission."""
        question: Dict[str, Any] = {"query": "find", "filter": _plain(query)}
        if keys is not None:
            question["keys"] = list(keys)
        while True:
            page = self._ask(question)
            for row in page["rows"]:
                for name in _TIMES:
                    if row.get(name) is not None:
                        row[name] = from_microseconds(row[name])
                yield row
            if page["next"] is None:
                return
            question["after"] = page["next"]

    def _find_ids(self, names: Sequence[str], wanted: Optional[List[str]]) -> Dict[str, Record]:
        """Records by msg_id. NoSuchTask (a KeyError) when the hub does not know one."""
        found = {}
        for start in range(0, len(names), _SOME):
            query = {"msg_id": {"$in": names[start : start + _SOME]}}
            found.update({row["msg_id"]: row for row in self._find(query, wanted)})
        for name in names:
            if name not in found:
                raise error.NoSuchTask(f"no such task: {name}; neither this client nor the hub knows it")
        return found

    def _queue_lists(self, chosen: Union[int, Tuple[int, ...]]) -> Dict[Any, Any]:
        """What queue_status() tells, with msg_ids instead of numbers."""
        places = {"waiting": "queue", "running": "tasks", "done": "completed", "failed": "completed"}
        wanted = (chosen,) if isinstance(chosen, int) else chosen
        lists: Dict[Any, Any] = {number: {"queue": [], "completed": [], "tasks": []} for number in wanted}
        lists["unassigned"] = []
        for row in self._find({}, ["msg_id", "engine_id", "state"]):
            if row["engine_id"] in lists:
                lists[row["engine_id"]][places[row["state"]]].append(row["msg_id"])
            elif row["engine_id"] is None and row["state"] == "waiting":
                lists["unassigned"].append(row["msg_id"])
        return lists[chosen] if isinstance(chosen, int) else lists

    def hub_history(self) -> List[str]:
        """The msg_ids of all tasks that the hub remembers, of all clients, in the order of submission."""
        return [row["msg_id"] for row in self._find({}, ["msg_id"])]

    def db_query(self, query: Mapping[str, Any], keys: Union[None, str, Iterable[str]] = None) -> List[Record]:
        """The records of tasks that match.

        Args:
            query: {key: value or {operator: value, ...}, ...}; all must hold. Operators: $eq, $ne,
                $lt, $gt, $lte, $gte, $in, $nin, $all, $mod ([divisor, remainder]), $exists, and
                $glob (*, ?, [...] on text). Times are compared with datetimes.
            keys: those wanted of each record; msg_id is always there. Default: all but `buffers`
                and `result_buffers`

        Returns:
            Dicts with msg_id, client_uuid, engine_id, engine_uuid, queue ('mux' or 'task'), kind,
            label, state ('waiting', 'running', 'done', 'failed'), status (None, 'ok', 'error'),
            submitted, started, completed, received, resubmitted, request_bytes, result_bytes,
            after, follow, error, execute_input, stdout, stderr, and what is made from these:
            header, metadata, content, result_header, result_metadata, result_content,
            execute_result, buffers, result_buffers.

        Raises:
            ControllerError: unknown keys or operators
        """
        if keys is None:
            wanted: Optional[List[str]] = None
            names: Set[str] = set(_MADE) - {"execute_result"}
        else:
            names = {keys} if isinstance(keys, str) else set(keys)
            plain = (names | {"msg_id"}) - set(_MADE) - set(_BUFFERS)
            wanted = sorted(plain.union(*(_MADE[name] for name in names & set(_MADE)), {"status"}))
        rows = list(self._find(query, wanted))
        for name in names & set(_MADE):
            for row in rows:
                row[name] = self._execute_result(row) if name == "execute_result" else _made(name, row)
        for name in names & set(_BUFFERS):
            self._add_buffers(rows, name)
        if keys is not None:
            names.add("msg_id")
            rows = [{key: row[key] for key in row if key in names} for row in rows]
        return rows

    def _execute_result(self, row: Record) -> Any:
        has_no_reply = row["run_flags"] & (_client.RUN_SILENT | _client.RUN_PLAIN)
        if row["kind"] != "execute" or row["state"] != "done" or has_no_reply:
            return None
        return self._fetch([row["msg_id"]], True).get().data

    def _add_buffers(self, rows: List[Record], name: str) -> None:
        """Puts the parts of requests or results in; None where they are not kept, or not there yet."""
        ended = [row for row in rows if name == "buffers" or row["status"] is not None]
        calls = self._raw.fetch(_BUFFERS[name], _packed([row["msg_id"] for row in ended]))
        self._raw.wait(calls, None)
        for row in rows:
            row[name] = None
        for row, call in zip(ended, calls):
            if call.status == _client.STATUS_OK:
                row[name] = [bytes(part) for part in call.parts()]

    # ---- results ---------------------------------------------------------------------------------------

    def _fetch(self, names: List[str], is_one: bool) -> AsyncHubResult:
        calls = self._raw.fetch(_client.FETCH_RESULT, _packed(names))
        return AsyncHubResult(self, calls, is_one, "task")  # type: ignore[arg-type]

    def _fetch_result(self, names: List[str], is_one: bool) -> AsyncResult:
        self._find_ids(names, ["msg_id"])
        return self._fetch(names, is_one)

    def _fetch_metadata(self, name: str) -> Metadata:
        try:
            return metadata_of_record(self._find_ids([name], None)[name])
        except error.NoSuchTask:
            raise KeyError(name) from None

    def result_status(self, msg_ids: Ids, status_only: bool = True) -> Dict[str, Any]:
        """Which tasks have ended, of any client.

        Args:
            msg_ids: msg_id, index in `history`, AsyncResult, or several of them
            status_only: don't get the results

        Returns:
            {'pending': [msg_ids], 'completed': [msg_ids]}; without `status_only` also the result of
            each completed one under its msg_id

        Raises:
            NoSuchTask: the hub does not know one (a KeyError)
            RemoteError: without `status_only`, when a task has failed
        """
        names = self._names_of(as_list(msg_ids))
        rows = self._find_ids(names, ["msg_id", "status"])
        answer: Dict[str, Any] = {
            "pending": [name for name in names if rows[name]["status"] is None],
            "completed": [name for name in names if rows[name]["status"] is not None],
        }
        if not status_only and answer["completed"]:
            answer.update(zip(answer["completed"], self._fetch(answer["completed"], False).get()))
        return answer

    def resubmit(
        self,
        indices_or_msg_ids: Ids = -1,
        metadata: Optional[Mapping[str, Any]] = None,
        block: Optional[bool] = None,
    ) -> AsyncHubResult:
        """Run tasks again, of any client, each as a new task of this client with a new msg_id.

        What they came after or followed is not asked for again.

        Args:
            indices_or_msg_ids: msg_id, index in `history`, AsyncResult; several of them give a result
                whose value is a list
            metadata: accepted and ignored
            block: wait for the results; default `self.block`

        Returns:
            AsyncHubResult: of one value for one task, else of a list.

        Raises:
            NoSuchTask: the hub does not know one (a KeyError)
        """
        names = self._names_of(as_list(indices_or_msg_ids))
        self._find_ids(names, ["msg_id"])
        calls = self._raw.fetch(_client.FETCH_AGAIN, _packed(names))
        for call in calls:
            self._note(call.sequence, 1, 0)
        is_one = isinstance(indices_or_msg_ids, (int, str))
        result = AsyncHubResult(self, calls, is_one, "resubmit")  # type: ignore[arg-type]
        if self.block if block is None else block:
            result.wait()
        return result

    # ---- forgetting --------------------------------------------------------------------------------------

    def purge_hub_results(self, jobs: Ids = (), targets: Targets = ()) -> int:
        """Make the hub forget tasks that have ended.

        Args:
            jobs: 'all', or msg_ids, indices in `history`, AsyncResults
            targets: what ran on these engines; 'all', an id or several

        Returns:
            How many.

        Raises:
            ValueError: neither is given
            ControllerError: one of the jobs is pending, or not known
        """
        question: Dict[str, Any] = {"query": "purge"}
        if _is_all(jobs) or _is_all(targets):
            question["all"] = True
        else:
            question["tasks"] = self._names_of(as_list(jobs))
            engines: Any = (targets,) if isinstance(targets, int) else targets or ()
            question["engines"] = list(engines)
            if not question["tasks"] and not question["engines"]:
                raise ValueError("purge_hub_results() needs jobs or targets")
        count = 0
        while True:
            page = self._ask(question)
            count += page["purged"]
            if page["next"] is None:
                return count
            question.pop("tasks", None)
            question["after"] = page["next"]

    def purge_results(self, jobs: Ids = (), targets: Targets = ()) -> None:
        """purge_local_results() and purge_hub_results().

        Args:
            jobs: msg_id, AsyncResult, several of them, or 'all'
            targets: engine id(s), whose results are forgotten; or 'all'
        """
        self.purge_local_results(jobs, targets)
        self.purge_hub_results(jobs, targets)

    def purge_everything(self) -> None:
        """Forget all results, here and in the hub, and the history."""
        self.purge_results("all")
        self._clear_log()


def _is_all(value: Any) -> bool:
    return isinstance(value, str) and value == "all"


def _packed(names: Iterable[str]) -> bytes:
    return b"".join(struct.pack("=QQ", *numbers_of(name)) for name in names)
