# SPDX-License-Identifier: BSD-3-Clause
"""Every exception that the package raises.

Three families: what user code raised on an engine (`RemoteError`, `CompositeError`), what the
controller says about a task (`EngineError`, `TaskTimeout`, ...; these arrive as a class that is
also a `RemoteError`, so both ways of catching them work), and what happens to the connection
(`ConnectionLost`, `ConnectionFileNotFound`, ...; these are also the builtin class that fits).
"""

from __future__ import annotations

import builtins
import pickle
import queue
import sys
import traceback as _traceback
from concurrent.futures import CancelledError
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Type, TypeVar, Union

from . import _client

TimeoutError = builtins.TimeoutError

EngineInfo = Dict[str, Any]
#: ename, evalue, traceback, engine_info of one failed part
ErrorParts = Tuple[str, str, str, Optional[EngineInfo]]
T = TypeVar("T", bound=Union[Sequence[Any], Mapping[Any, Any]])


class IPythonError(Exception):
    """Base of all exceptions of the package."""


class KernelError(IPythonError):
    """Base of everything that concerns engines, tasks and connections."""


class EngineError(KernelError):
    """An engine was lost, or could not do what it was asked."""


class ClusterError(KernelError, RuntimeError):
    """A cluster, or engines, could not be started, in the executable's words; or a cluster file can't be used."""


class ForeignCluster(ClusterError):
    """The cluster was started on another machine: its processes are out of reach."""


class NoEnginesRegistered(KernelError):
    """There is no engine to send the call to."""


class TaskAborted(KernelError, CancelledError):
    """The task was aborted before it started; also what a cancelled Future raises."""


class TaskTimeout(KernelError):
    """The task did not get an engine within its `timeout`."""


class TaskRejectError(KernelError):
    """An engine declined the task."""


class UnmetDependency(KernelError):
    """A dependency of the task does not hold on this engine."""


class ImpossibleDependency(UnmetDependency):
    """A dependency of the task can never be met."""


class DependencyTimeout(ImpossibleDependency):
    """A dependency of the task was not met in time."""


class InvalidDependency(ImpossibleDependency):
    """A dependency names a task that the scheduler does not know."""


# ---- the connection ---------------------------------------------------------------------------


class ConnectionFileNotFound(KernelError, FileNotFoundError):
    """There is no connection file, or no such profile."""


class BadConnectionFile(KernelError, ValueError):
    """The connection file is damaged, readable by others, or not one at all."""


class ConnectFailed(KernelError, ConnectionError):
    """The cluster could not be reached. Subclasses say why."""


class StaleConnectionFile(ConnectFailed):
    """The connection file is there, but its cluster is gone."""


class ConnectRefused(ConnectFailed, ConnectionRefusedError):
    """Nobody listens at the address."""


class Unreachable(ConnectFailed):
    """Unknown host, no route, or no answer at the address."""


class AuthenticationError(ConnectFailed):
    """The key is wrong or was revoked."""


class WrongRole(AuthenticationError):
    """The key is not meant for this: an engine's key was used by a client."""


class VersionMismatch(ConnectFailed):
    """The other side speaks another version of the protocol."""


class WrongCluster(ConnectFailed):
    """Another cluster answers at the address of the connection file."""


class ProtocolError(KernelError, ConnectionError):
    """The other side broke the protocol; the connection is closed."""


class ConnectionLost(KernelError, ConnectionError):
    """The controller went away. Everything that was pending has failed."""


class ClientClosed(KernelError, OSError):
    """The client was closed."""


class ForkedClient(KernelError, RuntimeError):
    """The client belongs to the parent process; make a new one after a fork."""


class NoSuchTask(KernelError, KeyError):
    """The hub does not know the task."""

    __str__ = Exception.__str__


class NotDurable(KernelError):
    """A durable task could not be written to the disk, and was not run; the text says why."""


class ResultNotKept(KernelError):
    """The hub knows the task but does not have what was asked for; the text says why."""


