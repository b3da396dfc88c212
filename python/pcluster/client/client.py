# SPDX-License-Identifier: BSD-3-Clause
"""The client: a connection to a cluster, its engines, and the views on them."""

from __future__ import annotations

import atexit
import collections
import json
import os
import sys
import threading
import time
import weakref
from concurrent.futures import Future
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Deque,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

from .. import _client, error
from ..serialize import FunctionCache
from .asyncresult import AsyncResult
from .metadata import msg_id

if TYPE_CHECKING:
    from .executor import ViewExecutor
    from .view import DirectView, LoadBalancedView

Targets = Union[None, int, str, slice, Sequence[int]]
Job = Union[int, str, "Future[Any]"]

_PYTHON = "{}.{}".format(*sys.version_info[:2])
_TRANSPORTS = {
    "any": _client.TRANSPORT_ANY,
    "unix": _client.TRANSPORT_UNIX,
    "tcp": _client.TRANSPORT_TCP,
}
#: How often a connection file that is not there yet is looked for, in seconds.
_FILE_INTERVAL = 0.2
#: Stretches of consecutive task numbers that a client remembers.
_LOG_MAX = 10_000

_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


class Engine:
    """What a client knows about one engine."""

    __slots__ = ("id", "pid", "host", "python", "uuid")

    def __init__(self, row: Tuple[int, int, str, str, str]) -> None:
        self.id, self.pid, self.host, self.python, self.uuid = row

    def __repr__(self) -> str:
        return f"<Engine {self.id} on {self.host}, pid {self.pid}, Python {self.python}>"


