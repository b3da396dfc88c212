# SPDX-License-Identifier: BSD-3-Clause
"""What a client can ask the hub."""

from __future__ import annotations

from typing import Any, Dict, Tuple, Union

from .engines import Engines, Targets


class QueueStatus(Dict[Any, Any]):
    """What queue_status() says of engines: a dict, that knows also how much the client may have under way.

    Args:
        rows: of engines, and 'unassigned'
        limits: Client.limits

    Attributes:
        limits: `tasks` and `bytes` of this client that have not ended, `max_tasks` and `max_bytes`
    """

    def __init__(self, rows: Dict[Any, Any], limits: Dict[str, int]) -> None:
        super().__init__(rows)
        self.limits = limits


class Questions(Engines):
    """The part of a Client that asks the hub."""

    @property
    def limits(self) -> Dict[str, int]:
        """See Tasks."""
        raise AssertionError("a Client is a Tasks, too")

    def _queue_lists(self, chosen: Union[int, Tuple[int, ...]]) -> Dict[Any, Any]:
        """queue_status() with msg_ids: see HubQueries."""
        raise AssertionError("a Client is a HubQueries, too")

    def status(self) -> Dict[str, Any]:
        """What the hub knows about the cluster: its processes, engines and tasks, as a dict."""
        return self._ask({"query": "status"})

    def queue_status(self, targets: Targets = "all", verbose: bool = False) -> Dict[Any, Any]:
        """How much is waiting.

        Args:
            targets: which engines
            verbose: lists of msg_ids instead of numbers

        Returns:
            {engine id: {'queue': tasks waiting, 'completed': tasks ended, 'tasks': tasks running},
            ..., 'unassigned': tasks without an engine}, whose attribute `limits` is Client.limits; for
            an int the inner dict only.

        Raises:
            IndexError: the engine is gone
        """
        chosen = self._choose(targets)
        if verbose:
            lists = self._queue_lists(chosen)
            return lists if isinstance(chosen, int) else QueueStatus(lists, self.limits)
        status = self.status()
        rows = {
            row["id"]: {
                "queue": row["queue"],
                "completed": row["tasks_done"] + row["tasks_failed"],
                "tasks": int(row["state"] == "busy"),
            }
            for row in status["engines"]
            if row["state"] != "down"
        }
        if isinstance(chosen, int):
            if chosen not in rows:  # gone since we looked
                raise IndexError(f"there is no engine {chosen} any more")
            return rows[chosen]
        answer: Dict[Any, Any] = {number: rows[number] for number in chosen if number in rows}
        assigned = sum(row["queue"] + row["tasks"] for row in rows.values())
        answer["unassigned"] = max(0, status["tasks"]["pending"] - assigned)
        return QueueStatus(answer, self.limits)
