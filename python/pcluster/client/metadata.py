# SPDX-License-Identifier: BSD-3-Clause
"""What is known about one task, under the names that users know."""

from __future__ import annotations

import contextlib
import datetime
import json
import pickle
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Tuple

from .. import _client, error
from ..util import from_microseconds
from .sourcelines import with_source

if TYPE_CHECKING:
    from .engines import Engines

_DEFAULTS: Tuple[Tuple[str, Any], ...] = (
    ("msg_id", None),
    ("submitted", None),
    ("started", None),
    ("completed", None),
    ("received", None),
    ("engine_uuid", None),
    ("engine_id", None),
    ("follow", None),
    ("after", None),
    ("status", None),
    ("execute_input", None),
    ("execute_result", None),
    ("error", None),
    ("stdout", ""),
    ("stderr", ""),
    ("outputs", []),
    ("data", {}),
    ("label", None),
)

KEYS = frozenset(name for name, _ in _DEFAULTS)

_STATUS = {
    _client.STATUS_PENDING: None,
    _client.STATUS_OK: "ok",
    _client.STATUS_ERROR: "error",
    _client.STATUS_FAILED: "error",
}


class Metadata(Dict[str, Any]):
    """A dict with a fixed set of keys, which are attributes, too.

    Times (`submitted`, `started`, `completed`, `received`) are aware datetimes in UTC, or None.
    Setting any other key is a KeyError.

    Args:
        values: to begin with, by key
        more: the same
    """

    def __init__(self, values: Mapping[str, Any] = {}, **more: Any) -> None:
        super().__init__((name, value.copy() if hasattr(value, "copy") else value) for name, value in _DEFAULTS)
        self.update(values, **more)

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in KEYS:
            raise KeyError(key)
        super().__setitem__(key, value)

    def update(self, *args: Any, **more: Any) -> None:
        """Set several keys.

        Args:
            *args: a mapping, as for dict.update()
            **more: values by key

        Raises:
            KeyError: there is no such key
        """
        for key, value in dict(*args, **more).items():
            self[key] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            self[name] = value
        except KeyError:
            raise AttributeError(name) from None


def msg_id(call: _client.Call) -> str:
    """The text form of a task's id.

    Args:
        call: the task

    Returns:
        Its client's session in 16 hexadecimal digits, '_', and its number there.
    """
    return f"{call.session:016x}_{call.sequence}"


def load_error(call: _client.Call) -> error.RemoteError:
    """The exception that a call ended with.

    Args:
        call: one that has failed

    Returns:
        A RemoteError, also of the real class where the controller reported it.
    """
    try:
        content = json.loads(bytes(call.parts()[0]))
    except (IndexError, ValueError):
        content = {"ename": "EngineError", "evalue": "the task failed without saying why"}
    if content.get("traceback"):
        content["traceback"] = with_source(content["traceback"])
    return error.unwrap_exception(content, failed=call.status == _client.STATUS_FAILED)


def gives_reply(call: _client.Call) -> bool:
    """Whether a call is an execution that is not silent.

    Args:
        call: any

    Returns:
        True when its value is an ExecuteReply.
    """
    return call.kind == _client.KIND_EXECUTE and not call.flags & (_client.RUN_SILENT | _client.RUN_PLAIN)


def _fill_outcome(found: Metadata, call: _client.Call) -> None:
    """What is known once it has ended."""
    status, _, submitted, started, completed, received = call.result()
    found["submitted"] = from_microseconds(submitted)
    found["started"] = from_microseconds(started)
    found["completed"] = from_microseconds(completed)
    found["received"] = from_microseconds(received)
    if status != _client.STATUS_OK:
        found["error"] = load_error(call)
    elif gives_reply(call):
        reply = call.load() or {}
        if reply.get("data"):
            found["execute_result"] = {"metadata": {}, **reply, "source": found["engine_id"]}


def load_data(call: _client.Call) -> Dict[Any, Any]:
    """What a task has published.

    Args:
        call: pending or not

    Returns:
        The latest value of each key. Raises what unpickling raises.
    """
    content = call.published()
    return {} if content is None else dict(pickle.loads(content))


def load_outputs(lines: str) -> List[Dict[str, Any]]:
    """What a task has displayed.

    Args:
        lines: of its stream; where some was left out, because it was too much, there is a text instead

    Returns:
        Dicts with `data` and `metadata`.
    """
    found: List[Dict[str, Any]] = []
    for line in lines.split("\n"):
        if line.startswith("[... "):
            found.append({"data": {"text/plain": line}, "metadata": {}})
        with contextlib.suppress(ValueError):  # a line of which a part is missing
            output = json.loads(line)
            if isinstance(output, dict) and isinstance(output.get("data"), dict):
                found.append(output)
    return found


def metadata_of(client: "Engines", call: _client.Call) -> Metadata:
    """Everything that is known about a call, pending or not.

    Args:
        client: whose call it is
        call: the call

    Returns:
        Metadata, whose times are None as long as they are unknown.
    """
    found = Metadata(msg_id=msg_id(call), label=call.label)
    found["stdout"] = call.output(_client.STREAM_STDOUT)
    found["stderr"] = call.output(_client.STREAM_STDERR)
    found["outputs"] = load_outputs(call.output(_client.STREAM_DISPLAY))
    found["status"] = _STATUS[call.status]
    with contextlib.suppress(Exception):  # AsyncResult.data says what is wrong with it
        found["data"] = load_data(call)
    found["engine_id"] = call.engine
    found["engine_uuid"] = client._engine_uuid(call.engine)
    if call.status != _client.STATUS_PENDING:
        _fill_outcome(found, call)
    return found


def seconds_between(start: datetime.datetime, end: datetime.datetime) -> float:
    """A difference of two times.

    Args:
        start: aware datetime
        end: aware datetime

    Returns:
        `end - start` in seconds.
    """
    return (end - start).total_seconds()