class ControllerError(KernelError, RuntimeError):
    """The controller refused a request."""


class QueueFull(KernelError, queue.Full):
    """The client has as much under way as it may, and was told to raise instead of waiting."""


class CannotPickle(KernelError, pickle.PicklingError, TypeError):
    """Something can't be sent to an engine; the text names it."""


class PythonVersionMismatch(KernelError, TypeError):
    """A function by value can't go to an engine that runs another minor version of Python."""


_client.set_errors(
    {
        _client.E_INVALID: ValueError,
        _client.E_SYSTEM: OSError,
        _client.E_NO_FILE: ConnectionFileNotFound,
        _client.E_BAD_FILE: BadConnectionFile,
        _client.E_STALE: StaleConnectionFile,
        _client.E_REFUSED: ConnectRefused,
        _client.E_UNREACHABLE: Unreachable,
        _client.E_TIMEOUT: TimeoutError,
        _client.E_KEY: AuthenticationError,
        _client.E_ROLE: WrongRole,
        _client.E_VERSION: VersionMismatch,
        _client.E_CLUSTER: WrongCluster,
        _client.E_PROTOCOL: ProtocolError,
        _client.E_LOST: ConnectionLost,
        _client.E_CLOSED: ClientClosed,
        _client.E_FORKED: ForkedClient,
        _client.E_NO_ENGINE: NoEnginesRegistered,
        _client.E_MEMORY: MemoryError,
        _client.E_REMOTE: ControllerError,
        _client.E_FULL: QueueFull,
    }
)


# ---- what code on engines raised --------------------------------------------------------------


def _engine_prefix(engine_info: Optional[EngineInfo]) -> str:
    """`[id:method] `, or nothing when the error has no engine."""
    if not engine_info or engine_info.get("engine_id") is None:
        return ""
    method = engine_info.get("method")
    return f"[{engine_info['engine_id']}:{method}] " if method else f"[{engine_info['engine_id']}] "


class RemoteError(KernelError):
    """An exception that was raised on an engine.

    A plain traceback of it shows the engine's traceback below the message.

    Args:
        ename: name of the exception's class
        evalue: its message
        traceback: the traceback on the engine, formatted
        engine_info: dict with engine_id, engine_uuid and method
    """

    ename: str
    evalue: str
    traceback: str
    engine_info: Optional[EngineInfo]

    def __init__(
        self,
        ename: str,
        evalue: str,
        traceback: str = "",
        engine_info: Optional[EngineInfo] = None,
    ) -> None:
        self.args = (ename, evalue)
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback or ""
        self.engine_info = engine_info or {}
        if self.traceback:
            # Python prints notes below the message, so a traceback shows both sides.
            self.__notes__ = [_note(self.traceback, self.engine_info)]

    def __reduce__(self) -> Tuple[Any, ...]:
        return (
            _unpickle_remote,
            (self.ename, self.evalue, self.traceback, self.engine_info, _real_name(self)),
        )

    def __str__(self) -> str:
        return f"{_engine_prefix(self.engine_info)}{self.ename}: {self.evalue}"

    def __repr__(self) -> str:
        info = self.engine_info or {}
        number = info.get("engine_id")
        where = "" if number is None else f"[{number}]"
        return f"<{RemoteError.__name__}{where}:{self.ename}({self.evalue})>"

    def render_traceback(self) -> List[str]:
        """The engine's traceback as a list of lines."""
        return (self.traceback or f"{self.ename}: {self.evalue}").splitlines()

    _render_traceback_ = render_traceback  # what IPython looks for

    def print_traceback(self, excid: Optional[int] = None) -> None:
        """Print the engine's traceback on stderr.

        Args:
            excid: ignored; for CompositeError
        """
        print("\n".join(self.render_traceback()), file=sys.stderr)


def _note(traceback: str, engine_info: Optional[EngineInfo]) -> str:
    number = (engine_info or {}).get("engine_id")
    where = "on the engine" if number is None else f"on engine {number}"
    return f"\n{where}:\n{traceback.rstrip()}"


