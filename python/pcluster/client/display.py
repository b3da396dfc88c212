# SPDX-License-Identifier: BSD-3-Clause
"""What tasks have written and computed, on the screen here.

Several engines are told apart by prefixes: `[stdout:3] ` before one line, `[stdout:3]` alone
before more, `[output:3]` before what a task has displayed.
"""

from __future__ import annotations

import codecs
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from .. import _client, error
from .executereply import ExecuteReply
from .metadata import Metadata, load_error, load_outputs

if TYPE_CHECKING:
    from .asyncresult import AsyncResult

_FOLLOWED = (
    ("stdout", _client.STREAM_STDOUT),
    ("stderr", _client.STREAM_STDERR),
    ("output", _client.STREAM_DISPLAY),
)
#: Seconds between two looks at what has arrived; what comes in between is shown together.
_LOOK_S = 0.02
#: Seconds after which a follower looks although nothing has arrived, to see whether it should end.
_IDLE_S = 0.1


def is_interactive() -> bool:
    """Whether progress and live output are wanted: not with PCLUSTER_NONINTERACTIVE=1."""
    return os.environ.get("PCLUSTER_NONINTERACTIVE", "") in ("", "0")


def in_ipython() -> bool:
    """Whether this is a session of IPython."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def show_text(name: str, text: str, prefix: str) -> None:
    """Print text on the stream called `name`, ending with a newline.

    Args:
        name: 'stdout' or 'stderr'
        text: nothing is printed when it is empty
        prefix: what to put before it; on a line of its own when the text has several
    """
    if not text:
        return
    is_long = "\n" in text[:-1]
    if prefix:
        prefix += "\n" if is_long else " "
    end = "" if text.endswith("\n") else "\n"
    print(prefix + text, end=end, file=sys.stderr if name == "stderr" else sys.stdout, flush=True)


def show_output(output: Dict[str, Any], prefix: str) -> None:
    """Show one of the rich outputs of a task.

    Args:
        output: dict with data and metadata, each by MIME type
        prefix: printed before it
    """
    data = output.get("data") or {}
    if in_ipython():
        import IPython.display

        if prefix:
            print(prefix)
        IPython.display.display(data, raw=True, metadata=output.get("metadata") or {})  # type: ignore[no-untyped-call]
    else:
        show_text("stdout", str(data.get("text/plain", "")), prefix)


def _number(engine_id: Any) -> str:
    return "?" if engine_id is None else str(engine_id)


# ---- afterwards -----------------------------------------------------------------------------------


def _show(kind: str, row: Metadata, value: Any, has_prefix: bool) -> None:
    prefix = f"[{kind}:{_number(row.engine_id)}]" if has_prefix else ""
    if kind == "output":
        for output in row.outputs:
            show_output(output, prefix)
    elif kind == "result":
        if isinstance(value, ExecuteReply):
            value.display()
    else:
        show_text(kind, row[kind], prefix)


def display_outputs(result: "AsyncResult", groupby: str, result_only: bool) -> None:
    """Show what tasks printed and returned.

    Args:
        result: one that is ready
        groupby: 'type', 'engine' or 'order'
        result_only: values without what was printed

    Raises:
        TimeoutError: the result is not ready
        ValueError: another groupby
    """
    if groupby not in ("type", "engine", "order"):
        raise ValueError(f"groupby must be 'type', 'engine' or 'order', not {groupby!r}")
    if not result.ready():
        raise TimeoutError(f"{result._fname} is not ready")
    parts = [(row, result._part(index)) for index, row in enumerate(result._metadata_list())]
    if groupby == "engine":
        parts.sort(key=lambda part: -1 if part[0].engine_id is None else part[0].engine_id)
    kinds = ("result",) if result_only else ("stdout", "stderr", "output", "result")
    if groupby == "type":
        wanted = [(kind, *part) for kind in kinds for part in parts]
    else:
        wanted = [(kind, *part) for part in parts for kind in kinds]
    for kind, row, value in wanted:
        _show(kind, row, value, not result._single)


# ---- while it comes -------------------------------------------------------------------------------


class _Stream:
    """One stream of one task: shows whole lines, and at the end the rest."""

    def __init__(self, call: _client.Call, name: str, number: int, has_prefix: bool) -> None:
        self._call = call
        self._name = name
        self._number = number
        self._has_prefix = has_prefix
        self._seen = 0
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def show(self, is_over: bool) -> None:
        data, self._seen = self._call.output_since(self._number, self._seen)
        if not data and not (is_over and self._rest):
            return
        text = self._rest + self._decoder.decode(data, is_over)
        end = len(text) if is_over else text.rfind("\n") + 1
        text, self._rest = text[:end], text[end:]
        prefix = f"[{self._name}:{_number(self._call.engine)}]" if self._has_prefix else ""
        if self._name == "output":
            for output in load_outputs(text):
                show_output(output, prefix)
        else:
            show_text(self._name, text, prefix)


class Follower:
    """A `with` block in which a thread shows what the tasks of a result write, and what they
    computed, as it arrives, and at its end what is there. Another block goes on where it ended.

    Args:
        result: of which tasks
        shows_errors: also the tracebacks of the first ones that fail

    Attributes:
        error_count: how many have failed
    """

    def __init__(self, result: "AsyncResult", shows_errors: bool = False) -> None:
        self._result = result
        self._shows_errors = shows_errors
        self.error_count = 0
        self._stopped = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._open: List[Tuple[int, List[_Stream]]] = [
            (index, [_Stream(call, name, number, not result._single) for name, number in _FOLLOWED])
            for index, call in enumerate(result._calls)
        ]

    def __enter__(self) -> "Follower":
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="pcluster-output", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *args: Any) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        """Until all tasks have ended, or the block."""
        raw = self._result._client._raw
        while True:
            is_over = self._stopped.is_set()  # what has come before that is shown
            self._show()
            if is_over or not self._open:
                return
            try:
                raw.dispatch(_IDLE_S)
            except error.KernelError:  # closed or lost: what had come is there, and nothing more
                self._show()
                return
            self._stopped.wait(_LOOK_S)

    def _show(self) -> None:
        still_open = []
        for index, streams in self._open:
            is_over = self._result._calls[index].status != _client.STATUS_PENDING
            for stream in streams:
                stream.show(is_over)
            if is_over:
                self._show_end(index)
            else:
                still_open.append((index, streams))
        self._open = still_open

    def _show_end(self, index: int) -> None:
        call = self._result._calls[index]
        if call.status != _client.STATUS_OK:
            self._show_error(index)
        elif call.kind == _client.KIND_EXECUTE:
            value = self._result._part(index)
            if isinstance(value, ExecuteReply):
                value.display()

    def _show_error(self, index: int) -> None:
        self.error_count += 1
        if not self._shows_errors or self.error_count > error.CompositeError.tb_limit:
            return
        failure = load_error(self._result._calls[index])
        number = self._result._calls[index].engine
        prefix = "" if self._result._single else f"[error:{_number(number)}]\n"
        print(prefix + "\n".join(failure.render_traceback()), file=sys.stderr, flush=True)