class Client:
    """A connection to a cluster.

    Thread-safe. After a fork the child needs a Client of its own.

    Args:
        connection_info: path of a connection file, or a dict with what is in one
        url_file: the same, under its other name
        profile: name of the profile to look in; default 'default'
        profile_dir: folder of the profile; wins over `profile`
        cluster_id: which of the profile's clusters
        timeout: seconds to wait for a connection file that is not there yet, and for the answer
        cluster: the object that started the cluster, kept as an attribute
        transport: 'any', 'unix' (the socket on this machine) or 'tcp'
        debug: kept as an attribute
        sshserver, sshkey, password, paramiko: not there yet
        context, ipython_dir, extra: accepted and ignored

    Raises:
        ConnectionFileNotFound: no file in the time given, or no such profile (an OSError)
        BadConnectionFile: it can't be used; the text says why
        StaleConnectionFile, ConnectRefused, Unreachable, AuthenticationError, WrongRole,
        VersionMismatch, WrongCluster: could not connect (all are ConnectFailed)
        TimeoutError: no answer in the time given
        ValueError: a URL was given instead of a file
    """

    #: Default of `block` for the views.
    block = False

    def __init__(
        self,
        connection_info: Union[None, str, "os.PathLike[str]", Dict[str, Any]] = None,
        *,
        url_file: Union[None, str, "os.PathLike[str]"] = None,
        profile: Optional[str] = None,
        profile_dir: Optional[str] = None,
        ipython_dir: Optional[str] = None,
        context: Any = None,
        debug: bool = False,
        sshserver: Optional[str] = None,
        sshkey: Optional[str] = None,
        password: Optional[str] = None,
        paramiko: Optional[bool] = None,
        timeout: float = 10,
        cluster_id: Optional[str] = None,
        cluster: Any = None,
        transport: str = "any",
        **extra: Any,
    ) -> None:
        if sshserver:
            raise NotImplementedError("ssh tunnels are not there yet: connect to the address directly")
        if transport not in _TRANSPORTS:
            raise ValueError(f"transport must be 'any', 'unix' or 'tcp', not {transport!r}")
        where = _where(connection_info if connection_info is not None else url_file)
        where.update(
            profile=profile,
            profile_dir=None if profile_dir is None else os.fspath(profile_dir),
            cluster_id=cluster_id,
            transport=_TRANSPORTS[transport],
            python=_PYTHON,
        )
        self._raw = _open(where, timeout)
        self.cluster = cluster
        self.debug = debug
        self._info: Dict[str, Any] = json.loads(self._raw.info)
        self._functions = FunctionCache()
        self._generation = -1
        self._engines: Dict[int, Engine] = {}
        self._ids: Tuple[int, ...] = ()
        self._uuids: "collections.OrderedDict[int, str]" = collections.OrderedDict()
        self._foreign: FrozenSet[int] = frozenset()
        self._lock = threading.Lock()
        self._background: Optional[threading.Thread] = None
        self._log: Deque[List[int]] = collections.deque(maxlen=_LOG_MAX)
        _clients.add(self)

    # ---- life --------------------------------------------------------------------------------------

    def close(self, linger: Optional[float] = None) -> None:
        """End the connection. Pending results fail, later calls raise ClientClosed (an OSError).

        Args:
            linger: accepted and ignored
        """
        self._raw.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *args: Any) -> None:
        self.close()

    def __del__(self) -> None:
        raw = self.__dict__.get("_raw")
        if raw is not None:
            raw.close()

    def __repr__(self) -> str:
        if self._raw.closed:
            return "<Client: closed>"
        name = self._info.get("profile", "")
        if self._info.get("cluster_id"):
            name += ":" + self._info["cluster_id"]
        return f"<Client {name} at {self._info.get('address')}>"

    def _start_background(self) -> None:
        """Start the thread that runs callbacks, and that reads when nobody else does."""
        if self._background is not None:
            return
        with self._lock:
            if self._background is None:
                self._background = threading.Thread(
                    target=_run_background, args=(self._raw,), name="pcluster-client", daemon=True
                )
                self._background.start()

    # ---- about the cluster -------------------------------------------------------------------------

    @property
    def profile(self) -> str:
        """Name of the cluster's profile."""
        return str(self._info.get("profile", ""))

    @property
    def cluster_id(self) -> str:
        """Id of the cluster; empty for the profile's unnamed one."""
        return str(self._info.get("cluster_id", ""))

    @property
    def session(self) -> str:
        """Id of this connection; the first part of each msg_id."""
        return str(self._info.get("session", ""))

    @property
    def info(self) -> Dict[str, Any]:
        """About the connection: cluster_id, instance, profile, url, address, session, ..."""
        return dict(self._info)

    def _refresh(self) -> None:
        """Bring the list of engines up to date, without waiting."""
        self._raw.check()
        if self._raw.generation != self._generation:
            self._load_engines()

    def _load_engines(self) -> None:
        with self._lock:
            generation = self._raw.generation
            engines = {row[0]: Engine(row) for row in self._raw.engines()}
            self._engines = engines
            self._ids = tuple(sorted(engines))
            self._foreign = frozenset(
                engine.id for engine in engines.values() if engine.python and engine.python != _PYTHON
            )
            for engine in engines.values():
                self._uuids[engine.id] = engine.uuid
            while len(self._uuids) > len(engines) + 10_000:
                self._uuids.popitem(last=False)
            self._generation = generation

    def _engine_uuid(self, engine_id: Optional[int]) -> Optional[str]:
        if engine_id is None:
            return None
        if engine_id not in self._uuids and not self._raw.closed:
            try:
                self._load_engines()
            except error.KernelError:
                pass
        return self._uuids.get(engine_id)

    @property
    def ids(self) -> List[int]:
        """Ids of the engines that are there now, sorted. A new list each time."""
        self._refresh()
        return list(self._ids)

    @property
    def engines(self) -> List[Engine]:
        """The engines that are there now: id, pid, host, python, uuid."""
        self._refresh()
        return [self._engines[number] for number in self._ids]

    def __len__(self) -> int:
        self._refresh()
        return len(self._ids)

    # ---- targets and views -------------------------------------------------------------------------

    def __getitem__(self, key: Union[int, slice, Sequence[int]]) -> "DirectView":
        if not isinstance(key, (int, slice, list, tuple, range)):
            raise TypeError(f"engines are chosen by int, slice, list, tuple or range, not {type(key).__name__}")
        return self.direct_view(key)

    def __iter__(self) -> Iterator["DirectView"]:
        for number in self.ids:
            yield self.direct_view(number)

    def _one_id(self, key: Any) -> int:
        if isinstance(key, bool) or not isinstance(key, int):
            raise TypeError(f"an engine id is an int, not {type(key).__name__}")
        if key < 0:
            if -key > len(self._ids):
                raise IndexError(f"there is no engine {key}: there are {len(self._ids)} engines")
            return self._ids[key]
        if key not in self._engines:
            raise IndexError(f"there is no engine {key}; the engines are {_short(self._ids)}")
        return key

    def _choose(self, targets: Targets) -> Union[int, Tuple[int, ...]]:
        """Ids for any form of targets: an int for an int, else a tuple."""
        self._refresh()
        if targets is None or (isinstance(targets, str) and targets == "all"):
            if not self._ids:
                raise error.NoEnginesRegistered("the cluster has no engines")
            return self._ids
        if isinstance(targets, str):
            raise TypeError(f"targets may be 'all' but no other str: {targets!r}")
        if isinstance(targets, slice):
            return self._ids[targets]
        if isinstance(targets, int):
            return self._one_id(targets)
        if isinstance(targets, (list, tuple, range, set, frozenset)):
            return tuple(map(self._one_id, targets))
        raise TypeError(f"targets must be an int, a slice, a sequence or 'all', not {type(targets).__name__}")

    def _build_targets(self, targets: Targets) -> Tuple[List[Optional[str]], List[int]]:
        """(uuids, ids) of targets."""
        chosen = self._choose(targets)
        ids = [chosen] if isinstance(chosen, int) else list(chosen)
        return [self._engine_uuid(number) for number in ids], ids

    def direct_view(self, targets: Targets = "all", **flags: Any) -> "DirectView":
        """A view that runs each call on every one of its engines.

        Args:
            targets: an id, a slice, a sequence of ids; 'all' means all that are there at each call
            flags: block, track, label
        """
        from .view import DirectView

        if targets is None or (isinstance(targets, str) and targets == "all"):
            chosen: Any = "all"
        else:
            chosen = self._choose(targets)
            chosen = list(chosen) if isinstance(chosen, tuple) else chosen
        view = DirectView(self, chosen)
        return view.set_flags(**flags)

    def load_balanced_view(self, targets: Targets = None, **flags: Any) -> "LoadBalancedView":
        """A view that runs each call on one engine, chosen by the scheduler.

        Args:
            targets: None for any engine, also those to come; else as for direct_view
            flags: block, track, label
        """
        from .view import LoadBalancedView

        chosen: Any = None
        if targets is not None and not (isinstance(targets, str) and targets == "all"):
            ids = self._choose(targets)
            chosen = [ids] if isinstance(ids, int) else list(ids)
        view = LoadBalancedView(self, chosen)
        return view.set_flags(**flags)

    def executor(self, targets: Targets = None) -> "ViewExecutor":
        """A concurrent.futures.Executor over a load-balanced view of the targets."""
        return self.load_balanced_view(targets).executor

    # ---- waiting -----------------------------------------------------------------------------------

    def _wait_until(self, is_over: Callable[[], bool], timeout: Optional[float]) -> bool:
        """Take in what arrives until `is_over()`; False after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        self._raw.check()
        while not is_over():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return False
            self._raw.dispatch(left)
        return True

    def wait_for_engines(
        self,
        n: Optional[int] = None,
        *,
        timeout: float = -1,
        block: bool = True,
        interactive: Optional[bool] = None,
        widget: Optional[bool] = None,
    ) -> Any:
        """Wait until there are at least `n` engines.

        Args:
            n: how many; default: what `cluster` says
            timeout: seconds; negative: no limit
            block: False returns a Future instead of waiting
            interactive: show progress on stderr
            widget: ignored

        Raises:
            TypeError: n is not known
            TimeoutError: not in the time given
        """
        if n is None:
            n = getattr(self.cluster, "n", None)
        if n is None:
            raise TypeError("n is needed: how many engines to wait for")
        if not block:
            return _in_thread(self.wait_for_engines, n, timeout=timeout)
        wanted = n
        shown = -1

        def is_over() -> bool:
            nonlocal shown
            count = len(self)
            if interactive and count != shown:
                shown = count
                sys.stderr.write(f"\r{count}/{wanted} engines ")
                sys.stderr.flush()
            return count >= wanted

        in_time = self._wait_until(is_over, None if timeout is None or timeout < 0 else timeout)
        if interactive:
            sys.stderr.write("\n")
        if not in_time:
            raise TimeoutError(f"{len(self)} of {n} engines were there after {timeout} s")

    def wait(self, jobs: Union[None, Job, Iterable[Job]] = None, timeout: Optional[float] = -1) -> bool:
        """Wait for results.

        Args:
            jobs: AsyncResult, any Future, msg_id, index in `history`, or several of them; None:
                everything outstanding
            timeout: seconds; None or negative: no limit

        Returns:
            True when all are there, False after the time.
        """
        limit = None if timeout is None or timeout < 0 else timeout
        if jobs is None:
            return self._raw.wait(self._raw.outstanding(), limit)
        return self._wait_for(_as_list(jobs), limit, self._log_ids)

    def _wait_for(self, jobs: List[Job], limit: Optional[float], history: Callable[[], List[str]]) -> bool:
        end = None if limit is None else time.monotonic() + limit
        names = {job if isinstance(job, str) else history()[job] for job in jobs if isinstance(job, (int, str))}
        pending = [call for call in self._raw.outstanding() if msg_id(call) in names] if names else []
        unknown = names - {msg_id(call) for call in pending}
        if unknown:
            unknown.difference_update(self._log_ids())
        if unknown:
            raise KeyError(f"no such task: {unknown.pop()}")
        if not self._raw.wait(tuple(pending), limit):
            return False
        for job in jobs:
            left = None if end is None else max(end - time.monotonic(), 0)
            if isinstance(job, AsyncResult):
                if not job.wait(left):
                    return False
            elif isinstance(job, Future):
                try:
                    job.exception(left)
                except TimeoutError:
                    return False
            elif not isinstance(job, (int, str)):
                raise TypeError(f"can't wait for {job!r}")
        return True

    # ---- ending early --------------------------------------------------------------------------------

    def abort(
        self,
        jobs: Union[None, Job, Iterable[Job]] = None,
        targets: Targets = None,
        block: Optional[bool] = None,
    ) -> None:
        """Take back tasks that have not begun: they end with TaskAborted. Those that run go on.

        Args:
            jobs: AsyncResult, msg_id, index in `history`, or several of them; None: everything
                outstanding of this client
            targets: accepted; tasks are found wherever they are
            block: accepted; the request has been taken when this returns
        """
        if jobs is None:
            self._raw.abort(self._raw.outstanding(), 0)
        else:
            self._abort_jobs(_as_list(jobs), self._log_ids)

    def _abort_jobs(self, jobs: List[Job], history: Callable[[], List[str]]) -> None:
        calls = [call for job in jobs if isinstance(job, AsyncResult) for call in job._calls]
        names = {job if isinstance(job, str) else history()[job] for job in jobs if isinstance(job, (int, str))}
        for job in jobs:
            if not isinstance(job, (AsyncResult, int, str)):
                raise TypeError(f"can't abort {job!r}")
        if names:
            calls += [call for call in self._raw.outstanding() if msg_id(call) in names]
        self._raw.abort(tuple(calls), 0)

    def interrupt(self, targets: Targets = "all") -> None:
        """Raise KeyboardInterrupt in what runs now on engines, whoever sent it. What waits there
        goes on.

        Args:
            targets: which engines
        """
        chosen = self._choose(targets)
        for number in (chosen,) if isinstance(chosen, int) else chosen:
            self._raw.interrupt(number)

    # ---- history -----------------------------------------------------------------------------------

    def _note(self, first: int, count: int, view: int) -> None:
        """Remember that tasks `first`, `first` + 1 ... were sent by a view."""
        log = self._log
        if log:
            last = log[-1]
            if last[1] == first and last[2] == view:
                last[1] = first + count
                return
        log.append([first, first + count, view])

    def _log_ids(self, view: Optional[int] = None) -> List[str]:
        session = f"{int(self.session, 16):016x}"
        return [
            f"{session}_{number}"
            for first, end, owner in list(self._log)
            if view is None or view == owner
            for number in range(first, end)
        ]

    @property
    def history(self) -> List[str]:
        """The msg_ids of this client's tasks, in the order of submission. What was sent very long
        ago is forgotten."""
        return self._log_ids()

    @property
    def outstanding(self) -> Set[str]:
        """The msg_ids of the tasks that have not ended."""
        return {msg_id(call) for call in self._raw.outstanding()}

    # ---- engines -----------------------------------------------------------------------------------

    def clear(self, targets: Targets = None, block: Optional[bool] = None) -> AsyncResult:
        """Empty the namespaces of engines.

        Args:
            targets: which; default all
            block: wait for it; default `self.block`
        """
        return self.direct_view("all" if targets is None else targets).clear(
            block=self.block if block is None else block
        )

    def shutdown(
        self,
        targets: Targets = "all",
        restart: bool = False,
        hub: bool = False,
        block: Optional[bool] = None,
    ) -> None:
        """Stop the cluster.

        Args:
            targets: must be 'all'
            restart: not there yet
            hub: must be True: engines alone can't be stopped from here yet
            block: accepted; the request has been taken when this returns

        Raises:
            NotImplementedError: for what is not there yet
        """
        if restart or not hub or not (targets is None or targets == "all"):
            raise NotImplementedError("this version can only stop everything: shutdown(hub=True)")
        self._ask({"query": "shutdown"})

    # ---- questions to the hub ------------------------------------------------------------------------

    def _ask(self, query: Dict[str, Any], timeout: float = 10) -> Dict[str, Any]:
        """A query to the controller and its reply.

        Raises:
            ControllerError: with what the controller said
            TimeoutError: no reply in `timeout` seconds
        """
        reply = json.loads(self._raw.query(json.dumps(query), timeout))
        if not reply.get("ok"):
            raise error.ControllerError(str(reply.get("error", "the controller refused the query")))
        return dict(reply)

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

    # ---- checks for views ----------------------------------------------------------------------------

    def _check_python(self, targets: Union[None, int, Tuple[int, ...]], name: str) -> None:
        """Refuse code by value for engines that run another minor version of Python."""
        if self._raw.generation != self._generation:
            self._load_engines()
        if not self._foreign:
            return
        if targets is None:
            chosen: Iterable[int] = self._ids
        else:
            chosen = (targets,) if isinstance(targets, int) else targets
        for number in chosen:
            if number in self._foreign:
                raise error.PythonVersionMismatch(
                    f"{name} can't be sent by value: this is Python {_PYTHON}, engine {number} runs "
                    f"Python {self._engines[number].python}. Put it into a module that both can "
                    "import, or send source text with execute()"
                )


# ---- opening ------------------------------------------------------------------------------------


def _where(given: Union[None, str, "os.PathLike[str]", Dict[str, Any]]) -> Dict[str, Any]:
    """The fields that say where the connection file is."""
    if given is None:
        return {}
    if isinstance(given, dict):
        return {"json": json.dumps(given)}
    path = os.fspath(given)
    if "://" in path:
        raise ValueError(f"{path} is a URL; a Client needs a connection file, for its key")
    return {"file": os.path.expanduser(path)}


def _open(where: Dict[str, Any], timeout: float) -> _client.Client:
    """Connect; wait up to `timeout` seconds for a connection file that is not there yet."""
    end = time.monotonic() + timeout
    has_said = False
    while True:
        left = end - time.monotonic()
        try:
            return _client.Client(timeout_ms=max(int(left * 1000), 1), **where)
        except error.ConnectionFileNotFound as missing:
            if left <= _FILE_INTERVAL:
                raise
            if not has_said:
                has_said = True
                print(f"waiting up to {timeout:g} s for a cluster: {missing}", file=sys.stderr)
        time.sleep(_FILE_INTERVAL)


def _run_background(raw: _client.Client) -> None:
    """Body of the background thread. It must not keep the Client alive."""
    while True:
        try:
            call = raw.next_ended(None)
        except Exception:  # closed or lost: there is nothing left to come
            return
        if call is not None:
            result, call.data = call.data, None
            if result is not None:
                result._ended()
            del result
        del call


def _in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> "Future[Any]":
    """Run a function in a thread of its own; its outcome as a Future."""
    future: "Future[Any]" = Future()

    def run() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as exception:
            future.set_exception(exception)

    threading.Thread(target=run, daemon=True).start()
    return future


def _as_list(jobs: Any) -> List[Any]:
    if isinstance(jobs, (int, str, Future)):
        return [jobs]
    return list(jobs)


def _short(ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, ids[:10]))
    return f"[{shown}, ...]" if len(ids) > 10 else f"[{shown}]"


def _close_all() -> None:
    for client in list(_clients):
        client.close()


atexit.register(_close_all)