class AlreadyDisplayedError(RemoteError):
    """A remote error whose traceback was printed before; it shows one line only."""

    def render_traceback(self) -> List[str]:
        """One line: the traceback is on the screen already."""
        return [str(self)]

    _render_traceback_ = render_traceback


class CompositeError(RemoteError):
    """Errors of several engines.

    Args:
        message: what failed
        elist: one (ename, evalue, traceback, engine_info) for each failed part
    """

    #: How many of the errors are shown in full.
    tb_limit = 4

    def __init__(self, message: str, elist: Sequence[ErrorParts]) -> None:
        super().__init__("CompositeError", message)
        self.args = (message, list(elist))
        self.message = message
        self.elist = list(elist)
        if any(parts[2] for parts in self.elist[: self.tb_limit]):
            self.__notes__ = [
                _note(traceback or f"{ename}: {evalue}", info)
                for ename, evalue, traceback, info in self.elist[: self.tb_limit]
            ]

    def __reduce__(self) -> Tuple[Any, ...]:
        return (_unpickle_composite, (self.message, self.elist, _real_name(self)))

    def _more(self) -> List[str]:
        more = len(self.elist) - self.tb_limit
        return [f".... {more} more exceptions ..."] if more > 0 else []

    def __str__(self) -> str:
        lines = [self.message]
        for ename, evalue, _, info in self.elist[: self.tb_limit]:
            lines.append(f"{_engine_prefix(info)}{ename}: {evalue}")
        return "\n".join(lines + self._more())

    def __repr__(self) -> str:
        return f"CompositeError({len(self.elist)})"

    def render_traceback(self, excid: Optional[int] = None) -> List[str]:
        """The tracebacks of the first errors, or of error number `excid`, as lines.

        Args:
            excid: which error, from 0

        Returns:
            Lines without their ends.
        """
        if excid is not None:
            return self._at(excid).render_traceback()
        lines: List[str] = []
        for ename, evalue, traceback, info in self.elist[: self.tb_limit]:
            lines.append(f"{_engine_prefix(info)}".rstrip() + ":")
            lines += (traceback or f"{ename}: {evalue}").splitlines()
            lines.append("")
        return lines + self._more()

    _render_traceback_ = render_traceback

    def print_traceback(self, excid: Optional[int] = None) -> None:
        """Print tracebacks on stderr.

        Args:
            excid: which error, from 0; default the first ones
        """
        print("\n".join(self.render_traceback(excid)), file=sys.stderr)

    def _at(self, excid: int) -> RemoteError:
        try:
            ename, evalue, traceback, info = self.elist[excid]
        except IndexError:
            raise IndexError(f"an exception with index {excid} does not exist") from None
        return RemoteError(ename, evalue, traceback, info)

    def raise_exception(self, excid: int = 0) -> None:
        """Raise one of the errors as a RemoteError.

        Args:
            excid: which one, from 0

        Raises:
            RemoteError: that error
            IndexError: there is none of this number
        """
        raise self._at(excid)


# ---- from a message to an exception -----------------------------------------------------------

#: What the controller or the library may report, by name: these arrive as the class itself, too.
_REAL: Dict[str, Type[Exception]] = {
    cls.__name__: cls
    for cls in (
        EngineError,
        NoEnginesRegistered,
        TaskAborted,
        TaskTimeout,
        TaskRejectError,
        UnmetDependency,
        ImpossibleDependency,
        DependencyTimeout,
        InvalidDependency,
        ConnectionLost,
        ClientClosed,
        NoSuchTask,
        NotDurable,
        ResultNotKept,
    )
}

_remote_classes: Dict[str, Type[RemoteError]] = {}
_composite_classes: Dict[str, Type[CompositeError]] = {}


def _remote_class(name: Optional[str]) -> Type[RemoteError]:
    """RemoteError, or a class that is both RemoteError and the error called `name`."""
    real = _REAL.get(name or "")
    if real is None or name is None:
        return RemoteError
    if name not in _remote_classes:
        namespace = {"__module__": __name__, "__doc__": real.__doc__}
        _remote_classes[name] = type(name, (RemoteError, real), namespace)
    return _remote_classes[name]


