# SPDX-License-Identifier: BSD-3-Clause
"""Results of tasks that the hub remembers, whoever submitted them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple

from .. import _client
from ..error import RemoteError, ResultNotKept
from .asyncresult import AsyncResult, load_value
from .executereply import ExecuteReply
from .metadata import KEYS, Metadata, metadata_of, msg_id

if TYPE_CHECKING:
    from .client import Client


def _known_fields(row: Mapping[str, Any]) -> Dict[str, Any]:
    """What a record of the hub says, under the keys of Metadata."""
    known = {key: row[key] for key in KEYS & row.keys() if row[key] is not None}
    if "error" in known:
        ename, _, evalue = known["error"].partition(": ")
        known["error"] = RemoteError(ename, evalue, "", {"engine_id": row.get("engine_id"), "method": row.get("kind")})
    return known


def metadata_of_record(row: Mapping[str, Any]) -> Metadata:
    """Metadata of a task that only the hub knows.

    Args:
        row: the hub's record

    Returns:
        Metadata: without what the task has displayed and published, and without the traceback of its error.
    """
    return Metadata(_known_fields(row))


class AsyncHubResult(AsyncResult):
    """The result of tasks of any client. Made by Client.get_result() and Client.resubmit().

    Nothing is polled: the hub sends output as it comes, and the result once it is there. Of what the task
    has written to stdout, to stderr, and displayed, the hub keeps the first and the last MiB each.
    """

    _rows: Optional[Dict[str, Mapping[str, Any]]] = None

    def __init__(self, client: "Client", calls: Tuple[_client.Call, ...], single: bool, fname: str) -> None:
        super().__init__(client, calls, single, fname)

    def _records(self) -> Mapping[str, Mapping[str, Any]]:
        """The hub's records by msg_id; asked for once when everything has ended."""
        if self._rows is not None:
            return self._rows
        is_final = self._all_ended()
        found = self._client._find({"msg_id": {"$in": self.msg_ids}})
        rows: Dict[str, Mapping[str, Any]] = {row["msg_id"]: row for row in found}
        if is_final:
            self._rows = rows
        return rows

    def _load(self, index: int) -> Any:
        call = self._calls[index]
        value = load_value(call)
        row = self._records().get(msg_id(call), {})
        if row.get("kind") != "execute" or row.get("run_flags", 0) & (_client.RUN_SILENT | _client.RUN_PLAIN):
            return value
        return ExecuteReply(value or {}, self._metadata_of(call))

    def _metadata_of(self, call: _client.Call) -> Metadata:
        found = metadata_of(self._client, call)
        known = _known_fields(self._records().get(found["msg_id"], {}))
        if "error" in known and not isinstance(found.error, ResultNotKept):
            known["error"] = found.error or known["error"]  # with its traceback
        elif known.get("status") == "ok":
            found["error"] = None  # what the hub has not kept is no error of the task
        found.update(known)
        return found

    @property
    def metadata(self) -> Any:
        """Metadata of the task, or a list of it; also of a task that still runs."""
        found: List[Metadata] = [self._metadata_of(call) for call in self._calls]
        return found[0] if self._single else found
