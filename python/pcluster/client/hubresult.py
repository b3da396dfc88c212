# SPDX-License-Identifier: BSD-3-Clause
"""Results of tasks that the hub remembers, whoever submitted them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple

from .. import _client
from .asyncresult import AsyncResult, load_value
from .executereply import ExecuteReply
from .metadata import KEYS, Metadata, metadata_of, msg_id

if TYPE_CHECKING:
    from .client import Client


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
        row = self._records().get(found["msg_id"], {})
        found.update({key: row[key] for key in KEYS & row.keys() if row[key] is not None})
        return found

    @property
    def metadata(self) -> Any:
        """Metadata of the task, or a list of it; also of a task that still runs."""
        found: List[Metadata] = [self._metadata_of(call) for call in self._calls]
        return found[0] if self._single else found
