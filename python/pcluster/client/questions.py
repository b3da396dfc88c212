# SPDX-License-Identifier: BSD-3-Clause
"""What a client can ask the hub."""

from __future__ import annotations

from typing import Any, Dict

from .engines import Engines, Targets


class Questions(Engines):
    """The part of a Client that asks the hub."""

    def status(self) -> Dict[str, Any]:
        """What the hub knows about the cluster: its processes, engines and tasks, as a dict."""
        return self._ask({"query": "status"})

    def queue_status(self, targets: Targets = "all", verbose: bool = False) -> Dict[Any, Any]:
        """How much is waiting.

        Args:
            targets: which engines
            verbose: not there yet

        Returns:
            {engine id: {'queue': tasks waiting, 'completed': tasks ended, 'tasks': tasks running},
            ..., 'unassigned': tasks without an engine}; for an int the inner dict only.
        """
        if verbose:
            raise NotImplementedError("this version has no lists of msg_ids per engine")
        chosen = self._choose(targets)
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
            return rows[chosen]
        answer: Dict[Any, Any] = {number: rows[number] for number in chosen if number in rows}
        assigned = sum(row["queue"] + row["tasks"] for row in rows.values())
        answer["unassigned"] = max(0, status["tasks"]["pending"] - assigned)
        return answer
