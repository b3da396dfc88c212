# SPDX-License-Identifier: BSD-3-Clause
"""The value of `execute(..., silent=False)`."""

from __future__ import annotations

import base64
import sys
from typing import Any, Dict, Optional, Tuple

from .metadata import Metadata

_TEXT_MAX = 32


class ExecuteReply:
    """What an engine sends for a numbered execution. IPython shows it as it would show the value.
    Made by AsyncResult.

    Attributes:
        execution_count: number of the execution on that engine
        data: representations of the last expression's value by MIME type; empty when it was None.
            Bytes (of images) are in base64
        metadata: Metadata of the task, whose items are items and attributes of this, too (stdout, ...)
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

    def __getitem__(self, key: str) -> Any:
        return self.metadata[key]

    def __repr__(self) -> str:
        text = str(self.data.get("text/plain", ""))
        if len(text) > _TEXT_MAX:
            text = text[: _TEXT_MAX - 3] + "..."
        return f"<ExecuteReply[{self.execution_count}]: {text}>"

    def __str__(self) -> str:
        return str(self.data.get("text/plain", ""))

    def display(self) -> None:
        """Show it as an interactive session would; nothing when the value was None."""
        if not self.data:
            return
        ipython: Any = sys.modules.get("IPython")
        if ipython is not None and ipython.get_ipython() is not None:
            ipython.display.display(self)
        else:
            print(self._labelled(), flush=True)

    def _labelled(self) -> str:
        """The value as text, behind a prompt like that of a session."""
        text = str(self)
        return f"Out[{self.source}:{self.execution_count}]: " + ("\n" + text if "\n" in text else text)

    # ---- what IPython looks for --------------------------------------------------------------------

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Tuple[Dict[str, Any], Dict[str, Any]]:
        return {**self.data, "text/plain": self._labelled()}, {}

    def _bytes(self, kind: str) -> Optional[bytes]:
        text = self.data.get(kind)
        return None if text is None else base64.b64decode(text)

    def _repr_html_(self) -> Any:
        return self.data.get("text/html")

    def _repr_markdown_(self) -> Any:
        return self.data.get("text/markdown")

    def _repr_latex_(self) -> Any:
        return self.data.get("text/latex")

    def _repr_svg_(self) -> Any:
        return self.data.get("image/svg+xml")

    def _repr_json_(self) -> Any:
        return self.data.get("application/json")

    def _repr_javascript_(self) -> Any:
        return self.data.get("application/javascript")

    def _repr_png_(self) -> Optional[bytes]:
        return self._bytes("image/png")

    def _repr_jpeg_(self) -> Optional[bytes]:
        return self._bytes("image/jpeg")
