# SPDX-License-Identifier: BSD-3-Clause
"""The value of `execute(..., silent=False)`."""

from __future__ import annotations

from typing import Any, Dict, Optional

from .metadata import Metadata


class ExecuteReply:
    """What an engine sends for a numbered execution.

    Attributes:
        execution_count: number of the execution on that engine
        data: representations of the last expression's value by MIME type; empty when it was None
        metadata: Metadata of the task, whose items are attributes of this, too (stdout, ...)
        source: the engine's id
    """

    def __init__(self, content: Dict[str, Any], metadata: Metadata) -> None:
        self.execution_count: Optional[int] = content.get("execution_count")
        self.data: Dict[str, Any] = dict(content.get("data") or {})
        self.metadata = metadata
        self.source = metadata["engine_id"]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self.metadata:
            raise AttributeError(name)
        return self.metadata[name]

    def __repr__(self) -> str:
        text = self.data.get("text/plain", "")
        if len(text) > 29:
            text = text[:26] + "..."
        return f"<ExecuteReply[{self.execution_count}]: {text}>"

    def __str__(self) -> str:
        return str(self.data.get("text/plain", ""))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Dict[str, Any]:
        return self.data

    def _repr_html_(self) -> Optional[str]:
        return self.data.get("text/html")

    def display(self) -> None:
        """Print it as an interactive session would."""
        if self.data:
            print(f"Out[{self.source}:{self.execution_count}]: {self}")