def _composite_class(name: Optional[str]) -> Type[CompositeError]:
    real = _REAL.get(name or "")
    if real is None or name is None:
        return CompositeError
    if name not in _composite_classes:
        namespace = {"__module__": __name__, "__doc__": CompositeError.__doc__}
        _composite_classes[name] = type("CompositeError", (CompositeError, real), namespace)
    return _composite_classes[name]


def _real_name(error: BaseException) -> Optional[str]:
    for name, real in _REAL.items():
        if type(error) in (_remote_classes.get(name), _composite_classes.get(name)):
            return name
    return None


def _unpickle_remote(
    ename: str, evalue: str, traceback: str, engine_info: Optional[EngineInfo], name: Optional[str]
) -> RemoteError:
    error: RemoteError = _remote_class(name)(ename, evalue, traceback, engine_info)
    return error


def _unpickle_composite(message: str, elist: Sequence[ErrorParts], name: Optional[str]) -> CompositeError:
    return _composite_class(name)(message, elist)


def unwrap_exception(content: Mapping[str, Any], *, failed: bool = False) -> RemoteError:
    """The exception that a message about an error stands for.

    Args:
        content: dict with ename, evalue, traceback (text or list of lines) and engine_info
        failed: the controller or the library reported it, not user code; then the exception is
            also of the class that `ename` names. An UnmetDependency always is: it is ours

    Returns:
        The exception.
    """
    traceback = content.get("traceback") or ""
    if not isinstance(traceback, str):
        traceback = "\n".join(traceback)
    ename = str(content.get("ename", "Error"))
    cls = _remote_class(ename) if failed or ename == UnmetDependency.__name__ else RemoteError
    evalue, info = str(content.get("evalue", "")), content.get("engine_info")
    error: RemoteError = cls(ename, evalue, traceback, info)
    return error


def wrap_exception(engine_info: Optional[EngineInfo] = None) -> Dict[str, Any]:
    """A message about the exception that is being handled: the inverse of unwrap_exception.

    Args:
        engine_info: where it happened: engine_id, method, ...

    Returns:
        dict with status, ename, evalue, traceback and engine_info.
    """
    etype, evalue, _ = sys.exc_info()
    return {
        "status": "error",
        "ename": etype.__name__ if etype else "None",
        "evalue": str(evalue),
        "traceback": _traceback.format_exc(),
        "engine_info": dict(engine_info or {}),
    }


def _parts_of(error: RemoteError) -> List[ErrorParts]:
    if isinstance(error, CompositeError):
        return error.elist
    return [(error.ename, error.evalue, error.traceback, error.engine_info)]


def composite(errors: Iterable[RemoteError], method: str = "unspecified") -> RemoteError:
    """One exception for all of `errors`.

    When the connection was lost that is the one thing to say. When all errors have the same cause
    by the controller (EngineError ...) the CompositeError is of that class, too.

    Args:
        errors: at least one
        method: what was called, for the text

    Returns:
        The exception.
    """
    failed = list(errors)
    for error in failed:
        if isinstance(error, (ConnectionLost, ClientClosed)):
            return error
    names = {_real_name(error) for error in failed}
    cls = _composite_class(names.pop()) if len(names) == 1 else CompositeError
    elist = [parts for error in failed for parts in _parts_of(error)]
    together: CompositeError = cls(f"one or more exceptions raised in: {method}", elist)
    return together


def collect_exceptions(results: T, method: str = "unspecified") -> T:
    """Raise the errors among results, if there are any.

    Args:
        results: a list or a dict
        method: what was called, for the text

    Returns:
        `results`.

    Raises:
        CompositeError: of the errors in it
    """
    values: Any = results.values() if isinstance(results, Mapping) else results
    errors = [value for value in values if isinstance(value, RemoteError)]
    if errors:
        raise composite(errors, method)
    return results
